"""Which tokens the next step computes. Pure: no clock, no device, no socket.

    batch = scheduler.plan()      # who, which tokens, and what the cache has to do first
    ...                           # the backend computes it, the loop samples
    scheduler.commit(batch)       # what was computed is now in the cache

Rules, in order:
1. Decoding sequences go first, one token each (more if a grammar forced some), and drafts of more where those pay.
2. The rest of the step's token budget is prefill. The budget is small while anything decodes, so one long prompt never
   stalls the others' tokens, and large otherwise. Half of it goes to the prompt that is nearest its end, so a short
   prompt does not wait behind a long one; the other half in fair order, so a long one is never starved.
3. Fair order is by tier, then by tenant: fewest sequences running first, then least work done (a virtual token counter:
   Sheng et al., "Fairness in Serving Large Language Models", 2024); within a tenant, sequences whose prompt is for the
   most part cached go first, since the fewer distinct prefixes are in use, the less attention has to scan; then by
   arrival. Nobody is overtaken more than `MAX_OVERTAKEN` times.
4. A waiting sequence whose prefix is being computed by a running one is parked until it can fork from it. So is a long
   prompt whose tenant has enough tokens of prefill running: it would only share the budget with those.
5. A step computes with one adapter, or with none. Those whose sequences run take turns of a few steps, so that every
   sequence gets as many tokens as the others; a turn is not a single step, because changing adapters takes time.
6. When cells run out, idle prefixes go first, then the latest arrival of the lowest tier goes back to the queue and is
   resumed later. A sequence of flex or of a batch also gives way when a request of a higher tier waits for a place.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from mainspring.core.types import Load
from mainspring.engine.kv import KvCache, Op
from mainspring.engine.sequence import Sequence
from mainspring.engine.speculation import Pace

__all__ = ["Batch", "Scheduler", "SchedulerConfig", "Work"]

MIN_SHARE_TOKENS = 32
"""Shorter shared prefixes are computed twice rather than waited for."""
MAX_DRAFT_TOKENS = 32
"""Longest draft of one sequence."""
MAX_OVERTAKEN = 16
"""So many later arrivals of the same tenant may be admitted before a sequence."""
NUM_LOOKED_AT = 64
"""Waiting sequences, the first by arrival, whose cached prefixes are looked up for an admission."""
TURN_STEPS = 4
"""Steps that one adapter keeps its turn while others wait: a change costs half of a step of one stream."""
TURN_TOKENS = 128
"""A turn ends earlier once it has computed so many tokens: prefill must not keep others waiting for four steps."""
RANKS = {"priority": 0, "default": 1, "flex": 2, "batch": 3}
PATIENT = ("flex", "batch")
"""Tiers that give way, and that are made to wait without anybody minding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """Sizes of a step; see `core.config.EngineSettings`. `max_outputs` bounds rows of logits in one step."""

    max_running: int = 16
    prefill_tokens: int = 512
    mixed_tokens: int = 128
    max_outputs: int = 64


@dataclass(frozen=True, slots=True)
class Work:
    """`count` tokens of a sequence from `start` on, the last of them drafts; `num_rows` rows of logits come back for
    the last of all."""

    sequence: Sequence
    slot: int
    start: int
    count: int
    num_rows: int
    drafts: tuple[int, ...] = ()

    @property
    def tokens(self) -> list[int]:
        """What is computed."""
        known = self.start + self.count - len(self.drafts)
        return [*self.sequence.tokens[self.start : known], *self.drafts]


@dataclass(slots=True)
class Batch:
    """One step: cache operations to run first, in order, then the tokens to compute, all with the same adapter (its id,
    None for the model itself)."""

    ops: list[Op]
    work: list[Work] = field(default_factory=list[Work])
    adapter: str | None = None


def _arrival(sequence: Sequence) -> int:
    return sequence.order


class Scheduler:
    """Owner of the waiting and running sequences. A sequence is in exactly one of the two lists."""

    def __init__(self, config: SchedulerConfig, kv: KvCache) -> None:
        self._config = config
        self._kv = kv
        self._waiting: list[Sequence] = []  # by arrival
        self._running: list[Sequence] = []  # by admission
        self._served: Counter[str] = Counter()  # tenant -> tokens computed, for tenants with anything here
        self._arrivals = 0
        self._guessed = self._stood = 0
        self._turn: str | None = None  # the adapter whose turn it is
        self._turn_steps = self._turn_tokens = 0  # of this turn
        self._turns: dict[str | None, int] = {}  # adapter -> its latest turn, of those whose sequences run
        self.pace = Pace()

    # -- coming and going ----------------------------------------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        tenant = sequence.request.tenant
        if tenant not in self._served:
            # A newcomer starts level with the least served: idle time earns no credit.
            self._served[tenant] = min(self._served.values(), default=0)
        sequence.order = self._arrivals
        self._arrivals += 1
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take out a sequence that is finished, cancelled or failed; what it computed stays cached."""
        if sequence.slot is not None:
            self._running.remove(sequence)
            self._kv.release(sequence.slot)
            sequence.slot = None
        else:
            self._waiting.remove(sequence)
        tenant = sequence.request.tenant
        if not any(other.request.tenant == tenant for other in self.sequences()):
            del self._served[tenant]

    def sequences(self) -> Iterator[Sequence]:
        """All, running first."""
        yield from self._running
        yield from self._waiting

    def expired(self, now: float) -> list[Sequence]:
        """Sequences whose deadline has passed."""
        return [sequence for sequence in self.sequences() if sequence.deadline <= now]

    def load(self, kv_total: int, busy_s: float, now: float) -> Load:
        """How busy the engine is; `now` is on the clock of `Sequence.arrived`."""
        busy = len(self._running), len(self._waiting), self._kv.num_used, kv_total, busy_s
        new = (one for one in self._waiting if one.num_cached is None and one.request.tier not in PATIENT)
        first = next(new, None)
        queue_s = round(now - first.arrived, 3) if first else 0.0
        return Load(*busy, self._guessed, self._stood, queue_s)

    # -- planning ------------------------------------------------------------------------------------------------------

    def plan(self) -> Batch | None:
        """The next step, or None when there is nothing to compute."""
        self._secure_cells()
        self._admit()
        if self._running:
            self._kv.cool()
        self._take_turns()
        work = self._decodes()
        work += self._prefills(work)
        ops, self._kv.ops = self._kv.ops, []
        return Batch(ops, work, self._turn) if work or ops else None

    def _take_turns(self) -> None:
        """Whose turn it is: the adapter's whose turn is not over, or else the one that has waited longest."""
        present = {one.adapter: one.order for one in reversed(self._running)}  # with each one's first arrival
        latest = max(self._turns.values(), default=0)
        self._turns = {adapter: self._turns.get(adapter, latest) for adapter in present}  # newcomers wait like others
        over = self._turn_steps >= TURN_STEPS or self._turn_tokens >= TURN_TOKENS
        others = [adapter for adapter in present if adapter != self._turn]
        if not others or (self._turn in present and not over):
            return
        self._turn = min(others, key=lambda each: (self._turns[each], present[each]))
        self._turns[self._turn] = latest + 1
        self._turn_steps = self._turn_tokens = 0

    def _fair(self, sequence: Sequence) -> tuple[int, int, int]:
        request = sequence.request
        return RANKS[request.tier], self._served[request.tenant], sequence.order

    @staticmethod
    def _standing(sequence: Sequence) -> tuple[int, int]:
        """Who gives way last has the least."""
        return RANKS[sequence.request.tier], sequence.order

    def _admit(self) -> None:
        parked: set[int] = set()
        while self._may_admit() and (sequence := self._next_waiting(parked)) is not None:
            placed = None
            if len(self._running) < self._config.max_running:
                reuse = not sequence.wants_prompt_logprobs
                placed = self._kv.acquire(sequence.tokens, sequence.adapter, reuse=reuse)
            if placed is None:
                if self._give_way(sequence):
                    continue
                return  # nobody overtakes: a large prompt would never find room
            sequence.slot, sequence.num_computed = placed
            if sequence.num_cached is None:
                sequence.num_cached = sequence.num_computed
            self._waiting.remove(sequence)
            self._running.append(sequence)
            for other in self._waiting:
                other.num_overtaken += other.order < sequence.order and self._alike(other, sequence)

    def _may_admit(self) -> bool:
        """Whether there is a place, or somebody who may give way for one."""
        has_place = len(self._running) < self._config.max_running
        return bool(self._waiting) and (has_place or any(one.request.tier in PATIENT for one in self._running))

    @staticmethod
    def _alike(one: Sequence, other: Sequence) -> bool:
        """Whether nothing but arrival orders them."""
        return (one.request.tenant, one.request.tier) == (other.request.tenant, other.request.tier)

    def _give_way(self, waiting: Sequence) -> bool:
        """Send the latest sequence of the lowest tier back to the queue for one of a higher one, if it gives way."""
        patient = [one for one in self._running if one.request.tier in PATIENT]
        last = max(patient, key=self._standing, default=None)
        if last is None or RANKS[waiting.request.tier] >= RANKS[last.request.tier]:
            return False
        self._preempt(last)
        return True

    def _next_waiting(self, parked: set[int]) -> Sequence | None:
        """The first in fair order that need not wait for another's prefix; those that must are added to `parked`."""
        running = Counter(sequence.request.tenant for sequence in self._running)
        pending: Counter[str] = Counter()
        for one in self._running:
            pending[one.request.tenant] += 0 if one.is_decoding else one.num_pending
        free = [sequence for sequence in self._waiting if id(sequence) not in parked]
        warm = {
            id(one) for one in sorted(free, key=_arrival)[:NUM_LOOKED_AT] if self._num_missing(one) * 2 < one.num_prompt
        }

        def fair(one: Sequence) -> tuple[int, int, int, bool, int]:
            rank, served, order = self._fair(one)
            first = one.num_overtaken >= MAX_OVERTAKEN or id(one) in warm
            return rank, running[one.request.tenant], served, not first, order

        for sequence in sorted(free, key=fair):
            if not self._must_wait(sequence) and not self._is_too_much(sequence, pending[sequence.request.tenant]):
                return sequence
            parked.add(id(sequence))
        return None

    def _num_missing(self, sequence: Sequence) -> int:
        """Tokens that are in no cache."""
        reuse = not sequence.wants_prompt_logprobs
        return len(sequence.tokens) - (self._kv.match(sequence.tokens, sequence.adapter)[0] if reuse else 0)

    def _is_too_much(self, sequence: Sequence, pending: int) -> bool:
        """More prefill than the next steps can compute, of a tenant that has enough of it running."""
        return pending >= self._config.prefill_tokens and self._num_missing(sequence) > self._config.mixed_tokens

    def _must_wait(self, sequence: Sequence) -> bool:
        """Another running sequence is about to have computed more of this prompt than is cached now."""
        if sequence.wants_prompt_logprobs:
            return False
        ready, _, pending, _ = self._kv.match(sequence.tokens, sequence.adapter)
        return pending > ready and pending >= MIN_SHARE_TOKENS

    def _secure_cells(self) -> None:
        """Every running sequence gets cells for what was appended to it; oldest first, whoever came last gives way."""
        for sequence in sorted(self._running, key=self._standing):
            while sequence.slot is not None and not self._has_cells(sequence):
                self._preempt(max(self._running, key=self._standing))

    def _has_cells(self, sequence: Sequence) -> bool:
        assert sequence.slot is not None
        missing = len(sequence.tokens) - self._kv.planned(sequence.slot)
        return missing <= 0 or self._kv.grow(sequence.slot, sequence.tokens[-missing:])

    def decoding(self) -> list[Sequence]:
        """Running sequences whose next token is what somebody waits for, of the adapter whose turn it is."""
        return [one for one in self._running if one.is_decoding and one.adapter == self._turn]

    def _decodes(self) -> list[Work]:
        decoding = self.decoding()
        if not decoding:
            return []
        threshold = self.pace.threshold(sum(one.num_pending for one in decoding))
        room = self._config.max_outputs - len(self._running)  # rows; a prompt that ends needs one too
        if any(not one.is_decoding for one in self._running):
            room //= 2  # an echoed prompt needs more
        work: list[Work] = []
        for at, one in enumerate(decoding):
            drafts = self._draft(one, threshold, room // (len(decoding) - at))
            room -= len(drafts)
            assert one.slot is not None
            count = one.num_pending + len(drafts)
            work.append(Work(one, one.slot, one.num_computed, count, 1 + len(drafts), tuple(drafts)))
        return work

    def _draft(self, sequence: Sequence, threshold: float, room: int) -> list[int]:
        """Tokens to try in this step. They get cells, but nothing is evicted and nobody preempted for them."""
        if sequence.lookup is None or sequence.slot is None:
            return []
        left = sequence.max_total - len(sequence.tokens) - 1
        drafts = sequence.lookup.guess(threshold, min(MAX_DRAFT_TOKENS, room, left, self._kv.num_free))
        if drafts:
            self._kv.grow(sequence.slot, drafts)
        return drafts

    def _preempt(self, sequence: Sequence) -> None:
        assert sequence.slot is not None
        self._running.remove(sequence)
        self._kv.release(sequence.slot)
        sequence.slot, sequence.num_computed = None, 0
        self._waiting.insert(0, sequence)

    def _prefills(self, decodes: list[Work]) -> list[Work]:
        someone_waits = any(one.is_decoding for one in self._running)
        budget = self._config.mixed_tokens if someone_waits else self._config.prefill_tokens
        budget = max(budget - sum(one.count - len(one.drafts) for one in decodes), 16)
        num_rows = self._config.max_outputs - sum(one.num_rows for one in decodes)
        mine = (one for one in self._running if not one.is_decoding and one.adapter == self._turn)
        waiting = sorted(mine, key=self._fair)
        if not waiting:
            return []
        shares: dict[int, int] = dict.fromkeys(map(id, waiting), 0)
        nearest = min(waiting, key=lambda one: one.num_pending)
        half = (budget + 1) // 2 if len(waiting) > 1 else 0
        for sequence, limit in [(nearest, half), *((one, budget) for one in waiting), (nearest, budget)]:
            share = min(sequence.num_pending - shares[id(sequence)], limit, budget)
            shares[id(sequence)] += share
            budget -= share
        work: list[Work] = []
        for sequence in waiting:
            count = shares[id(sequence)]
            if sequence.wants_prompt_logprobs:
                count = rows = min(count, num_rows)
            else:
                rows = min(1 if count == sequence.num_pending else 0, num_rows)
                count -= 1 if count == sequence.num_pending and not rows else 0
            if count:
                assert sequence.slot is not None
                num_rows -= rows
                work.append(Work(sequence, sequence.slot, sequence.num_computed, count, rows))
        return work

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """The step was computed."""
        for work in batch.work:
            self._kv.advance(work.slot, work.count)
            work.sequence.num_computed += work.count
            self._served[work.sequence.request.tenant] += work.count
            self._turn_tokens += work.count
        self._turn_steps += 1

    def retract(self, work: Work, num_stood: int) -> None:
        """Of the drafts just computed, those after the first `num_stood` leave the cache."""
        sequence = work.sequence
        assert sequence.slot is not None
        self._guessed += len(work.drafts)
        self._stood += num_stood
        length = work.start + work.count - len(work.drafts) + num_stood
        if length < sequence.num_computed:
            self._kv.shorten(sequence.slot, length)
            sequence.num_computed = length

    def check_integrity(self) -> None:
        """Raise AssertionError unless every invariant holds. For tests."""
        self._kv.check_integrity()
        assert len(self._running) <= self._config.max_running, "too many running"
        slots = [sequence.slot for sequence in self._running]
        assert None not in slots, "running without a slot"
        assert len(set(slots)) == len(slots), "two sequences in one slot"
        assert set(slots) == self._kv.running_slots(), "a slot that runs for nobody"
        assert all(sequence.slot is None for sequence in self._waiting), "waiting in a slot"
        for sequence in self._running:
            assert sequence.slot is not None
            assert self._kv.computed(sequence.slot) == sequence.num_computed, "cache and sequence disagree"
        assert set(self._served) == {sequence.request.tenant for sequence in self.sequences()}, "stale tenants"
