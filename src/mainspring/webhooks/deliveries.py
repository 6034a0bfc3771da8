"""Deliveries: an event that is to be told to an endpoint, who sends it now, and each attempt to.

A delivery is claimed, sent, and what became of it noted, in a transaction each for the first and the last: none is open
while it is sent. A claim has a number and an end, before which nobody else claims it. So two servers send the same
delivery at once only if one of them was stopped for longer than a claim lasts; and one that was killed in between has
its delivery sent again, under the same id, once the claim has ended.

Functions take a connection of `Database.write`, or of `read` where they only look.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import RowMapping, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.store.outbox import new_delivery
from mainspring.store.tables import outbox, webhook_attempts, webhook_deliveries, webhook_endpoints
from mainspring.webhooks.endpoints import Endpoint, endpoint_of
from mainspring.webhooks.events import Event
from mainspring.webhooks.sending import Outcome

__all__ = [
    "Attempt",
    "Claim",
    "Delivery",
    "Status",
    "claim",
    "delivery_in",
    "expire",
    "has_due",
    "list_deliveries",
    "note",
    "replay",
    "replay_since",
    "sweep",
]

Status = Literal["pending", "delivered", "failed"]
BROKE_OFF = "the server ended before it knew the answer"
EXPIRED = "the endpoint was disabled, or no server ran, until its time was over"
GRACE_S = 3600.0
"""How long after its time a delivery may still be claimed, for its last attempt."""
MAX_ENDPOINTS = 64
"""Of which deliveries are claimed in one transaction."""
MAX_REPLAYED = 10_000
MAX_SWEPT = 1000
SHOWN_ATTEMPTS = 50

_d, _a, _e = webhook_deliveries, webhook_attempts, webhook_endpoints


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an endpoint. `duration_s` is None while it runs."""

    number: int
    started: float
    duration_s: float | None
    status_code: int | None
    error: str | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery. `due` is when it is sent next, if it is pending; `since` when it was first to be, or was replayed."""

    id: str
    event: Event
    endpoint: str
    status: Status
    created: float
    since: float
    due: float
    tries: int
    attempts: tuple[Attempt, ...]
    finished: float | None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is to be sent now, by whoever claimed it, before `until`."""

    id: str
    event: Event
    endpoint: Endpoint
    number: int
    attempt: int
    tries: int
    since: float
    until: float


# -- whose turn it is --------------------------------------------------------------------------------------------------


def _due(now_s: float, retry_s: float) -> Any:
    return and_(_d.c.status == "pending", _d.c.due <= now_s, _d.c.since > now_s - retry_s - GRACE_S)


async def has_due(connection: AsyncConnection, now_s: float, retry_s: float) -> bool:
    """Whether a claim may find something."""
    query = select(_d.c.id).join(_e, _e.c.id == _d.c.endpoint).where(_due(now_s, retry_s), _e.c.enabled).limit(1)
    return (await connection.execute(query)).first() is not None


async def claim(
    connection: AsyncConnection, now_s: float, *, most: int, per_endpoint: int, lease_s: float, retry_s: float
) -> list[Claim]:
    """Claim what is due, the longest first, but of no endpoint so much that others wait for it.

    Args:
        most: how many at most.
        per_endpoint: how many may be on their way to one endpoint, from all servers.
        lease_s: how long a claim lasts.
        retry_s: deliveries that have been due for longer are left to `expire`.
    """
    held = select(_d.c.endpoint, func.count()).where(_d.c.until > now_s).group_by(_d.c.endpoint)
    busy = {row[0]: int(row[1]) for row in (await connection.execute(held)).all()}
    full = [name for name, count in busy.items() if count >= per_endpoint]
    query = select(_d.c.endpoint).join(_e, _e.c.id == _d.c.endpoint)
    query = query.where(_due(now_s, retry_s), _e.c.enabled, _d.c.endpoint.not_in(full)).group_by(_d.c.endpoint)
    names = (await connection.execute(query.order_by(func.min(_d.c.due)).limit(MAX_ENDPOINTS))).scalars().all()
    claimed: list[Claim] = []
    for name in names:
        room = min(per_endpoint - busy.get(name, 0), most - len(claimed))
        if room > 0:
            of = and_(_due(now_s, retry_s), _d.c.endpoint == name)
            rows = await connection.execute(_whole().where(of).order_by(_d.c.due, _d.c.created, _d.c.id).limit(room))
            found = (await connection.execute(select(_e).where(_e.c.id == name))).mappings().one()
            for row in rows.mappings().all():
                claimed.append(await _claimed(connection, row, endpoint_of(found), now_s, lease_s))
    return claimed


async def _claimed(
    connection: AsyncConnection, row: RowMapping, endpoint: Endpoint, now_s: float, lease_s: float
) -> Claim:
    made = Claim(
        id=row["id"], event=_event(row), endpoint=endpoint, number=row["lease"] + 1, attempt=row["attempts"] + 1,
        tries=row["tries"] + 1, since=row["since"], until=now_s + lease_s,
    )  # fmt: skip
    await connection.execute(
        update(_d).where(_d.c.id == made.id).values(
            lease=made.number, attempts=made.attempt, tries=made.tries, until=made.until, due=made.until
        )
    )  # fmt: skip
    await _end_unknown(connection, made.id)
    started = {"delivery": made.id, "number": made.attempt, "started": now_s}
    await connection.execute(insert(_a).values({**started, "duration_s": None, "status_code": None, "error": None}))
    return made


async def _end_unknown(connection: AsyncConnection, id: str) -> None:  # noqa: A002 - the delivery's
    """Attempts of which nobody will say any more what became of them."""
    unknown = update(_a).where(_a.c.delivery == id, _a.c.duration_s.is_(None))
    await connection.execute(unknown.values(duration_s=0.0, error=BROKE_OFF))


async def note(
    connection: AsyncConnection, claimed: Claim, outcome: Outcome, *, now_s: float, again_s: float | None
) -> bool:
    """Write down what became of an attempt; whether the claim still held. If it does not, somebody else has sent it
    since, and what becomes of that counts.

    Args:
        again_s: when it is tried again if it was not delivered; None gives it up.
    """
    values = {"duration_s": outcome.duration_s, "status_code": outcome.status_code, "error": outcome.error}
    attempt = and_(_a.c.delivery == claimed.id, _a.c.number == claimed.attempt)
    await connection.execute(update(_a).where(attempt).values(values))
    fields: dict[str, Any] = {"until": 0.0}
    if outcome.is_delivered or again_s is None:
        fields |= {"status": "delivered" if outcome.is_delivered else "failed", "finished": now_s}
    else:
        fields |= {"due": again_s}
    mine = and_(_d.c.id == claimed.id, _d.c.lease == claimed.number, _d.c.status == "pending")
    return bool((await connection.execute(update(_d).where(mine).values(fields))).rowcount)


# -- to look at, and once more -----------------------------------------------------------------------------------------


async def list_deliveries(
    connection: AsyncConnection, endpoint: str, *, status: Status | None = None, after: str | None = None,
    limit: int = 20,
) -> tuple[list[Delivery], bool]:  # fmt: skip
    """Deliveries to an endpoint, newest first, and whether there are more.

    Raises:
        InvalidRequest: `after` is none of them.
    """
    query = _whole().where(_d.c.endpoint == endpoint).order_by(_d.c.created.desc(), _d.c.id.desc()).limit(limit + 1)
    if status is not None:
        query = query.where(_d.c.status == status)
    if after is not None:
        of = select(_d.c.created).where(_d.c.id == after, _d.c.endpoint == endpoint)
        created = (await connection.execute(of)).scalar()
        if created is None:
            raise InvalidRequest(f"'after' is no delivery to this endpoint: {after[:100]!r}.", param="after")
        query = query.where(or_(_d.c.created < created, and_(_d.c.created == created, _d.c.id < after)))
    rows = (await connection.execute(query)).mappings().all()
    return [await _delivery(connection, row) for row in rows[:limit]], len(rows) > limit


async def delivery_in(connection: AsyncConnection, endpoint: str, id: str) -> Delivery:  # noqa: A002 - the API's word
    """A delivery to an endpoint.

    Raises:
        NotFound: there is none of that id, or no longer.
    """
    row = (await connection.execute(_whole().where(_d.c.id == id, _d.c.endpoint == endpoint))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No such webhook delivery: {id[:100]}", param="delivery_id")
    return await _delivery(connection, row)


async def replay(connection: AsyncConnection, ids: Iterable[str], now_s: float) -> None:
    """Send deliveries once more, under the same ids, as if they were new. One that is being sent now is not sent twice
    at once: what becomes of that counts."""
    for each in ids:
        again: dict[str, Any] = {"since": now_s, "tries": 0}
        over = and_(_d.c.id == each, _d.c.status != "pending")
        reset = {**again, "status": "pending", "due": now_s, "until": 0.0, "finished": None, "lease": _d.c.lease + 1}
        if (await connection.execute(update(_d).where(over).values(reset))).rowcount:
            continue
        await connection.execute(update(_d).where(_d.c.id == each).values(again))
        await connection.execute(update(_d).where(_d.c.id == each, _d.c.until <= now_s).values(due=now_s))


async def replay_since(
    connection: AsyncConnection, endpoint: Endpoint, since_s: float, now_s: float, *, only_undelivered: bool
) -> int:
    """Send an endpoint the events of its types since a time, also those from before it was made; how many.

    Args:
        only_undelivered: leave out what was delivered.

    Raises:
        InvalidRequest: there are more than `MAX_REPLAYED`.
    """
    of = and_(_d.c.event == outbox.c.id, _d.c.endpoint == endpoint.id)
    wanted = and_(
        outbox.c.project == endpoint.project, outbox.c.created >= since_s, outbox.c.type.in_(endpoint.event_types)
    )
    query = select(outbox.c.id, _d.c.id.label("delivery")).join(_d, of, isouter=True).where(wanted)
    if only_undelivered:
        query = query.where(or_(_d.c.status.is_(None), _d.c.status != "delivered"))
    rows = (await connection.execute(query.order_by(outbox.c.created, outbox.c.id).limit(MAX_REPLAYED + 1))).all()
    if len(rows) > MAX_REPLAYED:
        raise InvalidRequest(
            f"There are more than {MAX_REPLAYED:,} events since then: name a later time.", param="since"
        )
    await replay(connection, [row.delivery for row in rows if row.delivery is not None], now_s)
    for row in rows:
        if row.delivery is None:
            await new_delivery(connection, event=row.id, endpoint=endpoint.id, now_s=now_s)
    return len(rows)


# -- what is over ------------------------------------------------------------------------------------------------------


async def expire(connection: AsyncConnection, now_s: float, retry_s: float) -> int:
    """Give up what was not sent while it was due: its endpoint was disabled, or no server ran. How many."""
    over = and_(_d.c.status == "pending", _d.c.until <= now_s, _d.c.since <= now_s - retry_s - GRACE_S)
    ids = (await connection.execute(select(_d.c.id).where(over).limit(MAX_SWEPT))).scalars().all()
    for each in ids:
        await _end_unknown(connection, each)
        number = select(func.coalesce(func.max(_a.c.number), 0) + 1).where(_a.c.delivery == each)
        row = {"delivery": each, "number": (await connection.execute(number)).scalar_one(), "started": now_s}
        await connection.execute(insert(_a).values({**row, "duration_s": 0.0, "status_code": None, "error": EXPIRED}))
        values = {"status": "failed", "finished": now_s, "attempts": row["number"]}
        await connection.execute(update(_d).where(_d.c.id == each).values(values))
    return len(ids)


async def sweep(connection: AsyncConnection, now_s: float, keep_s: float) -> int:
    """Delete old deliveries that have ended, and old events that nothing is to be delivered of; how many of both."""
    before_s = now_s - keep_s
    query = select(_d.c.id).where(_d.c.status != "pending", _d.c.finished < before_s).limit(MAX_SWEPT)
    ids = (await connection.execute(query)).scalars().all()
    if ids:
        await connection.execute(delete(_a).where(_a.c.delivery.in_(ids)))
        await connection.execute(delete(_d).where(_d.c.id.in_(ids)))
    told = select(_d.c.event).where(_d.c.event == outbox.c.id).exists()
    query = select(outbox.c.id).where(outbox.c.created < before_s, ~told).limit(MAX_SWEPT)
    events = (await connection.execute(query)).scalars().all()
    if events:
        await connection.execute(delete(outbox).where(outbox.c.id.in_(events)))
    return len(ids) + len(events)


# -- rows --------------------------------------------------------------------------------------------------------------


def _whole() -> Select[Any]:
    """Deliveries with their events."""
    told = [outbox.c[name].label(f"event_{name}") for name in Event.__struct_fields__]
    return select(_d, *told).join(outbox, outbox.c.id == _d.c.event)


def _event(row: RowMapping) -> Event:
    return Event(**{name: row[f"event_{name}"] for name in Event.__struct_fields__})


async def _delivery(connection: AsyncConnection, row: RowMapping) -> Delivery:
    query = select(_a).where(_a.c.delivery == row["id"]).order_by(_a.c.number.desc()).limit(SHOWN_ATTEMPTS)
    attempts: Sequence[RowMapping] = (await connection.execute(query)).mappings().all()
    return Delivery(
        id=row["id"], event=_event(row), endpoint=row["endpoint"], status=row["status"], created=row["created"],
        since=row["since"], due=row["due"], tries=row["tries"], finished=row["finished"],
        attempts=tuple(Attempt(**{name: each[name] for name in Attempt.__struct_fields__}) for each in attempts[::-1]),
    )  # fmt: skip
