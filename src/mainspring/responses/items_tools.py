"""Output items of the tools that the server carries out, as structs whose encoding is OpenAI's."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "CodeInterpreterCall",
    "CodeInterpreterLogs",
    "FileSearchCall",
    "FileSearchResult",
    "FindAction",
    "McpApprovalRequest",
    "McpCall",
    "McpListTools",
    "McpTool",
    "OpenPageAction",
    "SearchAction",
    "WebSearchCall",
    "WebSource",
]


class FileSearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: dict[str, Any] = {}


class FileSearchCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="file_search_call"):
    """A search in vector stores."""

    id: str
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    queries: list[str]
    results: list[FileSearchResult] | None = None


class WebSource(msgspec.Struct, frozen=True, tag_field="type", tag="url"):
    """A page that was found."""

    url: str


class SearchAction(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="search"):
    """A search of the web."""

    query: str
    queries: list[str]
    sources: list[WebSource] | UnsetType = UNSET


class OpenPageAction(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="open_page"):
    """A page was read."""

    url: str | None


class FindAction(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="find_in_page"):
    """A page was searched."""

    url: str
    pattern: str


class WebSearchCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="web_search_call"):
    """What was looked for in the web. `results` are of a search."""

    id: str
    status: Literal["in_progress", "searching", "completed", "failed"]
    action: SearchAction | OpenPageAction | FindAction
    results: list[dict[str, Any]] | UnsetType = UNSET


class CodeInterpreterLogs(msgspec.Struct, frozen=True, tag_field="type", tag="logs"):
    """What code wrote to its standard output and errors."""

    logs: str


class CodeInterpreterCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="code_interpreter_call"):
    """Code that was run."""

    id: str
    status: Literal["in_progress", "completed", "incomplete", "interpreting", "failed"]
    container_id: str
    code: str | None
    outputs: list[CodeInterpreterLogs] | None


class McpTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of an MCP server."""

    name: str
    description: str | None
    input_schema: dict[str, Any]
    annotations: dict[str, Any] | None


class McpListTools(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_list_tools"):
    """The tools of an MCP server, or why they could not be had."""

    id: str
    server_label: str
    tools: list[McpTool]
    error: str | None = None


class McpCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_call"):
    """A call of such a tool. `error` is one of OpenAI's objects, by its type."""

    id: str
    server_label: str
    name: str
    arguments: str
    status: Literal["in_progress", "calling", "completed", "incomplete", "failed"]
    output: str | None = None
    error: dict[str, Any] | None = None
    approval_request_id: str | None = None


class McpApprovalRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_approval_request"):
    """A call that waits for the client's word."""

    id: str
    server_label: str
    name: str
    arguments: str
