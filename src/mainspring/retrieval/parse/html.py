"""HTML: what is shown as text, under its headings; tables row by row. Scripts, styles and navigation are left out."""

from collections.abc import Iterable, Iterator

from mainspring.retrieval.parse.blocks import Block, Headings, squeeze
from mainspring.retrieval.parse.encoding import encoding_of, pieces
from mainspring.retrieval.parse.source import Source
from mainspring.retrieval.parse.table import Rows
from mainspring.retrieval.parse.tags import START, TEXT, tags

__all__ = ["html", "page"]

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
    is_xml = source.ending == "xhtml" or source.head(100).lstrip().startswith(b"<?xml")
    return page(pieces(source, encoding_of(source, declared=True)), is_xml=is_xml)


def page(every: Iterable[str], *, is_xml: bool = False) -> Iterator[Block]:
    """The text of a page that comes in pieces."""
    state = _Page()
    for kind, value in tags(every, is_xml=is_xml):
        if kind == TEXT:
            state.data(value)
        elif kind == START:
            state.start(value)
        else:
            state.end(value)
        if state.blocks:
            yield from state.blocks
            state.blocks.clear()
    state.end_paragraph()
    yield from state.blocks


class _Page:
    """The reader's state: hears of tags and texts, and makes blocks of them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._headings = Headings()
        self._text: list[str] = []
        self._size, self._apart = 0, 2
        self._hidden = self._kept = 0  # how many tags are open that hide text, or keep its white space
        self._level = 0  # of the heading that is open
        self._tables: list[_Table] = []

    def start(self, tag: str) -> None:
        """A tag. What browsers end by themselves when it begins ends here too."""
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "br":
            self._text.append("\n")
        elif tag in _HEADINGS:
            self._end_heading()
            self._level = _HEADINGS[tag]
        elif tag == "table":
            self.end_paragraph()
            self._tables.append(_Table())
        elif tag in ("td", "th", "tr") and self._tables:
            self._end_cell()
            if tag == "tr":
                self._end_row()
            self._tables[-1].begin(tag)
        elif tag in _BLOCKS:
            self._begin_block(tag)

    def _begin_block(self, tag: str) -> None:
        if self._tables and self._tables[-1].in_cell:
            self._text.append(" ")
            return
        self._end_heading(apart=1 if tag in _CLOSE else 2)
        if tag == "pre":
            self._kept += 1
        elif tag == "li":
            self._text.append("- ")

    def end(self, tag: str) -> None:
        """The end of a tag."""
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

    def _end_heading(self, apart: int = 2) -> None:
        level, self._level = self._level, 0
        if level and (title := squeeze("".join(self._text))):
            self._headings.enter(level, title)
            apart = 2
        self.end_paragraph(apart)

    def end_paragraph(self, apart: int = 2) -> None:
        """What was heard is a paragraph; the next is so many line ends apart."""
        text = "".join(self._text)
        text = text.strip("\n").rstrip() if self._kept else "\n".join(filter(None, map(squeeze, text.split("\n"))))
        self._text.clear()
        self._size = 0
        if not text or text == "-":
            self._apart = max(self._apart, apart)
            return
        self.blocks.append(Block(text, self._headings.path, apart=self._apart))
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
            self.blocks.append(Block(line, self._headings.path, apart=2 if table.is_first else self._apart))
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
