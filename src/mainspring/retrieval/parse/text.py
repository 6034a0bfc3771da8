"""Texts that are shown as they stand: plain, Markdown and its kin, and source code. Their passages cover all of the
file, so that offsets are offsets in the file itself (decoded, with `\\n` as its line ends)."""

import re
from collections.abc import Iterable, Iterator

from mainspring.retrieval.parse.blocks import Block, Headings
from mainspring.retrieval.parse.encoding import encoding_of, lines, pieces
from mainspring.retrieval.parse.source import Source

__all__ = ["LANGUAGES", "code", "markdown", "plain", "tex"]

LOOKED_AT_CHARS = 300
"""Of a line, to tell whether it is a heading: bounds what a pattern can cost."""

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NO_TITLE = re.compile(r"[ \t]*(?:[-*+>|]|\d+[.)])?[ \t]*$|[ \t]*[-*+>|#=][ \t]| {4}|\t")
_LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?")

_WORD = r"([A-Za-z_$][\w$]*)"
_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|sealed|partial|override"
    r"|virtual|pub(?:\([a-z ]{1,20}\))?|unsafe|extern|inline|const|open|data)\s+)*"
)
_TYPES = (
    rf"{_MODIFIERS}(?:class|interface|struct|enum|trait|record|namespace|module|protocol|object|union|impl)\s+{_WORD}"
)
_FUNCTIONS = rf"{_MODIFIERS}(?:function\s*\*?|func|fun|fn|def|sub)\s+{_WORD}"
_METHOD = (
    r"(?!(?:if|for|while|switch|return|else|catch|do|new|throw|using|lock|await)\b)"
    rf"[\w<>\[\],.*&:~?$ ]{{0,120}}?\b{_WORD}\s*\("
)
_GO = rf"func\s+(?:\([^)]*\)\s*)?{_WORD}|type\s+{_WORD}"
_SHELL = rf"(?:function\s+)?{_WORD}\s*\(\)|function\s+{_WORD}"

LANGUAGES: dict[str, re.Pattern[str]] = {
    ending: re.compile(pattern)
    for endings, pattern in (
        ("py pyi", rf"(?:async\s+)?def\s+{_WORD}|class\s+{_WORD}"),
        ("js mjs cjs jsx ts tsx mts cts", rf"{_TYPES}|{_FUNCTIONS}"),
        ("java kt scala cs c h cc cpp cxx hpp hh swift", rf"{_TYPES}|{_METHOD}"),
        ("go", _GO),
        ("rb rs php lua pl r jl", rf"{_TYPES}|{_FUNCTIONS}"),
        ("sh bash zsh", _SHELL),
        ("toml ini cfg", r"\[{1,2}([^\]\n]+)\]"),
    )
    for ending in endings.split()
}
"""Ending -> how a function, class or section begins, after its line's indentation. A group is its name."""

_TEX = re.compile(r"[ \t]*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?\s*(?:\[[^\]]*\])?\{([^}]*)\}?")
_TEX_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")


def plain(source: Source) -> Iterator[Block]:
    """A text without headings."""
    for piece in pieces(source, encoding_of(source)):
        yield Block(piece, apart=0)


def _sections(marked: Iterable[tuple[tuple[str, ...], str]]) -> Iterator[Block]:
    """Lines with the headings that they are under, in blocks."""
    held: list[str] = []
    path: tuple[str, ...] = ()
    size = 0
    for heading, line in marked:
        if (heading != path or size > 1 << 16) and held:
            yield Block("".join(held), path, apart=0)
            held, size = [], 0
        path = heading
        held.append(line)
        size += len(line)
    yield Block("".join(held), path, apart=0)


def markdown(source: Source) -> Iterator[Block]:
    """Markdown: `#` and underlined headings outside of code. reStructuredText and AsciiDoc are near enough to it."""
    return _sections(_marked(lines(source, encoding_of(source))))


def _marked(every: Iterable[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    headings, passed, before = Headings(), _Passed(), ""
    for line in every:
        looked_at = line[:LOOKED_AT_CHARS].rstrip("\n")
        is_text = not passed.takes(looked_at)
        if is_text and (found := _ATX.match(looked_at)):
            if before:
                yield headings.path, before
                before = ""
            headings.enter(len(found[1]), _title(found[2] or ""))
        elif is_text and before and _UNDERLINE.match(looked_at) and not _NO_TITLE.match(before[:LOOKED_AT_CHARS]):
            headings.enter(1 if "=" in looked_at else 2, _title(before[:LOOKED_AT_CHARS]))
        if before:
            yield headings.path, before
        before = line
        if not is_text:
            yield headings.path, line
            before = ""
    if before:
        yield headings.path, before


class _Passed:
    """What holds no headings: code between fences, and the settings at the beginning that a site's generator reads."""

    def __init__(self) -> None:
        self._fence, self._is_first, self._in_front = "", True, False

    def takes(self, line: str) -> bool:
        """Whether this line is of that kind."""
        is_first, self._is_first = self._is_first, False
        if is_first and line.rstrip() == "---":
            self._in_front = True
            return True
        if self._in_front:
            self._in_front = line.rstrip() not in ("---", "...")
            return True
        found = _FENCE.match(line)
        if found and not self._fence:
            self._fence = found[1]
            return True
        if found and found[1].startswith(self._fence) and not line.strip(" `~"):
            self._fence = ""
            return True
        return bool(self._fence)


def _title(text: str) -> str:
    return _LINK.sub(r"\1", text).replace("`", "").strip(" \t\n*_")


def code(source: Source) -> Iterator[Block]:
    """Source code: functions and classes are its headings, as far as a line and its indentation show them."""
    return _sections(_defined(lines(source, encoding_of(source)), LANGUAGES[source.ending]))


def _defined(every: Iterable[str], pattern: re.Pattern[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    headings = Headings()
    within: list[int] = []  # the indentations of the definitions that this line is in
    for line in every:
        looked_at = line[:LOOKED_AT_CHARS].expandtabs(4)
        indent = len(looked_at) - len(looked_at.lstrip())
        begun = looked_at[indent : indent + 1]
        if begun and (begun.isalnum() or begun in "_@#[~$"):
            found = pattern.match(looked_at, indent)
            if found and found[0].endswith("(") and not _defines(looked_at):
                found = None
            while within and within[-1] >= indent:
                within.pop()
                headings.leave(len(within))
            if found:
                headings.enter(len(within) + 1, next(each for each in found.groups() if each))
                within.append(indent)
        yield headings.path, line


def _defines(line: str) -> bool:
    """Whether a line that could be a call or a declaration begins a body, here or on the next line."""
    end = line.rstrip()
    return end.endswith(("{", ")", ",", "(", "const", "override")) and not re.match(
        r"\s*(?:return|else|case|throw)\b", end
    )


def tex(source: Source) -> Iterator[Block]:
    """TeX: its sections are its headings."""

    def marked() -> Iterator[tuple[tuple[str, ...], str]]:
        headings = Headings()
        for line in lines(source, encoding_of(source)):
            if found := _TEX.match(line[:LOOKED_AT_CHARS]):
                headings.enter(_TEX_LEVELS.index(found[1]) + 1, found[2])
            yield headings.path, line

    return _sections(marked())
