"""The seam for tools that the server carries out itself: file search, web search, MCP, the code interpreter, images.

Functions and custom tools are the client's to carry out and never come here. Another tool takes three things:

1. its definition as clients write it, in the union `ResponseTool` of `api/openai/wire_responses.py`; the items that
   clients send back go into `InputItem` there. What is in neither is a 400 that names it;
2. the structs of its output items in `responses/items_tools.py`, as OpenAI writes them;
3. a `Kind` in the mapping that `wiring/work.py:responses` gives to `Responses`, by the definition's `type`. A type that
   clients may send and this server has no `Kind` for is a 400 too.

For each response a `Kind` makes one `ServerTool` of a definition. `begin` runs before the first generation (MCP lists
its tools there). Then the model is told of `functions`; each call of one is `run`, what comes out is told to the model,
and it goes on. Everything that a tool yields is written to the log of events at once, so that readers see it as it
happens. A tool whose server was stopped while it ran is run again with a higher `Call.attempt`; events that were told
already are not told twice.

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        yield Opened(FileSearchCall(id=call.item, status="in_progress", queries=queries))
        yield Progress("response.file_search_call.in_progress")
        yield Progress("response.file_search_call.searching")
        ...
        yield Progress("response.file_search_call.completed")
        yield Done(FileSearchCall(id=call.item, status="completed", queries=queries, results=found), text, kept)
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from mainspring.core.types import Tool
from mainspring.responses.items import Annotation

__all__ = [
    "Annotated",
    "Annotator",
    "Asked",
    "Call",
    "Caller",
    "Cites",
    "Done",
    "Kind",
    "Kinds",
    "Listed",
    "Make",
    "Opened",
    "Progress",
    "Replay",
    "ServerTool",
    "Step",
]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a tool works.

    Args:
        principal: the id of the key, or of the token's user: the `tenant` of what a tool asks of models.
        model: the deployment that the response is of.
        response: its id.
    """

    project: str
    principal: str
    model: str
    response: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made.

    Args:
        id: of the call.
        item: of the output item that it becomes.
        name: which of the tool's `functions`.
        arguments: JSON text, as the model wrote it: it matches the function's schema only if that is strict.
        approval: the id of the request for approval that the client has granted, if it was asked.
        attempt: above 1 if a server was stopped while the call ran. A tool whose calls change something says then that
            it does not know what became of it, instead of doing it twice.
    """

    id: str
    item: str
    name: str
    arguments: str
    approval: str | None = None
    attempt: int = 1


class Opened(msgspec.Struct, frozen=True):
    """`response.output_item.added`: the item as it is when the call begins. At most one, before all `Progress`."""

    item: msgspec.Struct


class Progress(msgspec.Struct, frozen=True):
    """An event of the open item. `fields` are those beside type, sequence_number, output_index and item_id."""

    type: str
    fields: dict[str, Any] = {}


class Done(msgspec.Struct, frozen=True):
    """The call's end, well or ill: `response.output_item.done`, always the last step. An exception is a failure of the
    whole response; what the model can make something of is a `Done` whose text says what went wrong.

    Args:
        item: as it is kept and shown.
        text: what the model is told, in later turns too.
        kept: kept with the item and never shown: what `ServerTool.recall` needs later.
    """

    item: msgspec.Struct
    text: str
    kept: dict[str, Any] = {}


class Asked(msgspec.Struct, frozen=True):
    """The call waits for the client's approval: the item asks for it, and the response ends with this turn. The next
    response whose input approves runs the call, with `Call.approval`; one that declines tells the model so. Which call
    that is, `Kind.replay` says of the item, which is not shown to the model itself."""

    item: msgspec.Struct


class Listed(msgspec.Struct, frozen=True):
    """An output item that belongs to no call, such as `mcp_list_tools`; only of `begin`."""

    item: msgspec.Struct


Step = Opened | Progress | Done | Asked
Preparation = Opened | Progress | Listed


class Annotated(msgspec.Struct, frozen=True):
    """An annotation of the text so far, as OpenAI writes it (`file_citation`, `url_citation`, ...).

    Args:
        claim: the sentence that cites, and the passage: what can be judged further (`judging.py`). Then the annotation
            has `supported` and `support_score`.
    """

    annotation: Annotation
    claim: tuple[str, str] | None = None


class Annotator(Protocol):
    """Reads one message as the model writes it, and says what of it is text and what is cited: it may hold text back,
    and leave out or replace markers. Positions are in what it has given out."""

    def feed(self, text: str) -> Sequence[str | Annotated]:
        """More of what the model wrote; what can be told now."""
        ...

    def end(self) -> Sequence[str | Annotated]:
        """The message is over; what was held back."""
        ...


@runtime_checkable
class Cites(Protocol):
    """A tool whose results are cited. Both are asked anew before each generation of the response."""

    def annotator(self, begun: str = "") -> Annotator | None:
        """What reads the next message; None if there is nothing to cite. `begun` is what that has already, if it was
        broken off: positions go on from its end."""
        ...

    def cites(self) -> Sequence[int]:
        """Numbers of passages: the only ones that markers in the next answer may have; none leaves markers free."""
        ...


class ServerTool(Protocol):
    """One tool of one response."""

    @property
    def functions(self) -> Sequence[Tool]:
        """What the model may call, after `begin`. Names are unique among all tools of a response."""
        ...

    @property
    def prefix(self) -> str:
        """What the ids of its items begin with, such as "fs_"."""
        ...

    def begin(self, listed: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Preparation]:
        """Runs once, before the first generation. `listed` are the `Listed` items that the context has already."""
        ...

    def recall(self, item: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        """An item of this kind that the context has from before, earliest first; called before `begin`. `kept` is what
        `Done` had, and empty where a client has sent the item itself."""
        ...

    def run(self, call: Call) -> AsyncGenerator[Step]:
        """Carry a call out. Closing the generator cancels it. Raises `core.errors`: the response fails with it."""
        ...


class Replay(msgspec.Struct, frozen=True):
    """How an earlier item is shown to the model: as a call of the function `name`, and what came of it."""

    name: str
    arguments: str
    text: str


Make = Callable[[Mapping[str, Any], Caller], Awaitable[ServerTool]]
"""(definition, for whom) -> the tool. Raises InvalidRequest whose `param` is relative to the definition, such as
"vector_store_ids": it is given the place of the definition in front."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A type of tool that this server has.

    Args:
        items: the types of items that it makes, such as "file_search_call".
        replay: how the model is shown an item that a client has sent; None if it is not. Of items that were kept here
            it is known already.
    """

    make: Make
    items: frozenset[str]
    replay: Callable[[Mapping[str, Any]], Replay | None]


Kinds = Mapping[str, Kind]
"""Type of a tool -> what carries it out."""
