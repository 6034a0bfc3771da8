"""Regular expressions of strangers, with RE2: time linear in the text, memory bounded, no look-around.

Of each pattern it is known how long a match can be at most, as far as its syntax says so; a stream is held back by that
much. A pattern without such a bound (`a.*b`) is held back by `WINDOW` characters: of a longer match, what lies before
its last `WINDOW` characters may have been sent when the match is found.
"""

import re
from collections.abc import Sequence
from typing import Any

import re2

from mainspring.core.errors import InvalidRequest

__all__ = ["WINDOW", "Pattern", "PatternStream", "compiled"]

WINDOW = 256
MAX_PROGRAM_BYTES = 2**20
"""RE2's limit for the compiled forms of one pattern: `((a{100}){100}){100}` is refused."""

Match = tuple[int, int, str]
"""Where a match begins and ends, and its pattern's name."""


class Pattern:
    """A compiled pattern and the most characters that a match of it has (at most `WINDOW`)."""

    __slots__ = ("expression", "longest", "name")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.expression = compiled(source)
        self.longest = _longest(source)


def compiled(source: str) -> Any:
    """The pattern compiled, without regard to case.

    Raises:
        InvalidRequest: RE2 does not know the syntax, the program would be too large, or it matches nothing at all.
    """
    library: Any = re2  # it has no types
    options = library.Options()
    options.max_mem = MAX_PROGRAM_BYTES
    options.case_sensitive = False
    options.log_errors = False
    try:
        expression = library.compile(source, options)
    except library.error as error:
        raise InvalidRequest(
            f"This is no regular expression of RE2's syntax: {_reason(error)}. Look-around and backreferences are not "
            "supported, and a repetition may be at most 1,000.",
            code="invalid_pattern",
        ) from None
    if expression.search("") is not None:
        raise InvalidRequest(
            "This regular expression matches the empty text, so it would match everywhere.", code="invalid_pattern"
        )
    return expression


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return (reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason))[:200]


def _longest(source: str) -> int:
    """Python's parser reads nearly the same syntax and knows widths; what it cannot read has no bound."""
    try:
        from re import _parser as parser  # pyright: ignore

        longest = int(parser.parse(source).getwidth()[1])  # pyright: ignore
    except (re.error, RecursionError, OverflowError, ImportError, AttributeError, ValueError):
        return WINDOW
    return min(longest, WINDOW)


class PatternStream:
    """Looks for patterns in a stream. Owns its last `WINDOW` characters and those held; `pending` is from where on a
    match may still come to be (a position in the stream)."""

    __slots__ = ("_context", "_patterns", "_start", "_text", "pending")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._text, self._start = "", 0
        self._context = max((each.longest for each in patterns), default=0) + 1
        self.pending = 0

    def feed(self, text: str) -> list[Match]:
        """Matches that are complete with this piece."""
        checked = max(0, len(self._text) - self._context)
        self._text += text
        return self._look(checked, at_end=False)

    def end(self) -> list[Match]:
        """Matches with which the stream ends."""
        return self._look(0, at_end=True)

    def _look(self, checked: int, *, at_end: bool) -> list[Match]:
        found: list[Match] = []
        size = len(self._text)
        pending = size
        for pattern in self._patterns:
            # A match may still begin in the last characters, and the one after it decides whether a word ends there.
            pending = min(pending, max(0, size - pattern.longest))
            for match in pattern.expression.finditer(self._text, checked):
                begin, end = match.span()
                if end < size or at_end or end - begin >= WINDOW:
                    found.append((begin + self._start, end + self._start, pattern.name))
                else:
                    pending = min(pending, begin)
        self.pending = self._start + pending
        cut = max(0, min(pending, size - self._context) - 1)  # one more, which says whether a word begins
        self._text, self._start = self._text[cut:], self._start + cut
        return found
