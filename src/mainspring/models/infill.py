"""Where text that fills a gap ends: before what follows the gap begins again, and, if wanted, with its block of code.

Pure; fed with pieces of text like the readers of tool calls, and like theirs its result does not depend on the pieces.
"""

import re
from collections.abc import Callable

from mainspring.core.types import InfillPrompt
from mainspring.models.tools.answers import Output, Said

__all__ = ["InfillReader", "fit"]

MAX_SUFFIX_CHARS = 1024
MIN_REPEAT_CHARS = 4
"""A shorter beginning of the suffix (a bracket, a quote) comes up by itself: it is trimmed only at the end."""
OPENERS = (":", "{", "(", "[")

_INDENT = re.compile(r"[ \t]*")
_TAB = " " * 4


def fit(
    prefix: list[int], suffix: list[int], extra: list[list[int]], room: int
) -> tuple[list[int], list[int], list[list[int]]]:
    """What of a gap's surroundings goes into `room` tokens: three quarters for the prefix if both sides are long, what
    is near the gap before what is far, other files only in what is left, the last first and none in part."""
    num_suffix = min(len(suffix), max(room // 4, room - len(prefix)))
    num_prefix = min(len(prefix), room - num_suffix)
    left = room - num_prefix - num_suffix
    kept: list[list[int]] = []
    for tokens in reversed(extra):
        if len(tokens) > left:
            break
        kept.insert(0, tokens)
        left -= len(tokens)
    return prefix[len(prefix) - num_prefix :], suffix[:num_suffix], kept


class InfillReader:
    """Reads one choice of an infill; see `models.tools.parser.Reader`.

    Args:
        prompt: the gap.
        knows_suffix: the model was told what follows. One that was not writes it again sooner or later; one that was
            may well end with the same bracket that the suffix begins with.
        monotonic: seconds; for `InfillPrompt.max_s`.
    """

    def __init__(self, prompt: InfillPrompt, monotonic: Callable[[], float], *, knows_suffix: bool) -> None:
        self._suffix = prompt.suffix[:MAX_SUFFIX_CHARS]
        self._enough = _num_recognised(self._suffix)
        self._trims_all = not knows_suffix
        self._min_indent = _min_indent(prompt.prefix) if prompt.dedent else 0
        self._monotonic = monotonic
        self._until = float("inf") if prompt.max_s is None else monotonic() + prompt.max_s
        self._held = ""
        self._at = 0
        self._line = ""  # the last line of what was written; the prefix began the first
        self._is_first_line = True
        self.done = False
        self.num_calls = 0

    def push(self, text: str) -> list[Output]:
        """See `Reader`."""
        out: list[Output] = []
        for char in text:
            if not self.done:
                self._held += char
                out += self._take_char(char)
        if self._monotonic() >= self._until and not self._is_first_line:
            self.done = True
        return out

    def finish(self) -> list[Output]:
        """See `Reader`. The end of the text that begins the suffix is there already."""
        overlap = self._overlap()
        if not self._trims_all and overlap < MIN_REPEAT_CHARS:
            overlap = 0
        out = self._show(0 if self.done else len(self._held) - overlap)
        self.done = True
        return out

    def _take_char(self, char: str) -> list[Output]:
        if char == "\n":
            self._line, self._is_first_line = "", False
        else:
            self._line += char
            if self._is_dedent(char):
                self.done = True
                return self._show(max(0, len(self._held) - len(self._line) - 1))
        overlap = self._overlap()
        if self._enough and overlap >= self._enough:
            out = self._show(len(self._held) - overlap)
            self.done = True
            return out
        return self._show(self._num_decided(len(self._held) - overlap))

    def _is_dedent(self, char: str) -> bool:
        """Whether the line has just begun, further to the left than the block goes."""
        if self._is_first_line or not self._min_indent or char in " \t" or self._line[:-1].strip():
            return False
        return _width(self._line[:-1]) < self._min_indent

    def _num_decided(self, num: int) -> int:
        """Of `num` characters, those that no dedent can take back: all before the line break of a line without
        words."""
        if not self._min_indent or self._is_first_line or self._line.strip():
            return num
        return min(num, max(0, len(self._held) - len(self._line) - 1))

    def _overlap(self) -> int:
        """Length of the longest end of what is held that begins the suffix."""
        held, suffix = self._held, self._suffix
        return next((size for size in range(min(len(held), len(suffix)), 0, -1) if held.endswith(suffix[:size])), 0)

    def _show(self, count: int) -> list[Output]:
        text, self._held = self._held[:count], self._held[count:]
        at, self._at = self._at, self._at + count
        return [Said(at, text)] if text else []


def _num_recognised(suffix: str) -> int:
    """How much of the suffix is enough to know it again: its first line with a word in it; 0 if there is too little."""
    at = 0
    for line in suffix.splitlines(keepends=True):
        at += len(line)
        if len(line.strip()) >= MIN_REPEAT_CHARS:
            return at
    return 0


def _min_indent(prefix: str) -> int:
    """The least indent (in columns) of a line that still belongs to the block that the prefix ends in."""
    lines = prefix.split("\n")
    if lines[-1].strip():
        return _width(_indent(lines[-1])) + (1 if lines[-1].rstrip().endswith(OPENERS) else 0)
    before = next((line for line in reversed(lines[:-1]) if line.strip()), "")
    if before.rstrip().endswith(OPENERS):
        return _width(_indent(before)) + 1
    return _width(lines[-1]) or _width(_indent(before))


def _indent(line: str) -> str:
    found = _INDENT.match(line)
    assert found is not None
    return found.group()


def _width(indent: str) -> int:
    return len(indent.replace("\t", _TAB))
