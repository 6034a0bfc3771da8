"""JSON and JSON Lines: one line of text for each value, with the path that leads to it: `address.city: Paris`.

Read by tokens and never whole, so that neither size nor depth costs memory. The members of an outermost object are
headings; what an outermost array, or each line, holds is a paragraph of its own.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from mainspring.retrieval.parse.blocks import Block, clean, squeeze
from mainspring.retrieval.parse.encoding import encoding_of, pieces
from mainspring.retrieval.parse.source import Refused, Source

__all__ = ["structured"]

DEPTH = 1000
SHOWN_NAMES = 6
"""Of a path, the innermost names that are repeated with each value."""
NAME_CHARS = 60
TOKEN_CHARS = 16 << 20
"""The longest string; it is the most that is held."""

_TOKEN = re.compile(
    r'("[^"\\]*+(?:\\(?s:.)[^"\\]*+)*+")|([{}\[\]:,])'
    r"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|-?Infinity|NaN)"
)
_BLANK = re.compile(r"[ \t\n\r]*+")


class _Level(NamedTuple):
    """An object or array that is open; `name` is where it lies in the one around it."""

    is_object: bool
    name: str


def structured(source: Source) -> Iterator[Block]:
    """The values of a JSON document, or of several one after another.

    Raises:
        Refused: it is no JSON, or is nested too deeply.
    """
    yield from _Reader(source).blocks()


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source, self._pieces = source, pieces(source, encoding_of(source))
        self._text, self._at, self._line, self._ended = "", 0, 1, False
        self._levels: list[_Level] = []
        self._is_lines = source.ending in ("jsonl", "ndjson")

    def blocks(self) -> Iterator[Block]:
        """One block for each value that is no object or array."""
        name, apart = "", 2
        state = "value"  # what may come: value, name, colon, comma
        while token := self._token():
            first = token[0]
            if state == "value" and first in "{[":
                self._open(first == "{", name)
                name, state = "", "name" if first == "{" else "value"
            elif first in "}]" and self._levels and state != "colon" and self._levels[-1].is_object == (first == "}"):
                self._levels.pop()
                name, state = "", self._after()
                apart = 2 if len(self._levels) <= (not self._is_lines) else apart
            elif state == "name" and first == '"':
                name, state = self._string(token), "colon"
            elif state == "colon" and first == ":":
                state = "value"
            elif state == "comma" and first == ",":
                state = "name" if self._levels[-1].is_object else "value"
            elif state == "value" and first not in "}]:,":
                yield Block(self._shown(name, token), self._heading(), apart=apart)
                name, state, apart = "", self._after(), 1 if self._levels else 2
            else:
                self._refuse(f"{token[:20]!r} is not expected there")
        if self._levels:
            self._refuse("it ends too early")

    def _after(self) -> str:
        return "comma" if self._levels else "value"

    def _open(self, is_object: bool, name: str) -> None:
        if len(self._levels) >= DEPTH:
            raise Refused(f"{self._source.name!r} is nested more than {DEPTH:,} levels deep: flatten it.")
        self._levels.append(_Level(is_object, name))

    def _heading(self) -> tuple[str, ...]:
        if self._is_lines or not self._levels or not self._levels[0].is_object:
            return ()
        outermost = squeeze((self._levels[1].name if len(self._levels) > 1 else "")[:1000])[:NAME_CHARS]
        return (outermost,) if outermost else ()

    def _shown(self, name: str, token: str) -> str:
        value = self._string(token) if token[0] == '"' else token
        names = [*(level.name for level in self._levels[-SHOWN_NAMES:]), name]
        path = ".".join(squeeze(each[:NAME_CHARS]) for each in names if each)
        return f"{path}: {value}" if path else value

    def _string(self, token: str) -> str:
        try:
            return clean(json.loads(token, strict=False))
        except ValueError:
            self._refuse(f"{token[:20]!r} is no valid string")

    def _token(self) -> str:
        """The next token; empty at the end."""
        wanted = 1 << 16
        while True:
            blank = _BLANK.match(self._text, self._at)
            assert blank is not None
            self._line += self._text.count("\n", self._at, blank.end())
            self._at = blank.end()
            found = _TOKEN.match(self._text, self._at)
            # What touches the end of what was read may go on behind it.
            if found and (found.end() < len(self._text) or self._ended):
                self._at = found.end()
                return found[0]
            if self._ended:
                break
            self._fill(wanted)
            wanted = min(2 * wanted, TOKEN_CHARS)
        if self._at < len(self._text):
            self._refuse(f"{self._text[self._at : self._at + 20]!r} is not expected there")
        return ""

    def _fill(self, wanted: int) -> None:
        """Read on, at least so many characters if there are."""
        rest = self._text[self._at :]
        if len(rest) > TOKEN_CHARS:
            self._refuse(f"one of its values has more than {TOKEN_CHARS >> 20} Mi characters")
        got, size = [rest], 0
        for piece in self._pieces:
            got.append(piece)
            size += len(piece)
            if size >= wanted:
                break
        self._text, self._at, self._ended = "".join(got), 0, size == 0

    def _refuse(self, why: str) -> NoReturn:
        raise Refused(
            f"{self._source.name!r} is no valid JSON at line {self._line}: {why}. Correct it, or upload it as .txt."
        )
