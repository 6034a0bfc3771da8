"""Restoring a backup: verified first, prepared beside what is there, then put in its place.

    HOME/.restore-part/     being prepared: a crash leaves the installation as it was, and this folder as waste
    HOME/.restore/          the same folder when everything in it is whole: from here on servers refuse to start,
                            because what is missing in its place lies here, and say that the restore has to be repeated
    HOME/replaced-<time>/   what lay there before, if it was to be replaced

SQLite's file is made in the folder. PostgreSQL's tables are made in one transaction, which is committed once the rest
is whole. What was replaced in PostgreSQL is gone; files are kept.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import msgspec
from sqlalchemy import MetaData, delete, insert, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import InterfaceError, OperationalError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import Unavailable, UserMistake
from mainspring.store import journal
from mainspring.store.archive import CONFIGURATION, MANIFEST, SECRETS, Contents, Entry, Progress, entries
from mainspring.store.backup import LEDGER, MODELS, NAMING
from mainspring.store.blobs import BLOBS, Blobs, place
from mainspring.store.db import RESTORING, Database, revision_in, upgrade
from mainspring.store.schema import Codec, reset_sequences, tables_at
from mainspring.store.tables import metadata

__all__ = ["DATABASE_FILE", "Restored", "restore"]

DATABASE_FILE = "mainspring.db"
PART = ".restore-part"
KEPT_CONFIGURATION = "mainspring.toml.restored"
CLOSING_TRIES, CLOSING_S = 30, 0.1
SPARE_BYTES = 64 * 2**20


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was done.

    Args:
        rows: by table, as they were in the archive.
        lines: of the journal; those that the database lacks become rows when the server starts.
        replaced: the folder where the files lie that were there before.
        kept_configuration: whether the configuration that was there stayed; the archive's then lies beside it.
    """

    database: str
    rows: dict[str, int]
    lines: int
    replaced: str | None
    kept_configuration: bool


async def restore(
    packed: IO[bytes], contents: Contents, home: Path, url: str, progress: Progress, *, replace: bool = False,
    blobs: Blobs | None = None,
) -> Restored:  # fmt: skip
    """Make `home` and its database what they were when the archive was written, and bring them to this version.

    Args:
        packed: the archive, of which `archive.verify` has returned `contents`.
        home: an existing folder.
        url: of the PostgreSQL database to restore into; empty for SQLite in `home`.
        replace: whether an installation that is there may be replaced.
        blobs: where they go, if that is not `home`: a bucket. They are there before anything else is changed, and
            stay there if the rest fails.

    Raises:
        UserMistake: something is there already, or runs; the archive is from a newer Mainspring, or is not what was
            verified; there is no room. Nothing was changed.
        Unavailable: the database does not answer. Nothing was changed.
    """
    tables = tables_at(contents.manifest.revision)
    if {table.name: sorted(table.columns.keys()) for table in tables.sorted_tables} != {
        name: sorted(kept.columns) for name, kept in contents.manifest.tables.items()
    }:
        raise UserMistake("The tables of this archive are not those of its revision: it was not made by Mainspring.")
    with _only_one(home):
        _check_home(home, contents, replace=replace)
        stage = home / PART
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(mode=0o700)
        filling = _Filling(packed, contents, tables, stage, progress, blobs=blobs)
        try:
            async with _database(stage, url, replace=replace) as connection:
                await filling.run(connection)
                await connection.run_sync(upgrade)
                if url:
                    _mark(home, replace=replace)
            if not url:
                _mark(home, replace=replace)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        kept = (home / CONFIGURATION).exists()
        replaced = _place(home)
    return Restored(
        database="postgresql" if url else "sqlite",
        rows={name: kept.rows for name, kept in contents.manifest.tables.items()},
        lines=filling.num_lines,
        replaced=replaced,
        kept_configuration=kept,
    )


@contextlib.contextmanager
def _only_one(home: Path) -> Generator[None]:
    descriptor = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserMistake("Another restore works in this data directory: wait for it.") from error
    finally:
        os.close(descriptor)


def _check_home(home: Path, contents: Contents, *, replace: bool) -> None:
    if os.geteuid() != home.stat().st_uid:
        raise UserMistake(f"{home} belongs to another user: run this as that user, with `sudo -u`.")
    if journal.is_in_use(home / LEDGER):
        raise UserMistake("A server runs on this data directory: stop it first.")
    if (found := _what_is_there(home)) and not replace:
        raise UserMistake(
            f"There is an installation already ({', '.join(found)}): choose another --home, or say --replace, which "
            "moves its files aside."
        )
    free = shutil.disk_usage(home).free
    if free < 2 * contents.bytes + SPARE_BYTES:
        raise UserMistake(f"This needs {2 * contents.bytes / 1e9:.2f} GB and {free / 1e9:.2f} GB are free: make room.")


def _what_is_there(home: Path) -> list[str]:
    """What an installation consists of, apart from what may be there before one: a configuration and models."""
    return [path.name for path in _state(home) if path.exists()]


def _state(home: Path) -> list[Path]:
    names = (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm", LEDGER, BLOBS, *SECRETS, RESTORING)
    return [home / name for name in names]


@asynccontextmanager
async def _database(stage: Path, url: str, *, replace: bool) -> AsyncGenerator[AsyncConnection]:
    """A transaction in a database without tables of ours, committed if the block ends well."""
    database = Database.at(url) if url else Database.in_home(stage)
    try:
        async with database.transaction() as connection:
            if url and (revision := await connection.run_sync(_revision_of_ours, replace)):
                await _wait_for_others(connection)
                await connection.run_sync(_drop, revision)
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise Unavailable("The database cannot be written now: nothing was changed.") from error
    except (StatementError, UnicodeError) as error:
        raise UserMistake(
            "A row of this archive does not fit into its table: it was not written by Mainspring, or the other kind of "
            "database takes what this one does not."
        ) from error
    except ConnectionError as error:
        raise Unavailable("The database is not reached: nothing was changed.") from error
    finally:
        await database.close()


def _revision_of_ours(connection: Connection, replace: bool) -> str | None:
    """The revision of the tables that are to be replaced; None if there are none."""
    ours = {*inspect(connection).get_table_names()} & {*metadata.tables, "alembic_version"}
    if not ours:
        return None
    revision = revision_in(connection)
    if revision is None:
        raise UserMistake(f"The database holds tables of something else ({', '.join(sorted(ours))}): use an empty one.")
    if not replace:
        raise UserMistake(
            "The database holds an installation already: use an empty one, or say --replace, which deletes its rows."
        )
    return revision


async def _wait_for_others(connection: AsyncConnection) -> None:
    """PostgreSQL notices late that a process which was killed has gone."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    others = 0
    for _ in range(CLOSING_TRIES):
        await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        others = (await connection.execute(query)).scalar_one()
        if not others:
            return
        await asyncio.sleep(CLOSING_S)
    raise UserMistake(f"The database has {others} other connections: stop every server that uses it first.")


def _drop(connection: Connection, revision: str) -> None:
    try:
        tables = tables_at(revision)
    except UserMistake as error:
        raise UserMistake(
            "The database was written by a newer Mainspring, which knows more of its tables: use an empty one."
        ) from error
    tables.drop_all(connection)
    connection.execute(text("DROP TABLE alembic_version"))


class _Filling:
    """Reads the archive for the second time, and writes what it holds: rows to a transaction, the rest to `stage`."""

    def __init__(
        self, packed: IO[bytes], contents: Contents, tables: MetaData, stage: Path, progress: Progress, *,
        blobs: Blobs | None = None,
    ) -> None:  # fmt: skip
        self._blobs = blobs
        self._packed, self._contents, self._stage, self._progress = packed, contents, stage, progress
        self._tables = tables
        self._revision = contents.manifest.revision
        self.num_lines = 0

    async def run(self, connection: AsyncConnection) -> None:
        """Everything, into the schema that it had."""
        await connection.run_sync(upgrade, self._revision)
        for table in reversed(self._tables.sorted_tables):  # rows that a migration has put there
            await connection.execute(delete(table))
        rows = dict.fromkeys(self._tables.tables, 0)
        expected = iter(self._contents.manifest.members)
        self._packed.seek(0)
        for entry in entries(self._packed):
            self._progress("restoring", self._packed.tell(), None)
            folder, *rest = entry.name.split("/")
            if folder == "tables":
                rows[rest[0]] = rows.get(rest[0], 0) + await self._insert(connection, rest[0], entry)
            elif folder == LEDGER:
                self._write(entry, self._stage / LEDGER / "1" / f"{int(rest[0].partition('.')[0]):012d}.journal")
            elif folder == BLOBS:
                await self._keep(entry)
            elif folder == MODELS or entry.name in self._contents.files:
                self._write(entry, self._stage / entry.name)
            if entry.name != MANIFEST and entry.member() != next(expected, None):
                raise UserMistake("The archive was changed while it was read: nothing was restored.")
        if rows != {name: kept.rows for name, kept in self._contents.manifest.tables.items()}:
            raise UserMistake("The archive has not as many rows as it says: nothing was restored.")
        for table in (self._tables.tables[name] for name in NAMING if name in self._tables.tables):
            for sha256 in self._contents.manifest.gone:
                await connection.execute(delete(table).where(table.c.sha256 == sha256))
        if connection.dialect.name == "postgresql":
            await connection.run_sync(reset_sequences, self._tables)

    async def _insert(self, connection: AsyncConnection, name: str, entry: Entry) -> int:
        table = self._tables.tables.get(name)
        if table is None:
            raise UserMistake(f"The archive has rows for {name}, which is no table: it was not made by Mainspring.")
        codec = Codec(table, self._contents.manifest.tables[name].columns)
        try:
            rows = [codec.decode(line) for line in entry.read().splitlines()]
        except ValueError as error:
            raise UserMistake(
                f"The archive has rows for {name} that are none: it was not made by Mainspring."
            ) from error
        if rows:
            await connection.execute(insert(table), rows)
        return len(rows)

    async def _keep(self, entry: Entry) -> None:
        """A blob."""
        if (blobs := self._blobs) is None:
            self._write(entry, place(self._stage / BLOBS, entry.name.partition("/")[2]))
            return

        async def pieces() -> AsyncGenerator[bytes]:
            for piece in entry.pieces():
                yield piece

        staged = await blobs.stage(pieces(), max_bytes=entry.size)
        try:
            await blobs.send(staged)
        finally:
            await blobs.discard(staged)

    def _write(self, entry: Entry, path: Path) -> None:
        _make(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in entry.pieces():
                self.num_lines += piece.count(b"\n") if path.suffix == ".journal" else 0
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())


def _make(folder: Path) -> None:
    """A folder and those above it, for their owner only."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700)


def _mark(home: Path, *, replace: bool) -> None:
    """From here on, a server that starts refuses to; and one that has started meanwhile makes us refuse."""
    part, marked = home / PART, home / RESTORING
    was_interrupted = marked.exists()
    for path in (
        marked.iterdir() if was_interrupted else ()
    ):  # an earlier restore's: an empty folder is replaced at once
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    part.rename(marked)
    _sync(home)
    found = [name for name in _what_is_there(home) if name != RESTORING]
    if journal.is_in_use(home / LEDGER) or (found and not replace):
        if not was_interrupted:
            marked.rename(part)
        raise UserMistake("A server was started on this data directory meanwhile: stop it, then try again.")


def _place(home: Path) -> str | None:
    """Give everything its place."""
    stage, aside = home / RESTORING, _free_name(home / time.strftime("replaced-%Y%m%dT%H%M%SZ", time.gmtime()))
    names = {path.name for path in stage.iterdir()}
    for path in _state(home)[:-1]:
        is_replaced = path.name in names or path.name.startswith(DATABASE_FILE) or path.name in (LEDGER, BLOBS)
        if path.exists() and is_replaced:
            aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(aside / path.name)
    for path in sorted(stage.iterdir()):
        if path.name == MODELS:
            _place_models(path, home / MODELS)
        elif path.name == CONFIGURATION and (home / CONFIGURATION).exists():
            path.rename(home / KEPT_CONFIGURATION)
        else:
            path.rename(home / path.name)
    _sync(home)
    shutil.rmtree(stage)
    return aside.name if aside.exists() else None


def _free_name(path: Path) -> Path:
    """What was moved aside stays there: a restore that is repeated within a second takes another folder."""
    number = 1
    while (free := path if number == 1 else path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return free


def _place_models(stage: Path, catalog: Path) -> None:
    """A version never changes: one that is there stays."""
    for version in sorted(stage.glob("*/*/")):
        target = catalog / version.parent.name / version.name
        if not (target / "manifest.json").exists():
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            version.rename(target)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
