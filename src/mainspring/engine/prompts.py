"""From a request's prompt to tokens, and to what its answers must be: rendered, tokenised, checked that it fits.

Common to every engine: what a prompt means is decided here, once, over a vocabulary. Everything is a pure function of
the request and the model.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mainspring.core import log
from mainspring.core.errors import ContextLengthExceeded, InvalidRequest
from mainspring.core.receipt import Prompted
from mainspring.core.types import ChatPrompt, Constraint, GenerateRequest, InfillPrompt, TextPrompt, TokenPrompt
from mainspring.engine.constraint import constraint_grammar
from mainspring.engine.positions import digest, read, spans_of
from mainspring.engine.vocabulary import FillsIn, InfillTokens, Vocabulary
from mainspring.models.chat import ChatTemplate
from mainspring.models.cited import cited_grammar
from mainspring.models.infill import InfillReader, fit
from mainspring.models.tools.answers import Reader
from mainspring.models.tools.plan import AnswerPlan

__all__ = ["Asked", "Prompts"]

MAX_CHARS_PER_TOKEN = 64
"""A prompt of more characters than this for each token of context is refused before it is tokenised."""


MIN_ROOM = 256
"""Tokens left for what fills a gap where the request does not say how many it may be."""
NUM_MARKS = 16
"""Tokens kept free for the markers of an infill."""


class Asked(NamedTuple):
    """What a request comes to: the prompt's tokens, the most tokens of prompt and answer together, and for a chat how
    its answers are read."""

    tokens: list[int]
    max_total: int
    plan: AnswerPlan | None


class Prompts:
    """One model's way of reading requests. Use from one thread."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def ask(self, request: GenerateRequest) -> Asked:
        """The request in tokens.

        Raises:
            InvalidRequest: a token that does not exist, a template that refuses.
            ContextLengthExceeded: with the numbers.
        """
        tokens, plan = self._tokens(request)
        max_total = self._max_total(request, len(tokens))
        for token in request.sampling.logit_bias:
            self._check_token(token, "logit_bias")
        return Asked(tokens, max_total, plan)

    def explain(self, request: GenerateRequest, tokens: Sequence[int]) -> Prompted:
        """What the model is shown; `tokens` are the request's prompt."""
        spans: tuple[tuple[int, int], ...] = ()
        if isinstance(request.prompt, ChatPrompt):
            prompt = request.prompt
            pieces = self.template.render(prompt.messages, prompt.tools, prompt.thinking, continues=prompt.continues)
            spans = spans_of(self._vocabulary, self.template, prompt, pieces, tokens)
        return Prompted(
            text=read(self._vocabulary, tokens), num_tokens=len(tokens), sha256=digest(tokens), spans=spans,
            context_length=self._vocabulary.context_length, seed=request.sampling.seed,
            beside=tuple(len(self._plain(text)) for text in request.beside),
        )  # fmt: skip

    def reader(
        self, request: GenerateRequest, plan: AnswerPlan | None, monotonic: Callable[[], float]
    ) -> Reader | None:
        """What tells thoughts and calls from content in one choice; None if everything is content."""
        if isinstance(request.prompt, InfillPrompt):
            return InfillReader(request.prompt, monotonic, knows_suffix=self._infill_tokens is not None)
        return plan.reader() if plan else None

    def grammar(
        self, request: GenerateRequest, plan: AnswerPlan | None
    ) -> tuple[str, Sequence[tuple[str, Constraint]]] | None:
        """What an answer must match, for `Grammars.compile`, and the parts of it that the client wrote; None if
        anything goes."""
        if plan is not None and plan.is_plain:
            plan = None  # nothing but content: its constraint is the whole grammar
        if plan is None:
            if request.constraint is not None:
                return constraint_grammar(request.constraint)
            return (cited_grammar(request.cites), [("messages", Constraint("lark"))]) if request.cites else None
        return plan.grammar(self._special)

    def _tokens(self, request: GenerateRequest) -> tuple[list[int], AnswerPlan | None]:
        """The prompt's tokens, and for a chat how its answers are read."""
        plan: AnswerPlan | None = None
        match request.prompt:
            case ChatPrompt() as prompt:
                template = self.template
                pieces = template.render(prompt.messages, prompt.tools, prompt.thinking, continues=prompt.continues)
                plan = template.plan(prompt, pieces, request.constraint, request.cites)
            case TextPrompt(text):
                pieces = [text]
            case TokenPrompt(ids):
                for token in ids:
                    self._check_token(token, "prompt")
                return list(ids) or self._empty(), None
            case InfillPrompt() as gap:
                return self._infill(gap, request.max_tokens) or self._empty(), None
        num_chars = sum(map(len, pieces))
        if num_chars > self._vocabulary.context_length * MAX_CHARS_PER_TOKEN:
            self._too_long(num_chars // MAX_CHARS_PER_TOKEN, "at least ")
        return self.encode(pieces), plan

    def encode(self, pieces: Sequence[str]) -> list[int]:
        """A prompt's pieces (`ChatTemplate.render`) as tokens: at least one, and however many there are."""
        tokens = [
            token
            for piece in pieces
            for token in self._vocabulary.tokenize(piece.encode("utf-8", "replace"), special=True)
        ]
        if self._vocabulary.bos is not None and tokens[:1] != [self._vocabulary.bos]:
            tokens.insert(0, self._vocabulary.bos)
        return tokens or self._empty()

    @functools.cached_property
    def _infill_tokens(self) -> InfillTokens | None:
        return self._vocabulary.infill if isinstance(self._vocabulary, FillsIn) else None

    def _infill(self, gap: InfillPrompt, max_tokens: int | None) -> list[int]:
        """Tokens that ask for the middle: with the model's own markers in the order of its training, or else only what
        comes before the gap, for a model that knows no gaps."""
        marks = self._infill_tokens
        prefix, suffix = self._plain(gap.prefix), self._plain(gap.suffix) if marks else []
        extra = [self._extra(name, text, marks) for name, text in gap.extra]
        if gap.fit:
            room = self._vocabulary.context_length - min(max_tokens or MIN_ROOM, self._vocabulary.context_length // 2)
            prefix, suffix, extra = fit(prefix, suffix, extra, room - NUM_MARKS)
        context = [token for tokens in extra for token in tokens]
        bos = [self._vocabulary.bos] if self._vocabulary.bos is not None else []
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
        if len(text) > self._vocabulary.context_length * MAX_CHARS_PER_TOKEN:
            self._too_long(len(text) // MAX_CHARS_PER_TOKEN, "at least ")
        return self._vocabulary.tokenize(text.encode("utf-8", "replace"))

    def _empty(self) -> list[int]:
        """A model needs something to continue from: OpenAI's empty prompt means the beginning of a document."""
        return [self._vocabulary.bos if self._vocabulary.bos is not None else self._vocabulary.eos]

    @functools.cached_property
    def _special(self) -> dict[str, int]:
        """Ids of control tokens by name."""
        piece = self._vocabulary.piece
        return {piece(token).decode(errors="replace"): token for token in self._vocabulary.special_ids}

    @functools.cached_property
    def template(self) -> ChatTemplate:
        """How the model wants a conversation written."""
        vocabulary = self._vocabulary
        bos = vocabulary.piece(vocabulary.bos).decode(errors="replace") if vocabulary.bos is not None else ""
        eos = vocabulary.piece(vocabulary.eos).decode(errors="replace")
        template = ChatTemplate(vocabulary.chat_template, bos=bos, eos=eos, special=self._special)
        log.get().info("tool format", format=template.format.name, reason=template.reason)
        return template

    def _check_token(self, token: int, param: str) -> None:
        if not 0 <= token < self._vocabulary.num_tokens:
            raise InvalidRequest(
                f"Token {token} does not exist: this model's vocabulary has {self._vocabulary.num_tokens} tokens.",
                param=param,
            )

    def _max_total(self, request: GenerateRequest, num_prompt: int) -> int:
        context = self._vocabulary.context_length
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
            f"This model's maximum context length is {self._vocabulary.context_length} tokens. However, your prompt "
            f"resulted in {about}{num_prompt} tokens. Please reduce the length of the prompt.",
            param="prompt",
        )
