"""What ties a job's process to the database: it keeps the lease, tells what happened, and hears what is wanted.

    <folder>/told.jsonl     what happened, a line each: there before the call that tells it returns
    <folder>/tensorboard/   the metrics in TensorBoard's format

A thread with an event loop of its own moves the lines into the database, and notes in the same transaction how far it
got. So nothing that was told is lost when the process is killed, nothing is doubled, and training never waits for the
database.
"""

import asyncio
import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, Unavailable
from mainspring.store.db import Database
from mainspring.store.jobs import Job, Told, change_job, find_job, tell
from mainspring.store.leases import Lease, LeaseLost, Leases
from mainspring.train.ended import announce_end
from mainspring.train.plan import Progress, Wanted
from mainspring.train.results import TensorBoard
from mainspring.train.states import ENDS

__all__ = ["BEAT_S", "Journal", "Keeper"]

BEAT_S = 1.0
MAX_FLUSH_BYTES = 2**20
LOST = 4
"""Exit code of a process whose job somebody else has taken over."""

T = TypeVar("T")
_log = log.get("mainspring.train")


class _Head(msgspec.Struct, frozen=True):
    """The first line of a journal."""

    journal: str


class Journal:
    """Lines that were told, in a file. What is written is in the operating system's hands when `append` returns.

    `id` tells it apart from the one that another machine has of the same job: offsets belong to one file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file = path.open("a+b", buffering=0)
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        try:
            self.id = msgspec.json.decode(lines[0], type=_Head).journal
        except (IndexError, msgspec.DecodeError):  # new, or killed before it had a first line
            self.id = secrets.token_hex(8)
            self._file.truncate(0)
            self._file.write(msgspec.json.encode(_Head(self.id)) + b"\n")
        else:
            if not lines[-1].endswith(b"\n"):  # half a line
                self._file.write(b"\n")

    def append(self, told: Told) -> None:
        """Write a line. Raises OSError."""
        with self._lock:
            self._file.write(msgspec.json.encode(told) + b"\n")

    def read(self, offset: int) -> tuple[list[Told], int]:
        """The whole lines from an offset on, not too many at a time, and the offset behind them."""
        with self._path.open("rb") as file:
            file.seek(offset)
            data = file.read(MAX_FLUSH_BYTES)
        data = data[: data.rfind(b"\n") + 1]
        found: list[Told] = []
        for line in data.splitlines():
            try:
                found.append(msgspec.json.decode(line, type=Told))
            except msgspec.DecodeError:
                continue  # the first line; or one that was cut off by a kill, and so was never told
        return found, offset + len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Keeper:
    """Keeps one job for the process that works on it. Methods without `async` are for the main thread."""

    database: Database
    leases: Leases
    _beats: asyncio.Task[None]

    def __init__(self, open_database: Callable[[], Coroutine[Any, Any, Database]], clock: Clock, lease: Lease,
                 folder: Path, *, lease_s: float) -> None:  # fmt: skip
        self._open, self.clock, self.lease, self._lease_s = open_database, clock, lease, lease_s
        self.journal = Journal(folder / "told.jsonl")
        self._board = TensorBoard(folder / "tensorboard")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._changing = asyncio.Lock()
        self._wanted: Wanted = "run"
        self._stopping = self._given_back = self._is_lost = False
        self._progress: Progress | None = None
        self._heard_s = self._beaten_s = time.monotonic()

    def start(self) -> Job:
        """Open the database, tell that the process lives; the job. Raises LeaseLost, and what opening raises."""
        self._thread.start()

        async def begin() -> Job:
            self.database = await self._open()
            self.leases = Leases(self.database, self.clock, self._lease_s)
            await self.leases.heartbeat(self.lease)
            async with self.database.read() as connection:
                job = await find_job(connection, self.lease.job)
            assert job is not None, "whoever holds a lease has a job"
            self._note(job)
            await self.flush()  # what a process that was killed could not tell any more
            self._beats = self._loop.create_task(self._beat())
            return job

        return self.call(begin())

    def stop(self) -> None:
        """End the thread. Nothing is told any more."""

        async def end() -> None:
            self._beats.cancel()
            await self.database.close()

        self.call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.journal.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def insist(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The same, again and again while the database does not answer. Raises Unavailable if that takes longer than
        the lease."""
        while True:
            try:
                return self.call(work())
            except Unavailable:
                if self._is_lost:
                    raise
                time.sleep(BEAT_S)

    # -- what is told, and what is wanted ------------------------------------------------------------------------------

    @property
    def wanted(self) -> Wanted:
        """What is asked of the job. It is to make way if its server stops, or if the lease cannot be kept."""
        if self._wanted == "run" and (self._stopping or self._is_lost):
            return "yield"
        return self._wanted

    def ask_to_stop(self) -> None:
        """The server goes: write a checkpoint and end. May be called by a signal's handler or another thread."""
        self._stopping = True

    def tell(self, told: Told) -> None:
        """Something happened. Returns at once, and it is not forgotten."""
        self.journal.append(msgspec.structs.replace(told, created=told.created or self.clock.now()))

    def progress(self, progress: Progress) -> None:
        """How far it is; only the newest counts."""
        self._progress = progress

    # -- the thread ----------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.flush(only_if_needed=True)
                self._heard_s = time.monotonic()
            except LeaseLost:
                if not self._given_back:
                    os._exit(LOST)  # another process may be writing in the folder: not another byte
                return
            except MainspringError as error:
                _log.warning("the database was not told", job=self.lease.job, error=error.message)
                self._is_lost = time.monotonic() - self._heard_s > self._lease_s
            except Exception:  # noqa: BLE001 - the heart must go on beating
                _log.exception("a beat failed", job=self.lease.job)

    async def flush(self, *, only_if_needed: bool = False) -> None:
        """Move what was told into the database, and hear what is wanted.

        Raises:
            LeaseLost: somebody else has the job.
            Unavailable: the database does not answer.
        """
        if self._given_back:
            return
        async with self.database.read() as connection:
            job = await find_job(connection, self.lease.job)
        assert job is not None, "jobs are not deleted while they are held"
        told, _ = self.journal.read(self._told(job.state))
        late = time.monotonic() - self._beaten_s > self._lease_s / 4
        if only_if_needed and not told and self._progress is None and not late:
            self._note(job)
            return
        async with self.writing() as (_, job):
            self._note(job)

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[tuple[AsyncConnection, Job]]:
        """A transaction that holds the lease, in which everything is written that was told so far, and a sign of life;
        the job as it is then.

        Raises:
            LeaseLost: somebody else has the job.
            Unavailable: the database does not answer.
        """
        async with self._changing:
            progress = self._progress
            async with self.leases.holding(self.lease) as (connection, before):
                job, new = await self._write_told(connection, before, progress)
                yield connection, job
            self._beaten_s = time.monotonic()
            if self._progress is progress:
                self._progress = None
        await asyncio.to_thread(self._draw, new)

    def _told(self, state: dict[str, Any]) -> int:
        """How far the journal is in the database. What another one had to tell is told again, and is there once."""
        return state["told"] if state.get("journal") == self.journal.id else 0

    async def _write_told(
        self, connection: AsyncConnection, job: Job, progress: Progress | None
    ) -> tuple[Job, list[Told]]:
        if job.status in ENDS:
            return job, []
        state, new, step = dict(job.state), list[Told](), 0
        while True:
            told, offset = self.journal.read(self._told(state))
            if not told:
                break
            new += await tell(connection, job.id, told, self.clock.now())
            state |= {"journal": self.journal.id, "told": offset}
            for each in told:
                state["chosen"] = {**state.get("chosen", {}), **each.data.get("hyperparameters", {})}
                step = max(step, each.data.get("step", 0))
        fields: dict[str, Any] = {"until": self.clock.now() + self._lease_s}
        if max(step, progress.step if progress else 0) > state.get("step", 0):
            fields["attempts"] = 0  # it gets on
            state["step"] = step
        if progress is not None:
            state |= {
                "step": progress.step, "steps": progress.steps, "tokens": progress.tokens,
                "tokens_per_s": progress.tokens_per_s, "finish_at": self.clock.now() + progress.left_s,
            }  # fmt: skip
        if job.status == "queued" and job.wanted == "run" and self.wanted == "run":
            fields["status"] = "running"  # it was paused and resumed before this process noticed
        return await change_job(connection, job, state=state, **fields), new

    async def give_back(
        self, *, in_order: bool = True, not_before: float = 0.0, told: tuple[Told, ...] = (), **fields: Any
    ) -> None:
        """The last thing that the process says: what is still to be told, `told` after it, and `fields` of the job.

        Those that follow from the work done are dropped if the owner has cancelled or paused the job meanwhile."""
        async with self.writing() as (connection, job):
            if job.status in ENDS or (job.status == "paused" and fields.get("status") != "failed"):
                fields, told = {}, ()
            await tell(connection, job.id, told, self.clock.now())
            attempts = {"attempts": 0} if in_order else {}
            state = {**job.state, **fields.pop("state", {})}
            given = await change_job(
                connection, job, **{"until": 0.0, "not_before": not_before, "state": state, **attempts, **fields}
            )
            if "status" in fields and given.status in ENDS:
                await announce_end(connection, given, self.clock.now())
            self._given_back = True

    def _note(self, job: Job) -> None:
        if job.status in ENDS:
            self._wanted = "cancel"
        elif job.wanted in ("pause", "cancel", "yield"):
            self._wanted = job.wanted  # type: ignore[assignment]
        else:
            self._wanted = "run"

    def _draw(self, new: list[Told]) -> None:
        try:
            for each in new:
                if each.type == "metrics":
                    values = {name: value for name, value in each.data.items() if name not in ("step", "total_steps")}
                    self._board.write(each.data["step"], values.items())
        except OSError as error:
            _log.warning("TensorBoard's file was not written", job=self.lease.job, error=str(error))
