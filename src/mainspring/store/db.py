"""The database: SQLite in the data directory or PostgreSQL, brought to the current schema when it is opened.

Alembic takes longer to import than everything else here together, so it is imported only if the revision that the
database holds is not `HEAD`.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mainspring.core.errors import InvalidRequest, Unavailable, UserMistake

__all__ = ["HEAD", "MIGRATIONS", "RESTORING", "Database", "revision_in", "upgrade"]

HEAD = "0017"
"""The newest revision in `migrations/versions`."""

MIGRATIONS = Path(__file__).parent / "migrations"
RESTORING = ".restore"
"""In a data directory: what a restore has still to put in its place (`store/restore.py`)."""
BUSY_TIMEOUT_S = 10
WRITERS_LOCK = 0x6D61696E  # "main"
NO_SUCH_CHARACTER = "22021"
"""PostgreSQL's word for a NUL in a text; SQLite takes it."""


class Database:
    """Connections to one database. Every use is short: no transaction is held while anything else is waited for."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    async def open(cls, home: Path, url: str = "") -> "Database":
        """The database at `url`, or if that is empty that of the data directory `home`; migrated if need be.

        Raises:
            UserMistake: as `migrate` and `at` do; or a restore into `home` did not come to its end.
        """
        if (home / RESTORING).exists():
            raise UserMistake(
                f"A restore into {home} did not come to its end: run `mainspring restore FILE --replace` once more."
            )
        database = cls.at(url) if url else cls.in_home(home)
        try:
            await database.migrate()
        except BaseException:
            await database.close()
            raise
        return database

    @classmethod
    def in_home(cls, home: Path) -> "Database":
        """The database of the data directory `home`, which exists. It is not opened before it is used."""
        path = home / "mainspring.db"
        path.touch(mode=0o600)  # SQLite's own files beside it take over its mode
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={"timeout": BUSY_TIMEOUT_S, "factory": _Connection, "async_creator_fn": _connect},
        )
        _prepare_sqlite(engine)
        return cls(engine)

    @classmethod
    def at(cls, url: str) -> "Database":
        """The PostgreSQL database at an URL. It is not connected to before it is used.

        Raises:
            UserMistake: it is no such URL, or the driver is not installed.
        """
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise UserMistake("The setting 'database' is not an URL: postgresql://user:password@host/name.") from error
        if parsed.get_backend_name() not in ("postgresql", "postgres"):
            raise UserMistake("The setting 'database' names PostgreSQL; SQLite is what there is without it.")
        try:
            # A connection that the server has closed since, because it was restarted, is noticed and replaced.
            engine = create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise UserMistake("PostgreSQL needs its driver: pip install 'mainspring[postgres]'.") from error
        return cls(engine)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection that sees one state of the database.

        Raises:
            Unavailable: the database does not answer.
        """
        with _told():
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that is committed if the block ends without an exception.

        There is one writer at a time. It takes SQLite's write lock at its beginning: one that reads first and wants to
        write later may be refused at once, whatever the time-out. PostgreSQL is asked for a lock of ours, so that what
        holds on the one holds on the other.

        Raises:
            Unavailable: the database does not answer, cannot be written, or its disk is full.
            InvalidRequest: a text has a NUL, and it is PostgreSQL.
        """
        with _told():
            async with self.transaction() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """What `write` gives, for a block that has errors of its own: the database's stay what they are."""
        async with self.engine.connect() as connection:
            await connection.execution_options(mainspring_begin="BEGIN IMMEDIATE")
            async with connection.begin():
                if connection.dialect.name == "postgresql":
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"))
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[AsyncConnection]:
        """A connection that sees one state of the database however long it reads, and holds up no writer.

        SQLite's WAL does so for every transaction; it grows meanwhile. Errors stay what they are.
        """
        async with self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection

    @property
    def is_shared(self) -> bool:
        """Whether servers on several machines may use it: it is PostgreSQL."""
        return self.engine.dialect.name == "postgresql"

    @asynccontextmanager
    async def statements(self) -> AsyncGenerator[AsyncConnection]:
        """A connection each of whose statements is a transaction of its own, and waits for no other writer's turn.

        Only for a shared database, and for statements that are right whatever runs beside them.

        Raises:
            Unavailable: the database does not answer.
        """
        with _told():
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def migrate(self) -> None:
        """Make the schema, or bring it to `HEAD`. Costs one query if there is nothing to do.

        Raises:
            UserMistake: a newer Mainspring wrote the database, it is none or not reached, or the disk is full.
        """
        try:
            async with self.read() as connection:
                if await connection.run_sync(revision_in) == HEAD:
                    return
        except Unavailable as error:
            raise UserMistake(self._why_not(error.__cause__)) from error
        async with self.write() as connection:  # and no second process migrates at the same time
            await connection.run_sync(upgrade)

    def _why_not(self, error: BaseException | None) -> str:
        reason = _reason(error)
        if self.engine.dialect.name == "postgresql":
            where = self.engine.url.set(username=None, password=None, query={}).render_as_string()
            return f"{where} cannot be used ({reason}): is it running, and are user and password right?"
        if isinstance(error, OperationalError):
            return (
                f"{self.engine.url.database} cannot be used ({reason}): make sure that the disk has room and that "
                "you may write there."
            )
        return f"{self.engine.url.database} is not a database: move it away for a new one."


def _reason(error: BaseException | None) -> str:
    return str(getattr(error, "orig", error)).partition("\n")[0]


@contextmanager
def _told() -> Generator[None]:
    """What is the database's fault becomes one error; what is the statement's stays what it is."""
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError):
        raise
    except (DBAPIError, OSError) as error:
        if getattr(getattr(error, "orig", None), "sqlstate", "") == NO_SUCH_CHARACTER:
            raise InvalidRequest("A text has a NUL character, which the database cannot keep: leave it out.") from error
        raise Unavailable(
            f"The database cannot be used now ({_reason(error)}).", code="database_unavailable"
        ) from error


class _Connection(sqlite3.Connection):
    """Ends its transaction when it is closed.

    SQLite keeps a closed connection, and its lock, for as long as there is a cursor of it. A task that was cancelled in
    a transaction closes the connection, and its exception may hold the cursor: "database is locked", for everybody.
    """

    def close(self) -> None:
        """Nothing happens if it is closed already."""
        with suppress(sqlite3.ProgrammingError):
            if self.in_transaction:
                self.rollback()
        super().close()


class _Thread(aiosqlite.Connection):
    """Is told to stop once. A second word would come after the thread's end, and whoever waited for it, cancelled twice
    while a server stops, would wait for good. And its thread ends in silence if the loop that it answers is closed."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True  # as SQLAlchemy has it of its own
        run = self._thread.run

        def quietly() -> None:
            with suppress(RuntimeError):  # what SQLite raises is caught within
                run()

        self._thread.run = quietly

    def stop(self) -> asyncio.Future[None] | None:
        """None if it was told already."""
        return super().stop() if self._running else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def _connect(database: str, **named: Any) -> _Thread:
    return _Thread(lambda: sqlite3.connect(database, **named))


def _prepare_sqlite(engine: AsyncEngine) -> None:
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own idea of transactions leaves schema changes out of them
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            _insist(lambda pragma=pragma: cursor.execute(f"PRAGMA {pragma}"))
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("mainspring_begin", "BEGIN"))

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)


def _insist(run: Callable[[], object]) -> None:
    """Two processes that open a new database at once both turn it to WAL, which does not wait for the other one."""
    for _ in range(50):
        try:
            run()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.02)
        else:
            return
    run()


def revision_in(connection: Connection) -> str | None:
    """The revision of the schema; None if there is none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(connection: Connection, to: str = HEAD) -> None:
    """Make the schema, or bring an older one to the revision `to`, in the transaction that is open.

    Raises:
        UserMistake: a newer Mainspring wrote the database, or `to` is a revision that only a newer one knows.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    revision = revision_in(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise UserMistake("This data directory was written by a newer Mainspring: upgrade it, or use another --home.")
    if to not in known:
        raise UserMistake("This backup was made by a newer Mainspring: upgrade this one, then restore it.")
    command.upgrade(config, to)
