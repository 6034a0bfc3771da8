"""What is kept of conversations: their items in order, and which response is being made of each.

Functions take a connection, as those of `store/responses.py`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.core.ids import new_id
from mainspring.store.responses import Entry, check_size
from mainspring.store.tables import conversation_items, conversations

__all__ = [
    "Conversation",
    "add_conversation",
    "append",
    "change_conversation",
    "entries_of",
    "find_conversation",
    "find_item",
    "free",
    "hold",
    "list_items",
    "remove_conversation",
    "remove_conversations",
    "remove_item",
]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. Times are Unix seconds.

    Args:
        next: the number of the item that comes next.
        busy: the id of the response that is being made of it; empty if none is.
        until: when that is given up: its server has died.
    """

    id: str
    project: str
    created: float
    metadata: dict[str, str]
    next: int = 0
    busy: str = ""
    until: float = 0.0


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def add_conversation(connection: AsyncConnection, made: Conversation) -> None:
    """Keep a new conversation."""
    await connection.execute(
        insert(conversations).values({**msgspec.structs.asdict(made), "metadata": _text(made.metadata)})
    )


async def find_conversation(connection: AsyncConnection, project: str, id: str) -> Conversation:  # noqa: A002
    """A conversation of a project.

    Raises:
        NotFound: there is none of that id.
    """
    query = select(conversations).where(conversations.c.id == id, conversations.c.project == project)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"Conversation with id '{id[:100]}' not found.", param="conversation")
    return Conversation(**{**row, "metadata": msgspec.json.decode(row["metadata"])})


async def change_conversation(connection: AsyncConnection, found: Conversation, metadata: dict[str, str]) -> None:
    """Put labels on it."""
    await connection.execute(
        update(conversations).where(conversations.c.id == found.id).values(metadata=_text(metadata))
    )


async def remove_conversation(connection: AsyncConnection, id: str) -> None:  # noqa: A002
    """Forget a conversation and its items. Responses that were made of it stay."""
    await connection.execute(delete(conversation_items).where(conversation_items.c.conversation == id))
    await connection.execute(delete(conversations).where(conversations.c.id == id))


async def remove_conversations(connection: AsyncConnection, project: str) -> None:
    """Forget all conversations of a project."""
    query = select(conversations.c.id).where(conversations.c.project == project)
    for id in list((await connection.execute(query)).scalars()):  # noqa: A001
        await remove_conversation(connection, id)


# -- whose turn it is --------------------------------------------------------------------------------------------------


async def hold(connection: AsyncConnection, found: Conversation, response: str, now_s: float, until: float) -> None:
    """Nobody else may make a response of it until then, or until it is freed. Holding it again lasts longer.

    Raises:
        Conflict: another response is being made of it.
    """
    if found.busy not in ("", response) and found.until > now_s:
        raise Conflict(
            f"Another response is being made of the conversation '{found.id}': wait for its end, or cancel it.",
            code="conversation_locked", param="conversation",
        )  # fmt: skip
    query = update(conversations).where(conversations.c.id == found.id)
    await connection.execute(query.values(busy=response, until=until))


async def free(connection: AsyncConnection, id: str, response: str) -> None:  # noqa: A002
    """The response is over, if it was the one."""
    c = conversations.c
    await connection.execute(update(conversations).where(c.id == id, c.busy == response).values(busy="", until=0.0))


# -- items -------------------------------------------------------------------------------------------------------------


async def append(connection: AsyncConnection, found: Conversation, entries: Sequence[Entry]) -> list[Entry]:
    """Add items at the end, as they are then: one whose id is taken gets a new one."""
    c = conversation_items.c
    ids = [entry.id for entry in entries]
    query = select(c.item).where(c.conversation == found.id, c.item.in_(ids))
    taken = set((await connection.execute(query)).scalars())
    added: list[Entry] = []
    for entry in entries:
        if entry.id in taken:
            prefix = entry.id.rpartition("_")[0]
            entry = Entry({**entry.item, "id": new_id(f"{prefix or 'item'}_")}, entry.kept)  # noqa: PLW2901
        taken.add(entry.id)
        added.append(entry)
    rows = [
        {"conversation": found.id, "seq": seq, "item": entry.id, "body": _text(entry.item), "kept": _text(entry.kept)}
        for seq, entry in enumerate(added, found.next)
    ]
    if rows:
        await connection.execute(insert(conversation_items), rows)
        query = update(conversations).where(conversations.c.id == found.id)
        await connection.execute(query.values(next=found.next + len(rows)))
    return added


async def entries_of(connection: AsyncConnection, id: str) -> list[Entry]:  # noqa: A002
    """All items, in order.

    Raises:
        InvalidRequest: they are larger than any context.
    """
    c = conversation_items.c
    await check_size(connection, conversation_items, c.conversation == id, "conversation")
    query = select(c.body, c.kept).where(c.conversation == id).order_by(c.seq)
    return [
        Entry(msgspec.json.decode(row.body), msgspec.json.decode(row.kept)) for row in await connection.execute(query)
    ]


async def list_items(
    connection: AsyncConnection, id: str, *, after: str | None, limit: int, descending: bool  # noqa: A002
) -> tuple[list[Entry], bool]:  # fmt: skip
    """A page of items, and whether there is more.

    Raises:
        InvalidRequest: `after` is no item of it.
    """
    c = conversation_items.c
    query = select(c.body, c.kept).where(c.conversation == id).limit(limit + 1)
    query = query.order_by(c.seq.desc() if descending else c.seq)
    if after is not None:
        place = select(c.seq).where(c.conversation == id, c.item == after)
        seq = (await connection.execute(place)).scalar()
        if seq is None:
            raise InvalidRequest(f"'after' is no item of the conversation {id!r}.", param="after")
        query = query.where(c.seq < seq if descending else c.seq > seq)
    rows = (await connection.execute(query)).all()
    found = [Entry(msgspec.json.decode(row.body), msgspec.json.decode(row.kept)) for row in rows[:limit]]
    return found, len(rows) > limit


async def find_item(connection: AsyncConnection, id: str, item: str) -> Entry:  # noqa: A002
    """An item of a conversation.

    Raises:
        NotFound: there is none of that id.
    """
    c = conversation_items.c
    query = select(c.body, c.kept).where(c.conversation == id, c.item == item)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"Item '{item[:100]}' not found in the conversation '{id}'.", param="item_id")
    return Entry(msgspec.json.decode(row.body), msgspec.json.decode(row.kept))


async def remove_item(connection: AsyncConnection, id: str, item: str) -> None:  # noqa: A002
    """Forget one.

    Raises:
        NotFound: there is none of that id.
    """
    await find_item(connection, id, item)
    c = conversation_items.c
    await connection.execute(delete(conversation_items).where(c.conversation == id, c.item == item))
