"""What may become of a fine-tuning job, which one runs next, and which one makes way: pure tables and rules.

    validating_files -> queued -> running -> succeeded
                          ^  |      |  `---> failed        (so may every state before it)
                          |  v      v
                          paused <--'   `--> queued        (to let a more urgent job run; it goes on by itself)

Every state that is not an end may become cancelled.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.store.jobs import Job

__all__ = [
    "ACTIVE",
    "ENDS",
    "LEGAL",
    "MAX_ATTEMPTS",
    "RUNNABLE",
    "Limits",
    "Status",
    "backoff_s",
    "check_transition",
    "choose_to_run",
    "choose_to_yield",
]

Status = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]

LEGAL: Mapping[str, frozenset[str]] = {
    "validating_files": frozenset({"queued", "failed", "cancelled"}),
    "queued": frozenset({"running", "paused", "failed", "cancelled"}),
    "running": frozenset({"queued", "paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""Status -> what may follow it."""

ENDS = frozenset(status for status, following in LEGAL.items() if not following)
ACTIVE = frozenset({"validating_files", "queued", "running"})
"""What counts against a project's limit. A paused job waits for its owner and takes nothing from others."""
RUNNABLE = frozenset({"queued", "running"})
"""A job that is running and that nobody holds had its process die: it is taken up again."""

MAX_ATTEMPTS = 3
"""How often a job's process may die in a row without having got on."""

_VERBS = {"paused": "paused", "queued": "resumed", "cancelled": "cancelled"}


def check_transition(job: Job, to: Status) -> None:
    """Refuse what may not become of a job.

    Raises:
        InvalidRequest: it may not; the message says what state it is in.
    """
    if to in LEGAL[job.status] and not (to == "queued" and job.status != "paused"):
        return
    verb = _VERBS.get(to, to)
    if job.status in ENDS:
        why = f"it has already {job.status}" if job.status != "cancelled" else "it is cancelled already"
    elif to == "queued":
        why = f"it is {job.status.replace('_', ' ')}: only a paused job can be"
    else:
        why = f"it is {job.status.replace('_', ' ')}"
    raise InvalidRequest(f"The job {job.id} cannot be {verb}: {why}.", code="invalid_job_state")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs run at once, in all and of one project; 0 of a project is no limit of its own."""

    concurrent: int = 1
    per_project: int = 0


def choose_to_run(waiting: Sequence[Job], held: Sequence[Job], limits: Limits) -> str | None:
    """The job to start now. See `leases.Choose`."""
    busy = _computing(held)
    if len(busy) >= limits.concurrent:
        return None
    return next((job.id for job in waiting if not _is_full(job.project, busy, limits)), None)


def choose_to_yield(waiting: Sequence[Job], held: Sequence[Job], limits: Limits) -> str | None:
    """The running job that is to make way for one that waits and is more urgent; None if none is, or if some job ends
    soon anyway. Of several, the least urgent, and of these the one that was made last."""
    busy = _computing(held)
    if not waiting or any(job.wanted != "run" or job.status not in RUNNABLE for job in busy):
        return None
    urgent = waiting[0]
    if _is_full(urgent.project, busy, limits):
        busy = [job for job in busy if job.project == urgent.project]
    elif len(busy) < limits.concurrent:
        return None
    least = min(busy, key=lambda job: (job.priority, -job.created))
    return least.id if least.priority < urgent.priority else None


def _computing(held: Sequence[Job]) -> list[Job]:
    """Those that train. Looking at files costs little, and is done beside whatever runs."""
    return [job for job in held if job.started is not None]


def _is_full(project: str, busy: Sequence[Job], limits: Limits) -> bool:
    return 0 < limits.per_project <= sum(job.project == project for job in busy)


def backoff_s(attempts: int) -> float:
    """How long to wait after so many attempts in a row that failed."""
    return float(min(2 ** max(attempts, 0), 60))
