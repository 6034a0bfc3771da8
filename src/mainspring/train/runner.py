"""Starts a process for each fine-tuning job whose turn it is, and another when one dies.

One runs in every server. They agree through the leases in the database alone: a job is claimed in the transaction that
counts how many are being worked on, so however many servers there are, no job has two processes and no limit is passed.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainspring.compute.launch import Launch, Process
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config import TrainingSettings
from mainspring.core.config_blobs import BlobSettings
from mainspring.core.errors import MainspringError
from mainspring.store.db import Database
from mainspring.store.jobs import Job, Told, change_job, tell
from mainspring.store.leases import Lease, LeaseLost, Leases, give_back
from mainspring.train.asking import Asking, Operator, Who
from mainspring.train.ended import announce_end
from mainspring.train.jobs import KIND
from mainspring.train.spec import First
from mainspring.train.states import (
    ENDS,
    MAX_ATTEMPTS,
    RUNNABLE,
    Limits,
    backoff_s,
    choose_to_run,
    choose_to_yield,
)

__all__ = ["Runner"]

LOOK_S = 1.0
KILLED_S = 5.0
"""For a killed process to be gone."""
_log = log.get("mainspring.train")


class Runner:
    """Starts the processes of one server.

    Args:
        home, url, blobs: where the processes find what they work on: the data directory, and the settings `database`
            and `blobs`.
        operator: who answers when their graders ask models; None if nobody does.
        trainer: see `spec.First`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        launch: Launch,
        settings: TrainingSettings,
        *,
        home: Path,
        url: str = "",
        trainer: str = "",
        operator: Operator | None = None,
        blobs: BlobSettings | None = None,
    ) -> None:
        self._database, self._clock, self._launch, self._settings = database, clock, launch, settings
        self._home, self._url, self._trainer, self._operator = home, url, trainer, operator
        self._blobs = blobs.model_dump() if blobs else {}
        self._leases = Leases(database, clock, settings.lease_s)
        self._limits = Limits(concurrent=settings.concurrent, per_project=settings.concurrent_per_project)
        self._owner = f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._running: dict[asyncio.Task[None], Process | None] = {}
        self._poked = asyncio.Event()
        self._is_stopping = False

    @property
    def processes(self) -> list[Process]:
        """What it has started and has not ended."""
        return [process for process in self._running.values() if process is not None]

    def poke(self) -> None:
        """Look now: something has changed."""
        self._poked.set()

    async def run(self) -> None:
        """Look for work for as long as the server runs."""
        while not self._is_stopping:
            self._poked.clear()
            try:
                await self.step()
            except MainspringError as error:
                _log.warning("jobs were not looked for", error=error.message)
            except Exception:  # noqa: BLE001 - one bad row must not end all training
                _log.exception("looking for jobs failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), LOOK_S)

    async def step(self) -> None:
        """Start what may start now, and ask what is less urgent to make way.

        Raises:
            Unavailable: the database does not answer.
        """
        while await self._start_one(("validating_files",)) or await self._start_one(RUNNABLE):
            pass
        waiting, held = await self._leases.look(KIND, RUNNABLE)
        if (yields := choose_to_yield(waiting, held, self._limits)) is not None:
            await self._ask_to_yield(yields)

    async def stop(self) -> None:
        """Let every process write a checkpoint and give its job back; do not wait for longer than the settings say."""
        self._is_stopping = True
        self.poke()
        for process in self.processes:
            process.terminate()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._settings.stop_s)
            for process in self.processes:
                process.kill()  # it goes on from its last checkpoint
            if late:
                await asyncio.wait(late, timeout=KILLED_S)
        for task in list(self._running):
            task.cancel()

    async def _start_one(self, statuses: Any) -> bool:
        """Claim a job and start its process; whether there was one."""
        validates = statuses is not RUNNABLE

        def choose(waiting: Any, held: Any) -> str | None:
            if validates:  # one at a time: it reads a file, and others wait for the disk too
                busy = any(job.status == "validating_files" for job in held)
                return None if busy or not waiting else waiting[0].id
            return choose_to_run(waiting, held, self._limits)

        def mark(job: Job) -> Mapping[str, Any]:
            started = self._clock.now() if job.started is None else job.started
            return {} if validates else {"status": "running", "started": started}

        claimed = None if self._is_stopping else await self._leases.claim(KIND, statuses, self._owner, choose, mark)
        if claimed is None:
            return False
        job, lease = claimed
        if job.attempts > MAX_ATTEMPTS:
            await self._give_up(lease)
            return True
        task = asyncio.create_task(self._work(job, lease))
        self._running[task] = None
        task.add_done_callback(lambda done: self._running.pop(done, None))
        return True

    async def _work(self, job: Job, lease: Lease) -> None:
        """One process, from its start to whatever end."""
        asks = None if self._operator is None else self._operator.admit(Who(job.creator, job.project))
        try:
            await self._run(job, lease, asks)
        finally:
            if self._operator is not None and asks is not None:
                self._operator.dismiss(asks)

    async def _run(self, job: Job, lease: Lease, asks: Asking | None) -> None:
        first = First(
            home=str(self._home), database=self._url, job=job.id, owner=lease.owner, number=lease.number,
            lease_s=self._settings.lease_s, checkpoint_s=self._settings.checkpoint_s, trainer=self._trainer,
            blobs=self._blobs, asks=asks,
        )  # fmt: skip
        task = asyncio.current_task()
        assert task is not None
        try:
            process = await self._launch(("mainspring.train.job",), msgspec.json.encode(first) + b"\n")
        except OSError as error:
            await self._broke_off(job, lease, f"it could not be started ({error.strerror})")
            return
        self._running[task] = process
        if self._is_stopping:
            process.terminate()
        _log.info("a fine-tuning job has a process", job=job.id, status=job.status, pid=process.pid)
        code = await process.wait()
        if code != 0:
            why = f"it was ended by signal {-code}" if code < 0 else f"its exit code was {code}"
            await self._broke_off(job, lease, why)
        self.poke()

    async def _broke_off(self, job: Job, lease: Lease, why: str) -> None:
        """The process is gone and the job was not given back: it may be taken up again after a while."""
        _log.warning("a fine-tuning job's process broke off", job=job.id, reason=why)
        now_s = self._clock.now()
        said = Told(message=f"The job's process broke off: {why}", level="warn", key=f"broke:{lease.number}")
        try:
            async with self._leases.holding(lease) as (connection, current):
                await give_back(connection, current, in_order=False, not_before=now_s + backoff_s(current.attempts))
                if current.finished is None:
                    await tell(connection, job.id, [said], now_s)
        except LeaseLost:
            return  # it gave the job back, or another server has it already
        except MainspringError as error:  # the lease ends by itself
            _log.warning("a job was not given back", job=job.id, error=error.message)

    async def _give_up(self, lease: Lease) -> None:
        message = (
            f"The training process broke off {MAX_ATTEMPTS} times in a row without getting on: the server's log says "
            "why. Memory is the usual reason: try a smaller batch size or shorter examples."
        )
        error, now_s = {"code": "server_error", "message": message, "param": None}, self._clock.now()
        with contextlib.suppress(LeaseLost):
            async with self._leases.holding(lease) as (connection, job):
                if job.status in ENDS:  # its owner has cancelled it meanwhile
                    await give_back(connection, job)
                    return
                over = await change_job(connection, job, status="failed", error=error, finished=now_s, until=0.0)
                said = Told(message=f"The job failed: {message}", level="error", key="failed")
                await tell(connection, job.id, [said], now_s)
                await announce_end(connection, over, now_s)

    async def _ask_to_yield(self, id: str) -> None:  # noqa: A002 - what the API calls it
        async with self._database.write() as connection:
            waiting, held = await self._leases.look_in(connection, KIND, RUNNABLE)
            if choose_to_yield(waiting, held, self._limits) != id:
                return  # something has changed meanwhile
            job = next(job for job in held if job.id == id)
            await change_job(connection, job, wanted="yield")
            said = Told(message="A more urgent job waits: this one makes way", key=f"asked:{job.lease}")
            await tell(connection, id, [said], self._clock.now())
