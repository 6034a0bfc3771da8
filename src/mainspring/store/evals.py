"""Rows of evaluations, and of the items of their runs. A run itself is a job: `store/jobs.py`.

Functions take a connection: whoever changes several things does it in one transaction. An item has one row from the
beginning to the end, so whatever is done twice because a process died in between shows once.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest
from mainspring.store.jobs import Job, find_job
from mainspring.store.tables import eval_items, eval_sources, evals, jobs

__all__ = [
    "RUN",
    "Eval",
    "Item",
    "ItemStatus",
    "add_eval",
    "add_items",
    "add_source",
    "change_eval",
    "find_eval",
    "find_item",
    "list_evals",
    "list_items",
    "list_runs",
    "pending_items",
    "remove_all",
    "remove_eval",
    "remove_run",
    "settle_item",
    "source_of",
]

RUN = "eval-run"
"""The kind of a run's job. Its spec says in `eval` which evaluation it is of."""

ItemStatus = Literal["", "pass", "fail", "error"]


class Eval(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation. Times are Unix seconds; `labels` is the client's metadata."""

    id: str
    project: str
    name: str
    creator: str
    created: float
    updated: float
    labels: dict[str, str] | None
    config: dict[str, Any]
    criteria: list[dict[str, Any]]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a run and what came of it: nothing yet, while its status is empty.

    Args:
        place: its number among the run's items, from 0.
        item: what it was given as: `item`, and `sample` if that came with it.
        outcome: results and the sample, as `evals.runner` writes them.
    """

    run: str
    place: int
    id: str
    status: ItemStatus
    created: float | None
    item: dict[str, Any]
    outcome: dict[str, Any] | None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _eval(row: RowMapping) -> Eval:
    labels = None if row["labels"] is None else msgspec.json.decode(row["labels"])
    decoded = {name: msgspec.json.decode(row[name]) for name in ("config", "criteria")}
    fields: dict[str, Any] = {name: row[name] for name in Eval.__struct_fields__}
    more: dict[str, Any] = {**fields, **decoded, "labels": labels}
    return Eval(**more)


def _item(row: RowMapping) -> Item:
    outcome = None if row["outcome"] is None else msgspec.json.decode(row["outcome"])
    fields = {name: row[name] for name in Item.__struct_fields__}
    return msgspec.convert({**fields, "item": msgspec.json.decode(row["item"]), "outcome": outcome}, Item)


async def add_eval(connection: AsyncConnection, new: Eval) -> None:
    """Keep a new evaluation."""
    fields = msgspec.structs.asdict(new)
    await connection.execute(insert(evals).values({**fields, **_written(fields)}))


def _written(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if value is None or name not in ("labels", "config", "criteria") else _text(value)
        for name, value in fields.items()
    }


async def change_eval(connection: AsyncConnection, found: Eval, **fields: Any) -> Eval:
    """Change some fields; the evaluation as it is then."""
    await connection.execute(update(evals).where(evals.c.id == found.id).values(_written(fields)))
    return msgspec.structs.replace(found, **fields)


async def find_eval(connection: AsyncConnection, project: str, id: str) -> Eval | None:  # noqa: A002 - as the API has it
    """A project's evaluation of that id."""
    query = select(evals).where(evals.c.id == id, evals.c.project == project)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _eval(row)


async def list_evals(
    connection: AsyncConnection, project: str, *, after: Eval | None = None, limit: int,
    order_by: Literal["created", "updated"] = "created", descending: bool = False,
) -> list[Eval]:  # fmt: skip
    """A project's evaluations by one of their times, those behind `after`."""
    when, key = evals.c[order_by], evals.c.id
    query = select(evals).where(evals.c.project == project).limit(limit)
    query = query.order_by(*((when.desc(), key.desc()) if descending else (when, key)))
    if after is not None:
        at_s: float = getattr(after, order_by)
        if descending:
            query = query.where(or_(when < at_s, and_(when == at_s, key < after.id)))
        else:
            query = query.where(or_(when > at_s, and_(when == at_s, key > after.id)))
    return [_eval(row) for row in (await connection.execute(query)).mappings()]


# -- runs --------------------------------------------------------------------------------------------------------------


async def add_source(connection: AsyncConnection, *, run: str, eval: str, source: dict[str, Any]) -> None:  # noqa: A002 - as the API has it
    """Keep where the items of a new run come from, as it was sent."""
    await connection.execute(insert(eval_sources).values(run=run, eval=eval, source=_text(source)))


async def source_of(connection: AsyncConnection, run: str) -> bytes:
    """Where the items of a run come from, as JSON."""
    text = (await connection.execute(select(eval_sources.c.source).where(eval_sources.c.run == run))).scalar_one()
    return str(text).encode()


async def list_runs(
    connection: AsyncConnection, eval: str, *, after: Job | None = None, limit: int, status: str | None = None,  # noqa: A002 - as the API has it
    descending: bool = False,
) -> list[Job]:  # fmt: skip
    """Runs of an evaluation by the time when they were made, those behind `after`."""
    when, key = jobs.c.created, jobs.c.id
    query = select(key).join(eval_sources, eval_sources.c.run == key).where(eval_sources.c.eval == eval).limit(limit)
    query = query.order_by(*((when.desc(), key.desc()) if descending else (when, key)))
    if status is not None:
        query = query.where(jobs.c.status == status)
    if after is not None:
        if descending:
            query = query.where(or_(when < after.created, and_(when == after.created, key < after.id)))
        else:
            query = query.where(or_(when > after.created, and_(when == after.created, key > after.id)))
    ids = (await connection.execute(query)).scalars().all()
    return [job for each in ids if (job := await find_job(connection, each)) is not None]


async def remove_run(connection: AsyncConnection, run: str) -> None:
    """Delete a run with all that belongs to it. Who works on it finds its lease gone."""
    for table, key in ((eval_items, eval_items.c.run), (eval_sources, eval_sources.c.run), (jobs, jobs.c.id)):
        await connection.execute(delete(table).where(key == run))


async def remove_eval(connection: AsyncConnection, id: str) -> None:  # noqa: A002 - as the API has it
    """Delete an evaluation with its runs."""
    runs = (await connection.execute(select(eval_sources.c.run).where(eval_sources.c.eval == id))).scalars().all()
    for run in runs:
        await remove_run(connection, run)
    await connection.execute(delete(evals).where(evals.c.id == id))


async def remove_all(connection: AsyncConnection, project: str) -> None:
    """Delete the evaluations of a project, in a transaction of `Database.write`."""
    for id in (await connection.execute(select(evals.c.id).where(evals.c.project == project))).scalars().all():  # noqa: A001 - as the API has it
        await remove_eval(connection, id)


# -- items -------------------------------------------------------------------------------------------------------------


async def add_items(connection: AsyncConnection, run: str, start: int, items: Sequence[dict[str, Any]]) -> None:
    """Keep items of a run, numbered from `start`, of which nothing has come yet."""
    rows = [
        {
            "run": run, "place": start + at, "id": f"outputitem_{secrets.token_hex(16)}", "status": "", "created": None,
            "item": _text(item), "outcome": None,
        }
        for at, item in enumerate(items)
    ]  # fmt: skip
    if rows:
        await connection.execute(insert(eval_items), rows)


async def pending_items(connection: AsyncConnection, run: str, after: int, limit: int) -> list[Item]:
    """Items of a run that nothing has come of yet, in their order, those with a number above `after`."""
    c = eval_items.c
    query = select(eval_items).where(c.run == run, c.status == "", c.place > after).order_by(c.place).limit(limit)
    return [_item(row) for row in (await connection.execute(query)).mappings()]


async def settle_item(
    connection: AsyncConnection, item: Item, *, status: ItemStatus, outcome: dict[str, Any], now_s: float
) -> bool:
    """Write what came of an item; whether it was this call that did."""
    c = eval_items.c
    # Later than all that came before, whatever the clock says, so that a page which ends here goes on behind it.
    newest = float((await connection.execute(select(func.max(c.created)).where(c.run == item.run))).scalar() or 0.0)
    open_item = update(eval_items).where(c.run == item.run, c.place == item.place, c.status == "")
    done = await connection.execute(
        open_item.values(status=status, outcome=_text(outcome), created=max(now_s, newest + 1e-6))
    )
    return bool(done.rowcount)


async def find_item(connection: AsyncConnection, run: str, id: str) -> Item | None:  # noqa: A002 - as the API has it
    """The item of a run that has this id, once something has come of it."""
    query = select(eval_items).where(eval_items.c.id == id, eval_items.c.run == run, eval_items.c.status != "")
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _item(row)


async def list_items(
    connection: AsyncConnection, run: str, *, after: str | None = None, limit: int,
    status: ItemStatus | None = None, descending: bool = False,
) -> list[Item]:  # fmt: skip
    """Items of a run by the time when something came of them.

    Raises:
        InvalidRequest: `after` is none of them.
    """
    c = eval_items.c
    query = select(eval_items).where(c.run == run, c.status != "" if status is None else c.status == status)
    query = query.order_by(*((c.created.desc(), c.place.desc()) if descending else (c.created, c.place))).limit(limit)
    if after is not None:
        start = await find_item(connection, run, after)
        if start is None:
            raise InvalidRequest(f"'after' is no output item of the run: {after[:100]!r}.", param="after")
        same = and_(c.created == start.created, c.place < start.place if descending else c.place > start.place)
        query = query.where(or_(c.created < start.created if descending else c.created > start.created, same))
    return [_item(row) for row in (await connection.execute(query)).mappings()]
