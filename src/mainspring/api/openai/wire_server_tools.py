"""What clients send of tools that the server carries out: their definitions, and the items that those tools made."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.wire_base import NotYet, Wire
from mainspring.api.openai.wire_tools import Arguments
from mainspring.api.openai.wire_vector_stores import AttributesIn, FilterIn

__all__ = [
    "CodeInterpreterCallIn",
    "CodeInterpreterToolIn",
    "FileSearchCallIn",
    "FileSearchToolIn",
    "McpApprovalRequestIn",
    "McpApprovalResponseIn",
    "McpCallIn",
    "McpListToolsIn",
    "McpToolIn",
    "WebSearchCallIn",
    "WebSearchToolIn",
]

MAX_TEXT = 2**20
ItemId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Id = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=256)]


def _string_or_object(value: Any) -> str:
    return "string" if isinstance(value, str) else "object"


def _array_or_object(value: Any) -> str:
    return "array" if isinstance(value, list) else "object"


# -- file_search -------------------------------------------------------------------------------------------------------


class HybridSearchIn(Wire):
    """What the orders by vectors and by words weigh against one another."""

    embedding_weight: float = Field(ge=0, le=1000)
    text_weight: float = Field(ge=0, le=1000)


class FileSearchRankingIn(Wire):
    """How results are ranked. Every ranker is this server's own."""

    ranker: Literal["auto", "default-2024-11-15"] | None = None
    score_threshold: float | None = Field(None, ge=0, le=1)
    hybrid_search: HybridSearchIn | None = None


class FileSearchToolIn(Wire):
    """Search in vector stores."""

    type: Literal["file_search"]
    vector_store_ids: list[Id] = Field(min_length=1, max_length=16)
    filters: FilterIn | None = None
    max_num_results: int | None = Field(None, ge=1, le=50)
    ranking_options: FileSearchRankingIn | None = None


class FileSearchResultIn(Wire):
    """A chunk that was found."""

    file_id: Id | None = None
    filename: Annotated[str, Field(max_length=1024)] | None = None
    score: float | None = None
    text: Text | None = None
    attributes: AttributesIn | None = None


class FileSearchCallIn(Wire):
    """A search that was made."""

    type: Literal["file_search_call"]
    id: ItemId
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    queries: list[Annotated[str, Field(max_length=8192)]] = Field(max_length=16)
    results: list[FileSearchResultIn] | None = Field(None, max_length=50)


# -- web_search --------------------------------------------------------------------------------------------------------

Domain = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,253}$")]
Place = Annotated[str, Field(max_length=256)]


class WebSearchFiltersIn(Wire):
    """Which pages may be found: those of these domains, and of domains below them."""

    allowed_domains: list[Domain] | None = Field(None, max_length=100)
    blocked_domains: NotYet = None


class WebSearchLocationIn(Wire):
    """About where the user is."""

    type: Literal["approximate"] | None = None
    city: Place | None = None
    country: Annotated[str, Field(pattern="^[A-Za-z]{2}$")] | None = None
    region: Place | None = None
    timezone: Place | None = None


class WebSearchToolIn(Wire):
    """Search in the web."""

    type: Literal["web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"]
    filters: WebSearchFiltersIn | None = None
    user_location: WebSearchLocationIn | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None
    external_web_access: Literal[True] | None = None
    search_content_types: NotYet = None
    return_token_budget: NotYet = None


class WebSourceIn(Wire):
    """A page that was found."""

    type: Literal["url"]
    url: Annotated[str, Field(max_length=8192)]


class SearchActionIn(Wire):
    """A search."""

    type: Literal["search"]
    query: Annotated[str, Field(max_length=8192)] | None = None
    queries: list[Annotated[str, Field(max_length=8192)]] | None = Field(None, max_length=16)
    sources: list[WebSourceIn] | None = Field(None, max_length=100)


class OpenPageActionIn(Wire):
    """A page was read."""

    type: Literal["open_page"]
    url: Annotated[str, Field(max_length=8192)] | None = None


class FindActionIn(Wire):
    """A page was searched."""

    type: Literal["find_in_page"]
    url: Annotated[str, Field(max_length=8192)]
    pattern: Annotated[str, Field(max_length=8192)]


class WebSearchCallIn(Wire):
    """What was looked for in the web."""

    type: Literal["web_search_call"]
    id: ItemId
    status: Literal["in_progress", "searching", "completed", "failed"]
    action: Annotated[SearchActionIn | OpenPageActionIn | FindActionIn, Field(discriminator="type")]
    results: list[dict[str, Any]] | None = Field(None, max_length=100)


# -- code_interpreter --------------------------------------------------------------------------------------------------


class NoNetworkIn(Wire):
    """Code reaches no network. There is no other policy here."""

    type: Literal["disabled"]


MemoryLimit = Literal["1g", "4g", "16g", "64g"]


class AutoContainerIn(Wire):
    """A container is made when code first runs, or the last one of the conversation is used."""

    type: Literal["auto"]
    file_ids: list[Id] | None = Field(None, max_length=50)
    memory_limit: MemoryLimit | None = None
    network_policy: NoNetworkIn | None = None


class CodeInterpreterToolIn(Wire):
    """Python in a sandbox."""

    type: Literal["code_interpreter"]
    container: Annotated[
        Annotated[Id, Tag("string")] | Annotated[AutoContainerIn, Tag("object")], Discriminator(_string_or_object)
    ]
    allowed_callers: NotYet = None


class LogsIn(Wire):
    """What code wrote."""

    type: Literal["logs"]
    logs: Text


class ImageIn(Wire):
    """An image that code made."""

    type: Literal["image"]
    url: Annotated[str, Field(max_length=8192)]


class CodeInterpreterCallIn(Wire):
    """Code that was run."""

    type: Literal["code_interpreter_call"]
    id: ItemId
    status: Literal["in_progress", "completed", "incomplete", "interpreting", "failed"]
    container_id: Id
    code: Text | None
    outputs: list[Annotated[LogsIn | ImageIn, Field(discriminator="type")]] | None = Field(None, max_length=100)


# -- mcp ---------------------------------------------------------------------------------------------------------------


class McpFilterIn(Wire):
    """Some of a server's tools."""

    tool_names: list[Name] | None = Field(None, max_length=1000)
    read_only: bool | None = Field(None, description="Those that say of themselves that they change nothing.")


class McpApprovalIn(Wire):
    """Which tools need the client's word."""

    always: McpFilterIn | None = None
    never: McpFilterIn | None = None


class McpToolIn(Wire):
    """The tools of an MCP server."""

    type: Literal["mcp"]
    server_label: Label
    server_url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)] | None = None
    server_description: Annotated[str, Field(max_length=4096)] | None = None
    headers: dict[Annotated[str, Field(max_length=256)], Annotated[str, Field(max_length=8192)]] | None = Field(
        None, max_length=32, description="Sent to the server, and neither kept nor shown."
    )
    authorization: Annotated[str, Field(max_length=8192)] | None = Field(
        None, description="A bearer token; as headers."
    )
    allowed_tools: (
        Annotated[
            Annotated[list[Name], Field(max_length=1000), Tag("array")] | Annotated[McpFilterIn, Tag("object")],
            Discriminator(_array_or_object),
        ]
        | None
    ) = None
    require_approval: (
        Annotated[
            Annotated[Literal["always", "never"], Tag("string")] | Annotated[McpApprovalIn, Tag("object")],
            Discriminator(_string_or_object),
        ]
        | None
    ) = Field(None, description="always by default.")
    connector_id: NotYet = None
    tunnel_id: NotYet = None
    allowed_callers: NotYet = None
    defer_loading: NotYet = None


class McpListedToolIn(Wire):
    """A tool of an MCP server."""

    name: Name
    input_schema: dict[str, Any]
    description: Text | None = None
    annotations: dict[str, Any] | None = None


class McpListToolsIn(Wire):
    """The tools of an MCP server."""

    type: Literal["mcp_list_tools"]
    id: ItemId
    server_label: Label
    tools: list[McpListedToolIn] = Field(max_length=1000)
    error: Text | None = None


class McpCallIn(Wire):
    """A call of such a tool."""

    type: Literal["mcp_call"]
    id: ItemId
    server_label: Label
    name: Name
    arguments: Arguments
    status: Literal["in_progress", "calling", "completed", "incomplete", "failed"] | None = None
    output: Text | None = None
    error: dict[str, Any] | str | None = None
    approval_request_id: Id | None = None


class McpApprovalRequestIn(Wire):
    """A call that waited for the client's word."""

    type: Literal["mcp_approval_request"]
    id: ItemId
    server_label: Label
    name: Name
    arguments: Arguments


class McpApprovalResponseIn(Wire):
    """The client's word."""

    type: Literal["mcp_approval_response"]
    approval_request_id: Id
    approve: bool
    id: ItemId | None = None
    reason: Annotated[str, Field(max_length=8192)] | None = None
    request_id: NotYet = None
