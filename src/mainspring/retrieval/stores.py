"""Vector stores as their owners see them: made, looked at, changed, deleted; and what goes by itself.

Files in them are `attaching.py`'s, finding things is `searching.py`'s.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound
from mainspring.retrieval import rows
from mainspring.retrieval.held import Indexes
from mainspring.retrieval.lives import has_expired
from mainspring.retrieval.rows import Counts, Store
from mainspring.store.db import Database
from mainspring.store.tables import vector_store_files, vector_stores

__all__ = ["Change", "Page", "Seen", "Stores", "no_store"]

DAY_S = 86_400
SWEEP_S = 60.0
SOME = 100
_log = log.get("mainspring.retrieval")


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list. `after` and `before` are ids."""

    limit: int = 20
    descending: bool = True
    after: str | None = None
    before: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a store; what is UNSET stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    expires_days: int | msgspec.UnsetType | None = msgspec.UNSET


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A store with what is counted of it.

    Attributes:
        bytes: of text and vectors that it keeps.
        status: in_progress while a file is on its way, expired, or completed.
    """

    store: Store
    counts: Counts
    bytes: int
    status: str


class Stores:
    """The vector stores of one installation."""

    def __init__(self, database: Database, clock: Clock, indexes: Indexes) -> None:
        self._database, self._clock, self._indexes = database, clock, indexes

    def new(
        self, *, project: str, by: str, name: str = "", description: str | None = None,
        metadata: Mapping[str, str] | None = None, expires_days: int | None = None,
    ) -> Store:  # fmt: skip
        """A store that is not kept yet: `add` does."""
        now_s = self._clock.now()
        return Store(
            id=f"vs_{secrets.token_hex(12)}", project=project, creator=by[:128], name=clean(name),
            description=None if description is None else clean(description), metadata=dict(metadata or {}),
            created=now_s, active=now_s, expires_days=expires_days, expires=_expires(now_s, expires_days),
        )  # fmt: skip

    async def add(self, connection: AsyncConnection, store: Store) -> None:
        """Keep a new store."""
        await connection.execute(insert(vector_stores).values(rows.written(store)))

    async def get(self, project: str, id: str) -> Seen:  # noqa: A002 - what the API calls it
        """A store of a project.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            return (await self._seen(connection, [await store_in(connection, project, id)]))[0]

    async def list(self, project: str, page: Page) -> tuple[Sequence[Seen], bool]:
        """Stores of a project by the time when they were made, and whether there are more.

        Raises:
            InvalidRequest: `after` or `before` is none of them.
        """
        c = vector_stores.c
        async with self._database.read() as connection:
            at = {
                name: await _place(connection, project, name, value)
                for name, value in (("after", page.after), ("before", page.before))
            }
            query = select(vector_stores).where(c.project == project)
            query = rows.paged(query, (c.created, c.id), **at, descending=page.descending)
            found = (await connection.execute(query.limit(page.limit + 1))).mappings().all()
            stores = [rows.store_of(row) for row in found[: page.limit]]
            if at["before"] is not None and at["after"] is None:
                stores.reverse()
            return await self._seen(connection, stores), len(found) > page.limit

    async def change(self, project: str, id: str, change: Change) -> Seen:  # noqa: A002 - see above
        """Change a store. Errors as of `get`."""
        async with self._database.write() as connection:
            store = await store_in(connection, project, id)
            given = {name: getattr(change, name) for name in change.__struct_fields__}
            fields: dict[str, Any] = {name: each for name, each in given.items() if each is not msgspec.UNSET}
            if "name" in fields:
                fields["name"] = clean(fields["name"])
            if "metadata" in fields:
                fields["metadata"] = rows.text_of(fields["metadata"])
            if "expires_days" in fields:
                fields["expires"] = _expires(store.active, fields["expires_days"])
            if fields:
                await connection.execute(update(vector_stores).where(vector_stores.c.id == id).values(fields))
            return (await self._seen(connection, [await store_in(connection, project, id)]))[0]

    async def remove(self, project: str, id: str) -> None:  # noqa: A002 - see above
        """Delete a store and what is in it; the files stay. Errors as of `get`."""
        async with self._database.write() as connection:
            await store_in(connection, project, id)
            await connection.execute(delete(vector_stores).where(vector_stores.c.id == id))
        await self._indexes.drop(id)

    async def _seen(self, connection: AsyncConnection, stores: Sequence[Store]) -> Sequence[Seen]:
        ids, now_s = [store.id for store in stores], self._clock.now()
        counts, usage = await rows.counts_of(connection, ids), await rows.usage_of(connection, ids)
        return [
            Seen(
                store=store, counts=(of := counts.get(store.id, Counts())), bytes=usage.get(store.id, 0),
                status="expired" if has_expired(store, now_s) else "in_progress" if of.in_progress else "completed",
            )
            for store in stores
        ]  # fmt: skip

    # -- what goes by itself -------------------------------------------------------------------------------------------

    async def keep_swept(self) -> None:
        """`sweep` for as long as the server runs."""
        while True:
            try:
                await self.sweep()
            except MainspringError as error:
                _log.warning("vector stores were not swept", error=error.message)
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Empty stores that have expired, and remove chunks and indexes of what is gone."""
        expired = select(vector_stores.c.id).where(vector_stores.c.expires <= self._clock.now())
        async with self._database.read() as connection:
            query = select(vector_store_files.c.entry).where(vector_store_files.c.store.in_(expired)).limit(1)
            has_expired_files = (await connection.execute(query)).first() is not None
        if has_expired_files:
            async with self._database.write() as connection:
                await connection.execute(delete(vector_store_files).where(vector_store_files.c.store.in_(expired)))
        await self._remove_orphans()
        for name in await self._indexes.kept():
            async with self._database.read() as connection:
                store = await rows.find_store(connection, name)
            if store is None or has_expired(store, self._clock.now()):
                await self._indexes.drop(name)

    async def _remove_orphans(self) -> None:
        """Some chunks at a time: others write too."""
        while True:
            async with self._database.read() as connection:
                orphans = await rows.orphans(connection, SOME)
            for entry in orphans:
                num_removed = 1
                while num_removed:
                    async with self._database.write() as connection:
                        num_removed = await rows.remove_chunks(connection, entry)
            if len(orphans) < SOME:
                return


async def store_in(connection: AsyncConnection, project: str, id: str) -> Store:  # noqa: A002 - see above
    """A store of a project. Raises NotFound."""
    store = await rows.find_store(connection, id)
    if store is None or store.project != project:
        raise no_store(id)
    return store


def no_store(id: str) -> NotFound:  # noqa: A002 - see above
    """That there is none of that id."""
    return NotFound(f"Vector store with id '{id[:100]}' not found.", param="vector_store_id")


async def _place(
    connection: AsyncConnection, project: str, name: str, id: str | None  # noqa: A002 - see above
) -> tuple[float, str] | None:  # fmt: skip
    if id is None:
        return None
    store = await rows.find_store(connection, id)
    if store is None or store.project != project:
        raise InvalidRequest(f"'{name}' is no vector store: {id[:100]!r}.", param=name)
    return store.created, store.id


def _expires(active_s: float, days: int | None) -> float | None:
    return None if days is None else active_s + days * DAY_S


def clean(text: str) -> str:
    """Without what PostgreSQL keeps in no text."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
