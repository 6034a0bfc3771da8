"""A response while it is written: what the model says and what tools do goes in, events and the whole come out.

Every event has the number after the one before it. At any moment the response is what a fold over the events told so
far makes (`fold.py`); that is how one that was broken off is taken up again (`Draft.resume`).
"""

from typing import Any, Literal

import msgspec

from mainspring.core.ids import new_id
from mainspring.core.types import TokenLogprob, ToolCallDelta
from mainspring.responses import events
from mainspring.responses.fold import Folded
from mainspring.responses.items import (
    Annotation,
    CustomCallItem,
    FunctionCallItem,
    ItemStatus,
    LogProb,
    MessageItem,
    OutputText,
    ReasoningItem,
    ReasoningText,
    Response,
    SummaryText,
    TopLogProb,
)
from mainspring.responses.opaque import seal

__all__ = ["Draft", "kinds_of"]

_encode = msgspec.json.Encoder().encode

Kind = Literal["message", "thought", "function", "custom", "tool"]


class _Open:
    """The item that is being written: what it has so far."""

    def __init__(self, kind: Kind, id: str, *, name: str = "", call_id: str = "", item: Any = None) -> None:  # noqa: A002
        self.kind, self.id, self.name, self.call_id, self.item = kind, id, name, call_id, item
        self.texts: list[str] = []
        self.logprobs: list[LogProb] = []
        self.annotations: list[Annotation] = []

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Draft:
    """See the module.

    Args:
        response: as it is at its beginning.
        summary: thoughts are shown as summaries instead of reasoning text.
        sealed: thoughts have `encrypted_content`.
        whole: kinds of items none of whose events are `settled` before the item is whole: those that nobody could go on
            with if they were broken off.

    Attributes:
        output: items that are whole.
        seq: the number of the next event.
    """

    def __init__(
        self, response: Response, *, summary: bool = False, sealed: bool = False, whole: frozenset[Kind] = frozenset()
    ) -> None:
        self.response = response
        self.output: list[Any] = []
        self.seq = 0
        self._summary, self._sealed, self._whole = summary, sealed, whole
        self._open: _Open | None = None
        self._blank: list[tuple[str, tuple[TokenLogprob, ...]]] = []  # white space that may be the beginning of a text
        self._turn = 0  # where in the output the current generation began
        self._told: list[events.Told] = []
        self._held_at: int | None = None  # of these, the first that is not settled
        self._skip = 0  # events of the open tool's item that were told before a restart

    def resume(self, folded: Folded) -> None:
        """Take up what was told before. An item that is open is a message, or a tool's."""
        self.seq, self.output = folded.seq + 1, list(folded.output)
        if not folded.is_open:
            return
        item = self.output.pop()
        self._open = _Open("message" if item["type"] == "message" else "tool", item["id"], item=item)
        self._skip = folded.open_events
        if item["type"] == "message" and item["content"]:
            part = msgspec.convert(item["content"][0], OutputText)
            self._open.texts, self._open.logprobs = [part.text], list(part.logprobs)
            self._open.annotations = list(part.annotations)

    # -- what was told ---------------------------------------------------------------------------------------------

    def take(self, *, settled: bool = False) -> list[events.Told]:
        """The events since the last time; `settled` leaves those of an unfinished item of `whole` for later."""
        at = self._held_at if settled and self._held_at is not None else len(self._told)
        taken, self._told = self._told[:at], self._told[at:]
        if self._held_at is not None:
            self._held_at -= at
        return taken

    @property
    def open_text(self) -> str | None:
        """The text of the message that is being written; None if none is."""
        return self._open.text if self._open is not None and self._open.kind == "message" else None

    @property
    def open_id(self) -> str | None:
        """The id of the item that is being written."""
        return self._open.id if self._open is not None else None

    def _tell(self, kind: type[msgspec.Struct], **fields: Any) -> None:
        event = kind(sequence_number=self.seq, **fields)
        self._told.append(events.Told(self.seq, str(event.__struct_config__.tag), _encode(event)))
        self.seq += 1

    def _within(self, kind: type[msgspec.Struct], **fields: Any) -> None:
        assert self._open is not None, "an item is open"
        self._tell(kind, output_index=len(self.output), item_id=self._open.id, **fields)

    # -- the response ----------------------------------------------------------------------------------------------

    def create(self) -> None:
        """It begins; in the background it waits first."""
        self._tell(events.Created, response=self.response)
        if self.response.status == "queued":
            self._tell(events.Queued, response=self.response)
        else:
            self._tell(events.InProgress, response=self.response)

    def start(self) -> None:
        """Its turn has come."""
        self.response = msgspec.structs.replace(self.response, status="in_progress")
        self._tell(events.InProgress, response=self.response)

    def finish(self, **fields: Any) -> Response:
        """It is over: `fields` are what changes of the response, its status among them."""
        self.close(incomplete=fields["status"] != "completed")
        self.response = msgspec.structs.replace(self.response, output=list(self.output), **fields)
        kinds = {"completed": events.Completed, "incomplete": events.Incomplete, "failed": events.Failed}
        if fields["status"] in kinds:  # of one that was cancelled there is no event
            self._tell(kinds[fields["status"]], response=self.response)
        return self.response

    # -- what the model says ---------------------------------------------------------------------------------------

    def turn(self, began: int) -> None:
        """Another generation begins, or is taken up again: its first item is number `began`."""
        self._turn = began

    def say(self, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        """More text. White space that nothing follows is no message."""
        if self._open is None or self._open.kind != "message":
            if not text.strip():
                if text or logprobs:
                    self._blank.append((text, logprobs))
                return
            self._begin_message()
        self._delta(text, logprobs)

    def _begin_message(self) -> None:
        self.close()
        message = _Open("message", new_id("msg_"))
        self._begin(message, MessageItem(id=message.id, status="in_progress", content=[]))
        self._within(events.ContentPartAdded, part=OutputText(""))
        blank, self._blank = self._blank, []
        for text, logprobs in blank:
            self._delta(text, logprobs)

    def _delta(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> None:
        assert self._open is not None, "a message is open"
        if not text and not logprobs:
            return
        shown = [_logprob(each) for each in logprobs]
        self._open.texts.append(text)
        self._open.logprobs += shown
        self._within(events.TextDelta, delta=text, logprobs=shown)

    def annotate(self, annotation: Annotation) -> None:
        """The text so far cites something."""
        if self._open is None or self._open.kind != "message":
            self._begin_message()
        assert self._open is not None, "a message is open"
        at = len(self._open.annotations)
        self._open.annotations.append(annotation)
        self._within(events.AnnotationAdded, annotation_index=at, annotation=annotation)

    def think(self, text: str) -> None:
        """More of a thought."""
        if not text:
            return
        if self._open is None or self._open.kind != "thought":
            self.close()
            thought = _Open("thought", new_id("rs_"))
            self._begin(thought, ReasoningItem(id=thought.id))
            if self._summary:
                self._within(events.SummaryPartAdded, part=SummaryText(""))
            else:
                self._within(events.ContentPartAdded, part=ReasoningText(""))
        assert self._open is not None, "a thought is open"
        self._open.texts.append(text)
        self._within(events.SummaryDelta if self._summary else events.ThoughtDelta, delta=text)

    def call(self, delta: ToolCallDelta) -> None:
        """More of a call of the client's: the first delta of each has its id and name."""
        if delta.id:
            self.close()
            self._blank = []
            kind: Kind = "custom" if delta.is_custom else "function"
            opened = _Open(kind, new_id("ctc_" if delta.is_custom else "fc_"), name=delta.name, call_id=delta.id)
            self._begin(opened, self._call_item(opened, "in_progress"))
        if delta.arguments:
            assert self._open is not None, "a call is open"
            self._open.texts.append(delta.arguments)
            self._within(events.InputDelta if delta.is_custom else events.ArgumentsDelta, delta=delta.arguments)

    def end_turn(self, *, incomplete: bool = False, calls: bool = False) -> None:
        """The generation is over. One that said nothing but white space, or nothing, has said that, unless it `calls`
        tools of the server's."""
        if len(self.output) == self._turn and self._open is None and not calls:
            self._begin_message()
        self._blank = []
        self.close(incomplete=incomplete)

    # -- what tools do ---------------------------------------------------------------------------------------------

    def open_tool(self, item: dict[str, Any]) -> None:
        """A tool's item begins, unless it had before the server was stopped."""
        if self._open is not None and self._open.kind == "tool" and self._open.id == item["id"]:
            return
        self.close()
        self._skip = 0
        self._begin(_Open("tool", item["id"], item=item), item)

    def progress(self, kind: str, fields: dict[str, Any]) -> None:
        """An event of the tool's item."""
        assert self._open is not None, "the tool has opened its item"
        if self._skip:
            self._skip -= 1
            return
        event = {"type": kind, "sequence_number": self.seq, "output_index": len(self.output), "item_id": self._open.id}
        self._told.append(events.Told(self.seq, kind, _encode({**event, **fields})))
        self.seq += 1

    def close_tool(self, item: dict[str, Any]) -> None:
        """A tool's item is whole; it begins with that if it was not open."""
        self.open_tool(item)
        self._done(item)

    # -- items -----------------------------------------------------------------------------------------------------

    def _begin(self, opened: _Open, item: Any) -> None:
        if opened.kind in self._whole and self._held_at is None:
            self._held_at = len(self._told)
        self._open = opened
        self._tell(events.ItemAdded, output_index=len(self.output), item=item)

    def _done(self, item: Any) -> None:
        self._tell(events.ItemDone, output_index=len(self.output), item=item)
        self.output.append(item)
        self._open = self._held_at = None

    def close(self, *, incomplete: bool = False) -> None:
        """The open item, if there is one, is as whole as it will be. A tool that has not come to its end has failed."""
        status = "incomplete" if incomplete else "completed"
        match self._open:
            case _Open(kind="message") as message:
                part = OutputText(message.text, message.annotations, message.logprobs)
                self._within(events.TextDone, text=part.text, logprobs=part.logprobs)
                self._within(events.ContentPartDone, part=part)
                self._done(MessageItem(id=message.id, status=status, content=[part]))
            case _Open(kind="thought") as thought:
                self._close_thought(thought)
            case _Open(kind="function" | "custom") as call:
                item = self._call_item(call, status)
                if isinstance(item, FunctionCallItem):
                    self._within(events.ArgumentsDone, name=call.name, arguments=call.text)
                else:
                    self._within(events.InputDone, input=call.text)
                self._done(item)
            case _Open(kind="tool") as tool:
                self._done({**tool.item, "status": "failed"} if "status" in tool.item else tool.item)
            case _:
                pass

    def _close_thought(self, thought: _Open) -> None:
        text = thought.text
        sealed = seal({"thought": text}) if self._sealed else msgspec.UNSET
        if self._summary:
            self._within(events.SummaryDone, text=text)
            self._within(events.SummaryPartDone, part=SummaryText(text))
            self._done(ReasoningItem(id=thought.id, summary=[SummaryText(text)], encrypted_content=sealed))
        else:
            self._within(events.ThoughtDone, text=text)
            self._within(events.ContentPartDone, part=ReasoningText(text))
            self._done(ReasoningItem(id=thought.id, content=[ReasoningText(text)], encrypted_content=sealed))

    def _call_item(self, call: _Open, status: ItemStatus) -> FunctionCallItem | CustomCallItem:
        id, call_id, name = call.id, call.call_id, call.name  # noqa: A001
        if call.kind == "custom":
            return CustomCallItem(id=id, call_id=call_id, name=name, input=call.text, status=status)
        return FunctionCallItem(id=id, call_id=call_id, name=name, arguments=call.text, status=status)


def _logprob(token: TokenLogprob) -> LogProb:
    top = [TopLogProb(_shown(piece), logprob, list(piece)) for _, piece, logprob in token.top]
    return LogProb(_shown(token.piece), token.logprob or 0.0, list(token.piece), top)


def _shown(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def kinds_of(constrained: bool) -> frozenset[Kind]:
    """What a broken response cannot be taken up again in the middle of: everything but free text."""
    return frozenset({"thought", "function", "custom", *(("message",) if constrained else ())})
