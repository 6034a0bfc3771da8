"""odt, ods and odp: one content for all three, in which only tables (sheets) and pages (slides) mean something else."""

from collections.abc import Iterator

from mainspring.retrieval.parse.archive import Archive, Event
from mainspring.retrieval.parse.blocks import Block, Headings
from mainspring.retrieval.parse.source import Refused, Source
from mainspring.retrieval.parse.table import Rows

__all__ = ["opendocument"]

_HIDDEN = {"tracked-changes", "annotation", "automatic-styles", "forms"}
_SPACES = {"tab": "\t", "line-break": "\n", "s": " "}
CELLS = 1024
"""Of a row: cells that are empty are said to repeat up to the last possible column."""
MOST_CHARS = 1 << 20


def opendocument(source: Source) -> Iterator[Block]:
    """The text of an OpenDocument file."""
    archive = Archive(source)
    if "META-INF/manifest.xml" in archive and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise Refused(f"{source.name!r} is protected by a password: save it without one.")
    yield from _Content(source).blocks(archive.events("content.xml"))


class _Content:
    """The reader's state."""

    def __init__(self, source: Source) -> None:
        self._source, self._is_sheets = source, False
        self._headings, self._page = Headings(), 0
        self._text: list[str] = []
        self._size = self._hidden = self._level = self._depth = 0  # depth: of paragraphs that are open
        self._is_item = self._is_title = False
        self._tables: list[Rows] = []
        self._row: list[str] = []
        self._cell: list[str] = []
        self._repeated, self._apart = 1, 2

    def blocks(self, events: Iterator[Event]) -> Iterator[Block]:
        """Paragraphs and rows."""
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
        if self._depth:
            self._text.append(text)
            self._size += len(text)
            if self._size > MOST_CHARS:
                raise Refused(f"A paragraph of {self._source.name!r} has more than {MOST_CHARS >> 20} Mi characters.")

    def _start(self, name: str, given: dict[str, str]) -> None:
        if name in ("p", "h"):
            self._depth += 1
            level = given.get("outline-level", "1")
            self._level = int(level[:2]) if name == "h" and level.isdecimal() else int(self._is_title)
        elif name in _SPACES:
            times = given.get("c", "1")
            self._add(_SPACES[name] * (min(int(times[:4]), 100) if times.isdecimal() else 1))
        elif name == "list-item":
            self._is_item = True
        elif name == "spreadsheet":
            self._is_sheets = True
        elif name == "table":
            if self._is_sheets:
                self._headings.enter(1, given.get("name", ""))
            self._tables.append(Rows(least=2 if self._is_sheets else 3))
            self._apart = 2
        elif name == "table-cell":
            times = given.get("number-columns-repeated", "1")
            self._repeated = int(times[:5]) if times.isdecimal() else 1
        elif name == "page":
            self._page += 1
            self._headings.leave(0)
            if self._page > self._source.limits.pages:
                raise Refused(f"{self._source.name!r} has more than {self._source.limits.pages:,} slides: divide it.")
        elif name == "frame":
            self._is_title = given.get("class") == "title"

    def _end(self, name: str) -> Iterator[Block]:
        if name in ("p", "h"):
            self._depth -= 1
            if not self._depth:
                yield from self._paragraph()
        elif name == "list-item":
            self._is_item = False
        elif name == "frame":
            self._is_title = False
        elif name == "table-cell":
            text, self._cell = " ".join(self._cell), []
            self._row += [text] * min(self._repeated, CELLS - len(self._row))
        elif name == "table-row" and self._tables:
            line, self._row = self._tables[-1].line(self._row), []
            if line:
                yield self._block(line)
                self._apart = 1
        elif name == "table" and self._tables:
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
        yield self._block(f"- {text}" if self._is_item and not self._level else text)
        self._apart = 1 if self._is_item else 2

    def _block(self, text: str) -> Block:
        return Block(text, self._headings.path, self._page or None, self._apart)
