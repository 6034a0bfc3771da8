"""Citations that are true: what a model writes goes in, in pieces; text and annotations come out.

The model is told passages with numbers and asked to cite them, and while it writes it can begin no marker of another
(`models/cited.py`). Where that does not bind it (in what goes on after a restart, on an engine without grammars) it is
not relied on either: a marker is taken out of the text, and what it resolves to is put there by us. One that resolves
to nothing leaves no trace. So every marker that a reader sees is of a passage that was found. What is a marker here and
what that grammar binds must agree. An answer in a format of the client's is not read at all (`Toolbox.annotators`).

A marker is `[1]`, `[1, 2]`, `[doc1]` or `[source 1]`, in any case. In code, between backticks, nothing is a marker:
`a[0]` means something else there.

Each sentence that cites is held against the passages that it cites (`is_supported`, then `judging.py`). Its annotations
come when it is over, so that text is never held back for them; only what may turn out to be a marker is, and the white
space before it. What comes out depends on what was written, and not on how that was cut.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from mainspring.governance.filters.grounded import ungrounded
from mainspring.responses.tools import Annotated

__all__ = ["Citer", "Source", "is_supported", "markers"]

MAX_MARKER = 64
"""Characters of the longest marker. What goes on is text."""
MAX_SENTENCE = 2000
"""Characters of a sentence, or of what has no end like one, that are looked at."""
_NAMED = re.compile(r"(?:doc(?:ument)?|source|passage)?[ \t]?([0-9]+)", re.IGNORECASE)
_WORD = r"[A-Za-z]{0,8}[ \t]?[0-9]{1,4}"
_MARKER = re.compile(rf"\[[ \t]?{_WORD}(?:[ \t]?,[ \t]?{_WORD})*[ \t]?\]")
_PARTIAL = re.compile(rf"\[[ \t]?(?:{_WORD}[ \t]?,[ \t]?)*[A-Za-z]{{0,8}}[ \t]?[0-9]{{0,4}}[ \t]?")
FENCE = 3
"""Backticks that begin code of several lines."""
_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")
_CLOSERS = "\"')]*_\u201d\u2019\u00bb"


class Source(msgspec.Struct, frozen=True):
    """A passage that may be cited.

    Args:
        text: what it says.
        annotation: (start, end, supported) -> the annotation, of the characters `start` to `end` of the text; None if
            a place in the text is all that tells of it.
        shown: what stands in the text in the place of a marker.
    """

    text: str
    annotation: Callable[[int, int, bool], Any] | None
    shown: str = ""


def is_supported(sentence: str, passage: str) -> bool:
    """Whether the sentence's telling words, numbers and names are those of the passage. A very short one claims too
    little to be judged."""
    return not ungrounded(sentence, (passage,))


def markers(text: str) -> list[str]:
    """The markers in a text, as they are written, outside of code."""
    found: list[str] = []
    citer = Citer({}, seen=found.append)
    citer.feed(text)
    citer.end()
    return found


class Citer:
    """Reads one message: an `Annotator`.

    Args:
        sources: by number.
        first: is said before the first word.
        begun: what was said before this reader began.
        seen: is told each marker.
    """

    def __init__(
        self, sources: Mapping[int, Source], *, first: str = "", begun: str = "",
        seen: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._sources, self._first, self._seen = sources, first, seen
        self._out: list[str | Annotated] = []
        self._told = len(begun)  # characters that were given out
        self._space = ""  # held back: a marker may follow, and takes it along
        self._mark = ""  # held back: may be a marker
        self._taken: Literal["", "middle", "start"] = ""  # a marker was just taken out, in a line or at its start
        self._tail = ""  # of what was given out, from its last bracket
        self._code = _Code()
        self._sentence, self._cited = "", list[tuple[int, int, int]]()
        self._at_start = not begun or begun.endswith("\n")  # of a line

    def feed(self, text: str) -> Sequence[str | Annotated]:
        """More of what the model wrote; what can be told now."""
        for character in text:
            self._read(character)
        return self._result()

    def end(self) -> Sequence[str | Annotated]:
        """The message is over; what was held back."""
        mark, self._mark = self._mark, ""
        for character in mark:
            self._put(character)
        self._say(self._space)
        self._space = ""
        self._conclude()
        return self._result()

    def _result(self) -> list[str | Annotated]:
        """What came out, pieces of text that follow one another joined."""
        joined: list[str | Annotated] = []
        for each in self._out:
            last = joined[-1] if joined else None
            if isinstance(each, str) and isinstance(last, str):
                joined[-1] = last + each
            else:
                joined.append(each)
        self._out = []
        return joined

    def _read(self, character: str) -> None:
        if not self._mark:
            if character == "[" and not self._code.inside:
                self._mark = character
            else:
                self._put(character)
            return
        grown = self._mark + character
        if character == "]" and _MARKER.fullmatch(grown) and self._resolve(grown):
            self._mark = ""
        elif len(grown) < MAX_MARKER and _PARTIAL.fullmatch(grown):
            self._mark = grown
        else:  # no marker: the bracket is text, and another may begin in what followed it
            self._mark = ""
            self._put(grown[0])
            for each in grown[1:]:
                self._read(each)

    def _put(self, character: str) -> None:
        """A character that is text."""
        self._code.read(character)
        if character in " \t":
            self._space += character if self._taken != "start" else ""
            return
        if self._is_over(character):
            self._conclude()
        if self._taken == "middle" and not self._space and character.isalnum() and self._sentence[-1:].isalnum():
            self._space = " "  # the marker stood between two words
        self._taken = ""
        grown = self._tail + self._space + character
        if (
            character == "]"
            and len(grown) <= MAX_MARKER
            and not self._code.inside
            and _MARKER.fullmatch(grown)
            and self._names(grown)
        ):
            return  # what was taken out of it has left another marker behind: it is not to be one
        self._say(self._space + character)
        self._space = ""

    def _say(self, text: str) -> None:
        if not text:
            return
        if self._first:
            text, self._first = self._first + text.lstrip(), ""
        self._out.append(text)
        self._told += len(text)
        self._at_start = text.endswith("\n")
        if len(self._sentence) < MAX_SENTENCE:
            self._sentence += text
        for character in text:
            grown = self._tail + character
            self._tail = "[" if character == "[" else grown if self._tail and _PARTIAL.fullmatch(grown) else ""

    def _names(self, marker: str) -> list[int]:
        """The numbers in what may be a marker; none if it is none."""
        found = [_NAMED.fullmatch(name.strip()) for name in marker[1:-1].split(",")]
        return [int(each[1]) for each in found if each is not None] if all(found) else []

    def _resolve(self, marker: str) -> bool:
        """Put what a marker means in its place; False if it is none."""
        numbers = self._names(marker)
        if not numbers:
            return False
        if self._seen is not None:
            self._seen(marker)
        known = [each for each in dict.fromkeys(numbers) if each in self._sources]
        if any(self._sources[each].shown for each in known):
            self._say(self._space)
        else:
            self._taken = self._taken or ("start" if self._at_start else "middle")
        self._space = ""
        for number in known:
            start, shown = self._told, self._sources[number].shown
            if shown:
                self._out.append(shown)
                self._told += len(shown)
                self._tail, self._at_start, self._taken = "", False, ""
            self._cited.append((number, start, self._told))
        return True

    def _is_over(self, character: str) -> bool:
        """Whether another sentence begins with a character. Markers between the two are the first one's."""
        said = self._sentence.rstrip()
        if character == "\n" or not said:
            return False
        if self._sentence.endswith("\n"):
            return True
        parted = bool(self._space or self._taken or (self._cited and self._cited[-1][2] == self._told))
        return parted and said.rstrip(_CLOSERS).endswith(_ENDS)

    def _conclude(self) -> None:
        """The sentence is over: what it cites is held against it."""
        sentence, cited = self._sentence, self._cited
        self._sentence, self._cited = "", []
        for number, start, end in cited:
            source = self._sources[number]
            if source.annotation is not None:
                annotation = source.annotation(start, end, is_supported(sentence, source.text))
                self._out.append(Annotated(annotation, (sentence.strip(), source.text)))


class _Code:
    """Whether a text is between backticks: in a line, or fenced by three of them and more."""

    def __init__(self) -> None:
        self._run = self._open = 0

    @property
    def inside(self) -> bool:
        """Whether what comes next is code."""
        return self._now() > 0

    def _now(self) -> int:
        if not self._run:
            return self._open
        if not self._open:
            return self._run
        closes = self._run >= self._open if self._open >= FENCE else self._run == self._open
        return 0 if closes else self._open

    def read(self, character: str) -> None:
        """The next character of the text."""
        if character == "`":
            self._run += 1
            return
        self._open, self._run = self._now(), 0
        if character == "\n" and self._open < FENCE:
            self._open = 0
