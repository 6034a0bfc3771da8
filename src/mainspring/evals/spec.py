"""What a run is asked to do, and how far it is: the two JSON columns of its job."""

from typing import Any, Literal

import msgspec

from mainspring.core.types import Constraint, Sampling, ToolUse, Usage
from mainspring.store.jobs import Job
from mainspring.store.response_filter import ResponseFilter
from mainspring.store.stored_chats import ChatFilter

__all__ = [
    "ACTIVE",
    "Counts",
    "Origin",
    "PartMessage",
    "RunSpec",
    "RunState",
    "Sampler",
    "Spent",
    "spec_of",
    "state_of",
    "written",
]

ACTIVE = ("queued", "in_progress")
"""Statuses of runs that there is something to do for; the others are completed, canceled and failed."""


class PartMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of a prompt, whose texts are templates."""

    role: Literal["user", "assistant", "system", "developer"]
    texts: tuple[str, ...]


class Sampler(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model answers each item.

    Args:
        template: the messages, or
        reference: a path in the item that leads to them, such as item.conversation.
        max_tokens: None is as many as the model's context holds, which are `context_tokens`.
    """

    model: str
    template: tuple[PartMessage, ...] = ()
    reference: str = ""
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    context_tokens: int = 0
    constraint: Constraint | None = None
    tools: ToolUse | None = None
    thinking: bool | None = None


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where items come from: out of the request (they are there then), of a file, of stored chats or of
    stored responses.

    Args:
        file: its id.
        chats, responses: which of them, at most `limit`.
    """

    kind: Literal["content", "file", "chats", "responses"]
    file: str = ""
    chats: ChatFilter = ChatFilter()
    responses: ResponseFilter = ResponseFilter()
    limit: int | None = None

    @property
    def is_log(self) -> bool:
        """Whether items are what models were asked and answered before."""
        return self.kind in ("chats", "responses")


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run is asked to do.

    Args:
        labels: the client's metadata.
        sampler: None if items bring their answers along.
    """

    eval: str
    name: str
    labels: dict[str, str] | None = None
    origin: Origin
    sampler: Sampler | None = None


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one model was asked."""

    calls: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Spent(**dict(zip(self.__struct_fields__, (a + b for a, b in pairs), strict=True)))

    @classmethod
    def of(cls, usage: Usage) -> "Spent":
        """One call."""
        return cls(calls=1, prompt=usage.prompt, completion=usage.completion, cached=usage.cached)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Items by what came of them."""

    passed: int = 0
    failed: int = 0
    errored: int = 0


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is.

    Args:
        loaded: items that are in the database; all of them once `is_loaded`.
        after: of what is stored, (created, id) of the last one that was loaded.
        criteria: of each grader, how many items passed and failed.
    """

    loaded: int = 0
    is_loaded: bool = False
    after: tuple[float, str] | None = None
    counts: Counts = Counts()
    spent: dict[str, Spent] = {}
    criteria: tuple[tuple[int, int], ...] = ()


def spec_of(job: Job) -> RunSpec:
    """What the run is asked to do."""
    return msgspec.convert(job.spec, RunSpec, strict=False)  # keys of objects are text in JSON


def state_of(job: Job) -> RunState:
    """How far it is."""
    return msgspec.convert(job.state, RunState)


def written(value: msgspec.Struct) -> dict[str, Any]:
    """As a job's row keeps it."""
    return msgspec.to_builtins(value, str_keys=True)
