"""The job that puts files into a store: parse, cut, make vectors, keep; file after file, some chunks at a time.

What is kept are rows: chunks first, each group with the lease of the job, then the file's status, which makes them all
findable at once. A job that was killed goes on behind the last chunk that is there, which cutting the file once more
must give again; if it does not (another version of this code cuts otherwise), the file is begun anew.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import BudgetSpent, InvalidRequest, NotFound, Overloaded
from mainspring.core.threads import drawn, in_thread
from mainspring.retrieval import rows
from mainspring.retrieval.held import Indexes
from mainspring.retrieval.index import Indexed
from mainspring.retrieval.passages import Chunk, Parse, Passage
from mainspring.retrieval.rows import Attached, Store
from mainspring.retrieval.vectors import Vectors
from mainspring.store.db import Database
from mainspring.store.files import Files
from mainspring.store.jobs import change_job
from mainspring.store.worker import Held

__all__ = ["KIND", "Cut", "Indexing"]

KIND = "indexing"
TOGETHER = 32
"""Chunks of one group: so many are embedded and written at once."""
REFRESH_S = 5.0
"""How often the index is brought up to date meanwhile, so that whoever searches need not wait for much of it."""
WAIT_S = 30.0
"""The longest that is waited for a model that is busy before the job is given back."""
_log = log.get("mainspring.retrieval")

Cut = Callable[..., Iterator[Chunk]]
"""`retrieval.chunk.chunks`: (passages, max_tokens=, overlap=, count=) -> chunks."""


class _Gone(Exception):
    """The file was taken out of the store, or cancelled: nothing more is to be done for it."""


class _Again(Exception):
    """Begin once more with the file: what was taken for granted was not so."""


class _Failed(Exception):
    """The file cannot be indexed, and never will be."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


@dataclass(frozen=True)
class _Task:
    """A file on its way: `model` makes its vectors; empty makes none."""

    held: Held
    store: Store
    attached: Attached
    model: str


class Indexing:
    """Does the jobs.

    Args:
        parse: makes passages of a file.
        cut: makes chunks of passages.
        max_tokens: of a file; one with more fails.
    """

    def __init__(
        self, database: Database, clock: Clock, files: Files, indexes: Indexes, *, vectors: Vectors, parse: Parse,
        cut: Cut, max_tokens: int,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._files = database, clock, files
        self._indexes, self._vectors, self._parse, self._cut = indexes, vectors, parse, cut
        self._max_tokens = max_tokens

    async def work(self, held: Held) -> None:
        """See `store.worker.Worker`."""
        fresh_s = time.monotonic()
        while True:
            async with self._database.read() as connection:
                attached = await rows.next_file(connection, held.job.id)
                store = None if attached is None else await rows.find_store(connection, attached.store)
            if attached is None or store is None:
                break
            try:
                await _unless_cancelled(held, self._file(held, store, attached))
            except (_Again, _Gone):
                continue
            except _Failed as failed:
                await self._fail(held, attached, failed.error)
            if time.monotonic() - fresh_s > REFRESH_S:
                await self._indexes.refresh(store)
                fresh_s = time.monotonic()
        await self._finish(held)
        async with self._database.read() as connection:
            store = await rows.find_store(connection, held.job.spec["store"])
        if store is not None:
            await self._indexes.refresh(store)

    async def _finish(self, held: Held) -> None:
        async with held.writing() as (connection, job):
            await change_job(connection, job, status="completed", finished=self._clock.now())

    async def give_up(self, held: Held, why: str) -> None:
        """The file that the job breaks off at has failed; the next attempt goes on with the others."""
        async with self._database.read() as connection:
            attached = await rows.next_file(connection, held.job.id)
        if attached is None:
            await self._finish(held)
        else:
            await self._fail(held, attached, {"code": "server_error", "message": why})

    async def _fail(self, held: Held, attached: Attached, error: dict[str, str]) -> None:
        _log.info("a file was not indexed", store=attached.store, file=attached.file, code=error["code"])
        async with held.writing() as (connection, job):
            await rows.change_file(connection, attached.entry, status="failed", error=error)
            await change_job(connection, job, state=_one_more(job.state))
        await self._forget(held, attached)

    async def _forget(self, held: Held, attached: Attached) -> None:
        """Remove the chunks of a file, some at a time: others write too."""
        num_removed = 1
        while num_removed:
            async with held.writing(gets_on=False) as (connection, _):
                num_removed = await rows.remove_chunks(connection, attached.entry)

    async def _file(self, held: Held, store: Store, attached: Attached) -> None:
        try:
            file = await self._files.get(store.project, attached.file)
            path = await self._files.local(file)
        except NotFound as error:
            raise _Failed("server_error", error.message) from None
        task = _Task(held, store, attached, await self._model(store))
        try:
            async with aclosing(self._parse(path, file.filename)) as passages:
                num_chunks = await self._through(task, passages)
        except InvalidRequest as error:
            code = "unsupported_file" if error.code == "unsupported_file" else "invalid_file"
            raise _Failed(code, error.message) from None
        if not num_chunks:
            raise _Failed("invalid_file", "There is no text in this file.")
        await self._complete(task)

    async def _through(self, task: _Task, passages: AsyncGenerator[Passage]) -> int:
        """Cut a file, and keep what is not there yet; how many chunks it has."""
        num_there, last = await self._begun(task.attached)
        num_tokens, place = 0, 0
        async for group in self._groups(passages, task):
            num_tokens += sum(chunk.tokens for chunk in group)
            if num_tokens > self._max_tokens:
                raise _Failed("invalid_file", f"The file has more than {self._max_tokens:,} tokens.")
            if place < num_there <= place + len(group) and not _same(group[num_there - place - 1], last):
                await self._forget(task.held, task.attached)
                raise _Again
            if fresh := group[max(num_there - place, 0) :]:
                await self._keep(task, max(place, num_there), fresh, await self._embedded(task, fresh))
            place += len(group)
        return place

    async def _model(self, store: Store) -> str:
        """What the file's vectors are made with; empty if it gets none.

        Raises:
            _Failed: the store has vectors of a model that is not deployed any more.
        """
        async with self._database.read() as connection:
            kept = await rows.find_store(connection, store.id)
        if kept is None:
            raise _Gone
        if not kept.model:
            return self._vectors.choose(store.project)
        if self._vectors.served(store.project, kept.model) is None:
            raise _Failed(
                "server_error",
                f"This store's vectors were made with {kept.model}, which is not deployed any more: deploy it again, "
                "or make a new store.",
            )
        return kept.model

    async def _begun(self, attached: Attached) -> tuple[int, Indexed | None]:
        """How many chunks are there already, and the last of them."""
        async with self._database.read() as connection:
            found = await rows.last_chunk(connection, attached.entry)
        return (0, None) if found is None else (found[0] + 1, found[1])

    async def _groups(self, passages: AsyncGenerator[Passage], task: _Task) -> AsyncGenerator[list[Chunk]]:
        """Chunks in groups. Cutting counts tokens, which is work: it has a thread."""
        texts, wanted = drawn(asyncio.get_running_loop(), passages), task.attached
        count = self._vectors.count(task.model)
        chunks = self._cut(texts, max_tokens=wanted.max_tokens, overlap=wanted.overlap, count=count)
        while group := await in_thread(_taken, chunks):
            yield [_clean(chunk) for chunk in group]

    async def _keep(
        self, task: _Task, start: int, group: Sequence[Chunk], vectors: Sequence[NDArray[np.float16]]
    ) -> None:
        """Write chunks down, the first of them at the place `start`; vectors are none at all without a model."""
        rest = vectors or [np.empty((0, 0), np.float16)] * len(group)
        kept = [
            (
                Indexed(
                    text=chunk.text, start=chunk.start, end=chunk.end, page=chunk.page, heading=chunk.heading,
                    vectors=each.tobytes(),
                ),
                chunk.tokens,
            )
            for chunk, each in zip(group, rest, strict=True)
        ]  # fmt: skip
        entry, store = task.attached.entry, task.attached.store
        async with task.held.writing() as (connection, job):
            now = await rows.find_entry(connection, entry)
            if now is None or now.status != "in_progress":
                raise _Gone
            if vectors and not await rows.take_model(connection, store, task.model, vectors[0].shape[1]):
                raise _Again  # another job has begun the store with another model
            await rows.add_chunks(connection, entry, start, kept)
            state = {**job.state, "entry": entry, "chunks": start + len(group)}
            await change_job(connection, job, state=state)

    async def _embedded(self, task: _Task, group: Sequence[Chunk]) -> list[NDArray[np.float16]]:
        """Vectors, none without a model; one that is busy is waited for a while."""
        if not task.model:
            return []
        waited_s, whose = 0.0, task.store
        while True:
            try:
                return await self._vectors.of_chunks(
                    group, project=whose.project, model=task.model, tenant=whose.creator
                )
            except Overloaded as error:
                wait_s = min(max(error.retry_after_s or 1.0, 0.1), WAIT_S)
                if waited_s + wait_s > WAIT_S:
                    raise
                waited_s += wait_s
                await asyncio.sleep(wait_s)
            except (BudgetSpent, InvalidRequest) as error:
                raise _Failed("server_error", error.message) from None

    async def _complete(self, task: _Task) -> None:
        async with task.held.writing() as (connection, job):
            num_bytes = await rows.bytes_of(connection, task.attached.entry)
            if not await rows.complete(connection, task.attached, num_bytes):
                raise _Gone
            await change_job(connection, job, state=_one_more(job.state))


async def _unless_cancelled(held: Held, work: Coroutine[Any, Any, None]) -> None:
    """Work, unless the job's owner wants it no more: a model may take long to answer."""
    task, poked = asyncio.create_task(work), asyncio.create_task(held.poked.wait())
    try:
        await asyncio.wait((task, poked), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _Gone
        task.result()
    finally:
        for each in (task, poked):
            each.cancel()
        await asyncio.gather(task, poked, return_exceptions=True)


def _one_more(state: dict[str, object]) -> dict[str, object]:
    """The progress of a job that has one more file behind it."""
    done = state.get("files", 0)
    assert isinstance(done, int)
    return {"files": done + 1}


def _taken(chunks: Iterable[Chunk]) -> list[Chunk]:
    return list(islice(chunks, TOGETHER))


def _clean(chunk: Chunk) -> Chunk:
    """Without what PostgreSQL keeps in no text; offsets stay."""
    return msgspec.structs.replace(chunk, text=_kept(chunk.text), heading=tuple(_kept(each) for each in chunk.heading))


def _kept(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _same(chunk: Chunk, kept: Indexed | None) -> bool:
    return kept is not None and (chunk.text, chunk.start, chunk.end) == (kept.text, kept.start, kept.end)
