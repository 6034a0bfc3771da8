"""PDF: the text of each page, under the entries of the outline that lead there. Pictures of text hold none."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from mainspring.retrieval.parse.blocks import Block, Headings, squeeze
from mainspring.retrieval.parse.source import Refused, Source

__all__ = ["pdf"]

PAGE_CHARS = 4 << 20
ENTRIES = 20_000
"""Of an outline; what comes after them is under the last one."""
PAGE_ENTRIES = 200
"""Of an outline, that are looked for on a page."""

_HYPHEN = re.compile("[\x02\ufffe](?:\r?\n)?")
"""Stands where a word is divided at the end of a line."""
_PASSWORD, _SECURITY = 4, 5


def pdf(source: Source) -> Iterator[Block]:
    """The text of a PDF, page by page.

    Raises:
        Refused: it is broken, needs a password, has too many pages, or no text at all.
    """
    import pypdfium2

    library: Any = pypdfium2
    try:
        document = library.PdfDocument(source.file)
    except library.PdfiumError as error:
        raise _refused(source, getattr(error, "err_code", None)) from error
    try:
        if len(document) > source.limits.pages:
            raise Refused(f"{source.name!r} has more than {source.limits.pages:,} pages: divide it.")
        outline, headings, found = _outline(document), Headings(), False
        for index in range(len(document)):
            for block in _divided(_text(source, document, index), outline.get(index, []), headings, index + 1):
                found = True
                yield block
    except library.PdfiumError as error:
        raise Refused(f"{source.name!r} is broken: {error}. Save it anew.") from error
    if not found:
        raise Refused(f"{source.name!r} holds no text: its pages may be pictures. Recognise their text first (OCR).")


def _refused(source: Source, code: int | None) -> Refused:
    if code in (_PASSWORD, _SECURITY):
        return Refused(f"{source.name!r} is protected by a password: save it without one.")
    return Refused(f"{source.name!r} is broken: it cannot be read as a PDF. Save it anew.")


def _text(source: Source, document: Any, index: int) -> str:
    """A page's text; empty if the page itself is broken, which costs no other."""
    with contextlib.ExitStack() as stack:
        try:
            page = document[index]
            stack.callback(page.close)
            text_page = page.get_textpage()
            stack.callback(text_page.close)
        except Exception as error:
            if type(error).__name__ != "PdfiumError":
                raise
            return ""
        if text_page.count_chars() > PAGE_CHARS:
            raise Refused(f"Page {index + 1} of {source.name!r} has more than {PAGE_CHARS >> 20} Mi characters.")
        return _HYPHEN.sub("", text_page.get_text_range()).replace("\r\n", "\n").replace("\r", "\n")


def _outline(document: Any) -> dict[int, list[tuple[int, str]]]:
    """Page -> the entries of the outline that lead to it: level, title."""
    found: dict[int, list[tuple[int, str]]] = {}
    try:
        for place, entry in enumerate(document.get_toc(max_depth=10)):
            if place >= ENTRIES:
                break
            target = entry.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                found.setdefault(index, []).append((entry.level + 1, squeeze(entry.get_title()[:1000])))
    except Exception as error:  # noqa: BLE001 - an outline that is broken costs its headings and no more
        del error
    return found


def _divided(text: str, entries: list[tuple[int, str]], headings: Headings, page: int) -> Iterator[Block]:
    """A page's text, cut where the titles of its entries stand. A title that is not found there begins the page."""
    begun, apart = 0, 2
    for place, (level, title) in enumerate(entries):
        at = _find(text, title, begun) if place < PAGE_ENTRIES else None
        if at is not None:
            if text[begun:at].strip():
                yield Block(text[begun:at].strip(), headings.path, page, apart)
            begun, apart = at, 1
        headings.enter(level, title)
    if text[begun:].strip():
        yield Block(text[begun:].strip(), headings.path, page, apart)


def _find(text: str, title: str, start: int) -> int | None:
    """Where a line begins with the title, after a number at most."""
    words = title.split()[:12]
    if not words:
        return None
    pattern = r"(?m)^[ \t]*(?:[\dA-Z]{1,3}(?:\.\d{1,3}){0,4}\.?[ \t]+)?" + r"\s+".join(map(re.escape, words))
    found = re.compile(pattern).search(text, start)
    return found.start() if found else None
