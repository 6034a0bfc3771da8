"""The fields of a line of training data as they are written, and how they become the messages that requests become.

Mirrors what `/v1/chat/completions` takes; the difference is `weight`, and that a fault is told by line and place.
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from mainspring.core.types import Constraint, Message, Tool, ToolCall, ToolUse
from mainspring.train.lines import Wrong

__all__ = [
    "ChatLine",
    "CompletionLine",
    "OutputMessage",
    "PreferenceInput",
    "PreferenceLine",
    "conversation",
    "convert",
    "tool_use",
]

MAX_MESSAGES = 4096
MAX_TOOLS = 128

Name = Annotated[str, Meta(max_length=64)]
ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
CallId = Annotated[str, Meta(min_length=1, max_length=256)]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class TextPart(_Strict, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A part of a message."""

    text: str


class RefusalPart(_Strict, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """What the assistant said instead of an answer."""

    refusal: str


Text = str | list[TextPart]


class FunctionText(_Strict, frozen=True, kw_only=True):
    """A function and its arguments as JSON text."""

    name: ToolName
    arguments: str


class CustomText(_Strict, frozen=True, kw_only=True):
    """A custom tool and its input."""

    name: ToolName
    input: str


class FunctionCall(_Strict, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A call of a function."""

    id: CallId
    function: FunctionText


class CustomCall(_Strict, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A call of a custom tool."""

    id: CallId
    custom: CustomText


class SystemMessage(_Strict, frozen=True, kw_only=True, tag_field="role", tag="system"):
    """Instructions."""

    content: Text
    name: Name | None = None


class DeveloperMessage(_Strict, frozen=True, kw_only=True, tag_field="role", tag="developer"):
    """Instructions, by their newer name."""

    content: Text
    name: Name | None = None


class UserMessage(_Strict, frozen=True, kw_only=True, tag_field="role", tag="user"):
    """What the user said."""

    content: Text
    name: Name | None = None


class AssistantMessage(_Strict, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the model is to say. `audio` and `annotations` come with stored answers and are nothing to learn from."""

    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    name: Name | None = None
    tool_calls: Annotated[list[FunctionCall | CustomCall], Meta(max_length=MAX_TOOLS)] | None = None
    function_call: FunctionText | None = None
    weight: Literal[0, 1] | None = None
    audio: None = None
    annotations: list[Any] | None = None


class ToolMessage(_Strict, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    """What a call came to."""

    content: Text
    tool_call_id: CallId
    name: Name | None = None  # requests have none, so it is not shown to the model either


class FunctionMessage(_Strict, frozen=True, kw_only=True, tag_field="role", tag="function"):
    """What a call of the older form came to."""

    content: str | None
    name: Name


OutputMessage = AssistantMessage | ToolMessage
AnyMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
Messages = Annotated[list[AnyMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
Output = Annotated[list[OutputMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]


class Function(_Strict, frozen=True, kw_only=True):
    """A function that may be called."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Grammar(_Strict, frozen=True, kw_only=True):
    """What an input must match."""

    syntax: Literal["lark", "regex"]
    definition: str


class TextFormat(_Strict, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Any input."""


class GrammarFormat(_Strict, frozen=True, kw_only=True, tag_field="type", tag="grammar"):
    """An input that matches a grammar."""

    grammar: Grammar


class Custom(_Strict, frozen=True, kw_only=True):
    """A tool that takes text."""

    name: ToolName
    description: str | None = None
    format: TextFormat | GrammarFormat | None = None


class FunctionTool(_Strict, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A function as a tool."""

    function: Function


class CustomTool(_Strict, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A custom tool."""

    custom: Custom


Tools = Annotated[list[FunctionTool | CustomTool], Meta(max_length=MAX_TOOLS)]
Functions = Annotated[list[Function], Meta(max_length=MAX_TOOLS)]


class ChatLine(_Strict, frozen=True, kw_only=True):
    """A conversation."""

    messages: Messages
    tools: Tools | None = None
    functions: Functions | None = None
    parallel_tool_calls: bool | None = None


class CompletionLine(_Strict, frozen=True, kw_only=True):
    """Text that goes on."""

    prompt: str
    completion: str


class PreferenceInput(_Strict, frozen=True, kw_only=True):
    """What both outputs answer."""

    messages: Messages
    tools: Tools | None = None
    functions: Functions | None = None
    parallel_tool_calls: bool | None = None


class PreferenceLine(_Strict, frozen=True, kw_only=True):
    """Two outputs, the better first."""

    input: PreferenceInput
    preferred_output: Output
    non_preferred_output: Output


T = TypeVar("T")

_PLACE = re.compile(r"(?s)(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?")
_FIXES = (
    (re.compile(r"Object missing required field `(.+)`"), r"the field '\1' is missing: add it"),
    (re.compile(r"Object contains unknown field `(.+)`"), r"the field '\1' is unknown: correct its name or remove it"),
    (re.compile(r"Expected `array` of length >= 1"), "it is empty: it needs at least one"),
    (re.compile(r"Expected `array` of length <= (\d+)"), r"it has more than \1: shorten it"),
    (re.compile(r"Expected `str` of length >= 1"), "it is empty: write something"),
    (re.compile(r"Expected `str` of length <= (\d+)"), r"it has more than \1 characters: shorten it"),
    (re.compile(r"Expected `str` matching regex .*"), "it may have letters, digits, _ and -, at most 64 of them"),
    (re.compile(r"Invalid enum value (.+)"), r"\1 is none of the values that are allowed here"),
    (re.compile(r"Invalid value (.+)"), r"\1 is none of the values that are allowed here"),
)  # fmt: skip
_HINTS = {
    "reasoning_content": "write thoughts into 'content', between the tags that the model puts around them",
    "weight": "only messages of the assistant have a weight",
}
_KINDS = {
    "str": "a string", "int": "an integer", "float": "a number", "bool": "true or false", "null": "null",
    "object": "an object", "array": "an array",
}  # fmt: skip


def convert(value: dict[str, Any], kind: type[T]) -> T:
    """A line as its struct.

    Raises:
        Wrong: the place in it, what is wrong there and how to mend it.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        assert found is not None
        raise Wrong((found["path"] or "").removeprefix("."), _explain(found["what"], found["path"] or "")) from None


def _explain(what: str, path: str) -> str:
    for name, hint in _HINTS.items():
        if what == f"Object contains unknown field `{name}`":
            return f"the field {name!r} is unknown here: {hint}"
    if what.startswith("Invalid value") and path.endswith(".type") and ".content[" in path:
        kind = what.removeprefix("Invalid value ").strip("'")
        return f"a part of type {kind!r} cannot be learnt: models here read text only; leave such parts out"
    if what.startswith("Invalid value") and path.endswith(".role"):
        return f"{what.removeprefix('Invalid value ')} is not a role: use system, developer, user, assistant or tool"
    for pattern, fix in _FIXES:
        if match := pattern.fullmatch(what):
            return match.expand(fix)
    if match := re.fullmatch(r"Expected `(.+)`, got `(.+)`", what):
        wanted = " or ".join(_KINDS.get(one.strip(), one.strip()) for one in match[1].split("|"))
        return f"it must be {wanted}, not {_KINDS.get(match[2], match[2])}"
    return what


def conversation(given: Sequence[AnyMessage], path: str) -> tuple[tuple[Message, ...], tuple[int, ...]]:
    """Messages as requests have them, and the weight of each: 0 unless it is the assistant's.

    Raises:
        Wrong: a result without a call, a call without its result, arguments that are no JSON object.
    """
    messages: list[Message] = []
    weights: list[int] = []
    open_: list[str] = []
    legacy = "call_0"
    for at, one in enumerate(given):
        where = f"{path}[{at}]"
        weights.append(0)
        if isinstance(one, ToolMessage):
            if one.tool_call_id not in open_:
                raise Wrong(f"{where}.tool_call_id", "no call before it has this id: correct one of the two")
            open_.remove(one.tool_call_id)
            messages.append(Message(role="tool", content=_text(one.content), tool_call_id=one.tool_call_id))
            continue
        if isinstance(one, FunctionMessage):
            messages.append(Message(role="tool", content=one.content or "", name=one.name, tool_call_id=legacy))
            continue
        if open_:
            raise Wrong(
                where,
                f"the call {open_[0]!r} has no result: a message of role 'tool' must follow with its tool_call_id",
            )
        if isinstance(one, AssistantMessage):
            messages.append(_said(one, at, where))
            weights[-1] = 1 if one.weight is None else one.weight
            open_ = [call.id for call in one.tool_calls or ()]
            legacy = f"call_{at}" if one.function_call is not None else legacy
        else:
            role = one.__struct_config__.tag
            messages.append(Message(role=role, content=_text(one.content), name=one.name))  # pyright: ignore[reportArgumentType]
    return tuple(messages), tuple(weights)


def _said(one: AssistantMessage, at: int, where: str) -> Message:
    calls = [_call(call, f"{where}.tool_calls[{number}]") for number, call in enumerate(one.tool_calls or ())]
    if one.function_call is not None:
        _check_arguments(one.function_call.arguments, f"{where}.function_call.arguments")
        calls.append(ToolCall(f"call_{at}", one.function_call.name, one.function_call.arguments))
    if one.content is None and one.refusal is None and not calls:
        raise Wrong(f"{where}.content", "a message of the assistant needs 'content' unless it has 'tool_calls'")
    if len({call.id for call in calls}) < len(calls):
        raise Wrong(f"{where}.tool_calls", "two of the calls have one id: give each its own")
    content = _text(one.content) or one.refusal or ""
    return Message(role="assistant", content=content, name=one.name, tool_calls=tuple(calls))


def _call(call: FunctionCall | CustomCall, where: str) -> ToolCall:
    if isinstance(call, CustomCall):
        return ToolCall(call.id, call.custom.name, msgspec.json.encode({"input": call.custom.input}).decode())
    _check_arguments(call.function.arguments, f"{where}.function.arguments")
    return ToolCall(call.id, call.function.name, call.function.arguments)


def _check_arguments(text: str, where: str) -> None:
    """Whatever is no object would be trained as `{"input": ...}`, which nobody meant."""
    try:
        is_object = isinstance(json.loads(text or "{}"), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise Wrong(where, "it must be the text of a JSON object")


def _text(content: str | Sequence[TextPart | RefusalPart] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content or ())


def tool_use(
    tools: list[FunctionTool | CustomTool] | None, functions: list[Function] | None, *, parallel: bool
) -> ToolUse | None:
    """The tools that a conversation may use; None if there are none.

    Raises:
        Wrong: two of one name, or both forms at once.
    """
    if tools is not None and functions is not None:
        raise Wrong("functions", "'functions' is the older name of 'tools': keep one of them")
    found = [_tool(tool) for tool in tools or ()] or [_function(one) for one in functions or ()]
    names = [tool.name for tool in found]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise Wrong(f"{'tools' if tools else 'functions'}[{at}]", f"two of the tools are called {name!r}")
    return ToolUse(tools=tuple(found), parallel=parallel and not functions) if found else None


def _function(function: Function) -> Tool:
    parameters = function.parameters or {"type": "object", "properties": {}}
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=msgspec.json.encode(parameters).decode(),
        strict=bool(function.strict),
    )


def _tool(tool: FunctionTool | CustomTool) -> Tool:
    if isinstance(tool, FunctionTool):
        return _function(tool.function)
    wanted = tool.custom.format
    custom = Constraint(wanted.grammar.syntax, wanted.grammar.definition) if isinstance(wanted, GrammarFormat) else None
    return Tool(name=tool.custom.name, description=tool.custom.description or "", is_custom=True, custom=custom)
