"""Conversations: items in order, added by clients and by the responses that are made of them."""

from collections.abc import Sequence

from mainspring.core.clock import Clock
from mainspring.core.ids import new_id
from mainspring.store import conversations as kept
from mainspring.store.conversations import Conversation
from mainspring.store.db import Database
from mainspring.store.responses import Entry

__all__ = ["Conversations"]


class Conversations:
    """The conversations of one installation. They stay until they are deleted.

    All methods raise NotFound if the project has no such conversation, or it no such item.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, project: str, metadata: dict[str, str], entries: Sequence[Entry]) -> Conversation:
        """Begin one, with items."""
        made = Conversation(id=new_id("conv_"), project=project, created=self._clock.now(), metadata=metadata)
        async with self._database.write() as connection:
            await kept.add_conversation(connection, made)
            await kept.append(connection, made, entries)
        return made

    async def get(self, project: str, id: str) -> Conversation:  # noqa: A002 - what the API calls it
        """One of a project."""
        async with self._database.read() as connection:
            return await kept.find_conversation(connection, project, id)

    async def update(self, project: str, id: str, metadata: dict[str, str]) -> Conversation:  # noqa: A002
        """Put other labels on it."""
        async with self._database.write() as connection:
            found = await kept.find_conversation(connection, project, id)
            await kept.change_conversation(connection, found, metadata)
            return await kept.find_conversation(connection, project, id)

    async def remove(self, project: str, id: str) -> None:  # noqa: A002
        """Forget it with its items; responses that were made of it stay."""
        async with self._database.write() as connection:
            found = await kept.find_conversation(connection, project, id)
            await kept.remove_conversation(connection, found.id)

    async def add(self, project: str, id: str, entries: Sequence[Entry]) -> list[Entry]:  # noqa: A002
        """Add items at its end; as they are then."""
        async with self._database.write() as connection:
            found = await kept.find_conversation(connection, project, id)
            return await kept.append(connection, found, entries)

    async def list(
        self, project: str, id: str, *, after: str | None, limit: int, descending: bool  # noqa: A002
    ) -> tuple[list[Entry], bool]:  # fmt: skip
        """A page of its items, and whether there is more. Raises InvalidRequest if `after` is none of them."""
        async with self._database.read() as connection:
            found = await kept.find_conversation(connection, project, id)
            return await kept.list_items(connection, found.id, after=after, limit=limit, descending=descending)

    async def item(self, project: str, id: str, item: str) -> Entry:  # noqa: A002
        """One item."""
        async with self._database.read() as connection:
            found = await kept.find_conversation(connection, project, id)
            return await kept.find_item(connection, found.id, item)

    async def remove_item(self, project: str, id: str, item: str) -> Conversation:  # noqa: A002
        """Forget an item."""
        async with self._database.write() as connection:
            found = await kept.find_conversation(connection, project, id)
            await kept.remove_item(connection, found.id, item)
            return found
