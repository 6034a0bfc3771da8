"""What is told: OpenAI's events, and the body that tells one. Pure.

Bodies have ids only, as OpenAI's do: what an object is now, its owner asks with a key.
"""

import secrets
from typing import Literal, get_args

import msgspec

__all__ = ["EVENT_TYPES", "Event", "EventType", "body_of", "sample_of"]

EventType = Literal[
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "response.completed",
    "response.failed",
    "response.cancelled",
    "response.incomplete",
    "eval.run.succeeded",
    "eval.run.failed",
    "eval.run.canceled",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
"""What happens here and is announced. OpenAI has more (calls, videos, agents, safety), for what we do not have."""

_PREFIXES = {"batch": "batch_", "response": "resp_", "eval": "evalrun_", "fine_tuning": "ftjob-"}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened. `object` is the id of what it happened to; `created` is in Unix seconds."""

    id: str
    project: str
    type: str
    object: str
    created: float


def body_of(event: Event) -> bytes:
    """The body of every delivery of an event: always the same bytes."""
    return msgspec.json.encode(
        {
            "id": event.id, "object": "event", "created_at": int(event.created), "type": event.type,
            "data": {"id": event.object},
        }
    )  # fmt: skip


def sample_of(type: str, project: str, now_s: float) -> Event:  # noqa: A002 - the event's own word
    """An event that has not happened, to nothing that exists."""
    about = f"{_PREFIXES[type.partition('.')[0]]}test{secrets.token_hex(10)}"
    return Event(id=f"evt_test{secrets.token_hex(14)}", project=project, type=type, object=about, created=now_s)
