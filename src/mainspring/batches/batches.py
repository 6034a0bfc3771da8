"""Batches as their owners see them: made, looked at, cancelled. Nothing here makes requests."""

import secrets
from collections.abc import Callable

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.batches.check import MAX_BYTES, path_of
from mainspring.batches.spec import ACTIVE, BATCH, ENDPOINTS, KIND, Dialect, Spec, State, holder, state_of
from mainspring.core.clock import Clock
from mainspring.core.config_batches import BatchSettings
from mainspring.core.errors import Conflict, InvalidRequest, NotFound, RateLimited
from mainspring.core.seams import Call
from mainspring.core.types import Principal
from mainspring.store import jobs as rows
from mainspring.store.db import Database
from mainspring.store.files import File, Files, hold, let_go
from mainspring.store.jobs import Job
from mainspring.store.outbox import announce

__all__ = ["Batches", "Wish"]

WINDOW = "24h"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; see `Spec`."""

    input_file_id: str
    endpoint: str
    completion_window: str
    deployment: str = ""
    metadata: dict[str, str] | None = None
    output_expires_s: int | None = None


class Batches:
    """The batches of one installation.

    Args:
        call: says which endpoints there are.
        changed: called after each change here.
    """

    def __init__(
        self, database: Database, clock: Clock, files: Files, call: Call, settings: BatchSettings, *,
        changed: Callable[[Job], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._files, self._call = database, clock, files, call
        self._settings, self._changed = settings, changed

    async def create(self, wish: Wish, *, project: str, principal: Principal, dialect: Dialect) -> Job:
        """Make a batch.

        Args:
            principal: whom its requests are made as.

        Raises:
            InvalidRequest: there is no such endpoint, window or file, or the file is for something else or too large.
            RateLimited: the project has as many batches as it may.
        """
        path = self._path(wish.endpoint)
        if wish.completion_window != WINDOW:
            raise InvalidRequest(
                f"Invalid 'completion_window': only {WINDOW!r} is supported.", param="completion_window"
            )
        file = await self._file(project, wish.input_file_id)
        now_s = self._clock.now()
        spec = Spec(
            endpoint=wish.endpoint, path=path, file=file, window=wish.completion_window, dialect=dialect,
            principal=principal, deployment=wish.deployment, metadata=wish.metadata,
            output_expires_s=wish.output_expires_s,
        )  # fmt: skip
        state = State(expires=now_s + self._settings.window_s, times={"validating": now_s})
        job = Job(
            id=f"batch_{secrets.token_hex(16)}", kind=KIND, project=project, creator=principal.id[:128], priority=0,
            status="validating", wanted="run", spec=msgspec.to_builtins(spec), state=msgspec.to_builtins(state),
            error=None, created=now_s,
        )  # fmt: skip
        async with self._database.write() as connection:
            await self._check_quota(connection, project)
            try:
                await hold(connection, file, holder(job.id))
            except NotFound:
                raise _no_file(file.id) from None
            await rows.add_job(connection, job)
        self._changed(job)
        return job

    def _path(self, endpoint: str) -> str:
        path = path_of(endpoint)
        if f"/v1{path}" not in ENDPOINTS:
            known = ", ".join(ENDPOINTS)
            raise InvalidRequest(
                f"Invalid 'endpoint': {endpoint[:100]!r} is not supported. Supported values are: {known}.",
                param="endpoint",
            )
        if not self._call.serves(f"/v1{path}"):
            raise InvalidRequest(
                f"Invalid 'endpoint': this server does not serve /v1{path}.", code="unsupported_value", param="endpoint"
            )
        return path

    async def _file(self, project: str, id: str) -> File:  # noqa: A002 - what the API calls it
        try:
            file = await self._files.get(project, id)
        except NotFound:
            raise _no_file(id) from None
        if file.purpose != BATCH:
            raise InvalidRequest(
                f"The file {id} was uploaded for {file.purpose!r}: upload it with the purpose {BATCH!r}.",
                code="invalid_file_purpose", param="input_file_id",
            )  # fmt: skip
        if file.bytes > MAX_BYTES:
            raise InvalidRequest(
                f"The file {id} has {file.bytes:,} bytes; the input of a batch has at most {MAX_BYTES:,}. Make several "
                "of it.",
                code="file_too_large", param="input_file_id",
            )  # fmt: skip
        return file

    async def _check_quota(self, connection: AsyncConnection, project: str) -> None:
        most = self._settings.per_project
        active = await rows.count_jobs(connection, kind=KIND, project=project, statuses=ACTIVE) if most else 0
        if most and active >= most:
            raise RateLimited(
                f"The project {project!r} has {active} batches that wait or run, the most that it may have: wait for "
                "one to end, or cancel one.",
                code="active_batch_limit_exceeded", retry_after_s=60.0,
            )  # fmt: skip

    async def get(self, project: str, id: str) -> Job:  # noqa: A002 - what the API calls it
        """A batch of a project.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            return await _batch_in(connection, project, id)

    async def list(self, project: str, *, after: str | None = None, limit: int = 20) -> tuple[list[Job], bool]:
        """Batches of a project, newest first, and whether there are more.

        Args:
            after: the id of the last batch of the page before.

        Raises:
            InvalidRequest: `after` is no batch of the project.
        """
        async with self._database.read() as connection:
            start = await rows.find_job(connection, after) if after is not None else None
            if after is not None and (start is None or (start.project, start.kind) != (project, KIND)):
                raise InvalidRequest(f"'after' is no batch: {after[:100]!r}.", param="after")
            found = await rows.list_jobs(connection, kind=KIND, project=project, after=start, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def cancel(self, project: str, id: str) -> Job:  # noqa: A002 - what the API calls it
        """End a batch early: what is done is in its output file. One that is cancelled stays as it is.

        Raises:
            NotFound: there is none of that id.
            Conflict: it has ended, or is about to.
        """
        async with self._database.write() as connection:
            job = await _batch_in(connection, project, id)
            if job.status in ("cancelling", "cancelled"):
                return job
            if job.status not in ("validating", "in_progress"):
                raise Conflict(f"Cannot cancel a batch with status '{job.status}'.")
            now_s = self._clock.now()
            state = state_of(job).at("cancelling", now_s)
            job = await rows.change_job(
                connection, job, status="cancelling", wanted="cancel", not_before=0.0, attempts=0,
                state=msgspec.to_builtins(state),
            )  # fmt: skip
            if not state.total and job.until <= now_s:  # nobody has begun
                job = await self._cancelled(connection, job, state, now_s)
        self._changed(job)
        return job

    @staticmethod
    async def _cancelled(connection: AsyncConnection, job: Job, state: State, now_s: float) -> Job:
        await let_go(connection, holder(job.id))
        await announce(connection, project=job.project, type="batch.cancelled", object=job.id, now_s=now_s)
        state = state.at("cancelled", now_s)
        return await rows.change_job(
            connection, job, status="cancelled", finished=now_s, state=msgspec.to_builtins(state)
        )


async def _batch_in(connection: AsyncConnection, project: str, id: str) -> Job:  # noqa: A002 - what the API calls it
    job = await rows.find_job(connection, id)
    if job is None or job.project != project or job.kind != KIND:
        raise NotFound(f"No batch found with id '{id[:100]}'.", param="batch_id")
    return job


def _no_file(id: str) -> InvalidRequest:  # noqa: A002 - what the API calls it
    return InvalidRequest(f"No such file: {id[:100]!r}.", code="invalid_input_file", param="input_file_id")
