"""Holds a completion back until it was looked at, as briefly as can be, or lets it pass and annotates it after.

How long text is held when it may be blocked, by what is looked for:
- terms and profanity: only while what the text ends with is the beginning of a term, so ordinary text is not held at
  all, and no part of a blocked term ever leaves;
- regular expressions: as many characters as their longest match has, at most `patterns.WINDOW`; the part of a longer
  match that lies before the window may have left;
- personal data: while what the text ends with may be the beginning of some; by a finder of names also until a few words
  more have come;
- hate, sexual, violence, self-harm: until four more words or the end of a clause have come. They are judged by the
  words around them, so the beginning of a sentence may have left when its end gives it away;
- protected material: it is recognised by its length, so what comes before that has left;
- groundedness: judged at the end, when all has left. It can only end the answer with the reason content_filter.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from mainspring.governance.filters.direction import MAX_HITS, Direction
from mainspring.governance.filters.fold import Folder, is_boundary
from mainspring.governance.filters.grounded import ungrounded
from mainspring.governance.filters.patterns import PatternStream
from mainspring.governance.filters.personal import LOOK_BACK
from mainspring.governance.filters.policy import GRADED, SEVERITIES
from mainspring.governance.filters.terms import TermStream
from mainspring.governance.filters.verdict import Hit, Verdict

__all__ = ["Annotation", "Hold", "Released"]

WORDS = 4
"""So many words more are judged together."""
TAIL = 480
"""Characters before them that they are judged with: some 80 words."""
ANNOTATED = 240
"""Characters that pass between two annotations in asynchronous mode; Azure's bound is 1,000."""
PROTECTED_EVERY, PROTECTED_TAIL = 120, 1500

_CLAUSE = re.compile(r"[.!?;:\n][\"')\]]*\s")
_BETWEEN = re.compile(r"\s+|(?<=[\"}\]])[,:]|[,:](?=[\"{\[])")
"""What stands between two words: in JSON without spaces its commas and colons."""


class Released(msgspec.Struct, frozen=True):
    """Text that may be shown."""

    text: str


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the text so far. `check_offset` is up to where everything was looked at; the two others are the
    piece that this annotation is new for. All in characters of the completion."""

    verdict: Verdict
    check_offset: int
    start_offset: int
    end_offset: int

    def offsets(self) -> dict[str, int]:
        """As `content_filter_offsets`."""
        return {"check_offset": self.check_offset, "start_offset": self.start_offset, "end_offset": self.end_offset}


class Hold:
    """Looks at one choice of an answer. `verdict` is what is known so far; once it says blocked, nothing more comes.

    Owns the text from the first character that has not left (`_sent`), or that is still needed for judging.
    """

    def __init__(self, direction: Direction, *, asynchronous: bool = False, sources: Sequence[str] = ()) -> None:
        self._direction, self._asynchronous = direction, asynchronous
        self.verdict = direction.verdict(())
        self._hits: dict[tuple[str, ...], Hit] = {}
        self._text, self._start = "", 0  # the tail of the text that is kept, and where it begins
        self._sent = self._annotated = 0
        self._folder, self._folded, self._where = Folder(), "", list[int]()
        self._terms = TermStream(direction.terms) if direction.terms else None
        self._patterns = PatternStream(direction.patterns) if direction.patterns else None
        self._judged = self._copied = self._searched = 0
        self._sources = sources if "ungrounded_material" in direction.rules else ()
        self._answer: list[str] = []

    @property
    def _end(self) -> int:
        return self._start + len(self._text)

    def feed(self, text: str) -> list[Released | Annotation]:
        """More of the completion; returns what may be shown now and what was found."""
        if self._direction.is_idle:
            return [Released(text)] if text else []
        if self.verdict.blocked or not text:
            return []
        safe = self._look(self._keep(text), text, at_end=False)
        return self._give(safe, at_end=False)

    def end(self, text: str = "") -> list[Released | Annotation]:
        """The completion has ended, with this last piece of it; returns the rest."""
        if self._direction.is_idle:
            return self.feed(text)
        if self.verdict.blocked:
            return []
        safe = self._look(self._keep(text), text, at_end=True)
        return self._give(safe, at_end=True)

    def _keep(self, text: str) -> str:
        """Take more of the completion in; returns it folded."""
        if self._sources:
            self._answer.append(text)
        folded, where = self._folder.feed(text, self._end)
        self._text += text
        self._folded += folded
        self._where += where
        return folded

    def _look(self, folded: str, text: str, *, at_end: bool) -> int:
        """Look at what has come; returns up to where the text may leave."""
        hits: list[Hit] = []
        safe = self._end
        if self._terms is not None:
            # Positions of the folded stream count from its beginning, `_where` from what is kept.
            matches = [*self._terms.feed(folded), *(self._terms.end() if at_end else ())]
            hits += self._direction.named(matches, _Shifted(self._where, self._dropped))
            if self._terms.pending is not None:
                safe = min(safe, self._where[self._terms.pending - self._dropped])
        if self._patterns is not None:
            hits += self._direction.named([*self._patterns.feed(text), *(self._patterns.end() if at_end else ())])
            safe = safe if at_end else min(safe, self._patterns.pending)
        if self._direction.looks_for_personal:
            safe = min(safe, self._personal(hits, at_end=at_end))
        if self._direction.classified:
            safe = min(safe, self._judge(hits, at_end=at_end))
        if self._direction.index is not None:
            self._protected(hits, at_end=at_end)
        if at_end and self._sources:
            hits += self._grounded()
        return self._note(hits, safe)

    _dropped = 0
    """How many folded characters are no longer kept."""

    def _personal(self, hits: list[Hit], *, at_end: bool) -> int:
        finder, begin = self._direction.finder, max(0, self._searched - self._start)
        tail = len(self._text) if at_end else max(begin, finder.open_tail(self._text))
        if tail - begin < finder.step and not at_end:
            return self._searched
        context = max(0, begin - finder.context)  # what stands before decides whether a number begins
        if context:  # with a whole word, if there is one
            space = self._text.find(" ", context, begin)
            context = space + 1 if space >= 0 else begin - 1
        for hit in self._direction.personal(self._text[context:]):
            if hit.span[1] + context <= begin:
                continue  # it was looked at with what stands before it
            if hit.span[1] + context <= tail or at_end:
                hits.append(_moved(hit, context + self._start))
            else:
                tail = min(tail, max(begin, hit.span[0] + context))
        self._searched = max(self._searched, self._start + tail, self._end - LOOK_BACK)
        return self._searched

    def _judge(self, hits: list[Hit], *, at_end: bool) -> int:
        """Judge the words that have come, if there are enough; returns up to where words were judged."""
        fresh = self._text[self._judged - self._start :]
        if at_end:
            until = len(fresh)
        else:
            ends = [match.start() for match in _BETWEEN.finditer(fresh)]
            clauses = [match.end() - 1 for match in _CLAUSE.finditer(fresh)]
            until = max(ends[-1] if len(ends) > WORDS else 0, clauses[-1] if clauses else 0)
            if len(fresh) > TAIL and not until:
                until = len(fresh)  # no words at all
        if not until:
            return self._judged
        begin = max(0, self._judged - self._start - TAIL)
        if begin:
            begin = self._text.rfind(" ", 0, begin) + 1
        piece = self._text[begin : self._judged - self._start + until]
        hits += [
            _moved(hit, self._start + begin)
            for hit in self._direction.classifier.judge(piece, self._direction.classified)
        ]
        self._judged += until
        return self._judged

    def _protected(self, hits: list[Hit], *, at_end: bool) -> None:
        if at_end or self._end - self._copied >= PROTECTED_EVERY:
            self._copied = self._end
            hits += [_moved(hit, self._start) for hit in self._direction.protected(self._text)]

    def _grounded(self) -> list[Hit]:
        answer = "".join(self._answer)
        return [
            Hit(
                category="ungrounded_material",
                score=round(1 - share, 3),
                matched=answer[start:end][:120],
                span=(start, end),
            )
            for start, end, share in ungrounded(answer, self._sources)
        ]

    def _note(self, hits: list[Hit], safe: int) -> int:
        """Take hits into the verdict; text may leave up to the first of them that blocks."""
        fresh = [hit for hit in hits if self._is_news(hit)]
        if not fresh:
            return safe
        decided = self._direction.verdict(fresh)
        for hit in decided.hits:
            self._hits[_key(hit)] = hit
            if hit.blocking and not self._asynchronous:
                safe = min(safe, hit.span[0])
        self.verdict = self._direction.verdict(self._hits.values())
        return safe

    def _is_news(self, hit: Hit) -> bool:
        known = self._hits.get(_key(hit))
        if known is None:
            return len(self._hits) < MAX_HITS or hit.blocking
        if hit.severity is None or known.severity is None:
            return False
        return SEVERITIES.index(hit.severity) > SEVERITIES.index(known.severity)

    def _give(self, safe: int, *, at_end: bool) -> list[Released | Annotation]:
        given: list[Released | Annotation] = []
        news = self.verdict.blocked or len(self._hits) != self._told
        until = self._end if self._asynchronous else self._at_boundary(safe)
        if until > self._sent:
            given.append(Released(self._text[self._sent - self._start : until - self._start]))
            self._sent = until
        checked = safe if self._asynchronous else self._sent
        if at_end and not self.verdict.blocked:
            checked = self._end
        if news or at_end or (self._asynchronous and checked - self._annotated >= ANNOTATED):
            given.append(
                Annotation(
                    verdict=self.verdict, check_offset=checked, start_offset=self._annotated, end_offset=self._sent
                )
            )
            self._annotated, self._told = max(self._annotated, checked), len(self._hits)
        self._drop()
        return given

    _told = 0
    """How many hits the last annotation spoke of."""

    def _at_boundary(self, safe: int) -> int:
        """Text that is cut short ends with a whole word: "class" must not leave as "ass" would, only because it was
        cut there."""
        if safe >= self._end or safe <= self._sent:
            return safe
        index = bisect_left(self._where, safe)
        while index and index < len(self._where) and not is_boundary(self._folded[index - 1], self._folded[index]):
            index = bisect_left(self._where, self._where[index - 1])
        return self._where[index] if index < len(self._where) else safe

    def _drop(self) -> None:
        """Forget what has left and is not needed for judging what comes."""
        needed = self._sent
        if self._direction.classified:
            needed = min(needed, self._judged - TAIL - 80)
        if self._direction.looks_for_personal:
            needed = min(needed, self._searched - LOOK_BACK)
        if self._direction.index is not None:
            needed = min(needed, self._end - PROTECTED_TAIL)
        if self._terms is not None and self._terms.pending is not None:
            needed = min(needed, self._where[self._terms.pending - self._dropped])
        if needed - self._start < TAIL:  # not for every token
            return
        index = bisect_left(self._where, needed)
        self._folded, self._where = self._folded[index:], self._where[index:]
        self._dropped += index
        self._text, self._start = self._text[needed - self._start :], needed


class _Shifted(Sequence[int]):
    """A list of which the first `by` items are gone."""

    def __init__(self, items: list[int], by: int) -> None:
        self._items, self._by = items, by

    def __getitem__(self, index: int) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._items[index - self._by]

    def __len__(self) -> int:
        return len(self._items) + self._by


def _moved(hit: Hit, by: int) -> Hit:
    return msgspec.structs.replace(hit, span=(hit.span[0] + by, hit.span[1] + by))


def _key(hit: Hit) -> tuple[str, ...]:
    """Of hits with one key the most severe is kept: a graded category has one, others one for each thing found."""
    if hit.category in GRADED:
        return (hit.category,)
    if hit.category == "ungrounded_material":
        return (hit.category, str(hit.span))
    return (hit.category, hit.blocklist, hit.matched)
