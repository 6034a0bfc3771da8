"""One choice of one request, from its arrival to its last token."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.receipt import Computed, Prompted
from mainspring.core.types import Event, Finished, FinishReason, GenerateRequest, Token, TokenLogprob, Usage
from mainspring.engine.answer import Answer
from mainspring.engine.constraint import Matcher
from mainspring.engine.positions import packed
from mainspring.engine.sampling import Sampler, logprob_of
from mainspring.engine.speculation import Lookup
from mainspring.engine.text import TextStream

__all__ = ["Sequence"]

MAX_DECODE_TOKENS = 16
"""Tokens that a decoding sequence may add to one step when a grammar forces several; more is prefill."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """State that the scheduler, the sampler and the cache share; each field says who writes it.

    `tokens` is the prompt and what was generated so far; those before `num_computed` are in the KV cache. A sequence
    that was preempted has no slot, keeps its tokens, and is computed again from what is still cached.
    """

    request: GenerateRequest
    choice: int
    tokens: list[int]
    num_prompt: int
    max_total: int  # prompt and answer together
    sampler: Sampler
    answer: Answer
    echo: TextStream
    matcher: Matcher | None = None
    lookup: Lookup | None = None  # guesses tokens ahead; None does not
    deadline: float = float("inf")  # on the loop's monotonic clock
    arrived: float = 0.0  # the loop's, on the same clock
    order: int = 0  # the scheduler's: arrival
    num_overtaken: int = 0  # the scheduler's: later arrivals that were admitted before it

    slot: int | None = None  # the scheduler's, None while waiting
    num_computed: int = 0  # the scheduler's
    num_cached: int | None = None  # the scheduler's: prompt tokens found in the cache at first admission
    finished: FinishReason | None = None  # the loop's
    last_row: NDArray[np.float32] | None = None  # the loop's: logits after the last echoed token
    events: list[Event] = field(default_factory=list[Event])  # the loop's: not sent yet
    prompted: Prompted | None = None  # what it was shown, if that is to be told; the loop's, which tells it once
    num_together: int = 0  # the loop's: most sequences of a step of it
    num_guessed: int = 0  # the loop's: drafts that were computed
    follows: tuple[int, ...] | None = None  # tokens that it is to have, whatever is drawn
    parted: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])  # the loop's: where it was not

    @property
    def adapter(self) -> str | None:
        """What it is computed with."""
        return self.request.adapter.id if self.request.adapter else None

    @property
    def num_pending(self) -> int:
        """Tokens not in the cache yet: the rest of the prompt, or the one that was just chosen."""
        return len(self.tokens) - self.num_computed

    @property
    def is_decoding(self) -> bool:
        """The prompt is done: its next token is what somebody waits for. (After a preemption, what was generated is
        prefill again.)"""
        return self.num_computed >= self.num_prompt and self.num_pending <= MAX_DECODE_TOKENS

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Every prompt token's logits are needed, so nothing of the prompt may come from the cache."""
        return self.request.echo and self.request.sampling.logprobs is not None

    def echo_logprob(self, token: int, num_top: int, piece: Callable[[int], bytes]) -> TokenLogprob:
        """A prompt token's log probability; the first has none, since nothing comes before it."""
        if self.last_row is None:
            return TokenLogprob(token, piece(token), None)
        return logprob_of(self.last_row, token, num_top, piece)

    def show_echo(self, piece: bytes, logprob: TokenLogprob | None) -> None:
        """Emit a token of the prompt, through a text stream of its own: a stop string in it is no stop."""
        shown = self.echo.push(piece, logprob)
        if shown is not None:
            self.events.append(Token(shown.choice, shown.text, shown.num, shown.logprobs, echo=True))

    def tell_prompted(self) -> None:
        """It was admitted: what it was shown goes out first, with what of it was cached."""
        if self.prompted is not None:
            self.events.insert(0, msgspec.structs.replace(self.prompted, cached=self.num_cached or 0))
            self.prompted = None

    def follow(self, drawn: int, *, end: int, is_end: bool) -> int | None:
        """The token to go on with, where `drawn` was drawn; None if the answer that is followed ends here, with `end`
        or another token like it."""
        assert self.follows is not None, "it follows another one"
        at = len(self.tokens) - self.num_prompt
        wanted = self.follows[at] if at < len(self.follows) else None
        if drawn != wanted and not (wanted is None and is_end):
            self.parted.append((at, self.sampler.distance(end if wanted is None else wanted)))
        if wanted is not None and wanted != drawn:
            self.sampler.correct(drawn, wanted)
        return wanted

    def finish(self, reason: FinishReason) -> None:
        """Flush the answer and write the last event."""
        self.events += self.answer.finish()
        self.finished = "tool_calls" if reason == "stop" and self.answer.has_calls else reason
        usage = Usage(
            self.num_prompt, len(self.tokens) - self.num_prompt, self.num_cached or 0, self.answer.num_thought
        )
        if self.request.prediction is not None and self.lookup is not None:
            usage = msgspec.structs.replace(usage, accepted=self.lookup.accepted, rejected=self.lookup.rejected)
        if self.request.explains and self.choice == 0:
            ids = packed(self.tokens[self.num_prompt :])
            computed = Computed(
                ids=ids, together=self.num_together, guessed=self.num_guessed, parted=tuple(self.parted)
            )
            self.events.append(computed)
        self.events.append(Finished(self.choice, self.finished, usage))
