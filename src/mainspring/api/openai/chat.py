"""chat/completions: messages in, a message or a stream of its pieces out."""

import secrets

from msgspec import UNSET
from starlette.requests import Request

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.metrics import Metrics
from mainspring.api.openai import replies, request, wire
from mainspring.api.openai.padding import padding
from mainspring.api.openai.schema import check_schema
from mainspring.api.services import Services
from mainspring.api.sse import Answer, Writer
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import (
    ChatPrompt,
    Constraint,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    Token,
    TokenLogprob,
)

__all__ = ["Chat", "ChatFold", "ChatStream"]


class Chat:
    """The handler of chat/completions in every dialect."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        self._services = services
        self._metrics = metrics

    async def create(self, http: Request) -> Answer:
        """Parse, call, render."""
        context = context_of(http)
        model = wire.DeploymentChatRequest if "deployment" in http.path_params else wire.ChatRequest
        body = await read_body(http, model, self._services.max_body_bytes)
        include_usage, obfuscate = request.check_stream_options(body)
        constraint, max_tokens, logprobs = _constraint(body), _max_tokens(body), _logprobs(body)
        found = request.deployment(http, context, self._services, body.model)
        meta = replies.Meta(
            id=f"chatcmpl-{secrets.token_hex(14)}",
            created=int(self._services.clock.now()),
            model=found.id,
            system_fingerprint=f"fp_{found.version}",
        )
        generate = GenerateRequest(
            id=meta.id,
            model=found.id,
            prompt=ChatPrompt(tuple(_message(message) for message in body.messages)),
            tenant=context.principal.id if context.principal else "",
            n=body.n or 1,
            max_tokens=max_tokens,
            stop=request.stops(body),
            sampling=request.sampling(body, logprobs),
            constraint=constraint,
            deadline_s=self._services.request_timeout_s,
        )
        writer: Writer
        if body.stream:
            writer = ChatStream(meta, generate, include_usage=include_usage, obfuscate=obfuscate)
        else:
            writer = ChatFold(meta, generate)
        return Answer(self._services, self._metrics, context, [generate], writer)


def _message(message: wire.Message) -> Message:
    content = message.content
    if not isinstance(content, str):
        parts = content or []
        content = "".join(part.text if isinstance(part, wire.TextPart) else part.refusal for part in parts)
    if isinstance(message, wire.AssistantMessage) and not content:
        content = message.refusal or ""
    if isinstance(message, wire.ToolMessage):
        return Message(role="tool", content=content, tool_call_id=message.tool_call_id)
    return Message(role=message.role, content=content, name=message.name)


def _constraint(body: wire.DeploymentChatRequest) -> Constraint | None:
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Constraint("json_object")
    described = wanted.json_schema
    return Constraint("json_schema", check_schema(described.schema_, described.name, strict=bool(described.strict)))


def _max_tokens(body: wire.DeploymentChatRequest) -> int | None:
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise InvalidRequest(
            "'max_tokens' and 'max_completion_tokens' are two names of one limit: send only one of them.",
            param="max_tokens",
        )
    return body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens


def _logprobs(body: wire.DeploymentChatRequest) -> int | None:
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    return (body.top_logprobs or 0) if body.logprobs else None


class ChatStream:
    """Writes the chunks of a streamed chat: the role first, then deltas, one finish for each choice, usage, [DONE]."""

    streams = True

    def __init__(
        self, meta: replies.Meta, generate: GenerateRequest, *, include_usage: bool = False, obfuscate: bool = True
    ) -> None:
        self.tally = replies.Tally()
        self._meta = meta
        self._n = generate.n
        self._has_logprobs = generate.sampling.logprobs is not None
        self._include_usage = include_usage
        self._obfuscate = obfuscate

    def begin(self) -> bytes:
        """The role of each choice."""
        opening = replies.Delta(role="assistant", content="", refusal=None)
        return b"".join(self._chunk(replies.ChatChunkChoice(i, opening), "") for i in range(self._n))

    def feed(self, prompt: int, event: Event) -> bytes:
        """A delta, or the finish of a choice. Tokens that end inside of a character bring no text of their own yet."""
        if isinstance(event, Finished):
            self.tally.add(prompt, event.usage)
            return self._chunk(replies.ChatChunkChoice(event.choice, replies.Delta(), None, event.reason))
        if not isinstance(event, Token) or (not event.text and not event.logprobs):
            return b""
        logprobs = replies.ChatLogprobs(replies.chat_logprobs(event.logprobs)) if self._has_logprobs else None
        choice = replies.ChatChunkChoice(event.choice, replies.Delta(content=event.text), logprobs)
        return self._chunk(choice, event.text)

    def end(self) -> bytes:
        """The usage, if asked for, and the mark of the end."""
        self.tally.check(self._n)
        if not self._include_usage:
            return replies.DONE
        meta = self._meta
        last = replies.ChatChunk(
            id=meta.id,
            created=meta.created,
            model=meta.model,
            system_fingerprint=meta.system_fingerprint,
            choices=[],
            usage=self.tally.usage(),
        )
        return replies.event(last) + replies.DONE

    def _chunk(self, choice: replies.ChatChunkChoice, padded: str | None = None) -> bytes:
        meta = self._meta
        return replies.event(
            replies.ChatChunk(
                id=meta.id,
                created=meta.created,
                model=meta.model,
                system_fingerprint=meta.system_fingerprint,
                choices=[choice],
                usage=None if self._include_usage else UNSET,
                obfuscation=padding(padded) if self._obfuscate and padded is not None else UNSET,
            )
        )


class ChatFold:
    """Collects the same events into one body."""

    streams = False

    def __init__(self, meta: replies.Meta, generate: GenerateRequest) -> None:
        self.tally = replies.Tally()
        self._meta = meta
        self._has_logprobs = generate.sampling.logprobs is not None
        self._texts: list[list[str]] = [[] for _ in range(generate.n)]
        self._logprobs: list[list[TokenLogprob]] = [[] for _ in range(generate.n)]
        self._reasons: dict[int, FinishReason] = {}

    def begin(self) -> bytes:
        """Nothing: the body is written at the end."""
        return b""

    def feed(self, prompt: int, event: Event) -> bytes:
        """Keep what the event adds."""
        if isinstance(event, Token):
            self._texts[event.choice].append(event.text)
            self._logprobs[event.choice].extend(event.logprobs)
        elif isinstance(event, Finished):
            self._reasons[event.choice] = event.reason
            self.tally.add(prompt, event.usage)
        return b""

    def end(self) -> bytes:
        """The body."""
        self.tally.check(len(self._texts))
        meta = self._meta
        return replies.encode(
            replies.ChatCompletion(
                id=meta.id,
                created=meta.created,
                model=meta.model,
                system_fingerprint=meta.system_fingerprint,
                choices=[self._choice(i) for i in range(len(self._texts))],
                usage=self.tally.usage(),
            )
        )

    def _choice(self, index: int) -> replies.ChatChoice:
        message = replies.ChatMessage("assistant", "".join(self._texts[index]))
        logprobs = replies.ChatLogprobs(replies.chat_logprobs(self._logprobs[index])) if self._has_logprobs else None
        return replies.ChatChoice(index, message, logprobs, self._reasons[index])
