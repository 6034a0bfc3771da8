"""A second, smaller model that guesses for the first (speculative decoding with a draft model).

It has a KV cache of its own, in which it follows the sequences it is asked about. What it guesses is verified like any
other draft, so it may be as wrong as it likes; whether asking it pays is `Drafter.num_worth`'s business.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mainspring.core.errors import EngineUnavailable
from mainspring.engine.backend import Backend
from mainspring.engine.kv import Op, Trim
from mainspring.engine.scheduler import Batch, Work
from mainspring.engine.sequence import Sequence
from mainspring.engine.speculation import SMOOTHING, Pace

__all__ = ["Drafter", "speaks_like"]

MAX_DRAFT = 8
"""Tokens that are guessed at once."""
MAX_CATCH_UP = 512
"""Tokens of prompts that the draft model reads in one go; a longer prompt takes several."""
PROBE_EVERY = 64
"""A sequence that the draft model is bad at tries it again after so many tokens."""


@dataclass(slots=True)
class _Held:
    """What the draft model's cache has of a sequence."""

    slot: int
    tokens: list[int]


def speaks_like(backend: Backend, target: Backend) -> bool:
    """Whether two models have the same vocabulary, as far as some hundreds of tokens tell."""
    probes = range(0, target.num_tokens, max(target.num_tokens // 512, 1))
    return backend.num_tokens == target.num_tokens and all(backend.piece(i) == target.piece(i) for i in probes)


class Drafter:
    """The draft model.

    Args:
        backend: of the same vocabulary as the `target`.

    Raises:
        EngineUnavailable: the vocabularies differ.
    """

    def __init__(self, backend: Backend, target: Backend, monotonic: Callable[[], float]) -> None:
        if not speaks_like(backend, target):
            raise EngineUnavailable("The draft model has another vocabulary than the model: name one of its family.")
        self._backend = backend
        self._monotonic = monotonic
        self._free = list(range(backend.num_slots))
        self._held: dict[int, _Held] = {}  # by id of the sequence, least recently used first
        self._seconds = 0.0  # for a guessed token, smoothed

    def ahead(self, sequences: list[Sequence], pace: Pace) -> None:
        """Guess for those of the decoding `sequences` that have nothing better and for which it pays."""
        num_tokens = sum(one.num_pending for one in sequences)
        threshold = pace.threshold(num_tokens)
        least = threshold + self._seconds * pace.rate(num_tokens)
        wanted = [
            (one, num)
            for one in sequences
            if one.lookup is not None
            and not one.lookup.guess(threshold, 1)
            and (num := min(self._num_worth(one, least), one.max_total - len(one.tokens) - 1)) > 0
        ]
        if wanted:
            self._guess(wanted)

    @staticmethod
    def _num_worth(sequence: Sequence, least: float) -> int:
        """Guesses whose chance to stand, all before them included, is above `least`."""
        assert sequence.lookup is not None
        rate, num, chance = sequence.lookup.offer_rate, 0, 1.0
        while num < MAX_DRAFT and (chance := chance * rate) > least:
            num += 1
        return num or len(sequence.tokens) % PROBE_EVERY == 0

    def _guess(self, wanted: list[tuple[Sequence, int]]) -> None:
        started = self._monotonic()
        ops: list[Op] = []
        work: list[Work] = []
        room = MAX_CATCH_UP
        for sequence, _ in wanted:
            held = self._hold(sequence, ops, keep={id(one) for one, _ in wanted})
            if held is None:
                continue
            start = len(held.tokens)
            count = min(len(sequence.tokens) - start, room)
            if count:
                room -= count
                work.append(Work(sequence, held.slot, start, count, 1))
                held.tokens = sequence.tokens[: start + count]
        guessed: dict[int, list[int]] = {}
        wishes = {id(one): num for one, num in wanted}
        num_rounds = 0
        while work:
            rows = self._backend.decode(Batch(ops, work))
            ops, num_rounds = [], num_rounds + 1
            following: list[Work] = []
            for one, row in zip(work, rows, strict=True):
                sequence = one.sequence
                held = self._held[id(sequence)]
                if len(held.tokens) < len(sequence.tokens):
                    continue  # a long prompt: the rest comes next time
                guesses = guessed.setdefault(id(sequence), [])
                token = int(row.argmax())
                guesses.append(token)
                if len(guesses) < wishes[id(sequence)] and not self._backend.is_end(token):
                    following.append(Work(sequence, held.slot, len(held.tokens), 1, 1, (token,)))
                    held.tokens.append(token)
            work = following
        for sequence, _ in wanted:
            if (guesses := guessed.get(id(sequence))) and sequence.lookup is not None:
                sequence.lookup.offer(guesses)
        num = sum(map(len, guessed.values()))
        if num and room == MAX_CATCH_UP - len(wanted):  # nobody had to catch up: this is what a guess costs
            self._seconds += SMOOTHING * ((self._monotonic() - started) / num - self._seconds)

    def _hold(self, sequence: Sequence, ops: list[Op], keep: set[int]) -> _Held | None:
        """The sequence's slot, holding a prefix of its tokens and at least one less; None when there is no room."""
        held = self._held.pop(id(sequence), None)
        if held is None:
            held = _Held(self._free.pop() if self._free else -1, [])
        self._held[id(sequence)] = held
        needed = len(sequence.tokens) + MAX_DRAFT
        used = sum(len(one.tokens) for one in self._held.values() if one is not held)
        for key in [key for key in self._held if key not in keep]:
            if held.slot >= 0 and used + needed <= self._backend.num_cells:
                break
            gone = self._held.pop(key)
            used -= len(gone.tokens)
            ops.append(Trim(gone.slot, 0))
            if held.slot < 0:
                held.slot = gone.slot
            else:
                self._free.append(gone.slot)
        if held.slot < 0 or used + needed > min(self._backend.num_cells, used + self._backend.context_length):
            del self._held[id(sequence)]
            if held.slot >= 0:
                ops.append(Trim(held.slot, 0))
                self._free.append(held.slot)
            return None
        most = min(len(held.tokens), len(sequence.tokens) - 1)
        same = next((at for at in range(most) if held.tokens[at] != sequence.tokens[at]), most)
        if same < len(held.tokens):
            ops.append(Trim(held.slot, same))
            del held.tokens[same:]
        return held
