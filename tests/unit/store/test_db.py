import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from mainspring.core.errors import InvalidRequest, UserMistake
from mainspring.store import db
from mainspring.store.db import HEAD, MIGRATIONS, Database
from mainspring.store.tables import api_keys, metadata


def row(key_id: str) -> dict[str, object]:
    return {"id": key_id, "name": key_id, "role": "user", "hash": key_id * 3, "prefix": "ms-", "created": 1.0}


async def test_a_new_database_has_the_schema_of_the_code(tmp_path: Path, database_url: str) -> None:
    database = await Database.open(tmp_path, database_url)
    async with database.read() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    await database.close()
    assert differences == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


async def test_it_is_in_wal_mode_and_private(tmp_path: Path) -> None:
    database = await Database.open(tmp_path)
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
    assert (tmp_path / "mainspring.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "mainspring.db-wal").stat().st_mode & 0o777 == 0o600
    await database.close()


async def insert_and_fail(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(api_keys).values(row("lost")))
        raise ZeroDivisionError


async def test_a_failed_transaction_leaves_nothing_and_rows_outlive_the_process(
    tmp_path: Path, database_url: str
) -> None:
    database = await Database.open(tmp_path, database_url)
    with pytest.raises(ZeroDivisionError):
        await insert_and_fail(database)
    async with database.write() as connection:
        await connection.execute(insert(api_keys).values(row("kept")))
    await database.close()
    database = await Database.open(tmp_path, database_url)
    async with database.read() as connection:
        assert (await connection.execute(select(api_keys.c.id))).scalars().all() == ["kept"]
    await database.close()


async def test_writers_take_turns(tmp_path: Path, database_url: str) -> None:
    """Each reads and then writes what it read plus one: without the lock taken first, some would fail or be lost."""
    database, other = await Database.open(tmp_path, database_url), await Database.open(tmp_path, database_url)
    async with database.write() as connection:
        await connection.execute(insert(api_keys).values(row("k")))

    async def add_one(to: Database) -> None:
        async with to.write() as connection:
            created = (await connection.execute(select(api_keys.c.created))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(api_keys.update().values(created=created + 1))

    await asyncio.gather(*(add_one(each) for each in [database, other] * 10))
    async with other.read() as connection:
        assert (await connection.execute(select(api_keys.c.created))).scalar_one() == 21.0
    await database.close()
    await other.close()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    await (await Database.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / "mainspring.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(UserMistake, match="newer Mainspring"):
        await Database.open(tmp_path)


async def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mainspring.db").write_text("this is a text file, and long enough to be looked at" * 100)
    with pytest.raises(UserMistake, match="is not a database"):
        await Database.open(tmp_path)


OPEN = "import asyncio, sys; from pathlib import Path; from mainspring.store.db import Database\n"
OPEN += "asyncio.run(asyncio.run(Database.open(Path(sys.argv[1]))).close()); print('alembic' in sys.modules)"


def test_two_processes_may_make_it_at_once_and_alembic_is_imported_only_then(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert "True\n" in [out for out, _ in said]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


async def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OperationalError("PRAGMA", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(db, "revision_in", full)
    with pytest.raises(UserMistake, match=r"disk I/O error.*has room"):
        await Database.open(tmp_path)


async def test_an_older_database_is_brought_up_with_its_rows(tmp_path: Path, database_url: str) -> None:
    database = Database.at(database_url) if database_url else Database.in_home(tmp_path)
    async with database.write() as connection:
        await connection.run_sync(_upgrade_to, "0001")
        await connection.execute(text("INSERT INTO api_keys (id, name, role, hash, prefix, created) "
                                      "VALUES ('k', 'old', 'user', 'h', 'ms-', 1.0)"))  # fmt: skip
    await database.close()
    database = await Database.open(tmp_path, database_url)
    async with database.read() as connection:
        assert (await connection.execute(select(api_keys.c.name, api_keys.c.limits))).one() == ("old", "{}")
    await database.close()


def _upgrade_to(connection: Connection, revision: str) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(config, revision)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://nobody:secret@127.0.0.1:1/none", r"127\.0\.0\.1:1/none cannot be used"),
        ("mysql://127.0.0.1/x", "names PostgreSQL"),
        ("what", "not an URL"),
    ],
)
async def test_a_wrong_url_is_told_without_its_password(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(UserMistake, match=said) as caught:
        await Database.open(tmp_path, url)
    assert "secret" not in str(caught.value)


async def test_who_is_cancelled_in_a_transaction_keeps_no_lock(tmp_path: Path) -> None:
    """Though the exception, which is kept, holds the cursor of a statement."""
    database = await Database.open(tmp_path)
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE numbers (n INTEGER)"))

    async def work() -> None:
        while True:
            async with database.write() as connection:
                await connection.execute(text("INSERT INTO numbers VALUES (1)"))
                await connection.execute(text("SELECT count(*) FROM numbers"))

    kept: list[object] = []
    for at in range(60):
        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(at % 10 / 1000)
        for task in tasks:
            task.cancel()
        kept.append(await asyncio.gather(*tasks, return_exceptions=True))
        async with asyncio.timeout(5), database.write() as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (2)"))
    assert len(kept) == 60
    await database.close()


async def test_closing_ends_though_the_connection_was_stopped_and_its_closing_cancelled(tmp_path: Path) -> None:
    """So it goes when a loop closes with a transaction under way: SQLAlchemy closes and, cancelled, stops; what closes
    is cancelled with all other tasks. It waited for good, and with it the process."""
    connection = await db._connect(str(tmp_path / "a.db"))
    busy = threading.Event()
    connection._tx.put_nowait((None, busy.wait))
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    connection.stop()
    closing.cancel()
    await asyncio.sleep(0)
    busy.set()
    async with asyncio.timeout(120):
        await asyncio.wait([closing])
        await asyncio.to_thread(connection._thread.join)


async def test_a_text_that_cannot_be_kept_is_the_asker_s_mistake(tmp_path: Path, database_url: str) -> None:
    """It was told as a database that does not answer."""
    database = await Database.open(tmp_path, database_url)
    try:
        for opened in (database.read, database.write):
            with pytest.raises(InvalidRequest) if database_url else contextlib.nullcontext():
                async with opened() as connection:
                    await connection.execute(select(api_keys).where(api_keys.c.id == "a\0b"))
    finally:
        await database.close()
