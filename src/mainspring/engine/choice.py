"""One choice of a request that another engine schedules: its token ids become events.

What `sequence.py` and `loop.py` do with rows of logits, for engines that give tokens.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mainspring.core.errors import MainspringError, Unavailable
from mainspring.core.types import Event, Finished, FinishReason, GenerateRequest, Token, TokenLogprob, Usage
from mainspring.engine.answer import Answer
from mainspring.engine.constraint import Matcher
from mainspring.engine.prompts import Asked
from mainspring.engine.text import TextStream
from mainspring.engine.vocabulary import Vocabulary
from mainspring.models.tools.answers import Reader

__all__ = ["Choice"]


class Choice:
    """Turns the outputs of vLLM (`RequestOutput`s that hold what is new) into events.

    Args:
        request: what was asked.
        number: the choice's index.
        asked: the same in tokens.
        vocabulary: the model's.
        reader: what tells thoughts and calls from content.
        matcher: what the answer must match; it follows what vLLM chooses and does not choose.

    Attributes:
        finished: the last event has been made.
        arrived: when it was given to the engine; the engine's to set, on its clock.
    """

    def __init__(
        self, request: GenerateRequest, number: int, asked: Asked, vocabulary: Vocabulary, *,
        reader: Reader | None = None, matcher: Matcher | None = None,
    ) -> None:  # fmt: skip
        self.number = number
        self.prompt = asked.tokens
        self.max_tokens = asked.max_total - len(asked.tokens)
        self.finished = False
        self.arrived = 0.0
        self._request = request
        self._vocabulary = vocabulary
        self._answer = Answer(number, request.stop, reader)
        self._matcher = matcher
        self._echoed = not request.echo
        self._num_generated = 0
        self._num_cached = 0

    @property
    def num_tokens(self) -> int:
        """Of the prompt and the answer so far."""
        return len(self.prompt) + self._num_generated

    def begin(self) -> list[Event]:
        """What can be told before anything is computed: an echo without log probabilities, and if nothing else was
        asked for, the end."""
        events: list[Event] = []
        if not self._echoed and self._request.sampling.logprobs is None:
            events += self._echo([None] * len(self.prompt))
        if self._echoed and self.max_tokens == 0:
            events += self._finish("length")
        return events

    def push(self, output: Any) -> list[Event]:
        """What vLLM has generated since the last output.

        Raises:
            Unavailable: it gave the request up.
            InvalidRequest: the answer's grammar has become too costly to follow.
        """
        if self.finished:
            return []
        self._num_cached = max(self._num_cached, output.num_cached_tokens or 0)
        events: list[Event] = []
        if not self._echoed:
            events += self._echo(output.prompt_logprobs or [])
            if self.max_tokens == 0:
                return events + self._finish("length")
        (completion,) = output.outputs
        for at, token in enumerate(completion.token_ids):
            events += self._token(token, completion.logprobs[at] if completion.logprobs else None)
            if self.finished:
                return events
        if completion.finish_reason is not None:
            events += self._end(completion.finish_reason)
        return events

    def _end(self, reason: str) -> list[Event]:
        if reason in ("stop", "length"):
            return self._finish("length" if reason == "length" else "stop")
        if reason == "abort":
            raise Unavailable("The engine gave this request up: send it again.", retry_after_s=1.0)
        raise MainspringError("The engine could not compute this request.")

    def _token(self, token: int, row: Mapping[int, Any] | None) -> list[Event]:
        if self._vocabulary.is_end(token):
            return self._finish("stop")
        self._num_generated += 1
        events = self._answer.push(self._vocabulary.piece(token), self._logprob(token, row))
        if self._matcher is not None:
            self._matcher.accept(token)
        if self._answer.ended or (self._matcher is not None and self._matcher.done):
            events += self._finish("stop")
        elif self._num_generated >= self.max_tokens:
            events += self._finish("length")
        return events

    def _logprob(self, token: int, row: Mapping[int, Any] | None) -> TokenLogprob | None:
        """vLLM's row holds the likeliest tokens and the chosen one, which may or may not be among them."""
        num_top, piece = self._request.sampling.logprobs, self._vocabulary.piece
        if num_top is None:
            return None
        if row is None:
            return TokenLogprob(token, piece(token), None)
        best = sorted(row.items(), key=lambda item: (-item[1].logprob, item[0]))[:num_top]
        top = tuple((id_, piece(id_), float(one.logprob)) for id_, one in best)
        return TokenLogprob(token, piece(token), float(row[token].logprob), top)

    def _echo(self, rows: Iterable[Mapping[int, Any] | None]) -> list[Event]:
        """The prompt, through a text stream of its own: a stop string in it is no stop."""
        self._echoed = True
        stream = TextStream(self.number)
        shown = [
            stream.push(self._vocabulary.piece(token), self._logprob(token, row))
            for token, row in zip(self.prompt, rows, strict=True)
        ]
        shown.append(stream.finish())
        return [Token(one.choice, one.text, one.num, one.logprobs, echo=True) for one in shown if one is not None]

    def _finish(self, reason: FinishReason) -> list[Event]:
        events = self._answer.finish()
        self.finished = True
        told = "tool_calls" if reason == "stop" and self._answer.has_calls else reason
        usage = Usage(len(self.prompt), self._num_generated, self._num_cached, self._answer.num_thought)
        return [*events, Finished(self.number, told, usage)]
