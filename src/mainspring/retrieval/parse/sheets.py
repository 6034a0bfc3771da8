"""xlsx: each sheet is a heading, each row a line; dates as in ISO 8601. Of formulas, what they last gave."""

import datetime
import re
from collections.abc import Iterator

from mainspring.retrieval.parse.archive import RELATION, Archive, Event
from mainspring.retrieval.parse.blocks import Block
from mainspring.retrieval.parse.source import Refused, Source
from mainspring.retrieval.parse.table import Rows

__all__ = ["sheets"]

SHARED_CHARS = 1 << 28
"""Of the texts that cells refer to by number, which are held."""
COLUMNS = 16_384
CELL_CHARS = 1 << 20

_DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
"""Formats of numbers that are dates, of those that files need not define."""
_LITERAL = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_ERA, _ERA_1904 = datetime.datetime(1899, 12, 30), datetime.datetime(1904, 1, 1)  # noqa: DTZ001 - without a zone


def sheets(source: Source) -> Iterator[Block]:
    """The rows of a workbook, in the order of its sheets."""
    archive = Archive(source)
    main = archive.main_part()
    targets = archive.relations(main)
    wanted: list[tuple[str, str]] = []
    is_1904 = False
    for event in archive.events(main):
        given = event.attributes or {}
        if event.name == "workbookPr" and given:
            is_1904 = given.get("date1904") in ("1", "true")
        elif event.name == "sheet" and (name := targets.get(given.get(f"{RELATION}id", ""))):
            wanted.append((given.get("name", ""), name))
    if len(wanted) > source.limits.pages:
        raise Refused(f"{source.name!r} has more than {source.limits.pages:,} sheets: divide it.")
    cells = _Cells(_shared(source, archive), _dates(archive), _ERA_1904 if is_1904 else _ERA)
    for title, name in wanted:
        rows, apart = Rows(), 2
        for row in cells.rows(archive.events(name)):
            if line := rows.line(row):
                yield Block(line, (title[:160],) if title else (), apart=apart)
                apart = 1


def _shared(source: Source, archive: Archive) -> list[str]:
    """The texts that cells refer to. What is only a reading aid for them is left out."""
    found, text, size, hidden = list[str](), list[str](), 0, 0
    for event in archive.events("xl/sharedStrings.xml"):
        if event.name == "rPh":
            hidden += 1 if event.attributes is not None else -1
        elif not event.name and not hidden and not event.text.isspace():
            text.append(event.text)
            size += len(event.text) + 64
            if size > SHARED_CHARS:
                raise Refused(f"{source.name!r} has too much text for a workbook: save its sheets as CSV.")
        elif event.name == "si" and event.attributes is None:
            found.append("".join(text))
            text.clear()
            size += 64
    return found


def _dates(archive: Archive) -> set[str]:
    """The styles of cells, by number, that show a number as a date."""
    dates, styles = set(_DATES), set[str]()
    place, in_cells = 0, False
    for event in archive.events("xl/styles.xml"):
        given = event.attributes
        if event.name == "cellXfs":
            in_cells = given is not None
        elif given is None:
            continue
        elif event.name == "numFmt" and given.get("numFmtId", "").isdecimal():
            code = _LITERAL.sub("", given.get("formatCode", "")[:200]).lower()
            if any(each in code for each in "ymdhs") and "general" not in code:
                dates.add(int(given["numFmtId"][:9]))
        elif event.name == "xf" and in_cells:
            if given.get("numFmtId", "").isdecimal() and int(given["numFmtId"][:9]) in dates:
                styles.add(str(place))
            place += 1
    return styles


class _Cells:
    """The values of cells."""

    def __init__(self, shared: list[str], dates: set[str], era: datetime.datetime) -> None:
        self._shared, self._dates, self._era = shared, dates, era

    def rows(self, events: Iterator[Event]) -> Iterator[list[str]]:
        """A sheet's rows; cells that are left out are empty."""
        row: list[str] = []
        text: list[str] = []
        given: dict[str, str] = {}
        in_value = False
        size = 0
        for event in events:
            if not event.name:
                if in_value and size < CELL_CHARS:
                    text.append(event.text)
                    size += len(event.text)
            elif event.name in ("v", "t"):
                in_value = event.attributes is not None
            elif event.name == "c":
                if event.attributes is not None:
                    given, size = event.attributes, 0
                    text.clear()
                elif (column := _column(given.get("r", ""), len(row))) < COLUMNS:
                    row += [""] * (column - len(row))
                    row.append(self._value("".join(text), given))
            elif event.name == "row" and event.attributes is None:
                yield row
                row = []

    def _value(self, text: str, given: dict[str, str]) -> str:
        kind = given.get("t", "n")
        if kind == "s":
            place = int(text) if text.isdecimal() and len(text) < 10 else len(self._shared)
            return self._shared[place] if place < len(self._shared) else ""
        if kind == "b":
            return "TRUE" if text == "1" else "FALSE"
        if kind == "n" and given.get("s") in self._dates:
            return self._date(text)
        return text

    def _date(self, text: str) -> str:
        try:
            days = float(text)
            moment = self._era + datetime.timedelta(seconds=round(days * 86400))
        except (ValueError, OverflowError):
            return text
        if days < 1:
            return moment.strftime("%H:%M:%S")
        return moment.strftime("%Y-%m-%d" if days == int(days) else "%Y-%m-%d %H:%M:%S")


def _column(place: str, next_one: int) -> int:
    """The number of a column, from 0: `AB12` is 27. Without a place, or with one that lies behind, the next one."""
    number = 0
    for letter in place[:4]:
        if not ("A" <= letter <= "Z"):
            break
        number = 26 * number + ord(letter) - 64
    return max(number - 1, next_one)
