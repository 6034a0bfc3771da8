"""The indexes of this server: opened when they are needed, brought up to the database's rows before they are asked.

    HOME/indexes/STORE/    the embedded index of one store; made of rows, so it may be deleted while no server runs

Servers that share a database have an embedded index each, or all the same one in PostgreSQL: whatever one of them
changes, the others see before their next search. So that none takes out what another has just put in, an index is
asked what it holds before the rows are read: an entry that is held and has no row then never gets one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mainspring.core import log
from mainspring.core.threads import drawn, in_thread
from mainspring.retrieval import rows
from mainspring.retrieval.index import Engine, Index, IndexBroken, Indexed
from mainspring.retrieval.rows import Attached, Findable, Store
from mainspring.store.db import Database

__all__ = ["INDEXES", "Current", "Indexes"]

INDEXES = "indexes"
"""The folder in the data directory."""
MAX_OPEN = 64
PAGE = 256
"""Chunks that are read from the database at a time."""
_log = log.get("mainspring.retrieval")


@dataclass(eq=False)
class _Held:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    index: Index | None = None
    dimensions: int = 0
    state: Findable | None = None
    files: dict[str, Attached] = field(default_factory=dict[str, Attached])


@dataclass(frozen=True)
class Current:
    """An index that holds what the database does, for as long as the block lasts, and its files by entry."""

    index: Index
    files: dict[str, Attached]


class Indexes:
    """The open indexes of one server.

    Args:
        engine: keeps them; it is closed with them.
    """

    def __init__(self, database: Database, engine: Engine) -> None:
        self._database, self._engine = database, engine
        self._held: OrderedDict[str, _Held] = OrderedDict()

    @asynccontextmanager
    async def current(self, store: Store) -> AsyncGenerator[Current]:
        """A store's index, brought up to date, which nobody else uses meanwhile.

        Raises:
            Unavailable: the database does not answer.
        """
        held = self._held.setdefault(store.id, _Held())
        self._held.move_to_end(store.id)
        async with held.lock:
            await self._refresh(store, held)
            assert held.index is not None
            try:
                yield Current(held.index, held.files)
            except IndexBroken:
                await self._drop(store.id, held)
                raise
        await self._close_some()

    async def refresh(self, store: Store) -> None:
        """Bring a store's index up to date, so that the next search need not."""
        async with self.current(store):
            pass

    async def drop(self, store: str) -> None:
        """Delete a store's index."""
        held = self._held.setdefault(store, _Held())
        async with held.lock:
            await self._drop(store, held)
        self._held.pop(store, None)

    async def kept(self) -> list[str]:
        """Stores that there are indexes of."""
        return await in_thread(self._engine.stores)

    async def close(self) -> None:
        """Close all of them."""
        for held in self._held.values():
            async with held.lock:
                await self._shut(held)
        self._held.clear()
        await in_thread(self._engine.close)

    async def _refresh(self, store: Store, held: _Held) -> None:
        async with self._database.read() as connection:
            state = await rows.findable_state(connection, store.id)
            if held.index is not None and held.state == state:
                return
            kept = await rows.find_store(connection, store.id)
        dimensions = kept.dimensions if kept is not None else store.dimensions
        await self._mended(store.id, held, lambda: self._bring_up(store.id, held, dimensions))

    async def _mended(self, store: str, held: _Held, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except IndexBroken as error:
            _log.warning("an index is made anew", store=store, why=str(error))
            await self._drop(store, held)
            await work()

    async def _bring_up(self, store: str, held: _Held, dimensions: int) -> None:
        if held.index is None or held.dimensions != dimensions:
            await self._shut(held)
            held.index = await in_thread(self._engine.open, store, dimensions)
            held.dimensions = dimensions
        index, loop = held.index, asyncio.get_running_loop()
        has = await in_thread(index.entries)
        async with self._database.read() as connection:
            found = await rows.findable(connection, store)
        files = {each.entry: each for each in found}
        await in_thread(index.remove, sorted(has - files.keys()))
        for entry in [entry for entry in files if entry not in has]:
            await in_thread(index.add, entry, drawn(loop, self._chunks(entry)))
        held.files = files
        held.state = Findable(len(found), max((each.revision for each in found), default=0))

    async def _chunks(self, entry: str) -> AsyncGenerator[list[Indexed]]:
        start = 0
        while True:
            async with self._database.read() as connection:
                page = await rows.chunks_of(connection, entry, start, PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            start += PAGE

    async def _close_some(self) -> None:
        """Close what was not used for longest, if much is open."""
        for store in list(self._held)[: max(len(self._held) - MAX_OPEN, 0)]:
            if not self._held[store].lock.locked():
                await self._shut(self._held.pop(store))

    async def _shut(self, held: _Held) -> None:
        if held.index is not None:
            await in_thread(held.index.close)
        held.index, held.state = None, None

    async def _drop(self, store: str, held: _Held) -> None:
        await self._shut(held)
        await in_thread(self._engine.drop, store)
