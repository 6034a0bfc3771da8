"""The index that ships: a SQLite file with its full-text index (FTS5), and a file of vectors that is mapped.

    FOLDER/index.db       chunks, which entry each belongs to, their words, which vector is whose
    FOLDER/vectors.f32    vectors, float32, one after the other; a vector's place never changes

Vectors are compared with all of the store's: a product of a matrix and a vector, at the speed of memory, without the
error and the memory of a graph of neighbours. docs/LOG.md has what was measured against what else there is.

Whatever is killed when, the two files agree: vectors are written, and on the disk, before the transaction that counts
them is committed, and only to places that no transaction has counted before (AUTOINCREMENT gives none twice).

BM25 is FTS5's (k1 1.2, b 0.75). It gives words in half of the chunks or more a weight of almost nothing, so they are
left out of the query, which saves most of the time. Words end where letters and digits do, and are stemmed as English.
"""

import math
import os
import re
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.retrieval.index import Hit, Index, IndexBroken, Indexed

__all__ = ["EmbeddedIndex", "open_embedded"]

VERSION = 1
MAX_WORDS = 64
"""Of a query; the others are not looked for."""
BUSY_S = 60.0
SATURATED = 2.2
"""What BM25 tends to for a word that fills a chunk, in multiples of the word's weight: k1 + 1."""
ALMOST_NOTHING = 1e-6
"""FTS5's weight of a word that half of the chunks have."""
SEVERAL = 8
"""Vectors that are looked at for each chunk that is wanted, since a chunk may have several."""
WASTE = 10_000
"""Places of vectors that are gone and may be left in the file, beside as many as there are."""

SCHEMA = """
CREATE TABLE meta (dimensions INTEGER NOT NULL);
CREATE TABLE entries (entry TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL, heading TEXT NOT NULL, text TEXT NOT NULL,
    begins INTEGER NOT NULL, ends INTEGER NOT NULL, page INTEGER
);
CREATE INDEX chunks_of ON chunks (entry);
CREATE TABLE vectors (place INTEGER PRIMARY KEY AUTOINCREMENT, chunk INTEGER NOT NULL);
CREATE INDEX vectors_of ON vectors (chunk);
CREATE VIRTUAL TABLE words USING fts5(
    heading, text, content='chunks', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
"""
_WORD = re.compile(r"\w+")
T = TypeVar("T")


def open_embedded(folder: Path, dimensions: int) -> Index:
    """See `index.Open`."""
    return EmbeddedIndex(folder, dimensions)


class EmbeddedIndex:
    """See `index.Index`. Several processes may have the same folder open."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._vectors = folder / "vectors.f32"
        self._database = sqlite3.connect(
            folder / "index.db", timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._seen = -1
        self._counts: dict[str, int] = {}
        self._num = 0
        self._matrix: NDArray[np.float32] = np.empty((0, max(dimensions, 1)), np.float32)
        self._chunk_of = np.empty(0, np.int64)
        self._entry_of = np.empty(0, np.int32)
        self._numbers: dict[str, int] = {}
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
            used, last = execute("SELECT count(*), coalesce(max(place), 0) FROM vectors").fetchone()
            if last > 2 * used + WASTE:
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
            with self._vectors.open("r+b" if self._vectors.exists() else "w+b") as file:
                for page in chunks:
                    for chunk in page:
                        self._put(entry, chunk, file)
                file.flush()
                os.fsync(file.fileno())
            self._database.execute("INSERT INTO entries VALUES (?)", [entry])

    def _put(self, entry: str, chunk: Indexed, file: Any) -> None:
        execute, heading = self._database.execute, msgspec.json.encode(chunk.heading).decode()
        row = (entry, heading, chunk.text, chunk.start, chunk.end, chunk.page)
        number = execute(
            "INSERT INTO chunks (entry, heading, text, begins, ends, page) VALUES (?, ?, ?, ?, ?, ?)", row
        ).lastrowid
        execute("INSERT INTO words (rowid, heading, text) VALUES (?, ?, ?)", [number, heading, chunk.text])
        if not chunk.vectors or not self._dimensions:
            return
        rows = np.frombuffer(chunk.vectors, "<f2").reshape(-1, self._dimensions).astype("<f4")
        for row in rows:
            place = execute("INSERT INTO vectors (chunk) VALUES (?)", [number]).lastrowid
            assert place is not None
            file.seek((place - 1) * self._dimensions * 4)
            file.write(row.tobytes())

    def remove(self, entries: Iterable[str]) -> None:
        """See `index.Index`."""
        for entry in entries:
            self._told(self._remove, entry)

    def _remove(self, entry: str) -> None:
        with self._writing():
            for statement in (
                "INSERT INTO words (words, rowid, heading, text) SELECT 'delete', id, heading, text FROM chunks "
                "WHERE entry=?",
                "DELETE FROM vectors WHERE chunk IN (SELECT id FROM chunks WHERE entry=?)",
                "DELETE FROM chunks WHERE entry=?",
                "DELETE FROM entries WHERE entry=?",
            ):
                self._database.execute(statement, [entry])

    # -- searching -----------------------------------------------------------------------------------------------------

    def by_text(self, query: str, limit: int, among: set[str] | None = None) -> list[Hit]:
        """See `index.Index`. The relevance is the share of the highest BM25 that there could be."""
        return self._told(self._by_text, query, limit, among)

    def _by_text(self, query: str, limit: int, among: set[str] | None) -> list[Hit]:
        self._refresh()
        words = list(dict.fromkeys(_WORD.findall(query.lower())))[:MAX_WORDS]
        weights = {word: self._weight(word) for word in words}
        looked_for = [word for word in words if weights[word] > ALMOST_NOTHING] or words
        if not looked_for:
            return []
        match = " OR ".join(f'"{word}"' for word in looked_for)
        asked, values = "SELECT rowid, -rank FROM words WHERE words MATCH ? ", list[Any]([match])
        if among is not None:
            asked += "AND (SELECT entry FROM chunks WHERE id=words.rowid) IN (SELECT value FROM json_each(?)) "
            values.append(msgspec.json.encode(sorted(among)).decode())
        found = self._database.execute(f"{asked} ORDER BY rank LIMIT ?", [*values, limit])
        most = SATURATED * sum(weights.values())
        return [Hit(number, min(score / most, 1.0)) for number, score in found]

    def _weight(self, word: str) -> float:
        """A word's inverse document frequency, as FTS5 has it. One that is nowhere weighs what the rarest do."""
        count = self._counts.get(word)
        if count is None:
            asked = "SELECT count(*) FROM words WHERE words MATCH ?"
            (count,) = self._database.execute(asked, [f'"{word}"']).fetchone()
            if len(self._counts) > 100_000:
                self._counts.clear()
            self._counts[word] = count
        count = max(count, 1)
        return max(math.log((self._num - count + 0.5) / (count + 0.5)), ALMOST_NOTHING) if self._num >= count else 1.0

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
            numbers = [self._numbers[entry] for entry in among if entry in self._numbers]
            allowed = np.zeros(len(self._numbers) + 1, np.bool_)
            allowed[numbers] = True
            keep &= allowed[self._entry_of]
        cosines[~keep] = -2.0
        wanted = min(limit * SEVERAL, len(cosines))
        best = np.argpartition(cosines, -wanted)[-wanted:]
        found: dict[int, float] = {}
        for at in best[np.argsort(-cosines[best])]:
            if cosines[at] > -2.0:
                found.setdefault(int(self._chunk_of[at]), float(cosines[at]))
        return [Hit(chunk, min(max(cosine, 0.0), 1.0)) for chunk, cosine in list(found.items())[:limit]]

    def fetch(self, chunks: Sequence[int]) -> dict[int, tuple[str, Indexed]]:
        """See `index.Index`."""
        return self._told(self._fetch, chunks)

    def _fetch(self, chunks: Sequence[int]) -> dict[int, tuple[str, Indexed]]:
        asked = "SELECT entry, heading, text, begins, ends, page FROM chunks WHERE id=?"
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
        """Read again whose the vectors are, if anything has changed."""
        (version,) = self._database.execute("PRAGMA data_version").fetchone()
        if version == self._seen:
            return
        self._counts.clear()
        (self._num,) = self._database.execute("SELECT count(*) FROM chunks").fetchone()
        rows = self._database.execute("SELECT place, chunk, entry FROM vectors JOIN chunks ON id=chunk ORDER BY place")
        self._numbers = {}
        places, owners, numbers = list[int](), list[int](), list[int]()
        for place, chunk, entry in rows:
            places.append(place - 1)
            owners.append(chunk)
            numbers.append(self._numbers.setdefault(entry, len(self._numbers) + 1))
        count = places[-1] + 1 if places else 0
        self._chunk_of, self._entry_of = np.zeros(count, np.int64), np.zeros(count, np.int32)
        self._chunk_of[places], self._entry_of[places] = owners, numbers
        self._map(count)
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
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        self._seen = -1

    def _told(self, call: Callable[..., T], *arguments: Any) -> T:
        """What SQLite says of a file that is none of its own, as an error of the protocol."""
        try:
            return call(*arguments)
        except sqlite3.OperationalError:
            raise  # the disk is full, or somebody holds the lock
        except sqlite3.DatabaseError as error:
            raise IndexBroken(str(error)) from error
