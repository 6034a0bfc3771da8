"""What is wanted, in the database: read whole, changed by the row, each change with its revision and audit entry."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import RowMapping, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest
from mainspring.governance.audit import Audit
from mainspring.governance.wanted import Blocklist, BlocklistItem, Deployment, Policy, Project, Snapshot
from mainspring.store import tables
from mainspring.store.db import Database

__all__ = ["Change", "read_revision", "read_snapshot", "writing"]

T = TypeVar("T", bound=msgspec.Struct)


async def read_revision(database: Database) -> int:
    """The number of changes there have been."""
    async with database.read() as connection:
        return int((await connection.execute(select(tables.wanted.c.revision))).scalar_one())


async def read_snapshot(database: Database) -> Snapshot:
    """All that is wanted."""
    async with database.read() as connection:
        return await snapshot_in(connection)


async def snapshot_in(connection: AsyncConnection) -> Snapshot:
    """All that is wanted, as a transaction sees it."""

    async def rows(table: Table) -> list[RowMapping]:
        return list((await connection.execute(select(table))).mappings())

    shares: dict[str, set[str]] = {}
    for row in await rows(tables.checkpoint_permissions):
        shares.setdefault(row["checkpoint"], set()).add(row["project"])
    items: dict[tuple[str, str], list[BlocklistItem]] = {}
    for row in await rows(tables.blocklist_items):
        items.setdefault((row["project"], row["blocklist"]), []).append(_plain(row, BlocklistItem))
    return Snapshot(
        revision=int((await connection.execute(select(tables.wanted.c.revision))).scalar_one()),
        projects={row["name"]: _project(row) for row in await rows(tables.projects)},
        deployments={(row["project"], row["name"]): _plain(row, Deployment) for row in await rows(tables.deployments)},
        policies={(row["project"], row["name"]): _policy(row) for row in await rows(tables.policies)},
        blocklists={(row["project"], row["name"]): _plain(row, Blocklist) for row in await rows(tables.blocklists)},
        items={key: tuple(sorted(found, key=lambda item: item.name)) for key, found in items.items()},
        capacities={(row["sku"], row["model"]): row["units"] for row in await rows(tables.capacities)},
        shares={name: frozenset(projects) for name, projects in shares.items()},
    )


def _plain(row: RowMapping, kind: type[T]) -> T:
    return msgspec.convert({name: row[name] for name in kind.__struct_fields__}, kind)


def _project(row: RowMapping) -> Project:
    rest = {
        name: row[name] for name in ("name", "resource_group", "location", "created", "updated", "title", "archived")
    }
    tags, limits = (msgspec.json.decode(row[name]) for name in ("tags", "limits"))
    generations = row["generation1"], row["generation2"]
    return msgspec.convert({**rest, "tags": tags, "limits": limits, "generations": generations}, Project)


def _policy(row: RowMapping) -> Policy:
    properties = msgspec.json.decode(row["body"])
    return Policy(project=row["project"], name=row["name"], properties=properties, updated=row["updated"])


def _row(value: msgspec.Struct) -> dict[str, Any]:
    row = msgspec.structs.asdict(value)
    if isinstance(value, Project):
        row["generation1"], row["generation2"] = row.pop("generations")
        row["tags"], row["limits"] = (msgspec.json.encode(row[name]).decode() for name in ("tags", "limits"))
    if isinstance(value, Policy):
        row["body"] = msgspec.json.encode(row.pop("properties")).decode()
    return row


TABLES: dict[type[msgspec.Struct], Table] = {
    Project: tables.projects,
    Deployment: tables.deployments,
    Policy: tables.policies,
    Blocklist: tables.blocklists,
    BlocklistItem: tables.blocklist_items,
}


class Change:
    """A transaction that changes what is wanted; `before` is what was wanted when it began."""

    def __init__(self, connection: AsyncConnection, audit: Audit, before: Snapshot) -> None:
        self.connection, self.before = connection, before
        self._audit = audit

    async def put(self, value: msgspec.Struct, action: str, subject: str) -> None:
        """Write a row, new or not.

        Raises:
            InvalidRequest: a text has a NUL in it, which PostgreSQL keeps in none.
        """
        table, row = TABLES[type(value)], _row(value)
        if any(isinstance(each, str) and "\0" in each for each in row.values()):
            raise InvalidRequest("No text here can hold a NUL character.")
        same = [column == row[column.name] for column in table.primary_key]
        rest = {name: each for name, each in row.items() if name not in table.primary_key}
        if not (await self.connection.execute(update(table).where(*same).values(rest))).rowcount:
            await self.connection.execute(insert(table).values(row))
        await self.note(action, subject, msgspec.structs.asdict(value))

    async def remove(self, value: msgspec.Struct, action: str, subject: str) -> None:
        """Delete a row."""
        table, row = TABLES[type(value)], _row(value)
        await self.connection.execute(delete(table).where(*(c == row[c.name] for c in table.primary_key)))
        await self.note(action, subject, {})

    async def set_capacity(self, sku: str, model: str, units: int) -> None:
        """How many units of a model all projects together may deploy."""
        c = tables.capacities.c
        await self.connection.execute(delete(tables.capacities).where(c.sku == sku, c.model == model))
        await self.connection.execute(insert(tables.capacities).values(sku=sku, model=model, units=units))
        await self.note("quota.set", f"{sku}.{model}", {"units": units})

    async def note(self, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Make an entry in the audit log, and have every server look at what is wanted."""
        await self._audit.record(self.connection, action, subject, detail)
        table = tables.wanted
        await self.connection.execute(update(table).values(revision=table.c.revision + 1))


@asynccontextmanager
async def writing(database: Database, audit: Audit) -> AsyncGenerator[Change]:
    """A change that happens as a whole when the block ends, or not at all. There is one at a time."""
    async with database.write() as connection:
        yield Change(connection, audit, await snapshot_in(connection))
