"""Files: names in a project for blobs, of which a blob may have several. A blob goes with its last name, see
`references.py`.
"""

import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import RowMapping, and_, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.store.blobs import Blobs, Look, Staged
from mainspring.store.db import Database
from mainspring.store.jsonl import Lines
from mainspring.store.references import References, note_removed
from mainspring.store.tables import files, upload_parts, uploads

__all__ = [
    "JSONL",
    "MADE",
    "MAX_BYTES",
    "MAX_LIST",
    "PURPOSES",
    "UPLOADED",
    "Arrived",
    "File",
    "Files",
    "Uploaded",
    "check_purpose",
    "clean_name",
    "hold",
    "let_go",
    "remove_all",
]

Uploaded = Literal["fine-tune", "batch", "assistants", "vision", "user_data", "evals"]
UPLOADED: tuple[str, ...] = get_args(Uploaded)
"""Purposes of what clients upload."""
MADE = ("fine-tune-results", "batch_output", "assistants_output")
"""Purposes of what the server makes."""
PURPOSES = (*UPLOADED, *MADE)
JSONL = frozenset({"fine-tune", "batch", "evals"})
"""Purposes whose files are JSON Lines."""

MAX_BYTES = 512 * 2**20
MAX_LIST = 10_000
MAX_NAME = 255

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file. Times are Unix seconds; `expires` is None if it stays until it is removed.

    Args:
        sha256: of its content, in lower-case hex.
        creator: the id of the key, or of the token's user, that made it.
    """

    id: str
    project: str
    purpose: str
    filename: str
    bytes: int
    sha256: str
    created: float
    expires: float | None
    status: str
    creator: str = ""


class Arrived(msgspec.Struct, frozen=True):
    """Content that is written down and has no name yet. `lines` is what was seen of it as JSON Lines, if it was."""

    staged: Staged
    lines: Lines | None


class Files:
    """The files of one installation."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database, self.blobs, self._clock = database, blobs, clock
        self.references = References(database, blobs, clock)

    async def create(
        self, *, project: str, purpose: str, filename: str, stream: AsyncIterator[bytes], by: str = "",
        expires_s: int | None = None, id: str = "", max_bytes: int = MAX_BYTES,  # noqa: A002 - what the API calls it
    ) -> File:  # fmt: skip
        """Keep the bytes of a stream as a file. Nothing is left of it if this raises.

        Args:
            purpose: one of `PURPOSES`. Of those in `JSONL`, every line must be a JSON object.
            by: the id of whoever makes it.
            expires_s: seconds until it vanishes.
            id: what it is called; by default a new name. Whoever makes a file again because it may have been killed
                before makes it under the same one.

        Raises:
            InvalidRequest: the purpose is none; the content is not what the purpose asks for.
            PayloadTooLarge: it has more than `max_bytes`.
            StorageFull: there is no room.
            IntegrityError: there is a file of that id.
        """
        check_purpose(purpose)
        arrived = await self.receive(stream, purpose, max_bytes)
        return await self.name(
            arrived, project=project, purpose=purpose, filename=filename, by=by, expires_s=expires_s, id=id
        )

    async def receive(
        self, stream: AsyncIterator[bytes], purpose: str | None = None, max_bytes: int = MAX_BYTES, *,
        look: Look | None = None,
    ) -> Arrived:  # fmt: skip
        """Write a stream down. `name` makes a file of it, or `drop` forgets it.

        Args:
            purpose: what it will be for, if that is known already: a client may say so after the content.
            look: see `Blobs.stage`.

        Raises:
            InvalidRequest: it is not what the purpose asks for.
            PayloadTooLarge: it has more than `max_bytes`.
            StorageFull: there is no room.
        """
        lines = Lines() if purpose is None or purpose in JSONL else None

        def see(piece: bytes) -> None:
            if look is not None:
                look(piece)
            if lines is not None:
                lines.feed(piece)
                if purpose is not None and lines.fault is not None:
                    raise lines.fault

        staged = await self.blobs.stage(stream, max_bytes=max_bytes, look=see)
        if lines is not None:
            lines.end()
        return Arrived(staged, lines)

    async def drop(self, arrived: Arrived) -> None:
        """Forget what has arrived."""
        await self.blobs.discard(arrived.staged)

    async def name(
        self, arrived: Arrived, *, project: str, purpose: str, filename: str, by: str = "",
        expires_s: int | None = None, id: str = "",  # noqa: A002 - what the API calls it
        also: Callable[[AsyncConnection, str], Awaitable[None]] | None = None,
    ) -> File:  # fmt: skip
        """Make a file of what has arrived; forget it if this raises. Arguments and errors as of `create`.

        Args:
            also: given the file's id, does what belongs into the same transaction.
        """
        staged = arrived.staged
        try:
            check_purpose(purpose)
            if purpose in JSONL and arrived.lines is not None and arrived.lines.fault is not None:
                raise arrived.lines.fault
            now_s = self._clock.now()
            file = File(
                id=id or f"file-{secrets.token_hex(16)}", project=project, purpose=purpose,
                filename=clean_name(filename),
                bytes=staged.bytes, sha256=staged.sha256, created=now_s,
                expires=None if expires_s is None else now_s + expires_s, status="processed", creator=by[:128],
            )  # fmt: skip

            async def write(connection: AsyncConnection) -> None:
                await connection.execute(insert(files).values(msgspec.structs.asdict(file)))
                if also is not None:
                    await also(connection, file.id)

            await self.references.add(staged, write)
            return file
        finally:
            await self.blobs.discard(staged)

    async def get(self, project: str, id: str) -> File:  # noqa: A002 - what the API calls it
        """A file of a project.

        Raises:
            NotFound: there is none of that id, or no longer.
        """
        query = select(files).where(files.c.id == id, files.c.project == project, self._lives())
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise _no_file(id)
        return _file(row)

    async def list(
        self, project: str, *, purpose: str | None = None, after: str | None = None, limit: int = MAX_LIST,
        descending: bool = True,
    ) -> tuple[list[File], bool]:  # fmt: skip
        """Files of a project by the time when they were made, and whether there are more.

        Args:
            after: the id of the last file of the page before.

        Raises:
            NotFound: there is no file of that id.
        """
        when, key = files.c.created, files.c.id
        query = select(files).where(files.c.project == project, self._lives()).limit(limit + 1)
        query = query.order_by(*((when.desc(), key.desc()) if descending else (when, key)))
        if purpose is not None:
            query = query.where(files.c.purpose == purpose)
        if after is not None:
            at = await self.get(project, after)
            if descending:
                query = query.where(or_(when < at.created, and_(when == at.created, key < at.id)))
            else:
                query = query.where(or_(when > at.created, and_(when == at.created, key > at.id)))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_file(row) for row in rows[:limit]], len(rows) > limit

    async def remove(self, project: str, id: str) -> None:  # noqa: A002 - what the API calls it
        """Delete a file, and its blob with the last file of that content. Who is reading it goes on to its end.

        Raises:
            NotFound: there is none of that id.
        """
        file = await self.get(project, id)
        async with self._database.write() as connection:
            gone = await connection.execute(delete(files).where(files.c.id == id, files.c.project == project))
            if not gone.rowcount:  # somebody else has, meanwhile
                raise _no_file(id)
            await note_removed(connection, [file.sha256])
        await self.references.free([file.sha256])

    def open(self, file: File, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The content of a file, in pieces; or its bytes from `start` up to `end` (exclusive).

        Raises:
            NotFound: it is gone meanwhile, or lies on another server.
        """
        return self.blobs.read(file.sha256, start, end)

    async def local(self, file: File) -> Path:
        """A path on this machine with the content of a file, to be read only. Whoever needs it for longer than the file
        may live makes a hard link to it, or a copy.

        Raises:
            NotFound: it is gone meanwhile, or lies on another server.
        """
        return await self.blobs.path(file.sha256)

    async def sweep(self) -> int:
        """Delete what has expired, and blobs that nothing refers to; how many files and blobs there were."""
        now_s = self._clock.now()
        async with self._database.read() as connection:
            query = select(files.c.id).where(files.c.expires <= now_s).limit(MAX_LIST)
            expired = (await connection.execute(query)).scalars().all()
        if expired:
            async with self._database.write() as connection:
                await _remove(connection, files.c.expires <= now_s)
        return len(expired) + await self.references.sweep()

    def _lives(self) -> Any:
        return or_(files.c.expires.is_(None), files.c.expires > self._clock.now())


async def remove_all(connection: AsyncConnection, project: str) -> None:
    """Delete the files of a project, and what was on its way to be one, in a transaction of `Database.write`; a sweep
    removes their blobs."""
    await _remove(connection, files.c.project == project)
    of = select(uploads.c.id).where(uploads.c.project == project)
    hashes = select(upload_parts.c.sha256).distinct().where(upload_parts.c.upload.in_(of))
    await note_removed(connection, (await connection.execute(hashes)).scalars().all())
    await connection.execute(delete(upload_parts).where(upload_parts.c.upload.in_(of)))
    await connection.execute(delete(uploads).where(uploads.c.project == project))


async def hold(connection: AsyncConnection, file: File, holder: str) -> None:
    """Keep the content of a file whatever becomes of the file: under a name in no project.

    Raises:
        NotFound: the file is gone already.
    """
    query = select(files.c.id).where(files.c.id == file.id, files.c.project == file.project)
    if (await connection.execute(query)).first() is None:
        raise _no_file(file.id)
    kept = msgspec.structs.replace(file, id=holder, project="", expires=None)
    await connection.execute(insert(files).values(msgspec.structs.asdict(kept)))


async def let_go(connection: AsyncConnection, holder: str) -> None:
    """What was held is not needed any more; a sweep removes its blob if nothing else names it."""
    await _remove(connection, and_(files.c.id == holder, files.c.project == ""))


async def _remove(connection: AsyncConnection, which: Any) -> None:
    hashes = (await connection.execute(select(files.c.sha256).distinct().where(which))).scalars().all()
    await connection.execute(delete(files).where(which))
    await note_removed(connection, hashes)


def _file(row: RowMapping) -> File:
    return File(**dict(row))


def _no_file(id: str) -> NotFound:  # noqa: A002 - what the API calls it
    return NotFound(f"No such File object: {id[:100]}", param="id")


def check_purpose(purpose: str) -> None:
    """Raise InvalidRequest if it is none."""
    if purpose not in PURPOSES:
        raise InvalidRequest(
            f"Invalid value for 'purpose': {purpose[:40]!r}. Supported values are: {', '.join(UPLOADED)}.",
            param="purpose",
        )


def clean_name(filename: str) -> str:
    """The last part of a path, without what a terminal or a header would obey, and not too long."""
    name = _CONTROLS.sub("", re.split(r"[/\\]", filename)[-1]).strip()
    if len(name) > MAX_NAME:  # the end tells what it is
        stem, dot, ending = name.rpartition(".")
        ending = dot + ending if stem and len(ending) < 16 else ""
        name = name[: MAX_NAME - len(ending)] + ending
    return name if name.strip(".") else "file"
