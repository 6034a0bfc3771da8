"""From a request to sequences: render, tokenise, check that it fits, compile the grammar.

Runs in a thread beside the loop, since a long prompt or a large schema takes milliseconds that no decode step should
wait for. Everything here is a pure function of the request and the model.
"""

import functools
from collections.abc import Callable

from mainspring.core import log
from mainspring.core.errors import ContextLengthExceeded, InvalidRequest
from mainspring.core.types import ChatPrompt, GenerateRequest, InfillPrompt, TextPrompt, TokenPrompt
from mainspring.engine.answer import Answer
from mainspring.engine.backend import Adapts, Backend, FillsIn, InfillTokens
from mainspring.engine.constraint import Grammars, Matcher
from mainspring.engine.sampling import Sampler
from mainspring.engine.sequence import Sequence
from mainspring.engine.speculation import Lookup
from mainspring.engine.text import TextStream
from mainspring.models.chat import ChatTemplate
from mainspring.models.infill import InfillReader, fit
from mainspring.models.tools.parser import Reader
from mainspring.models.tools.plan import AnswerPlan

__all__ = ["Preparer"]

MAX_CHARS_PER_TOKEN = 64
"""A prompt of more characters than this for each token of context is refused before it is tokenised."""


MIN_ROOM = 256
"""Tokens left for what fills a gap where the request does not say how many it may be."""
NUM_MARKS = 16
"""Tokens kept free for the markers of an infill."""


class Preparer:
    """One model's way from requests to sequences. Use from one thread.

    Args:
        speculate: whether sequences may guess tokens ahead. Those with a seed do not unless they bring a prediction:
            guesses change the shapes of steps, thus their rounding, and who sends a seed wants the same answer again.
    """

    def __init__(self, backend: Backend, *, speculate: bool = True) -> None:
        self._backend = backend
        self._speculate = speculate
        self._grammars = Grammars(backend)

    def prepare(self, request: GenerateRequest, monotonic: Callable[[], float]) -> list[Sequence]:
        """One sequence for each choice.

        Raises:
            InvalidRequest: a token that does not exist, a schema that cannot be enforced, a template that refuses.
            ContextLengthExceeded: with the numbers.
            EngineUnavailable: an adapter that does not load.
        """
        deadline = monotonic() + request.deadline_s if request.deadline_s is not None else float("inf")
        tokens, plan = self._tokens(request)
        max_total = self._max_total(request, len(tokens))
        for token in request.sampling.logit_bias:
            self._check_token(token, "logit_bias")
        if request.adapter is not None:
            if not isinstance(self._backend, Adapts):
                raise InvalidRequest("This engine computes without adapters.", param="model")
            self._backend.load_adapter(request.adapter)
        return [
            Sequence(
                request=request,
                choice=choice,
                tokens=list(tokens),
                num_prompt=len(tokens),
                max_total=max_total,
                sampler=Sampler(request.sampling, choice),
                answer=Answer(choice, request.stop, self._reader(request, plan, monotonic)),
                echo=TextStream(choice),
                matcher=self._matcher(request, plan),
                lookup=self._lookup(request, tokens),
                deadline=deadline,
            )
            for choice in range(request.n)
        ]

    def _reader(
        self, request: GenerateRequest, plan: AnswerPlan | None, monotonic: Callable[[], float]
    ) -> Reader | None:
        if isinstance(request.prompt, InfillPrompt):
            return InfillReader(request.prompt, monotonic, knows_suffix=self._infill_tokens is not None)
        return plan.reader() if plan else None

    def _matcher(self, request: GenerateRequest, plan: AnswerPlan | None) -> Matcher | None:
        if plan is not None and plan.is_plain:
            plan = None  # nothing but content: its constraint is the whole grammar
        if plan is None:
            return self._grammars.matcher(request.constraint) if request.constraint else None
        grammar = plan.grammar(self._special)
        return self._grammars.compile(*grammar) if grammar else None

    def _lookup(self, request: GenerateRequest, tokens: list[int]) -> Lookup | None:
        if request.prediction is not None:
            return Lookup(tokens, self._backend.tokenize(request.prediction.encode("utf-8", "replace")))
        return Lookup(tokens) if self._speculate and request.sampling.seed is None else None

    def _tokens(self, request: GenerateRequest) -> tuple[list[int], AnswerPlan | None]:
        """The prompt's tokens, and for a chat how its answers are read."""
        plan: AnswerPlan | None = None
        match request.prompt:
            case ChatPrompt() as prompt:
                template = self._template
                pieces = template.render(prompt.messages, prompt.tools, prompt.thinking)
                plan = template.plan(prompt, pieces, request.constraint)
            case TextPrompt(text):
                pieces = [text]
            case TokenPrompt(ids):
                for token in ids:
                    self._check_token(token, "prompt")
                return list(ids) or self._empty(), None
            case InfillPrompt() as gap:
                return self._infill(gap, request.max_tokens) or self._empty(), None
        num_chars = sum(map(len, pieces))
        if num_chars > self._backend.context_length * MAX_CHARS_PER_TOKEN:
            self._too_long(num_chars // MAX_CHARS_PER_TOKEN, "at least ")
        tokens = [
            token
            for piece in pieces
            for token in self._backend.tokenize(piece.encode("utf-8", "replace"), special=True)
        ]
        if self._backend.bos is not None and tokens[:1] != [self._backend.bos]:
            tokens.insert(0, self._backend.bos)
        return tokens or self._empty(), plan

    @functools.cached_property
    def _infill_tokens(self) -> InfillTokens | None:
        return self._backend.infill if isinstance(self._backend, FillsIn) else None

    def _infill(self, gap: InfillPrompt, max_tokens: int | None) -> list[int]:
        """Tokens that ask for the middle: with the model's own markers in the order of its training, or else only what
        comes before the gap, for a model that knows no gaps."""
        marks = self._infill_tokens
        prefix, suffix = self._plain(gap.prefix), self._plain(gap.suffix) if marks else []
        extra = [self._extra(name, text, marks) for name, text in gap.extra]
        if gap.fit:
            room = self._backend.context_length - min(max_tokens or MIN_ROOM, self._backend.context_length // 2)
            prefix, suffix, extra = fit(prefix, suffix, extra, room - NUM_MARKS)
        context = [token for tokens in extra for token in tokens]
        bos = [self._backend.bos] if self._backend.bos is not None else []
        if marks is None:
            return [*bos, *context, *prefix]
        if marks.repository is not None and context:
            context = [marks.repository, *self._plain("project\n"), *context]
            if marks.file is not None:
                context += [marks.file, *self._plain("file\n")]
        return [*bos, *context, marks.prefix, *prefix, marks.suffix, *suffix, marks.middle]

    def _extra(self, name: str, text: str, marks: InfillTokens | None) -> list[int]:
        if marks is not None and marks.file is not None:
            return [marks.file, *self._plain(f"{name}\n{text}")]
        return self._plain(f"{name}\n{text}\n\n")

    def _plain(self, text: str) -> list[int]:
        if len(text) > self._backend.context_length * MAX_CHARS_PER_TOKEN:
            self._too_long(len(text) // MAX_CHARS_PER_TOKEN, "at least ")
        return self._backend.tokenize(text.encode("utf-8", "replace"))

    def _empty(self) -> list[int]:
        """A model needs something to continue from: OpenAI's empty prompt means the beginning of a document."""
        return [self._backend.bos if self._backend.bos is not None else self._backend.eos]

    @functools.cached_property
    def _special(self) -> dict[str, int]:
        """Ids of control tokens by name."""
        piece = self._backend.piece
        return {piece(token).decode(errors="replace"): token for token in self._backend.special_ids}

    @functools.cached_property
    def _template(self) -> ChatTemplate:
        backend = self._backend
        bos = backend.piece(backend.bos).decode(errors="replace") if backend.bos is not None else ""
        eos = backend.piece(backend.eos).decode(errors="replace")
        template = ChatTemplate(backend.chat_template, bos=bos, eos=eos, special=self._special)
        log.get().info("tool format", format=template.format.name, reason=template.reason)
        return template

    def _check_token(self, token: int, param: str) -> None:
        if not 0 <= token < self._backend.num_tokens:
            raise InvalidRequest(
                f"Token {token} does not exist: this model's vocabulary has {self._backend.num_tokens} tokens.",
                param=param,
            )

    def _max_total(self, request: GenerateRequest, num_prompt: int) -> int:
        context = self._backend.context_length
        room = 0 if request.max_tokens == 0 else 1
        if num_prompt + room > context:
            self._too_long(num_prompt)
        if request.max_tokens is None:
            return context
        if num_prompt + request.max_tokens > context:
            raise ContextLengthExceeded(
                f"This model's maximum context length is {context} tokens. However, you requested "
                f"{num_prompt + request.max_tokens} tokens ({num_prompt} in the prompt, {request.max_tokens} in the "
                "completion). Please reduce the length of the prompt or of the completion.",
                param="messages" if isinstance(request.prompt, ChatPrompt) else "prompt",
            )
        return num_prompt + request.max_tokens

    def _too_long(self, num_prompt: int, about: str = "") -> None:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {self._backend.context_length} tokens. However, your prompt "
            f"resulted in {about}{num_prompt} tokens. Please reduce the length of the prompt.",
            param="prompt",
        )
