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
PIECE_CHARS = 1 << 16
SHOWN_NAMES = 6
"""Of a path, the innermost names that are repeated with each value."""
NAME_CHARS = 60
TOKEN_CHARS = 16 << 20
"""The longest string; it is the most that is held."""

_TOKEN = re.compile(
    r'[ \t\n\r]*+(?:("[^"\\]*+(?:\\(?s:.)[^"\\]*+)*+")|([{}\[\]:,])'
    r"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|-?Infinity|NaN)|(.)|\Z)"
)
_STRING, _SIGN, _LITERAL, _OTHER = range(1, 5)


class _Level(NamedTuple):
    """An object or array that is open; `path` is how what it holds is called, `outermost` the first name of that."""

    is_object: bool
    path: tuple[str, ...]
    outermost: str


def structured(source: Source) -> Iterator[Block]:
    """The values of a JSON document, or of several one after another.

    Raises:
        Refused: it is no JSON, or is nested too deeply.
    """
    yield from _Reader(source).blocks()


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source, self._pieces = source, pieces(source, encoding_of(source))
        self._text, self._at, self._line = "", 0, 1
        self._levels: list[_Level] = []
        self._is_lines = source.ending in ("jsonl", "ndjson")

    def blocks(self) -> Iterator[Block]:
        """One block for each value that is no object or array."""
        levels, name, apart = self._levels, "", 2
        state = "value"  # what may come: value, name, colon, comma
        for kind, text in self._tokens():
            if state == "colon" and text == ":":
                state = "value"
            elif state == "comma" and text == ",":
                state = "name" if levels[-1].is_object else "value"
            elif state == "name" and kind == _STRING:
                name, state = self._string(text), "colon"
            elif state == "value" and kind != _SIGN:
                value = self._string(text) if kind == _STRING else text
                yield self._block(name, value, apart)
                name, state, apart = "", "comma" if levels else "value", 1 if levels else 2
            elif state == "value" and text in "{[":
                self._open(text == "{", name)
                name, state = "", "name" if text == "{" else "value"
            elif text in "}]" and levels and state != "colon" and levels[-1].is_object == (text == "}"):
                levels.pop()
                name, state = "", "comma" if levels else "value"
                apart = 2 if len(levels) <= (not self._is_lines) else apart
            else:
                self._refuse(f"{text[:20]!r} is not expected there")
        if levels:
            self._refuse("it ends too early")

    def _open(self, is_object: bool, name: str) -> None:
        if len(self._levels) >= DEPTH:
            raise Refused(f"{self._source.name!r} is nested more than {DEPTH:,} levels deep: flatten it.")
        above = self._levels[-1] if self._levels else None
        short = squeeze(name[: 4 * NAME_CHARS])[:NAME_CHARS]
        path = (*(above.path if above else ()), *((short,) if short else ()))[-SHOWN_NAMES:]
        has_headings = above is not None and self._levels[0].is_object and not self._is_lines
        outermost = (above.outermost or short) if above and has_headings else ""
        self._levels.append(_Level(is_object, path, outermost))

    def _block(self, name: str, value: str, apart: int) -> Block:
        if not self._levels:
            return Block(value, apart=apart)
        level = self._levels[-1]
        names = (*level.path, name[:NAME_CHARS]) if name else level.path
        shown = f"{'.'.join(names)}: {value}" if names else value
        return Block(shown, (level.outermost,) if level.outermost else (), apart=apart)

    def _string(self, token: str) -> str:
        if "\\" not in token:
            return token[1:-1]
        try:
            return clean(json.loads(token, strict=False))
        except ValueError:
            self._refuse(f"{token[:20]!r} is no valid string")

    def _tokens(self) -> Iterator[tuple[int, str]]:
        """The tokens, each with its kind."""
        wanted, ended = PIECE_CHARS, False
        while not ended:
            ended = not self._fill(wanted)
            length = len(self._text)
            for found in _TOKEN.finditer(self._text):
                kind = found.lastindex
                if kind is None:  # nothing but white space is left
                    self._at = found.end()
                    break
                # What touches the end of what was read may go on behind it, and what is not known may be its beginning.
                if not ended and (kind == _OTHER or found.end() == length):
                    break
                self._at = found.end()
                if kind == _OTHER:
                    self._refuse(f"{self._text[found.start(_OTHER) :][:20]!r} is not expected there")
                yield kind, found[kind]
                wanted = PIECE_CHARS
            wanted = min(2 * wanted, TOKEN_CHARS)

    def _fill(self, wanted: int) -> bool:
        """Read on, at least so many characters if there are; whether there were any."""
        self._line += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        if len(rest) > TOKEN_CHARS:
            self._refuse(f"one of its values has more than {TOKEN_CHARS >> 20} Mi characters")
        got, size = [rest], 0
        for piece in self._pieces:
            got.append(piece)
            size += len(piece)
            if size >= wanted:
                break
        self._text, self._at = "".join(got), 0
        return size > 0

    def _refuse(self, why: str) -> NoReturn:
        line = self._line + self._text.count("\n", 0, self._at)
        raise Refused(
            f"{self._source.name!r} is no valid JSON at line {line}: {why}. Correct it, or upload it as .txt."
        )
