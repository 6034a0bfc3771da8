"""What is kept of long work: a row for each job, what happened to it, and the checkpoints that came out.

Functions take a connection: whoever changes several things does it in one transaction (`store/leases.py` says who may).
What is told twice, because a process died between doing a thing and noting that it was told, is kept once.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import RowMapping, Select, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest
from mainspring.store.tables import job_checkpoints, job_events, jobs

__all__ = [
    "Checkpoint",
    "Event",
    "Job",
    "Level",
    "Told",
    "add_checkpoint",
    "add_job",
    "cancel_all",
    "change_job",
    "checkpoint_named",
    "count_jobs",
    "find_job",
    "list_checkpoints",
    "list_events",
    "list_jobs",
    "metric_events",
    "tell",
]

Level = Literal["info", "warn", "error"]
Kind = Literal["message", "metrics"]
MAX_MESSAGE = 2000
PAGE = 200
"""Rows read at a time where most of them may not be wanted."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Times are Unix seconds.

    Args:
        spec: what it is asked to do; never changes.
        state: how far it is.
        error: with code, message and param, if it has failed.
        not_before: nobody takes it up earlier.
        attempts: how often it was taken up since it last got on, or was given back in order.
        owner, lease, until: of its lease, see `leases.py`.
    """

    id: str
    kind: str
    project: str
    creator: str
    priority: int
    status: str
    wanted: str
    spec: dict[str, Any]
    state: dict[str, Any]
    error: dict[str, Any] | None
    created: float
    started: float | None = None
    finished: float | None = None
    not_before: float = 0.0
    attempts: int = 0
    owner: str = ""
    lease: int = 0
    until: float = 0.0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. With a `key`, telling it again is telling it once: a message stays what it was, of
    metrics the newer values are added."""

    message: str
    level: Level = "info"
    type: Kind = "message"
    data: dict[str, Any] = {}
    key: str | None = None
    created: float = 0.0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What was told, in its place among a job's events."""

    job: str
    seq: int
    created: float
    level: Level
    type: Kind
    message: str
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """What the API calls it."""
        return f"ftevent-{self.job.rpartition('-')[2]}-{self.seq}"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A model that came out of a job on its way: its name, and its `version` in the catalog as name@version."""

    id: str
    job: str
    step: int
    name: str
    version: str
    metrics: dict[str, float]
    created: float


def _job(row: RowMapping) -> Job:
    fields = {name: row[name] for name in Job.__struct_fields__}
    for name in ("spec", "state", "error"):
        fields[name] = None if fields[name] is None else msgspec.json.decode(fields[name])
    return msgspec.convert(fields, Job)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a job as its columns hold them."""
    return {
        name: _text(value) if name in ("spec", "state") or (name == "error" and value is not None) else value
        for name, value in fields.items()
    }


async def add_job(connection: AsyncConnection, job: Job) -> None:
    """Keep a new job."""
    await connection.execute(insert(jobs).values(_written(msgspec.structs.asdict(job))))


async def change_job(connection: AsyncConnection, job: Job, **fields: Any) -> Job:
    """Change some fields; the job as it is then."""
    await connection.execute(update(jobs).where(jobs.c.id == job.id).values(_written(fields)))
    return msgspec.structs.replace(job, **fields)


async def find_job(connection: AsyncConnection, id: str) -> Job | None:  # noqa: A002 - what the API calls it
    """The job of that id."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == id))).mappings().one_or_none()
    return None if row is None else _job(row)


async def list_jobs(
    connection: AsyncConnection, *, kind: str, project: str | None = None, statuses: Iterable[str] = (),
    after: Job | None = None, limit: int = 1000, wanted: Callable[[Job], bool] = lambda _: True,
) -> list[Job]:  # fmt: skip
    """Jobs, newest first.

    Args:
        project: whose; None is everybody's.
        statuses: in one of these; none means any.
        after: begin behind this one.
        wanted: leave out what it is false for; `limit` counts what is left.
    """
    query = select(jobs).where(jobs.c.kind == kind).order_by(jobs.c.created.desc(), jobs.c.id.desc())
    if project is not None:
        query = query.where(jobs.c.project == project)
    if statuses:
        query = query.where(jobs.c.status.in_(list(statuses)))
    found: list[Job] = []
    while len(found) < limit:
        rows = (await connection.execute(_behind(query, after).limit(PAGE))).mappings().all()
        page = [_job(row) for row in rows]
        found += [job for job in page if wanted(job)]
        if len(page) < PAGE:
            break
        after = page[-1]
    return found[:limit]


def _behind(query: Select[Any], job: Job | None) -> Select[Any]:
    if job is None:
        return query
    at = jobs.c.created
    return query.where(or_(at < job.created, and_(at == job.created, jobs.c.id < job.id)))


async def count_jobs(
    connection: AsyncConnection, *, kind: str, project: str, statuses: Iterable[str] = (), since: float = 0.0
) -> int:
    """How many jobs a project has in one of the statuses (none means any), made since a time."""
    query = select(func.count()).select_from(jobs).where(jobs.c.kind == kind, jobs.c.project == project)
    if statuses:
        query = query.where(jobs.c.status.in_(list(statuses)))
    return int((await connection.execute(query.where(jobs.c.created >= since))).scalar_one())


async def cancel_all(connection: AsyncConnection, project: str, now_s: float) -> None:
    """Cancel whatever of a project's jobs has not ended, because the project goes. Their rows stay."""
    query = update(jobs).where(jobs.c.project == project, jobs.c.finished.is_(None))
    await connection.execute(query.values(status="cancelled", wanted="cancel", finished=now_s))


# -- events ------------------------------------------------------------------------------------------------------------


async def tell(connection: AsyncConnection, job: str, told: Sequence[Told], now_s: float) -> list[Told]:
    """Write down what happened, in a transaction of `Database.write`; those of it that were not known yet."""
    newest = select(func.max(job_events.c.seq)).where(job_events.c.job == job)
    seq = int((await connection.execute(newest)).scalar() or 0)
    new: list[Told] = []
    for each in told:
        if each.key is not None and await _known(connection, job, each):
            continue
        seq += 1
        row = {"job": job, "seq": seq, "created": each.created or now_s, "level": each.level, "type": each.type}
        rest = {"message": _clean(each.message), "data": _text(each.data), "key": each.key}
        await connection.execute(insert(job_events).values(**row, **rest))
        new.append(each)
    return new


async def _known(connection: AsyncConnection, job: str, told: Told) -> bool:
    same = and_(job_events.c.job == job, job_events.c.key == told.key)
    row = (await connection.execute(select(job_events.c.message, job_events.c.data).where(same))).one_or_none()
    if row is None:
        return False
    if told.type == "metrics":
        data = {**msgspec.json.decode(row.data), **told.data}
        text, message = _text(data), _clean(told.message)
        if (text, message) != (row.data, row.message):
            await connection.execute(update(job_events).where(same).values(data=text, message=message))
    return True


def _clean(message: str) -> str:
    """PostgreSQL keeps no NUL in a text."""
    return message.replace("\0", "")[:MAX_MESSAGE]


async def list_events(
    connection: AsyncConnection, job: str, *, after: str | None = None, limit: int = 20
) -> tuple[list[Event], bool]:
    """A job's events, newest first, and whether there are more.

    Raises:
        InvalidRequest: `after` is no event of this job.
    """
    query = select(job_events).where(job_events.c.job == job).order_by(job_events.c.seq.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(job_events.c.seq < _seq(job, after))
    rows = (await connection.execute(query)).mappings().all()
    return [_event(row) for row in rows[:limit]], len(rows) > limit


def _seq(job: str, event: str) -> int:
    head, _, seq = event.rpartition("-")
    if head != f"ftevent-{job.rpartition('-')[2]}" or not (seq.isascii() and seq.isdecimal() and len(seq) < 18):
        raise InvalidRequest(f"'after' is no event of the job {job!r}.", param="after")
    return int(seq)


def _event(row: RowMapping) -> Event:
    fields = {name: row[name] for name in Event.__struct_fields__}
    return msgspec.convert({**fields, "data": msgspec.json.decode(row["data"])}, Event)


async def metric_events(connection: AsyncConnection, job: str) -> list[dict[str, Any]]:
    """The data of every metrics event, by step."""
    query = select(job_events.c.data).where(job_events.c.job == job, job_events.c.type == "metrics")
    found = [msgspec.json.decode(data) for data in (await connection.execute(query)).scalars()]
    return sorted(found, key=lambda data: data["step"])


# -- checkpoints -------------------------------------------------------------------------------------------------------


async def add_checkpoint(
    connection: AsyncConnection, *, job: str, step: int, name: str, version: str, metrics: Mapping[str, float],
    now_s: float,
) -> Checkpoint:  # fmt: skip
    """Keep a checkpoint; the one of that step if there is one already, which then has this name."""
    same = and_(job_checkpoints.c.job == job, job_checkpoints.c.step == step)
    row = (await connection.execute(select(job_checkpoints).where(same))).mappings().one_or_none()
    if row is not None:
        await connection.execute(update(job_checkpoints).where(same).values(name=name, version=version))
        return msgspec.structs.replace(_checkpoint(row), name=name, version=version)
    made = Checkpoint(
        id=f"ftckpt_{secrets.token_hex(16)}", job=job, step=step, name=name, version=version, metrics=dict(metrics),
        created=now_s,
    )  # fmt: skip
    await connection.execute(
        insert(job_checkpoints).values({**msgspec.structs.asdict(made), "metrics": _text(made.metrics)})
    )
    return made


async def list_checkpoints(
    connection: AsyncConnection, job: str, *, after: str | None = None, limit: int = 10
) -> tuple[list[Checkpoint], bool]:
    """A job's checkpoints, newest first, and whether there are more.

    Raises:
        InvalidRequest: `after` is no checkpoint of this job.
    """
    table = job_checkpoints
    query = select(table).where(table.c.job == job).order_by(table.c.step.desc()).limit(limit + 1)
    if after is not None:
        step = (await connection.execute(select(table.c.step).where(table.c.id == after, table.c.job == job))).scalar()
        if step is None:
            raise InvalidRequest(f"'after' is no checkpoint of the job {job!r}.", param="after")
        query = query.where(table.c.step < step)
    rows = (await connection.execute(query)).mappings().all()
    return [_checkpoint(row) for row in rows[:limit]], len(rows) > limit


async def checkpoint_named(connection: AsyncConnection, name: str) -> tuple[Checkpoint, str] | None:
    """A checkpoint by what it answers to, and the project whose it is."""
    query = select(job_checkpoints, jobs.c.project).join(jobs, jobs.c.id == job_checkpoints.c.job)
    row = (await connection.execute(query.where(job_checkpoints.c.name == name).limit(1))).mappings().one_or_none()
    return None if row is None else (_checkpoint(row), row["project"])


def _checkpoint(row: RowMapping) -> Checkpoint:
    fields = {name: row[name] for name in Checkpoint.__struct_fields__}
    return msgspec.convert({**fields, "metrics": msgspec.json.decode(row["metrics"])}, Checkpoint)
