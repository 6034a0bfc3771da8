"""All of vector stores without a server: real rows, index and worker, over a fake model and a reader of plain text."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.search import SearchRequest, SearchResult
from mainspring.core.types import Embeddings, EmbedRequest, ModelInfo
from mainspring.engine.fake import FakeEmbedder, FakeEngine
from mainspring.retrieval.attaching import AUTO, Attaching, Chunking, Wish
from mainspring.retrieval.chunk import chunks
from mainspring.retrieval.embedded import Embedded
from mainspring.retrieval.held import Indexes
from mainspring.retrieval.indexing import KIND, Indexing
from mainspring.retrieval.passages import Passage
from mainspring.retrieval.pgvector import opened
from mainspring.retrieval.rewriting import Rewriting
from mainspring.retrieval.rows import Attached
from mainspring.retrieval.searching import Searching
from mainspring.retrieval.stores import Stores
from mainspring.retrieval.vectors import Vectors
from mainspring.store.blobs import Directory
from mainspring.store.db import Database
from mainspring.store.files import Files
from mainspring.store.worker import Worker

SMALL = Chunking(100, 0)


async def parse(path: Path, filename: str) -> AsyncGenerator[Passage]:
    """A passage for each paragraph; "!broken" and "!unknown" in a name do what they say."""
    if "!broken" in filename:
        raise InvalidRequest("It is broken.", code="invalid_file")
    if "!unknown" in filename:
        raise InvalidRequest("It is unknown.", code="unsupported_file")
    at = 0
    for part in path.read_text("utf-8").split("\n\n"):  # noqa: ASYNC240 - small
        if part.strip():
            yield Passage(text=part, start=at)
        at += len(part) + 2


class Models(FakeEngine):
    """What is deployed; `embedder` may be exchanged for another."""

    def __init__(self, *embedders: FakeEmbedder) -> None:
        super().__init__(("fake",))
        self.embedders = {each.model.id: each for each in embedders}

    def list(self, project: str = "") -> Sequence[ModelInfo]:
        return [*super().list(project), *(each.model for each in self.embedders.values())]

    async def embed(self, request: EmbedRequest) -> Embeddings:
        return await self.embedders[request.model].embed(request)


class Installation:
    """One server's worth."""

    def __init__(self, home: Path, database: Database, models: Models, **more: Any) -> None:
        clock: Clock = more.pop("clock", None) or SystemClock()
        self.database, self.models = database, models
        self.files = Files(database, Directory(home / "blobs"), SystemClock())
        self.indexes = Indexes(database, more.pop("engine", None) or Embedded(home / more.pop("folder", "indexes")))
        self.vectors = Vectors(embed=models.embed, models=models)
        self.indexing = Indexing(
            database, clock, self.files, self.indexes, vectors=self.vectors, parse=more.pop("parse", parse),
            cut=more.pop("cut", chunks), max_tokens=more.pop("max_tokens", 100_000),
        )  # fmt: skip
        self._clock, self._lease_s = clock, more.pop("lease_s", 30.0)
        self.stores = Stores(database, clock, self.indexes)
        self.attaching = Attaching(database, clock, self.stores, lambda: None)
        rewriting = Rewriting(generate=models.generate, models=models)
        self.searching = Searching(
            database, clock, self.indexes, vectors=self.vectors, rewriting=rewriting, rerank=more.pop("rerank", None)
        )

    def worker(self) -> Worker:
        """One that is stopped does not start again."""
        return Worker(
            self.database, self._clock, KIND, ("in_progress",), self.indexing.work, give_up=self.indexing.give_up,
            lease_s=self._lease_s,
        )  # fmt: skip

    async def store(self, project: str = "p", **more: Any) -> str:
        made = self.stores.new(project=project, by="key", **more)
        await self.attaching.create_store(made, [])
        return made.id

    async def file(self, text: str, name: str = "a.txt", project: str = "p") -> str:
        async def stream() -> AsyncGenerator[bytes]:
            yield text.encode()

        made = await self.files.create(project=project, purpose="assistants", filename=name, stream=stream())
        return made.id

    async def put(self, store: str, text: str, name: str = "a.txt", **more: Any) -> Attached:
        """A file in a store, on its way."""
        wish = Wish(
            file=await self.file(text, name, more.get("project", "p")), attributes=more.get("attributes", {}),
            chunking=more.get("chunking", AUTO),
        )  # fmt: skip
        return await self.attaching.attach(more.get("project", "p"), store, wish, by="key")

    async def ended(self, attached: Attached) -> Attached:
        """The file once it has come to its end."""
        found = attached

        async def done() -> bool:
            nonlocal found
            found = await self.attaching.get("p", attached.store, attached.file)
            return found.status != "in_progress"

        await until(done)
        return found

    async def search(self, *stores: str, query: str, **more: Any) -> SearchResult:
        return await self.searching.search(SearchRequest(project="p", stores=stores, queries=(query,), **more))

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        worker = self.worker()
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:

            async def idle() -> bool:
                return not worker._running

            await until(idle)
            await worker.stop()
            await task


async def until(done: Callable[[], Awaitable[bool]], limit_s: float = 90) -> None:
    async with asyncio.timeout(limit_s):
        while not await done():  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def installation(
    home: Path, url: str, models: Models | None = None, *, pgvector: bool = False, **more: Any
) -> AsyncGenerator[Installation]:
    """Opened, and closed again."""
    database = await Database.open(home, url)
    if pgvector:
        more["engine"] = await asyncio.to_thread(opened, database)
    made = Installation(home, database, models or Models(FakeEmbedder(dimensions=32)), **more)
    try:
        yield made
    finally:
        await made.indexes.close()
        await database.close()
