"""Rows for every table of a schema, whatever its tables are: awkward values, and keys that refer to each other."""

from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, MetaData, String, delete, insert, select

from mainspring.store.db import Database, upgrade
from mainspring.store.schema import tables_at

TEXTS = ("", "plain", "ü€𝄞", "quotes \"'\\", "line\nend\r\n\u2028\u2029", "\t\x01\x7f", "null", "[1]", "%s :x {}")
FLOATS = (0.0, -0.0, 0.1, 1e308, -1e-308, 5e-324, 1732482000.123456, float("inf"))
ROWS = 2500  # more than are read at a time


def _origin(column: Column[Any]) -> Column[Any]:
    for key in column.foreign_keys:
        return _origin(key.column)
    return column


def _value(column: Column[Any], number: int) -> Any:
    column = _origin(column)
    if column.nullable and number % 3 == 0:
        return None
    indexed = any(index.unique and column.name in index.columns for index in column.table.indexes)
    unique = column.primary_key or column.unique or indexed or column.name in {"name", "hash"}
    kind = column.type
    if isinstance(kind, Boolean):
        return number % 2 == 0
    if isinstance(kind, Integer):
        largest = 2**63 - 1 if "BIGINT" in str(kind).upper() else 2**31 - 1
        return largest - number if number % 2 else number
    if isinstance(kind, Float):
        return FLOATS[number % len(FLOATS)]
    if isinstance(kind, LargeBinary):
        return bytes([number % 256]) * (number % 5)
    assert isinstance(kind, String), f"{column}: tell Codec and this file about {kind!r}"
    text = f"{number}-{TEXTS[number % len(TEXTS)]}" if unique else TEXTS[number % len(TEXTS)]
    return text[: kind.length]


async def fill(database: Database, revision: str, num_rows: int = ROWS) -> None:
    """Make the schema of a revision and put rows into each of its tables."""
    async with database.write() as connection:
        await connection.run_sync(upgrade, revision)
        tables = tables_at(revision)
        for table in reversed(tables.sorted_tables):
            await connection.execute(delete(table))
        for table in tables.sorted_tables:
            rows = [{column.name: _value(column, at) for column in table.columns} for at in range(num_rows)]
            if rows:
                await connection.execute(insert(table), rows)


async def rows_of(database: Database, tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    async with database.read() as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in await connection.execute(select(table))), key=lambda row: repr(row)
            )
            for table in tables.sorted_tables
        }


def database_at(home: Path, url: str) -> Database:
    """Not migrated."""
    home.mkdir(exist_ok=True)
    return Database.at(url) if url else Database.in_home(home)
