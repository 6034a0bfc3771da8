"""What the index in PostgreSQL (`pgvector.py`) says to it, and how an entry is written."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.retrieval.index import Hit, Indexed
from mainspring.retrieval.words import counted

__all__ = [
    "ADD_ENTRY", "ALL", "CHUNKS", "DIMENSIONS", "ENTRIES", "GRAPH", "NEAREST", "NUMBERS", "NUM_VECTORS",
    "NUM_VECTORS_AMONG", "PLACES", "POSTINGS", "REMOVE_ENTRY", "REMOVE_ROWS", "SEVERAL", "SUMS", "TABLES", "VECTORS",
    "Adding", "best", "each", "joined", "rows", "scalar",
]  # fmt: skip

MAX_COUNT = 255
BLOCK = 4096
"""Chunks whose postings are one row for each word, at most."""
PLACES = 24
"""Bits of a chunk's number that say where it is in its entry; the others say in which."""

TABLES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.entries (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entry TEXT NOT NULL UNIQUE,
    chunks BIGINT NOT NULL DEFAULT 0, vectors BIGINT NOT NULL DEFAULT 0, words BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE {schema}.chunks (
    id BIGINT PRIMARY KEY, number BIGINT NOT NULL, heading TEXT NOT NULL, text TEXT NOT NULL, begins BIGINT NOT NULL,
    ends BIGINT NOT NULL, page BIGINT
);
CREATE INDEX chunks_of ON {schema}.chunks (number);
CREATE TABLE {schema}.postings (
    word TEXT, number BIGINT, first BIGINT, found BYTEA NOT NULL, PRIMARY KEY (word, number, first)
);
CREATE INDEX postings_of ON {schema}.postings (number)
"""
VECTORS = """
CREATE TABLE {schema}.vectors (chunk BIGINT NOT NULL, number BIGINT NOT NULL, embedding vector({dimensions}) NOT NULL);
ALTER TABLE {schema}.vectors ALTER COLUMN embedding SET STORAGE {storage};
CREATE INDEX vectors_of ON {schema}.vectors (number)
"""
GRAPH = "CREATE INDEX IF NOT EXISTS graph ON {schema}.vectors USING hnsw (embedding vector_cosine_ops)"
ALL = """
SELECT chunk, min(embedding <=> $1::real[]::vector) AS far FROM {schema}.vectors {among}
GROUP BY chunk ORDER BY far, chunk LIMIT $2
"""
NEAREST = """
SELECT chunk, min(far) AS far FROM (
    SELECT chunk, embedding <=> $1::real[]::vector AS far FROM {schema}.vectors {among}
    ORDER BY embedding <=> $1::real[]::vector LIMIT {some}
) AS near GROUP BY chunk ORDER BY far, chunk LIMIT $2
"""
ENTRIES = "SELECT entry FROM {schema}.entries"
NUMBERS = "SELECT number FROM {schema}.entries WHERE entry = ANY($1::text[])"
SUMS = "SELECT coalesce(sum(chunks), 0)::bigint, coalesce(sum(words), 0)::bigint FROM {schema}.entries"
NUM_VECTORS = "SELECT coalesce(sum(vectors), 0) FROM {schema}.entries"
NUM_VECTORS_AMONG = "SELECT coalesce(sum(vectors), 0) FROM {schema}.entries WHERE number = ANY($1::bigint[])"
SEVERAL = "SELECT ceil(sum(vectors) / greatest(sum(chunks), 1)) FROM {schema}.entries"
DIMENSIONS = "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'embedding'"
ADD_ENTRY = "INSERT INTO {schema}.entries (entry) VALUES ($1) ON CONFLICT DO NOTHING RETURNING number"
END_ENTRY = "UPDATE {schema}.entries SET chunks = $1, vectors = $2, words = $3 WHERE number = $4"
REMOVE_ENTRY = "DELETE FROM {schema}.entries WHERE entry = $1 RETURNING number"
REMOVE_ROWS = "DELETE FROM {schema}.{table} WHERE number = $1"
ADD_CHUNK = "INSERT INTO {schema}.chunks VALUES ($1, $2, $3, $4, $5, $6, $7)"
ADD_VECTOR = "INSERT INTO {schema}.vectors VALUES ($1, $2, $3::real[]::vector)"
ADD_POSTINGS = """
INSERT INTO {schema}.postings
SELECT word, $1, $2, found FROM unnest($3::text[], $4::bytea[]) AS block (word, found)
"""
POSTINGS = "SELECT word, number, found FROM {schema}.postings WHERE word = ANY($1::text[]) ORDER BY number, first"
CHUNKS = """
SELECT id, entry, heading, text, begins, ends, page FROM {schema}.chunks JOIN {schema}.entries USING (number)
WHERE id = ANY($1::bigint[])
"""
_POSTING = np.dtype([("place", "<u4"), ("count", "u1"), ("length", "<u4")])


class Adding:
    """An entry that is being written, in one transaction."""

    def __init__(self, connection: AsyncConnection, schema: str, number: int, dimensions: int) -> None:
        self._connection, self._schema, self._number, self._dimensions = connection, schema, number, dimensions
        self._num_chunks = self._num_vectors = self._num_words = self._first = 0
        self._found: dict[str, list[tuple[int, int, int]]] = {}

    async def put(self, page: Sequence[Indexed]) -> None:
        """Some more chunks."""
        made_of, vectors = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
        for chunk, counts in zip(page, await asyncio.to_thread(_counted, page), strict=True):
            made, length = self._number << PLACES | self._num_chunks, max(counts.total(), 1)
            heading = msgspec.json.encode(chunk.heading).decode()
            made_of.append((made, self._number, heading, chunk.text, chunk.start, chunk.end, chunk.page))
            for word, count in counts.items():
                self._found.setdefault(word, []).append((self._num_chunks, min(count, MAX_COUNT), length))
            if chunk.vectors and self._dimensions:
                each = np.frombuffer(chunk.vectors, "<f2").reshape(-1, self._dimensions).astype(np.float32)
                vectors += [(made, self._number, vector) for vector in each.tolist()]
            self._num_chunks, self._num_words = self._num_chunks + 1, self._num_words + length
        await self._many(ADD_CHUNK, made_of)
        await self._many(ADD_VECTOR, vectors)
        self._num_vectors += len(vectors)
        if self._num_chunks - self._first >= BLOCK:
            await self._flush()

    async def finish(self) -> None:
        """What is still to be written."""
        await self._flush()
        given = (self._num_chunks, self._num_vectors, self._num_words, self._number)
        await self._connection.exec_driver_sql(END_ENTRY.format(schema=self._schema), given)

    async def _flush(self) -> None:
        found = sorted(self._found)
        blocks = [np.array(self._found[word], _POSTING).tobytes() for word in found]
        given = (self._number, self._first, found, blocks)
        await self._connection.exec_driver_sql(ADD_POSTINGS.format(schema=self._schema), given)
        self._found.clear()
        self._first = self._num_chunks

    async def _many(self, statement: str, given: list[tuple[Any, ...]]) -> None:
        if given:
            await self._connection.exec_driver_sql(statement.format(schema=self._schema), given)


def _counted(page: Sequence[Indexed]) -> list[Any]:
    return [counted(chunk.text, chunk.heading) for chunk in page]


def joined(found: Sequence[tuple[int, bytes]]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The chunks that a word is in, and its postings."""
    postings = np.frombuffer(b"".join(block for _, block in found), _POSTING)
    sizes = [len(block) // _POSTING.itemsize for _, block in found]
    numbers = np.repeat(np.array([number for number, _ in found], np.int64), sizes)
    return (numbers << PLACES) | postings["place"].astype(np.int64), postings


def best(
    chunks: Sequence[NDArray[np.int64]], gained: Sequence[NDArray[np.float32]], limit: int, most: float
) -> list[Hit]:
    """The chunks whose gains have the highest sums."""
    if not chunks:
        return []
    every, at = np.unique(np.concatenate(chunks), return_inverse=True)
    scores = np.bincount(at, np.concatenate(gained), len(every))
    order = np.argsort(-scores, kind="stable")[:limit]
    return [Hit(int(every[at]), min(float(scores[at]) / most, 1.0)) for at in order if scores[at] > 0]


async def rows(connection: AsyncConnection, statement: str, *given: Any) -> list[Any]:
    """All that is found."""
    return list(await connection.exec_driver_sql(statement, given))


async def scalar(connection: AsyncConnection, statement: str, *given: Any) -> Any:
    """The first value of the first row; None if there is none."""
    return (await connection.exec_driver_sql(statement, given)).scalar()


async def each(connection: AsyncConnection, statements: str) -> None:
    """Carry out statements."""
    for statement in statements.split(";\n"):
        await connection.exec_driver_sql(statement)
