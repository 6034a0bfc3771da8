"""The two indexes for `retrieval.py`, each opened as a server does: in a folder, or in a PostgreSQL of its own."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import psutil

from mainspring.retrieval import pgvector
from mainspring.retrieval.embedded import Embedded
from mainspring.retrieval.index import Index
from mainspring.retrieval.pgvector import opened, schema_of
from mainspring.retrieval.pgvector_rows import PLACES
from mainspring.store.db import Database
from tests.postgres import programs_with_vectors, running

__all__ = ["KINDS", "Made", "Maker", "maker"]

KINDS = ("embedded", "pgvector")
STORE = "vs_benchmark"


@dataclass(frozen=True)
class Made:
    """An index, and what it takes beside this process.

    `place` is where a chunk was among those that were added, if all entries have `entry_chunks` of them.
    """

    index: Index
    place: Callable[[int, int], int]
    disk_mb: Callable[[], float]
    database_mb: Callable[[], float]


Maker = Callable[[int], contextlib.AbstractContextManager[Made]]


@contextlib.contextmanager
def maker(kind: str, folder: Path, exact: int) -> Generator[Maker]:
    """What makes new indexes of this kind, for vectors of so many dimensions. Raises SystemExit if it cannot be had.

    Args:
        exact: how many vectors pgvector compares one by one before it makes a graph.
    """
    if kind not in KINDS:
        raise SystemExit(f"--index is one of: {', '.join(KINDS)}")
    if kind == "embedded":
        yield lambda dimensions: _embedded(folder, dimensions)
        return
    pgvector.EXACT = exact
    # As it is installed: commits reach the disk, and its memory is what its package's settings say.
    with running(programs_with_vectors(), settings=()) as server:
        if server is None:
            raise SystemExit("PostgreSQL with pgvector is not here: scripts/test fetches it.")
        yield lambda dimensions: _pgvector(server.url(), server.pid, dimensions)


@contextlib.contextmanager
def _embedded(folder: Path, dimensions: int) -> Generator[Made]:
    engine = Embedded(folder)
    index, place = engine.open(STORE, dimensions), folder / STORE
    try:
        yield Made(
            index,
            lambda chunk, _: chunk - 1,
            lambda: sum(file.stat().st_size for file in place.iterdir()) / 2**20,
            lambda: 0.0,
        )
    finally:
        index.close()
        engine.drop(STORE)


@contextlib.contextmanager
def _pgvector(url: str, pid: int, dimensions: int) -> Generator[Made]:
    engine = opened(Database.at(url))
    index = engine.open(STORE, dimensions)

    async def size() -> int:
        asked = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = "
        async with engine.reading() as connection:
            found = await connection.exec_driver_sql(asked + f"'{schema_of(STORE)}'::regnamespace")
            return found.scalar_one()

    def place(chunk: int, entry_chunks: int) -> int:
        return ((chunk >> PLACES) - 1) * entry_chunks + chunk % (1 << PLACES)

    def memory() -> float:
        """What its processes share is counted once."""
        server = psutil.Process(pid)
        return sum(each.memory_full_info().pss for each in (server, *server.children())) / 2**20

    try:
        yield Made(index, place, lambda: engine.run(size()) / 2**20, memory)
    finally:
        index.close()
        engine.drop(STORE)
        engine.close()
