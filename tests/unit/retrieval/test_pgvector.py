"""What only the index in PostgreSQL has: a graph of many vectors, servers that share it, and databases without it."""

import asyncio
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from mainspring.core.errors import UserMistake
from mainspring.retrieval import pgvector
from mainspring.retrieval.index import IndexBroken, Indexed
from mainspring.retrieval.pgvector import Pgvector, opened
from mainspring.store.db import Database
from tests.postgres import Postgres
from tests.unit.retrieval.test_index import pages

DIMENSIONS = 8
NUM = 600


@pytest.fixture
def url(pgvector_server: Postgres) -> str:
    return pgvector_server.url()


@pytest.fixture
def engine(url: str) -> Generator[Pgvector]:
    made = opened(Database.at(url))
    yield made
    made.close()


def rows(seed: int, num: int) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((num, DIMENSIONS)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


async def num_scans(engine: Pgvector) -> int:
    """How often the graph was asked; PostgreSQL counts once a session is idle for a second or is closed."""
    await engine._database.engine.dispose()
    await asyncio.sleep(0.2)
    asked = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'graph'"
    async with engine.reading() as connection:
        return (await connection.exec_driver_sql(asked)).scalar_one()


@pytest.mark.parametrize("scans_on", [True, False])
def test_the_graph_finds_what_comparing_all_does(
    engine: Pgvector, monkeypatch: pytest.MonkeyPatch, scans_on: bool
) -> None:
    index = engine.open("vs_1", DIMENSIONS)
    monkeypatch.setattr(engine, "scans_on", scans_on)
    monkeypatch.setattr(pgvector, "EXACT", 100)
    vectors = rows(1, NUM).astype(np.float16)
    for at in range(0, NUM, 200):
        chunks = [Indexed(text=f"t{at + n}", start=0, end=1, vectors=vectors[at + n].tobytes()) for n in range(200)]
        index.add(f"e{at}", iter([chunks[:50], chunks[50:]]))
    assert engine.run(num_scans(engine)) == 0
    for vector in rows(2, 20):
        cosines = vectors.astype(np.float32) @ vector
        for among, some in ((None, cosines), ({"e0", "e400", "none"}, np.delete(cosines, range(200, 400)))):
            hits = index.by_vector(vector, 10, among)
            assert [hit.relevance for hit in hits] == pytest.approx(
                [max(each, 0.0) for each in sorted(some, reverse=True)[:10]], abs=2e-3
            )
    assert engine.run(num_scans(engine)) == (40 if scans_on else 20)


def test_chunks_with_several_vectors_come_once(engine: Pgvector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgvector, "EXACT", 10)
    index, vectors = engine.open("vs_1", DIMENSIONS), rows(3, NUM).astype(np.float16).reshape(100, 6, DIMENSIONS)
    index.add(
        "e", iter([[Indexed(text=f"t{at}", start=0, end=1, vectors=each.tobytes()) for at, each in enumerate(vectors)]])
    )
    [vector] = rows(4, 1)
    hits = index.by_vector(vector, 20)
    best = np.sort((vectors.astype(np.float32) @ vector).max(axis=1))[::-1][:20]
    assert len({hit.chunk for hit in hits}) == 20
    assert [hit.relevance for hit in hits] == pytest.approx(best.tolist(), abs=2e-3)


def test_servers_share_it(engine: Pgvector, url: str) -> None:
    other = opened(Database.at(url))
    here, there = engine.open("vs_1", 4), other.open("vs_1", 4)
    here.add("a", pages(["penguin"]))
    assert there.entries() == {"a"}
    there.add("a", pages(["twice"]))
    assert len(there.by_text("penguin", 3)) == 1
    assert here.by_text("twice", 3) == []
    other.drop("vs_1")
    with pytest.raises(IndexBroken):
        here.by_text("penguin", 3)
    with pytest.raises(IndexBroken):
        here.add("b", pages(["krill"]))
    assert engine.open("vs_1", 4).entries() == set()
    other.close()


async def test_sqlite_has_no_pgvector(tmp_path: Path) -> None:
    database = await Database.open(tmp_path)
    with pytest.raises(UserMistake, match="the database is SQLite"):
        opened(database)
    await database.close()


def test_a_postgresql_without_the_extension_says_what_to_do(postgres_server: Postgres) -> None:
    with pytest.raises(UserMistake, match="CREATE EXTENSION vector"):
        opened(Database.at(postgres_server.url()))


def test_an_extension_that_is_too_old_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def old(_engine: Pgvector) -> str:
        return "0.4.4"

    monkeypatch.setattr(Pgvector, "_prepare", old)
    with pytest.raises(UserMistake, match=r"pgvector is 0\.4\.4"):
        opened(Database.at(url))
