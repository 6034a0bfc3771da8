"""Text in which markers of passages can only be of passages that there are, in llguidance's dialect of Lark.

What `responses/citations.py` takes for a marker begins with a bracket, perhaps a word ("doc"), and a number. Where that
begins, a text must go on with numbers of passages and close the bracket: `[2]`, `[doc1]`, `[1, 3]`. In code, between
backticks, brackets are free, as they are for that reader. Every other bracket is free too.

The language is one terminal, regular on purpose: a rule would make each character an item of the parser. It may be
smaller than what the reader lets pass (numbers above four digits, `[10:30]` outside of code) and is never larger: code
that four backticks or more have opened counts as text to its end, since no regular language can compare their numbers.
Syntax: llguidance, docs/syntax.md ("And/Not operators in regexes").
"""

from collections.abc import Iterable, Sequence

__all__ = ["MAX_LISTED", "MAX_NUMBER", "cited_grammar", "cited_text"]

MAX_NUMBER = 9999
"""Readers look at four digits."""
MAX_LISTED = 4
"""Numbers between two brackets."""

_NAME = r"((?i:doc(ument)?|source|passage)[ \t]?)?"
_OPENING = rf"[ \t]?{_NAME}[ \t]?[0-9]"
_CODE = r"""ONE: "`" SAME_LINE (/``+/ SAME_LINE)*
TWO: "``" SAME_LINE (/`|```+/ SAME_LINE)*
FENCE: "```" NO_TICK (/``?/ NO_TICK)*
SAME_LINE: /[^`\n]+/
NO_TICK: /[^`]+/
CLOSED: ONE "`" | TWO "``" | FENCE /```+/
LINE: (/``?/ | ONE /(``+)?/ | TWO /(`|```+)?/) /\n/
OPEN: /``?`?/ | ONE /(``+)?/ | TWO /(`|```+)?/ | FENCE /(``?)?/"""


def cited_text(name: str, numbers: Iterable[int], never: Sequence[str] = ()) -> list[str]:
    """Rules for a terminal called `name` that is any such text, whole or broken off in code.

    Args:
        numbers: of the passages, at least one, from 1 to `MAX_NUMBER`.
        never: terminals that it does not begin with, without brackets and backticks in them.
    """
    known = "|".join(map(str, sorted(set(numbers))))
    one = rf"[ \t]?{_NAME}({known})"
    marker = rf"{one}(,{one}){{0,{MAX_LISTED - 1}}}\]"
    return [
        f"{name}: FIRST (MARKER | BRACKET)* ((CLOSED AFTER) | (LINE OUTSIDE))* (CLOSED | OPEN | MANY)?",
        "OUTSIDE: NO_MARK (MARKER | BRACKET)*",
        "AFTER: (/[^\\[`]+/ (MARKER | BRACKET)*) | (MARKER | BRACKET)+",  # a backtick would belong to the run before
        f"FIRST: NO_MARK{''.join(f' & ~({each} ANY)' for each in never)}",  # of the whole it would be too costly
        "NO_MARK: /[^\\[`]*/",
        f'MARKER: "[" /{marker}/ NO_MARK',
        f'BRACKET: "[" (NO_MARK & ~/{_OPENING}(?s:.*)/)',
        *_CODE.split("\n"),
        f'MANY: /````+/ (ANY & ~(ANY "[" (/{_OPENING}(?s:.*)/ & ~/{marker}(?s:.*)/)))',
        "ANY: /(?s:.*)/",
    ]


def cited_grammar(numbers: Iterable[int]) -> str:
    """The grammar of an answer that is nothing but such text."""
    return "\n".join(["%llguidance {}", "start: TEXT", *cited_text("TEXT", numbers)])
