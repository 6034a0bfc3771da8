"""The database: SQLite in the data directory, brought to the current schema when it is opened.

Alembic takes longer to import than everything else here together, so it is imported only if the revision that the
database holds is not `HEAD`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mainspring.core.errors import UserMistake

__all__ = ["HEAD", "MIGRATIONS", "Database"]

HEAD = "0001"
"""The newest revision in `migrations/versions`."""

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 10


class Database:
    """Connections to one database. Every use is short: no transaction is held while anything else is waited for."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    async def open(cls, home: Path) -> "Database":
        """The database of the data directory `home`, migrated if need be. Raises what `migrate` raises."""
        database = cls.in_home(home)
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
            URL.create("sqlite+aiosqlite", database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        _prepare_sqlite(engine)
        return cls(engine)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection that sees one state of the database."""
        async with self.engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that is committed if the block ends without an exception.

        It takes SQLite's write lock at its beginning: one that reads first and wants to write later may be refused at
        once, whatever the time-out.
        """
        async with self.engine.connect() as connection:
            await connection.execution_options(mainspring_begin="BEGIN IMMEDIATE")
            async with connection.begin():
                yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def migrate(self) -> None:
        """Make the schema, or bring it to `HEAD`. Costs one query if there is nothing to do.

        Raises:
            UserMistake: a newer Mainspring wrote the database, it is none, or the disk is full.
        """
        try:
            async with self.read() as connection:
                if await connection.run_sync(_revision) == HEAD:
                    return
        except OperationalError as error:
            raise UserMistake(
                f"{self.engine.url.database} cannot be used ({error.orig}): make sure that the disk has room and that "
                "you may write there."
            ) from error
        except DatabaseError as error:
            raise UserMistake(f"{self.engine.url.database} is not a database: move it away for a new one.") from error
        async with self.write() as connection:  # and no second process migrates at the same time
            await connection.run_sync(_upgrade)


def _prepare_sqlite(engine: AsyncEngine) -> None:
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own idea of transactions leaves schema changes out of them
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("mainspring_begin", "BEGIN"))

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    revision = _revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise UserMistake("This data directory was written by a newer Mainspring: upgrade it, or use another --home.")
    command.upgrade(config, HEAD)
