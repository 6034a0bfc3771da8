"""Chats whose answers were to be stored (`store: true`): looked at again, labelled, and evaluated.

An answer is not kept waiting for the database: what was said is noted when its last byte is known, and a task of its
own writes what has gathered. Whoever looks for stored chats waits for that task, so that a client finds what it was
just answered. A server that is killed in between has not stored what it had not written yet.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound
from mainspring.store.db import Database
from mainspring.store.tables import stored_chats as table

__all__ = ["ChatFilter", "StoredChat", "StoredChats", "page_of", "remove_chats"]

MAX_WAITING = 1000
"""Answers that wait to be written. A database that is gone for longer costs what comes after, and not the memory."""
TOGETHER = 64
SETTLE_S = 5.0
SWEEP_S = 60.0
PAGE = 100
"""Rows read at a time where most of them may not be wanted."""
_log = log.get("mainspring.stored_chats")


class StoredChat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat. Times are Unix seconds; `expires` is None if it stays until it is deleted.

    Args:
        labels: the client's metadata.
        messages: what was asked, as it was sent.
        answer: the chat completion, with the parameters it was made with.
    """

    id: str
    project: str
    model: str
    created: float
    expires: float | None = None
    creator: str = ""
    labels: dict[str, str] = {}
    messages: list[dict[str, Any]]
    answer: dict[str, Any]


class ChatFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which chats of a project are meant. Times are Unix seconds, and both ends belong to it."""

    model: str | None = None
    labels: dict[str, str] = {}
    since: float | None = None
    until: float | None = None


class StoredChats:
    """The stored chats of one installation.

    Args:
        retention_s: how long one is kept; 0 keeps it until it is deleted.
    """

    def __init__(self, database: Database, clock: Clock, retention_s: float) -> None:
        self._database, self._clock, self._retention_s = database, clock, retention_s
        self._waiting: list[tuple[str, Callable[[], StoredChat]]] = []
        self._writing: asyncio.Task[None] | None = None

    def keep(self, id: str, make: Callable[[], StoredChat]) -> None:  # noqa: A002 - what the API calls it
        """Have a chat written, soon; `make` puts it together then."""
        if len(self._waiting) >= MAX_WAITING:
            _log.warning("a chat was not stored: too many wait for the database", id=id)
            return
        self._waiting.append((id, make))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def settled(self) -> None:
        """Until what was noted before is written, or the database has not answered for long."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=SETTLE_S)

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:TOGETHER]
                try:
                    made = [self._lasting(make()) for _, make in batch]
                    async with self._database.write() as connection:
                        for chat in made:
                            await connection.execute(insert(table).values(_columns(chat)))
                except MainspringError as error:
                    _log.warning("chats were not stored", num=len(batch), error=error.message)
                except Exception:  # noqa: BLE001 - the next ones may go well
                    _log.exception("chats were not stored", num=len(batch))
                del self._waiting[: len(batch)]
        finally:
            self._writing = None

    def _lasting(self, chat: StoredChat) -> StoredChat:
        expires = chat.created + self._retention_s if self._retention_s else None
        return msgspec.structs.replace(chat, expires=expires)

    async def get(self, project: str, id: str) -> StoredChat:  # noqa: A002 - what the API calls it
        """A chat of a project.

        Raises:
            NotFound: there is none of that id, or no longer.
        """
        await self.settled()
        async with self._database.read() as connection:
            row = (await connection.execute(select(table).where(self._mine(project, id)))).mappings().one_or_none()
        if row is None:
            raise _no_chat(id)
        return _chat(row)

    async def list(
        self, project: str, wanted: ChatFilter, *, after: str | None = None, limit: int, descending: bool = False
    ) -> tuple[list[StoredChat], bool]:
        """Chats of a project by the time when they were made, and whether there are more.

        Args:
            after: the id of the last chat of the page before.

        Raises:
            InvalidRequest: `after` is no chat of the project.
        """
        await self.settled()
        async with self._database.read() as connection:
            start = None
            if after is not None:
                row = (await connection.execute(select(table).where(self._mine(project, after)))).mappings().first()
                if row is None:
                    raise InvalidRequest(f"'after' is no stored chat: {after[:100]!r}.", param="after")
                start = row["created"], row["id"]
            found = await page_of(
                connection, project, wanted, after=start, limit=limit + 1, descending=descending, now_s=self._now()
            )
        return found[:limit], len(found) > limit

    async def label(self, project: str, id: str, labels: Mapping[str, str]) -> StoredChat:  # noqa: A002 - see above
        """Give a chat other labels. Errors as of `get`."""
        await self.settled()
        text = msgspec.json.encode(dict(labels)).decode()
        async with self._database.write() as connection:
            await connection.execute(update(table).where(self._mine(project, id)).values(labels=text))
        return await self.get(project, id)

    async def remove(self, project: str, id: str) -> None:  # noqa: A002 - see above
        """Delete a chat. Errors as of `get`."""
        await self.settled()
        async with self._database.write() as connection:
            gone = await connection.execute(delete(table).where(self._mine(project, id)))
            if not gone.rowcount:
                raise _no_chat(id)

    async def sweep(self) -> int:
        """Delete what has expired; how many there were."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(table).where(table.c.expires <= self._now()))
        return int(gone.rowcount)

    async def keep_swept(self) -> None:
        """`sweep` for as long as the server runs."""
        while True:
            try:
                await self.sweep()
            except MainspringError as error:
                _log.warning("stored chats were not swept", error=error.message)
            await asyncio.sleep(SWEEP_S)

    def _now(self) -> float:
        return self._clock.now()

    def _mine(self, project: str, id: str) -> ColumnElement[bool]:  # noqa: A002 - what the API calls it
        return and_(table.c.id == id, table.c.project == project, _lives(self._now()))


async def page_of(
    connection: AsyncConnection, project: str, wanted: ChatFilter, *, after: tuple[float, str] | None, limit: int,
    descending: bool = False, now_s: float,
) -> list[StoredChat]:  # fmt: skip
    """Chats that a filter wants, behind (created, id) of another one."""
    found: list[StoredChat] = []
    async for id in _ids(connection, project, wanted, after, descending=descending, now_s=now_s):  # noqa: A001 - what the API calls it
        row = (await connection.execute(select(table).where(table.c.id == id))).mappings().first()
        if row is not None:
            found.append(_chat(row))
        if len(found) == limit:
            break
    return found


async def _ids(
    connection: AsyncConnection, project: str, wanted: ChatFilter, after: tuple[float, str] | None, *,
    descending: bool, now_s: float,
) -> AsyncGenerator[str]:  # fmt: skip
    """Their ids, of rows whose large columns are not read."""
    when, key = table.c.created, table.c.id
    query = select(key, when, table.c.labels).where(table.c.project == project, _lives(now_s)).limit(PAGE)
    query = query.order_by(*((when.desc(), key.desc()) if descending else (when, key)))
    if wanted.model is not None:
        query = query.where(table.c.model == wanted.model)
    if wanted.since is not None:
        query = query.where(when >= wanted.since)
    if wanted.until is not None:
        query = query.where(when <= wanted.until)
    while True:
        rows: Sequence[Any] = (await connection.execute(_behind(query, after, descending))).all()
        for row in rows:
            has = msgspec.json.decode(row.labels, type=dict[str, str])
            if all(has.get(name) == value for name, value in wanted.labels.items()):
                yield row.id
        if len(rows) < PAGE:
            return
        after = rows[-1].created, rows[-1].id


def _behind(query: Any, after: tuple[float, str] | None, descending: bool) -> Any:
    if after is None:
        return query
    when, key, (at_s, at) = table.c.created, table.c.id, after
    if descending:
        return query.where(or_(when < at_s, and_(when == at_s, key < at)))
    return query.where(or_(when > at_s, and_(when == at_s, key > at)))


async def remove_chats(connection: AsyncConnection, project: str) -> None:
    """Delete the stored chats of a project, in a transaction of `Database.write`."""
    await connection.execute(delete(table).where(table.c.project == project))


def _lives(now_s: float) -> ColumnElement[bool]:
    return or_(table.c.expires.is_(None), table.c.expires > now_s)


def _columns(chat: StoredChat) -> dict[str, Any]:
    fields = msgspec.structs.asdict(chat)
    return {**fields, **{name: msgspec.json.encode(fields[name]).decode() for name in ("labels", "messages", "answer")}}


def _chat(row: RowMapping) -> StoredChat:
    decoded = {name: msgspec.json.decode(row[name]) for name in ("labels", "messages", "answer")}
    fields: dict[str, Any] = {name: row[name] for name in StoredChat.__struct_fields__}
    return StoredChat(**{**fields, **decoded})


def _no_chat(id: str) -> NotFound:  # noqa: A002 - what the API calls it
    return NotFound(f"No stored chat completion found with id {id[:100]!r}.", param="completion_id")
