"""The index that ships: a SQLite file with an inverted index of words, and a file of vectors that is mapped.

    FOLDER/index.db       chunks, which entry each belongs to, which words are in it, which vector is whose
    FOLDER/vectors.f32    vectors, float32, one after the other; a vector's place never changes

A query's words are looked up, and BM25 is computed over their whole postings as arrays (`words.py`); vectors are
compared with all of the store's, a product of a matrix and a vector at the speed of memory. Both are exact, cost
milliseconds for 100,000 chunks, and take a filter as a mask. docs/LOG.md has how others compare.

Whatever is killed when, the two files agree: vectors are written, and on the disk, before the transaction that counts
them is committed, and only to places that no transaction has counted before (AUTOINCREMENT gives none twice). Postings
of chunks that are gone stay until the index is made anew, which happens once they are the most of it.
"""

import errno
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import StorageFull, Unavailable
from mainspring.retrieval.index import Hit, Index, IndexBroken, Indexed
from mainspring.retrieval.words import MOST, counted, gains, slowness, weight, words

__all__ = ["Embedded", "EmbeddedIndex"]

VERSION = 1
MAX_WORDS = 64
"""Of a query; the others are not looked for."""
MAX_COUNT = 255
BLOCK = 4096
"""Chunks whose postings are one row for each word, at most."""
BUSY_S = 60.0
SEVERAL = 8
"""Vectors that are looked at for each chunk that is wanted, since a chunk may have several."""
WASTE = 10_000
"""Chunks or vectors that are gone and may be left over, beside as many as there are."""

SCHEMA = """
CREATE TABLE meta (dimensions INTEGER NOT NULL);
CREATE TABLE entries (number INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL UNIQUE);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, length INTEGER NOT NULL, heading TEXT NOT NULL,
    text TEXT NOT NULL, begins INTEGER NOT NULL, ends INTEGER NOT NULL, page INTEGER
);
CREATE INDEX chunks_of ON chunks (number, length);
CREATE TABLE postings (word TEXT, block INTEGER, found BLOB NOT NULL, PRIMARY KEY (word, block)) WITHOUT ROWID;
CREATE TABLE vectors (place INTEGER PRIMARY KEY AUTOINCREMENT, chunk INTEGER NOT NULL);
CREATE INDEX vectors_of ON vectors (chunk);
"""
_POSTING = np.dtype([("chunk", "<u4"), ("count", "u1")])
_PACK = struct.Struct("<IB").pack
T = TypeVar("T")


class Embedded:
    """See `index.Engine`: a folder for each store.

    Args:
        root: where they are.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, store: str, dimensions: int) -> Index:
        """See `index.Engine`."""
        return EmbeddedIndex(self._root / store, dimensions)

    def drop(self, store: str) -> None:
        """See `index.Engine`."""
        shutil.rmtree(self._root / store, ignore_errors=True)

    def stores(self) -> list[str]:
        """See `index.Engine`."""
        return [each.name for each in self._root.glob("vs_*")]

    def close(self) -> None:
        """See `index.Engine`."""


class EmbeddedIndex:
    """See `index.Index`. Several processes may have the same folder open."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._vectors = folder / "vectors.f32"
        self._database = sqlite3.connect(
            folder / "index.db", timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._seen = -1
        self._num_chunks, self._has_gone = 0, False
        self._slow = np.empty(0, np.float32)
        self._entry_of = np.empty(0, np.int32)
        self._numbers: dict[str, int] = {}
        self._chunk_of = np.empty(0, np.int64)
        self._matrix: NDArray[np.float32] = np.empty((0, max(dimensions, 1)), np.float32)
        try:
            self._dimensions = self._told(self._prepare, dimensions)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, dimensions: int) -> int:
        execute = self._database.execute
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536"):
            execute(f"PRAGMA {pragma}")
        with self._writing():
            (version,) = execute("PRAGMA user_version").fetchone()
            if not version:
                for statement in SCHEMA.split(";\n"):
                    execute(statement)
                execute("INSERT INTO meta VALUES (?)", [dimensions])
                execute(f"PRAGMA user_version={VERSION}")
            elif version != VERSION:
                raise IndexBroken(f"version {version}")
            (kept,) = execute("SELECT dimensions FROM meta").fetchone()
            if kept and dimensions and kept != dimensions:
                raise IndexBroken(f"{kept} dimensions")
            if dimensions and not kept:  # the store has got its first vectors
                execute("UPDATE meta SET dimensions=?", [dimensions])
            for asked in ("SELECT count(*), max(id) FROM chunks", "SELECT count(*), max(place) FROM vectors"):
                used, last = execute(asked).fetchone()
                if (last or 0) > 2 * used + WASTE:
                    raise IndexBroken("most of it is waste")
        return dimensions or kept

    def entries(self) -> set[str]:
        """See `index.Index`."""
        return self._told(lambda: {entry for (entry,) in self._database.execute("SELECT entry FROM entries")})

    def add(self, entry: str, chunks: Iterator[Sequence[Indexed]]) -> None:
        """See `index.Index`."""
        self._told(self._add, entry, chunks)

    def _add(self, entry: str, chunks: Iterator[Sequence[Indexed]]) -> None:
        with self._writing():
            if self._database.execute("SELECT 1 FROM entries WHERE entry=?", [entry]).fetchone():
                return  # another process has
            number = self._database.execute("INSERT INTO entries (entry) VALUES (?)", [entry]).lastrowid
            assert number is not None
            postings = _Postings(self._database)
            with self._vectors.open("r+b" if self._vectors.exists() else "w+b") as file:
                for page in chunks:
                    for chunk in page:
                        self._put(number, chunk, postings, file)
                file.flush()
                os.fsync(file.fileno())
            postings.flush()

    def _put(self, number: int, chunk: Indexed, postings: "_Postings", file: Any) -> None:
        execute, heading = self._database.execute, msgspec.json.encode(chunk.heading).decode()
        counts = counted(chunk.text, chunk.heading)
        row = (number, max(counts.total(), 1), heading, chunk.text, chunk.start, chunk.end, chunk.page)
        made = execute(
            "INSERT INTO chunks (number, length, heading, text, begins, ends, page) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        ).lastrowid
        assert made is not None
        postings.add(made, counts)
        if not chunk.vectors or not self._dimensions:
            return
        vectors = np.frombuffer(chunk.vectors, "<f2").reshape(-1, self._dimensions).astype("<f4")
        for vector in vectors:
            place = execute("INSERT INTO vectors (chunk) VALUES (?)", [made]).lastrowid
            assert place is not None
            file.seek((place - 1) * self._dimensions * 4)
            file.write(vector.tobytes())

    def remove(self, entries: Iterable[str]) -> None:
        """See `index.Index`."""
        for entry in entries:
            self._told(self._remove, entry)

    def _remove(self, entry: str) -> None:
        execute = self._database.execute
        with self._writing():
            for (number,) in execute("SELECT number FROM entries WHERE entry=?", [entry]).fetchall():
                execute("DELETE FROM vectors WHERE chunk IN (SELECT id FROM chunks WHERE number=?)", [number])
                execute("DELETE FROM chunks WHERE number=?", [number])
                execute("DELETE FROM entries WHERE number=?", [number])

    # -- searching -----------------------------------------------------------------------------------------------------

    def by_text(self, query: str, limit: int, among: set[str] | None = None) -> list[Hit]:
        """See `index.Index`. The relevance is the share of the highest BM25 that there could be."""
        return self._told(self._by_text, query, limit, among)

    def _by_text(self, query: str, limit: int, among: set[str] | None) -> list[Hit]:
        self._refresh()
        if not self._num_chunks:
            return []
        scores, most = np.zeros(len(self._slow), np.float32), 0.0
        for word in list(dict.fromkeys(words(query)))[:MAX_WORDS]:
            chunks, counts = self._postings(word)
            weighs = weight(self._num_chunks, len(chunks))
            most += MOST * weighs
            scores[chunks] += np.float32(weighs) * gains(counts, self._slow[chunks])
        if among is not None:
            scores *= self._allowed(among)[self._entry_of]
        best = _highest(scores, limit)
        return [Hit(int(at), min(float(scores[at]) / most, 1.0)) for at in best if scores[at] > 0]

    def _postings(self, word: str) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The chunks that a word is in, those that are gone left out, and how often it is there."""
        blocks = self._database.execute("SELECT found FROM postings WHERE word=?", [word])
        found = np.frombuffer(b"".join(block for (block,) in blocks), _POSTING)
        chunks, counts = np.ascontiguousarray(found["chunk"]), found["count"].astype(np.float32)
        if len(chunks) and chunks[-1] >= len(self._slow):  # another process has added some since
            known = chunks < len(self._slow)
            chunks, counts = chunks[known], counts[known]
        if self._has_gone:
            there = np.isfinite(self._slow[chunks])
            chunks, counts = chunks[there], counts[there]
        return chunks, counts

    def _allowed(self, among: set[str]) -> NDArray[np.bool_]:
        """For each number of an entry, whether it is one of these."""
        allowed = np.zeros(max(self._numbers.values(), default=0) + 1, np.bool_)
        allowed[[self._numbers[entry] for entry in among if entry in self._numbers]] = True
        return allowed

    def by_vector(self, vector: NDArray[np.float32], limit: int, among: set[str] | None = None) -> list[Hit]:
        """See `index.Index`. A chunk with several vectors is as near as the nearest."""
        return self._told(self._by_vector, vector, limit, among)

    def _by_vector(self, vector: NDArray[np.float32], limit: int, among: set[str] | None) -> list[Hit]:
        self._refresh()
        if not len(self._matrix) or len(vector) != self._matrix.shape[1]:
            return []
        cosines = self._matrix @ vector
        keep = self._chunk_of > 0
        if among is not None:
            keep &= self._allowed(among)[self._entry_of[self._chunk_of]]
        cosines[~keep] = -2.0
        found: dict[int, float] = {}
        for at in _highest(cosines, limit * SEVERAL):
            if cosines[at] > -2.0:
                found.setdefault(int(self._chunk_of[at]), float(cosines[at]))
        return [Hit(chunk, min(max(cosine, 0.0), 1.0)) for chunk, cosine in list(found.items())[:limit]]

    def fetch(self, chunks: Sequence[int]) -> dict[int, tuple[str, Indexed]]:
        """See `index.Index`."""
        return self._told(self._fetch, chunks)

    def _fetch(self, chunks: Sequence[int]) -> dict[int, tuple[str, Indexed]]:
        asked = "SELECT entry, heading, text, begins, ends, page FROM chunks JOIN entries USING (number) WHERE id=?"
        found: dict[int, tuple[str, Indexed]] = {}
        for chunk in chunks:
            for entry, heading, text, begins, ends, page in self._database.execute(asked, [chunk]):
                path = msgspec.json.decode(heading, type=tuple[str, ...])
                found[chunk] = entry, Indexed(text=text, start=begins, end=ends, page=page, heading=path)
        return found

    def close(self) -> None:
        """See `index.Index`."""
        self._matrix = np.empty((0, 1), np.float32)
        self._database.close()

    # -- what is kept of it in memory ----------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read again which chunks and vectors there are, if anything has changed."""
        execute = self._database.execute
        (version,) = execute("PRAGMA data_version").fetchone()
        if version == self._seen:
            return
        with self._transaction("BEGIN"):  # one state of all tables
            self._numbers = dict(execute("SELECT entry, number FROM entries").fetchall())
            rows = _columns(execute("SELECT id, number, length FROM chunks").fetchall(), 3)
            places = _columns(execute("SELECT place, chunk FROM vectors").fetchall(), 2)
        count = int(rows[0].max(initial=0)) + 1
        self._num_chunks, self._has_gone = rows.shape[1], rows.shape[1] < count - 1
        self._entry_of, self._slow = np.zeros(count, np.int32), np.full(count, np.inf, np.float32)
        self._entry_of[rows[0]], self._slow[rows[0]] = rows[1], slowness(rows[2])
        self._chunk_of = np.zeros(int(places[0].max(initial=0)), np.int64)
        self._chunk_of[places[0] - 1] = places[1]
        self._map(len(self._chunk_of))
        self._seen = version

    def _map(self, count: int) -> None:
        if not count:
            self._matrix = np.empty((0, max(self._dimensions, 1)), np.float32)
            return
        if not self._vectors.exists() or self._vectors.stat().st_size < count * self._dimensions * 4:
            raise IndexBroken("vectors are missing")
        self._matrix = np.memmap(self._vectors, np.dtype("<f4"), "r", shape=(count, self._dimensions))

    @contextmanager
    def _writing(self) -> Generator[None]:
        with self._transaction("BEGIN IMMEDIATE"):
            yield
        self._seen = -1

    @contextmanager
    def _transaction(self, begin: str) -> Generator[None]:
        self._database.execute(begin)
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _told(self, call: Callable[..., T], *arguments: Any) -> T:
        """What SQLite says of a file that is none of its own, as an error of the protocol; the disk's, as ours."""
        try:
            return call(*arguments)
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise _full() from error
            raise Unavailable(f"The index cannot be used now ({error}).") from error
        except sqlite3.DatabaseError as error:
            raise IndexBroken(str(error)) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable(f"The index cannot be used now ({error.strerror}).") from error
            raise _full() from error


def _full() -> StorageFull:
    return StorageFull("The server's disk is full: delete files that are not needed, or ask its operator.")


class _Postings:
    """Postings that are being made: which chunks each word is in, and how often."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._found: dict[str, bytearray] = {}
        self._first = self._num = 0

    def add(self, chunk: int, counts: Mapping[str, int]) -> None:
        """A chunk, in the order of their numbers."""
        self._first = self._first or chunk
        for word, count in counts.items():
            self._found.setdefault(word, bytearray()).extend(_PACK(chunk, min(count, MAX_COUNT)))
        self._num += 1
        if self._num >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write down what is held."""
        rows = [(word, self._first, bytes(self._found[word])) for word in sorted(self._found)]
        self._database.executemany("INSERT INTO postings VALUES (?, ?, ?)", rows)
        self._found.clear()
        self._first = self._num = 0


def _columns(rows: list[Any], num: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, num).T


def _highest(values: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Where the highest values are, the highest first."""
    limit = min(limit, len(values))
    if not limit:
        return np.empty(0, np.int64)
    best = np.argpartition(values, -limit)[-limit:]
    return best[np.argsort(-values[best], kind="stable")]
