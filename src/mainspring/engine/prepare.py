"""From a request to sequences: what its prompt and its answers are (`prompts.py`), and the state of each choice.

Runs in a thread beside the loop, since a long prompt or a large schema takes milliseconds that no decode step should
wait for.
"""

import secrets
from collections.abc import Callable

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.receipt import EngineBuild, Weights
from mainspring.core.types import GenerateRequest
from mainspring.engine.answer import Answer
from mainspring.engine.backend import Adapts, Backend
from mainspring.engine.constraint import Grammars
from mainspring.engine.positions import unpacked
from mainspring.engine.prompts import Prompts
from mainspring.engine.sampling import Sampler
from mainspring.engine.sequence import Sequence
from mainspring.engine.speculation import Lookup
from mainspring.engine.text import TextStream

__all__ = ["Preparer"]

SEED_BITS = 53
"""Of seeds that are chosen here: every client can hold such a number."""


class Preparer:
    """One model's way from requests to sequences. Use from one thread.

    Args:
        speculate: whether sequences may guess tokens ahead. Those with a seed do not unless they bring a prediction:
            guesses change the shapes of steps, thus their rounding, and who sends a seed wants the same answer again.
        build, weights: for those who want to know how an answer was made.
    """

    def __init__(
        self, backend: Backend, *, speculate: bool = True, build: EngineBuild | None = None,
        weights: Weights | None = None,
    ) -> None:  # fmt: skip
        self._backend, self._build, self._weights = backend, build, weights
        self._speculate = speculate
        self._grammars = Grammars(backend)
        self._prompts = Prompts(backend)

    def prepare(self, request: GenerateRequest, monotonic: Callable[[], float]) -> list[Sequence]:
        """One sequence for each choice.

        Raises:
            InvalidRequest: a token that does not exist, a schema that cannot be enforced, a template that refuses.
            ContextLengthExceeded: with the numbers.
            EngineUnavailable: an adapter that does not load.
        """
        deadline = monotonic() + request.deadline_s if request.deadline_s is not None else float("inf")
        tokens, max_total, plan = self._prompts.ask(request)
        grammar = self._prompts.grammar(request, plan)
        if request.adapter is not None:
            if not isinstance(self._backend, Adapts):
                raise InvalidRequest("This engine computes without adapters.", param="model")
            self._backend.load_adapter(request.adapter)
        sampling, prompted = request.sampling, None
        if request.explains:
            if sampling.seed is None:  # told, so that the same draws can be made again
                sampling = msgspec.structs.replace(sampling, seed=secrets.randbits(SEED_BITS))
            prompted = msgspec.structs.replace(
                self._prompts.explain(request, tokens), seed=sampling.seed, engine=self._build, weights=self._weights
            )
        follows = None if request.follows is None else unpacked(request.follows)
        if any(not 0 <= token < self._backend.num_tokens for token in follows or ()):
            raise InvalidRequest("This model has no such tokens as the answer that is to be followed.")
        return [
            Sequence(
                request=request,
                choice=choice,
                tokens=list(tokens),
                num_prompt=len(tokens),
                max_total=max_total,
                sampler=Sampler(sampling, choice),
                answer=Answer(choice, request.stop, self._prompts.reader(request, plan, monotonic)),
                echo=TextStream(choice),
                matcher=self._grammars.compile(*grammar) if grammar else None,
                lookup=self._lookup(request, tokens),
                deadline=deadline,
                prompted=prompted if choice == 0 else None,
                follows=follows,
            )
            for choice in range(request.n)
        ]

    def _lookup(self, request: GenerateRequest, tokens: list[int]) -> Lookup | None:
        if request.prediction is not None:
            return Lookup(tokens, self._backend.tokenize(request.prediction.encode("utf-8", "replace")))
        return Lookup(tokens) if self._speculate and request.sampling.seed is None else None
