"""From the events and items of a response to the parts of the AI SDK's UI messages. Pure."""

from collections.abc import Callable
from typing import Any

import msgspec

from mainspring.responses.chats import Turn
from mainspring.responses.prompt import text_of

__all__ = ["UiParts", "message_of"]

Json = dict[str, Any]

_CALLS = ("function_call", "custom_tool_call")
_QUIET = ("message", "reasoning", "compaction")


class UiParts:
    """Event after event: what the AI SDK is told of each. Parts that are open are closed before the end."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}  # id of a part -> "text" or "reasoning"
        self._calls: dict[str, Json] = {}  # id of an item -> the call that it is
        self._over = False
        deltas = ("output_text.delta", "reasoning_text.delta", "reasoning_summary_text.delta")
        dones = ("output_text.done", "reasoning_text.done", "reasoning_summary_text.done")
        arguments = ("function_call_arguments.delta", "custom_tool_call_input.delta")
        self._handlers: dict[str, Callable[[Json], list[Json]]] = {
            "created": self._start, "content_part.added": self._begin, "reasoning_summary_part.added": self._begin,
            **dict.fromkeys(deltas, self._delta), **dict.fromkeys(dones, self._done),
            "output_text.annotation.added": self._cited, "output_item.added": self._called,
            **dict.fromkeys(arguments, self._argument), "output_item.done": self._call_done,
            **dict.fromkeys(("completed", "incomplete", "failed"), self._finish),
        }  # fmt: skip

    def of(self, event: Json) -> list[Json]:
        """The parts that an event adds."""
        handle = self._handlers.get(event["type"].removeprefix("response."))
        return [] if handle is None else handle(event)

    def _start(self, event: Json) -> list[Json]:
        return [{"type": "start", "messageId": event["response"]["id"]}, {"type": "start-step"}]

    def _begin(self, event: Json) -> list[Json]:
        part = "text" if event["part"]["type"] == "output_text" else "reasoning"
        self._open[event["item_id"]] = part
        return [{"type": f"{part}-start", "id": event["item_id"]}]

    def _delta(self, event: Json) -> list[Json]:
        part = self._open.get(event["item_id"], "text")
        return [{"type": f"{part}-delta", "id": event["item_id"], "delta": event["delta"]}]

    def _done(self, event: Json) -> list[Json]:
        return self._end(event["item_id"])

    def _end(self, id: str) -> list[Json]:  # noqa: A002
        part = self._open.pop(id, None)
        return [] if part is None else [{"type": f"{part}-end", "id": id}]

    def _cited(self, event: Json) -> list[Json]:
        return source_of(event["annotation"])

    def _called(self, event: Json) -> list[Json]:
        item = event["item"]
        if item["type"] in _QUIET:
            return []
        call = self._calls[item["id"]] = _call(item)
        begun = {"type": "tool-input-start", "toolCallId": call["id"], "toolName": call["name"], "dynamic": True}
        return [{**begun, **_own(item)}]

    def _argument(self, event: Json) -> list[Json]:
        call = self._calls[event["item_id"]]
        return [{"type": "tool-input-delta", "toolCallId": call["id"], "inputTextDelta": event["delta"]}]

    def _call_done(self, event: Json) -> list[Json]:
        return call_parts(event["item"])

    def _finish(self, event: Json) -> list[Json]:
        response: Json = event["response"]
        self._over = True
        parts = [each for id in list(self._open) for each in self._end(id)]  # noqa: A001
        if response["status"] == "failed":
            error: Json = response.get("error") or {}
            return [*parts, {"type": "error", "errorText": error.get("message") or "The answer failed."}]
        metadata = {"model": response["model"], "usage": response["usage"]}
        reason = finish_reason(response)
        return [
            *parts, {"type": "finish-step"}, {"type": "finish", "finishReason": reason, "messageMetadata": metadata}
        ]  # fmt: skip

    def rest(self) -> list[Json]:
        """What is left to say at the end of the stream: an answer that was stopped has no last event."""
        if self._over:
            return []
        return [*(each for id in list(self._open) for each in self._end(id)), {"type": "abort"}]  # noqa: A001


def finish_reason(response: Json) -> str:
    """Why an answer ended, in the AI SDK's words."""
    if response["status"] == "incomplete":
        details: Json = response.get("incomplete_details") or {}
        return "content-filter" if details.get("reason") == "content_filter" else "length"
    called = any(item["type"] in _CALLS for item in response["output"])
    return "tool-calls" if called else "stop"


def source_of(annotation: Json) -> list[Json]:
    """What an answer cites."""
    if annotation["type"] == "url_citation":
        url = annotation["url"]
        return [{"type": "source-url", "sourceId": url, "url": url, "title": annotation["title"]}]
    if annotation["type"] in ("file_citation", "container_file_citation"):
        name, id = annotation["filename"], annotation["file_id"]  # noqa: A001
        return [{"type": "source-document", "sourceId": id, "mediaType": "text/plain", "title": name, "filename": name}]
    return []


def _call(item: Json) -> Json:
    """A call's id, name and input, of whatever tool."""
    if item["type"] in _CALLS:
        given = item.get("arguments") if item["type"] == "function_call" else item.get("input")
        return {"id": item["call_id"], "name": item["name"], "input": _decoded(given or "")}
    name = item.get("name") or item["type"].removesuffix("_call")
    return {"id": item["id"], "name": name, "input": _decoded(item.get("arguments") or "{}")}


def _own(item: Json) -> Json:
    return {} if item["type"] in _CALLS else {"providerExecuted": True}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def call_parts(item: Json) -> list[Json]:
    """A call that is whole; what came of it, if the server has carried it out."""
    if item["type"] in _QUIET:
        return []
    call = _call(item)
    head = {"toolCallId": call["id"], "dynamic": True, **_own(item)}
    asked = {"type": "tool-input-available", **head, "toolName": call["name"], "input": call["input"]}
    if item["type"] in _CALLS:
        return [asked]
    if item.get("status") == "failed" or item.get("error"):
        text = str(item.get("error") or "The call failed.")
        return [asked, {"type": "tool-output-error", **head, "errorText": text}]
    output = {name: value for name, value in item.items() if name not in ("id", "type", "arguments", "name")}
    return [asked, {"type": "tool-output-available", **head, "output": output}]


def message_of(turn: Turn) -> list[Json]:
    """A turn as messages: what was said, and the answer under the response's id."""
    said = [entry.item for entry in turn.given if entry.item["type"] == "message"]
    asked = [
        {"id": item["id"], "role": item["role"], "parts": [{"type": "text", "text": text_of(item["content"])}]}
        for item in said
        if item["role"] in ("user", "system")
    ]
    parts: list[Json] = []
    for entry in turn.outputs:
        parts += _parts_of(entry.item)
    return [*asked, {"id": turn.response.id, "role": "assistant", "parts": parts}]


def _parts_of(item: Json) -> list[Json]:
    if item["type"] == "message":
        content: list[Json] = item["content"]
        cited: list[Json] = [each for part in content for each in part.get("annotations") or ()]
        text = {"type": "text", "text": text_of(content), "state": "done"}
        return [text, *(source for each in cited for source in source_of(each))]
    if item["type"] == "reasoning":
        texts = [part["text"] for part in item.get("content") or item.get("summary") or ()]
        return [{"type": "reasoning", "text": "".join(texts), "state": "done"}]
    if item["type"] in _QUIET:
        return []
    call = _call(item)
    named = {"type": "dynamic-tool", "toolName": call["name"], "toolCallId": call["id"]}
    shown: Json = {**named, "input": call["input"], **_own(item)}
    last = call_parts(item)[-1]
    if last["type"] == "tool-output-available":
        return [{**shown, "state": "output-available", "output": last["output"]}]
    if last["type"] == "tool-output-error":
        return [{**shown, "state": "output-error", "errorText": last["errorText"]}]
    return [{**shown, "state": "input-available"}]
