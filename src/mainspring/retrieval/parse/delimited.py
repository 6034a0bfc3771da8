"""CSV and TSV: one line of text for each record."""

import csv
from collections.abc import Iterator

from mainspring.retrieval.parse.blocks import Block
from mainspring.retrieval.parse.encoding import LINE_CHARS, encoding_of, lines
from mainspring.retrieval.parse.source import Refused, Source
from mainspring.retrieval.parse.table import Rows

__all__ = ["delimited"]

RECORD_CHARS = 16 << 20
"""The longest record; it is the most that is held."""


def delimited(source: Source) -> Iterator[Block]:
    """The records of a CSV or TSV file, the first of which may name the columns.

    Raises:
        Refused: a record is too long, mostly because a quotation mark is not closed.
    """
    encoding = encoding_of(source)
    first = next((line for line in lines(source, encoding) if not line.isspace()), "")
    delimiter = "\t" if source.ending in ("tsv", "tab") else _delimiter(first)
    csv.field_size_limit(RECORD_CHARS)
    rows, is_first = Rows(), True
    feed = _Feed(source, encoding)
    try:
        for cells in csv.reader(feed, delimiter=delimiter):
            feed.held = 0
            if line := rows.line(cells):
                yield Block(line, apart=2 if is_first else 1)
                is_first = False
    except csv.Error as error:
        raise Refused(f"{source.name!r} is no valid CSV at line {feed.line}: {error}. Correct that line.") from error


class _Feed:
    """The lines for the reader of records; it holds a record whole, so those have a limit."""

    def __init__(self, source: Source, encoding: str) -> None:
        self._lines, self._name = self._whole(lines(source, encoding)), source.name
        self.held = self.line = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.line += 1
        self.held += len(line)
        if self.held > RECORD_CHARS:
            self._refuse()
        return line

    def _refuse(self) -> None:
        raise Refused(
            f"A record that ends at line {self.line} of {self._name!r} or later has more than {RECORD_CHARS >> 20} Mi "
            "characters: is a quotation mark not closed? Correct it, or upload the file as .txt."
        )

    def _whole(self, pieces: Iterator[str]) -> Iterator[str]:
        """Lines that came in pieces, put together."""
        held: list[str] = []
        size = 0
        for piece in pieces:
            if piece.endswith("\n") and not held:
                yield piece
                continue
            held.append(piece)
            size += len(piece)
            if size > RECORD_CHARS:
                self.line += 1
                self._refuse()
            if piece.endswith("\n"):
                yield "".join(held)
                held, size = [], 0
        if held:
            yield "".join(held)


def _delimiter(line: str) -> str:
    """What parts the cells of a line most often, outside of quotation marks."""
    bare = "".join(line[:LINE_CHARS].split('"')[::2])
    return max(",;\t|", key=bare.count)
