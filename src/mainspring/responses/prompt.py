"""From items to the messages of a chat: what a model is shown of a conversation.

A unit is what is kept or left out as a whole: a message, or calls with what came of them. Thoughts are not shown again.
Pure: nothing here knows a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Message, ToolCall
from mainspring.responses.opaque import unseal
from mainspring.responses.tools import Kinds
from mainspring.store.responses import Entry

__all__ = ["DECLINED", "Made", "Unit", "approved", "call_of", "fitted", "messages_of", "num_droppable", "units_of"]

Json = dict[str, Any]

SUMMARY = "What was said before, in summary:"
DECLINED = "The user has declined this call. It was not carried out."

_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_SILENT = ("reasoning", "mcp_list_tools", "mcp_approval_request")


class Unit(msgspec.Struct):
    """Messages that belong together, and the ids of the items that they were made of. What is pinned is never left
    out."""

    messages: list[Message]
    pinned: bool = False
    items: list[str] = []

    @property
    def role(self) -> str:
        """Of the first message."""
        return self.messages[0].role


class Made(msgspec.Struct, frozen=True):
    """A call of a tool of the server's, and what the model was told of it."""

    id: str
    name: str
    arguments: str
    text: str = ""


class _Called(msgspec.Struct):
    """A call, and what came of it."""

    call: ToolCall
    output: str
    item: str


def units_of(instructions: str | None, entries: Sequence[Entry], kinds: Kinds) -> list[Unit]:
    """A conversation's units, in order. Instructions, and what else stands at the head, are one message.

    Raises:
        InvalidRequest: a result of no call, or a call without its result; an item that nobody here can read.
    """
    return _with_head(instructions, _units(entries, kinds))


def _units(entries: Sequence[Entry], kinds: Kinds) -> list[Unit]:
    outputs, requests = _outputs(entries), _requests(entries)
    units: list[Unit] = []
    run: list[_Called] = []  # calls that follow one another
    for entry in entries:
        item = entry.item
        kind: str = item["type"]
        if kind == "mcp_approval_response":
            called = None if item["approve"] else _declined(entry, requests, kinds)
        else:
            is_call = kind not in (*_OUTPUTS, *_SILENT, "message", "compaction")
            called = _called(entry, outputs, kinds) if is_call else None
        if called is not None:
            run.append(called)
            continue
        if kind not in _SILENT:
            _close(units, run)
        if kind == "message":
            message = Message(role=item["role"], content=text_of(item["content"]))
            units.append(Unit([message], pinned=item["role"] in ("system", "developer"), items=[entry.id]))
        elif kind == "compaction":
            summary = str(unseal(item["encrypted_content"], "input").get("summary", ""))
            units.append(Unit([Message(role="system", content=f"{SUMMARY}\n{summary}")], pinned=True, items=[entry.id]))
    _close(units, run)
    return units


def _outputs(entries: Sequence[Entry]) -> dict[str, str]:
    """What came of the client's calls, by their ids."""
    calls = {entry.item["call_id"] for entry in entries if entry.item["type"] in _CALLS}
    outputs: dict[str, str] = {}
    for entry in entries:
        if entry.item["type"] in _OUTPUTS:
            id = entry.item["call_id"]  # noqa: A001
            if id not in calls:
                raise InvalidRequest(f"No tool call found for the output with call_id {id!r}.", param="input")
            outputs[id] = text_of(entry.item["output"])
    return outputs


def _called(entry: Entry, outputs: Mapping[str, str], kinds: Kinds) -> _Called | None:
    """The call that an item is, if it is one."""
    item = entry.item
    kind: str = item["type"]
    if kind in _CALLS:
        id = item["call_id"]  # noqa: A001
        if id not in outputs:
            raise InvalidRequest(f"No tool output found for the call {id!r}: send it in 'input'.", param="input")
        arguments = item["arguments"] if kind == "function_call" else _text({"input": item["input"]})
        return _Called(ToolCall(id, item["name"], arguments), outputs[id], entry.id)
    call = call_of(entry, kinds)
    return None if call is None else _Called(ToolCall(call.id, call.name, call.arguments), call.text, entry.id)


def call_of(entry: Entry, kinds: Kinds) -> Made | None:
    """The call that an item of a tool of the server's stands for; None if it is not shown to models.

    Raises:
        InvalidRequest: no tool of this server makes such items.
    """
    if "call" in entry.kept:
        return msgspec.convert({"text": "", **entry.kept, **entry.kept["call"]}, Made)
    kind = entry.item["type"]
    for each in kinds.values():
        if kind in each.items:
            replay = each.replay(entry.item)
            return None if replay is None else Made(f"call_{entry.id}", replay.name, replay.arguments, replay.text)
    raise InvalidRequest(f"This server has no tool that makes items of type {kind!r}.", param="input")


def _requests(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Requests for approval, by their ids."""
    return {entry.id: entry for entry in entries if entry.item["type"] == "mcp_approval_request"}


def _declined(entry: Entry, requests: Mapping[str, Entry], kinds: Kinds) -> _Called | None:
    call = call_of(_request(entry.item, requests), kinds)
    return None if call is None else _Called(ToolCall(call.id, call.name, call.arguments), DECLINED, entry.id)


def _request(item: Json, requests: Mapping[str, Entry]) -> Entry:
    id = item["approval_request_id"]  # noqa: A001
    if id not in requests:
        raise InvalidRequest(f"No request for approval is called {id!r}.", param="input")
    return requests[id]


def approved(entries: Sequence[Entry], kinds: Kinds) -> list[tuple[str, Made]]:
    """Calls that the client has approved and that were not carried out yet, each with the request's id."""
    requests = _requests(entries)
    done = {entry.item.get("approval_request_id") for entry in entries if entry.item["type"] == "mcp_call"}
    found: list[tuple[str, Made]] = []
    for entry in entries:
        item = entry.item
        if item["type"] == "mcp_approval_response" and item["approve"] and item["approval_request_id"] not in done:
            call = call_of(_request(item, requests), kinds)
            if call is not None:
                found.append((item["approval_request_id"], call))
    return found


def _close(units: list[Unit], run: list[_Called]) -> None:
    """Calls that followed one another were made together, by the message before them if there is one."""
    if not run:
        return
    content, items = "", list[str]()
    if units and units[-1].role == "assistant" and len(units[-1].messages) == 1:
        before = units.pop()
        content, items = before.messages[0].content, before.items
    calls = tuple(each.call for each in run)
    results = [Message(role="tool", content=each.output, tool_call_id=each.call.id) for each in run]
    items = [*items, *(each.item for each in run)]
    units.append(Unit([Message(role="assistant", content=content, tool_calls=calls), *results], items=items))
    run.clear()


def _with_head(instructions: str | None, units: list[Unit]) -> list[Unit]:
    """Templates know one system message, the first: what stands at the head is one."""
    texts = [instructions] if instructions else []
    role, items = "system", list[str]()
    while units and units[0].pinned:
        items += units[0].items
        head = units.pop(0).messages[0]
        role = head.role if not texts else role
        texts.append(head.content)
    if not texts:
        return units
    return [Unit([Message(role=role, content="\n\n".join(texts))], pinned=True, items=items), *units]


def text_of(content: str | list[dict[str, Any]]) -> str:
    """The text of a message's parts, or of a result."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# -- what fits ---------------------------------------------------------------------------------------------------------


def num_droppable(units: Sequence[Unit]) -> int:
    """How many units may be left out: all but what is pinned, the last of the user, and the last of all."""
    return len(list(_droppable(units)))


def _droppable(units: Sequence[Unit]) -> Iterator[int]:
    """Oldest first."""
    last_user = max((at for at, unit in enumerate(units) if unit.role == "user"), default=-1)
    for at, unit in enumerate(units[:-1]):
        if not unit.pinned and at != last_user:
            yield at


def fitted(units: Sequence[Unit], num: int) -> list[Unit]:
    """Without the `num` oldest units that may be left out, and without the rest of a turn that has lost its beginning:
    what remains begins with the user."""
    order = list(_droppable(units))
    last_user = max((at for at, unit in enumerate(units) if unit.role == "user"), default=-1)
    while num and num < len(order) and order[num] < last_user and units[order[num]].role != "user":
        num += 1
    gone = set(order[:num])
    return [unit for at, unit in enumerate(units) if at not in gone]


def messages_of(units: Sequence[Unit]) -> tuple[Message, ...]:
    """The chat."""
    return tuple(message for unit in units for message in unit.messages)
