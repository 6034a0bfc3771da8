"""What parsing gives to indexing: a document's text in pieces, and the chunks that are made of them.

Offsets count characters in the document's whole text, which is no file: it is what a reader would see, with line ends
as `\\n`. Two passages may have text between them that belongs to neither (blank lines), never text that is shared.
"""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec

__all__ = ["Chunk", "Parse", "Passage"]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document's text, in the document's order.

    `start` is where it begins in the document's whole text; `page` counts from 1 (slides too) and is None in documents
    without pages; `heading` is the path of the headings that it stands under, the outermost first.
    """

    text: str
    start: int
    page: int | None = None
    heading: tuple[str, ...] = ()


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """What is indexed: the text from `start` to `end` (exclusive), with the page and heading that it begins under."""

    text: str
    start: int
    end: int
    page: int | None = None
    heading: tuple[str, ...] = ()
    tokens: int


Parse = Callable[[Path, str], AsyncGenerator[Passage]]
"""(content on this machine, filename) -> its passages. Raises `InvalidRequest`, which says what is wrong with it."""
