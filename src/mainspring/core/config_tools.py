"""Settings of the tools that the server carries out in responses."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ToolSettings"]


class ToolSettings(BaseModel):
    """Tools of responses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    containers_per_project: int = Field(
        500, ge=1, le=100_000, description="Containers of the code interpreter that a project may have at a time."
    )
    private_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that MCP servers and web pages may be at although their addresses are private, such as "
        "127.0.0.1 or tools.local; '*' means all, which lets clients reach whatever the server reaches.",
    )
    mcp_timeout_s: float = Field(60.0, gt=0, le=600, description="Seconds that a call of an MCP server may take.")
    web_search: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="URL of a search engine that answers as SearXNG does (GET URL/search?q=...&format=json); empty "
        "means that there is no web_search.",
    )
