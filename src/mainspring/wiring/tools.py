"""The tools that responses may use and this server carries out, by type."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.wiring.running import running

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from mainspring.compute.sandbox import Sandbox
    from mainspring.core.seams import Count, Search
    from mainspring.core.types import Ran
    from mainspring.responses.tools import Kind
    from mainspring.responses.tools_code_interpreter import RunCell
    from mainspring.store.containers import Containers
    from mainspring.store.db import Database
    from mainspring.store.files import Files

__all__ = ["containers", "server_tools"]

WEB_SEARCH = ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")
OUTPUT_BYTES = 16 * 2**20
"""Of what code in a container writes in one run: output, errors and files."""


def containers(
    settings: Settings, database: "Database", stack: "AsyncExitStack", count: "Count"
) -> "Containers":  # fmt: skip
    """What the code interpreter keeps, and the loop that deletes what has expired, until the stack is closed."""
    from mainspring.store.containers import Containers

    kept = Containers(
        database, SystemClock(), per_project=settings.tools.containers_per_project,
        memory_bytes=settings.sandbox.memory_bytes, count=count,
    )  # fmt: skip
    stack.enter_context(running(kept.keep_swept()))
    return kept


def server_tools(
    settings: Settings,
    *,
    search: "Search",
    sandbox: "Sandbox",
    containers: "Containers",
    files: "Files",
    count: "Count",
) -> "dict[str, Kind]":
    """Every kind."""
    from mainspring.responses.outside import Outside
    from mainspring.responses.sources import Shelf
    from mainspring.responses.tools_code_interpreter import Workshop, code_interpreter
    from mainspring.responses.tools_file_search import file_search
    from mainspring.responses.tools_mcp import mcp
    from mainspring.responses.tools_web_search import no_web_search, web_search
    from mainspring.responses.web import SearxNG

    shelf, wanted = Shelf(), settings.tools
    outside = Outside(wanted.private_hosts)
    workshop = Workshop(run=_cells(settings, sandbox), containers=containers, files=files, shelf=shelf)
    web = web_search(SearxNG(wanted.web_search, outside), shelf, count) if wanted.web_search else no_web_search()
    return {
        "file_search": file_search(search, shelf, count), "code_interpreter": code_interpreter(workshop),
        "mcp": mcp(outside, timeout_s=wanted.mcp_timeout_s), **dict.fromkeys(WEB_SEARCH, web),
    }  # fmt: skip


def _cells(settings: Settings, sandbox: "Sandbox") -> "RunCell":
    from mainspring.compute.sandbox import SandboxLimits

    wanted = settings.sandbox

    async def run(code: str, files: Mapping[str, bytes], memory_bytes: int) -> "Ran":
        limits = SandboxLimits(
            wall_s=wanted.time_s, cpu_s=wanted.time_s, memory_bytes=memory_bytes, disk_bytes=wanted.disk_bytes,
            output_bytes=OUTPUT_BYTES,
        )  # fmt: skip
        return await sandbox.run(code, files=files, limits=limits)

    return run
