"""Links to read a chat with: whoever has one sees what was said up to a turn, until it is withdrawn."""

from typing import Any

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import NotFound
from mainspring.store.chats import Chat, chat_of
from mainspring.store.tables import chat_shares, chats

__all__ = ["Share", "add_share", "find_shared", "list_shares", "remove_share", "unshare"]


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A link. Its id is 256 random bits, and all that is asked of its reader.

    Args:
        turn: the last that is shown.
        created: Unix seconds.
    """

    id: str
    chat: str
    turn: str
    created: float


async def add_share(connection: AsyncConnection, share: Share) -> None:
    """Keep a new link."""
    await connection.execute(insert(chat_shares).values(msgspec.structs.asdict(share)))


async def list_shares(connection: AsyncConnection, chat: str) -> list[Share]:
    """The links to a chat, oldest first."""
    c = chat_shares.c
    query = select(chat_shares).where(c.chat == chat).order_by(c.created, c.id)
    return [Share(**row) for row in (await connection.execute(query)).mappings()]


async def remove_share(connection: AsyncConnection, chat: str, id: str) -> None:  # noqa: A002
    """Withdraw a link to a chat.

    Raises:
        NotFound: it has none of that id.
    """
    c = chat_shares.c
    gone = await connection.execute(delete(chat_shares).where(c.id == id, c.chat == chat))
    if not gone.rowcount:
        raise NotFound("The chat has no such link.", param="share_id")


async def unshare(connection: AsyncConnection, turns: list[str]) -> None:
    """Withdraw the links that end in turns that were deleted."""
    for at in range(0, len(turns), 500):
        await connection.execute(delete(chat_shares).where(chat_shares.c.turn.in_(turns[at : at + 500])))


async def find_shared(connection: AsyncConnection, id: str) -> tuple[Share, Chat]:  # noqa: A002
    """What a link leads to, whoever asks.

    Raises:
        NotFound: there is no such link.
    """
    row: Any = (await connection.execute(select(chat_shares).where(chat_shares.c.id == id))).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such link, or it was withdrawn.")
    share = Share(**row)
    found = (await connection.execute(select(chats).where(chats.c.id == share.chat))).mappings().one()
    return share, chat_of(found)
