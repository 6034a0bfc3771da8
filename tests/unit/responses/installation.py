"""Responses over the fake engine and a database, put together as `wiring` does."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Tool
from mainspring.engine.fake import FakeEngine
from mainspring.responses.ask import Ask
from mainspring.responses.background import Background
from mainspring.responses.bell import Bell
from mainspring.responses.events import Told, head_of
from mainspring.responses.items import FileCitation, Response
from mainspring.responses.service import KIND, OPEN, Responses
from mainspring.responses.tools import (
    Annotated,
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
from mainspring.store.db import Database
from mainspring.store.responses import events_after
from mainspring.store.worker import Worker
from tests.hearing import listen


class FileSearchCall(msgspec.Struct, kw_only=True, tag_field="type", tag="file_search_call"):
    id: str
    status: str
    queries: list[str]
    results: list[dict[str, Any]] | None = None


class McpListTools(msgspec.Struct, kw_only=True, tag_field="type", tag="mcp_list_tools"):
    id: str
    server_label: str
    tools: list[dict[str, Any]] = []


class McpApprovalRequest(msgspec.Struct, kw_only=True, tag_field="type", tag="mcp_approval_request"):
    id: str
    server_label: str
    name: str
    arguments: str


class McpCall(msgspec.Struct, kw_only=True, tag_field="type", tag="mcp_call"):
    id: str
    server_label: str
    name: str
    arguments: str
    output: str | None = None
    approval_request_id: str | None = None


OWNER = "somebody"
SEARCH = Tool(
    name="search", parameters='{"type":"object","properties":{"query":{"const":"cats"}},"required":["query"]}'
)  # fmt: skip


class Stars:
    """Cites at every second letter e, and leaves it out: positions are in what it gives out."""

    def __init__(self, begun: str) -> None:
        self._length, self._seen = len(begun), 0

    def feed(self, text: str) -> Sequence[str | Annotated]:
        found: list[str | Annotated] = []
        for letter in text:
            self._seen += letter == "e"
            if letter == "e" and self._seen % 2 == 0:
                annotation = FileCitation("file-1", "cats.txt", self._length, supported=False)
                found.append(Annotated(annotation, (f"Sentence {self._length}.", "Cats purr.")))
            else:
                self._length += 1
                found.append(letter)
        return found

    def end(self) -> Sequence[str | Annotated]:
        return ["."]


class FakeSearch:
    """A tool of the server's. `hangs` says in which attempt it never comes back."""

    prefix = "fs_"

    def __init__(self, definition: Mapping[str, Any], caller: Caller) -> None:
        if definition.get("vector_store_ids") == []:
            raise InvalidRequest("Name a vector store.", param="vector_store_ids")
        self.caller, self._definition = caller, definition
        self.recalled: list[tuple[Any, Any]] = []
        self.calls: list[Call] = []
        self._found = False

    @property
    def functions(self) -> Sequence[Tool]:
        return [SEARCH]

    async def begin(self, listed: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Preparation]:
        for each in ():
            yield each

    def recall(self, item: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        self.recalled.append((item, kept))

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        self.calls.append(call)
        item = {"id": call.item, "queries": ["cats"]}
        yield Opened(FileSearchCall(status="in_progress", **item))
        yield Progress("response.file_search_call.in_progress")
        yield Progress("response.file_search_call.searching")
        if self._definition.get("hangs", 0) >= call.attempt:
            await asyncio.Event().wait()
        yield Progress("response.file_search_call.completed")
        self._found = True
        results = [{"file_id": "file-1", "text": "Cats purr."}]
        yield Done(FileSearchCall(status="completed", results=results, **item), "Cats purr.", {"passages": [1]})

    def annotator(self, begun: str = "") -> Stars | None:
        return Stars(begun) if self._found and self._definition.get("cites") else None

    def cites(self) -> tuple[int, ...]:
        return (1, 2) if self._found and self._definition.get("cites") else ()


class FakeServer:
    """An MCP server: lists its tools, and asks before each call."""

    prefix = "mcp_"
    functions = (Tool(name="purr"),)

    def __init__(self, definition: Mapping[str, Any], caller: Caller) -> None:
        self._label = definition["server_label"]

    async def begin(self, listed: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Preparation]:
        if not any(item["type"] == "mcp_list_tools" for item in listed):
            item = McpListTools(id="mcpl_1", server_label=self._label)
            yield Opened(item)
            yield Progress("response.mcp_list_tools.in_progress")
            yield Progress("response.mcp_list_tools.completed")
            yield Listed(item)

    def recall(self, item: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        pass

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        of = {"server_label": self._label, "name": call.name, "arguments": call.arguments}
        if call.approval is None:
            yield Asked(McpApprovalRequest(id=f"mcpr_{call.item}", **of))
        else:
            yield Done(McpCall(id=call.item, output="Purr.", approval_request_id=call.approval, **of), "Purr.")


MADE: list[FakeSearch] = []


async def make_search(definition: Mapping[str, Any], caller: Caller) -> FakeSearch:
    MADE.append(FakeSearch(definition, caller))
    return MADE[-1]


async def make_server(definition: Mapping[str, Any], caller: Caller) -> FakeServer:
    return FakeServer(definition, caller)


KINDS = {
    "file_search": Kind(
        make=make_search, items=frozenset({"file_search_call"}),
        replay=lambda item: Replay("search", '{"query":"cats"}', "What was found is not known any more."),
    ),
    "mcp": Kind(
        make=make_server, items=frozenset({"mcp_list_tools", "mcp_call", "mcp_approval_request"}),
        replay=lambda item: Replay(item["name"], item["arguments"], item.get("output") or ""),
    ),
}  # fmt: skip


class Installation:
    """A server's share of it: `restart` is what a kill leaves to the next server."""

    def __init__(self, database: Database, **more: Any) -> None:
        self.database, self.clock, self.engine = database, FakeClock(1_800_000_000.0), FakeEngine()
        self._more = {"retention_s": 1000.0, "per_project": 100, **more}
        self._align = more.get("align")
        self._bell = Bell()
        self.responses = self._responses()
        self._tasks: list[asyncio.Task[None]] = []

    def _responses(self) -> Responses:
        return Responses(
            self.database, self.clock, KINDS, bell=self._bell, queued=lambda: self.worker.poke(), **self._more
        )  # fmt: skip

    def start(self) -> None:
        """The work in the background."""
        background = Background(self.database, self.clock, self.engine.generate, KINDS, self._bell, align=self._align)
        self.worker = Worker(
            self.database, self.clock, KIND, OPEN, background.work, give_up=background.give_up, lease_s=1000.0
        )
        self._tasks.append(asyncio.create_task(self.worker.run()))

    async def stop(self) -> None:
        await self.worker.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def make(self, ask: Ask, **fields: Any) -> tuple[list[Told], dict[str, Any]]:
        """A response in the foreground: its events, and what is kept of it if it is."""
        response = blank(ask, **fields)
        told = [each async for step in self.responses.make(ask, response, self.engine.generate) for each in step]
        return told, msgspec.json.decode(told[-1].body)["response"]

    async def over(self, name: str, project: str = "default") -> dict[str, Any]:
        """A response in the background, once it is over."""
        async with asyncio.timeout(60):
            async for _ in self.responses.follow(project, name, OWNER):
                pass
        return await self.responses.get(project, name, OWNER)

    async def log(self, name: str) -> list[Told]:
        """What its log has by now."""
        async with self.database.read() as connection:
            return [head_of(body) for _, body in await events_after(connection, name, -1, limit=1_000_000)]

    async def wait_for(self, name: str, kind: str) -> list[Told]:
        """The log, once it has an event of that type."""
        async with asyncio.timeout(60):
            while True:
                found = await self.log(name)
                if any(each.type == kind for each in found):
                    return found
                await asyncio.sleep(0.01)


def ask_of(name: str, text: str = "Hello", **fields: Any) -> Ask:
    item = {
        "type": "message", "role": "user", "id": f"msg_{name}", "status": "completed",
        "content": [{"type": "input_text", "text": text}],
    }  # fmt: skip
    usual = {"model": "fake", "project": "default", "tenant": "key", "input": (item,), "streams": True}
    return Ask(**{"id": name, **usual, **fields})


def blank(ask: Ask, **fields: Any) -> Response:
    status = "queued" if ask.background else "in_progress"
    return Response(
        **{"id": ask.id, "created_at": 1, "status": status, "background": ask.background, "model": "fake", **fields}
    )


@contextlib.asynccontextmanager
async def installed(home: Path, url: str, **more: Any) -> AsyncGenerator[Installation]:
    database = await Database.open(home, url)
    await listen(database, "default")
    made = Installation(database, **more)
    made.start()
    try:
        yield made
    finally:
        await made.stop()
        await database.close()
