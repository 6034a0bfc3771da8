"""Chats on their way out and in: what a chat is as one document, and chats that were made elsewhere.

What goes out is everything that its owner is shown, and comes in again as it was: ids and times stay, unless somebody
else has the id. What came of tools beyond that stays behind.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.ids import new_id
from mainspring.responses.chats import Turn, turns_in
from mainspring.responses.ending import note_said
from mainspring.responses.items import IncompleteDetails, Response, ResponseError, ResponseUsage
from mainspring.responses.service import NEVER, OPEN, body_of
from mainspring.store import chats as kept
from mainspring.store.chats import Chat, Wanted
from mainspring.store.db import Database
from mainspring.store.responses import Entry, Kept, add_items, add_response
from mainspring.store.tables import chats as chats_table
from mainspring.store.tables import responses as responses_table

__all__ = ["GivenChat", "GivenTurn", "Transfer"]

Json = dict[str, Any]

PAGE = 100


class GivenTurn(msgspec.Struct, kw_only=True):
    """A turn that was made elsewhere. `previous` is the id of one before it in the same chat, or None."""

    id: str
    previous: str | None
    created: float
    completed_at: int | None = None
    status: Literal["completed", "failed", "cancelled", "incomplete"]
    model: str
    instructions: str | None = None
    input: list[Json]
    output: list[Json]
    usage: ResponseUsage | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    include: list[str] = []


class GivenChat(msgspec.Struct, kw_only=True):
    """A chat that was made elsewhere; each turn stands behind the one that it goes on from."""

    id: str
    created: float
    updated: float
    title: str = ""
    folder: str = ""
    tags: list[str] = []
    pinned: bool = False
    settings: Json = {}
    head: str | None = None
    turns: list[GivenTurn] = []


class Transfer:
    """The chats of one installation, out and in."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def every(self, project: str, owner: str) -> AsyncGenerator[tuple[Chat, list[Turn]]]:
        """Somebody's chats with all that was said in them and is over, one after the other."""
        after = None
        while True:
            async with self._database.read() as connection:
                page, more = await kept.list_chats(connection, project, owner, Wanted(), after=after, limit=PAGE)
            for chat in page:
                yield chat, await self._said(chat)
            if not more:
                return
            after = page[-1].id

    async def _said(self, chat: Chat) -> list[Turn]:
        found: list[Turn] = []
        more, after = True, None
        async with self._database.read() as connection:
            while more:
                page, more = await kept.list_turns(connection, chat.id, after=after, limit=PAGE)
                found += await turns_in(connection, page)
                after = page[-1].id if page else None
        return [turn for turn in found if turn.response.status not in OPEN]

    async def take(
        self, project: str, owner: str, creator: str, given: Sequence[GivenChat]
    ) -> tuple[list[str], list[str]]:
        """Keep chats that were made elsewhere: the ids of those that are new, and of those that were here already.

        Args:
            creator: the id of whoever brings them.
        """
        taken: list[str] = []
        known: list[str] = []
        for chat in given:
            async with self._database.write() as connection:
                holder = select(chats_table.c.owner, chats_table.c.project).where(chats_table.c.id == chat.id)
                row = (await connection.execute(holder)).one_or_none()
                if row is not None and (row.owner, row.project) == (owner, project):
                    known.append(chat.id)
                    continue
                id = chat.id if row is None else new_id("chat_")  # noqa: A001
                await self._keep(connection, project, owner, creator, msgspec.structs.replace(chat, id=id))
                taken.append(id)
        return taken, known

    async def _keep(self, connection: AsyncConnection, project: str, owner: str, creator: str, chat: GivenChat) -> None:
        ids = await _free(connection, [turn.id for turn in chat.turns])
        fields = {name: getattr(chat, name) for name in Chat.__struct_fields__ if hasattr(chat, name)}
        fields["head"] = ids.get(chat.head or "")
        await kept.add_chat(connection, Chat(project=project, owner=owner, **fields))
        for turn in chat.turns:
            id, previous = ids[turn.id], ids.get(turn.previous or "")  # noqa: A001
            response = Response(
                id=id, created_at=int(turn.created), status=turn.status, model=turn.model, background=True,
                instructions=turn.instructions, previous_response_id=previous, usage=turn.usage, error=turn.error,
                incomplete_details=turn.incomplete_details, completed_at=turn.completed_at,
            )  # fmt: skip
            row = Kept(
                id=id, project=project, creator=creator, created=turn.created, expires=NEVER, status=turn.status,
                background=True, streamed=False, previous=previous, conversation=None, include=turn.include,
                body=body_of(response), chat=chat.id,
            )  # fmt: skip
            given, outputs = [Entry(item) for item in turn.input], [Entry(item) for item in turn.output]
            await add_response(connection, row)
            await add_items(connection, id, given, is_output=False)
            await add_items(connection, id, outputs, is_output=True, start=len(given))
            await note_said(connection, id, [*given, *outputs])


async def _free(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """What each of these turns is called here: as it was, or anew if that is taken."""
    c, used = responses_table.c, set[str]()
    for at in range(0, len(ids), 500):
        used.update((await connection.execute(select(c.id).where(c.id.in_(ids[at : at + 500])))).scalars())
    return {id: new_id("resp_") if id in used else id for id in ids}  # noqa: A001
