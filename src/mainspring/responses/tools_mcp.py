"""The tool `mcp`: the model calls tools of a remote MCP server.

The server is asked for its tools once in a conversation (`mcp_list_tools`). A call that the client is to approve ends
the response with `mcp_approval_request`; the next one, which approves it, carries it out. What clients send as
`headers` and `authorization` goes to the server and nowhere else.
"""

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.ids import new_id
from mainspring.core.types import Tool
from mainspring.responses.items_tools import McpApprovalRequest, McpCall, McpListTools, McpTool
from mainspring.responses.mcp import McpError, connected
from mainspring.responses.outside import Outside, OutsideError, host_of
from mainspring.responses.tools import (
    Asked,
    Call,
    Caller,
    Done,
    Kind,
    Listed,
    Opened,
    Preparation,
    Progress,
    Replay,
    Step,
)

__all__ = ["mcp"]

MAX_OUTPUT = 256 * 1024
"""Characters of what a tool says that are kept."""
MAX_TOLD = 16_000
"""And that the model is told."""
MAX_ALLOWED = 128
UNKNOWN = (
    "The server was stopped while this call ran: whether it was carried out is not known, and it was not made again."
)
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_RESERVED = frozenset({"host", "content-length", "content-type", "accept", "connection", "transfer-encoding"})


class _Filter(msgspec.Struct, frozen=True, kw_only=True):
    tool_names: list[str] | None = None
    read_only: bool | None = None

    def fits(self, tool: McpTool) -> bool:
        """Whether a tool is one of these."""
        reads = bool((tool.annotations or {}).get("readOnlyHint"))
        named = self.tool_names is None or tool.name in self.tool_names
        return named and (self.read_only is None or reads == self.read_only)


class _Approval(msgspec.Struct, frozen=True, kw_only=True):
    always: _Filter | None = None
    never: _Filter | None = None


class _Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has sent, as the edge has checked it."""

    server_label: str
    server_url: str = ""
    server_description: str = ""
    headers: dict[str, str] = {}
    authorization: str = ""
    allowed_tools: list[str] | _Filter | None = None
    require_approval: str | _Approval = "always"


def mcp(outside: Outside, *, timeout_s: float) -> Kind:
    """The tool over a client.

    Args:
        timeout_s: that a server may take for an answer.
    """

    async def make(definition: Mapping[str, Any], caller: Caller) -> McpServer:  # noqa: ARG001 - it is the client's own
        given = msgspec.convert(dict(definition), _Definition)
        if not given.server_url:
            raise InvalidRequest("Missing required parameter: 'server_url'.", param="server_url")
        try:
            host_of(given.server_url)
        except OutsideError as error:
            raise InvalidRequest(f"Invalid 'server_url': {error}", param="server_url") from error
        for name in given.headers:
            if name.casefold() in _RESERVED or name.casefold().startswith("mcp-") or not name.isascii():
                raise InvalidRequest(f"The header {name[:60]!r} is not the client's to set.", param="headers")
        return McpServer(given, outside, timeout_s)

    items = frozenset({"mcp_call", "mcp_list_tools", "mcp_approval_request"})
    return Kind(make=make, items=items, replay=_replay)


class McpServer:
    """See the module."""

    prefix = "mcp_"

    def __init__(self, given: _Definition, outside: Outside, timeout_s: float) -> None:
        self._given, self._outside, self._timeout_s = given, outside, timeout_s
        self._tools: dict[str, McpTool] = {}  # by the name that the model knows
        self._headers = dict(given.headers)
        if given.authorization:
            self._headers["authorization"] = f"Bearer {given.authorization}"

    @property
    def functions(self) -> Sequence[Tool]:
        """What the model may call."""
        about = f" ({self._given.server_description})" if self._given.server_description else ""
        return [
            Tool(
                name=name, description=f"{tool.description or tool.name}{about}",
                parameters=msgspec.json.encode(_schema(tool)).decode(),
            )
            for name, tool in self._tools.items()
        ]  # fmt: skip

    def recall(self, item: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        """Nothing: `begin` is given what was listed."""

    async def begin(self, listed: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Preparation]:
        """Ask for the tools, unless the context has them."""
        label = self._given.server_label
        for item in listed:
            if item["type"] == "mcp_list_tools" and item["server_label"] == label and not item.get("error"):
                self._take(msgspec.convert(item["tools"], list[McpTool]))
                return
        id = new_id("mcpl_")  # noqa: A001 - what the API calls it
        yield Opened(McpListTools(id=id, server_label=label, tools=[]))
        yield Progress("response.mcp_list_tools.in_progress")
        try:
            async with self._connected() as session:
                found = await session.tools()
        except (OutsideError, McpError) as error:
            yield Progress("response.mcp_list_tools.failed")
            yield Listed(McpListTools(id=id, server_label=label, tools=[], error=str(error)))
            raise InvalidRequest(
                f"The tools of the MCP server '{label}' could not be listed: {error}", code="mcp_list_tools_failed",
                param="tools",
            ) from error  # fmt: skip
        tools = [
            McpTool(
                name=each.name, description=each.description, input_schema=each.schema, annotations=each.annotations
            )
            for each in found
        ]
        self._take(tools)
        yield Progress("response.mcp_list_tools.completed")
        yield Listed(McpListTools(id=id, server_label=label, tools=list(self._tools.values())))

    def _connected(self) -> Any:
        return connected(self._outside, self._given.server_url, self._headers, timeout_s=self._timeout_s)

    def _take(self, tools: Sequence[McpTool]) -> None:
        """Those that the client allows, under names that the model can write."""
        allowed = self._given.allowed_tools
        wanted = _Filter(tool_names=allowed) if isinstance(allowed, list) else allowed or _Filter()
        for tool in [each for each in tools if wanted.fits(each)][:MAX_ALLOWED]:
            self._tools[function_name(self._given.server_label, tool.name)] = tool

    def _asks(self, tool: McpTool) -> bool:
        """Whether the client is to approve calls of a tool."""
        wanted = self._given.require_approval
        if isinstance(wanted, str):
            return wanted == "always"
        if wanted.always is not None and wanted.always.fits(tool):
            return True
        return not (wanted.never is not None and wanted.never.fits(tool))

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        """Call, or ask first."""
        tool, label = self._tools[call.name], self._given.server_label
        if call.approval is None and self._asks(tool):
            yield Asked(
                McpApprovalRequest(
                    id=new_id("mcpr_"), server_label=label, name=tool.name, arguments=call.arguments
                )
            )  # fmt: skip
            return
        item = McpCall(
            id=call.item, server_label=label, name=tool.name, arguments="", status="in_progress",
            approval_request_id=call.approval,
        )  # fmt: skip
        yield Opened(item)
        yield Progress("response.mcp_call.in_progress")
        yield Progress("response.mcp_call_arguments.delta", {"delta": call.arguments})
        yield Progress("response.mcp_call_arguments.done", {"arguments": call.arguments})
        item = msgspec.structs.replace(item, arguments=call.arguments)
        done = await self._call(call, tool, item)
        failed = isinstance(done.item, McpCall) and done.item.error is not None
        yield Progress(f"response.mcp_call.{'failed' if failed else 'completed'}")
        yield done

    async def _call(self, call: Call, tool: McpTool, item: McpCall) -> Done:
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except msgspec.MsgspecError:
            return _failed(item, "The arguments are no JSON object.", {"type": "http_error", "code": 400})
        if call.attempt > 1 and not (tool.annotations or {}).get("readOnlyHint"):
            return _failed(item, UNKNOWN, {"type": "http_error", "code": 503})
        try:
            async with self._connected() as session:
                text, content, is_error = await session.call(tool.name, arguments)
        except McpError as error:
            kind = "http_error" if error.is_http else "mcp_protocol_error"
            return _failed(item, error.message, {"type": kind, "code": error.code})
        except OutsideError as error:
            return _failed(item, str(error), {"type": "http_error", "code": 502})
        if is_error:
            problem = {"type": "mcp_tool_execution_error", "content": content}
            return Done(msgspec.structs.replace(item, status="failed", error=problem), f"It failed: {text[:MAX_TOLD]}")
        kept = text if len(text) <= MAX_OUTPUT else f"{text[:MAX_OUTPUT]}\n[cut off]"
        told = text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}\n[cut off]"
        return Done(msgspec.structs.replace(item, status="completed", output=kept), told or "It said nothing.")


def _failed(item: McpCall, message: str, error: dict[str, Any]) -> Done:
    return Done(
        msgspec.structs.replace(item, status="failed", error={**error, "message": message}), f"It failed: {message}"
    )


def function_name(label: str, name: str) -> str:
    """What the model calls a tool: unlike that of any other server, and of letters that names have."""
    made = _ODD.sub("_", f"{label}__{name}")
    if len(made) <= 64 and made == f"{label}__{name}":
        return made
    return f"{made[:55]}_{hashlib.sha256(f'{label} {name}'.encode()).hexdigest()[:8]}"


def _schema(tool: McpTool) -> dict[str, Any]:
    """Of a tool's arguments: an object whatever the server says."""
    schema = tool.input_schema
    return schema if schema.get("type") == "object" else {"type": "object", "properties": {}}


def _replay(item: Mapping[str, Any]) -> Replay | None:
    """Of an item that a client has sent."""
    if item["type"] == "mcp_list_tools":
        return None
    name = function_name(item["server_label"], item["name"])
    if item["type"] == "mcp_approval_request":
        return Replay(name, item.get("arguments") or "{}", "")
    error: Any = item.get("error")
    text = item.get("output") or (f"It failed: {error}" if error else "")
    return Replay(name, item.get("arguments") or "{}", str(text)[:MAX_TOLD])
