"""What a server does about batches: one step of a batch after the other, each written down before the next.

    validating -> in_progress -> finalizing -> completed | expired
    validating -> failed;  validating | in_progress -> cancelling -> cancelled

Steps that take seconds (checking a file, making files, ending early) have a worker of their own, so that they wait for
no batch that takes hours.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from mainspring.batches import output
from mainspring.batches.check import Check
from mainspring.batches.run import Run, writing_state
from mainspring.batches.spec import ACTIVE, KIND, Fault, Outcome, holder, spec_of, state_of
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config_batches import BatchSettings
from mainspring.core.errors import MainspringError, NotFound, OperationNotSupported, StorageFull, Unavailable
from mainspring.core.seams import Call, Deployments
from mainspring.store import batches as rows
from mainspring.store.db import Database
from mainspring.store.files import Files, let_go
from mainspring.store.jobs import Job, change_job, find_job, list_jobs
from mainspring.store.leases import Choose, LeaseLost
from mainspring.store.outbox import announce
from mainspring.store.worker import Held, Worker

__all__ = ["Runner"]

BRIEF = 4
"""Short steps at once."""
ROWS_TOGETHER = 2000
SWEEP_S = 60.0
PAUSE_S = 5.0
"""Before files are made again that could not be made for want of room."""
REVOKED = Fault(code="invalid_api_key", message="The key that made this batch does not work any more.")
_log = log.get("mainspring.batches")


class Runner:
    """The workers of one server.

    Args:
        enqueued: (project, deployment) -> tokens that its batches may have in them together; None is no limit.
        stands: (key) -> whether work may go on for whoever has it.
    """

    def __init__(
        self, database: Database, clock: Clock, files: Files, *, call: Call, deployments: Deployments,
        settings: BatchSettings, enqueued: Callable[[str, str], int | None],
        stands: Callable[[str], Awaitable[bool]],
    ) -> None:  # fmt: skip
        self._database, self._clock, self._files, self._call = database, clock, files, call
        self._deployments, self._settings, self._enqueued, self._stands = deployments, settings, enqueued, stands
        self._held: dict[str, tuple[Held, asyncio.Event]] = {}  # what is worked on, and when it is not any more
        self._stopping, self._ended = asyncio.Event(), asyncio.Event()
        self._ended.set()
        self._long = self._worker(("in_progress",), self._pick_long, settings.concurrent)
        self._brief = self._worker(ACTIVE, self._pick_brief, BRIEF if settings.concurrent else 0, self._long.poke)

    def _worker(
        self, statuses: Sequence[str], choose: Choose, concurrent: int, then: Callable[[], None] = lambda: None
    ) -> Worker:
        return Worker(
            self._database, self._clock, KIND, statuses, self._work, give_up=self._give_up, concurrent=concurrent,
            choose=choose, lease_s=self._settings.lease_s, then=then,
        )  # fmt: skip

    async def run(self) -> None:
        """Work for as long as the server runs."""
        self._ended.clear()
        try:
            async with asyncio.TaskGroup() as group:
                for work in (self._long.run(), self._brief.run(), self._keep_swept()):
                    group.create_task(work)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Give every batch back; the database may be closed afterwards."""
        self._stopping.set()
        await asyncio.gather(self._long.stop(), self._brief.stop())
        await self._ended.wait()

    def changed(self, job: Job) -> None:
        """A batch was made or cancelled here: act on it at once."""
        if (found := self._held.get(job.id)) is not None:
            found[0].note(job)
        self._brief.poke()

    # -- whose turn it is ----------------------------------------------------------------------------------------------

    def _is_over(self, job: Job) -> bool:
        return job.status == "in_progress" and state_of(job).expires <= self._clock.now()

    def _pick_brief(self, waiting: Sequence[Job], held: Sequence[Job]) -> str | None:  # noqa: ARG002 - a `Choose`
        """What takes seconds."""
        return next((job.id for job in waiting if job.status != "in_progress" or self._is_over(job)), None)

    def _pick_long(self, waiting: Sequence[Job], held: Sequence[Job]) -> str | None:
        """The oldest of a project that has the fewest worked on."""
        busy = Counter(job.project for job in held)
        able = [job for job in waiting if job.status == "in_progress" and not self._is_over(job)]
        return min(able, key=lambda job: (busy[job.project], job.created, job.id)).id if able else None

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def _work(self, held: Held) -> None:
        name = held.job.id
        # A lease may be lost, and won again by this server, while what was begun under the first one is being broken
        # off: nothing of a batch may be under way twice here, since its requests have their ids.
        while (before := self._held.get(name)) is not None:
            await before[1].wait()
        over = asyncio.Event()
        self._held[name] = held, over
        try:
            await self._steps(held)
        finally:
            del self._held[name]
            over.set()

    async def _steps(self, held: Held) -> None:
        status = held.job.status
        if status == "validating":
            await self._validate(held)
        elif status == "in_progress":
            await self._run(held)
        if status == "validating" and held.job.status == "in_progress":
            held.returned = True
        elif held.job.finished is None and held.job.status in ("finalizing", "cancelling"):
            await self._finish(held)

    async def _validate(self, held: Held) -> None:
        """Check the file, and keep a row for each request."""
        job, spec = held.job, spec_of(held.job)
        find = partial(self._check_model, job.project, spec.path)
        check = Check(path=spec.path, model=spec.deployment, find=find, finer=spec.dialect == "openai")
        try:
            async with contextlib.aclosing(self._files.open(spec.file)) as pieces:
                async for piece in pieces:
                    check.feed(piece)
                    if check.is_over or held.wanted == "cancel":
                        break
            check.end()
        except NotFound:
            check.faults = [Fault(code="invalid_input_file", message="The content of the input file is not there.")]
        if held.wanted == "cancel":
            return
        if check.faults:
            await self._end(held, "failed", faults=check.faults)
            return
        await rows.forget(self._database, job.id)  # of an earlier attempt
        placed = [each.placed for each in sorted(check.inputs, key=lambda each: (each.key, each.placed.line))]
        for start in range(0, len(placed), ROWS_TOGETHER):
            async with writing_state(held) as (connection, job, _):
                await rows.add(connection, job.id, start, placed[start : start + ROWS_TOGETHER])
        await self._begin(held, check)

    def _check_model(self, project: str, path: str, name: str) -> None:
        """Raises what every request would be refused with."""
        found = self._deployments.find(name, project)
        if (found.kind == "embedding") != (path == "/embeddings"):
            does = "makes embeddings" if found.kind == "embedding" else "generates text"
            raise OperationNotSupported(f"The model {name!r} {does}: it does not work with /v1{path}.", param="model")

    async def _begin(self, held: Held, check: Check) -> None:
        """From now on its requests are made; unless they are too many for its deployment."""
        assert check.model is not None
        async with writing_state(held) as (connection, job, state):
            if job.status != "validating":  # it was cancelled
                return
            most = self._enqueued(job.project, check.model)
            states = [state_of(each) for each in await list_jobs(
                connection, kind=KIND, project=job.project, statuses=("in_progress", "finalizing")
            )]  # fmt: skip
            used = sum(each.enqueued for each in states if each.model == check.model)
            if most is None or used + check.num_tokens <= most:
                now_s = self._clock.now()
                begun = state.at(
                    "in_progress", now_s, model=check.model, total=len(check.inputs), enqueued=check.num_tokens
                )
                await change_job(connection, job, status="in_progress", started=now_s, state=msgspec.to_builtins(begun))
                return
        message = (
            f"Enqueued token limit reached for {check.model!r}: its batches may have {most:,} tokens together, those "
            f"that are open have {used:,}, and this one has {check.num_tokens:,}. Wait until some have ended, or have "
            "the deployment's capacity raised."
        )
        await self._end(held, "failed", faults=[Fault(code="token_limit_exceeded", message=message)])

    async def _run(self, held: Held) -> None:
        """Make the requests that have no result."""
        job, spec = held.job, spec_of(held.job)
        async with self._database.read() as connection:
            todo = await rows.pending(connection, job.id)
        if todo and not self._is_over(job):
            run = Run(
                held, spec, todo, call=self._call, files=self._files, clock=self._clock,
                stands=lambda: self._stands(job.creator), in_flight=self._in_flight(job),
            )  # fmt: skip
            await run()
        stands = await self._stands(job.creator)
        async with writing_state(held) as (connection, job, state):
            now_s = self._clock.now()
            if job.status != "in_progress":
                return
            if not await rows.has_pending(connection, job.id):
                status, ending = "finalizing", state.at("finalizing", now_s, outcome="completed")
            elif state.expires <= now_s:
                status, ending = "finalizing", state.at("finalizing", now_s, outcome="expired")
            elif not stands:
                status, ending = "cancelling", state.at("cancelling", now_s, faults=(REVOKED,))
            else:
                return
            await change_job(connection, job, status=status, state=msgspec.to_builtins(ending))

    def _in_flight(self, job: Job) -> int:
        """Enough to fill the engine, and no more than a quarter of its places: others shall find one."""
        try:
            places = self._deployments.places(state_of(job).model or "", job.project)
        except MainspringError:  # it has gone: each request is told so
            places = 0
        return max(1, min(self._settings.in_flight, places // 4))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _finish(self, held: Held) -> None:
        """Make the files, and end the batch."""
        state = state_of(held.job)
        outcome: Outcome = "cancelled" if held.job.status == "cancelling" else state.outcome or "completed"
        if not state.total:  # it was cancelled before it was checked
            await self._end(held, outcome)
            return
        while True:
            try:
                made = await output.make(self._database, self._files, held.job, outcome)
                break
            except (StorageFull, Unavailable) as error:
                _log.warning("files of a batch wait to be made", batch=held.job.id, error=error.message)
                await asyncio.sleep(PAUSE_S)
        await self._end(held, outcome, made)

    async def _end(
        self, held: Held, outcome: Outcome, made: output.Made | None = None, *, faults: Sequence[Fault] = ()
    ) -> None:
        try:
            async with writing_state(held) as (connection, job, state):
                now_s = self._clock.now()
                outcome = "cancelled" if job.status == "cancelling" else outcome
                ended = state.at(outcome, now_s, faults=tuple(faults) or state.faults)
                if made is not None:
                    ended = msgspec.structs.replace(ended, **made._asdict())
                await change_job(connection, job, status=outcome, finished=now_s, state=msgspec.to_builtins(ended))
                await let_go(connection, holder(job.id))
                await announce(connection, project=job.project, type=f"batch.{outcome}", object=job.id, now_s=now_s)
        except LeaseLost:
            if held.job.finished is not None:  # its project was deleted: nobody may find the files
                await output.remove(self._files, held.job)
            raise
        await rows.forget(self._database, held.job.id)

    async def _give_up(self, held: Held, why: str) -> None:
        """What has come so far is kept, if that can be done."""
        made = None
        if state_of(held.job).total:
            try:
                made = await output.make(self._database, self._files, held.job, "failed")
            except Exception:  # noqa: BLE001 - it has failed already
                _log.exception("a failed batch has no files", batch=held.job.id)
        await self._end(held, "failed", made, faults=[Fault(code="server_error", message=why)])

    async def _keep_swept(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.sweep()
            except MainspringError as error:
                _log.warning("batches were not swept", error=error.message)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), SWEEP_S)

    async def sweep(self) -> None:
        """Delete what is left of batches that have ended: those of projects that were deleted, and those of servers
        that were killed at the very end."""
        async with self._database.read() as connection:
            names = await rows.ended(connection)
        for name in names:
            async with self._database.write() as connection:
                await let_go(connection, holder(name))
                job = await find_job(connection, name)
            if job is not None and state_of(job).output_file is None and state_of(job).error_file is None:
                await output.remove(self._files, job)
            await rows.forget(self._database, name)
