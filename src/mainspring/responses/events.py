"""What a stream tells, as structs whose encoding is OpenAI's, and `Told`: one of them as it is sent and kept.

Events of tools that the server carries out have no structs of their own: all are a type, the item's id and place, and a
few fields that the tool says (`tools.Progress`).
"""

from typing import Any

import msgspec

from mainspring.responses.items import Annotation, LogProb, OutputText, ReasoningText, Response, SummaryText

__all__ = [
    "AnnotationAdded",
    "ArgumentsDelta",
    "ArgumentsDone",
    "Completed",
    "ContentPartAdded",
    "ContentPartDone",
    "Created",
    "ErrorEvent",
    "Failed",
    "InProgress",
    "Incomplete",
    "InputDelta",
    "InputDone",
    "ItemAdded",
    "ItemDone",
    "Queued",
    "StreamEvent",
    "SummaryDelta",
    "SummaryDone",
    "SummaryPartAdded",
    "SummaryPartDone",
    "TextDelta",
    "TextDone",
    "ThoughtDelta",
    "ThoughtDone",
    "Told",
    "head_of",
]


class Told(msgspec.Struct, frozen=True):
    """An event: its number, its type, and its JSON in one line."""

    seq: int
    type: str
    body: bytes


class _Head(msgspec.Struct):
    type: str
    sequence_number: int


_head = msgspec.json.Decoder(_Head).decode


def head_of(body: bytes) -> Told:
    """From an event's JSON."""
    head = _head(body)
    return Told(head.sequence_number, head.type, body)


class _Of(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    sequence_number: int


class _OfResponse(_Of, frozen=True, kw_only=True, tag=True):
    response: Response


class Created(_OfResponse, frozen=True, kw_only=True, tag="response.created"):
    """It begins."""


class Queued(_OfResponse, frozen=True, kw_only=True, tag="response.queued"):
    """It waits for its turn in the background."""


class InProgress(_OfResponse, frozen=True, kw_only=True, tag="response.in_progress"):
    """It is being worked on."""


class Completed(_OfResponse, frozen=True, kw_only=True, tag="response.completed"):
    """It is whole."""


class Incomplete(_OfResponse, frozen=True, kw_only=True, tag="response.incomplete"):
    """It ended early; `incomplete_details` says why."""


class Failed(_OfResponse, frozen=True, kw_only=True, tag="response.failed"):
    """It failed; `error` says why."""


class _OfItem(_Of, frozen=True, kw_only=True, tag=True):
    output_index: int


class ItemAdded(_OfItem, frozen=True, kw_only=True, tag="response.output_item.added"):
    """An item begins."""

    item: Any


class ItemDone(_OfItem, frozen=True, kw_only=True, tag="response.output_item.done"):
    """An item is whole, or as much of it as there will be."""

    item: Any


class _Within(_OfItem, frozen=True, kw_only=True, tag=True):
    item_id: str


class _InPart(_Within, frozen=True, kw_only=True, tag=True):
    content_index: int = 0


class ContentPartAdded(_InPart, frozen=True, kw_only=True, tag="response.content_part.added"):
    """A part of a message or a thought begins."""

    part: OutputText | ReasoningText


class ContentPartDone(_InPart, frozen=True, kw_only=True, tag="response.content_part.done"):
    """It is whole."""

    part: OutputText | ReasoningText


class TextDelta(_InPart, frozen=True, kw_only=True, tag="response.output_text.delta"):
    """More text."""

    delta: str
    logprobs: list[LogProb] = []


class TextDone(_InPart, frozen=True, kw_only=True, tag="response.output_text.done"):
    """The whole text."""

    text: str
    logprobs: list[LogProb] = []


class AnnotationAdded(_InPart, frozen=True, kw_only=True, tag="response.output_text.annotation.added"):
    """What the text so far cites."""

    annotation_index: int
    annotation: Annotation


class ThoughtDelta(_InPart, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    """More of a thought."""

    delta: str


class ThoughtDone(_InPart, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    """The whole thought."""

    text: str


class _InSummary(_Within, frozen=True, kw_only=True, tag=True):
    summary_index: int = 0


class SummaryPartAdded(_InSummary, frozen=True, kw_only=True, tag="response.reasoning_summary_part.added"):
    """What is shown of a thought begins."""

    part: SummaryText


class SummaryPartDone(_InSummary, frozen=True, kw_only=True, tag="response.reasoning_summary_part.done"):
    """It is whole."""

    part: SummaryText


class SummaryDelta(_InSummary, frozen=True, kw_only=True, tag="response.reasoning_summary_text.delta"):
    """More of it."""

    delta: str


class SummaryDone(_InSummary, frozen=True, kw_only=True, tag="response.reasoning_summary_text.done"):
    """The whole text."""

    text: str


class ArgumentsDelta(_Within, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(_Within, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    """All of them."""

    name: str
    arguments: str


class InputDelta(_Within, frozen=True, kw_only=True, tag="response.custom_tool_call_input.delta"):
    """More of a custom tool's input."""

    delta: str


class InputDone(_Within, frozen=True, kw_only=True, tag="response.custom_tool_call_input.done"):
    """All of it."""

    input: str


class ErrorEvent(_Of, frozen=True, kw_only=True, tag="error"):
    """The stream has failed, and the response is not kept."""

    code: str | None
    message: str
    param: str | None


class StreamEvent(msgspec.Struct, frozen=True):
    """Any event, for the description of the API: its other fields are those of OpenAI's event of that type."""

    type: str
    sequence_number: int
    obfuscation: str | None = None
