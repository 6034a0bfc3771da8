"""The requests of batches, a row each from when their file was checked until the output files are made.

Results are written in groups, with the counts of their batch in the same transaction (`worker.Held.writing`): whatever
is killed, a request has its result and is counted, or has none and is made again. The rows go when the batch has ended.
"""

import zlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.db import Database
from mainspring.store.tables import batch_requests, jobs

__all__ = ["Kept", "Placed", "Result", "add", "ended", "forget", "has_pending", "pending", "put", "results"]

PAGE = 500
"""Rows read or deleted at a time."""
_c = batch_requests.c


class Placed(NamedTuple):
    """A request: its line in the file, from 1, where that is, in bytes, and its custom_id as JSON."""

    line: int
    start: int
    length: int
    custom_id: bytes


class Result(NamedTuple):
    """What became of the request on a line: a line of the output file, or of the error file if it has failed."""

    line: int
    failed: bool
    data: bytes


class Kept(NamedTuple):
    """A request and its result; None if there is none."""

    line: int
    custom_id: bytes
    data: bytes | None


async def add(connection: AsyncConnection, batch: str, first_rank: int, requests: Sequence[Placed]) -> None:
    """Keep requests in the order in which their turns are."""
    rows = [
        {**request._asdict(), "batch": batch, "rank": first_rank + at, "failed": False, "result": None}
        for at, request in enumerate(requests)
    ]
    await connection.execute(insert(batch_requests), rows)


async def pending(connection: AsyncConnection, batch: str) -> list[Placed]:
    """The requests that have no result, in their turns' order."""
    query = select(_c.line, _c.start, _c.length, _c.custom_id).where(_c.batch == batch, _c.result.is_(None))
    return [Placed(*row) for row in (await connection.execute(query.order_by(_c.rank))).all()]


async def has_pending(connection: AsyncConnection, batch: str) -> bool:
    """Whether a request has no result."""
    query = select(_c.line).where(_c.batch == batch, _c.result.is_(None)).limit(1)
    return (await connection.execute(query)).first() is not None


async def put(connection: AsyncConnection, batch: str, found: Iterable[Result]) -> None:
    """Write down results, in a transaction of whoever holds the batch."""
    statement = update(batch_requests).where(_c.batch == batch, _c.line == bindparam("at"))
    statement = statement.values(failed=bindparam("has_failed"), result=bindparam("data"))
    rows = [{"at": each.line, "has_failed": each.failed, "data": zlib.compress(each.data, 1)} for each in found]
    await connection.execute(statement, rows)


async def results(database: Database, batch: str, *, failed: bool) -> AsyncGenerator[Kept]:
    """The requests whose results belong into the output file, or with `failed` those that belong into the error file,
    which those without a result do; in the order of their lines."""
    wanted = or_(_c.failed, _c.result.is_(None)) if failed else ~_c.failed & _c.result.is_not(None)
    query = select(_c.line, _c.custom_id, _c.result).where(_c.batch == batch, wanted).order_by(_c.line).limit(PAGE)
    line = 0
    while True:
        async with database.read() as connection:
            rows = (await connection.execute(query.where(_c.line > line))).all()
        for row in rows:
            yield Kept(row.line, row.custom_id, None if row.result is None else zlib.decompress(row.result))
        if len(rows) < PAGE:
            return
        line = rows[-1].line


async def forget(database: Database, batch: str) -> None:
    """Delete the requests of a batch, some at a time: nobody waits for long."""
    some = select(_c.line).where(_c.batch == batch).order_by(_c.line).limit(PAGE)
    while True:
        async with database.write() as connection:
            lines = (await connection.execute(some)).scalars().all()
            if lines:
                await connection.execute(delete(batch_requests).where(_c.batch == batch, _c.line <= lines[-1]))
        if len(lines) < PAGE:
            return


async def ended(connection: AsyncConnection) -> list[str]:
    """Batches that have ended, and whose requests are still there."""
    query = select(_c.batch).distinct().join(jobs, jobs.c.id == _c.batch).where(jobs.c.finished.is_not(None))
    return list((await connection.execute(query)).scalars())
