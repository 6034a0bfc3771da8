"""Vector stores: what keeps, fills and searches them, and the loops that run for as long as the server does."""

from contextlib import AsyncExitStack
from functools import lru_cache
from typing import TYPE_CHECKING

from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.core.errors import ModelNotFound
from mainspring.core.threads import in_thread
from mainspring.models.catalog import Catalog
from mainspring.wiring.running import running

if TYPE_CHECKING:
    from mainspring.api.services import VectorStores
    from mainspring.core.seams import Deployments, Embed, Generate
    from mainspring.retrieval.index import Engine
    from mainspring.retrieval.vectors import Count
    from mainspring.store.db import Database
    from mainspring.store.files import Files

__all__ = ["Tokenizers", "vector_stores"]


async def vector_stores(
    settings: Settings, database: "Database", files: "Files", models: "Deployments", *, generate: "Generate",
    embed: "Embed", stack: AsyncExitStack,
) -> "VectorStores":  # fmt: skip
    """Everything about vector stores; what works on them stops when the stack is closed.

    Raises:
        UserMistake: their index cannot be where the settings want it.
    """
    from mainspring.api.services import VectorStores
    from mainspring.retrieval.aligning import Aligning
    from mainspring.retrieval.attaching import Attaching
    from mainspring.retrieval.chunk import chunks
    from mainspring.retrieval.held import Indexes
    from mainspring.retrieval.indexing import KIND, Indexing
    from mainspring.retrieval.parser import Parser
    from mainspring.retrieval.rewriting import Rewriting
    from mainspring.retrieval.searching import Searching
    from mainspring.retrieval.stores import Stores
    from mainspring.retrieval.vectors import Vectors
    from mainspring.store.worker import Worker

    clock, wanted = SystemClock(), settings.vector_stores
    indexes = Indexes(database, await _engine(settings, database))
    stack.push_async_callback(indexes.close)
    vectors = Vectors(
        embed=embed, models=models, wanted=wanted.embedding, tokenizer=Tokenizers(Catalog(settings.home / "models"))
    )
    parser = await stack.enter_async_context(Parser())
    indexing = Indexing(
        database, clock, files, indexes, vectors=vectors, parse=parser.parse, cut=chunks,
        max_tokens=wanted.max_file_tokens,
    )  # fmt: skip
    worker = Worker(
        database, clock, KIND, ("in_progress",), indexing.work, give_up=indexing.give_up, concurrent=wanted.concurrent
    )
    stores = Stores(database, clock, indexes)
    rewriting = Rewriting(generate=generate, models=models, wanted=wanted.rewriter)
    searching = Searching(database, clock, indexes, vectors=vectors, rewriting=rewriting)
    stack.enter_context(running(stores.keep_swept()))
    stack.enter_context(running(worker.run()))
    stack.push_async_callback(worker.stop)
    return VectorStores(
        stores=stores, attaching=Attaching(database, clock, stores, worker.poke), search=searching.search,
        align=Aligning(vectors),
    )  # fmt: skip


async def _engine(settings: Settings, database: "Database") -> "Engine":
    """What keeps the indexes.

    Raises:
        UserMistake: it is to be pgvector, which cannot be had.
    """
    if settings.vector_stores.index == "pgvector":
        from mainspring.retrieval.pgvector import opened

        return await in_thread(opened, database)
    from mainspring.retrieval.embedded import Embedded
    from mainspring.retrieval.held import INDEXES

    return Embedded(settings.home / INDEXES)


class Tokenizers:
    """Counts tokens as a model of the catalog does, if its tokenizer lies there as a file of its own."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._find = lru_cache(maxsize=8)(self._load)

    def __call__(self, model: str) -> "Count | None":
        """What counts for the model name@version; None if it cannot be asked."""
        return self._find(model)

    def _load(self, model: str) -> "Count | None":
        from tokenizers import Tokenizer

        try:
            version = self._catalog.get(model)
        except ModelNotFound:
            return None
        path = self._catalog.folder(version) / "tokenizer.json"
        if not path.exists():
            return None
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
