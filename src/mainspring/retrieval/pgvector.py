"""The index in PostgreSQL, with its extension vector: servers that share the database share it, and hold nothing.

    mainspring_STORE.entries     the entries of a store: how many chunks, vectors and words each has
    mainspring_STORE.chunks      their chunks
    mainspring_STORE.postings    which chunks of an entry a word is in, how often, and how long they are
    mainspring_STORE.vectors     the vectors, once the store has some

A schema for each store: so a graph of vectors is of one store, and to drop one costs nothing. Nothing of it is in the
migrations or in backups.

Words are found by the arithmetic of the embedded index (`words.py`), over postings that are arrays, and not by
PostgreSQL's own search: that does not weigh how rare a word is, cuts no Chinese or Japanese, and its rank is no share
of anything, so that a `score_threshold` would mean something else on each index. Up to `EXACT` vectors are all
compared; among more, HNSW finds the nearest, nearly always.

Methods block while a loop of the engine's own, in a thread, talks to the database.
"""

import asyncio
import math
import re
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from mainspring.core.errors import Unavailable, UserMistake
from mainspring.retrieval.index import Hit, Index, IndexBroken, Indexed
from mainspring.retrieval.pgvector_rows import (
    ADD_ENTRY,
    ALL,
    CHUNKS,
    DIMENSIONS,
    ENTRIES,
    GRAPH,
    NEAREST,
    NUM_VECTORS,
    NUM_VECTORS_AMONG,
    NUMBERS,
    PLACES,
    POSTINGS,
    REMOVE_ENTRY,
    REMOVE_ROWS,
    SEVERAL,
    SUMS,
    TABLES,
    VECTORS,
    Adding,
    best,
    each,
    joined,
    rows,
    scalar,
)
from mainspring.retrieval.words import MOST, gains, slowness_of, weight, words
from mainspring.store.db import Database

__all__ = ["Pgvector", "PgvectorIndex", "opened"]

EXACT = 10_000
"""Vectors of a store, or among which a search looks, that are all compared."""
MAX_WORDS = 64
"""Of a query; the others are not looked for."""
SHARE = 20
"""One part in so many of the vectors, at least, has to pass a filter for the graph to be asked: pgvector looks at
20,000 before it gives up."""
LEAST_EF, MOST_EF = 200, 1000
"""How many vectors HNSW keeps in sight; pgvector takes no more than the latter."""
MOST_DIMENSIONS = 2000
"""That pgvector's HNSW takes; longer vectors are all compared."""
PLAIN_DIMENSIONS = 1900
"""Of a vector that fits into a page beside the rest of its row."""
LOCK = 0x6D616978
"""Of PostgreSQL, with a hash of the store's id: one at a time makes tables or a graph."""
PREFIX = "mainspring_"

_DROPPED = {"3F000", "42P01"}
"""PostgreSQL's words for a schema and a table that are not there."""
T = TypeVar("T")


def opened(database: Database) -> "Pgvector":
    """The engine over an installation's database. Blocks.

    Raises:
        UserMistake: it is not PostgreSQL, or has no extension vector and gets none.
    """
    if not database.is_shared:
        raise UserMistake(
            "Setting 'vector_stores.index': pgvector is an extension of PostgreSQL, and the database is SQLite: name a "
            "PostgreSQL database with the setting 'database', or leave the index 'embedded'."
        )
    engine = Pgvector(database)
    try:
        engine.prepare()
    except BaseException:
        engine.close()
        raise
    return engine


class Pgvector:
    """See `index.Engine`."""

    def __init__(self, database: Database) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pgvector", daemon=True)
        self._thread.start()
        # Connections of its own: they belong to this loop, and no index waits for those that requests hold.
        self._database = Database(
            create_async_engine(database.engine.url, pool_pre_ping=True, pool_size=5, max_overflow=-1)
        )
        self.scans_on = False

    def prepare(self) -> None:
        """Make the extension, if it is not there.

        Raises:
            UserMistake: that cannot be done.
        """
        try:
            version = self.run(self._prepare())
        except (DBAPIError, Unavailable) as error:
            why = str(getattr(error, "orig", None) or error).rpartition(": ")[2].partition("\n")[0]
            raise UserMistake(
                f"Setting 'vector_stores.index': PostgreSQL's extension vector cannot be used ({why}). Install "
                "pgvector 0.5 or newer beside PostgreSQL, and let its administrator run CREATE EXTENSION vector in "
                "this database."
            ) from error
        numbers = tuple(int(each) for each in re.findall(r"\d+", version))
        if numbers < (0, 5):
            raise UserMistake(
                f"Setting 'vector_stores.index': pgvector is {version}, and has no HNSW before 0.5: update it, and run "
                "ALTER EXTENSION vector UPDATE."
            )
        self.scans_on = numbers >= (0, 8)

    async def _prepare(self) -> str:
        asked = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        async with self.changing("") as connection:
            version = (await connection.exec_driver_sql(asked)).scalar()
            if version is None:
                await connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
                version = (await connection.exec_driver_sql(asked)).scalar_one()
        return version

    def open(self, store: str, dimensions: int) -> Index:
        """See `index.Engine`."""
        return PgvectorIndex(self, store, dimensions)

    def drop(self, store: str) -> None:
        """See `index.Engine`."""
        self.run(self._drop(store))

    async def _drop(self, store: str) -> None:
        async with self.changing(store) as connection:
            await connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema_of(store)} CASCADE")

    def stores(self) -> list[str]:
        """See `index.Engine`."""
        return self.run(self._stores())

    async def _stores(self) -> list[str]:
        async with self._database.read() as connection:
            asked = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)"
            found = await connection.exec_driver_sql(asked, (f"{PREFIX}vs_",))
            return [str(name).removeprefix(PREFIX) for name in found.scalars()]

    def close(self) -> None:
        """See `index.Engine`."""
        if not self._loop.is_closed():
            self.run(self._closed())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _closed(self) -> None:
        await self._database.close()
        await self._loop.shutdown_default_executor()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work comes to, in the loop; a store whose tables are gone is broken."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", "") in _DROPPED:
                raise IndexBroken("another server has dropped it") from error
            raise

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """One state of the database."""
        async with self._database.read() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction, beside those of others: an index is nobody's rows."""
        async with self._database.read() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def changing(self, store: str) -> AsyncGenerator[AsyncConnection]:
        """A transaction that makes or drops what holds a store's rows; one at a time, whichever server's."""
        async with self.writing() as connection:
            await connection.exec_driver_sql("SELECT pg_advisory_xact_lock($1::int, hashtext($2))", (LOCK, store))
            yield connection


class PgvectorIndex:
    """See `index.Index`. Any number of servers may have the same one open.

    Raises:
        IndexBroken: its vectors have other dimensions.
    """

    def __init__(self, engine: Pgvector, store: str, dimensions: int) -> None:
        self._engine, self._store, self._schema = engine, store, schema_of(store)
        self._dimensions = engine.run(self._prepare(dimensions))
        self._has_graphs = 0 < self._dimensions <= MOST_DIMENSIONS

    async def _prepare(self, dimensions: int) -> int:
        async with self._engine.changing(self._store) as connection:
            there = await scalar(connection, "SELECT to_regclass($1)", f"{self._schema}.postings")
            if there is None:
                await each(connection, self._sql(TABLES))
            kept = await scalar(connection, DIMENSIONS, f"{self._schema}.vectors")
            if kept and dimensions and kept != dimensions:
                raise IndexBroken(f"{kept} dimensions")
            if dimensions and not kept:  # the store has got its first vectors
                storage = "PLAIN" if dimensions <= PLAIN_DIMENSIONS else "EXTERNAL"
                made = self._sql(VECTORS, dimensions=dimensions, storage=storage)
                await each(connection, made)
        return dimensions or kept or 0

    def entries(self) -> set[str]:
        """See `index.Index`."""
        return self._engine.run(self._entries())

    async def _entries(self) -> set[str]:
        async with self._engine.reading() as connection:
            return set((await connection.exec_driver_sql(self._sql(ENTRIES))).scalars())

    def add(self, entry: str, chunks: Iterator[Sequence[Indexed]]) -> None:
        """See `index.Index`."""
        self._engine.run(self._add(entry, chunks))
        if self._has_graphs:
            self._engine.run(self._graph())

    async def _add(self, entry: str, chunks: Iterator[Sequence[Indexed]]) -> None:
        async with self._engine.writing() as connection:
            # Who adds the same at the same time waits here for the other's end.
            number = await scalar(connection, self._sql(ADD_ENTRY), entry)
            if number is None:
                return
            adding = Adding(connection, self._schema, number, self._dimensions)
            while page := await asyncio.to_thread(next, chunks, None):
                await adding.put(page)
            await adding.finish()

    async def _graph(self) -> None:
        async with self._engine.reading() as connection:
            if await scalar(connection, self._sql(NUM_VECTORS)) <= EXACT or await self._has_graph(connection):
                return
        async with self._engine.changing(self._store) as connection:
            await connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '256MB'")
            await connection.exec_driver_sql(self._sql(GRAPH))

    async def _has_graph(self, connection: AsyncConnection) -> bool:
        return await scalar(connection, "SELECT to_regclass($1)", f"{self._schema}.graph") is not None

    def remove(self, entries: Iterable[str]) -> None:
        """See `index.Index`."""
        for entry in entries:
            self._engine.run(self._remove(entry))

    async def _remove(self, entry: str) -> None:
        async with self._engine.writing() as connection:
            number = await scalar(connection, self._sql(REMOVE_ENTRY), entry)
            if number is None:
                return
            for table in ("chunks", "postings", *(["vectors"] if self._dimensions else [])):
                await connection.exec_driver_sql(self._sql(REMOVE_ROWS, table=table), (number,))

    # -- searching -----------------------------------------------------------------------------------------------------

    def by_text(self, query: str, limit: int, among: set[str] | None = None) -> list[Hit]:
        """See `index.Index`. The relevance is the share of the highest BM25 that there could be."""
        wanted = list(dict.fromkeys(words(query)))[:MAX_WORDS]
        num_chunks, mean, numbers, found = self._engine.run(self._postings(wanted, among))
        if not num_chunks:
            return []
        most, each_chunks, each_gains = 0.0, list[NDArray[np.int64]](), list[NDArray[np.float32]]()
        for word in wanted:
            chunks, postings = joined(found.get(word, ()))
            weighs = weight(num_chunks, len(chunks))
            most += MOST * weighs
            gained = gains(postings["count"].astype(np.float32), slowness_of(postings["length"], mean))
            if numbers is not None:
                there = np.isin(chunks >> PLACES, numbers)
                chunks, gained = chunks[there], gained[there]
            each_chunks.append(chunks)
            each_gains.append(gained * np.float32(weighs))
        return best(each_chunks, each_gains, limit, most)

    async def _postings(
        self, wanted: list[str], among: set[str] | None
    ) -> tuple[int, float, NDArray[np.int64] | None, Mapping[str, list[tuple[int, bytes]]]]:
        """How many chunks there are, their mean length, the numbers of the entries to look among, and rows by word."""
        found: dict[str, list[tuple[int, bytes]]] = {}
        async with self._engine.reading() as connection:
            num_chunks, num_words = (await rows(connection, self._sql(SUMS)))[0]
            for word, number, block in await rows(connection, self._sql(POSTINGS), wanted):
                found.setdefault(word, []).append((number, block))
            numbers = None if among is None else np.array(await self._numbers(connection, among), np.int64)
        return num_chunks, num_words / max(num_chunks, 1), numbers, found

    async def _numbers(self, connection: AsyncConnection, among: set[str]) -> list[int]:
        return list((await connection.exec_driver_sql(self._sql(NUMBERS), (sorted(among),))).scalars())

    def by_vector(self, vector: NDArray[np.float32], limit: int, among: set[str] | None = None) -> list[Hit]:
        """See `index.Index`. A chunk with several vectors is as near as the nearest."""
        if not self._dimensions or len(vector) != self._dimensions:
            return []
        return self._engine.run(self._by_vector(vector.tolist(), limit, among))

    async def _by_vector(self, vector: list[float], limit: int, among: set[str] | None) -> list[Hit]:
        where, given = "", list[Any]([vector, limit])
        async with self._engine.reading() as connection:
            if among is not None:
                where = "WHERE number = ANY($3::bigint[])"
                given.append(await self._numbers(connection, among))
            asked = self._sql(ALL, among=where)
            if await self._is_large(connection, None if among is None else given[2]):
                some = await self._near(connection, limit)
                asked = self._sql(NEAREST, among=where, some=some)
            found = await rows(connection, asked, *given)
        # A vector of zeros is no distance away from anything: NaN.
        return [Hit(chunk, min(max(1.0 - far, 0.0), 1.0) if not math.isnan(far) else 0.0) for chunk, far in found]

    async def _is_large(self, connection: AsyncConnection, numbers: list[int] | None) -> bool:
        """Whether to ask the graph, which finds too little if most of it does not pass a filter."""
        every = await scalar(connection, self._sql(NUM_VECTORS))
        if numbers is None or every <= EXACT:
            return every > EXACT and self._has_graphs
        some = await scalar(connection, self._sql(NUM_VECTORS_AMONG), numbers)
        return self._has_graphs and self._engine.scans_on and some > EXACT and some * SHARE >= every

    async def _near(self, connection: AsyncConnection, limit: int) -> int:
        """How many vectors to ask the graph for, which is told to see as many: a chunk may have several."""
        some = limit * int(await scalar(connection, self._sql(SEVERAL)))
        sight = min(max(2 * some, LEAST_EF), MOST_EF)
        await connection.exec_driver_sql(f"SET LOCAL hnsw.ef_search = {sight}")
        await connection.exec_driver_sql("SET LOCAL enable_sort = off")  # nothing but the graph gives them in order
        if self._engine.scans_on:  # goes on until there are enough that pass the filter
            await connection.exec_driver_sql("SET LOCAL hnsw.iterative_scan = strict_order")
        return some

    def fetch(self, chunks: Sequence[int]) -> dict[int, tuple[str, Indexed]]:
        """See `index.Index`."""
        return self._engine.run(self._fetch(list(chunks)))

    async def _fetch(self, chunks: list[int]) -> dict[int, tuple[str, Indexed]]:
        found: dict[int, tuple[str, Indexed]] = {}
        async with self._engine.reading() as connection:
            for chunk, entry, heading, text, begins, ends, page in await rows(connection, self._sql(CHUNKS), chunks):
                path = msgspec.json.decode(heading, type=tuple[str, ...])
                found[chunk] = entry, Indexed(text=text, start=begins, end=ends, page=page, heading=path)
        return found

    def close(self) -> None:
        """See `index.Index`. It holds nothing."""

    def _sql(self, statement: str, **more: object) -> str:
        return statement.format(schema=self._schema, **more)


def schema_of(store: str) -> str:
    """The schema with a store's tables, as SQL writes it."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,50}", store), store
    return f'"{PREFIX}{store}"'
