"""chat/completions: messages in, a message or a stream of its pieces out."""

from typing import NamedTuple

from msgspec import UNSET, UnsetType
from starlette.requests import Request

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.openai import replies, request, tools, wire
from mainspring.api.openai.data_sources import Grounding, grounding
from mainspring.api.openai.padding import padding
from mainspring.api.openai.schema import Place, check_schema
from mainspring.api.openai.storing import Storing, stored_chat
from mainspring.api.services import Services
from mainspring.api.sse import Answer, Writer
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import (
    ChatPrompt,
    Constraint,
    Finished,
    FinishReason,
    GenerateRequest,
    Said,
    Screened,
    TokenLogprob,
    ToolCallDelta,
)
from mainspring.responses.grounding import Context

__all__ = ["Chat", "ChatFold", "ChatStream", "constraint_of", "thinking_of"]


class Chat:
    """The handler of chat/completions in every dialect."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, http: Request) -> Answer:
        """Parse, call, render."""
        context = context_of(http)
        model = wire.DeploymentChatRequest if "deployment" in http.path_params else wire.ChatRequest
        body = await read_body(http, model, self._services.max_body_bytes)
        include_usage, obfuscate = request.check_stream_options(body)
        constraint, max_tokens, logprobs = constraint_of(body), _max_tokens(body), _logprobs(body)
        messages, use = tools.messages(body), tools.tool_use(body)
        found = request.deployment(http, context, self._services, body.model)
        tier = request.tier(context, body.service_tier)
        rests = await grounding(self._services, context, body, messages)
        prompt = ChatPrompt(rests.messages(messages), use, thinking_of(body))
        meta = replies.Meta(
            id=f"chatcmpl-{context.request_id}",
            created=int(self._services.clock.now()),
            model=found.id,
            system_fingerprint=f"fp_{found.version}",
            service_tier=request.told(tier),
        )
        generate = GenerateRequest(
            id=meta.id,
            model=found.id,
            prompt=prompt,
            tenant=context.principal.id if context.principal else "",
            project=context.project,
            spillover=context.spillover,
            streams=bool(body.stream),
            n=body.n or 1,
            max_tokens=max_tokens,
            stop=request.stops(body),
            sampling=request.sampling(body, logprobs),
            constraint=rests.constraint(constraint),
            deadline_s=self._services.request_timeout_s,
            tier=tier,
            prediction=_prediction(body),
        )
        style = Style(legacy=body.functions is not None, annotated=context.dialect != "openai", rests=rests)
        writer: Writer
        if body.stream:
            writer = ChatStream(meta, generate, style, include_usage=include_usage, obfuscate=obfuscate)
        else:
            writer = ChatFold(meta, generate, style)
        if body.store:
            fold = ChatFold(meta, generate, Style(legacy=style.legacy))
            writer = Storing(writer, fold, stored_chat(self._services, context, body, meta))
        return Answer(rests.around(self._services), context, [generate], writer)


def constraint_of(body: wire.DeploymentChatRequest) -> Constraint | None:
    """What the answer must match. Raises InvalidRequest for a schema that is not taken."""
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Constraint("json_object")
    if isinstance(wanted, wire.RegexFormat):
        return Constraint("regex", wanted.regex)
    if isinstance(wanted, wire.LarkFormat):
        return Constraint("lark", wanted.grammar)
    described = wanted.json_schema
    place = Place.response_format(described.name)
    return Constraint("json_schema", check_schema(described.schema_, place, strict=bool(described.strict)))


def thinking_of(body: wire.DeploymentChatRequest) -> bool | None:
    """Whether a reasoning model is to think before it answers; None leaves it to the model."""
    options = body.chat_template_kwargs
    if options is not None and (options.enable_thinking is not None or options.thinking is not None):
        return options.thinking if options.enable_thinking is None else options.enable_thinking
    return None if body.reasoning_effort is None else body.reasoning_effort not in ("none", "minimal")


def _prediction(body: wire.DeploymentChatRequest) -> str | None:
    if body.prediction is None:
        return None
    content = body.prediction.content
    return content if isinstance(content, str) else "".join(part.text for part in content)


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


def _reason(reason: FinishReason, *, legacy: bool) -> replies.FinishReason:
    return "function_call" if legacy and reason == "tool_calls" else reason


class Style(NamedTuple):
    """How to write an answer.

    Args:
        legacy: the client speaks of functions, not of tools.
        annotated: with what the content filters found, as Azure does.
        rests: on which documents.
    """

    legacy: bool = False
    annotated: bool = False
    rests: Grounding = Grounding()


PLAIN = Style()


class ChatStream:
    """Writes the chunks of a streamed chat: what was found in the prompt, the role, then deltas, one finish for each
    choice, usage, [DONE]."""

    streams = True

    def __init__(
        self,
        meta: replies.Meta,
        generate: GenerateRequest,
        style: Style = PLAIN,
        *,
        include_usage: bool = False,
        obfuscate: bool = True,
    ) -> None:
        self.tally = replies.Tally()
        self._meta = meta
        self._n = generate.n
        self._has_logprobs = generate.sampling.logprobs is not None
        self._include_usage = include_usage
        self._obfuscate = obfuscate
        self._style = style
        self._is_open = False
        self._found: dict[int, replies.Filtered] = {}  # choice -> what its next chunk says about it

    def begin(self) -> bytes:
        """Nothing: what was found in the prompt comes before the roles."""
        return b""

    def _open(self) -> bytes:
        """The role of each choice."""
        self._is_open = True
        opening = replies.Delta(role="assistant", content="", refusal=None, context=self._style.rests.context)
        return b"".join(self._chunk(replies.ChatChunkChoice(i, opening), "") for i in range(self._n))

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """What an event adds, after the roles."""
        if isinstance(event, Screened):
            return self._screened(event)
        return self._said(prompt, event) if self._is_open else self._open() + self._said(prompt, event)

    def _screened(self, event: Screened) -> bytes:
        """What was found in the prompt is a chunk of its own, without an id, as in Azure. So is what was found in text
        that has gone out already; other findings go with the next chunk of their choice."""
        if not self._style.annotated:
            return b""
        if event.choice < 0:
            return replies.event(replies.found_in_prompt(replies.ChatChunk, event.results))
        if event.offsets is None:
            self._found[event.choice] = event.results
            return b""
        offsets = replies.FilterOffsets(*event.offsets)
        return self._chunk(
            replies.ChatChunkChoice(
                event.choice, replies.Delta(), content_filter_results=event.results, content_filter_offsets=offsets
            )
        )

    def _said(self, prompt: int, event: Said) -> bytes:
        """A delta, or the finish of a choice. Tokens that end inside of a character bring no text of their own yet."""
        if isinstance(event, Finished):
            self.tally.add(prompt, event.usage)
            reason = _reason(event.reason, legacy=self._style.legacy)
            found = self._found.pop(event.choice, UNSET)
            last = replies.Delta(context=self._style.rests.last(event.choice))
            return self._chunk(replies.ChatChunkChoice(event.choice, last, None, reason, found))
        if isinstance(event, ToolCallDelta):
            return self._chunk(replies.ChatChunkChoice(event.choice, self._call(event)), event.arguments)
        if event.thought:
            thought = replies.Delta(reasoning_content=event.text)
            return self._chunk(replies.ChatChunkChoice(event.choice, thought), event.text) if event.text else b""
        if not event.text and not event.logprobs:
            return b""
        logprobs = replies.ChatLogprobs(replies.chat_logprobs(event.logprobs)) if self._has_logprobs else None
        found = self._found.pop(event.choice, UNSET) if self._found else UNSET
        choice = replies.ChatChunkChoice(event.choice, replies.Delta(content=event.text), logprobs, None, found)
        return self._chunk(choice, event.text)

    def _call(self, event: ToolCallDelta) -> replies.Delta:
        if self._style.legacy:
            return replies.Delta(function_call=replies.ChatFunctionCall(event.arguments, event.name or UNSET))
        call = replies.tool_call(event.arguments, event.name, event.id, is_custom=event.is_custom, index=event.index)
        return replies.Delta(tool_calls=[call])

    def end(self) -> bytes:
        """The usage, if asked for, and the mark of the end."""
        self.tally.check(self._n)
        if not self._include_usage:
            return replies.DONE
        return replies.event(replies.ChatChunk.of(self._meta, [], usage=self.tally.usage())) + replies.DONE

    def _chunk(self, choice: replies.ChatChunkChoice, padded: str | None = None) -> bytes:
        return replies.event(
            replies.ChatChunk.of(
                self._meta,
                [choice],
                usage=None if self._include_usage else UNSET,
                obfuscation=padding(padded) if self._obfuscate and padded is not None else UNSET,
            )
        )


class _Message:
    """One choice as it grows."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.calls: list[list[ToolCallDelta]] = []
        self.reason: FinishReason = "stop"
        self.found: replies.Filtered | UnsetType = UNSET

    def add(self, event: Said | Screened) -> None:
        """Keep what the event adds."""
        if isinstance(event, Screened):
            self.found = event.results
        elif isinstance(event, ToolCallDelta):
            if event.index == len(self.calls):
                self.calls.append([])
            self.calls[event.index].append(event)
        elif isinstance(event, Finished):
            self.reason = event.reason
        elif event.thought:
            self.thoughts.append(event.text)
        else:
            self.texts.append(event.text)
            self.logprobs.extend(event.logprobs)

    def render(self, *, legacy: bool, context: Context | UnsetType) -> replies.ChatMessage:
        """The message: content is null where there are only calls."""
        content = "".join(self.texts)
        calls = [_whole(deltas) for deltas in self.calls]
        return replies.ChatMessage(
            content=content if content or not calls else None,
            reasoning_content="".join(self.thoughts) if self.thoughts else UNSET,
            tool_calls=calls if calls and not legacy else UNSET,
            function_call=calls[0].function if calls and legacy else UNSET,
            context=context,
        )


def _whole(deltas: list[ToolCallDelta]) -> replies.ChatToolCall:
    first, arguments = deltas[0], "".join(delta.arguments for delta in deltas)
    return replies.tool_call(arguments, first.name, first.id, is_custom=first.is_custom)


class ChatFold:
    """Collects the same events into one body."""

    streams = False

    def __init__(self, meta: replies.Meta, generate: GenerateRequest, style: Style = PLAIN) -> None:
        self.tally = replies.Tally()
        self._meta = meta
        self._has_logprobs = generate.sampling.logprobs is not None
        self._style = style
        self._prompt: replies.Filtered | None = None  # what was found in it
        self._messages = [_Message() for _ in range(generate.n)]

    def begin(self) -> bytes:
        """Nothing: the body is written at the end."""
        return b""

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """Keep what the event adds."""
        if event.choice < 0:
            assert isinstance(event, Screened), "only findings are about the prompt"
            self._prompt = event.results
            return b""
        self._messages[event.choice].add(event)
        if isinstance(event, Finished):
            self.tally.add(prompt, event.usage)
        return b""

    def end(self) -> bytes:
        """The body."""
        self.tally.check(len(self._messages))
        meta = self._meta
        return replies.encode(
            replies.ChatCompletion(
                id=meta.id,
                created=meta.created,
                model=meta.model,
                system_fingerprint=meta.system_fingerprint,
                service_tier=meta.service_tier,
                choices=[self._choice(index, message) for index, message in enumerate(self._messages)],
                usage=self.tally.usage(),
                prompt_filter_results=[replies.PromptFilterResult(0, self._prompt)]
                if self._prompt is not None and self._style.annotated
                else UNSET,
            )
        )

    def _choice(self, index: int, message: _Message) -> replies.ChatChoice:
        logprobs = replies.ChatLogprobs(replies.chat_logprobs(message.logprobs)) if self._has_logprobs else None
        reason = _reason(message.reason, legacy=self._style.legacy)
        found = message.found if self._style.annotated else UNSET
        shown = message.render(legacy=self._style.legacy, context=self._style.rests.whole(index))
        return replies.ChatChoice(index, shown, logprobs, reason, found)
