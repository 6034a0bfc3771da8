"""Rows of tables as lines of text, in which each cell says what it is: `name: Anna; age: 33`."""

import re
from collections.abc import Sequence

from mainspring.retrieval.parse.blocks import squeeze

__all__ = ["Rows"]

MOST_NAMED = 256
"""Wider rows do not repeat the names of their columns."""
NAME_CHARS = 60
_NUMBER = re.compile(r"[-+(]?[\d\s.,:/%$€£()-]*\d[\d\s.,:/%$€£()-]*$")


class Rows:
    """A table's rows, in order.

    Args:
        header: whether the first row names the columns: True, False, or None to judge by what is in it.
        least: columns that a table needs for its first row to be taken for a header.
    """

    def __init__(self, *, header: bool | None = None, least: int = 2) -> None:
        self._header, self._least = header, least
        self._names: list[str] | None = None
        self._is_first = True

    def line(self, cells: Sequence[str]) -> str:
        """The next row as a line; empty if nothing is in it."""
        if self._is_first:
            return self._first(cells)
        if self._names is None or len(cells) > MOST_NAMED:
            parts = [cell for cell in cells if cell and not cell.isspace()]
            return squeeze(" | ".join(parts))
        parts = [
            f"{name}: {cell}" if name else cell
            for name, cell in zip(self._names, cells, strict=False)
            if cell and not cell.isspace()
        ]
        parts += [cell for cell in cells[len(self._names) :] if cell and not cell.isspace()]
        return squeeze("; ".join(parts))

    def _first(self, cells: Sequence[str]) -> str:
        values = [squeeze(cell) for cell in cells]
        if not any(values):
            return ""
        self._is_first = False
        if self._header or (self._header is None and self._is_header(values)):
            self._names = [value[:NAME_CHARS] for value in values]
        return " | ".join(filter(None, values))

    def _is_header(self, values: list[str]) -> bool:
        named = [value for value in values if value]
        return (
            self._least <= len(named) <= MOST_NAMED
            and 2 * len(named) > len(values)
            and len({name.lower() for name in named}) == len(named)
            and all(len(name) <= NAME_CHARS and not _NUMBER.match(name) for name in named)
        )
