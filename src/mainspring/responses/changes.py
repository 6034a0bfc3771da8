"""Who waits for changes of their chats: other tabs, other devices.

Changes are rows (`store/chat_changes.py`), so it does not matter which server has made them. What this server changes
is told at once; what others change is found by one query a second, however many wait.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Generator

import msgspec

from mainspring.store.chat_changes import (
    KEPT,
    ChatChange,
    changes_after,
    newest_change,
    owners_after,
)
from mainspring.store.db import Database

__all__ = ["Changed", "ChatChanges"]

POLL_S = 1.0
LIMIT = 100

Owner = tuple[str, str]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed of somebody's chats.

    Args:
        number: up to which change this is.
        reset: it is not known what has changed: everything may have.
    """

    number: int
    reset: bool
    changes: list[ChatChange]


class ChatChanges:
    """Waits for them. Owned by one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: defaultdict[Owner, set[asyncio.Event]] = defaultdict(set)
        self._seen, self._looked, self._stopped = 0, 0.0, False

    def ring(self, project: str, owner: str) -> None:
        """Something of theirs has changed."""
        for event in self._waiting.get((project, owner), ()):
            event.set()

    def stop(self) -> None:
        """Nobody is to wait any longer: the server ends."""
        self._stopped = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    async def wait(self, project: str, owner: str, after: int | None, wait_s: float) -> Changed:
        """What has changed since number `after`, once something has, or after so long: then perhaps nothing. Without
        `after`, from when on that can be asked."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        until = loop.time() + wait_s
        with self._waits((project, owner), event):
            while True:
                event.clear()
                found = await self._since(project, owner, after)
                if after is None or found.changes or found.reset or self._stopped:
                    return found
                while not event.is_set():
                    left_s = until - loop.time()
                    if left_s <= 0:
                        return found
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(event.wait(), min(POLL_S, left_s))
                    await self._look(loop.time())

    @contextlib.contextmanager
    def _waits(self, who: Owner, event: asyncio.Event) -> Generator[None]:
        self._waiting[who].add(event)
        try:
            yield
        finally:
            self._waiting[who].discard(event)
            if not self._waiting[who]:
                del self._waiting[who]

    async def _since(self, project: str, owner: str, after: int | None) -> Changed:
        async with self._database.read() as connection:
            newest = await newest_change(connection)
            # A number that was never given is of another database.
            reset = after is not None and not newest - KEPT <= after <= newest
            if after is None or reset:
                return Changed(number=newest, reset=reset, changes=[])
            changes = await changes_after(connection, project, owner, after, LIMIT)
        number = changes[-1].number if len(changes) == LIMIT else newest
        return Changed(number=number, reset=False, changes=changes)

    async def _look(self, now_s: float) -> None:
        """Ring for whom others have changed something, unless somebody has looked a moment ago."""
        if now_s - self._looked < POLL_S / 2:
            return
        self._looked = now_s
        async with self._database.read() as connection:
            newest = await newest_change(connection)
            owners = await owners_after(connection, self._seen) if newest > self._seen else set[Owner]()
        self._seen = newest
        for project, owner in owners & self._waiting.keys():
            self.ring(project, owner)
