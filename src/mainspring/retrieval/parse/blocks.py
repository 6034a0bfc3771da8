"""From what readers find to passages: offsets, merging of what is short, cutting of what is long."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mainspring.retrieval.parse.source import Refused
from mainspring.retrieval.passages import Passage

__all__ = ["TITLE_CHARS", "Block", "Headings", "clean", "passages", "squeeze"]

ENOUGH_CHARS, MOST_CHARS = 2000, 8000
"""Blocks under one heading are put together up to the first, and are cut at the second."""
TITLE_CHARS, DEPTH = 160, 10

_UNWANTED = re.compile("[\0\ud800-\udfff]")
_ENDS = (re.compile(r"\n[ \t]*\n"), re.compile(r"\n"), re.compile("[.!?\u3002\uff01\uff1f]\\s"), re.compile(r"\s"))


class Block(NamedTuple):
    """A piece of text as a reader finds it; `apart` is how many line ends lie between it and the one before."""

    text: str
    heading: tuple[str, ...] = ()
    page: int | None = None
    apart: int = 2


class Headings:
    """The path of headings that the reader is under."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """A heading begins, 1 being the outermost level; the path now."""
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        if title := squeeze(clean(title[:1000]))[:TITLE_CHARS]:
            self._path.append((level, title))
        return self.path

    def leave(self, level: int) -> None:
        """What was entered at a deeper level than this ends; 0 ends everything."""
        while self._path and self._path[-1][0] > level:
            self._path.pop()

    @property
    def path(self) -> tuple[str, ...]:
        """The titles, the outermost first."""
        return tuple(title for _, title in self._path[-DEPTH:])


def squeeze(text: str) -> str:
    """The text with one space wherever white space is."""
    return " ".join(text.split())


def clean(text: str) -> str:
    """The same text with a mark for what no database takes: NUL, and halves of characters."""
    return _UNWANTED.sub("\ufffd", text)


def passages(blocks: Iterable[Block], text_chars: int) -> Iterator[Passage]:
    """The passages of a document.

    Raises:
        Refused: there are more than `text_chars` characters.
    """
    held, place, is_first = "", 0, True
    heading: tuple[str, ...] = ()
    page: int | None = None
    for block in blocks:
        text, gap = block.text, 0 if is_first else block.apart
        if not text:
            continue
        if (block.heading, block.page) != (heading, page) or (gap and len(held) + len(text) > ENOUGH_CHARS):
            yield from _passage(held, place, heading, page)
            held, place = "", place + len(held) + gap
        else:
            held += "\n" * gap
        held += text
        heading, page, is_first = block.heading, block.page, False
        while len(held) > MOST_CHARS:
            at = _cut(held)
            yield from _passage(held[:at], place, heading, page)
            held, place = held[at:], place + at
        if place + len(held) > text_chars:
            raise Refused(f"The document has more than {text_chars:,} characters of text: divide it.")
    yield from _passage(held, place, heading, page)


def _passage(text: str, start: int, heading: tuple[str, ...], page: int | None) -> Iterator[Passage]:
    if text and not text.isspace():
        yield Passage(text=clean(text), start=start, heading=heading, page=page)


def _cut(text: str) -> int:
    """Where to cut a text that is too long: at the end of a paragraph, line, sentence or word, if there is one."""
    window = text[MOST_CHARS // 2 : MOST_CHARS]
    for end in _ENDS:
        last = None
        for last in end.finditer(window):  # noqa: B007 - the last one is wanted
            pass
        if last is not None:
            return MOST_CHARS // 2 + last.end()
    return MOST_CHARS
