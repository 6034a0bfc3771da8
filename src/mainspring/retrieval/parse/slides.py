"""pptx: a page for each slide, its title the heading; tables row by row, and the speaker's notes."""

from collections.abc import Iterator

from mainspring.retrieval.parse.archive import RELATION, Archive
from mainspring.retrieval.parse.blocks import TITLE_CHARS, Block, squeeze
from mainspring.retrieval.parse.source import Refused, Source
from mainspring.retrieval.parse.table import Rows

__all__ = ["slides"]

SLIDE_CHARS = 16 << 20
"""A slide is held whole, since its title may stand anywhere in it."""


def slides(source: Source) -> Iterator[Block]:
    """The text of a presentation, in the order in which its slides are shown."""
    archive = Archive(source)
    main = archive.main_part()
    targets = archive.relations(main)
    number = 0
    for event in archive.events(main):
        name = targets.get((event.attributes or {}).get(f"{RELATION}id", "")) if event.name == "sldId" else None
        if name is None:
            continue
        number += 1
        if number > source.limits.pages:
            raise Refused(f"{source.name!r} has more than {source.limits.pages:,} slides: divide it.")
        title, lines = _slide(source, archive, name)
        heading = (title,) if title else ()
        for line in lines:
            yield Block(line, heading, number, apart=1)
        notes = next((each for each in archive.relations(name).values() if "notesslide" in each.lower()), "")
        if said := [line for line in _slide(source, archive, notes)[1] if not line.isdecimal()] if notes else []:
            yield Block("Notes: " + "\n".join(said), heading, number)


def _slide(source: Source, archive: Archive, name: str) -> tuple[str, list[str]]:
    """Its title, and its lines of text."""
    slide, size = _Slide(), 0
    for event in archive.events(name):
        if event.name:
            slide.start(event.name, event.attributes) if event.attributes is not None else slide.end(event.name)
        elif slide.in_text:
            slide.text.append(event.text)
            size += len(event.text)
            if size > SLIDE_CHARS:
                raise Refused(f"A slide of {source.name!r} has more than {SLIDE_CHARS >> 20} Mi characters: divide it.")
    return squeeze(slide.title[:1000])[:TITLE_CHARS], slide.lines


class _Slide:
    """The reader's state in one slide."""

    def __init__(self) -> None:
        self.title, self.lines, self.text, self.in_text = "", list[str](), list[str](), False
        self._is_title = False
        self._rows: Rows | None = None
        self._cells: list[str] = []
        self._cell: list[str] = []

    def start(self, name: str, given: dict[str, str]) -> None:
        if name == "t":
            self.in_text = True
        elif name == "ph":
            self._is_title = given.get("type") in ("title", "ctrTitle")
        elif name == "tbl":
            self._rows = Rows(least=3)
        elif name == "br":
            self.text.append("\n")

    def end(self, name: str) -> None:
        if name == "t":
            self.in_text = False
        elif name == "p":
            self._paragraph()
        elif name == "sp":
            self._is_title = False
        elif name == "tc":
            self._cells.append(" ".join(self._cell))
            self._cell.clear()
        elif name == "tr" and self._rows is not None:
            if line := self._rows.line(self._cells):
                self.lines.append(line)
            self._cells.clear()
        elif name == "tbl":
            self._rows = None

    def _paragraph(self) -> None:
        line = "".join(self.text).strip()
        self.text.clear()
        if not line:
            return
        if self._rows is not None:
            self._cell.append(line)
            return
        self.lines.append(line)
        if self._is_title:
            self.title = f"{self.title} {line}".strip()
