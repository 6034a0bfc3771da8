"""Containers: what the code interpreter keeps between runs, which is files, for as long as somebody uses them.

Their content is in the rows, and not in blobs: it is small (`MAX_BYTES` a container), lives for minutes, and what a run
has changed is there as a whole or not at all.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, Overloaded, PayloadTooLarge
from mainspring.core.ids import new_id
from mainspring.core.seams import Count, uncounted
from mainspring.store.db import Database
from mainspring.store.tables import container_files, containers

__all__ = [
    "IDLE_MINUTES",
    "MAX_BYTES",
    "MEMORY",
    "Container",
    "ContainerFile",
    "Containers",
    "path_of",
    "remove_all_containers",
]

IDLE_MINUTES = 20
"""After which a container is gone, unless it says otherwise: OpenAI's."""
MAX_BYTES = 24 * 2**20
"""Of all files of a container: they go into the sandbox together."""
MEMORY = {"1g": 2**30, "4g": 4 * 2**30, "16g": 16 * 2**30, "64g": 64 * 2**30}
"""Limits of memory, in OpenAI's words and in bytes."""
MAX_FILES = 200
MAX_PATH = 400
SWEEP_S = 60.0
SESSION = "session"

Source = Literal["user", "assistant", "session"]
_ODD = re.compile(r"[^\w.,()+@=~ -]")
_log = log.get("mainspring.containers")


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container. Times are Unix seconds; it is gone at `expires`, unless it is used before."""

    id: str
    project: str
    creator: str
    name: str
    created: float
    active: float
    minutes: int
    expires: float
    memory: str


class ContainerFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file in one. `path` is relative to the folder that code starts in."""

    id: str
    container: str
    path: str
    created: float
    bytes: int
    source: Source


_FILE = [container_files.c[name] for name in ContainerFile.__struct_fields__]


def path_of(name: str) -> str:
    """A path for a file that somebody calls so: one name, without what a shell or a header would obey."""
    last = re.split(r"[/\\]", name)[-1]
    return _ODD.sub("_", last).strip(" .")[-MAX_PATH:] or "file"


class Containers:
    """The containers of one installation.

    Args:
        per_project: most containers of a project at a time.
        memory_bytes: the most that code may be given.
        count: told of each that is made.
    """

    def __init__(
        self, database: Database, clock: Clock, *, per_project: int, memory_bytes: int, count: Count = uncounted
    ) -> None:
        self._database, self._clock, self._per_project = database, clock, per_project
        self._memory_bytes, self._count = memory_bytes, count

    def memory_of(self, container: Container) -> int:
        """How many bytes code may have there."""
        return min(MEMORY[container.memory], self._memory_bytes)

    def check_memory(self, wanted: str | None, param: str) -> None:
        """Raise InvalidRequest unless code may be given so much memory. What nobody asks for is what there is."""
        if wanted is not None and MEMORY[wanted] > self._memory_bytes:
            raise InvalidRequest(
                f"'{wanted}' is more memory than code may have here ({self._memory_bytes} bytes): choose less, or "
                "raise sandbox.memory_bytes.",
                param=param,
            )

    async def create(
        self, *, project: str, by: str, name: str, minutes: int = IDLE_MINUTES, memory: str = "1g",
        files: Mapping[str, bytes] = {},
    ) -> Container:  # fmt: skip
        """Make one with files in it, by path.

        Raises:
            Overloaded: the project has too many.
            PayloadTooLarge: the files are too large together.
        """
        now_s = self._clock.now()
        made = Container(
            id=new_id("cntr_"), project=project, creator=by[:128], name=name, created=now_s, active=now_s,
            minutes=minutes, expires=now_s + 60 * minutes, memory=memory,
        )  # fmt: skip
        async with self._database.write() as connection:
            living = and_(containers.c.project == project, containers.c.expires > now_s)
            if (await connection.execute(select(func.count()).where(living))).scalar_one() >= self._per_project:
                raise Overloaded(
                    f"This project has {self._per_project} containers: delete some, or wait until they expire.",
                    retry_after_s=60.0,
                )
            await connection.execute(insert(containers).values(msgspec.structs.asdict(made)))
            for path, content in files.items():
                await _put(connection, _new(made.id, path, content, "user", now_s), content)
            await _check_size(connection, made.id)
        self._count("code_session", made.id, project=project, key=made.creator, subject="")
        return made

    async def get(self, project: str, id: str) -> Container:  # noqa: A002 - what the API calls it
        """One of a project.

        Raises:
            NotFound: there is none of that id, or it has expired.
        """
        async with self._database.read() as connection:
            return await self._find(connection, project, id)

    async def page(
        self, project: str, *, name: str | None = None, after: str | None = None, limit: int = 20,
        descending: bool = True,
    ) -> tuple[list[Container], bool]:  # fmt: skip
        """Containers of a project by the time when they were made, and whether there are more.

        Raises:
            NotFound: there is no container `after`.
        """
        query = select(containers).where(containers.c.project == project, containers.c.expires > self._clock.now())
        if name is not None:
            query = query.where(containers.c.name == name)
        async with self._database.read() as connection:
            at = None if after is None else await self._find(connection, project, after)
            query = _page(query, containers.c.created, containers.c.id, at, descending).limit(limit + 1)
            rows = (await connection.execute(query)).mappings().all()
        return [Container(**dict(row)) for row in rows[:limit]], len(rows) > limit

    async def remove(self, project: str, id: str) -> None:  # noqa: A002
        """Delete one, with its files. Raises NotFound."""
        async with self._database.write() as connection:
            await self._find(connection, project, id)
            await connection.execute(delete(containers).where(containers.c.id == id))

    # -- files ---------------------------------------------------------------------------------------------------------

    async def add_file(self, project: str, id: str, path: str, content: bytes) -> ContainerFile:  # noqa: A002
        """Put a file into a container, in the place of one of that path.

        Raises:
            NotFound: there is no such container.
            PayloadTooLarge: it would have too much in it.
        """
        async with self._database.write() as connection:
            await self._touch(connection, project, id)
            made = _new(id, path, content, "user", self._clock.now())
            await _put(connection, made, content)
            await _check_size(connection, id)
        return made

    async def files(
        self, project: str, id: str, *, after: str | None = None, limit: int = 20, descending: bool = True  # noqa: A002
    ) -> tuple[list[ContainerFile], bool]:  # fmt: skip
        """Files of a container, and whether there are more. Raises NotFound."""
        shown = and_(container_files.c.container == id, container_files.c.source != SESSION)
        async with self._database.read() as connection:
            await self._find(connection, project, id)
            at = None if after is None else await self._find_file(connection, id, after)
            query = _page(select(*_FILE).where(shown), container_files.c.created, container_files.c.id, at, descending)
            rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
        return [ContainerFile(**dict(row)) for row in rows[:limit]], len(rows) > limit

    async def file(self, project: str, id: str, file: str) -> ContainerFile:  # noqa: A002
        """One file. Raises NotFound."""
        async with self._database.read() as connection:
            await self._find(connection, project, id)
            return await self._find_file(connection, id, file)

    async def content(self, project: str, id: str, file: str) -> tuple[ContainerFile, bytes]:  # noqa: A002
        """A file and its bytes. Raises NotFound."""
        async with self._database.write() as connection:
            await self._touch(connection, project, id)
            found = await self._find_file(connection, id, file)
            query = select(container_files.c.content).where(container_files.c.id == file)
            return found, (await connection.execute(query)).scalar_one()

    async def remove_file(self, project: str, id: str, file: str) -> None:  # noqa: A002
        """Delete a file. Raises NotFound."""
        async with self._database.write() as connection:
            await self._touch(connection, project, id)
            await self._find_file(connection, id, file)
            await connection.execute(delete(container_files).where(container_files.c.id == file))

    # -- what code sees, and what it leaves ----------------------------------------------------------------------------

    async def load(self, project: str, id: str) -> dict[str, bytes]:  # noqa: A002
        """All files by path, those that are never shown too. Raises NotFound."""
        async with self._database.write() as connection:
            await self._touch(connection, project, id)
            query = select(container_files.c.path, container_files.c.content).where(container_files.c.container == id)
            return dict(map(tuple, (await connection.execute(query)).all()))

    async def save(
        self, project: str, id: str, changed: Mapping[str, bytes], *, session: str  # noqa: A002
    ) -> list[ContainerFile]:  # fmt: skip
        """Keep what a run has written, all of it or nothing. The file `session` is never shown.

        Raises:
            NotFound: the container is gone meanwhile.
            PayloadTooLarge: it would have too much in it.
        """
        made: list[ContainerFile] = []
        async with self._database.write() as connection:
            await self._touch(connection, project, id)
            for path, content in changed.items():
                if len(path) > MAX_PATH:
                    raise InvalidRequest(f"The path {path[:40]!r}... has more than {MAX_PATH} characters.")
                source: Source = "session" if path == session else "assistant"
                file = _new(id, path, content, source, self._clock.now())
                await _put(connection, file, content)
                made += [file] if source != SESSION else ()
            await _check_size(connection, id)
        return made

    # -- what goes by itself -------------------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Delete what has expired; how many there were."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(containers).where(containers.c.expires <= self._clock.now()))
        return gone.rowcount

    async def keep_swept(self) -> None:
        """`sweep` for as long as the server runs."""
        while True:
            try:
                await self.sweep()
            except MainspringError as error:
                _log.warning("containers were not swept", error=error.message)
            await asyncio.sleep(SWEEP_S)

    async def _find(self, connection: AsyncConnection, project: str, id: str) -> Container:  # noqa: A002
        living = containers.c.expires > self._clock.now()
        query = select(containers).where(containers.c.id == id, containers.c.project == project, living)
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"Container with id '{id[:100]}' not found: it may have expired.", param="container_id")
        return Container(**dict(row))

    async def _touch(self, connection: AsyncConnection, project: str, id: str) -> None:  # noqa: A002
        found, now_s = await self._find(connection, project, id), self._clock.now()
        values = {"active": now_s, "expires": now_s + 60 * found.minutes}
        await connection.execute(update(containers).where(containers.c.id == id).values(values))

    async def _find_file(self, connection: AsyncConnection, id: str, file: str) -> ContainerFile:  # noqa: A002
        query = select(*_FILE).where(
            container_files.c.id == file, container_files.c.container == id, container_files.c.source != SESSION
        )
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"Container file with id '{file[:100]}' not found.", param="file_id")
        return ContainerFile(**dict(row))


async def remove_all_containers(connection: AsyncConnection, project: str) -> None:
    """Delete a project's containers, in a transaction of `Database.write`."""
    await connection.execute(delete(containers).where(containers.c.project == project))


def _new(container: str, path: str, content: bytes, source: Source, now_s: float) -> ContainerFile:
    return ContainerFile(
        id=new_id("cfile_"), container=container, path=path, created=now_s, bytes=len(content), source=source
    )


async def _put(connection: AsyncConnection, file: ContainerFile, content: bytes) -> None:
    at = and_(container_files.c.container == file.container, container_files.c.path == file.path)
    await connection.execute(delete(container_files).where(at))
    await connection.execute(insert(container_files).values(content=content, **msgspec.structs.asdict(file)))


async def _check_size(connection: AsyncConnection, id: str) -> None:  # noqa: A002
    query = select(func.count(), func.sum(container_files.c.bytes)).where(container_files.c.container == id)
    num, total = (await connection.execute(query)).one()
    if num > MAX_FILES or int(total or 0) > MAX_BYTES:
        raise PayloadTooLarge(f"A container holds at most {MAX_FILES} files of {MAX_BYTES} bytes together.")


def _page(query: Any, when: Any, key: Any, at: Container | ContainerFile | None, descending: bool) -> Any:
    """A list in order, behind a row of it."""
    query = query.order_by(*((when.desc(), key.desc()) if descending else (when, key)))
    if at is None:
        return query
    if descending:
        return query.where(or_(when < at.created, and_(when == at.created, key < at.id)))
    return query.where(or_(when > at.created, and_(when == at.created, key > at.id)))
