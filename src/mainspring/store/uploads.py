"""Uploads: files that arrive in parts, in any order and side by side, and become a file in one transaction.

A part is a blob of its own, and the same content sent twice is there once. `complete` reads the parts one after the
other into the file's own blob, which takes as long as writing it does; then one transaction makes the file, ends the
upload and lets its parts go. Whoever dies before that leaves an upload that is pending, with all of its parts.
"""

import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound, PayloadTooLarge
from mainspring.store.blobs import Staged
from mainspring.store.db import Database
from mainspring.store.files import File, Files, check_purpose, clean_name
from mainspring.store.references import note_removed
from mainspring.store.tables import upload_parts, uploads

__all__ = ["MAX_PARTS", "MAX_PART_BYTES", "MAX_UPLOAD_BYTES", "Part", "Upload", "Uploads"]

MAX_PART_BYTES = 64 * 2**20
MAX_UPLOAD_BYTES = 8 * 2**30
MAX_PARTS = 10_000
EXPIRES_S = 3600.0
GRACE_S = 3600.0
"""How long after its end an upload keeps its parts: one that is being completed still reads them."""
REMEMBERED_S = 86_400.0
"""How long it is known that an upload has ended, to say so."""
MAX_SWEPT = 1000


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to be. Times are Unix seconds.

    Args:
        bytes: how many were promised.
        status: pending, completed, cancelled or expired.
        file_expires_s: seconds from the file's making to its end.
        file: the id of what it has become.
        creator: the id of the key, or of the token's user, that made it.
    """

    id: str
    project: str
    purpose: str
    filename: str
    bytes: int
    mime_type: str
    status: str
    created: float
    expires: float
    file_expires_s: int | None
    file: str | None
    creator: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an upload."""

    id: str
    upload: str
    bytes: int
    sha256: str
    created: float


class Uploads:
    """The uploads of one installation.

    Args:
        max_bytes: of an upload, and of the parts that are kept for it.
    """

    def __init__(self, database: Database, files: Files, clock: Clock, *, max_bytes: int = MAX_UPLOAD_BYTES) -> None:
        self._database, self._files, self._clock, self._max_bytes = database, files, clock, max_bytes

    async def create(
        self, *, project: str, purpose: str, filename: str, bytes: int, mime_type: str, by: str = "",  # noqa: A002 - what the API calls it
        file_expires_s: int | None = None,
    ) -> Upload:  # fmt: skip
        """Begin an upload.

        Raises:
            InvalidRequest: the purpose is none, its files are of other types, or it is too large.
        """
        check_purpose(purpose)
        _check_type(purpose, mime_type)
        if bytes > self._max_bytes:
            raise InvalidRequest(
                f"Invalid 'bytes': {self._max_bytes:,} is the most that is taken, and {bytes:,} are promised.",
                code="integer_above_max_value", param="bytes",
            )  # fmt: skip
        now_s = self._clock.now()
        upload = Upload(
            id=f"upload_{secrets.token_hex(16)}", project=project, purpose=purpose, filename=clean_name(filename),
            bytes=bytes, mime_type=mime_type, status="pending", created=now_s, expires=now_s + EXPIRES_S,
            file_expires_s=file_expires_s, file=None, creator=by[:128],
        )  # fmt: skip
        async with self._database.write() as connection:
            await connection.execute(insert(uploads).values(msgspec.structs.asdict(upload)))
        return upload

    async def receive(self, stream: AsyncIterator[bytes]) -> Staged:
        """Write a part down. `add` makes one of it, or `drop` forgets it.

        Raises:
            PayloadTooLarge: it has more than `MAX_PART_BYTES`.
            StorageFull: there is no room.
        """
        return await self._files.blobs.stage(stream, max_bytes=MAX_PART_BYTES)

    async def drop(self, staged: Staged) -> None:
        """Forget what has arrived, unless it has become a part."""
        await self._files.blobs.discard(staged)

    async def add(self, project: str, id: str, staged: Staged) -> Part:  # noqa: A002 - what the API calls it
        """Make a part of what has arrived; forget it if this raises.

        Raises:
            NotFound: the project has no such upload.
            InvalidRequest: it has ended, or has too many parts.
            PayloadTooLarge: all parts together have more than is taken.
            StorageFull: there is no room.
        """
        part = Part(
            id=f"part_{secrets.token_hex(16)}", upload=id, bytes=staged.bytes, sha256=staged.sha256,
            created=self._clock.now(),
        )  # fmt: skip

        async def write(connection: AsyncConnection) -> None:
            await self._find(connection, project, id)
            await self._check_room(connection, part)
            await connection.execute(insert(upload_parts).values(msgspec.structs.asdict(part)))

        try:
            await self._files.references.add(staged, write)
        finally:
            await self.drop(staged)
        return part

    async def complete(
        self, project: str, id: str, part_ids: Sequence[str], md5: str | None = None  # noqa: A002 - what the API calls it
    ) -> tuple[Upload, File]:  # fmt: skip
        """Make a file of parts, in this order. If this raises, the upload is what it was.

        Args:
            md5: what the file's content must have, in hex.

        Raises:
            NotFound: the project has no such upload.
            InvalidRequest: it has ended; a part is not its; the parts have not the bytes that were promised, or not
                the MD5; or they are not what the purpose asks for.
            StorageFull: there is no room.
        """
        upload = await self.pending(project, id)
        parts = await self._named(upload, part_ids)
        digest = hashlib.md5(usedforsecurity=False)
        async with aclosing(self._content(parts)) as content:
            arrived = await self._files.receive(content, upload.purpose, upload.bytes, look=digest.update)
        if md5 is not None and digest.hexdigest() != md5.lower():
            await self._files.drop(arrived)
            raise InvalidRequest(
                f"The parts have the MD5 {digest.hexdigest()} together, not the one that was given: complete the "
                "upload with the right parts in the right order, or send those again that were damaged.",
                code="md5_mismatch", param="md5",
            )  # fmt: skip

        async def end(connection: AsyncConnection, file: str) -> None:
            await self._find(connection, project, id, is_late=True)
            await connection.execute(update(uploads).where(uploads.c.id == id).values(status="completed", file=file))
            await _drop_parts(connection, [id])

        file = await self._files.name(
            arrived, project=project, purpose=upload.purpose, filename=upload.filename, by=upload.creator,
            expires_s=upload.file_expires_s, also=end,
        )  # fmt: skip
        await self._files.references.free({part.sha256 for part in parts})
        return msgspec.structs.replace(upload, status="completed", file=file.id), file

    async def cancel(self, project: str, id: str) -> Upload:  # noqa: A002 - what the API calls it
        """End an upload without a file; nothing to do if it was cancelled already.

        Raises:
            NotFound: the project has no such upload.
            InvalidRequest: it has ended otherwise.
        """
        async with self._database.write() as connection:
            upload = await self._find(connection, project, id, may_be=("pending", "cancelled"))
            await connection.execute(update(uploads).where(uploads.c.id == id).values(status="cancelled"))
            hashes = await _drop_parts(connection, [id])
        await self._files.references.free(hashes)
        return msgspec.structs.replace(upload, status="cancelled")

    async def pending(self, project: str, id: str) -> Upload:  # noqa: A002 - what the API calls it
        """An upload that parts may be added to.

        Raises:
            NotFound: the project has no such upload.
            InvalidRequest: it has ended.
        """
        async with self._database.read() as connection:
            return await self._find(connection, project, id)

    async def sweep(self) -> int:
        """Let the parts of expired uploads go, and forget those that ended long ago; how many of both there were."""
        now_s = self._clock.now()
        expired = (uploads.c.status == "pending") & (uploads.c.expires <= now_s - GRACE_S)
        past = (uploads.c.status != "pending") & (uploads.c.expires <= now_s - REMEMBERED_S)
        query = select(uploads.c.id).where(expired | past).limit(MAX_SWEPT)
        async with self._database.read() as connection:
            if not (await connection.execute(query)).scalars().all():
                return 0
        async with self._database.write() as connection:
            ended = (await connection.execute(query.where(expired))).scalars().all()
            forgotten = (await connection.execute(query.where(past))).scalars().all()
            hashes = await _drop_parts(connection, ended)
            await connection.execute(update(uploads).where(uploads.c.id.in_(ended)).values(status="expired"))
            await connection.execute(delete(uploads).where(uploads.c.id.in_(forgotten)))
        await self._files.references.free(hashes)
        return len(ended) + len(forgotten)

    async def _find(
        self, connection: AsyncConnection, project: str, id: str, *, may_be: Sequence[str] = ("pending",),  # noqa: A002 - what the API calls it
        is_late: bool = False,
    ) -> Upload:  # fmt: skip
        """The upload, if it is in one of these states; with `is_late`, one that has just expired is pending still."""
        query = select(uploads).where(uploads.c.id == id, uploads.c.project == project)
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"No such Upload object: {id[:100]}", param="upload_id")
        upload = Upload(**dict(row))
        if upload.status == "pending" and upload.expires <= self._clock.now() and not is_late:
            upload = msgspec.structs.replace(upload, status="expired")
        if upload.status not in may_be:
            became = f" It is the file {upload.file}." if upload.file is not None else ""
            raise InvalidRequest(
                f"The upload {id} is {upload.status}: make another one.{became}", code="upload_not_pending",
                param="upload_id",
            )  # fmt: skip
        return upload

    async def _check_room(self, connection: AsyncConnection, part: Part) -> None:
        """What was sent again, since the answer was lost, is there once and counts once."""
        of = upload_parts.c.upload == part.upload
        query = select(func.count()).select_from(upload_parts).where(of)
        if (await connection.execute(query)).scalar_one() >= MAX_PARTS:
            raise InvalidRequest(f"The upload has {MAX_PARTS:,} parts already: send larger ones.", param="upload_id")
        others = select(upload_parts.c.sha256, upload_parts.c.bytes).where(of, upload_parts.c.sha256 != part.sha256)
        each = others.distinct().subquery()
        num_bytes = int((await connection.execute(select(func.sum(each.c.bytes)))).scalar() or 0) + part.bytes
        if num_bytes > self._max_bytes:
            raise PayloadTooLarge(f"The parts have more than {self._max_bytes:,} bytes, the most that an upload takes.")

    async def _named(self, upload: Upload, part_ids: Sequence[str]) -> list[Part]:
        """The parts with these ids, in this order."""
        async with self._database.read() as connection:
            query = select(upload_parts).where(upload_parts.c.upload == upload.id)
            rows = (await connection.execute(query)).mappings().all()
        known = {str(row["id"]): Part(**dict(row)) for row in rows}
        for at, each in enumerate(part_ids):
            if each not in known:
                raise InvalidRequest(
                    f"No such Part object in this upload: {each[:100]}", code="part_not_found",
                    param=f"part_ids[{at}]",
                )  # fmt: skip
        if len(set(part_ids)) < len(part_ids):
            raise InvalidRequest("Each part may be named once in 'part_ids'.", param="part_ids")
        parts = [known[each] for each in part_ids]
        num_bytes = sum(part.bytes for part in parts)
        if num_bytes != upload.bytes:
            raise InvalidRequest(
                f"The parts have {num_bytes:,} bytes together, and {upload.bytes:,} were promised: name every part "
                "once, or send what is missing.",
                code="bytes_mismatch", param="part_ids",
            )  # fmt: skip
        return parts

    async def _content(self, parts: Sequence[Part]) -> AsyncGenerator[bytes]:
        for part in parts:
            async with aclosing(self._files.blobs.read(part.sha256)) as pieces:
                async for piece in pieces:
                    yield piece


async def _drop_parts(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[str]:
    """Delete the parts of uploads; the hashes of their contents, which are noted."""
    of = upload_parts.c.upload.in_(ids)
    hashes = (await connection.execute(select(upload_parts.c.sha256).distinct().where(of))).scalars().all()
    await connection.execute(delete(upload_parts).where(of))
    await note_removed(connection, hashes)
    return hashes


_TYPES = {
    "vision": ("image/",),
    **dict.fromkeys(
        ("fine-tune", "batch", "evals"),
        ("text/jsonl", "text/plain", "text/x-", "application/json", "application/x-", "application/octet-stream"),
    ),
}
"""How the type of a purpose's files begins, where it matters."""


def _check_type(purpose: str, mime_type: str) -> None:
    if purpose in _TYPES and not mime_type.lower().startswith(_TYPES[purpose]):
        usual = "image/png" if purpose == "vision" else "text/jsonl"
        raise InvalidRequest(
            f"Invalid 'mime_type': files for {purpose!r} are of a type such as {usual!r}.", param="mime_type"
        )
