"""Hybrid search: by words and by vectors, in one store or several, joined by reciprocal rank fusion (`fusion.py`).

`Searching.search` is the seam `core.seams.Search`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import NotFound
from mainspring.core.search import Found, SearchRequest, SearchResult
from mainspring.core.threads import in_thread
from mainspring.retrieval import rows
from mainspring.retrieval.filters import fits
from mainspring.retrieval.fusion import falling, fused
from mainspring.retrieval.held import Indexes
from mainspring.retrieval.index import Hit, IndexBroken, Indexed
from mainspring.retrieval.lives import check_lives
from mainspring.retrieval.rewriting import Rewriting
from mainspring.retrieval.rows import Attached, Store
from mainspring.retrieval.vectors import Vectors
from mainspring.store.db import Database

__all__ = ["Rerank", "Searching"]

DEPTH = 100
"""Chunks of each order that are joined. A chunk beyond it in one order is as one that is not in it."""
RERANKED = 50
"""Chunks that a reranker is shown."""
TOUCH_S = 60.0
"""How exact the time is at which a store was last used: writing it at each search would cost more than the search."""
_log = log.get("mainspring.retrieval")

Rerank = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""(query, texts) -> how relevant each text is, from 0 to 1."""


class _Key(NamedTuple):
    """A chunk, among those of all stores."""

    store: str
    chunk: int


@dataclass
class _Order:
    """Chunks by one measure, for one query."""

    weight: float
    relevance: dict[_Key, float] = field(default_factory=dict[_Key, float])

    def add(self, store: str, hits: Sequence[Hit]) -> None:
        self.relevance |= {_Key(store, hit.chunk): hit.relevance for hit in hits}

    def best(self) -> list[_Key]:
        return sorted(self.relevance, key=lambda key: -self.relevance[key])[:DEPTH]


class Searching:
    """Searches the stores of one installation.

    Args:
        rerank: looks at what was found once more; None does without.
    """

    def __init__(
        self, database: Database, clock: Clock, indexes: Indexes, *, vectors: Vectors, rewriting: Rewriting,
        rerank: Rerank | None = None,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._indexes = database, clock, indexes
        self._vectors, self._rewriting, self._rerank = vectors, rewriting, rerank

    async def search(self, request: SearchRequest) -> SearchResult:
        """See `core.seams.Search`."""
        stores = await self._stores(request)
        queries = request.queries
        if request.rewrite:
            queries = tuple([await self._rewriting.rewrite(query, request) for query in queries])
        try:
            found = await self._search(request, stores, queries)
        except IndexBroken as error:  # it is gone now, and is made anew
            _log.warning("an index is made anew", why=str(error))
            found = await self._search(request, stores, queries)
        return SearchResult(found=tuple(found), queries=queries)

    async def _stores(self, request: SearchRequest) -> list[Store]:
        found: list[Store] = []
        async with self._database.read() as connection:
            for name in dict.fromkeys(request.stores):
                store = await rows.find_store(connection, name)
                if store is None or store.project != request.project:
                    raise NotFound(f"Vector store with id '{name[:100]}' not found.", param="vector_store_id")
                check_lives(store, self._clock.now())
                found.append(store)
        stale = [store for store in found if self._clock.now() - store.active >= TOUCH_S]
        if stale:
            async with self._database.write() as connection:
                for store in stale:
                    await rows.touch(connection, store, self._clock.now())
        return found

    async def _search(self, request: SearchRequest, stores: list[Store], queries: tuple[str, ...]) -> list[Found]:
        weights = request.ranking
        orders = [(_Order(weights.text_weight), _Order(weights.vector_weight)) for _ in queries]
        files: dict[str, dict[str, Attached]] = {}
        for store in stores:
            vectors = [await self._vector(store, query, request) for query in queries]
            async with self._indexes.current(store) as current:
                files[store.id] = current.files
                among = _among(request, current.files)
                if among is not None and not among:
                    continue
                for query, vector, (by_text, by_vector) in zip(queries, vectors, orders, strict=True):
                    if by_text.weight:
                        by_text.add(store.id, await in_thread(current.index.by_text, query, DEPTH, among))
                    if by_vector.weight and vector is not None:
                        by_vector.add(store.id, await in_thread(current.index.by_vector, vector, DEPTH, among))
        return await self._joined(request, {store.id: store for store in stores}, orders, files)

    async def _vector(self, store: Store, query: str, request: SearchRequest) -> NDArray[np.float32] | None:
        if not store.model or not request.ranking.vector_weight:
            return None
        vector = await self._vectors.of_query(query, project=request.project, model=store.model, tenant=request.tenant)
        if vector is None:
            _log.warning("no deployment makes this store's vectors: its words alone are searched", store=store.id)
        return vector

    async def _joined(
        self, request: SearchRequest, stores: Mapping[str, Store], orders: Sequence[tuple[_Order, _Order]],
        files: Mapping[str, Mapping[str, Attached]],
    ) -> list[Found]:  # fmt: skip
        both = [each for pair in orders for each in pair]
        keys = fused([(each.weight, each.best()) for each in both])
        relevance = {key: max(each.relevance.get(key, 0.0) for each in both) for key in keys}
        reranks = self._rerank is not None and request.ranking.rerank
        keys = keys[: RERANKED if reranks else request.limit]
        chunks = await self._fetched(keys, stores)
        keys = [key for key in keys if key in chunks and chunks[key][0] in files[key.store]]
        if reranks and keys:
            keys, relevance = await self._reranked(request.queries, keys, chunks)
        scores = falling(keys, relevance)
        return [
            _found(key.store, files[key.store][chunks[key][0]], chunks[key][1], score)
            for key, score in zip(keys, scores, strict=True)
            if score >= request.ranking.threshold
        ][: request.limit]

    async def _fetched(self, keys: Sequence[_Key], stores: Mapping[str, Store]) -> dict[_Key, tuple[str, Indexed]]:
        found: dict[_Key, tuple[str, Indexed]] = {}
        for store in dict.fromkeys(key.store for key in keys):
            async with self._indexes.current(stores[store]) as current:
                wanted = [key.chunk for key in keys if key.store == store]
                fetched = await in_thread(current.index.fetch, wanted)
                found |= {_Key(store, chunk): each for chunk, each in fetched.items()}
        return found

    async def _reranked(
        self, queries: tuple[str, ...], keys: list[_Key], chunks: Mapping[_Key, tuple[str, Indexed]]
    ) -> tuple[list[_Key], dict[_Key, float]]:
        assert self._rerank is not None
        texts = [chunks[key][1].text for key in keys]
        relevance: dict[_Key, float] = dict.fromkeys(keys, 0.0)
        for query in queries:
            for key, score in zip(keys, await self._rerank(query, texts), strict=True):
                relevance[key] = max(relevance[key], min(max(score, 0.0), 1.0))
        return sorted(keys, key=lambda key: -relevance[key]), relevance


def _among(request: SearchRequest, files: Mapping[str, Attached]) -> set[str] | None:
    wanted = request.filter
    if wanted is None:
        return None
    return {entry for entry, each in files.items() if fits(wanted, each.attributes)}


def _found(store: str, attached: Attached, chunk: Indexed, score: float) -> Found:
    return Found(
        store=store, file=attached.file, filename=attached.filename, score=round(score, 6),
        attributes=dict(attached.attributes), text=chunk.text, start=chunk.start, end=chunk.end, page=chunk.page,
        heading=chunk.heading,
    )  # fmt: skip
