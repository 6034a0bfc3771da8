"""Passages to chunks of so many tokens at most, of which each repeats the end of the one before.

A text is taken apart once into sentences, long ones into words, and each part's tokens are counted once; a chunk is a
run of parts, counted once more as a whole. So the work is linear, and no chunk is over the limit whatever the tokenizer
makes of two parts side by side. A chunk ends where a heading, else a paragraph, a sentence or a word does, the nearer
to its limit the better; inside of a word only if the word alone is over the limit. What follows a heading repeats
nothing of what stands before it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mainspring.core.errors import InvalidRequest
from mainspring.retrieval.passages import Chunk, Passage

__all__ = ["AUTO_MAX_TOKENS", "AUTO_OVERLAP", "Chunker", "chunks"]

AUTO_MAX_TOKENS, AUTO_OVERLAP = 800, 400
"""OpenAI's `auto` strategy."""
LEAST_TOKENS, MOST_TOKENS = 100, 4096

SENTENCE_CHARS = 400
BLANK_CHARS = 32
"""Longer runs of white space between two parts are shortened."""

_SENTENCE_END = re.compile("[.!?][\"')\\]]*(?=\\s)|[\u3002\uff01\uff1f]|\n")
_CLOSING = ".!?\"')]\u3002\uff01\uff1f"
_WORD = re.compile(r"(\s*)(\S+)")
_INSIDE, _AT_WORD, _AT_SENTENCE, _AT_PARAGRAPH, _AT_HEADING = range(5)


class _Part(NamedTuple):
    """A sentence or less. `blank` is the white space before it, `cost` its tokens with that, `rank` what begins."""

    text: str
    blank: str
    start: int
    cost: int
    rank: int
    page: int | None
    heading: tuple[str, ...]


def chunks(
    passages: Iterable[Passage], *, max_tokens: int, overlap: int, count: Callable[[str], int]
) -> Iterator[Chunk]:
    """The chunks of a document, in order.

    Args:
        passages: in order; they are taken as they are needed.
        max_tokens: of a chunk, 100 to 4096.
        overlap: tokens that two chunks may share, at most half of `max_tokens`.
        count: the number of tokens of a text.

    Raises:
        InvalidRequest: a number is out of its range.
    """
    chunker = Chunker(max_tokens=max_tokens, overlap=overlap, count=count)
    for passage in passages:
        yield from chunker.add(passage)
    yield from chunker.end()


class Chunker:
    """`chunks`, for passages that arrive one by one."""

    def __init__(self, *, max_tokens: int, overlap: int, count: Callable[[str], int]) -> None:
        if not LEAST_TOKENS <= max_tokens <= MOST_TOKENS:
            raise InvalidRequest(
                f"max_chunk_size_tokens must be from {LEAST_TOKENS} to {MOST_TOKENS}.",
                param="chunking_strategy.static.max_chunk_size_tokens",
            )
        if not 0 <= overlap <= max_tokens // 2:
            raise InvalidRequest(
                "chunk_overlap_tokens must be from 0 to half of max_chunk_size_tokens.",
                param="chunking_strategy.static.chunk_overlap_tokens",
            )
        self._most, self._overlap, self._count = max_tokens, overlap, count
        self._base = count("")  # what a tokenizer adds to every text
        self._held: list[_Part] = []
        self._total = self._base
        self._num_repeated = 0  # of those held: the last chunk had them too
        self._blank, self._rank, self._place = (
            "",
            _AT_HEADING,
            0,
        )  # before the next part, and where the last passage ended
        self._heading: tuple[str, ...] = ()

    def add(self, passage: Passage) -> Iterator[Chunk]:
        """The next passage; the chunks that are complete with it."""
        for part in self._parts(passage):
            self._held.append(part)
            self._total += part.cost
            while self._total > self._most and len(self._held) > 1:
                yield self._take(self._best_cut())

    def end(self) -> Iterator[Chunk]:
        """The rest."""
        while len(self._held) > self._num_repeated:
            yield self._take(len(self._held) if self._total <= self._most else self._best_cut())

    # --- from text to parts

    def _parts(self, passage: Passage) -> Iterator[_Part]:
        gap = passage.start - self._place
        self._blank += "\n\n" if gap > 1 else "\n" * gap
        self._place = passage.start + len(passage.text)
        if passage.heading != self._heading:
            self._heading, self._rank = passage.heading, _AT_HEADING
        begun = 0
        for end in [*(found.end() for found in _SENTENCE_END.finditer(passage.text)), len(passage.text)]:
            if end > begun:
                yield from self._sentence(passage, begun, end)
                begun = end

    def _sentence(self, passage: Passage, begun: int, end: int) -> Iterator[_Part]:
        text = passage.text[begun:end]
        body = text.strip()
        if not body:
            self._blank += text
            return
        first = text.index(body[0])
        before, after = text[:first], text[first + len(body) :]
        part = self._part(passage, before, begun + first, body) if len(body) <= SENTENCE_CHARS else None
        if part is not None and part.cost <= self._most // 8:
            self._blank, self._rank = "", _INSIDE
            yield part
        else:
            for word in _WORD.finditer(passage.text, begun, begun + first + len(body)):
                yield from self._word(passage, word[1], word[2], word.start(2))
        self._blank = after
        self._rank = _AT_SENTENCE if body[-1] in _CLOSING else _INSIDE

    def _word(self, passage: Passage, before: str, text: str, at: int) -> Iterator[_Part]:
        part = self._part(passage, before, at, text)
        self._blank, self._rank = "", _INSIDE
        if part.cost <= self._most:
            yield part
            return
        yield from self._divided(part, max(1, self._most // 4))

    def _divided(self, part: _Part, chars: int) -> Iterator[_Part]:
        """A part that is too large, in pieces of so many characters, or fewer."""
        for at in range(0, len(part.text), chars):
            text, blank = part.text[at : at + chars], part.blank if at == 0 else ""
            cost = self._count(blank + text) - self._base
            piece = part._replace(
                text=text, blank=blank, start=part.start + at, cost=cost, rank=part.rank if at == 0 else _INSIDE
            )
            if cost > self._most // 2 and chars > 1:
                yield from self._divided(piece, chars // 2)
            else:
                yield piece

    def _part(self, passage: Passage, before: str, at: int, text: str) -> _Part:
        blank = self._blank + before
        rank = max(self._rank, _rank(blank))
        if len(blank) > BLANK_CHARS:
            blank = "\n\n" if blank.count("\n") > 1 else blank[:BLANK_CHARS]
        cost = self._count(blank + text) - self._base
        return _Part(text, blank, passage.start + at, cost, rank, passage.page, passage.heading)

    # --- from parts to chunks

    def _best_cut(self) -> int:
        """How many of the parts held the next chunk takes. It ends at the best place near its limit."""
        floor = self._overlap + self._most // 4
        total, fits, best, best_rank = self._base, 0, 0, _INSIDE
        for place, part in enumerate(self._held):
            if place:
                least = max(floor, self._most // 2 if part.rank == _AT_HEADING else 3 * self._most // 4)
                if total >= least and place > self._num_repeated and part.rank >= best_rank:
                    best, best_rank = place, part.rank
            if total + part.cost > self._most:
                break
            total += part.cost
            fits = place + 1
        return best or max(fits, self._num_repeated + 1)

    def _take(self, cut: int) -> Chunk:
        """The chunk of the first `cut` parts, or of fewer if they are more tokens together than apart."""
        while True:
            parts = self._held[:cut]
            text = parts[0].text + "".join([part.blank + part.text for part in parts[1:]])
            tokens = self._count(text)
            if tokens <= self._most:
                break
            if cut > self._num_repeated + 1:
                cut = self._fewer(cut, tokens - self._most)
            elif cut > 1:  # what it repeats leaves no room for what is new
                del self._held[0]
                self._num_repeated, cut = self._num_repeated - 1, cut - 1
            elif len(parts[0].text) > 1:
                self._held[:1] = self._divided(parts[0], max(1, len(parts[0].text) // 2))
            else:
                break  # a single character
        first, last = parts[0], parts[-1]
        self._advance(cut)
        return Chunk(
            text=text, start=first.start, end=last.start + len(last.text), page=first.page, heading=first.heading,
            tokens=tokens,
        )  # fmt: skip

    def _fewer(self, cut: int, excess: int) -> int:
        while cut > self._num_repeated + 1 and excess > 0:
            cut -= 1
            excess -= max(1, self._held[cut].cost)
        return cut

    def _advance(self, cut: int) -> None:
        """Let go of what is in the chunk, but for what the next one repeats."""
        held = self._held
        begin = cut
        if cut < len(held) and held[cut].rank != _AT_HEADING:
            begin = self._repeated(cut, min(self._overlap, self._most - self._base - held[cut].cost))
        self._num_repeated = cut - begin
        del held[:begin]
        self._total = self._base + sum(part.cost for part in held)

    def _repeated(self, cut: int, room: int) -> int:
        """Where the next chunk begins so that it repeats at most `room` tokens: at a sentence, if that is near."""
        held = self._held
        begin, size, sentence = cut, 0, cut
        while begin > 1 and size + held[begin - 1].cost <= room and (begin == cut or held[begin].rank != _AT_HEADING):
            begin -= 1
            size += held[begin].cost
            if held[begin].rank >= _AT_SENTENCE and 2 * size >= room:
                sentence = begin
        return sentence if sentence < cut else begin


def _rank(blank: str) -> int:
    lines = blank.count("\n")
    return _AT_PARAGRAPH if lines > 1 else _AT_SENTENCE if lines else _AT_WORD if blank else _INSIDE
