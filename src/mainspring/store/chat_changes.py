"""Which chats have changed: a row for each, with the number of its last change.

Numbers grow by one with each change of any chat. The database has one writer at a time, so whoever has seen a number
has seen all that are lower. Rows of chats that are gone stay for a while, so that others learn of it.
"""

from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import chat_changes, chats

__all__ = [
    "KEPT",
    "ChatChange",
    "changes_after",
    "forget_changes",
    "forget_project",
    "newest_change",
    "note_change",
    "owners_after",
]

KEPT = 100_000
"""So many numbers back one can ask what has changed since."""


class ChatChange(msgspec.Struct, frozen=True, kw_only=True):
    """That a chat has changed.

    Args:
        number: of the last change.
        cut: of the last one that took turns away.
        gone: it is there no longer.
    """

    chat: str
    number: int
    cut: int
    gone: bool


async def note_change(connection: AsyncConnection, chat: str, *, cut: bool = False) -> None:
    """A chat is about to change or has changed, or is about to go; `cut` if turns of it go. Of one that is not there
    nothing is noted."""
    c = chat_changes.c
    owner = (await connection.execute(select(chats.c.project, chats.c.owner).where(chats.c.id == chat))).one_or_none()
    if owner is None:
        return
    before = (await connection.execute(select(c.cut).where(c.chat == chat))).scalar() or 0
    number = await newest_change(connection) + 1
    row: dict[str, Any] = {"chat": chat, "number": number, "cut": number if cut else before}
    await connection.execute(delete(chat_changes).where(c.chat == chat))
    await connection.execute(insert(chat_changes).values(project=owner.project, owner=owner.owner, **row))


async def newest_change(connection: AsyncConnection) -> int:
    """The highest number; 0 if nothing has changed yet."""
    return (await connection.execute(select(func.max(chat_changes.c.number)))).scalar() or 0


async def changes_after(
    connection: AsyncConnection, project: str, owner: str, number: int, limit: int
) -> list[ChatChange]:
    """What has changed of somebody's chats since, the oldest change first."""
    c = chat_changes.c
    query = select(c.chat, c.number, c.cut, chats.c.id.is_(None).label("gone"))
    query = query.select_from(chat_changes.outerjoin(chats, chats.c.id == c.chat))
    query = query.where(c.project == project, c.owner == owner, c.number > number).order_by(c.number).limit(limit)
    rows = await connection.execute(query)
    return [ChatChange(chat=row.chat, number=row.number, cut=row.cut, gone=bool(row.gone)) for row in rows]


async def owners_after(connection: AsyncConnection, number: int) -> set[tuple[str, str]]:
    """Project and owner of whatever has changed since."""
    c = chat_changes.c
    rows = await connection.execute(select(c.project, c.owner).where(c.number > number).distinct())
    return {(row.project, row.owner) for row in rows}


async def forget_changes(connection: AsyncConnection) -> None:
    """Forget those that are more than `KEPT` numbers back. The newest stays: its number is given to no other."""
    oldest = await newest_change(connection) - KEPT
    if oldest > 0:
        await connection.execute(delete(chat_changes).where(chat_changes.c.number <= oldest))


async def forget_project(connection: AsyncConnection, project: str) -> None:
    """Forget a project's. The newest of all stays, as above."""
    c = chat_changes.c
    newest = await newest_change(connection)
    await connection.execute(delete(chat_changes).where(c.project == project, c.number < newest))
