"""Files in vector stores, alone or in batches, as their owners see them. A job (`indexing.py`) does the work."""

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.search import Value
from mainspring.retrieval import rows
from mainspring.retrieval.indexing import KIND
from mainspring.retrieval.lives import check_lives
from mainspring.retrieval.rows import Attached, Batch, Counts, Status, Store
from mainspring.retrieval.stores import Page, Stores, store_in
from mainspring.store.db import Database
from mainspring.store.jobs import Job, add_job, change_job, find_job
from mainspring.store.tables import files, vector_store_batches, vector_store_files

__all__ = ["AUTO", "Attaching", "Chunking", "SeenBatch", "Wish"]

MAX_FILES = 10_000
"""Of one store."""
PAGE = 100
"""Chunks that are read at a time."""
APART_S = 1e-5
"""Between the times of files that come together, so that they stay in their order."""


class Chunking(msgspec.Struct, frozen=True):
    """How a file is cut, in tokens."""

    max_tokens: int
    overlap: int


AUTO = Chunking(800, 400)
"""OpenAI's."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A file that is to be put into a store."""

    file: str
    attributes: Mapping[str, Value]
    chunking: Chunking = AUTO


@dataclass(frozen=True, kw_only=True)
class SeenBatch:
    """A batch, with how far its files are."""

    batch: Batch
    counts: Counts

    @property
    def status(self) -> Status:
        """in_progress, completed or cancelled."""
        return "cancelled" if self.batch.cancelled else "in_progress" if self.counts.in_progress else "completed"


class Attaching:
    """The files in the vector stores of one installation.

    Args:
        changed: called when there is something to do for a job.
    """

    def __init__(self, database: Database, clock: Clock, stores: Stores, changed: Callable[[], None]) -> None:
        self._database, self._clock, self._stores, self._changed = database, clock, stores, changed

    async def create_store(self, store: Store, wishes: Sequence[Wish]) -> None:
        """Keep a new store, with files on their way into it.

        Raises:
            NotFound: a file is none of the project's.
        """
        async with self._database.write() as connection:
            await self._stores.add(connection, store)
            if wishes:
                await self._attach(connection, store, wishes, None, store.creator)
        self._changed()

    async def attach(self, project: str, store_id: str, wish: Wish, *, by: str) -> Attached:
        """Put a file into a store, or put it there anew.

        Raises:
            NotFound: there is no such store or file.
            InvalidRequest: the store has expired, or has as many files as it may.
        """
        async with self._database.write() as connection:
            store = await store_in(connection, project, store_id)
            await self._attach(connection, store, [wish], None, by)
            found = await rows.find_file(connection, store_id, wish.file)
        assert found is not None
        self._changed()
        return found

    async def attach_batch(self, project: str, store_id: str, wishes: Sequence[Wish], *, by: str) -> SeenBatch:
        """Put files into a store together. Errors as of `attach`."""
        batch = Batch(id=f"vsfb_{secrets.token_hex(16)}", store=store_id, created=self._clock.now(), cancelled=False)
        async with self._database.write() as connection:
            store = await store_in(connection, project, store_id)
            await connection.execute(insert(vector_store_batches).values(rows.written(batch)))
            await self._attach(connection, store, wishes, batch.id, by)
            seen = await _seen(connection, batch)
        self._changed()
        return seen

    async def _attach(
        self, connection: AsyncConnection, store: Store, wishes: Sequence[Wish], batch: str | None, by: str
    ) -> None:
        now_s = self._clock.now()
        check_lives(store, now_s)
        unique = list({wish.file: wish for wish in wishes}.values())
        await self._check_files(connection, store.project, [wish.file for wish in unique], now_s)
        job = Job(
            id=f"vsjob_{secrets.token_hex(16)}", kind=KIND, project=store.project, creator=by[:128], priority=0,
            status="in_progress", wanted="run", spec={"store": store.id, "batch": batch}, state={}, error=None,
            created=now_s,
        )  # fmt: skip
        await add_job(connection, job)
        attached = [
            Attached(
                entry=secrets.token_hex(16), store=store.id, file=wish.file, batch=batch, job=job.id, place=place,
                created=now_s + place * APART_S, status="in_progress", error=None, attributes=dict(wish.attributes),
                max_tokens=wish.chunking.max_tokens, overlap=wish.chunking.overlap,
            )
            for place, wish in enumerate(unique)
        ]  # fmt: skip
        await rows.add_files(connection, store.id, attached)
        counts = (await rows.counts_of(connection, [store.id])).get(store.id, Counts())
        if counts.total > MAX_FILES:
            raise InvalidRequest(
                f"A vector store holds at most {MAX_FILES:,} files; this one would have {counts.total:,}.",
                code="max_files_exceeded", param="file_ids",
            )  # fmt: skip
        await rows.touch(connection, store, now_s)

    async def _check_files(self, connection: AsyncConnection, project: str, ids: Sequence[str], now_s: float) -> None:
        alive = or_(files.c.expires.is_(None), files.c.expires > now_s)
        for start in range(0, len(ids), rows.IDS):
            some = ids[start : start + rows.IDS]
            query = select(files.c.id).where(files.c.id.in_(some), files.c.project == project, alive)
            found = set((await connection.execute(query)).scalars())
            for each in some:
                if each not in found:
                    raise NotFound(f"No such File object: {each[:100]}", param="file_id")

    async def get(self, project: str, store: str, file: str) -> Attached:
        """A file in a store.

        Raises:
            NotFound: there is no such store, or no such file in it.
        """
        async with self._database.read() as connection:
            await store_in(connection, project, store)
            return await _file_in(connection, store, file)

    async def list(
        self, project: str, store: str, page: Page, *, batch: str | None = None, status: str | None = None
    ) -> tuple[list[Attached], bool]:
        """Files in a store, or of a batch, by the time when they were put there, and whether there are more.

        Raises:
            NotFound: there is no such store or batch.
            InvalidRequest: `after` or `before` is no file in the store.
        """
        async with self._database.read() as connection:
            await store_in(connection, project, store)
            if batch is not None:
                await _batch_in(connection, store, batch)
            at = {
                name: await _place(connection, store, name, value)
                for name, value in (("after", page.after), ("before", page.before))
            }
            return await rows.list_files(
                connection, store=store, batch=batch, status=status, limit=page.limit, descending=page.descending, **at
            )

    async def set_attributes(self, project: str, store: str, file: str, attributes: Mapping[str, Value]) -> Attached:
        """Give a file other attributes. Errors as of `get`."""
        async with self._database.write() as connection:
            await store_in(connection, project, store)
            found = await _file_in(connection, store, file)
            await rows.set_attributes(connection, found.entry, store, attributes)
            return await _file_in(connection, store, file)

    async def remove(self, project: str, store: str, file: str) -> None:
        """Take a file out of a store; the file itself stays. Errors as of `get`."""
        async with self._database.write() as connection:
            await store_in(connection, project, store)
            found = await _file_in(connection, store, file)
            await connection.execute(delete(vector_store_files).where(vector_store_files.c.entry == found.entry))

    async def content(self, project: str, store: str, file: str) -> AsyncGenerator[str]:
        """The text of a file as it was read, piece by piece; nothing while it is on its way. Errors as of `get`."""
        found = await self.get(project, store, file)
        start, told = 0, 0
        while found.status == "completed":
            async with self._database.read() as connection:
                page = await rows.chunks_of(connection, found.entry, start, PAGE)
            for chunk in page:
                if text := chunk.text[max(told - chunk.start, 0) :]:  # chunks overlap
                    gap = chunk.start - told if told else 0  # of white space, which is in none
                    yield (" " if gap == 1 else "\n\n" if gap > 1 else "") + text
                told = max(told, chunk.end)
            if len(page) < PAGE:
                return
            start += PAGE

    async def get_batch(self, project: str, store: str, batch: str) -> SeenBatch:
        """A batch of a store.

        Raises:
            NotFound: there is no such store or batch.
        """
        async with self._database.read() as connection:
            await store_in(connection, project, store)
            return await _seen(connection, await _batch_in(connection, store, batch))

    async def cancel_batch(self, project: str, store: str, batch: str) -> SeenBatch:
        """End a batch: files that are ready stay, the others are cancelled. Errors as of `get_batch`."""
        async with self._database.write() as connection:
            await store_in(connection, project, store)
            seen = await _seen(connection, await _batch_in(connection, store, batch))
            if seen.status == "in_progress":
                c = vector_store_files.c
                waiting = and_(c.batch == batch, c.status == "in_progress")
                for job in (await connection.execute(select(c.job).distinct().where(waiting))).scalars().all():
                    if (found := await find_job(connection, job)) is not None:
                        await change_job(connection, found, wanted="cancel")
                await connection.execute(update(vector_store_files).where(waiting).values(status="cancelled"))
                mark = update(vector_store_batches).where(vector_store_batches.c.id == batch)
                await connection.execute(mark.values(cancelled=True))
            return await _seen(connection, await _batch_in(connection, store, batch))


async def _seen(connection: AsyncConnection, batch: Batch) -> SeenBatch:
    counts = await rows.counts_of(connection, [batch.id], by="batch")
    return SeenBatch(batch=batch, counts=counts.get(batch.id, Counts()))


async def _file_in(connection: AsyncConnection, store: str, file: str) -> Attached:
    found = await rows.find_file(connection, store, file)
    if found is None:
        raise NotFound(f"No file found with id '{file[:100]}' in vector store '{store}'.", param="file_id")
    return found


async def _batch_in(connection: AsyncConnection, store: str, batch: str) -> Batch:
    found = await rows.find_batch(connection, store, batch)
    if found is None:
        raise NotFound(f"No file batch found with id '{batch[:100]}' in vector store '{store}'.", param="batch_id")
    return found


async def _place(connection: AsyncConnection, store: str, name: str, file: str | None) -> Attached | None:
    if file is None:
        return None
    found = await rows.find_file(connection, store, file)
    if found is None:
        raise InvalidRequest(f"'{name}' is no file in this vector store: {file[:100]!r}.", param=name)
    return found
