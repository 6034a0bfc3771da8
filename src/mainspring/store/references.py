"""Who refers to blobs: rows that hold their hash (`REFERRING`) are the count, and a blob goes with the last of them.

Two kinds of notes make that safe whatever happens in between. One is written before a blob is made and erased in the
transaction that makes the row: whoever dies in between leaves a note that `sweep` finds. The other is written in the
transaction that takes a row away, and erased once the blob is gone. Blobs get their first row and are removed only by
the database's one writer, so a row never lacks its blob.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, Unavailable
from mainspring.store.blobs import Blobs, Staged
from mainspring.store.db import Database
from mainspring.store.tables import files, unused_blobs, upload_parts

__all__ = ["REFERRING", "SWEEP_S", "UNUSED_S", "References", "keep_swept", "note_removed"]

REFERRING: tuple[Table, ...] = (files, upload_parts)
"""Tables whose column `sha256` names a blob."""
SWEEP_S = 60.0
UNUSED_S = 6 * 3600.0
"""How long a blob may be on its way: longer than anything takes to reach a bucket."""
MAX_SWEPT = 10_000
TRIES = 5

_log = log.get("mainspring.files")


class References:
    """Makes blobs together with the rows that refer to them, and removes those that nothing refers to."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database, self._blobs, self._clock = database, blobs, clock

    async def add(self, staged: Staged, refer: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Make a blob of what was staged, and in one transaction the rows that refer to it, which `refer` writes.
        Neither is there if this raises.

        Raises:
            StorageFull, Unavailable: it cannot be kept.
        """
        try:
            for _ in range(TRIES):
                async with self._database.write() as connection:
                    await _erase_note(connection, staged.sha256)
                    await connection.execute(insert(unused_blobs).values(sha256=staged.sha256, since=self._clock.now()))
                await self._blobs.send(staged)
                async with self._database.write() as connection:
                    if await self._blobs.keep(staged):
                        await refer(connection)
                        await _erase_note(connection, staged.sha256)
                        return
            raise Unavailable("What was sent could not be kept: send it again.", code="storage_unavailable")
        except BaseException:
            await self.free([staged.sha256])
            raise

    async def free(self, hashes: Iterable[str]) -> None:
        """Remove the blobs that nothing refers to any more. What fails is for the next sweep."""
        for sha256 in hashes:
            try:
                async with self._database.write() as connection:
                    if not await _is_used(connection, sha256):
                        await self._blobs.remove(sha256)
                    await _erase_note(connection, sha256)
            except (MainspringError, OSError) as error:
                _log.warning("a blob was not removed", sha256=sha256, error=str(error))
                if isinstance(error, Unavailable):  # so are the others, and everybody waits for each
                    return

    async def sweep(self) -> int:
        """Remove the blobs that nothing refers to and nobody is making; how many there were."""
        before_s = self._clock.now() - UNUSED_S
        async with self._database.read() as connection:
            query = select(unused_blobs.c.sha256).where(unused_blobs.c.since <= before_s).limit(MAX_SWEPT)
            unused = (await connection.execute(query.order_by(unused_blobs.c.sha256))).scalars().all()
        await self.free(unused)
        return len(unused)


async def note_removed(connection: AsyncConnection, hashes: Sequence[str]) -> None:
    """Note that rows with these hashes were deleted, in the transaction that did so. The next sweep looks at them;
    a note that somebody who is making the same blob has written stays."""
    for sha256 in hashes:
        query = select(func.count()).select_from(unused_blobs).where(unused_blobs.c.sha256 == sha256)
        if not (await connection.execute(query)).scalar_one():
            await connection.execute(insert(unused_blobs).values(sha256=sha256, since=0.0))


async def keep_swept(*sweeps: Callable[[], Awaitable[int]]) -> None:
    """Sweep for as long as the server runs."""
    while True:
        for sweep in sweeps:
            try:
                await sweep()
            except MainspringError as error:
                _log.warning("files were not swept", error=error.message)
        await asyncio.sleep(SWEEP_S)


async def _is_used(connection: AsyncConnection, sha256: str) -> bool:
    for table in REFERRING:
        query = select(func.count()).select_from(table).where(table.c.sha256 == sha256)
        if (await connection.execute(query)).scalar_one():
            return True
    return False


async def _erase_note(connection: AsyncConnection, sha256: str) -> None:
    await connection.execute(delete(unused_blobs).where(unused_blobs.c.sha256 == sha256))
