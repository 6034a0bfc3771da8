"""From the events of a response, as JSON has them, to the response: what a client of a stream does."""

from collections.abc import Iterable
from typing import Any, cast

import msgspec

__all__ = ["Folded", "fold"]

Json = dict[str, Any]

_RESPONSES = frozenset(
    f"response.{name}" for name in ("created", "queued", "in_progress", "completed", "incomplete", "failed")
)
_TEXTS = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
}
_CALLS = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}


class Folded(msgspec.Struct):
    """What the events told so far come to.

    Args:
        response: as the last event that had it has it.
        output: the items; the last one is not whole yet if `is_open`.
        open_events: of that item, beside those that add it.
        seq: the last event's number; -1 if there is none.
    """

    response: Json = {}
    output: list[Json] = []
    is_open: bool = False
    open_events: int = 0
    seq: int = -1

    @property
    def whole(self) -> Json:
        """The response with its output."""
        return {**self.response, "output": self.output}


def fold(events: Iterable[bytes]) -> Folded:
    """The events in order, each its JSON."""
    folded = Folded()
    for body in events:
        event = msgspec.json.decode(body, type=Json)
        folded.seq = event["sequence_number"]
        _add(folded, event)
    return folded


def _add(folded: Folded, event: Json) -> None:
    kind = event["type"]
    if kind in _RESPONSES:
        folded.response = event["response"]
    elif kind == "response.output_item.added":
        folded.output.append(event["item"])
        folded.is_open, folded.open_events = True, 0
    elif kind == "response.output_item.done":
        folded.output[event["output_index"]] = event["item"]
        folded.is_open = False
    elif "output_index" in event:
        folded.open_events += 1
        at: int = event["output_index"]
        _within(folded.output[at], event)


def _within(item: Json, event: Json) -> None:
    kind = event["type"]
    if kind == "response.content_part.added":
        _list(item, "content").append(event["part"])
    elif kind == "response.reasoning_summary_part.added":
        _list(item, "summary").append(event["part"])
    elif kind in _TEXTS:
        parts, index, text = _TEXTS[kind]
        part = item[parts][event[index]]
        part[text] += event["delta"]
        if event.get("logprobs"):
            part["logprobs"] += event["logprobs"]
    elif kind == "response.output_text.annotation.added":
        item["content"][event["content_index"]]["annotations"].append(event["annotation"])
    elif kind in _CALLS:
        item[_CALLS[kind]] += event["delta"]


def _list(item: Json, name: str) -> list[Any]:
    return cast("list[Any]", item.setdefault(name, []))
