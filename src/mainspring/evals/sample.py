"""The sample of an item: what a model was asked and answered, whether it is asked now or was before.

    asked = prompt(sampler, item)             # raises ItemFailed: the item does not fit the template
    answered = await ask(sampler, asked, ...)  # raises ItemFailed: the model did not answer

What graders see of it is `Answered.scope`; what the API shows is `Answered.shown`.
"""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast, get_args

import msgspec

from mainspring.core.errors import MainspringError
from mainspring.core.types import (
    ChatPrompt,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    Token,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from mainspring.evals.spec import Sampler
from mainspring.graders import template
from mainspring.graders.result import GraderFailed
from mainspring.graders.run import sample_of
from mainspring.graders.seams import Seams
from mainspring.store.stored_chats import StoredChat

__all__ = ["Answered", "ItemFailed", "ask", "given", "item_of", "prompt", "recalled", "remembered", "unanswered"]

MAX_MESSAGES = 4096
Json = Mapping[str, Any]
_ROLES = ("system", "developer", "user", "assistant", "tool")


class ItemFailed(Exception):
    """Nothing can be graded. `code` is a stable name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer.

    Args:
        scope: what templates call `sample`.
        shown: what the API calls the sample of an output item.
        usage: of the model that was asked for it now; None if none was.
    """

    scope: dict[str, Any]
    shown: dict[str, Any]
    usage: Usage | None = None


def prompt(sampler: Sampler, item: Json) -> tuple[Message, ...]:
    """The messages that ask for an item.

    Raises:
        ItemFailed: the item lacks what the template names, or is no conversation.
    """
    scope: dict[str, Any] = {"item": item, "sample": {}}
    try:
        if not sampler.reference:
            return tuple(
                Message(role=each.role, content="\n".join(_rendered(text, scope) for text in each.texts))
                for each in sampler.template
            )
        text = _rendered(f"{{{{ {sampler.reference} }}}}", scope)
    except GraderFailed as error:
        raise ItemFailed("invalid_input_messages", error.failure.detail) from None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = None
    return _conversation(found, sampler.reference)


def _rendered(text: str, scope: Json) -> str:
    return template.parse(text, "input_messages").render(scope)


def _conversation(found: Any, where: str) -> tuple[Message, ...]:
    messages = cast("list[Any]", found) if isinstance(found, list) else []
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise ItemFailed("invalid_input_messages", f"{where} is no list of 1 to {MAX_MESSAGES} messages.")
    return tuple(_message(each, f"{where}[{at}]") for at, each in enumerate(messages))


def _message(found: Any, where: str) -> Message:
    if not isinstance(found, dict):
        raise ItemFailed("invalid_input_messages", f"{where} is no message.")
    message = cast("dict[str, Any]", found)
    role, named, answers = message.get("role"), message.get("name"), message.get("tool_call_id")
    if role not in _ROLES:
        raise ItemFailed("invalid_input_messages", f"{where} has no role of {', '.join(_ROLES)}.")
    return Message(
        role=role, content=_text(message.get("content"), where), name=named if isinstance(named, str) else None,
        tool_call_id=answers if isinstance(answers, str) else None, tool_calls=_calls(message.get("tool_calls"), where),
    )  # fmt: skip


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    texts: list[str] = []
    for part in cast("list[Any]", content) if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            part = cast("dict[str, Any]", part).get("text")  # noqa: PLW2901 - a part of any type of text
        if not isinstance(part, str):
            raise ItemFailed("invalid_input_messages", f"{where} has content that is not text.")
        texts.append(part)
    return "".join(texts)


def _calls(found: Any, where: str) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for call in cast("list[Any]", found or ()):
        try:
            of: dict[str, Any] = call.get("function") or call["custom"]
            calls.append(ToolCall(str(call["id"]), str(of["name"]), str(of.get("arguments", of.get("input", "")))))
        except (KeyError, TypeError, AttributeError):
            raise ItemFailed("invalid_input_messages", f"{where} has a tool call that is none.") from None
    return tuple(calls)


async def ask(sampler: Sampler, messages: Sequence[Message], seams: Seams) -> Answered:
    """The model's answer.

    Raises:
        ItemFailed: there is none.
    """
    assert seams.generate is not None, "evaluations have models"
    request = GenerateRequest(
        id=f"eval-{uuid.uuid4().hex}", model=sampler.model,
        prompt=ChatPrompt(tuple(messages), sampler.tools, sampler.thinking), tenant=seams.tenant, project=seams.project,
        streams=False, max_tokens=sampler.max_tokens, sampling=sampler.sampling, constraint=sampler.constraint,
        deadline_s=seams.deadline_s, tier=seams.tier,
    )  # fmt: skip
    texts: list[str] = []
    calls: dict[int, list[ToolCallDelta]] = {}
    reason, usage = cast("FinishReason", "stop"), Usage(0, 0)
    try:
        async with aclosing(seams.generate(request)) as events:
            async for event in events:
                if isinstance(event, Token) and not event.thought:
                    texts.append(event.text)
                elif isinstance(event, ToolCallDelta):
                    calls.setdefault(event.index, []).append(event)
                elif isinstance(event, Finished):
                    reason, usage = event.reason, event.usage
    except MainspringError as error:
        raise ItemFailed(error.code, error.message) from None
    tools = [_call(calls[index]) for index in sorted(calls)]
    scope = sample_of("".join(texts), tools=tools, finish_reason=reason)
    shown = _shown(sampler, [_plain(each) for each in messages], scope, reason, usage)
    return Answered(scope={**scope, "model": sampler.model}, shown=shown, usage=usage)


def _call(deltas: Sequence[ToolCallDelta]) -> dict[str, Any]:
    first, text = deltas[0], "".join(delta.arguments for delta in deltas)
    kind, field = ("custom", "input") if first.is_custom else ("function", "arguments")
    return {"id": first.id, "type": kind, kind: {"name": first.name, field: text}}


def _plain(message: Message) -> dict[str, Any]:
    calls = [{"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
             for each in message.tool_calls]  # fmt: skip
    return {
        "role": message.role, "content": message.content, "tool_call_id": message.tool_call_id,
        "tool_calls": calls or None,
    }  # fmt: skip


def _shown(sampler: Sampler, messages: list[dict[str, Any]], scope: Json, reason: str, usage: Usage) -> dict[str, Any]:
    sampling = sampler.sampling
    return {
        "input": messages,
        "output": [{"role": "assistant", "content": scope["output_text"], "tool_calls": scope["output_tools"] or None}],
        "finish_reason": reason,
        "model": sampler.model,
        "usage": _usage(usage),
        "error": None,
        "temperature": sampling.temperature,
        "max_completion_tokens": sampler.max_tokens or sampler.context_tokens,
        "top_p": sampling.top_p,
        "seed": sampling.seed or 0,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "total_tokens": usage.prompt + usage.completion,
        "completion_tokens": usage.completion,
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
    }


def unanswered(sampler: Sampler | None, error: ItemFailed, messages: Sequence[Message] = ()) -> dict[str, Any]:
    """What the API shows where there is no answer."""
    asked = [_plain(each) for each in messages]
    shown = _shown(sampler or Sampler(model=""), asked, {"output_text": "", "output_tools": []}, "", Usage(0, 0))
    return {**shown, "output": [], "error": {"code": error.code, "message": error.message}}


def given(sample: Json | None) -> Answered:
    """An answer that an item brought along: its `sample`, or none."""
    text = (sample or {}).get("output_text")
    scope = {**(sample_of(text) if isinstance(text, str) else {}), **(sample or {})}
    shown = _shown(Sampler(model=str(scope.get("model", ""))), [], {"output_text": text, "output_tools": []}, "stop",
                   Usage(0, 0))  # fmt: skip
    return Answered(scope=scope, shown=shown if isinstance(text, str) else {**shown, "output": [], "finish_reason": ""})


def remembered(kept: Json) -> Answered:
    """The answer of a stored chat or response; `kept` is the item that was made of it."""
    found, sample = given(kept["sample"]), kept["sample"]
    asked = [
        {"role": str(each.get("role")), "content": _text(each.get("content"), "input")}
        for each in kept["item"]["input"]
    ]
    [said] = found.shown["output"]
    more = {
        "output": [{**said, "tool_calls": sample["output_tools"] or None}],
        "finish_reason": sample["choices"][0]["finish_reason"], "usage": sample["usage"],
    }  # fmt: skip
    return msgspec.structs.replace(found, shown={**found.shown, "input": asked, **more})


def item_of(chat: StoredChat) -> dict[str, Any]:
    """A stored chat as an item of a run: what was asked, and the answer as its sample."""
    return {
        "item": {"input": chat.messages, "model": chat.model, "metadata": chat.labels, "id": chat.id},
        "sample": recalled(chat.answer),
    }


def recalled(answer: Json) -> dict[str, Any]:
    """The sample that a stored chat completion is: its first choice."""
    choice, used = answer["choices"][0], answer["usage"]
    message, reason = choice["message"], choice["finish_reason"]
    known: FinishReason = reason if reason in get_args(FinishReason) else "tool_calls"
    return {
        **sample_of(message.get("content") or "", tools=message.get("tool_calls") or (), finish_reason=known),
        "model": answer.get("model", ""),
        "usage": _usage(Usage(used["prompt_tokens"], used["completion_tokens"])),
    }
