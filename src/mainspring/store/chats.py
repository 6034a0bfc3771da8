"""Chats: trees of responses, each going on from the one before it, with what their owner calls them.

What was said is kept once, as responses; a chat adds a row with its title, folder and tags. Functions take a
connection, as those of `store/responses.py`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import RowMapping, and_, delete, exists, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import NotFound
from mainspring.store.chat_changes import forget_project, note_change
from mainspring.store.responses import Kept, kept_of, remove_responses
from mainspring.store.tables import chat_shares, chats, responses

__all__ = [
    "Chat",
    "Wanted",
    "add_chat",
    "branch_of",
    "change_chat",
    "chat_of",
    "expired_chats",
    "find_chat",
    "find_turn",
    "list_chats",
    "list_turns",
    "path_to",
    "remove_all_chats",
    "remove_chat",
    "turns_of",
]

Json = dict[str, Any]

MAX_TERMS = 8
"""Words of a search that are looked for; the others change nothing."""


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat. Times are Unix seconds.

    Args:
        owner: a principal's `person`: nobody else sees it.
        settings: the client's own; nothing here reads it.
        head: the response that was asked for last; None if nothing was said yet.
        expires: when it is forgotten by itself; it is in no list then, and finds nothing. None is never.
    """

    id: str
    project: str
    owner: str
    created: float
    updated: float
    title: str = ""
    folder: str = ""
    tags: list[str] = []
    pinned: bool = False
    settings: Json = {}
    head: str | None = None
    expires: float | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which chats are meant: those with all words of `query` in what was said or what they are called."""

    query: str = ""
    folder: str | None = None
    tag: str | None = None


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _columns(chat: Chat) -> Json:
    row = msgspec.structs.asdict(chat)
    row |= {name: _text(row[name]) for name in ("tags", "settings")}
    return row | {"words": "\n".join((chat.title, chat.folder, *chat.tags)).casefold()}


def chat_of(row: RowMapping) -> Chat:
    """From a row of all columns."""
    fields = {name: row[name] for name in Chat.__struct_fields__}
    return Chat(**{**fields, **{name: msgspec.json.decode(fields[name]) for name in ("tags", "settings")}})


async def add_chat(connection: AsyncConnection, chat: Chat) -> None:
    """Keep a new chat."""
    await connection.execute(insert(chats).values(_columns(chat)))
    await note_change(connection, chat.id)


async def change_chat(connection: AsyncConnection, chat: Chat) -> None:
    """Keep what it is now."""
    await connection.execute(update(chats).where(chats.c.id == chat.id).values(_columns(chat)))
    await note_change(connection, chat.id)


async def find_chat(connection: AsyncConnection, project: str, owner: str, id: str) -> Chat:  # noqa: A002
    """A chat of somebody's.

    Raises:
        NotFound: they have none of that id.
    """
    c = chats.c
    query = select(chats).where(c.id == id, c.project == project, c.owner == owner)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"Chat with id '{id[:100]}' not found.", param="chat_id")
    return chat_of(row)


async def list_chats(
    connection: AsyncConnection, project: str, owner: str, wanted: Wanted, *, after: str | None, limit: int
) -> tuple[list[Chat], bool]:
    """A page of somebody's chats, the newest change first, and whether there is more.

    Raises:
        NotFound: `after` is none of them.
    """
    c = chats.c
    query = select(chats).where(c.project == project, c.owner == owner, c.expires.is_(None))
    if wanted.folder is not None:
        query = query.where(c.folder == wanted.folder)
    if wanted.tag is not None:
        query = query.where(c.tags.contains(_text(wanted.tag), autoescape=True))
    for term in wanted.query.casefold().split()[:MAX_TERMS]:
        said = exists().where(responses.c.chat == c.id, responses.c.words.contains(term, autoescape=True))
        query = query.where(or_(c.words.contains(term, autoescape=True), said))
    if after is not None:
        last = await find_chat(connection, project, owner, after)
        query = query.where(or_(c.updated < last.updated, and_(c.updated == last.updated, c.id < last.id)))
    rows = (await connection.execute(query.order_by(c.updated.desc(), c.id.desc()).limit(limit + 1))).mappings().all()
    return [chat_of(row) for row in rows[:limit]], len(rows) > limit


async def remove_chat(connection: AsyncConnection, id: str) -> list[str]:  # noqa: A002
    """Forget a chat and what was said in it; the ids of those responses."""
    gone = list((await connection.execute(select(responses.c.id).where(responses.c.chat == id))).scalars())
    await note_change(connection, id, cut=True)
    await remove_responses(connection, gone)
    await connection.execute(delete(chat_shares).where(chat_shares.c.chat == id))
    await connection.execute(delete(chats).where(chats.c.id == id))
    return gone


async def expired_chats(connection: AsyncConnection, now_s: float, limit: int = 100) -> list[str]:
    """The ids of chats that are to be forgotten now."""
    return list((await connection.execute(select(chats.c.id).where(chats.c.expires <= now_s).limit(limit))).scalars())


async def remove_all_chats(connection: AsyncConnection, project: str) -> None:
    """Forget all chats of a project; what was said in them goes with the project's responses."""
    theirs = select(chats.c.id).where(chats.c.project == project)
    await connection.execute(delete(chat_shares).where(chat_shares.c.chat.in_(theirs)))
    await connection.execute(delete(chats).where(chats.c.project == project))
    await forget_project(connection, project)


# -- turns -------------------------------------------------------------------------------------------------------------


async def find_turn(connection: AsyncConnection, chat: str, id: str) -> Kept:  # noqa: A002
    """A response of a chat.

    Raises:
        NotFound: it has none of that id.
    """
    query = select(responses).where(responses.c.id == id, responses.c.chat == chat)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"The chat has no turn with id '{id[:100]}'.", param="response_id")
    return kept_of(row)


async def list_turns(
    connection: AsyncConnection, chat: str, *, after: str | None, limit: int, descending: bool = False
) -> tuple[list[Kept], bool]:
    """A page of a chat's responses, oldest or newest first, and whether there is more.

    Raises:
        NotFound: `after` is none of them.
    """
    c = responses.c
    query = select(responses).where(c.chat == chat)
    if after is not None:
        last = await find_turn(connection, chat, after)
        beyond = c.created < last.created if descending else c.created > last.created
        beside = c.id < last.id if descending else c.id > last.id
        query = query.where(or_(beyond, and_(c.created == last.created, beside)))
    order = (c.created.desc(), c.id.desc()) if descending else (c.created, c.id)
    rows = (await connection.execute(query.order_by(*order).limit(limit + 1))).mappings().all()
    return [kept_of(row) for row in rows[:limit]], len(rows) > limit


async def turns_of(connection: AsyncConnection, chat: str, ids: Sequence[str]) -> list[Kept]:
    """These responses of a chat, in that order."""
    found: dict[str, Kept] = {}
    for at in range(0, len(ids), 500):
        query = select(responses).where(responses.c.chat == chat, responses.c.id.in_(ids[at : at + 500]))
        found |= {row["id"]: kept_of(row) for row in (await connection.execute(query)).mappings()}
    return [found[id] for id in ids if id in found]  # noqa: A001


async def path_to(connection: AsyncConnection, chat: str, id: str) -> list[str]:  # noqa: A002
    """The ids of the responses that lead to one, the first one first."""
    c = responses.c
    path = select(c.id, c.previous, literal(0).label("depth")).where(c.id == id, c.chat == chat)
    cte = path.cte("path", recursive=True)
    cte = cte.union_all(
        select(c.id, c.previous, (cte.c.depth + 1).label("depth")).where(c.id == cte.c.previous, c.chat == chat)
    )
    return list((await connection.execute(select(cte.c.id).order_by(cte.c.depth.desc()))).scalars())


async def branch_of(connection: AsyncConnection, chat: str, id: str) -> list[str]:  # noqa: A002
    """The ids of a response and of all that go on from it."""
    c = responses.c
    cte = select(c.id).where(c.id == id, c.chat == chat).cte("branch", recursive=True)
    cte = cte.union_all(select(c.id).where(c.previous == cte.c.id, c.chat == chat))
    return list((await connection.execute(select(cte.c.id))).scalars())
