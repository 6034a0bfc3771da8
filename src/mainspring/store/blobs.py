"""Blobs: bytes kept under the SHA-256 of what they are, so that the same content is there once.

    HOME/blobs/ab/cd/abcd...            a blob; it never changes
    HOME/blobs/incoming/<token>.part    one that is being written, locked by whoever writes it

A blob arrives in three steps. `stage` writes the stream down and hashes it, which takes as long as the client does;
`send` takes it to where blobs are kept, if that is elsewhere (`store/bucket.py`); `keep` makes a blob of it at once.
Whoever counts references (`store/references.py`) calls `keep` and `remove` while it is the database's only writer, so
that nobody removes what somebody else is about to refer to.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeVar

from mainspring.core.config_blobs import BlobSettings
from mainspring.core.errors import NotFound, PayloadTooLarge, StorageFull, Unavailable, UserMistake
from mainspring.core.threads import in_thread

__all__ = ["BLOBS", "INCOMING", "Blobs", "Directory", "Look", "Staged", "in_thread", "is_hash", "open_blobs", "place"]

BLOBS = "blobs"
"""The folder in the data directory."""
CACHE = "blobs-cache"
"""The same, where blobs are in a bucket."""
INCOMING = "incoming"
WRITE_BYTES = 2**20
"""Gathered before they are written: a thread is asked once for so many."""
READ_BYTES = 2**18
SPARE_BYTES = 64 * 2**20
"""What is left free on the disk, for the database and the ledger."""

is_hash = re.compile(r"[0-9a-f]{64}").fullmatch

Look = Callable[[bytes], None]
"""Shown each piece as it is written, in the thread that writes; what it raises ends the writing."""

T = TypeVar("T")


@dataclass(frozen=True)
class Staged:
    """Bytes that have been written down whole, at `part`, and are no blob yet. `lock` keeps others from cleaning."""

    part: Path
    sha256: str
    bytes: int
    lock: FileIO


class Blobs(Protocol):
    """Where blobs are kept. Hashes are in lower-case hex."""

    async def stage(self, stream: AsyncIterator[bytes], *, max_bytes: int, look: Look | None = None) -> Staged:
        """Write a stream down. Nothing is left of it if this raises; otherwise call `keep` or `discard`.

        Raises:
            PayloadTooLarge: it has more than `max_bytes`.
            StorageFull: the disk is full, or would be.
        """
        ...

    async def send(self, staged: Staged) -> None:
        """Take the bytes to where they are kept, however long that takes.

        Raises:
            Unavailable: the store does not answer.
        """
        ...

    async def keep(self, staged: Staged) -> bool:
        """Make a blob of it, unless there is one of that content. Survives a power failure once this returns. False if
        it is not there, since somebody removed that content after `send`: send it again."""
        ...

    async def discard(self, staged: Staged) -> None:
        """Forget what was staged. Nothing to do after `keep`, and harmless."""
        ...

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The bytes from `start` up to `end` (exclusive), in pieces.

        Raises:
            NotFound: there is no such blob.
        """
        ...

    async def path(self, sha256: str) -> Path:
        """A file on this machine with these bytes, for programs that need one. It must not be written to, and may be
        gone once nothing refers to the blob.

        Raises:
            NotFound: there is no such blob.
        """
        ...

    async def remove(self, sha256: str) -> None:
        """Delete a blob, if there is one. Whoever is reading it goes on to its end."""
        ...

    def clean(self) -> int:
        """Delete what writers have left behind that are gone; how many there were. For the start of a server."""
        ...


def open_blobs(home: Path, settings: BlobSettings) -> Blobs:
    """Where an installation keeps its blobs: in its data directory, or in the bucket that the settings name.

    Raises:
        UserMistake: the settings contradict each other, or a library is missing.
    """
    if not settings.url:
        return Directory(home / BLOBS)
    try:
        from mainspring.store.bucket import Bucket, open_store  # an optional library
    except ModuleNotFoundError as error:
        raise UserMistake("Blobs in a bucket need a library: pip install 'mainspring[s3]'.") from error
    return Bucket(open_store(settings), home / CACHE, cache_bytes=settings.cache_bytes)


def place(root: Path, sha256: str) -> Path:
    """Where a blob lies below `root`. Two levels of folders: 65,536 of them hold millions of blobs."""
    assert is_hash(sha256), sha256
    return root / sha256[:2] / sha256[2:4] / sha256


class Directory:
    """`Blobs` in a folder on this machine, made when it is first needed, for its owner only.

    Args:
        spare_bytes: of the disk, never used.
    """

    def __init__(self, root: Path, *, spare_bytes: int = SPARE_BYTES) -> None:
        self._root, self._spare_bytes = root, spare_bytes

    async def stage(self, stream: AsyncIterator[bytes], *, max_bytes: int, look: Look | None = None) -> Staged:
        """See `Blobs`."""
        part = _Part(self._root / INCOMING, self._spare_bytes)
        try:
            await in_thread(part.open)
            async for piece in _gathered(stream):
                if part.bytes + len(piece) > max_bytes:
                    raise PayloadTooLarge(f"The content is larger than {max_bytes:,} bytes, the most that is taken.")
                await in_thread(part.write, piece, look)
            return await in_thread(part.finish)
        except BaseException:
            part.abandon()
            raise

    async def send(self, staged: Staged) -> None:
        """See `Blobs`."""

    async def keep(self, staged: Staged) -> bool:
        """See `Blobs`."""
        await in_thread(_settle, staged.part, place(self._root, staged.sha256))
        staged.lock.close()
        return True

    async def discard(self, staged: Staged) -> None:
        """See `Blobs`."""
        staged.part.unlink(missing_ok=True)
        staged.lock.close()

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """See `Blobs`."""
        with (await self.path(sha256)).open("rb", buffering=0) as file:
            file.seek(start)
            left = READ_BYTES if end is None else end - start
            while piece := await in_thread(file.read, min(READ_BYTES, left)):
                left -= len(piece) if end is not None else 0
                yield piece

    async def path(self, sha256: str) -> Path:
        """See `Blobs`."""
        path = place(self._root, sha256)
        if not path.exists():
            raise NotFound("The content of this file is not on this server.", code="content_missing")
        return path

    async def remove(self, sha256: str) -> None:
        """See `Blobs`."""
        place(self._root, sha256).unlink(missing_ok=True)

    def clean(self) -> int:
        """See `Blobs`."""
        import fcntl  # not everywhere

        num_removed = 0
        for path in (self._root / INCOMING).glob("*.part"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                num_removed += 1
        return num_removed


class _Part:
    """A file that is being written. Used by one thread at a time.

    Its lock ends with the process, whatever ends that: so `Directory.clean` knows what nobody writes any more.
    """

    def __init__(self, folder: Path, spare_bytes: int) -> None:
        self.path = folder / f"{secrets.token_hex(16)}.part"
        self._spare_bytes = spare_bytes
        self._file: FileIO | None = None
        self._digest = hashlib.sha256()
        self.bytes = 0

    def open(self) -> None:
        import fcntl

        with _told():
            _make(self.path.parent)
            while self._file is None or not os.fstat(self._file.fileno()).st_nlink:
                if self._file is not None:  # somebody cleaned between the two calls
                    self._file.close()
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                self._file = FileIO(descriptor, "wb")
                fcntl.flock(descriptor, fcntl.LOCK_EX)

    def write(self, piece: bytes, look: Look | None) -> None:
        assert self._file is not None
        with _told():
            if shutil.disk_usage(self.path.parent).free < self._spare_bytes + len(piece):
                raise StorageFull("The server's disk is full: delete files that are not needed, or ask its operator.")
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._digest.update(piece)
        self.bytes += len(piece)
        if look is not None:
            look(piece)

    def finish(self) -> Staged:
        assert self._file is not None
        with _told():
            os.fsync(self._file.fileno())
        return Staged(self.path, self._digest.hexdigest(), self.bytes, self._file)

    def abandon(self) -> None:
        self.path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()


def _settle(part: Path, target: Path) -> None:
    """Give a part its name; what is there already has the same bytes."""
    with _told():
        if target.exists():
            part.unlink(missing_ok=True)
            return
        _make(target.parent)
        part.rename(target)
        for folder in (target.parent, target.parent.parent, target.parent.parent.parent):
            _sync(folder)


def _make(folder: Path) -> None:
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told() -> Generator[None]:
    """What the disk refuses, as an error of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(
                "The server's disk is full: delete files that are not needed, or ask its operator."
            ) from error
        raise Unavailable(f"Files cannot be written now ({error.strerror}).", code="storage_unavailable") from error


async def _gathered(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes in pieces of `WRITE_BYTES` or more, but for the last."""
    waiting, num_bytes = list[bytes](), 0
    async for piece in stream:
        waiting.append(piece)
        num_bytes += len(piece)
        if num_bytes >= WRITE_BYTES:
            yield b"".join(waiting)
            waiting, num_bytes = [], 0
    if num_bytes:
        yield b"".join(waiting)
