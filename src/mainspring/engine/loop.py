"""The engine: three lines of loop around the scheduler, the backend and the sampler."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import DeadlineExceeded, InvalidRequest, MainspringError
from mainspring.core.types import Event, Load
from mainspring.engine.backend import Backend
from mainspring.engine.draft import Drafter
from mainspring.engine.kv import KvCache, KvConfig
from mainspring.engine.sampling import logprob_of
from mainspring.engine.scheduler import Scheduler, SchedulerConfig, Work
from mainspring.engine.sequence import Sequence

__all__ = ["Engine", "Output"]

Output = tuple[str, Event | MainspringError]
"""(request id, what happened to it)."""


class Engine:
    """One model. Single-threaded: `add`, `cancel` and `step` are called from one thread.

    Invariant: a request is in `_open` from `add` until all its choices are finished, or it was cancelled or failed;
    each of its unfinished sequences is in the scheduler.
    """

    def __init__(
        self, backend: Backend, config: SchedulerConfig, monotonic: Callable[[], float], *, hot_tokens: int = 256,
        save_bytes: int = 0, drafter: Drafter | None = None,
    ) -> None:  # fmt: skip
        self._backend = backend
        self._drafter = drafter
        self._monotonic = monotonic
        kv = KvConfig(
            num_slots=backend.num_slots,
            num_cells=backend.num_cells,
            hot_tokens=hot_tokens,
            save_bytes=save_bytes,
            bytes_per_token=backend.bytes_per_token,
        )
        self._scheduler = Scheduler(config, KvCache(kv))
        self._open: dict[str, list[Sequence]] = {}
        self._busy_s = 0.0

    def add(self, sequences: list[Sequence]) -> None:
        """Start a prepared request."""
        self._open[sequences[0].request.id] = sequences
        for sequence in sequences:
            sequence.arrived = self._monotonic()
            self._scheduler.add(sequence)

    def cancel(self, request_id: str) -> None:
        """Stop a request; unknown ids are ignored, since a cancellation may cross the last event."""
        for sequence in self._open.pop(request_id, []):
            if sequence.finished is None:
                self._scheduler.remove(sequence)

    @property
    def busy(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self._open)

    @property
    def adapters(self) -> set[str]:
        """Those that open requests use."""
        return {name for group in self._open.values() if (name := group[0].adapter) is not None}

    @property
    def load(self) -> Load:
        """How busy."""
        return self._scheduler.load(self._backend.num_cells, self._busy_s, self._monotonic())

    def step(self) -> list[Output]:
        """Compute one step; returns what can be told to whom."""
        started = self._monotonic()
        outputs = list(self._expire())
        if self._drafter is not None and (decoding := self._scheduler.decoding()):
            self._drafter.ahead(decoding, self._scheduler.pace)
        batch = self._scheduler.plan()
        if batch is not None:
            before = self._monotonic()
            logits = self._backend.decode(batch)
            self._scheduler.pace.note(sum(work.count for work in batch.work), self._monotonic() - before)
            self._scheduler.commit(batch)
            at = 0
            for work in batch.work:
                outputs += self._advance(work, logits[at : at + work.num_rows], len(batch.work))
                at += work.num_rows
        self._busy_s += self._monotonic() - started
        return outputs

    def _expire(self) -> Iterable[Output]:
        for sequence in self._scheduler.expired(self._monotonic()):
            request_id = sequence.request.id
            if request_id in self._open:
                yield self._fail(request_id, DeadlineExceeded("The request's time ran out before it was finished."))

    def _fail(self, request_id: str, error: MainspringError) -> Output:
        self.cancel(request_id)
        return request_id, error

    def _advance(self, work: Work, rows: NDArray[np.float32], together: int) -> list[Output]:
        sequence, request_id = work.sequence, work.sequence.request.id
        sequence.num_together = max(sequence.num_together, together)
        sequence.num_guessed += len(work.drafts)
        sequence.tell_prompted()
        if request_id not in self._open:
            return []  # another choice of the request failed in this step
        if sequence.request.echo and work.start < sequence.num_prompt:
            self._echo(work, rows)
        if work.num_rows and sequence.num_pending <= 0:
            try:
                self._choose_all(work, rows[-1 - len(work.drafts) :])
            except InvalidRequest as error:
                return [self._fail(request_id, error)]
        if sequence.finished is not None:
            self._scheduler.remove(sequence)
            if all(other.finished is not None for other in self._open[request_id]):
                del self._open[request_id]
        events, sequence.events = sequence.events, []
        return [(request_id, event) for event in events]

    def _echo(self, work: Work, rows: NDArray[np.float32]) -> None:
        """Show prompt tokens as they are computed; a token's log probability is in the row before it."""
        sequence = work.sequence
        num_top = sequence.request.sampling.logprobs
        for at in range(work.start, min(work.start + work.count, sequence.num_prompt)):
            token = sequence.tokens[at]
            logprob = None
            if num_top is not None:
                logprob = sequence.echo_logprob(token, num_top, self._backend.piece)
                sequence.last_row = rows[at - work.start].copy()
            sequence.show_echo(self._backend.piece(token), logprob)

    def _choose_all(self, work: Work, rows: NDArray[np.float32]) -> None:
        """Choose the next token, and one more from each further row as long as the drafts equal what is chosen."""
        sequence, drafts, before = work.sequence, list(work.drafts), len(work.sequence.tokens)
        chosen: list[int] = []
        num_equal = 0
        while sequence.finished is None and num_equal == len(chosen) <= len(drafts):
            self._choose(sequence, rows[num_equal])
            chosen = sequence.tokens[before:]
            num_equal = next(
                (at for at, pair in enumerate(zip(chosen, drafts, strict=False)) if pair[0] != pair[1]),
                min(len(chosen), len(drafts)),
            )
        if drafts:
            self._scheduler.retract(work, num_equal)

    def _choose(self, sequence: Sequence, row: NDArray[np.float32]) -> None:
        """Pick the next token and everything that follows from it."""
        if len(sequence.tokens) >= sequence.max_total:
            return sequence.finish("length")
        mask = sequence.matcher.mask() if sequence.matcher else None
        if mask is not None and not mask.any():
            return sequence.finish("stop")
        token = sequence.sampler.pick(row, mask)
        is_end = self._backend.is_end(token)
        if sequence.follows is not None:
            wanted = sequence.follow(token, end=self._backend.eos, is_end=is_end)
            token, is_end = (token, True) if wanted is None else (wanted, False)
        if is_end:
            return sequence.finish("stop")
        self._append(sequence, token, row)
        matcher = sequence.matcher
        if matcher is None or sequence.finished is not None:
            return None
        matcher.accept(token)
        if matcher.done:
            return sequence.finish("stop")
        if sequence.request.sampling.logprobs is None:
            self._force(sequence, matcher.forced())
        return None

    def _force(self, sequence: Sequence, tokens: list[int]) -> None:
        """Append what the grammar leaves no choice about; it is computed together with the next step."""
        assert sequence.matcher is not None
        for token in tokens:
            if sequence.finished is not None or self._backend.is_end(token):
                return
            sequence.matcher.accept(token)
            sequence.sampler.observe(token)
            self._append(sequence, token, None)
        if sequence.finished is None and sequence.matcher.done:
            sequence.finish("stop")

    def _append(self, sequence: Sequence, token: int, row: NDArray[np.float32] | None) -> None:
        num_top = sequence.request.sampling.logprobs
        piece = self._backend.piece(token)
        logprob = (
            logprob_of(row, token, num_top, self._backend.piece) if num_top is not None and row is not None else None
        )
        sequence.tokens.append(token)
        if sequence.lookup is not None:
            sequence.lookup.push(token)
        sequence.events += sequence.answer.push(piece, logprob)
        if sequence.answer.ended:
            sequence.finish("stop")
        elif len(sequence.tokens) >= sequence.max_total:
            sequence.finish("length")

    def check_integrity(self) -> None:
        """Raise AssertionError unless every invariant holds. For tests."""
        self._scheduler.check_integrity()
        open_ = {id(one) for group in self._open.values() for one in group if one.finished is None}
        assert open_ == {id(one) for one in self._scheduler.sequences()}, "requests and sequences disagree"
