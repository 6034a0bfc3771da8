"""Limits that hold for several servers on one PostgreSQL together: each leases a part of what is left, and says later.

A row of the database stands for one limit of one window. It holds what ended requests have used, and what the servers
have leased beyond that; both together never come to more than the limit. A server takes a sixteenth of what is left, or
what its waiting requests need if that is more, in one statement for all of them; so portions get smaller towards the
end, and nothing lies idle in the wrong place. Every quarter of a second it says what was used, and gives back what it
has not used in that time.

A server that dies takes its leases with it: at most a sixteenth of what was left when it took the last. A minute's are
lost until the minute ends. A day's or a month's belong to a term, a clock minute: unless a server renews them, they are
free again two terms later. What it had used of them and not said yet is counted when its journal has been recovered:
what the ledger says (`restore`) is the least that a row may hold.

When the database does not answer, what is leased may still be used, a day's to the end of the next term; then requests
are refused (503). Whether something was done when its answer was lost is not known: that costs allowance, and never
exceeds a limit. What requests use beyond their estimates does, and the others hear of it with the next sweep.

Buckets are not leased. A bucket does not forget what was poured in, so the servers only tell each other every quarter
of a second: one that is full overflows by what the others admit in that time, and admits that much less afterwards.

The clocks of the servers are to agree within a fraction of a second (NTP): each reads its own to know the window.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import Unavailable
from mainspring.governance.quota import Want
from mainspring.governance.windows import Bucket, Tally, end_of
from mainspring.store.db import Database

__all__ = ["Leases"]

SWEEP_S = 0.25
TERM_S = 60
PORTIONS = 16
PATIENCE_S = 2.0
"""How long a request waits for the database."""
DRY_S = 0.05
"""How long nothing left is believed, so that those who are refused do not each ask the database."""

_log = log.get("mainspring.allowance")

_FIELDS = """jsonb_to_recordset(CAST(CAST(:asked AS text) AS jsonb)) AS _(
    subject text, what text, period text, start bigint, most bigint, known bigint, term bigint, since bigint,
    had bigint, settled bigint, keep bigint, need bigint)"""

# In the order of the key, here and below, so that two servers never wait for each other.
_BEGIN = text(f"""
INSERT INTO allowances (subject, what, period, start, used, held, held_before, term)
SELECT subject, what, period, start, 0, 0, 0, 0 FROM {_FIELDS}
ORDER BY subject, what, period, start
ON CONFLICT DO NOTHING""")  # noqa: S608 - no value is pasted in

# `had` is what the server's lease came to in the term `since`; it is taken out, and `keep` and what is given put in.
_EXCHANGE = text(f"""
WITH found AS (
    SELECT a.subject, a.what, a.period, a.start, most, keep, need,
        greatest(a.term, asked.term) AS term,
        greatest(a.used + settled, known) AS used,
        CASE WHEN a.term >= asked.term THEN a.held ELSE 0 END
            - CASE WHEN since = greatest(a.term, asked.term) THEN had ELSE 0 END AS held,
        CASE WHEN a.term >= asked.term THEN a.held_before WHEN a.term = asked.term - 1 THEN a.held ELSE 0 END
            - CASE WHEN since = greatest(a.term, asked.term) - 1 THEN had ELSE 0 END AS held_before
    FROM (SELECT * FROM {_FIELDS}) AS asked
    JOIN allowances AS a USING (subject, what, period, start)
    ORDER BY a.subject, a.what, a.period, a.start
    FOR UPDATE OF a
), rooms AS (
    SELECT *, most - used - held - held_before - keep AS room FROM found
), shared AS (
    SELECT *, CASE WHEN need > 0 THEN greatest(least(room, greatest(need, room / {PORTIONS})), 0) ELSE 0 END AS given
    FROM rooms
)
UPDATE allowances AS a
SET used = shared.used, held = shared.held + keep + given, held_before = shared.held_before, term = shared.term
FROM shared
WHERE a.subject = shared.subject AND a.what = shared.what AND a.period = shared.period AND a.start = shared.start
RETURNING a.subject, a.what, a.period, a.start, a.term, given, room - given AS free""")  # noqa: S608

_POUR = text("""
WITH found AS (
    SELECT a.subject, greatest(greatest(a.used, CAST(:now AS bigint)) + moved, CAST(:now AS bigint)) AS used
    FROM (SELECT * FROM jsonb_to_recordset(CAST(CAST(:moves AS text) AS jsonb)) AS _(subject text, moved bigint)) AS m
    JOIN allowances AS a ON a.subject = m.subject AND what = 'tokens' AND period = 'bucket' AND start = 0
    ORDER BY a.subject
    FOR UPDATE OF a
)
UPDATE allowances AS a SET used = found.used FROM found
WHERE a.subject = found.subject AND what = 'tokens' AND period = 'bucket' AND start = 0
RETURNING a.subject, a.used""")

_CLEAN = text("""
DELETE FROM allowances WHERE period IN ('second', 'ten_seconds', 'minute') AND start < CAST(:now AS bigint) - 180
OR period = 'day' AND start < CAST(:now AS bigint) - 3 * 86400
OR period = 'month' AND start < CAST(:now AS bigint) - 40 * 86400
OR period = 'bucket' AND used < (CAST(:now AS bigint) - 3600) * 1000000""")


class _Lease:
    """What this server may use of one limit."""

    __slots__ = ("dry_s", "free", "granted", "had", "known", "most", "said", "since", "swept", "tally", "waiting")

    def __init__(self, tally: Tally, known: int) -> None:
        self.tally, self.known = tally, known  # what the ledger says was used
        self.most = 0
        self.granted = tally.used  # of the window, what was used included
        self.free: int | None = None  # what nobody had used or leased when we last asked
        self.since = 0  # the term of the lease; 0 if there is no row yet
        self.had = 0  # what the row counts as ours in that term
        # What was used is said to the row once, by whoever used it. What was used before there was a limit is in the
        # ledger, which says it better than this server, that knows its own part only.
        self.said = tally.used - tally.open if tally.period in ("day", "month") else 0
        self.swept = tally.used  # what was used at the last sweep
        self.waiting = 0  # what requests are waiting for
        self.dry_s = 0.0  # until when nothing is believed to be left

    @property
    def idle(self) -> int:
        return max(self.granted - self.tally.used, 0)

    @property
    def settled(self) -> int:
        return self.tally.used - self.tally.open

    @property
    def holds(self) -> int:
        return self.idle + max(self.tally.open, 0)

    def is_over(self, now_s: float) -> bool:
        return end_of(self.tally.period, self.tally.start) <= now_s

    def give_back(self) -> None:
        """Keep what is likely to be used before the next sweep: as much as since the last one."""
        recent, self.swept = max(self.tally.used - self.swept, 0), self.tally.used
        self.granted = self.tally.used + min(self.idle, recent)

    def is_news(self, term: int) -> bool:
        """Whether the row should hear of it."""
        changed = self.settled != self.said or self.holds != self.had or self.known > 0
        return changed or (self.since < term and self.holds > 0)

    def ask(self, term: int) -> dict[str, Any]:
        tally = self.tally
        self.granted = max(self.granted, tally.used)
        return {
            "subject": tally.subject, "what": tally.what, "period": tally.period, "start": tally.start,
            "most": self.most, "known": self.known, "term": term, "since": self.since, "had": self.had,
            "settled": self.settled - self.said, "keep": self.holds,
            "need": max(self.waiting - self.idle, 0),
        }  # fmt: skip


class Leases:
    """The `Allowance` of one server among several. `start` before the first request, `stop` after the last."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._leases: dict[Tally, _Lease] = {}
        self._active: set[_Lease] = set()  # that may hold something, or have something to say
        self._asking: set[_Lease] = set()
        self._known: dict[Tally, int] = {}  # what the ledger says of what is not limited, yet
        self._buckets: dict[str, Bucket] = {}
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._cleaned = 0
        self._is_well = True

    async def __aenter__(self) -> Self:
        self._sweeping = asyncio.create_task(self._sweep_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give everything back, if the database lets us."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        for lease in self._active:
            lease.swept = lease.tally.used
        with contextlib.suppress(Unavailable, SQLAlchemyError):
            await self.sweep()

    def granted(self, tally: Tally, most: int) -> int:
        """See `Allowance`."""
        lease = self._leases.get(tally)
        if lease is None:
            lease = self._leases[tally] = _Lease(tally, self._known.pop(tally, 0))
        self._active.add(lease)
        lease.most = most
        if self._term() - lease.since > 1:
            lease.granted = min(lease.granted, tally.used)  # by now it may be somebody else's
        return min(lease.granted, most)

    def left(self, tally: Tally, most: int) -> int:
        """See `Allowance`."""
        lease = self._leases.get(tally)
        if lease is None or lease.free is None:
            return max(most - tally.used, 0)
        return min(lease.idle + max(lease.free, 0), most)

    def restore(self, tally: Tally, used: int) -> None:
        """See `Allowance`."""
        lease = self._leases.get(tally)
        if lease is None:
            self._known[tally] = used
        else:
            lease.known = used
            self._active.add(lease)

    def watch(self, bucket: Bucket) -> None:
        """See `Allowance`."""
        self._buckets[bucket.subject] = bucket

    async def more(self, wants: Sequence[Want]) -> Want | None:
        """See `Allowance`."""
        now_s = self._clock.monotonic()
        leases = [self._leases[want.tally] for want in wants]
        for want, lease in zip(wants, leases, strict=True):
            if lease.dry_s > now_s:
                return want
        for want, lease in zip(wants, leases, strict=True):
            lease.waiting += max(want.need, 1)
            self._asking.add(lease)
        try:
            if self._next is None:
                self._next = asyncio.create_task(self._answer())
            await asyncio.shield(self._next)  # one for all that wait: who leaves does not take it along
        finally:
            for want, lease in zip(wants, leases, strict=True):
                lease.waiting -= max(want.need, 1)
        for want, lease in zip(wants, leases, strict=True):
            if lease.free is not None and lease.free <= 0 and lease.idle < max(want.need, 1):
                return want
        return None

    async def sweep(self) -> None:
        """Say what was used, and give back what is not needed.

        Raises:
            Unavailable: the database does not answer.
        """
        now_s, term = self._clock.now(), self._term()
        async with self._turn:
            active = [lease for lease in self._active if not lease.is_over(now_s)]
            for lease in active:
                lease.give_back()
            self._active = {lease for lease in active if lease.holds or lease.is_news(term)}
            await self._exchange([lease for lease in active if lease.is_news(term)])
            await self._tell_buckets()
            if self._cleaned != term:
                await self._clean(now_s)
                self._cleaned = term

    async def _clean(self, now_s: float) -> None:
        """Forget the windows that are over."""
        for tallies in (self._leases, self._known):
            for tally in [tally for tally in tallies if end_of(tally.period, tally.start) <= now_s]:
                del tallies[tally]
        async with self._connection() as connection:
            await connection.execute(_CLEAN, {"now": int(now_s)})

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except (Unavailable, SQLAlchemyError) as error:
                if self._is_well:
                    _log.warning("limits cannot be shared", reason=str(error).partition("\n")[0])
                self._is_well = False
            else:
                if not self._is_well:
                    _log.info("limits are shared again")
                self._is_well = True

    async def _answer(self) -> None:
        async with self._turn:
            self._next = None  # whoever comes from here on is answered by the next one
            leases, self._asking = self._asking, set()
            self._active |= leases  # a sweep may have come in between
            await self._exchange([lease for lease in leases if lease.waiting > 0])

    async def _exchange(self, leases: Sequence[_Lease]) -> None:
        """Say what was used and leased, and be granted what is needed."""
        if not leases:
            return
        term, settled = self._term(), [lease.settled for lease in leases]
        asked = [lease.ask(term) for lease in leases]
        new = [each for each in asked if not each["since"]]
        # Until the answer comes, none is known: it may have been done and only its answer be lost. What the row counts
        # as ours is not ours any more then, until the term ends.
        for lease in leases:
            lease.had = 0
        async with self._connection() as connection:
            if new:
                await connection.execute(_BEGIN, {"asked": _json(new)})
            rows = await connection.execute(_EXCHANGE, {"asked": _json(asked)})
            answers = {tuple(row[:4]): row[4:] for row in rows}
        for lease, said, each in zip(leases, settled, asked, strict=True):
            answer = answers.get((lease.tally.subject, lease.tally.what, lease.tally.period, lease.tally.start))
            if answer is None:  # somebody has deleted the row
                lease.since = 0
                continue
            lease.since, given, lease.free = answer
            lease.said, lease.had, lease.known = said, each["keep"] + given, 0
            lease.granted += given
            if lease.free is not None and lease.free <= 0:
                lease.dry_s = self._clock.monotonic() + DRY_S

    async def _tell_buckets(self) -> None:
        """Say how far each bucket was moved here, and see how full it is after all that the others have said."""
        if not self._buckets:
            return
        names, said_s = list(self._buckets), [bucket.unsaid_s for bucket in self._buckets.values()]
        moves = [{"subject": name, "moved": round(said * 1e6)} for name, said in zip(names, said_s, strict=True)]
        now = {"now": int(self._clock.now() * 1e6)}
        async with self._connection() as connection:
            rows = await connection.execute(_POUR, {**now, "moves": _json(moves)})
            empty: dict[str, int] = {row[0]: row[1] for row in rows}
            if missing := [each for each in moves if each["subject"] not in empty]:
                rows = [{"what": "tokens", "period": "bucket", "start": 0, **each} for each in missing]
                await connection.execute(_BEGIN, {"asked": _json(rows)})
                rows = await connection.execute(_POUR, {**now, "moves": _json(missing)})
                empty |= {row[0]: row[1] for row in rows}
        for name, said in zip(names, said_s, strict=True):
            bucket = self._buckets[name]
            bucket.unsaid_s -= said
            bucket.empty_s = empty[name] / 1e6 + bucket.unsaid_s

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[AsyncConnection]:
        try:
            async with asyncio.timeout(PATIENCE_S), self._database.statements() as connection:
                yield connection
        except (Unavailable, TimeoutError) as error:
            raise Unavailable(
                "How much may still be used is not known now, for the database does not answer: try again.",
                code="database_unavailable",
                retry_after_s=1.0,
            ) from error

    def _term(self) -> int:
        return int(self._clock.now() // TERM_S)


def _json(asked: Sequence[dict[str, Any]]) -> str:
    return msgspec.json.encode(asked).decode()
