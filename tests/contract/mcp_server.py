"""A real MCP server for the tests, of the package mcp, over streamable HTTP: python mcp_server.py PORT [json]"""

import sys
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("tests", log_level="ERROR")
CALLS: list[str] = []


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    CALLS.append("add")
    return a + b


@server.tool()
def write(text: str) -> str:
    """Writes something down."""
    CALLS.append("write")
    return f"Written: {text}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("it went wrong")


@server.tool()
def calls() -> str:
    """What was called."""
    return ",".join(CALLS)


@server.tool()
def header(name: str, context: Context[Any, Any]) -> str:
    """A header of the request."""
    return str((context.headers or {}).get(name))


server.run(transport="streamable-http", port=int(sys.argv[1]), json_response="json" in sys.argv)
