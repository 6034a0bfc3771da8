"""The protocol of an index: what finds chunks of one store by their words and by their vectors.

An index is made of the database's rows and holds nothing that is not there: it may be thrown away at any time. Whoever
searches makes sure first that it holds what it should (`retrieval/held.py`). Its methods block; they are called in a
thread, one at a time, and raise `IndexBroken`, `StorageFull` or `Unavailable`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "Hit", "Index", "IndexBroken", "Indexed"]


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk in an index. `vectors` are float16, one or more after the other; a long text has several."""

    text: str
    start: int
    end: int
    page: int | None = None
    heading: tuple[str, ...] = ()
    vectors: bytes = b""


class Hit(NamedTuple):
    """A chunk's number in its index, and how relevant it is: from 0 to 1."""

    chunk: int
    relevance: float


class IndexBroken(Exception):
    """What is on the disk is not an index of ours, or not whole: it has to be made anew."""


class Index(Protocol):
    """One store's index: `retrieval/embedded.py` in a folder, `retrieval/pgvector.py` in the database."""

    def entries(self) -> set[str]:
        """What it holds, whole: the entries of files in the store."""
        ...

    def add(self, entry: str, chunks: Iterator[Sequence[Indexed]]) -> None:
        """Hold the chunks of an entry too: all of them or, if this raises or is killed, none."""
        ...

    def remove(self, entries: Iterable[str]) -> None:
        """Forget some."""
        ...

    def by_text(self, query: str, limit: int, among: set[str] | None = None) -> list[Hit]:
        """The chunks whose words fit best, by BM25. `among`: of these entries only."""
        ...

    def by_vector(self, vector: NDArray[np.float32], limit: int, among: set[str] | None = None) -> list[Hit]:
        """The chunks whose vectors are nearest, by the cosine. Arguments as of `by_text`; the vector has length 1."""
        ...

    def fetch(self, chunks: Sequence[int]) -> dict[int, tuple[str, Indexed]]:
        """Chunks by their numbers, each with its entry and without its vectors, but for those that are gone."""
        ...

    def close(self) -> None:
        """Let go of what it holds open."""
        ...


class Engine(Protocol):
    """Keeps the indexes of stores, by the stores' ids. Its methods block as those of `Index` do."""

    def open(self, store: str, dimensions: int) -> Index:
        """A store's index, which is made if need be.

        Args:
            dimensions: of vectors; 0 if the store has none.

        Raises:
            IndexBroken: it is there, and of no use.
        """
        ...

    def drop(self, store: str) -> None:
        """Delete a store's index, which nobody has open here."""
        ...

    def stores(self) -> list[str]:
        """The stores that there are indexes of."""
        ...

    def close(self) -> None:
        """Let go of everything; no index is open any more."""
        ...
