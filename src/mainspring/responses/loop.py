"""The loop: generate, carry out what the model calls of the server's tools, tell it, generate again, until it answers.

Everything goes into a `Draft`; whoever runs the loop takes the events out. What the draft does not show and a process
that takes a broken response up again needs is in `State`, which is written down with the events.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, closing
from typing import Any, NamedTuple

import msgspec

from mainspring.core.errors import ContextLengthExceeded
from mainspring.core.ids import new_id
from mainspring.core.seams import Align, Generate
from mainspring.core.types import (
    ChatPrompt,
    Event,
    Finished,
    GenerateRequest,
    Message,
    Screened,
    Token,
    ToolCallDelta,
)
from mainspring.responses.ask import Ask
from mainspring.responses.draft import Draft
from mainspring.responses.judging import Judge, Waiting
from mainspring.responses.prompt import approved, fitted, messages_of, num_droppable, units_of
from mainspring.responses.shown import shown
from mainspring.responses.state import Pending, State
from mainspring.responses.toolbox import Toolbox
from mainspring.responses.tools import Annotated, Annotator, Asked, Call, Done, Kinds, Listed, Opened, Progress
from mainspring.responses.trace import Trace
from mainspring.store.responses import Entry

__all__ = ["Loop"]

MAX_TURNS = 64
"""Generations of one response after which the server carries out no more calls."""

Json = dict[str, Any]


class _Broken(NamedTuple):
    """A generation that was broken off: the text that it ended in, if it did in one, and the tokens that were told."""

    text: str | None = None
    said: int = 0
    thought: int = 0


def _ignore(_: Event) -> None:
    pass


async def _nowhere() -> None:
    pass


class Loop:
    """See the module.

    Args:
        entries: what the model is shown before what it says itself.
        state: of a response that was begun before.
        watch: is told every event of the engine's.
        save: writes down what there is; called before each call of a tool.
    """

    def __init__(
        self, ask: Ask, entries: Sequence[Entry], draft: Draft, *, box: Toolbox, kinds: Kinds, generate: Generate,
        state: State | None = None, watch: Callable[[Event], None] = _ignore, align: Align | None = None,
        save: Callable[[], Awaitable[None]] = _nowhere,
    ) -> None:  # fmt: skip
        self.state = state or State()
        self._ask, self._entries, self._draft, self._box = ask, entries, draft, box
        self._kinds, self._generate, self._watch, self._save = kinds, generate, watch, save
        self._judge = Judge(align, ask.project, ask.tenant)
        self.trace = Trace(self.state.traced)
        self._is_new = not ask.background  # an attempt that nobody knows of any more may have had the id
        self._broken = self._taken_up() if state is not None else None

    async def run(self) -> AsyncGenerator[None]:
        """Go on until the response is whole; yields whenever events may have been added.

        Raises:
            MainspringError: as `Generate` and the tools do.
        """
        async with aclosing(self._begin()) as steps:
            async for _ in steps:
                yield
        while not self.state.over:
            async with aclosing(self._carry_out() if self.state.calls else self._turn()) as steps:
                async for _ in steps:
                    yield

    async def count(self) -> int:
        """How many tokens the model would be shown."""
        async with aclosing(self._begin()) as steps:
            async for _ in steps:
                pass
        num = 0
        async with aclosing(self._events(most=0)) as events:
            async for event in events:
                num = event.usage.prompt if isinstance(event, Finished) else num
        return num

    def outputs(self) -> list[Entry]:
        """The items that came out, with what is kept of them."""
        return [Entry(item, self.state.kept.get(item["id"], {})) for item in self._items(0)]

    def _items(self, start: int) -> list[Json]:
        return msgspec.to_builtins(self._draft.output[start:])

    def _taken_up(self) -> _Broken | None:
        """What a generation that was broken off had said. If it had called something of the client's, that stands and
        is all: what else it would have called cannot be known."""
        state = self.state
        if state.over or state.calls:
            return None
        if self._client_has_calls():
            state.over = True
            return None
        items, text = self._items(state.began), self._draft.open_text
        if text is None and items and items[-1]["type"] == "message":
            text = items[-1]["content"][0]["text"]
        if items or text is not None:
            return _Broken(text, state.said, state.thought)
        state.said = state.thought = 0
        return None

    def _client_has_calls(self) -> bool:
        return any(item["type"] in ("function_call", "custom_tool_call") for item in self._items(self.state.began))

    # -- what tools tell first, and what was approved ----------------------------------------------------------------

    async def _begin(self) -> AsyncGenerator[None]:
        # What is wrong with the input is found before anything is told.
        units_of(self._ask.instructions, self._entries, self._kinds)
        waiting = approved(self._entries, self._kinds)
        context = [*self._entries, *self.outputs()]
        self._box.recall(context)
        async with aclosing(self._box.begin(context)) as steps:
            async for step in steps:
                match step:
                    case Opened(item):
                        self._draft.open_tool(self._shown(item))
                    case Progress(kind, fields):
                        self._draft.progress(kind, fields)
                    case Listed(item):
                        self._draft.close_tool(self._shown(item))
                yield
        self._box.settle()
        if not self.state.has_begun:
            self.state.has_begun, self.state.began = True, len(self._draft.output)
            for request, made in waiting:
                if (owner := self._box.owner(made.name)) is not None:
                    item = new_id(owner.prefix)
                    self.state.calls.append(Pending(made.id, item, made.name, made.arguments, request))
            for name, arguments in self._ask.opening:
                if (owner := self._box.owner(name)) is not None:
                    self.state.calls.append(Pending(new_id("call_"), new_id(owner.prefix), name, arguments))

    def _shown(self, item: msgspec.Struct) -> Json:
        return shown(msgspec.to_builtins(item), self._ask.include)

    # -- a generation ------------------------------------------------------------------------------------------------

    async def _turn(self) -> AsyncGenerator[None]:
        self._draft.turn(self.state.began)
        calls: dict[int, Pending] = {}
        annotators = self._box.annotators((self._broken.text if self._broken else None) or "")
        with closing(Waiting(self._judge)) as cited:
            async with aclosing(self._events()) as events:
                async for event in events:
                    self._watch(event)
                    self.trace.note(event)
                    if isinstance(event, ToolCallDelta) or (isinstance(event, Token) and event.thought):
                        self._cite(await cited.rest())  # what was said ends here
                    match event:
                        case Screened():
                            self.state.screened(event)
                        case ToolCallDelta():
                            self._called(event, calls)
                        case Token():
                            self._said(event, annotators, cited)
                        case Finished():
                            self._annotate([], annotators, cited, end=True)
                            self._cite(await cited.rest())
                            self._finished(event, list(calls.values()))
                        case _:
                            pass
                    yield

    def _cite(self, found: Sequence[Annotated]) -> None:
        for each in found:
            self._draft.annotate(each.annotation)

    def _said(self, token: Token, annotators: list[Annotator], cited: Waiting) -> None:
        if token.thought:
            self.state.thought += token.num
            self._draft.think(token.text)
            return
        self.state.said += token.num
        if annotators:
            self._draft.say("", token.logprobs)
            self._annotate([token.text], annotators, cited)
        else:
            self._draft.say(token.text, token.logprobs)

    def _annotate(
        self, pieces: Sequence[str | Annotated], annotators: list[Annotator], cited: Waiting, *, end: bool = False
    ) -> None:
        """Through one after the other: each reads the text that the one before it gives out."""
        for annotator in annotators:
            passed: list[str | Annotated] = []
            for piece in pieces:
                passed += annotator.feed(piece) if isinstance(piece, str) else [piece]
            pieces = [*passed, *(annotator.end() if end else ())]
        for piece in pieces:
            if isinstance(piece, str):
                self._draft.say(piece)
            else:
                cited.put(piece)
            self._cite(cited.ready())

    def _called(self, delta: ToolCallDelta, calls: dict[int, Pending]) -> None:
        if delta.id and (owner := self._box.owner(delta.name)) is not None:
            calls[delta.index] = Pending(delta.id, new_id(owner.prefix), delta.name, "")
        if delta.index in calls:
            calls[delta.index].arguments += delta.arguments
        else:
            self._draft.call(delta)

    def _finished(self, event: Finished, calls: list[Pending]) -> None:
        state, broken, self._broken = self.state, self._broken or _Broken(), None
        state.reason = event.reason
        self._draft.end_turn(incomplete=state.is_cut, calls=bool(calls))
        state.count(event.usage, said=broken.said, thought=broken.thought, again=broken.text is not None)
        if calls and not state.is_cut:
            state.calls += calls
        else:
            state.over = True

    async def _events(self, most: int | None = None) -> AsyncGenerator[Event]:
        """What the model says; if need be without what was said first."""
        past = self.outputs()[: self.state.began]
        units = units_of(self._ask.instructions, [*self._entries, *past], self._kinds)
        dropped = 0
        while True:
            kept = fitted(units, dropped)
            request = self._request(messages_of(kept), most)
            if self._ask.stores and most is None:
                request = self.trace.begin(request, units, kept, self.state.began)
                self.state.traced = self.trace.num
            try:
                async with aclosing(self._generate(request)) as events:
                    async for event in events:
                        yield event
            except ContextLengthExceeded:
                if not self._ask.truncates or dropped >= (droppable := num_droppable(units)):
                    raise
                dropped = min(max(2 * dropped, 1), droppable)
            else:
                return

    def _request(self, messages: tuple[Message, ...], most: int | None) -> GenerateRequest:
        ask, state, broken = self._ask, self.state, self._broken
        begun = broken.text if broken is not None else None
        if begun is not None:
            messages = (*messages, Message(role="assistant", content=begun))
        exhausted = state.turn >= MAX_TURNS
        if ask.max_tool_calls is not None:
            exhausted = exhausted or state.num_calls >= ask.max_tool_calls
        use = self._box.use(first=not state.turn, exhausted=exhausted)
        id = ask.id if self._is_new else new_id(f"{ask.id[:24]}-")  # noqa: A001
        self._is_new = False
        return GenerateRequest(
            id=id,
            model=ask.model,
            prompt=ChatPrompt(messages, use, ask.thinking if broken is None else False, begun is not None),
            tenant=ask.tenant,
            project=ask.project,
            spillover=ask.spillover,
            streams=ask.streams or ask.background,
            max_tokens=self._room() if most is None else most,
            sampling=ask.sampling,
            constraint=None if begun is not None else ask.constraint,
            cites=() if begun is not None else self._box.cites,
            deadline_s=ask.deadline_s,
            tier=ask.tier,
        )

    def _room(self) -> int | None:
        if self._ask.max_tokens is None:
            return None
        said = self._broken.said + self._broken.thought if self._broken is not None else 0
        return max(self._ask.max_tokens - self.state.completion - said, 1)

    # -- calls that the server carries out ---------------------------------------------------------------------------

    async def _carry_out(self) -> AsyncGenerator[None]:
        while self.state.calls:
            pending = self.state.calls[0]
            tool = self._box.owner(pending.name)
            assert tool is not None, "a call is pending only of a tool that is there"
            pending.attempt += 1
            await self._save()
            call = Call(
                id=pending.id, item=pending.item, name=pending.name, arguments=pending.arguments,
                approval=pending.approval, attempt=pending.attempt,
            )  # fmt: skip
            async with aclosing(tool.run(call)) as steps:
                async for step in steps:
                    match step:
                        case Opened(item):
                            self._draft.open_tool(self._shown(item))
                        case Progress(kind, fields):
                            self._draft.progress(kind, fields)
                        case Done(item, text, kept):
                            self._ended(pending, item, {"text": text, "tool": kept})
                        case Asked(item):
                            self.state.asked = True
                            self._ended(pending, item, {})
                    yield

    def _ended(self, pending: Pending, item: msgspec.Struct, kept: Json) -> None:
        full: Json = msgspec.to_builtins(item)
        visible = shown(full, self._ask.include)
        call = {"id": pending.id, "name": pending.name, "arguments": pending.arguments}
        state = self.state
        state.kept[full["id"]] = {"call": call, **kept, **({} if visible == full else {"item": full})}
        self._draft.close_tool(visible)
        state.num_calls += 1
        state.calls.pop(0)
        if not state.calls:
            state.over = state.asked or self._client_has_calls()
            state.began = len(self._draft.output)
