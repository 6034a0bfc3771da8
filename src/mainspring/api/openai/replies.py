"""What the server sends: OpenAI's response bodies as msgspec structs, the source of both bytes and documentation."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from mainspring.core.errors import MainspringError
from mainspring.core.types import ModelInfo, TokenLogprob
from mainspring.core.types import Usage as CoreUsage
from mainspring.responses.grounding import Context

__all__ = [
    "DONE",
    "ChatChoice",
    "ChatChunk",
    "ChatChunkChoice",
    "ChatCompletion",
    "ChatCustomCall",
    "ChatFunctionCall",
    "ChatLogprob",
    "ChatLogprobs",
    "ChatMessage",
    "ChatToolCall",
    "Completion",
    "CompletionChoice",
    "CompletionLogprobs",
    "Delta",
    "FilterOffsets",
    "Filtered",
    "FinishReason",
    "Meta",
    "Model",
    "ModelDeleted",
    "ModelList",
    "OpenApi",
    "PromptFilterResult",
    "ServiceTier",
    "Tally",
    "TopLogprob",
    "Usage",
    "chat_logprobs",
    "encode",
    "event",
    "found_in_prompt",
    "json",
    "tool_call",
]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "function_call"]
ServiceTier = Literal["priority", "default", "flex"]
DONE = b"data: [DONE]\n\n"

encode = msgspec.json.Encoder().encode


def event(body: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(body) + b"\n\n"


def json(body: Any) -> Response:
    """A whole body that is known at once."""
    return Response(encode(body), media_type="application/json")


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """What the prompt was made of."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """What the completion was made of."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Tokens of the whole request; a prompt counts once however many choices it has."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What all bodies and chunks of one answer share. `created` is in Unix seconds."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    service_tier: ServiceTier = "default"


class Tally:
    """Adds up the usage of the choices of a request, of one prompt or of several."""

    def __init__(self) -> None:
        self._prompts: dict[int, tuple[int, int]] = {}
        self.completion = 0
        self.num_finished = 0
        self._details = CompletionTokensDetails()

    def add(self, prompt: int, usage: CoreUsage) -> None:
        """A choice of prompt number `prompt` finished.

        Of the choices of one prompt, the first computes it and the others share it, so the smallest number of cached
        tokens is the one that was cached before the request.
        """
        num_tokens, cached = self._prompts.get(prompt, (usage.prompt, usage.cached))
        self._prompts[prompt] = num_tokens, min(cached, usage.cached)
        self.completion += usage.completion
        self.num_finished += 1
        self._details = CompletionTokensDetails(
            reasoning_tokens=self._details.reasoning_tokens + usage.reasoning,
            accepted_prediction_tokens=self._details.accepted_prediction_tokens + usage.accepted,
            rejected_prediction_tokens=self._details.rejected_prediction_tokens + usage.rejected,
        )

    @property
    def prompt(self) -> int:
        """Prompt tokens of all prompts."""
        return sum(num_tokens for num_tokens, _ in self._prompts.values())

    @property
    def cached(self) -> int:
        """Those of them that were not computed again."""
        return sum(cached for _, cached in self._prompts.values())

    def check(self, num_choices: int) -> None:
        """Raise unless every choice finished: a missing one is our own mistake, and no half answer is sent for it."""
        if self.num_finished != num_choices:
            raise MainspringError(f"The engine finished {self.num_finished} of {num_choices} choices.")

    def usage(self) -> Usage:
        """As OpenAI writes it."""
        return Usage(
            self.prompt,
            self.completion,
            self.prompt + self.completion,
            PromptTokensDetails(self.cached),
            self._details,
        )


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that could have been chosen."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatLogprob(msgspec.Struct, frozen=True):
    """A token that was chosen. `bytes` is exact where `token` is not: a token may end inside of a character."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, frozen=True):
    """Log probabilities of a message's tokens."""

    content: list[ChatLogprob] | None
    refusal: None = None


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> list[ChatLogprob]:
    """The engine's log probabilities in chat's form."""
    return [
        ChatLogprob(
            token.piece.decode("utf-8", "replace"),
            token.logprob or 0.0,
            list(token.piece),
            [TopLogprob(raw.decode("utf-8", "replace"), logprob, list(raw)) for _, raw, logprob in token.top],
        )
        for token in tokens
    ]


class ChatFunctionCall(msgspec.Struct, frozen=True):
    """What to call, and with what: `arguments` is JSON as text. In a stream, what a chunk adds to them."""

    arguments: str
    name: str | UnsetType = UNSET


class ChatCustomCall(msgspec.Struct, frozen=True):
    """What to call, and with what text. In a stream, what a chunk adds to them."""

    input: str
    name: str | UnsetType = UNSET


class ChatToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the client should make, of a function or of a custom tool; `index` is there in streams only, where
    later chunks of a call have neither id nor type."""

    index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET
    function: ChatFunctionCall | UnsetType = UNSET
    custom: ChatCustomCall | UnsetType = UNSET


def tool_call(arguments: str, name: str, id_: str, *, is_custom: bool, index: int | UnsetType = UNSET) -> ChatToolCall:
    """A call, or what a chunk adds to one: only the first chunk has a name and an id."""
    written = name or UNSET
    return ChatToolCall(
        index=index,
        id=id_ or UNSET,
        type=("custom" if is_custom else "function") if id_ else UNSET,
        function=UNSET if is_custom else ChatFunctionCall(arguments, written),
        custom=ChatCustomCall(arguments, written) if is_custom else UNSET,
    )


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The model's answer. `reasoning_content` is what a reasoning model thought before it; `function_call` is the older
    form of `tool_calls`; `context` is what it rests on, if there were `data_sources`."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ChatToolCall] | UnsetType = UNSET
    function_call: ChatFunctionCall | UnsetType = UNSET
    context: Context | UnsetType = UNSET


Filtered = dict[str, Any]
"""What the content filters found, by category, as Azure writes it."""


class PromptFilterResult(msgspec.Struct, frozen=True):
    """What they found in a prompt. Azure's dialects only."""

    prompt_index: int
    content_filter_results: Filtered


class FilterOffsets(msgspec.Struct, frozen=True):
    """Which characters of a choice a finding is about, and up to where all has been looked at."""

    check_offset: int
    start_offset: int
    end_offset: int


class ChatChoice(msgspec.Struct, frozen=True):
    """One of the answers asked for."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    content_filter_results: Filtered | UnsetType = UNSET


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer to chat/completions that is not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: ServiceTier = "default"
    system_fingerprint: str
    prompt_filter_results: list[PromptFilterResult] | UnsetType = UNSET


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk adds to a message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ChatToolCall] | UnsetType = UNSET
    function_call: ChatFunctionCall | UnsetType = UNSET
    context: Context | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, frozen=True):
    """What a chunk adds to a choice. `finish_reason` is null but in its last chunk."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None
    content_filter_results: Filtered | UnsetType = UNSET
    content_filter_offsets: FilterOffsets | UnsetType = UNSET


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed chat. `usage` is there only if asked for, and null but in the last chunk."""

    id: str
    object: Literal["chat.completion.chunk", ""] = "chat.completion.chunk"
    created: int
    model: str
    service_tier: ServiceTier = "default"
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    obfuscation: str | UnsetType = UNSET
    prompt_filter_results: list[PromptFilterResult] | UnsetType = UNSET

    @classmethod
    def of(
        cls,
        meta: Meta,
        choices: list[ChatChunkChoice],
        *,
        usage: Usage | UnsetType | None,
        obfuscation: str | UnsetType = UNSET,
    ) -> "ChatChunk":
        """A chunk of the answer that `meta` describes."""
        return cls(
            id=meta.id,
            created=meta.created,
            model=meta.model,
            service_tier=meta.service_tier,
            system_fingerprint=meta.system_fingerprint,
            choices=choices,
            usage=usage,
            obfuscation=obfuscation,
        )


class CompletionLogprobs(msgspec.Struct):
    """Log probabilities of a completion's tokens, one item a token in each list.

    The first token of an echoed prompt has no probability. OpenAI's schema has no null here, so it is written as 0.0
    (which adds nothing to a sum) with no alternatives.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct, frozen=True):
    """One of the completions asked for; in a stream, what a chunk adds to it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason | None
    content_filter_results: Filtered | UnsetType = UNSET
    content_filter_offsets: FilterOffsets | UnsetType = UNSET


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer to completions, and each event of a streamed one."""

    id: str
    object: Literal["text_completion", ""] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
    obfuscation: str | UnsetType = UNSET
    prompt_filter_results: list[PromptFilterResult] | UnsetType = UNSET


T = TypeVar("T", ChatChunk, Completion)


def found_in_prompt(kind: type[T], results: Filtered, prompt: int = 0) -> T:
    """The first chunk of an Azure stream: what the content filters found in the prompt, and nothing else."""
    found = [PromptFilterResult(prompt, results)]
    return kind(id="", object="", created=0, model="", system_fingerprint="", choices=[], prompt_filter_results=found)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, as OpenAI lists models. `created` is in Unix seconds; `state` is idle (its first request loads it),
    starting, ready or restarting; `parent` is the model that an adapter belongs to."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    context_length: int
    state: str
    parent: str | UnsetType = UNSET

    @classmethod
    def of(cls, model: ModelInfo) -> "Model":
        """From the description below the edge."""
        return cls(
            id=model.id,
            created=model.created,
            owned_by=model.owner,
            context_length=model.context_length,
            state=model.state,
            parent=model.base or UNSET,
        )


class ModelDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a model is gone."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every deployment."""

    object: Literal["list"] = "list"
    data: list[Model]


class OpenApi(msgspec.Struct, frozen=True):
    """The head of an OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
