"""HTML, read by events so that no tree is held. What is not shown as text (scripts, styles, navigation) is left out."""

from collections.abc import Iterator
from typing import Any

from mainspring.retrieval.parse.blocks import Block, Headings, squeeze
from mainspring.retrieval.parse.encoding import encoding_of, pieces
from mainspring.retrieval.parse.source import Source
from mainspring.retrieval.parse.table import Rows

__all__ = ["Page", "html", "parser"]

_HIDDEN = {"script", "style", "noscript", "template", "svg", "math", "iframe", "object", "nav", "select", "canvas"}
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BLOCKS = {
    "p", "div", "section", "article", "main", "header", "footer", "aside", "blockquote", "ul", "ol", "dl", "dt", "dd",
    "li", "pre", "table", "caption", "form", "fieldset", "figure", "figcaption", "address", "hr", "title", "body",
    "details", "summary", "option", "textarea", "center",
}  # fmt: skip
_CLOSE = {"li", "dd", "dt"}
"""Lines that belong together: they are one line end apart."""
MOST_CHARS = 1 << 16
"""Of one paragraph; what is longer comes in pieces."""
MOST_CELLS = 16_384


def html(source: Source) -> Iterator[Block]:
    """The text of an HTML page under its headings."""
    page = Page()
    reader = parser(page)
    for piece in pieces(source, encoding_of(source, declared=True)):
        reader.feed(piece.encode())
        yield from page.take()
    reader.feed(b" ")  # without any input there would be an error instead of an end
    reader.close()
    page.end_paragraph()
    yield from page.take()


def parser(page: "Page") -> Any:
    """A parser that tells a page what it sees; feed it UTF-8."""
    from lxml import etree

    made: Any = etree.HTMLParser(target=page, encoding="utf-8", huge_tree=True, no_network=True)
    return made


class Page:
    """Hears of tags and texts, and makes blocks of them. `lxml` calls `start`, `end`, `data` and `close`."""

    def __init__(self) -> None:
        self.headings = Headings()
        self._blocks: list[Block] = []
        self._text: list[str] = []
        self._size, self._apart = 0, 2
        self._hidden = self._kept = 0  # how many tags are open that hide text, or keep its white space
        self._level = 0  # of the heading that is open
        self._tables: list[_Table] = []

    def take(self) -> list[Block]:
        """The blocks since the last time."""
        taken, self._blocks = self._blocks, []
        return taken

    def start(self, tag: str, _: dict[str, str]) -> None:
        """A tag, with its attributes."""
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "br":
            self._text.append("\n")
        elif tag in _HEADINGS:
            self.end_paragraph()
            self._level = _HEADINGS[tag]
        elif tag == "table":
            self.end_paragraph()
            self._tables.append(_Table())
        elif tag in ("td", "th", "tr") and self._tables:
            self._end_cell()
            self._tables[-1].begin(tag)
        elif tag in _BLOCKS:
            self._begin_block(tag)

    def _begin_block(self, tag: str) -> None:
        if self._tables and self._tables[-1].in_cell:
            self._text.append(" ")
            return
        self.end_paragraph(apart=1 if tag in _CLOSE else 2)
        if tag == "pre":
            self._kept += 1
        elif tag == "li":
            self._text.append("- ")

    def end(self, tag: str) -> None:
        """The end of a tag, as the parser sees it: each that began ends."""
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _HEADINGS:
            self._end_heading()
        elif tag in ("td", "th") and self._tables:
            self._end_cell()
        elif tag == "tr" and self._tables:
            self._end_cell()
            self._end_row()
        elif tag == "table" and self._tables:
            self._end_cell()
            self._end_row()
            self._tables.pop()
            self._apart = 2
        elif tag in _BLOCKS and not (self._tables and self._tables[-1].in_cell):
            self.end_paragraph(apart=1 if tag in _CLOSE else 2)
            if tag == "pre":
                self._kept = max(0, self._kept - 1)

    def data(self, text: str) -> None:
        """Text, of which one piece may come as several."""
        if self._hidden:
            return
        self._text.append(text)
        self._size += len(text)
        if self._size > MOST_CHARS:
            self.end_paragraph(apart=1)

    def close(self) -> None:
        """The end of the page."""

    def _end_heading(self) -> None:
        level, self._level = self._level, 0
        title = squeeze("".join(self._text))
        if level and title:
            self.headings.enter(level, title)
        self.end_paragraph()

    def end_paragraph(self, apart: int = 2) -> None:
        """What was heard is a paragraph; the next is so many line ends apart."""
        text = "".join(self._text)
        text = text.strip("\n").rstrip() if self._kept else "\n".join(filter(None, map(squeeze, text.split("\n"))))
        self._text.clear()
        self._size = 0
        if not text or text == "-":
            self._apart = max(self._apart, apart)
            return
        self._blocks.append(Block(text, self.headings.path, apart=self._apart))
        self._apart = apart

    def _end_cell(self) -> None:
        table = self._tables[-1]
        if table.in_cell:
            if len(table.cells) < MOST_CELLS:
                table.cells.append("".join(self._text))
            self._text.clear()
            self._size = 0
            table.in_cell = False
        else:
            self.end_paragraph()

    def _end_row(self) -> None:
        table = self._tables[-1]
        if line := table.line():
            self._blocks.append(Block(line, self.headings.path, apart=2 if table.is_first else self._apart))
            self._apart, table.is_first = 1, False


class _Table:
    """A table that is open, and its current row."""

    def __init__(self) -> None:
        self.in_cell, self.is_first, self.cells = False, True, list[str]()
        self._rows: Rows | None = None
        self._num_named = 0

    def begin(self, tag: str) -> None:
        self.in_cell = tag != "tr"
        self._num_named += tag == "th"

    def line(self) -> str:
        """The row that ends, as a line. The first decides whether the table names its columns."""
        cells, self.cells = self.cells, []
        if not cells:
            return ""
        if self._rows is None:
            self._rows = Rows(header=True if self._num_named == len(cells) > 1 else None, least=3)
        return self._rows.line(cells)
