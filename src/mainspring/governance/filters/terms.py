"""Finds terms in folded text, whole or as a stream that is held back where a term may have begun, and nowhere else.

A term can begin only where a word may begin, and it is looked for by its first word: one look-up for each word of the
text, however many terms there are. At the end of a piece it is known exactly which beginnings can still become a term.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from mainspring.governance.filters.fold import WORD, fold, is_boundary

__all__ = ["TermStream", "Terms"]

Match = tuple[int, int, str]
"""Where a term begins and ends in the folded text, and the folded term."""


class Terms:
    """A set of terms, folded; `names` gives for each folded term what it was called. Immutable."""

    __slots__ = ("_by_first", "_longest", "_sorted", "names")

    def __init__(self, terms: Mapping[str, str]) -> None:
        self.names = {folded: name for term, name in terms.items() if (folded := fold(term).strip())}
        self._sorted = sorted(self.names)
        self._longest = max(map(len, self._sorted), default=0)
        self._by_first: dict[str, set[int]] = {}
        for term in self._sorted:
            first = WORD.match(term)
            assert first is not None  # no term is empty
            self._by_first.setdefault(first[0], set()).add(len(term))

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def find(self, text: str) -> Iterator[Match]:
        """Every term in a whole folded text."""
        for word in WORD.finditer(text):
            yield from self.starting(text, word.start(), word[0])

    def starting(self, text: str, start: int, word: str) -> Iterator[Match]:
        """Every term that begins at `start`, where `word` stands."""
        for length in self._by_first.get(word, ()):
            end = start + length
            if end > len(text):
                continue  # what there is may still be a shorter term, of which its own length tells
            if (term := text[start:end]) in self.names and is_boundary(term[-1], text[end : end + 1]):
                yield start, end, term

    def may_become(self, text: str, start: int) -> bool:
        """Whether what the text so far ends with, from `start` on, is a term or the beginning of one."""
        if len(text) - start > self._longest:
            return False
        tail = text[start:]
        index = bisect_left(self._sorted, tail)
        return index < len(self._sorted) and self._sorted[index].startswith(tail)


class TermStream:
    """Looks for terms in a folded stream.

    Owns the folded tail of the stream from the first place where a term may have begun; `pending` is that place (a
    position in the folded stream), or None: then the stream may be shown to its end.
    """

    __slots__ = ("_before", "_start", "_tail", "_terms", "pending")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._tail, self._start, self._before = "", 0, ""
        self.pending: int | None = None

    def feed(self, text: str) -> list[Match]:
        """Terms that are complete with this piece, of which the character after them was seen."""
        text = self._tail + text
        found: list[Match] = []
        pending = len(text)
        for word in WORD.finditer(text):
            start = word.start()
            if start == 0 and not is_boundary(self._before, word[0][0]):
                continue  # the rest of a word that no term begins with
            for begin, end, term in self._terms.starting(text, start, word[0]):
                if end < len(text):
                    found.append((begin + self._start, end + self._start, term))
            if start < pending and self._terms.may_become(text, start):
                pending = start
        return self._keep(text, pending, found)

    def _keep(self, text: str, pending: int, found: list[Match]) -> list[Match]:
        self.pending = self._start + pending if pending < len(text) else None
        if pending:
            self._before = text[pending - 1]
        self._tail, self._start = text[pending:], self._start + pending
        return found

    def end(self) -> list[Match]:
        """Terms with which the stream ends."""
        text, start = self._tail, self._start
        skip = bool(text) and not is_boundary(self._before, text[0])
        found = [(a + start, b + start, term) for a, b, term in self._terms.find(text) if not (skip and a == 0)]
        self.pending = None
        return found
