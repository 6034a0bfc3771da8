"""Chats: trees of responses with a title. What is said in one is a response in the background, so it goes on whoever
leaves, and is followed and cancelled as every response is."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound
from mainspring.core.ids import new_id
from mainspring.responses.ask import Ask
from mainspring.responses.changes import ChatChanges
from mainspring.responses.ending import note_said
from mainspring.responses.items import Response
from mainspring.responses.personal import instructed
from mainspring.responses.prompt import text_of
from mainspring.responses.service import OPEN, Responses
from mainspring.store import chats as kept
from mainspring.store import shares
from mainspring.store.chat_changes import forget_changes, note_change
from mainspring.store.chats import Chat, Wanted
from mainspring.store.db import Database
from mainspring.store.personal import personal_of
from mainspring.store.receipts import add_traces, traces_of
from mainspring.store.responses import (
    Entry,
    Kept,
    add_items,
    add_response,
    items_by_response,
    remove_responses,
)
from mainspring.store.shares import Share

__all__ = ["Chats", "Turn", "turns_in"]

TEMPORARY_S = 86_400.0
SWEEP_S = 600.0
MAX_TITLE = 80
"""Characters of the first question that become a title."""


_log = log.get("mainspring.chats")


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A response of a chat, what went in and what came out."""

    response: Kept
    given: list[Entry]
    outputs: list[Entry]


class Chats:
    """The chats of one installation. They stay until they are deleted.

    All methods raise NotFound if `owner` (a principal's `person`) has no such chat in the project.
    """

    def __init__(self, database: Database, clock: Clock, responses: Responses) -> None:
        self._database, self._clock, self._responses = database, clock, responses
        self.changes = ChatChanges(database)

    async def create(self, project: str, owner: str, *, temporary: bool = False, **fields: Any) -> Chat:
        """Begin one: `fields` are those of `Chat` that its owner chooses. A temporary one is in no list, and forgotten
        after `TEMPORARY_S`."""
        now_s = self._clock.now()
        fields["expires"] = now_s + TEMPORARY_S if temporary else None
        made = Chat(id=new_id("chat_"), project=project, owner=owner, created=now_s, updated=now_s, **fields)
        async with self._database.write() as connection:
            await kept.add_chat(connection, made)
        self.changes.ring(project, owner)
        return made

    async def ensure(self, project: str, owner: str, id: str) -> Chat:  # noqa: A002 - what the API calls it
        """The chat with an id that its client has chosen, which begins now if there is none."""
        now_s = self._clock.now()
        async with self._database.write() as connection:
            try:
                return await kept.find_chat(connection, project, owner, id)
            except NotFound:
                made = Chat(id=id, project=project, owner=owner, created=now_s, updated=now_s)
                await kept.add_chat(connection, made)
        return made

    async def get(self, project: str, owner: str, id: str) -> Chat:  # noqa: A002
        """One of them."""
        async with self._database.read() as connection:
            return await kept.find_chat(connection, project, owner, id)

    async def update(self, project: str, owner: str, id: str, **fields: Any) -> Chat:  # noqa: A002
        """Change what its owner chooses. Its place among the others stays.

        Raises:
            NotFound: `head` is no turn of it.
        """
        async with self._database.write() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            if (head := fields.get("head")) is not None:
                await kept.find_turn(connection, found.id, head)
            changed = msgspec.structs.replace(found, **fields)
            await kept.change_chat(connection, changed)
        self.changes.ring(project, owner)
        return changed

    async def remove(self, project: str, owner: str, id: str) -> None:  # noqa: A002
        """Forget it and all that was said in it; what is still being said is given up."""
        async with self._database.write() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            gone = await kept.remove_chat(connection, found.id)
        self._responses.gone(gone)
        self.changes.ring(project, owner)

    async def turns(
        self, project: str, owner: str, id: str, *, after: str | None, limit: int, descending: bool  # noqa: A002
    ) -> tuple[list[Turn], bool]:  # fmt: skip
        """A page of what was said in it on all branches, oldest or newest first, and whether there is more."""
        async with self._database.read() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            page, more = await kept.list_turns(connection, found.id, after=after, limit=limit, descending=descending)
            return await turns_in(connection, page), more

    async def has_turn(self, chat: Chat, turn: str) -> bool:
        """Whether a response is one of a chat's."""
        async with self._database.read() as connection:
            return bool(await kept.turns_of(connection, chat.id, [turn]))

    async def path(self, project: str, owner: str, id: str) -> list[Turn]:  # noqa: A002
        """What was said up to the turn that was looked at last."""
        async with self._database.read() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            ids = [] if found.head is None else await kept.path_to(connection, found.id, found.head)
            return await turns_in(connection, await kept.turns_of(connection, found.id, ids))

    async def ask(self, owner: str, id: str, ask: Ask, response: Response) -> Response:  # noqa: A002
        """Say something in it. What it goes on from is `ask.previous`, any turn of it; None begins another tree. The
        person's own instructions are put before those of the turn.

        Raises:
            MainspringError: as `Responses.enqueue`.
        """

        async def join(connection: AsyncConnection) -> None:
            found = await kept.find_chat(connection, ask.project, owner, id)
            title = found.title or _title(ask.input)
            changed = msgspec.structs.replace(found, head=ask.id, updated=self._clock.now(), title=title)
            await kept.change_chat(connection, changed)

        instructions = await self._instructions(ask, owner, id)
        response = msgspec.structs.replace(response, instructions=instructions)
        ask = msgspec.structs.replace(
            ask, chat=id, owner=owner, background=True, stores=True, instructions=instructions
        )  # fmt: skip
        made = await self._responses.enqueue(ask, response, join)
        self.changes.ring(ask.project, owner)
        return made

    async def _instructions(self, ask: Ask, owner: str, id: str) -> str | None:  # noqa: A002
        """What the model is told of the chat, and of whoever asks."""
        async with self._database.read() as connection:
            found = await kept.find_chat(connection, ask.project, owner, id)
            personal = await personal_of(connection, ask.project, owner)
        return instructed(personal, ask.instructions, is_temporary=found.expires is not None)

    async def remove_turn(self, project: str, owner: str, id: str, turn: str) -> Chat:  # noqa: A002
        """Forget a turn and all that go on from it.

        Raises:
            NotFound: it has no such turn.
        """
        async with self._database.write() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            first = await kept.find_turn(connection, found.id, turn)
            gone = await kept.branch_of(connection, found.id, first.id)
            await remove_responses(connection, gone)
            await shares.unshare(connection, gone)
            if found.head in gone:
                found = msgspec.structs.replace(found, head=first.previous)
                await kept.change_chat(connection, found)
            await note_change(connection, found.id, cut=True)
        self._responses.gone(gone)
        self.changes.ring(project, owner)
        return found

    async def share(self, project: str, owner: str, id: str, turn: str | None) -> Share:  # noqa: A002
        """A link to what was said up to a turn, or to the one that was looked at last.

        Raises:
            NotFound: it has no such turn.
            InvalidRequest: nothing was said yet.
        """
        async with self._database.write() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            last = turn or found.head
            if last is None:
                raise InvalidRequest("Nothing was said in this chat yet.", param="turn")
            await kept.find_turn(connection, found.id, last)
            key = f"share_{secrets.token_urlsafe(32)}"
            made = Share(id=key, chat=found.id, turn=last, created=self._clock.now())
            await shares.add_share(connection, made)
        return made

    async def shares(self, project: str, owner: str, id: str) -> list[Share]:  # noqa: A002
        """The links to it."""
        async with self._database.read() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            return await shares.list_shares(connection, found.id)

    async def unshare(self, project: str, owner: str, id: str, share: str) -> None:  # noqa: A002
        """Withdraw a link.

        Raises:
            NotFound: it has no such link.
        """
        async with self._database.write() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            await shares.remove_share(connection, found.id, share)

    async def shared(self, share: str) -> tuple[Chat, list[Turn]]:
        """What a link leads to, whoever asks.

        Raises:
            NotFound: there is no such link.
        """
        async with self._database.read() as connection:
            link, found = await shares.find_shared(connection, share)
            path = await kept.turns_of(connection, found.id, await kept.path_to(connection, found.id, link.turn))
            return found, await turns_in(connection, path)

    async def sweep(self) -> int:
        """Forget temporary chats whose time is over; how many there were."""
        gone: list[str] = []
        async with self._database.write() as connection:
            over = await kept.expired_chats(connection, self._clock.now())
            for id in over:  # noqa: A001
                gone += await kept.remove_chat(connection, id)
            await forget_changes(connection)
        self._responses.gone(gone)
        return len(over)

    async def keep_swept(self) -> None:
        """`sweep` for as long as the server runs."""
        while True:
            try:
                while await self.sweep():
                    pass
            except MainspringError as error:
                _log.warning("chats were not swept", error=error.message)
            await asyncio.sleep(SWEEP_S)

    async def fork(self, project: str, owner: str, id: str, turn: str) -> Chat:  # noqa: A002
        """A new chat that begins with a copy of what led to a turn, and of the turn.

        Raises:
            NotFound: it has no such turn.
            InvalidRequest: the turn is not over.
        """
        now_s = self._clock.now()
        async with self._database.write() as connection:
            found = await kept.find_chat(connection, project, owner, id)
            last = await kept.find_turn(connection, found.id, turn)
            if last.status in OPEN:
                raise InvalidRequest(f"The turn '{last.id}' is {last.status}: wait for its end.", param="at")
            path = await kept.turns_of(connection, found.id, await kept.path_to(connection, found.id, last.id))
            made = Chat(
                id=new_id("chat_"), project=project, owner=owner, created=now_s, updated=now_s, title=found.title,
                folder=found.folder, tags=found.tags, settings=found.settings, expires=found.expires,
            )  # fmt: skip
            head = await _copy(connection, await turns_in(connection, path), made.id)
            made = msgspec.structs.replace(made, head=head)
            await kept.add_chat(connection, made)
        self.changes.ring(project, owner)
        return made

    async def list(
        self, project: str, owner: str, wanted: Wanted, *, after: str | None, limit: int
    ) -> tuple[list[Chat], bool]:
        """A page of them, the newest change first, and whether there is more."""
        async with self._database.read() as connection:
            return await kept.list_chats(connection, project, owner, wanted, after=after, limit=limit)


async def turns_in(connection: AsyncConnection, page: Sequence[Kept]) -> list[Turn]:
    """Responses with what went in and what came out."""
    said = await items_by_response(connection, [each.id for each in page])
    return [
        Turn(
            response=each,
            given=[entry for is_output, entry in said.get(each.id, ()) if not is_output],
            outputs=[entry for is_output, entry in said.get(each.id, ()) if is_output],
        )
        for each in page
    ]


async def _copy(connection: AsyncConnection, path: Sequence[Turn], chat: str) -> str | None:
    """Turns that go on from each other, as those of another chat; the id of the last. Their events are not copied."""
    previous = None
    for turn in path:
        old, id = turn.response, new_id("resp_")  # noqa: A001
        body = {**old.body, "id": id, "previous_response_id": previous}
        copy = msgspec.structs.replace(old, id=id, previous=previous, chat=chat, streamed=False, body=body)
        await add_response(connection, copy)
        await add_items(connection, id, turn.given, is_output=False)
        await add_items(connection, id, turn.outputs, is_output=True, start=len(turn.given))
        await note_said(connection, id, [*turn.given, *turn.outputs])
        await add_traces(connection, id, await traces_of(connection, old.id))
        previous = id
    return previous


def _title(items: Sequence[dict[str, Any]]) -> str:
    """The beginning of the first thing that the user says."""
    said = next(
        (text_of(item["content"]) for item in items if item["type"] == "message" and item["role"] == "user"), ""
    )
    words = " ".join(said.replace("\0", " ").split())
    return words if len(words) <= MAX_TITLE else words[: MAX_TITLE - 1].rpartition(" ")[0] + "…"
