"""Vector stores, the files in them, and their chunks, as rows. Functions take a connection, as in `store/jobs.py`.

A file can be found once its row is "completed". Each change of what can be found has a number higher than all before it
in its store, which its row holds: so the count of the rows and their highest number tell whether anything has changed,
whoever deleted what.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import LargeBinary, RowMapping, Select, and_, cast, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.search import Value
from mainspring.retrieval.index import Indexed
from mainspring.store.tables import files, vector_store_batches, vector_store_chunks, vector_store_files, vector_stores

__all__ = [
    "Attached", "Batch", "Counts", "Status", "Store", "add_chunks", "add_files", "chunks_of", "complete", "counts_of",
    "findable", "findable_state", "last_chunk", "list_files", "next_file", "orphans", "usage_of",
]  # fmt: skip

IDS = 500
"""Of one query."""
Status = Literal["in_progress", "completed", "failed", "cancelled"]


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A vector store. Times are Unix seconds.

    Args:
        active: when it was last searched or added to.
        model: what its vectors were made with, as name@version; empty if it has none.
    """

    id: str
    project: str
    creator: str
    name: str
    description: str | None
    metadata: dict[str, str]
    created: float
    active: float
    expires_days: int | None
    expires: float | None
    model: str = ""
    dimensions: int = 0
    revision: int = 0


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a store, or on its way there.

    Args:
        error: code and message, if it has failed.
        bytes: of text and vectors that are kept of it.
        filename: of the file.
    """

    entry: str
    store: str
    file: str
    batch: str | None
    job: str
    place: int
    created: float
    status: Status
    error: dict[str, str] | None
    attributes: dict[str, Value]
    max_tokens: int
    overlap: int
    bytes: int = 0
    revision: int = 0
    filename: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were put into a store together."""

    id: str
    store: str
    created: float
    cancelled: bool


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Files by status."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


class Findable(NamedTuple):
    """What can be found of a store: the number of files, and the highest number of a change."""

    num_files: int
    revision: int


_JSON = ("metadata", "attributes", "error")


def written(row: msgspec.Struct) -> dict[str, Any]:
    """As the columns hold it."""
    fields = {name: getattr(row, name) for name in row.__struct_fields__ if name != "filename"}
    return {name: text_of(value) if name in _JSON and value is not None else value for name, value in fields.items()}


def text_of(value: Any) -> str:
    """JSON that PostgreSQL keeps."""
    return msgspec.json.encode(value).decode().replace("\\u0000", "\\ufffd")


def _read(kind: Any, row: RowMapping) -> Any:
    fields = {name: row[name] for name in kind.__struct_fields__ if name in row}
    for name in _JSON:
        if fields.get(name) is not None:
            fields[name] = msgspec.json.decode(fields[name])
    return msgspec.convert(fields, kind)


def store_of(row: RowMapping) -> Store:
    """From its row."""
    return _read(Store, row)


def batch_of(row: RowMapping) -> Batch:
    """From its row."""
    return _read(Batch, row)


def _attached(row: RowMapping) -> Attached:
    return _read(Attached, row)


def _files() -> Select[Any]:
    return select(vector_store_files, files.c.filename).join(files, files.c.id == vector_store_files.c.file)


# -- counts ------------------------------------------------------------------------------------------------------------


async def counts_of(
    connection: AsyncConnection, ids: Iterable[str], by: Literal["store", "batch"] = "store"
) -> dict[str, Counts]:
    """The files of stores or batches, by id."""
    c = vector_store_files.c
    key = c[by]
    query = select(key, c.status, func.count()).where(key.in_(list(ids))).group_by(key, c.status)
    found: dict[str, dict[str, int]] = {}
    for name, status, count in await connection.execute(query):
        found.setdefault(name, {})[status] = count
    return {name: Counts(**counts) for name, counts in found.items()}


async def usage_of(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, int]:
    """Bytes that stores keep, by id."""
    c = vector_store_files.c
    query = select(c.store, func.sum(c.bytes)).where(c.store.in_(list(ids))).group_by(c.store)
    return {store: int(total) for store, total in await connection.execute(query)}


# -- files -------------------------------------------------------------------------------------------------------------


async def add_files(connection: AsyncConnection, store: str, attached: Sequence[Attached]) -> None:
    """Put the rows of files there, in the place of those that they have in the store already."""
    c = vector_store_files.c
    for start in range(0, len(attached), IDS):
        some = attached[start : start + IDS]
        same = and_(c.store == store, c.file.in_([each.file for each in some]))
        await connection.execute(delete(vector_store_files).where(same))
        await connection.execute(insert(vector_store_files), [written(each) for each in some])


async def find_file(connection: AsyncConnection, store: str, file: str) -> Attached | None:
    """A file of a store."""
    c = vector_store_files.c
    row = (await connection.execute(_files().where(c.store == store, c.file == file))).mappings().one_or_none()
    return None if row is None else _attached(row)


async def find_entry(connection: AsyncConnection, entry: str) -> Attached | None:
    """The same by its entry."""
    query = _files().where(vector_store_files.c.entry == entry)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _attached(row)


async def list_files(
    connection: AsyncConnection, *, store: str, batch: str | None = None, status: str | None = None,
    after: Attached | None = None, before: Attached | None = None, limit: int, descending: bool,
) -> tuple[list[Attached], bool]:  # fmt: skip
    """Files of a store by the time when they were put there, and whether there are more.

    Args:
        batch, status: only of these.
        after, before: only those behind the one, and those in front of the other.
    """
    c = vector_store_files.c
    query = _files().where(c.store == store)
    if batch is not None:
        query = query.where(c.batch == batch)
    if status is not None:
        query = query.where(c.status == status)
    query = paged(
        query, (c.created, c.entry), after=after and (after.created, after.entry),
        before=before and (before.created, before.entry), descending=descending,
    )  # fmt: skip
    rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
    found = [_attached(row) for row in rows[:limit]]
    return (found[::-1] if before is not None and after is None else found), len(rows) > limit


def paged(
    query: Select[Any], order: tuple[Any, Any], *, after: tuple[float, str] | None, before: tuple[float, str] | None,
    descending: bool,
) -> Select[Any]:  # fmt: skip
    """In order of a time and, of equal ones, of a key, between the two. With `before` alone those nearest to it come
    first: whoever reads turns them round."""

    when, key = order

    def beyond(at: tuple[float, str], upwards: bool) -> Any:
        time, name = at
        if upwards:
            return or_(when > time, and_(when == time, key > name))
        return or_(when < time, and_(when == time, key < name))

    if after is not None:
        query = query.where(beyond(after, not descending))
    if before is not None:
        query = query.where(beyond(before, descending))
    if (before is not None and after is None) != descending:
        return query.order_by(when.desc(), key.desc())
    return query.order_by(when, key)


async def next_file(connection: AsyncConnection, job: str) -> Attached | None:
    """The next of a job's files that is still to be done."""
    c = vector_store_files.c
    query = _files().where(c.job == job, c.status == "in_progress").order_by(c.place).limit(1)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _attached(row)


async def change_file(connection: AsyncConnection, entry: str, **fields: Any) -> bool:
    """Change some fields of a file that is on its way; whether it still was."""
    c = vector_store_files.c
    fields = {name: text_of(value) if name in _JSON else value for name, value in fields.items()}
    query = update(vector_store_files).where(c.entry == entry, c.status == "in_progress").values(fields)
    return bool((await connection.execute(query)).rowcount)


async def complete(connection: AsyncConnection, attached: Attached, bytes: int) -> bool:  # noqa: A002 - the API's name
    """From now on a file can be found; whether it was still wanted."""
    number = await next_revision(connection, attached.store)
    return await change_file(connection, attached.entry, status="completed", bytes=bytes, revision=number)


async def next_revision(connection: AsyncConnection, store: str) -> int:
    """A number higher than all before it in the store."""
    c = vector_stores.c
    await connection.execute(update(vector_stores).where(c.id == store).values(revision=c.revision + 1))
    return int((await connection.execute(select(c.revision).where(c.id == store))).scalar() or 0)


async def set_attributes(connection: AsyncConnection, entry: str, store: str, attributes: Mapping[str, Value]) -> None:
    """Change what filters see."""
    number = await next_revision(connection, store)
    query = update(vector_store_files).where(vector_store_files.c.entry == entry)
    await connection.execute(query.values(attributes=text_of(dict(attributes)), revision=number))


async def findable_state(connection: AsyncConnection, store: str) -> Findable:
    """What tells whether anything has changed."""
    c = vector_store_files.c
    query = select(func.count(), func.max(c.revision)).where(c.store == store, c.status == "completed")
    count, revision = (await connection.execute(query)).one()
    return Findable(count, revision or 0)


async def findable(connection: AsyncConnection, store: str) -> list[Attached]:
    """Every file of a store that can be found."""
    c = vector_store_files.c
    rows = (await connection.execute(_files().where(c.store == store, c.status == "completed"))).mappings().all()
    return [_attached(row) for row in rows]


# -- chunks ------------------------------------------------------------------------------------------------------------


async def add_chunks(
    connection: AsyncConnection, entry: str, start: int, chunks: Sequence[tuple[Indexed, int]]
) -> None:
    """Keep chunks of an entry, with their tokens, from the place `start` on."""
    rows = [
        {
            "entry": entry, "place": place, "text": chunk.text, "begins": chunk.start, "ends": chunk.end,
            "page": chunk.page, "heading": text_of(chunk.heading), "tokens": tokens, "vectors": chunk.vectors,
        }
        for place, (chunk, tokens) in enumerate(chunks, start)
    ]  # fmt: skip
    await connection.execute(insert(vector_store_chunks), rows)


async def last_chunk(connection: AsyncConnection, entry: str) -> tuple[int, Indexed] | None:
    """The last chunk that is kept of an entry, and its place."""
    c = vector_store_chunks.c
    query = select(vector_store_chunks).where(c.entry == entry).order_by(c.place.desc()).limit(1)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else (row["place"], _indexed(row))


async def chunks_of(connection: AsyncConnection, entry: str, start: int, limit: int) -> list[Indexed]:
    """Chunks of an entry, in order, from a place on."""
    c = vector_store_chunks.c
    query = select(vector_store_chunks).where(c.entry == entry, c.place >= start).order_by(c.place).limit(limit)
    return [_indexed(row) for row in (await connection.execute(query)).mappings()]


async def bytes_of(connection: AsyncConnection, entry: str) -> int:
    """Bytes of text and vectors that are kept of an entry."""
    c = vector_store_chunks.c
    if connection.dialect.name == "postgresql":
        size = func.octet_length(c.text) + func.octet_length(c.vectors)
    else:  # SQLite counts characters of a text
        size = func.length(cast(c.text, LargeBinary)) + func.length(c.vectors)
    query = select(func.sum(size)).where(c.entry == entry)
    return int((await connection.execute(query)).scalar() or 0)


async def remove_chunks(connection: AsyncConnection, entry: str, limit: int = 1000) -> int:
    """Remove some chunks of an entry; how many there were."""
    c = vector_store_chunks.c
    places = select(c.place).where(c.entry == entry).order_by(c.place).limit(limit)
    done = await connection.execute(delete(vector_store_chunks).where(c.entry == entry, c.place.in_(places)))
    return done.rowcount


async def orphans(connection: AsyncConnection, limit: int = 100) -> list[str]:
    """Entries that there are chunks of and no row."""
    c, alive = vector_store_chunks.c, select(vector_store_files.c.entry)
    query = select(c.entry).distinct().where(c.entry.not_in(alive)).limit(limit)
    return list((await connection.execute(query)).scalars())


def _indexed(row: RowMapping) -> Indexed:
    return Indexed(
        text=row["text"], start=row["begins"], end=row["ends"], page=row["page"],
        heading=tuple(msgspec.json.decode(row["heading"])), vectors=row["vectors"],
    )  # fmt: skip


# -- stores ------------------------------------------------------------------------------------------------------------


async def find_store(connection: AsyncConnection, id: str) -> Store | None:  # noqa: A002 - what the API calls it
    """A store."""
    row = (await connection.execute(select(vector_stores).where(vector_stores.c.id == id))).mappings().one_or_none()
    return None if row is None else store_of(row)


async def find_batch(connection: AsyncConnection, store: str, id: str) -> Batch | None:  # noqa: A002 - see above
    """A batch of a store."""
    c = vector_store_batches.c
    query = select(vector_store_batches).where(c.id == id, c.store == store)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else batch_of(row)


async def take_model(connection: AsyncConnection, store: str, model: str, dimensions: int) -> bool:
    """Let a store that has no vectors yet have this model's; whether its vectors are that model's now."""
    c = vector_stores.c
    unset = update(vector_stores).where(c.id == store, c.model == "")
    await connection.execute(unset.values(model=model, dimensions=dimensions))
    kept = (await connection.execute(select(c.model, c.dimensions).where(c.id == store))).one_or_none()
    return kept is not None and tuple(kept) == (model, dimensions)


async def touch(connection: AsyncConnection, store: Store, now_s: float) -> None:
    """It is used now, and expires so much later."""
    expires = None if store.expires_days is None else now_s + store.expires_days * 86_400
    query = update(vector_stores).where(vector_stores.c.id == store.id)
    await connection.execute(query.values(active=now_s, expires=expires))
