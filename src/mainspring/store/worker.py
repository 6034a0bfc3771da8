"""Work that a server does itself, beside its requests: a coroutine for each job whose turn it is.

For jobs that mostly wait (batches, indexing, evaluations, answers in the background); what computes has a process of
its own (`train/runner.py`). Any server on the database may take a job up, one at a time has it, and whoever takes it up
again goes on from what was written down: `Held.writing` is the only way to write of a job.

    worker = Worker(database, clock, "batch", ("validating", "in_progress"), work)
    await worker.run()    # for as long as the server runs
    await worker.stop()   # jobs are given back, and go on elsewhere or later

    async def work(held: Held) -> None:
        ...                                              # load, process
        async with held.writing() as (connection, job):  # apply
            await change_job(connection, job, ...)

A job is over when its row has a time in `finished`; one that `work` leaves without is taken up again later, or at once
if `Held.returned` is set.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, Unavailable
from mainspring.store.db import Database
from mainspring.store.jobs import Job, change_job, find_job
from mainspring.store.leases import LEASE_S, Choose, Lease, LeaseLost, Leases, first, give_back

__all__ = ["Held", "Worker"]

LOOK_S = 1.0
MAX_ATTEMPTS = 5
"""In a row without getting on; see `Held.writing`."""
BACKOFF_S = 2.0
STOP_S = 10.0
_log = log.get("mainspring.store")


class Held:
    """A job that is being worked on.

    Attributes:
        job: as it was when it was claimed, or last written.
        wanted: what its owner wants of it now, as of the last heartbeat or writing: "run", or "cancel".
    """

    def __init__(self, leases: Leases, job: Job, lease: Lease) -> None:
        self.job, self.lease, self._leases = job, lease, leases
        self.poked = asyncio.Event()
        """Set when `wanted` has changed."""
        self.returned = False
        """Set by `work`: what it had to do is done, and the rest is for somebody else, at once."""
        self._wanted = job.wanted

    @property
    def wanted(self) -> str:
        """See the class."""
        return self._wanted

    def note(self, job: Job) -> None:
        """The row as it is now."""
        self.job = job
        if job.wanted != self._wanted:
            self._wanted = job.wanted
            self.poked.set()

    @asynccontextmanager
    async def writing(self, *, gets_on: bool = True) -> AsyncGenerator[tuple[AsyncConnection, Job]]:
        """A transaction, and the job as it is.

        Args:
            gets_on: what is written is progress: attempts are counted from here again.

        Raises:
            LeaseLost: somebody else has the job: nothing more is to be done.
        """
        async with self._leases.holding(self.lease) as (connection, found):
            job = await change_job(connection, found, attempts=1) if gets_on and found.attempts > 1 else found
            yield connection, job
            written = await find_job(connection, job.id)
        if written is not None:
            self.note(written)


Work = Callable[[Held], Awaitable[None]]


class Worker:
    """What takes up the jobs of one kind in one server.

    Args:
        statuses: of jobs that there is something to do for.
        work: does it. Whatever it raises but a cancellation is an attempt that failed: it is called again later, and
            after five attempts without progress `give_up` is.
        give_up: (held, why) writes that a job has failed.
        concurrent: jobs at once in this server.
        choose: whose turn it is among all servers; see `leases.Choose`.
        then: called when a job was given back.
    """

    def __init__(
        self, database: Database, clock: Clock, kind: str, statuses: Iterable[str], work: Work, *,
        give_up: Callable[[Held, str], Awaitable[None]], concurrent: int = 2, choose: Choose = first,
        lease_s: float = LEASE_S, then: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._clock, self._kind, self._statuses, self._work = clock, kind, tuple(statuses), work
        self._give_up, self._concurrent, self._choose, self._then = give_up, concurrent, choose, then
        self._leases = Leases(database, clock, lease_s)
        self._owner = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._running: dict[asyncio.Task[None], Held] = {}
        self._poked = asyncio.Event()
        self._is_stopping = False

    def poke(self) -> None:
        """Look now: something has changed."""
        self._poked.set()

    async def run(self) -> None:
        """Look for work for as long as the server runs."""
        while not self._is_stopping:
            self._poked.clear()
            try:
                while await self._start_one():
                    pass
            except MainspringError as error:
                _log.warning("jobs were not looked for", kind=self._kind, error=error.message)
            except Exception:  # noqa: BLE001 - one bad row must not end all work
                _log.exception("looking for jobs failed", kind=self._kind)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), LOOK_S)

    async def stop(self) -> None:
        """Break off, and give every job back."""
        self._is_stopping = True
        self.poke()
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running), timeout=STOP_S)

    async def _start_one(self) -> bool:
        if self._is_stopping or len(self._running) >= self._concurrent:
            return False
        claimed = await self._leases.claim(self._kind, self._statuses, self._owner, self._choose)
        if claimed is None:
            return False
        held = Held(self._leases, *claimed)
        task = asyncio.create_task(self._hold(held))
        self._running[task] = held
        task.add_done_callback(self._over)
        return True

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._poked.set()
        self._then()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a job was not given back", kind=self._kind, error=str(error))

    async def _hold(self, held: Held) -> None:
        """Work under the lease: whichever ends first, work or lease, ends the other."""
        over = asyncio.Event()
        beats = asyncio.create_task(self._beat(held, over))
        work = asyncio.create_task(self._attempt(held))
        try:
            await asyncio.wait((beats, work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.set()  # who is cancelled while the database answers breaks a connection
            work.cancel()
            _, result = await asyncio.gather(beats, work, return_exceptions=True)
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError | LeaseLost):
            raise result

    async def _beat(self, held: Held, over: asyncio.Event) -> None:
        """Tell that we live, and see what is wanted; returns when the lease is lost, or it is over."""
        every_s = self._leases.seconds / 4
        left_s = every_s
        look_s = min(every_s, LOOK_S)
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), look_s)
                return
            left_s -= look_s
            try:
                if left_s <= 0:
                    await self._leases.heartbeat(held.lease)
                    left_s = every_s
                held.note(await self._leases.current(held.lease))
            except LeaseLost:
                return
            except MainspringError as error:  # the lease lasts a while longer
                _log.warning("no heartbeat", kind=self._kind, job=held.job.id, error=error.message)

    async def _attempt(self, held: Held) -> None:
        """One attempt, and the job given back whatever becomes of it."""
        try:
            await self._back(held, in_order=await self._try(held))
        except LeaseLost:
            return
        except asyncio.CancelledError:  # the server stops, or the lease is lost
            with contextlib.suppress(LeaseLost, Unavailable):
                await self._leases.release(held.lease)
            raise

    async def _try(self, held: Held) -> bool:
        """Whether it ended as it should."""
        try:
            if held.job.attempts > MAX_ATTEMPTS:
                await self._give_up(held, f"It broke off {MAX_ATTEMPTS} times in a row: the server's log says why.")
            else:
                await self._work(held)
        except LeaseLost:
            raise
        except Exception:  # noqa: BLE001 - the next attempt may do better
            _log.exception("a job broke off", kind=self._kind, job=held.job.id)
            return False
        return True

    async def _back(self, held: Held, *, in_order: bool) -> None:
        async with self._leases.holding(held.lease) as (connection, job):
            done = in_order and (job.finished is not None or held.returned)
            later_s = 0.0 if done else self._clock.now() + BACKOFF_S * 2 ** min(job.attempts, 6)
            await give_back(connection, job, in_order=done, not_before=later_s)
