"""Blobs in an object store (S3, or what speaks its protocol), which servers on several machines share.

    PREFIX/ab/cd/abcd...                in the bucket: as in the folder that is used without one (`blobs.py`)
    HOME/blobs-cache/incoming/...       what is being written, until it is in the bucket
    HOME/blobs-cache/ab/cd/abcd...      copies for what reads files, the least recently used of which go first

What arrives is written down and hashed here first, so that only what was taken whole and is what it should be reaches
the bucket, under its own name and at once. A process that is killed while it sends leaves an unfinished multipart
upload that no list shows: buckets have a rule for those (docs/OPERATIONS.md).
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from mainspring.core import log
from mainspring.core.config_blobs import BlobSettings
from mainspring.core.errors import NotFound, Unavailable, UserMistake
from mainspring.core.threads import in_thread
from mainspring.store.blobs import READ_BYTES, Directory, Look, Staged, place

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

__all__ = ["Bucket", "open_store"]

QUICK_S = 5.0
"""For questions that are asked while others wait for the database."""
PIECE_S = 60.0
SEND_S = 4 * 3600.0
SEND_BYTES, SEND_AT_ONCE = 8 * 2**20, 4
"""Of one part of a multipart upload, and how many are in memory."""
READ_TRIES = 4
"""In a row without a byte."""
KEPT_S = 3600.0
"""Copies that were asked for so lately are not removed: somebody may be about to open them."""

T = TypeVar("T")
_log = log.get("mainspring.files")


class Bucket:
    """`Blobs` in an object store.

    Args:
        store: has the prefix in it.
        folder: on this machine, for what is being written and for copies.
        cache_bytes: that copies take.
    """

    def __init__(self, store: "ObjectStore", folder: Path, *, cache_bytes: int) -> None:
        self._store, self._folder, self._cache_bytes = store, folder, cache_bytes
        self._local = Directory(folder)

    async def stage(self, stream: AsyncIterator[bytes], *, max_bytes: int, look: Look | None = None) -> Staged:
        """See `Blobs`."""
        return await self._local.stage(stream, max_bytes=max_bytes, look=look)

    async def send(self, staged: Staged) -> None:
        """See `Blobs`. Content that is there already is not sent again."""
        if await self._size(staged.sha256, PIECE_S) is None:
            put = obstore.put_async(
                self._store, _key(staged.sha256), staged.part, chunk_size=SEND_BYTES, max_concurrency=SEND_AT_ONCE
            )
            await _ask(put, SEND_S)

    async def keep(self, staged: Staged) -> bool:
        """See `Blobs`."""
        return await self._size(staged.sha256, QUICK_S) is not None

    async def discard(self, staged: Staged) -> None:
        """See `Blobs`."""
        await self._local.discard(staged)

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """See `Blobs`. A connection that breaks off is made again, and goes on where it was."""
        size = await self._size(sha256, PIECE_S)
        if size is None:
            raise _missing()
        end, failures, has_begun = size if end is None else min(end, size), 0, False
        while start < end:
            try:
                found = await _ask(
                    obstore.get_async(self._store, _key(sha256), options={"range": (start, end)}), PIECE_S
                )
                pieces = found.stream(min_chunk_size=READ_BYTES)
                while start < end and (piece := await _ask(anext(pieces, b""), PIECE_S)):
                    start, failures, has_begun = start + len(piece), 0, True
                    yield bytes(piece)
            except NotFound:
                if not has_begun:
                    raise
                raise Unavailable(
                    "The file was deleted while it was read, and the connection broke off.", code="storage_unavailable"
                ) from None
            except Unavailable:
                failures += 1
                if failures == READ_TRIES:
                    raise

    async def path(self, sha256: str) -> Path:
        """See `Blobs`: a copy, made when it is first asked for."""
        path = place(self._folder, sha256)
        try:
            os.utime(path)
        except FileNotFoundError:
            await self._fetch(sha256)
        return path

    async def remove(self, sha256: str) -> None:
        """See `Blobs`."""
        with suppress(NotFound):
            await _ask(obstore.delete_async(self._store, _key(sha256)), QUICK_S)
        await self._local.remove(sha256)

    async def try_out(self) -> None:
        """Put an object there, look at it and take it away again.

        Raises:
            Unavailable: one of these is refused, or nobody answers; its cause says why.
        """
        key = f"trial-{secrets.token_hex(8)}"
        await _ask(obstore.put_async(self._store, key, b"", use_multipart=False), PIECE_S)
        await _ask(obstore.head_async(self._store, key), PIECE_S)
        await _ask(obstore.delete_async(self._store, key), PIECE_S)

    def clean(self) -> int:
        """See `Blobs`."""
        return self._local.clean()

    async def _size(self, sha256: str, within_s: float) -> int | None:
        try:
            return (await _ask(obstore.head_async(self._store, _key(sha256)), within_s))["size"]
        except NotFound:
            return None

    async def _fetch(self, sha256: str) -> None:
        size = await self._size(sha256, PIECE_S)
        if size is None:
            raise _missing()
        async with aclosing(self.read(sha256)) as pieces:
            staged = await self._local.stage(pieces, max_bytes=size)
        try:
            if staged.sha256 != sha256:
                _log.error("what the bucket gave is not what its name says", sha256=sha256, found=staged.sha256)
                raise Unavailable("The content of this file arrived damaged: try again.", code="storage_unavailable")
            await self._local.keep(staged)
        finally:
            await self._local.discard(staged)
        await in_thread(self._trim)

    def _trim(self) -> None:
        """Remove the copies that were not asked for for the longest time, until the rest fits."""
        found = list[tuple[float, int, Path]]()
        for path in self._folder.glob("[0-9a-f][0-9a-f]/*/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process trims too
                continue
            found.append((status.st_mtime, status.st_size, path))
        left, before_s = sum(size for _, size, _ in found), time.time() - KEPT_S
        for used_s, size, path in sorted(found):
            if left <= self._cache_bytes or used_s > before_s:
                return
            path.unlink(missing_ok=True)
            left -= size


def open_store(settings: BlobSettings) -> "ObjectStore":
    """The bucket that settings name. It is not asked for anything yet.

    Raises:
        UserMistake: the settings contradict each other.
    """
    names = ("endpoint", "region", "access_key_id", "secret_access_key")
    given = {name: value for name in names if (value := getattr(settings, name))}
    if given and not settings.url.startswith("s3:"):
        raise UserMistake(
            f"Setting 'blobs.{next(iter(given))}' is for S3: other stores take theirs from the environment."
        )
    client: ClientConfig = {
        "allow_http": settings.endpoint.startswith("http://"), "connect_timeout": "5s", "read_timeout": "60s",
        "timeout": "1h",
    }  # fmt: skip
    retry: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
    try:
        if settings.url.startswith("s3:"):
            config = cast("S3Config", given)
            return from_url(settings.url, config=config, client_options=client, retry_config=retry)
        return from_url(settings.url, client_options=client, retry_config=retry)  # pyright: ignore[reportCallIssue]
    except (BaseError, ValueError) as error:
        raise UserMistake(f"Setting 'blobs.url': {error}") from error


def _key(sha256: str) -> str:
    return place(Path(), sha256).as_posix()


def _missing() -> NotFound:
    return NotFound("The content of this file is not in the bucket.", code="content_missing")


async def _ask(call: Awaitable[T], within_s: float) -> T:
    """What the store answers; what it refuses is an error of ours."""
    try:
        async with asyncio.timeout(within_s):
            return await call
    except FileNotFoundError as error:
        raise _missing() from error
    except (BaseError, TimeoutError) as error:
        _log.warning("the bucket did not answer as it should", error=str(error).partition("\n")[0][:500])
        raise Unavailable("The store of files cannot be reached now: try again.", code="storage_unavailable") from error
