"""Leases: who works on which job, so that each is worked on by one process at a time, whatever dies.

A worker claims a job, tells every few seconds that it lives, and gives the job back. A lease of which nothing is heard
for `seconds` is over: the next claim takes the job. Each claim has a number higher than all before it, and whatever a
worker writes carries its number (`holding`), so one that was thought dead and wakes up later changes nothing any more.

Work goes: load, process, apply. No transaction is open while a job is worked on, only while it is read or written.

Times are compared with the clock of whoever asks, so the clocks of servers that share a database should agree within a
few seconds. Where they do not, a lease lasts shorter or longer; what the number protects stays protected.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.store.db import Database
from mainspring.store.jobs import Job, change_job, find_job, list_jobs
from mainspring.store.tables import jobs

__all__ = ["LEASE_S", "Choose", "Lease", "LeaseLost", "Leases", "first", "give_back"]

LEASE_S = 30.0


class Lease(msgspec.Struct, frozen=True):
    """A claim on a job: who has it, and its number."""

    job: str
    owner: str
    number: int


class LeaseLost(Exception):
    """Somebody else has taken the job over, or it was given back: this worker must touch nothing of it any more."""


Choose = Callable[[Sequence[Job], Sequence[Job]], str | None]
"""From the jobs that may be taken up (by priority, then oldest first) and those that somebody works on: the id of the
one to take, or None. Pure: it is called in the claim's transaction."""


def first(waiting: Sequence[Job], held: Sequence[Job]) -> str | None:  # noqa: ARG001 - see `Choose`
    """The most urgent, however many are being worked on."""
    return waiting[0].id if waiting else None


def _no_mark(_: Job) -> Mapping[str, Any]:
    return {}


class Leases:
    """The leases of one installation.

    Args:
        seconds: how long a lease lasts without a heartbeat.
    """

    def __init__(self, database: Database, clock: Clock, seconds: float = LEASE_S) -> None:
        self._database, self._clock, self.seconds = database, clock, seconds

    async def look(self, kind: str, statuses: Iterable[str]) -> tuple[list[Job], list[Job]]:
        """(waiting, held) as `Choose` is given them."""
        async with self._database.read() as connection:
            return await self.look_in(connection, kind, statuses)

    async def look_in(
        self, connection: AsyncConnection, kind: str, statuses: Iterable[str]
    ) -> tuple[list[Job], list[Job]]:
        """The same in a transaction that is open."""
        now_s, takes = self._clock.now(), frozenset(statuses)
        open_jobs = await list_jobs(connection, kind=kind, statuses=takes)
        # What was cancelled or paused holds its lease until the process has noticed.
        query = select(jobs.c.id).where(jobs.c.kind == kind, jobs.c.until > now_s).order_by(jobs.c.id)
        names = list((await connection.execute(query)).scalars())
        held = [job for name in names if (job := await find_job(connection, name)) is not None]
        free = [job for job in open_jobs if job.until <= now_s and job.not_before <= now_s]
        return sorted(free, key=lambda job: (-job.priority, job.created, job.id)), held

    async def claim(
        self, kind: str, statuses: Iterable[str], owner: str, choose: Choose = first,
        mark: Callable[[Job], Mapping[str, Any]] = _no_mark,
    ) -> tuple[Job, Lease] | None:  # fmt: skip
        """Take up a job in one of the statuses that nobody holds and whose time has come; None if there is none.

        Args:
            choose: which one.
            mark: what else changes of it with the claim.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._database.write() as connection:
            waiting, held = await self.look_in(connection, kind, statuses)
            chosen = choose(waiting, held)
            job = next((job for job in waiting if job.id == chosen), None)
            if job is None:
                return None
            job = await change_job(
                connection, job, owner=owner, lease=job.lease + 1, until=self._clock.now() + self.seconds,
                attempts=job.attempts + 1, wanted="run" if job.wanted == "yield" else job.wanted, **mark(job),
            )  # fmt: skip
            return job, Lease(job.id, owner, job.lease)

    async def heartbeat(self, lease: Lease) -> None:
        """Tell that the worker lives.

        Raises:
            LeaseLost: somebody else has the job.
        """
        c = jobs.c
        mine = update(jobs).where(c.id == lease.job, c.lease == lease.number, c.owner == lease.owner, c.until > 0)
        async with self._database.write() as connection:
            done = await connection.execute(mine.values(until=self._clock.now() + self.seconds))
            if not done.rowcount:
                raise LeaseLost(lease.job)

    async def current(self, lease: Lease) -> Job:
        """The job of a lease as it is now, to look at.

        Raises:
            LeaseLost: somebody else has the job, or it was given back.
        """
        async with self._database.read() as connection:
            return _held(await find_job(connection, lease.job), lease)

    @asynccontextmanager
    async def holding(self, lease: Lease) -> AsyncGenerator[tuple[AsyncConnection, Job]]:
        """A transaction of the worker that holds the lease, and the job as it is: the only way to write of a job.

        Raises:
            LeaseLost: somebody else has the job, or it was given back.
        """
        async with self._database.write() as connection:
            yield connection, _held(await find_job(connection, lease.job), lease)

    async def release(
        self, lease: Lease, *, in_order: bool = True, not_before: float = 0.0, status: str | None = None
    ) -> None:
        """Give a job back.

        Args:
            in_order: the worker ended as it should: the attempt does not count.
            not_before: when it may be taken up again.
            status: what it is in then; None leaves that as it is.

        Raises:
            LeaseLost: there is nothing to give back any more.
        """
        async with self.holding(lease) as (connection, job):
            await give_back(connection, job, in_order=in_order, not_before=not_before, status=status)


def _held(job: Job | None, lease: Lease) -> Job:
    if job is None or (job.owner, job.lease) != (lease.owner, lease.number) or not job.until:
        raise LeaseLost(lease.job)
    return job


async def give_back(
    connection: AsyncConnection, job: Job, *, in_order: bool = True, not_before: float = 0.0, status: str | None = None
) -> None:
    """`Leases.release` as a part of a transaction of `holding`."""
    await change_job(
        connection, job, until=0.0, not_before=not_before, status=status or job.status,
        attempts=0 if in_order else job.attempts,
    )  # fmt: skip
