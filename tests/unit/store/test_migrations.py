"""Migrations, on both kinds of database: from nothing and from every older revision, filled, to the newest."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select
from sqlalchemy.engine import Connection

from mainspring.store.db import HEAD, MIGRATIONS, Database, revision_in, upgrade
from mainspring.store.schema import tables_at
from mainspring.store.tables import api_keys, metadata, requests, usage_hours
from tests.unit.store.filled import database_at, fill, rows_of

OLDER = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][:0:-1]


def differences(connection: Connection) -> list[object]:
    return compare_metadata(MigrationContext.configure(connection), metadata)


def test_there_is_one_line_of_them() -> None:
    scripts = list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    assert [script.revision for script in scripts] == [*OLDER, HEAD][::-1]
    assert [script.down_revision for script in scripts] == [*([None, *OLDER][::-1])]


@pytest.mark.parametrize("revision", OLDER)
@pytest.mark.parametrize("num_rows", [0, 60])
async def test_an_older_database_becomes_the_newest_with_every_row(
    tmp_path: Path, database_url: str, revision: str, num_rows: int
) -> None:
    old = tables_at(revision)
    database = database_at(tmp_path, database_url)
    await fill(database, revision, num_rows)
    before = await rows_of(database, old)
    await database.close()
    database = await Database.open(tmp_path, database_url)
    async with database.read() as connection:
        assert await connection.run_sync(revision_in) == HEAD
        assert await connection.run_sync(differences) == []
        for table in old.sorted_tables:
            same = [metadata.tables[table.name].columns[column.name] for column in table.columns]
            after = [tuple(row) for row in await connection.execute(select(*same))]
            assert sorted(after, key=repr) == before[table.name], table.name
        added = set(requests.columns.keys()) & {"project"} if "requests" in old.tables else set()
        for table in (requests, usage_hours) if added and "project" not in old.tables["requests"].columns else ():
            projects = (await connection.execute(select(table.c.project))).scalars().all()
            assert projects == ["default"] * num_rows
        if "limits" not in old.tables["api_keys"].columns:
            assert (await connection.execute(select(api_keys.c.limits))).scalars().all() == ["{}"] * num_rows
    await database.close()


async def test_step_by_step_is_the_same_as_at_once(tmp_path: Path, database_url: str) -> None:
    database = database_at(tmp_path, database_url)
    for revision in (*OLDER, HEAD):
        async with database.write() as connection:
            await connection.run_sync(upgrade, revision)
    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_one_that_fails_leaves_the_older_database(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schema changes are part of the transaction on both."""
    database = database_at(tmp_path, database_url)
    await fill(database, OLDER[0], 10)
    before = await rows_of(database, tables_at(OLDER[0]))

    def upgrade_and_fail(connection: Connection) -> None:
        upgrade(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with database.write() as connection:
            await connection.run_sync(upgrade_and_fail)
    async with database.read() as connection:
        assert await connection.run_sync(revision_in) == OLDER[0]
    assert await rows_of(database, tables_at(OLDER[0])) == before
    await database.close()
