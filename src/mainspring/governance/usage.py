"""What was used, from the rows and hourly sums that the ledger has written."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, func, or_, select

from mainspring.store.db import Database
from mainspring.store.tables import requests, usage_hours

__all__ = ["OPERATIONS", "Column", "Operation", "Record", "Reports", "Sums", "Totals"]

Operation = Literal[
    "chat", "completion", "infill", "embedding", "moderation", "file_search", "code_session",
    "web_search", "web_response",
]  # fmt: skip
Column = Literal["project", "key", "deployment", "tier"]
ID_KINDS = ("chatcmpl", "cmpl", "embd", "infill")
"""What the ids of answers begin with."""
MAX_ROWS = 200
OPERATIONS: tuple[Operation, ...] = ("chat", "completion", "infill", "embedding")
"""Those of models, which are paid for and limited; the others are only counted: `core.seams.Counted`."""


class Totals(NamedTuple):
    """Sums over requests."""

    requests: int
    prompt: int
    cached: int
    completion: int
    cost: int


class Sums(NamedTuple):
    """The sums of one group within one stretch of time; `group` has a value for each column that was grouped by."""

    start: int
    group: tuple[str, ...]
    totals: Totals


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the ledger, and what the content filters found in it.

    Args:
        id: the answer's; it ends with the x-request-id of the HTTP request that asked for it.
        started: Unix seconds.
        filtered: "prompt" or "completion" if the filters blocked it.
        hits: why they did, and what else they found: `filters.verdict.Hit`s.
    """

    id: str
    started: float
    project: str
    key: str
    deployment: str
    version: str
    operation: str
    outcome: str
    prompt: int
    cached: int
    completion: int
    first_ms: float
    total_ms: float
    filtered: str
    spilled_from: str
    hits: list[dict[str, Any]]


def _record(row: Mapping[Any, Any]) -> Record:
    found = {name: row[name] for name in Record.__struct_fields__}
    return msgspec.convert(found | {"hits": msgspec.json.decode(row["hits"] or "[]")}, Record)


class Reports:
    """Answers what was used. What ended less than a second ago may be missing: see `Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(
        self,
        start: int,
        end: int,
        width_s: int,
        by: Sequence[Column] = (),
        *,
        operations: Sequence[Operation] = OPERATIONS,
        keys: Sequence[str] = (),
        deployments: Sequence[str] = (),
        projects: Sequence[str] = (),
        batch: bool | None = None,
    ) -> list[Sums]:
        """Sums for each stretch of `width_s` seconds (60, 3,600 or 86,400) that begins in [start, end), by time.

        Args:
            by: what to tell apart.
            keys, deployments, projects: only these; empty means all.
            batch: only what batches asked for, or only what they did not; None is both.
        """
        table, time = (requests, requests.c.minute) if width_s < 3600 else (usage_hours, usage_hours.c.hour)
        count: ColumnElement[int] = func.count() if table is requests else func.sum(table.c.requests)
        bucket = (time - time % width_s).label("bucket")
        groups = [table.c[name] for name in by]
        query = (
            select(bucket, *groups, count, *(func.sum(table.c[name]) for name in Totals._fields[1:]))
            .where(time >= start, time < end, table.c.operation.in_(operations))
            .group_by(bucket, *groups)
            .order_by(bucket, *groups)
        )
        if keys:
            query = query.where(table.c.key.in_(keys))
        if deployments:
            query = query.where(table.c.deployment.in_(deployments))
        if projects:
            query = query.where(table.c.project.in_(projects))
        if batch is not None:
            query = query.where(table.c.tier == "batch" if batch else table.c.tier != "batch")
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        width = len(by) + 1
        return [Sums(row[0], tuple(row[1:width]), Totals(*map(int, row[width:]))) for row in rows]

    async def records(self, request_id: str) -> list[Record]:
        """The rows of a request: one for each answer, and one for each deployment that tried.

        Args:
            request_id: of an answer, or the x-request-id of a request.
        """
        ids = [request_id, *(f"{kind}-{request_id}" for kind in ID_KINDS)]
        suffixed = (requests.c.id.startswith(f"{each}-", autoescape=True) for each in ids)
        query = select(requests).where(or_(requests.c.id.in_(ids), *suffixed)).order_by(requests.c.id).limit(MAX_ROWS)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_record(row) for row in rows]

    async def totals(self, start: int, end: int, by: Sequence[Column]) -> list[Sums]:
        """Sums of all the hours that begin in [start, end)."""
        groups = [usage_hours.c[name] for name in by]
        hour = usage_hours.c.hour
        query = (
            select(*groups, *(func.sum(usage_hours.c[name]) for name in Totals._fields))
            .where(hour >= start, hour < end, usage_hours.c.operation.in_(OPERATIONS))
            .group_by(*groups)
            .order_by(*groups)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [Sums(start, tuple(row[: len(by)]), Totals(*map(int, row[len(by) :]))) for row in rows]

    async def used_since(self, start: int, *, minutes: bool) -> dict[tuple[str, str, str], Totals]:
        """What each (project, deployment, key) has used since a full hour, or with `minutes` a full minute: what quotas
        start from."""
        table, time = (requests, requests.c.minute) if minutes else (usage_hours, usage_hours.c.hour)
        count: ColumnElement[int] = func.count() if minutes else func.sum(table.c.requests)
        groups = table.c.project, table.c.deployment, table.c.key
        query = (
            select(*groups, count, *(func.sum(table.c[name]) for name in Totals._fields[1:]))
            .where(time >= start, table.c.operation.in_(OPERATIONS))
            .group_by(*groups)
        )
        async with self._database.read() as connection:
            rows = [tuple(row) for row in await connection.execute(query)]
        return {(row[0], row[1], row[2]): Totals(*map(int, row[3:])) for row in rows}
