"""What a prompt says of tools: in the template's own terms where it has any, else in words and messages of ours.

Names, descriptions, schemas, arguments and results come from strangers. `plain` makes them harmless, and is applied to
every string of theirs before it meets a template or our own text.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from mainspring.core.types import Message, Tool
from mainspring.models.tools.formats import Format

__all__ = ["Abilities", "Turn", "call_id", "call_turns", "probe", "split_calls", "teach", "tool_turns", "use_text"]

Turn = dict[str, Any]
"""A message as templates know it."""

PROBE_ID = "probe0000"
NUM_SHORT_ID_CHARS = 9
"""Mistral's templates refuse ids of any other length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a template does with tools, found out by rendering.

    Args:
        tools: it lists the tools of a request.
        calls: it writes earlier calls and their results.
        system: it takes a system message.
        text_arguments: it wants the arguments of a call as text, not as an object.
        empty: the content of a message that is nothing but calls.
    """

    tools: bool = False
    calls: bool = False
    system: bool = True
    text_arguments: bool = False
    empty: str | None = ""


def probe(render: Callable[..., str | None]) -> Abilities:
    """Try a template: `render(messages, tools=...)` gives its text, or None where it refuses."""
    user = {"role": "user", "content": "probe-user"}
    schema = {"type": "object", "properties": {"probe_key": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "probe_tool", "description": "probe", "parameters": schema}}
    listed = render([user], tools=[tool]) or ""
    system = render([{"role": "system", "content": "probe-system"}, user]) or ""
    found = Abilities(tools="probe_tool" in listed, system="probe-system" in system)
    result = {"role": "tool", "content": "probe-result", "tool_call_id": PROBE_ID, "name": "probe_call"}
    for is_text in (False, True):
        for empty in (None, ""):
            arguments = '{"probe_key": "probe"}' if is_text else {"probe_key": "probe"}
            function = {"name": "probe_call", "arguments": arguments}
            call = {"id": PROBE_ID, "type": "function", "function": function}
            said = {"role": "assistant", "content": empty, "tool_calls": [call]}
            text = render([user, said, result], tools=[tool]) or ""
            escaped = "'probe_key'" in text or '\\"probe_key' in text
            if "probe_call" in text and "probe-result" in text and "probe_key" in text and not escaped:
                return Abilities(
                    tools=found.tools, calls=True, system=found.system, text_arguments=is_text, empty=empty
                )
    return found


def tool_turns(tools: Iterable[Tool], plain: Callable[[str], str]) -> list[dict[str, Any]]:
    """Tools in the shape that templates expect, which is OpenAI's. A custom tool is a function of one text."""
    return [
        {
            "type": "function",
            "function": {
                "name": plain(tool.name),
                "description": plain(_describe(tool)),
                "parameters": _plain_json(
                    CUSTOM_SCHEMA if tool.is_custom else json.loads(tool.parameters or "{}"), plain
                ),
            },
        }
        for tool in tools
    ]


CUSTOM_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def _describe(tool: Tool) -> str:
    if tool.custom is None:
        return tool.description
    kind = "this regular expression" if tool.custom.kind == "regex" else "this Lark grammar"
    return f"{tool.description}\nThe input must match {kind}: {tool.custom.schema}".lstrip()


def _plain_json(value: Any, plain: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_plain_json(one, plain) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {plain(key): _plain_json(one, plain) for key, one in cast("dict[str, Any]", value).items()}
    return value


def teach(tools: Iterable[dict[str, Any]], format_: Format) -> str:
    """Instructions for a model whose template knows no tools. `tools` are plain already."""
    lines = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    example = format_.write([("function-name", '{"parameter": "value"}')])
    return (
        "# Functions\n\nThese functions can be called, each described in a line of JSON:\n"
        f"<tools>\n{lines}\n</tools>\n\n"
        "To call a function, write its name and a JSON object of its arguments, and nothing else, in this form:\n"
        f"{example}"
    )


def split_calls(messages: list[Message]) -> list[Message]:
    """One call a message, each followed by its result: for templates that know no more."""
    results = {one.tool_call_id: one for one in messages if one.role == "tool"}
    split: list[Message] = []
    told: set[str | None] = set()
    for message in messages:
        if message.role == "tool" and message.tool_call_id in told:
            continue
        if len(message.tool_calls) < 2:
            split.append(message)
            continue
        for number, call in enumerate(message.tool_calls):
            content = message.content if number == 0 else ""
            split.append(Message(role="assistant", content=content, tool_calls=(call,)))
            if call.id in results:
                split.append(results[call.id])
                told.add(call.id)
    return split


def use_text(
    messages: Iterable[Message], format_: Format, plain: Callable[[str], str], content: Callable[[Message], str]
) -> list[Turn]:
    """Turns for a template that knows neither calls nor results: both become text, results of the user. `content`
    makes a message's own text plain."""
    turns: list[Turn] = []
    for message in messages:
        text, role = content(message), message.role
        if message.tool_calls:
            calls = format_.write((plain(call.name), plain(call.arguments)) for call in message.tool_calls)
            text = f"{text}\n{calls}" if text else calls
        if role == "tool":
            text, role = f"<tool_response>\n{text}\n</tool_response>", "user"
        joins = turns and turns[-1]["role"] == "user" == role and (turns[-1].get("result") or message.role == "tool")
        if joins:
            turns[-1]["content"] += "\n" + text
        else:
            turns.append({"role": role, "content": text})
        turns[-1]["result"] = message.role == "tool"
    for turn in turns:
        del turn["result"]
    return turns


def call_turns(
    message: Message, abilities: Abilities, plain: Callable[[str], str], *, short_ids: bool
) -> list[dict[str, Any]]:
    """A message's calls in the shape that templates expect."""
    calls: list[dict[str, Any]] = []
    for call in message.tool_calls:
        arguments: Any = _arguments(call.arguments)
        arguments = json.dumps(arguments, ensure_ascii=False) if abilities.text_arguments else arguments
        function = {"name": plain(call.name), "arguments": _plain_json(arguments, plain)}
        calls.append({"id": call_id(call.id, plain, short=short_ids), "type": "function", "function": function})
    return calls


def _arguments(text: str) -> dict[str, Any]:
    """An object, whatever the client sent: free text is a custom tool's input."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = text
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"input": text}


def call_id(text: str, plain: Callable[[str], str], *, short: bool) -> str:
    """A call's id, as short as the template wants it; the same for a call and its result."""
    if not short or (len(text) == NUM_SHORT_ID_CHARS and text.isalnum()):
        return plain(text)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:NUM_SHORT_ID_CHARS]
