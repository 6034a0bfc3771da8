"""The audit log: who changed what, each entry bound to all before it by a hash and written with the change itself.

Whoever can write the database can write a whole new chain, and can cut off the end of this one. What they cannot do is
change or remove an entry below a hash that somebody has kept elsewhere: `verify` says the newest hash, and holds the
chain against one that it is given.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.store.db import Database
from mainspring.store.tables import audit

__all__ = ["Audit", "Entry", "Verdict"]

FIRST = "0" * 64
"""What stands in for the hash before the first entry."""
TOGETHER = 1000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Args:
        actor: whose doing it was: a key's id, or the operating system's user at the command line.
        action: such as "key.create".
        subject: what was changed.
        detail: what about it, as JSON; no secrets.
        hash: SHA-256, in hex, of the hash before it and everything here.
    """

    seq: int
    time: float
    actor: str
    action: str
    subject: str
    detail: str
    hash: str

    def expected(self, before: str) -> str:
        """The hash that it must have after the entry whose hash is `before`."""
        said = msgspec.json.encode([before, self.seq, self.time, self.actor, self.action, self.subject, self.detail])
        return hashlib.sha256(said).hexdigest()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found.

    Args:
        head: the newest hash: whoever keeps it can notice later that something below it was changed.
        broken: the number of the first entry that is not what was written, or is missing; None if all are.
        known: whether the hash that was asked for is in the chain; None if none was.
    """

    num_entries: int
    head: str
    broken: int | None = None
    known: bool | None = None


class Audit:
    """The log of one installation, written on behalf of `actor`."""

    def __init__(self, database: Database, clock: Clock, actor: str) -> None:
        self._database, self._clock, self._actor = database, clock, actor

    async def record(
        self, connection: AsyncConnection, action: str, subject: str, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Add an entry, in the transaction (`Database.write`) that makes the change: both happen or neither."""
        newest = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
        seq, before = (await connection.execute(newest)).one_or_none() or (0, FIRST)
        entry = Entry(
            seq=seq + 1,
            time=self._clock.now(),
            actor=self._actor,
            action=action,
            subject=subject,
            detail=msgspec.json.encode(detail or {}, order="deterministic").decode(),
            hash="",
        )
        entry = msgspec.structs.replace(entry, hash=entry.expected(before))
        await connection.execute(insert(audit).values(msgspec.structs.asdict(entry)))

    async def list(self, *, newest: int) -> list[Entry]:
        """The newest entries, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(audit).order_by(audit.c.seq.desc()).limit(newest))
            return [Entry(**row) for row in rows.mappings()][::-1]

    async def page(
        self,
        actions: Sequence[str],
        *,
        since: float | None = None,
        until: float | None = None,
        actors: Sequence[str] = (),
        subjects: Sequence[str] = (),
        below: int | None = None,
        above: int | None = None,
        limit: int = TOGETHER,
    ) -> "list[Entry]":
        """Entries of these actions from `since` to before `until`, newest first; with `above` those nearest to it.

        Args:
            actors, subjects: only these; empty means all.
            below, above: only entries whose number is lower, or higher.
        """
        c, order = audit.c, audit.c.seq if above is not None else audit.c.seq.desc()
        query = select(audit).where(c.action.in_(actions)).order_by(order).limit(limit)
        if actors:
            query = query.where(c.actor.in_(actors))
        if subjects:
            query = query.where(c.subject.in_(subjects))
        for bound in (
            None if since is None else c.time >= since,
            None if until is None else c.time < until,
            None if below is None else c.seq < below,
            None if above is None else c.seq > above,
        ):
            query = query if bound is None else query.where(bound)
        async with self._database.read() as connection:
            found = [Entry(**row) for row in (await connection.execute(query)).mappings()]
        return found[::-1] if above is not None else found

    async def verify(self, known: str | None = None) -> Verdict:
        """Hold every entry against its hash.

        Args:
            known: a hash that was the newest once; whether the chain still holds it.
        """
        seq, before, seen = 0, FIRST, False
        while True:
            async with self._database.read() as connection:
                query = select(audit).where(audit.c.seq > seq).order_by(audit.c.seq).limit(TOGETHER)
                entries = [Entry(**row) for row in (await connection.execute(query)).mappings()]
            for entry in entries:
                if entry.seq != seq + 1 or entry.hash != entry.expected(before):
                    return Verdict(num_entries=seq, head=before, broken=seq + 1, known=None if known is None else seen)
                seq, before = entry.seq, entry.hash
                seen = seen or before == known
            if len(entries) < TOGETHER:
                return Verdict(num_entries=seq, head=before, known=None if known is None else seen)
