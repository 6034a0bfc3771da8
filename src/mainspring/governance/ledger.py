"""The ledger: one row for each request, who and what and how much, never lost and never doubled.

A request is written to the journal when it is admitted, before anything is computed, and again when it has ended,
before its last event goes out: a client that has its answer has been accounted for, whatever is killed then. Off that
path, `drain` moves what the journal holds into the database, in one transaction for many requests, and adds it to the
hourly sums that budgets and reports read. A row's id is the request's, so moving it twice is moving it once. A request
whose end was never written, because the server was killed while it ran, is a row with the outcome "interrupted" and the
estimate of its prompt.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import Unavailable
from mainspring.core.seams import Counted
from mainspring.governance.usage import Operation, Totals
from mainspring.store.db import Database
from mainspring.store.journal import Journal, lines
from mainspring.store.tables import requests

__all__ = ["Entry", "Ledger"]

DRAIN_S = 0.5
"""How long an ended request may wait in the journal when the database is well."""
MAX_WAITING_BYTES = 64 * 2**20
"""Journal that may wait for a database that does not answer; beyond it, requests are refused."""
TOGETHER = 2000
"""Rows written by one statement: some megabytes."""

_log = log.get("mainspring.ledger")


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request. Times are Unix seconds, durations milliseconds, `cost` millionths of the installation's currency.

    Args:
        outcome: "open" while it runs, then "ok", "cancelled", "interrupted", or the code of its error.
        filtered: "prompt" or "completion" if the content filters blocked it.
        hits: what they found, as JSON: `filters.Hit`s.
        spilled_from: the deployment that could not take it.
    """

    id: str
    started: float
    key: str
    deployment: str
    version: str
    operation: Operation
    tier: str = "default"
    outcome: str = "open"
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    cost: int = 0
    first_ms: float = 0.0
    total_ms: float = 0.0
    project: str = "default"
    filtered: str = ""
    hits: str = ""
    spilled_from: str = ""


class _Row(Entry, frozen=True, omit_defaults=False):
    """An entry as the database is given it: with every field."""


class Ledger:
    """The ledger of one installation, as one server writes it. `begin` and `end` lie on the path of requests and never
    wait; the rest runs beside it.

    Args:
        folder: where the journal lies.

    Raises:
        OSError: the journal cannot be made.
    """

    def __init__(self, database: Database, folder: Path, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._journal = Journal(folder)
        self._open: dict[str, Entry] = {}
        self._drained: asyncio.Task[None] | None = None
        self._is_dirty = False
        self._draining = asyncio.Lock()
        self._waiting_bytes = 0  # not 0 while the database refuses

    def begin(self, entry: Entry) -> None:
        """Note that a request is admitted.

        Raises:
            Unavailable: it could not be accounted for, so it must not run: the disk is full, or the database has not
                been reached for too long.
        """
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise Unavailable("The database cannot be written, and no more can be accounted for without it.")
        try:
            self._journal.append(msgspec.json.encode(entry), hold=True)
        except OSError as error:
            raise Unavailable("There is no room on the server's disk to account for requests.") from error
        self._open[entry.id] = entry

    def end(self, entry: Entry) -> None:
        """Note what became of a request that had begun. Cannot fail for want of room."""
        del self._open[entry.id]
        self._journal.append(msgspec.json.encode(entry), held=True)
        self._is_dirty = True

    def count(
        self, what: Counted, id: str, *, project: str, key: str, subject: str, tokens: int = 0  # noqa: A002
    ) -> None:  # fmt: skip
        """See `core.seams.Count`."""
        entry = Entry(
            id=id, started=self._clock.now(), key=key, deployment=subject, version="", operation=what, project=project,
            prompt=tokens,
        )  # fmt: skip
        self.begin(entry)
        self.end(msgspec.structs.replace(entry, outcome="ok"))

    def forget(self, id: str) -> None:  # noqa: A002 - as of `Entry`
        """Leave no row of a request that had begun: it is made again under the same id."""
        del self._open[id]
        self._journal.release()

    async def start(self) -> None:
        """Account for what an earlier process left, and begin to move what comes.

        Raises:
            Unavailable: the database cannot be written.
        """
        await self._recover()
        self._drained = asyncio.create_task(self._drain_on())

    async def stop(self) -> None:
        """Move what is left, if the database lets us; otherwise the next start does."""
        if self._drained is not None:
            self._drained.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._drained
        await self._try_to_drain()
        self._journal.close()

    async def _recover(self) -> None:
        segments = self._journal.older()
        newest = {row.id: row for row in _read(segments)}
        ended = (
            msgspec.structs.replace(row, outcome="interrupted") if row.outcome == "open" else row
            for row in newest.values()
            if row.outcome != "open" or row.tier != "batch"  # a batch makes it again, and its row is written then
        )
        await self._move(list(_together(ended)))
        for segment in segments:
            segment.unlink()

    async def _drain_on(self) -> None:
        while True:
            await asyncio.sleep(DRAIN_S)
            await self._try_to_drain()

    async def _try_to_drain(self) -> None:
        try:
            await self.drain()
        except (Unavailable, SQLAlchemyError, OSError) as error:
            if not self._waiting_bytes:
                _log.warning("the ledger waits in its journal", reason=str(error).partition("\n")[0])
            older = sum(segment.stat().st_size for segment in self._journal.older())
            self._waiting_bytes = max(older + self._journal.used, 1)
        else:
            if self._waiting_bytes:
                _log.info("the ledger is in the database again")
            self._waiting_bytes = 0

    async def drain(self) -> None:
        """Move every request that has ended into the database.

        Raises:
            Unavailable: the database cannot be written. Nothing is lost: it stays in the journal.
            OSError: there is no room for another segment.
        """
        async with self._draining:
            await self._move_older()  # first, so that a database that refuses makes no more and more segments
            if self._is_dirty:
                # Those that still run are written to the new segment first, so that the old one can go.
                self._journal.rotate(map(msgspec.json.encode, self._open.values()))
                self._is_dirty = False
                await self._move_older()

    async def _move_older(self) -> None:
        for segment in self._journal.older():  # one by one: there may be many, when the database was away
            await self._move(await asyncio.to_thread(_ended, segment))
            segment.unlink()

    async def _move(self, arrays: list[str]) -> None:
        if not arrays:
            return
        async with self._database.write() as connection:
            for rows in arrays:
                for statement in _statements(connection.dialect.name):
                    await connection.execute(statement, {"rows": rows})


def _read(segments: Iterable[Path]) -> Iterator[_Row]:
    for segment in segments:
        for line in lines(segment):
            with contextlib.suppress(msgspec.MsgspecError):  # half of a line, from a disk that lost its power
                yield msgspec.json.decode(line, type=_Row)


def _ended(segment: Path) -> list[str]:
    return list(_together(row for row in _read([segment]) if row.outcome != "open"))


def _together(rows: Iterable[_Row]) -> Iterator[str]:
    """JSON arrays of rows, for a statement each; of an id only the last."""
    newest = list({row.id: row for row in rows}.values())
    for at in range(0, len(newest), TOGETHER):
        yield msgspec.json.encode(newest[at : at + TOGETHER]).decode()


@cache
def _statements(dialect: str) -> tuple[TextClause, TextClause]:
    """Add rows that are not there yet to the sums, and write them.

    They are one parameter, a JSON array that the database takes apart: a parameter for each field costs this process,
    which answers requests meanwhile, twenty times as much.
    """
    names = [column.name for column in requests.columns if column.name != "minute"]
    if dialect == "postgresql":
        kind = postgresql.dialect()
        types = ", ".join(f'"{name}" {requests.c[name].type.compile(dialect=kind)}' for name in names)
        fields = ", ".join(f'"{name}"' for name in names)
        source, minute = f"json_to_recordset(CAST(:rows AS json)) AS r ({types})", "CAST(floor(started / 60) AS bigint)"
    else:
        fields = ", ".join(f"json_extract(value, '$.{name}') AS \"{name}\"" for name in names)
        source, minute = "json_each(:rows)", "CAST(json_extract(value, '$.started') / 60 AS INTEGER)"
    given = f"(SELECT {fields}, {minute} * 60 AS minute FROM {source}) AS given"  # noqa: S608 - names of our own
    groups = ", ".join(f'"{name}"' for name in ("project", "key", "deployment", "operation", "tier"))
    summed = ", ".join(f"CAST(sum({name}) AS bigint)" for name in Totals._fields[1:])
    more = ", ".join(f"{name} = usage_hours.{name} + excluded.{name}" for name in Totals._fields)
    sums = (
        f"INSERT INTO usage_hours (hour, {groups}, {', '.join(Totals._fields)}) "  # noqa: S608
        f"SELECT minute / 3600 * 3600 AS hour, {groups}, count(*), {summed} FROM {given} "
        f"WHERE NOT EXISTS (SELECT 1 FROM requests WHERE requests.id = given.id) GROUP BY 1, {groups} "
        f"ON CONFLICT (hour, {groups}) DO UPDATE SET {more}"
    )
    columns = ", ".join(f'"{name}"' for name in (*names, "minute"))
    rows = f"INSERT INTO requests ({columns}) SELECT {columns} FROM {given} WHERE true ON CONFLICT (id) DO NOTHING"  # noqa: S608
    return text(sums), text(rows)
