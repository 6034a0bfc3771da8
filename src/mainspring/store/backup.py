"""Making a backup while servers run: the journal, one state of the database, blobs, then models if they are asked for.

The order is what makes it whole. What has ended when the backup begins lies in the journal or in the database; the
ledger moves it from the one to the other and removes it only then. So the journal is read first: what it no longer
holds is in the state of the database that is read next, and what both hold is one row when the restored installation
starts, since the ledger moves no id twice.

What files and parts of uploads hold is read after the rows that name it, from the data directory or from the bucket. A
blob that is gone by then was deleted meanwhile; the manifest says so, and its file is not restored.

Rows are written in a form of ours and not as a copy of SQLite's file or as PostgreSQL's dump: that is how a backup of
the one can be restored into the other.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Table, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring import __version__
from mainspring.core.clock import Clock
from mainspring.core.errors import NotFound, Unavailable, UserMistake
from mainspring.store import journal
from mainspring.store.archive import FILES, Manifest, Model, Progress, TableRows, Writer
from mainspring.store.blobs import BLOBS, Blobs, Directory, is_hash
from mainspring.store.db import Database, revision_in
from mainspring.store.schema import Codec, tables_at

__all__ = ["LEDGER", "MODELS", "NAMING", "backup"]

LEDGER = "ledger"
MODELS = "models"
NAMING = ("files", "upload_parts")
"""Tables whose rows name blobs; an older schema has fewer."""
WRITING = "writing"
CHUNK = 4 * 2**20
"""Bytes of rows or lines that are one member."""
TOGETHER = 1000


async def backup(
    database: Database,
    home: Path,
    out: BinaryIO,
    clock: Clock,
    progress: Progress,
    *,
    blobs: Blobs | None = None,
    models: Iterable[Model] = (),
    with_secrets: bool = True,
) -> Manifest:
    """Write an archive of one installation to `out`, which is a stream.

    Args:
        blobs: where they are, if not in `home`.
        models: what the catalog holds; the files of those that are `included` are written too.
        with_secrets: whether to write the files that open doors: the configuration too, since it may hold the
            database's password.

    Raises:
        UserMistake: there is no database yet, or a newer Mainspring wrote it.
        Unavailable: the database does not answer.
    """
    async with database.read() as connection:
        revision = await connection.run_sync(revision_in)
    if revision is None:
        raise UserMistake("There is nothing to back up: the database is empty.")
    tables = tables_at(revision).sorted_tables
    writer, kept, sizes = Writer(out), dict[str, TableRows](), dict[str, int]()
    if with_secrets:
        _write_files(writer, home)
    progress(WRITING, writer.written, None)
    for number, chunk in enumerate(_chunks(journal.read_all(home / LEDGER)), start=1):
        writer.add(f"{LEDGER}/{number:06d}.journal", chunk)
    try:
        async with database.snapshot() as connection:
            for table in tables:
                kept[str(table.name)] = await _write_rows(writer, connection, table, progress)
                if table.name in NAMING:
                    query = select(table.c.sha256, table.c.bytes).distinct().order_by(table.c.sha256)
                    sizes |= {sha256: size for sha256, size in await connection.execute(query) if is_hash(sha256)}
    except DBAPIError as error:
        raise Unavailable("The database stopped answering: run the backup again.") from error
    gone = await _write_blobs(writer, blobs or Directory(home / BLOBS), sizes, progress)
    named = tuple(models)
    for model in named:
        if model.included:
            _write_model(writer, home / MODELS, model, progress)
    return writer.finish(
        Manifest(
            mainspring=__version__,
            created=clock.now(),
            database=database.engine.dialect.name,
            revision=revision,
            tables=kept,
            models=named,
            gone=tuple(gone),
        )
    )


def _write_files(writer: Writer, home: Path) -> None:
    for name in FILES:
        path = home / name
        if path.is_file():
            writer.add(name, path.read_bytes())


async def _write_rows(writer: Writer, connection: AsyncConnection, table: Table, progress: Progress) -> TableRows:
    codec, waiting, num_bytes, num_rows, number = Codec(table), list[bytes](), 0, 0, 0

    def flush() -> None:
        nonlocal number, num_bytes
        if waiting:
            number += 1
            writer.add(f"tables/{table.name}/{number:06d}.jsonl", b"".join(waiting))
            waiting.clear()
            num_bytes = 0
            progress(WRITING, writer.written, None)

    query = select(table).order_by(*table.primary_key.columns)
    async with connection.stream(query) as rows:
        async for some in rows.partitions(TOGETHER):
            for row in some:
                waiting.append(codec.encode(row) + b"\n")
                num_bytes += len(waiting[-1])
            num_rows += len(some)
            if num_bytes >= CHUNK:
                flush()
    flush()
    return TableRows(columns=codec.columns, rows=num_rows)


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    waiting, num_bytes = list[bytes](), 0
    for line in lines:
        waiting.append(line + b"\n")
        num_bytes += len(line) + 1
        if num_bytes >= CHUNK:
            yield b"".join(waiting)
            waiting, num_bytes = [], 0
    if waiting:
        yield b"".join(waiting)


async def _write_blobs(writer: Writer, blobs: Blobs, sizes: Mapping[str, int], progress: Progress) -> list[str]:
    """The hashes of those that are there no longer."""
    gone = list[str]()
    for sha256, size in sizes.items():
        progress(WRITING, writer.written, None)
        try:
            async with aclosing(blobs.read(sha256)) as pieces:
                await writer.add_stream(f"{BLOBS}/{sha256}", size, pieces)
        except NotFound:
            gone.append(sha256)
    return gone


def _write_model(writer: Writer, catalog: Path, model: Model, progress: Progress) -> None:
    place = f"{model.folder or model.name}/{model.version}"
    for name in model.files:
        progress(WRITING, writer.written, None)
        writer.add_file(f"{MODELS}/{place}/{name}", catalog / place / name)
