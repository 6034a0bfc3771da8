"""docx: paragraphs under the headings that their styles say, and tables row by row."""

from collections.abc import Iterator

from mainspring.retrieval.parse.archive import Archive, Event
from mainspring.retrieval.parse.blocks import Block, Headings
from mainspring.retrieval.parse.source import Source
from mainspring.retrieval.parse.table import Rows

__all__ = ["word"]

NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_HIDDEN = {"Fallback", "instrText", "delText", "del", "moveFrom"}
"""What is shown in another form, or was deleted."""
_SPACES = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_HEADING = "heading "
MOST_CHARS = 1 << 16
"""Of a paragraph; what is longer comes in pieces."""


def word(source: Source) -> Iterator[Block]:
    """The text of a Word document, footnotes last."""
    archive = Archive(source)
    levels = _levels(archive)
    for name in (archive.main_part(), *NOTES):
        yield from _Body(levels).blocks(archive.events(name))


def _levels(archive: Archive) -> dict[str, int]:
    """Style -> level of heading. Styles are known by name in every language; a title is above all."""
    levels: dict[str, int] = {}
    style = ""
    for event in archive.events("word/styles.xml"):
        given = event.attributes
        if given is None:
            continue
        value = given.get("val", "")
        if event.name == "style":
            style = given.get("styleId", "")
        elif event.name == "name" and value.lower().startswith(_HEADING) and value[len(_HEADING) :].isdecimal():
            levels[style] = int(value[len(_HEADING) :][:2]) + 1
        elif event.name == "name" and value.lower() == "title":
            levels[style] = 1
        elif event.name == "outlineLvl" and value.isdecimal() and int(value[:2]) < 9:
            levels.setdefault(style, int(value[:2]) + 2)
    return levels


class _Body:
    """The reader's state in one part of the document."""

    def __init__(self, levels: dict[str, int]) -> None:
        self._levels, self._headings = levels, Headings()
        self._text: list[str] = []
        self._size = self._hidden = self._level = 0
        self._is_item = False
        self._in_text = False
        self._apart = 2
        self._tables: list[tuple[Rows, list[str]]] = []  # those that are open, each with its current row
        self._cell: list[str] = []

    def blocks(self, events: Iterator[Event]) -> Iterator[Block]:
        """The paragraphs and rows of the part."""
        for event in events:
            if event.name in _HIDDEN:
                self._hidden += 1 if event.attributes is not None else -1
            elif self._hidden:
                continue
            elif not event.name:
                self._add(event.text)
            elif event.attributes is not None:
                self._start(event.name, event.attributes)
            else:
                yield from self._end(event.name)

    def _add(self, text: str) -> None:
        if self._in_text:
            self._text.append(text)
            self._size += len(text)

    def _start(self, name: str, given: dict[str, str]) -> None:
        if name == "t":
            self._in_text = True
        elif name == "pStyle":
            self._level = self._levels.get(given.get("val", ""), 0)
        elif name == "outlineLvl" and given.get("val", "").isdecimal() and int(given["val"][:2]) < 9:
            self._level = int(given["val"][:2]) + 2
        elif name == "numPr":
            self._is_item = True
        elif name in _SPACES:
            self._text.append(_SPACES[name])
        elif name == "tbl":
            self._tables.append((Rows(least=3), []))

    def _end(self, name: str) -> Iterator[Block]:
        if name == "t":
            self._in_text = False
            if self._size > MOST_CHARS:
                yield from self._paragraph()
        elif name == "p":
            yield from self._paragraph()
            self._level, self._is_item = 0, False
        elif name == "tc" and self._tables:
            self._tables[-1][1].append(" ".join(self._cell))
            self._cell = []
        elif name == "tr" and self._tables:
            rows, cells = self._tables[-1]
            line = rows.line(cells)
            cells.clear()
            if line:
                yield Block(line, self._headings.path, apart=self._apart)
                self._apart = 1
        elif name == "tbl" and self._tables:
            self._tables.pop()
            self._apart = 2

    def _paragraph(self) -> Iterator[Block]:
        text = "".join(self._text).strip()
        self._text.clear()
        self._size = 0
        if not text:
            return
        if self._tables:
            self._cell.append(text)
            return
        if self._level:
            self._headings.enter(self._level, text)
        is_item = self._is_item and not self._level
        apart = 1 if is_item and self._apart == 1 else 2
        yield Block(f"- {text}" if is_item else text, self._headings.path, apart=apart)
        self._apart = 1 if is_item else 2
