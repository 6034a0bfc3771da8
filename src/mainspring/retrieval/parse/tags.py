"""HTML as tags and texts, by the rules of browsers as far as text needs them, in bounded memory and linear time.

Libraries were tried: lxml's parser keeps as much as it was given even if it builds no tree, and stops in silence when
memory ends; selectolax builds the tree; `html.parser` looks again and again at what is not closed.
"""

import html
import re
from collections.abc import Iterable, Iterator

__all__ = ["END", "START", "TEXT", "tags"]

TEXT, START, END = "text", "start", "end"

TAG_CHARS = 1 << 16
"""Of a tag that is not closed yet; more of one is passed over."""
ENTITY_CHARS = 40

_TOKEN = re.compile(
    r"([^<]++)|(<!--)"
    r"|<(/?)([a-zA-Z][^\s/>]*+)((?:[^>\"'=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+'|(?=[^\"']))|(?<!=)[\"'])*+)>"
    r"|(<[/!?][^>]*+>)|(<(?=[^a-zA-Z/!?]))"
)
_TEXT, _COMMENT, _SLASH, _NAME, _ATTRIBUTES, _BOGUS, _SIGN = range(1, 8)

_RAW = {"script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"}
"""What holds text alone, up to its own end."""


def tags(pieces: Iterable[str], *, is_xml: bool = False) -> Iterator[tuple[str, str]]:
    """What HTML is made of, as (kind, text or name of a tag in small letters). A piece of text may come as several.

    Args:
        is_xml: a tag that ends with `/>` has no content.
    """
    reader = _Tags(is_xml=is_xml)
    for piece in pieces:
        yield from reader.feed(piece, last=False)
    yield from reader.feed("", last=True)


_COMMENT_END, _TAG_END = re.compile("-->"), re.compile(">")
_RAW_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}


class _Tags:
    def __init__(self, *, is_xml: bool) -> None:
        self._is_xml, self._rest, self._at = is_xml, "", 0
        self._until: re.Pattern[str] | None = None  # what ends that which is passed over, or is text alone
        self._is_raw = False  # it is text

    def feed(self, piece: str, *, last: bool) -> Iterator[tuple[str, str]]:
        text = self._rest + piece
        at = 0
        while at < len(text):
            if self._until is None:
                yield from self._scan(text, at, last=last)
                at = self._at
                if self._until is None:
                    break
                continue
            found = self._until.search(text, at)
            end = found.start() if found else len(text) if last else max(at, len(text) - ENTITY_CHARS)
            if self._is_raw and end > at:
                yield TEXT, html.unescape(text[at:end])
            at = end
            if not found:
                break
            at = found.start() if self._is_raw else found.end()
            self._until, self._is_raw = None, False
        self._rest = text[at:]

    def _scan(self, text: str, at: int, *, last: bool) -> Iterator[tuple[str, str]]:
        """Until something begins that is passed over, or is not complete; `_at` is where."""
        for found in _TOKEN.finditer(text, at):
            if found.start() != at:
                break
            at, kind = found.end(), found.lastindex
            if kind == _TEXT:
                if at == len(text) and not last:  # what is called &amp; may be cut here
                    sign = text.rfind("&", max(found.start(), at - ENTITY_CHARS))
                    at = sign if sign >= 0 else at
                said = text[found.start() : at]
                yield TEXT, html.unescape(said) if "&" in said else said
            elif kind == _ATTRIBUTES:
                yield from self._tag(found)
            elif kind == _SIGN:
                yield TEXT, "<"
            elif kind == _COMMENT:
                self._until, at = _COMMENT_END, at - 2
            if self._until is not None:
                break
        if self._until is None and last:
            at = len(text)
        elif self._until is None and len(text) - at > TAG_CHARS:
            self._until = _TAG_END
        self._at = at

    def _tag(self, found: re.Match[str]) -> Iterator[tuple[str, str]]:
        name = found[_NAME].lower()
        if found[_SLASH]:
            yield END, name
            return
        yield START, name
        if self._is_xml and found[0].endswith("/>"):
            yield END, name
        elif name in _RAW:
            self._until, self._is_raw = _RAW_ENDS[name], True
