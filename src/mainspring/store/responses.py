"""What is kept of responses: a row for each, what went in and came out, and the log of events of those that streamed.

Functions take a connection: whoever changes several things does it in one transaction. Bodies are what the API shows,
as JSON; this module reads nothing of them but the ids of items.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, and_, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest
from mainspring.store.tables import chats, jobs, response_events, response_items, response_traces, responses

__all__ = [
    "Entry",
    "Kept",
    "add_events",
    "add_items",
    "add_response",
    "chain_of",
    "change_response",
    "events_after",
    "expired",
    "extend",
    "find_entries",
    "find_response",
    "items_by_response",
    "items_of",
    "kept_of",
    "note_words",
    "page_of",
    "remove_all",
    "remove_responses",
]

Json = dict[str, Any]

MAX_CHAIN = 10_000
MAX_CONTEXT_BYTES = 32 * 2**20
"""Of all items that a response goes back to: more is no model's context."""


class Entry(msgspec.Struct, frozen=True):
    """An item, and what is kept with it that nobody is shown."""

    item: Json
    kept: Json = {}

    @property
    def id(self) -> str:
        """The item's."""
        return self.item["id"]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A response. Times are Unix seconds.

    Args:
        body: as the API shows it, without its output.
        streamed: there is a log of its events.
        include: what its client asked for beside the usual.
        chat: whose turn it is; its owner alone may see it.
    """

    id: str
    project: str
    creator: str
    created: float
    expires: float
    status: str
    background: bool
    streamed: bool
    previous: str | None
    conversation: str | None
    include: list[str]
    body: Json
    chat: str | None = None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def kept_of(row: RowMapping) -> Kept:
    """From a row of all columns."""
    fields = {name: row[name] for name in Kept.__struct_fields__}
    return Kept(**{**fields, **{name: msgspec.json.decode(fields[name]) for name in ("include", "body")}})


async def add_response(connection: AsyncConnection, kept: Kept) -> None:
    """Keep a response."""
    fields = msgspec.structs.asdict(kept)
    fields |= {name: _text(fields[name]) for name in ("include", "body")}
    await connection.execute(insert(responses).values(fields))


async def change_response(connection: AsyncConnection, id: str, *, status: str, body: Json) -> None:  # noqa: A002
    """What it is now."""
    await connection.execute(update(responses).where(responses.c.id == id).values(status=status, body=_text(body)))


async def note_words(connection: AsyncConnection, id: str, words: str) -> None:  # noqa: A002
    """What was said, for those who search."""
    await connection.execute(update(responses).where(responses.c.id == id).values(words=words))


async def find_response(
    connection: AsyncConnection, project: str, id: str, now_s: float, owner: str | None = None  # noqa: A002
) -> Kept | None:  # fmt: skip
    """A response of a project that has not expired.

    Args:
        owner: who asks: turns of others' chats are not there for them. None is the server itself.
    """
    query = select(responses).where(responses.c.id == id, responses.c.project == project, responses.c.expires > now_s)
    if owner is not None:
        query = query.where(_seen_by(owner))
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else kept_of(row)


def _seen_by(owner: str) -> ColumnElement[bool]:
    """Of responses: those of no chat, and those of a chat of theirs."""
    mine = exists().where(chats.c.id == responses.c.chat, chats.c.owner == owner)
    return or_(responses.c.chat.is_(None), mine)


async def remove_responses(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Forget responses, what went into them and what came out, and the work on them."""
    for at in range(0, len(ids), 500):
        await _remove(connection, ids[at : at + 500])


async def _remove(connection: AsyncConnection, ids: Sequence[str]) -> None:
    for table in (response_events, response_items, response_traces):
        await connection.execute(delete(table).where(table.c.response.in_(ids)))
    await connection.execute(delete(responses).where(responses.c.id.in_(ids)))
    await connection.execute(delete(jobs).where(jobs.c.id.in_(ids), jobs.c.kind == "response"))


async def expired(connection: AsyncConnection, now_s: float, limit: int = 500) -> int:
    """Forget what has expired and is not being worked on; how many there were, at most `limit`."""
    query = select(responses.c.id).where(
        responses.c.expires <= now_s, responses.c.status.not_in(("queued", "in_progress"))
    )
    ids = list((await connection.execute(query.limit(limit))).scalars())
    if ids:
        await _remove(connection, ids)
    return len(ids)


async def remove_all(connection: AsyncConnection, project: str) -> None:
    """Forget all responses of a project."""
    ids = list((await connection.execute(select(responses.c.id).where(responses.c.project == project))).scalars())
    await remove_responses(connection, ids)


# -- items -------------------------------------------------------------------------------------------------------------


async def add_items(
    connection: AsyncConnection, response: str, entries: Iterable[Entry], *, is_output: bool, start: int = 0
) -> None:
    """Keep what went in, from 0, or what came out, from `start`."""
    rows = [
        {
            "response": response, "seq": seq, "is_output": is_output, "item": entry.id, "body": _text(entry.item),
            "kept": _text(entry.kept),
        }
        for seq, entry in enumerate(entries, start)
    ]  # fmt: skip
    if rows:
        await connection.execute(insert(response_items), rows)


def _entry(row: Any) -> Entry:
    return Entry(msgspec.json.decode(row.body), msgspec.json.decode(row.kept))


async def items_of(connection: AsyncConnection, response: str, *, is_output: bool | None = None) -> list[Entry]:
    """What went in, what came out, or both."""
    c = response_items.c
    query = select(c.body, c.kept).where(c.response == response).order_by(c.seq)
    if is_output is not None:
        query = query.where(c.is_output == is_output)
    return [_entry(row) for row in await connection.execute(query)]


async def page_of(
    connection: AsyncConnection, response: str, *, after: str | None, limit: int, descending: bool
) -> tuple[list[Entry], bool]:
    """A page of what went in, and whether there is more.

    Raises:
        InvalidRequest: `after` is no item of it.
    """
    c = response_items.c
    query = select(c.body, c.kept).where(c.response == response, c.is_output.is_(False)).limit(limit + 1)
    query = query.order_by(c.seq.desc() if descending else c.seq)
    if after is not None:
        place = select(c.seq).where(c.response == response, c.is_output.is_(False), c.item == after)
        seq = (await connection.execute(place.limit(1))).scalar()
        if seq is None:
            raise InvalidRequest(f"'after' is no item of {response!r}.", param="after")
        query = query.where(c.seq < seq if descending else c.seq > seq)
    rows = (await connection.execute(query)).all()
    return [_entry(row) for row in rows[:limit]], len(rows) > limit


async def find_entries(
    connection: AsyncConnection, project: str, ids: Sequence[str], now_s: float, owner: str
) -> dict[str, Entry]:
    """Items of a project's responses by their ids; those that are not there for `owner` are left out."""
    c, of = response_items.c, responses.c
    query = (
        select(c.item, c.body, c.kept)
        .join(responses, of.id == c.response)
        .where(c.item.in_(ids), of.project == project, of.expires > now_s, _seen_by(owner))
        .order_by(of.created.desc())
    )
    found: dict[str, Entry] = {}
    for row in await connection.execute(query):
        found.setdefault(row.item, _entry(row))
    return found


async def chain_of(connection: AsyncConnection, kept: Kept, now_s: float) -> list[Entry]:
    """Everything that went into a response and came out of it, and before that of those that it goes on from.

    Raises:
        InvalidRequest: one of them is gone, or there are too many.
    """
    of = responses.c
    first = select(of.id, of.previous, of.expires, literal(0).label("depth")).where(of.id == kept.id)
    chain = first.cte("chain", recursive=True)
    more = select(of.id, of.previous, of.expires, (chain.c.depth + 1).label("depth")).join(
        chain, and_(of.id == chain.c.previous, of.project == kept.project)
    )
    chain = chain.union_all(more.where(chain.c.depth < MAX_CHAIN, of.expires > now_s))
    rows = (await connection.execute(select(chain).order_by(chain.c.depth.desc()))).all()
    if len(rows) > MAX_CHAIN:
        raise _too_long("previous_response_id")
    if rows[0].previous is not None:
        raise InvalidRequest(
            f"The response {rows[0].previous!r}, which 'previous_response_id' leads to, is gone: send what was said as "
            "'input'.",
            code="previous_response_not_found", param="previous_response_id",
        )  # fmt: skip
    ids = [row.id for row in rows]
    await check_size(connection, response_items, response_items.c.response.in_(ids), "previous_response_id")
    said = await items_by_response(connection, ids)
    return [entry for id in ids for _, entry in said.get(id, ())]  # noqa: A001


async def items_by_response(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, list[tuple[bool, Entry]]]:
    """What went into responses and came out of them, in order: whether it came out, and the item."""
    c = response_items.c
    found: dict[str, list[tuple[bool, Entry]]] = {}
    for at in range(0, len(ids), 500):
        query = select(c.response, c.is_output, c.body, c.kept).where(c.response.in_(ids[at : at + 500]))
        for row in await connection.execute(query.order_by(c.response, c.seq)):
            found.setdefault(row.response, []).append((row.is_output, _entry(row)))
    return found


async def check_size(connection: AsyncConnection, table: Any, which: Any, param: str) -> None:
    """Refuse what is larger than any context. Raises InvalidRequest."""
    total = (await connection.execute(select(func.sum(func.length(table.c.body))).where(which))).scalar() or 0
    if total > MAX_CONTEXT_BYTES:
        raise _too_long(param)


def _too_long(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"What {param!r} leads to is longer than any context: begin anew, with a summary from responses/compact.",
        code="context_length_exceeded", param=param,
    )  # fmt: skip


async def extend(connection: AsyncConnection, kept: Kept, expires: float) -> None:
    """What a response goes on from stays for as long as it does."""
    of = responses.c
    chain = select(of.id, of.previous).where(of.id == kept.id).cte("chain", recursive=True)
    chain = chain.union_all(
        select(of.id, of.previous).join(chain, and_(of.id == chain.c.previous, of.project == kept.project))
    )
    within = update(responses).where(of.id.in_(select(chain.c.id)), of.expires < expires)
    await connection.execute(within.values(expires=expires))


# -- events ------------------------------------------------------------------------------------------------------------


async def add_events(connection: AsyncConnection, response: str, first: int, bodies: Sequence[bytes]) -> None:
    """Add to the log: events from the number `first` on, each a line of JSON."""
    if bodies:
        text = b"\n".join(bodies).decode()
        row = {"response": response, "first": first, "last": first + len(bodies) - 1, "body": text}
        await connection.execute(insert(response_events).values(row))


async def events_after(
    connection: AsyncConnection, response: str, after: int, limit: int = 100
) -> list[tuple[int, bytes]]:
    """The events behind the number `after`, of at most `limit` rows; none if there are none yet."""
    c = response_events.c
    query = select(c.first, c.body).where(c.response == response, c.last > after).order_by(c.first).limit(limit)
    return [
        (seq, line.encode())
        for row in await connection.execute(query)
        for seq, line in enumerate(row.body.split("\n"), row.first)
        if seq > after
    ]
