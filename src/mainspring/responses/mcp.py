"""A client of MCP servers over streamable HTTP: what responses need of it, which is to list tools and to call them.

Model Context Protocol 2025-06-18, "Transports": each message is a POST, and its answer one JSON object or a stream of
events that holds it. The package `mcp` can all of it, and would bring a web server, a command line and a few dozen
packages along; what is used here is two calls.
"""

import contextlib
import itertools
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from mainspring import __version__
from mainspring.responses.outside import Answer, Outside, OutsideError

__all__ = ["McpError", "Session", "ToolInfo", "connected"]

PROTOCOL = "2025-06-18"
MAX_BYTES = 4 * 2**20
"""Of an answer."""
MAX_TOOLS, MAX_PAGES = 500, 20

Json = dict[str, Any]


class McpError(Exception):
    """What a server answered instead of a result.

    Args:
        code: JSON-RPC's, or the status of HTTP if `is_http`.
    """

    def __init__(self, message: str, code: int, *, is_http: bool = False) -> None:
        super().__init__(message)
        self.message, self.code, self.is_http = message, code, is_http


class ToolInfo(NamedTuple):
    """A tool of a server."""

    name: str
    description: str | None
    schema: Json
    annotations: Json | None


class Session:
    """A connection to a server, as far as HTTP has any. Made by `connected`."""

    def __init__(self, outside: Outside, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._outside, self._url, self._headers, self._timeout_s = outside, url, dict(headers), timeout_s
        self._ids = itertools.count(1)
        self._session = ""
        self._version = ""

    async def start(self) -> None:
        """Say hello."""
        client = {"name": "mainspring", "version": __version__}
        hello = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        result = await self._ask("initialize", hello)
        self._version = str(result.get("protocolVersion") or PROTOCOL)[:32]
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, None)

    async def tools(self) -> list[ToolInfo]:
        """Every tool."""
        found: list[ToolInfo] = []
        cursor: Any = None
        for _ in range(MAX_PAGES):
            page = await self._ask("tools/list", {} if cursor is None else {"cursor": cursor})
            listed: Any = page.get("tools")
            found += [tool for each in (listed if isinstance(listed, list) else []) if (tool := _tool(each))]  # pyright: ignore[reportUnknownVariableType]
            cursor = page.get("nextCursor")
            if cursor is None or len(found) >= MAX_TOOLS:
                break
        return found[:MAX_TOOLS]

    async def call(self, name: str, arguments: Json) -> tuple[str, Any, bool]:
        """What a tool says: its text, its content as it was, and whether it calls that an error."""
        result = await self._ask("tools/call", {"name": name, "arguments": arguments})
        content: Any = result.get("content") or []
        return _text(content, result.get("structuredContent")), content, bool(result.get("isError"))

    async def end(self) -> None:
        """Say goodbye, if the server keeps sessions."""
        if self._session:
            async with self._request("DELETE", None):
                pass

    async def _ask(self, method: str, params: Json) -> Json:
        number = next(self._ids)
        answer = await self._post({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, number)
        if isinstance(answer.get("error"), dict):
            error: Json = answer["error"]
            code: Any = error.get("code")
            raise McpError(str(error.get("message", ""))[:1000], code if isinstance(code, int) else 0)
        result: Any = answer.get("result")
        if not isinstance(result, dict):
            raise OutsideError("It does not answer as an MCP server does.")
        return result  # pyright: ignore[reportUnknownVariableType]

    async def _post(self, message: Json, wanted: int | None) -> Json:
        """Send a message; the answer with the id that is `wanted`."""
        async with self._request("POST", msgspec.json.encode(message)) as answer:
            if answer.status >= 400:
                raise McpError(f"The MCP server answered with status {answer.status}.", answer.status, is_http=True)
            if wanted is None:
                return {}
            self._session = answer.header("mcp-session-id") or self._session
            if answer.header("content-type").startswith("text/event-stream"):
                async with aclosing(_events(answer)) as events:
                    async for event in events:
                        if (found := _decoded(event)).get("id") == wanted and "method" not in found:
                            return found
                raise OutsideError("The stream ended without an answer.")
            return _decoded(await answer.body())

    @asynccontextmanager
    async def _request(self, method: str, content: bytes | None) -> AsyncGenerator[Answer]:
        headers = {
            **self._headers, "content-type": "application/json", "accept": "application/json, text/event-stream",
            **({"mcp-session-id": self._session} if self._session else {}),
            **({"mcp-protocol-version": self._version} if self._version else {}),
        }  # fmt: skip
        async with self._outside.request(
            method, self._url, headers=headers, content=content, timeout_s=self._timeout_s, max_bytes=MAX_BYTES
        ) as answer:
            yield answer


@asynccontextmanager
async def connected(
    outside: Outside, url: str, headers: Mapping[str, str], *, timeout_s: float
) -> AsyncGenerator[Session]:
    """A session with a server. Everything in it may raise McpError and OutsideError.

    Args:
        timeout_s: that each message may take.
    """
    session = Session(outside, url, headers, timeout_s)
    await session.start()
    try:
        yield session
    finally:
        with contextlib.suppress(OutsideError, McpError):  # it is over either way
            await session.end()


async def _events(answer: Answer) -> AsyncGenerator[bytes]:
    """The data of server-sent events."""
    held, data = b"", list[bytes]()
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            *lines, held = (held + piece).replace(b"\r\n", b"\n").split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line and data:
                    yield b"\n".join(data)
                    data = []


def _decoded(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body, type=Json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise OutsideError("It does not answer as an MCP server does.") from None


def _tool(given: Any) -> ToolInfo | None:
    """A tool as a server describes it; None if that is not how one does."""
    try:
        found = msgspec.convert(given, _Tool)
    except msgspec.ValidationError:
        return None
    return ToolInfo(found.name, found.description, found.inputSchema, found.annotations)


class _Tool(msgspec.Struct):
    name: str
    description: str | None = None
    inputSchema: Json = {}  # noqa: N815 - the protocol's
    annotations: Json | None = None


def _text(content: Any, structured: Any) -> str:
    parts: list[str] = []
    for part in content if isinstance(content, list) else []:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(part, dict):
            text: Any = part.get("text")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            parts.append(text if isinstance(text, str) else f"[{part.get('type', 'content')}]")  # pyright: ignore[reportUnknownMemberType]
    if not parts and structured is not None:
        parts.append(msgspec.json.encode(structured).decode())
    return "\n".join(parts)
