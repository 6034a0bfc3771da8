"""The audit log: every change of a key is in it, and no entry can be changed unnoticed."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import delete, insert, update

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Limits
from mainspring.governance.audit import Audit
from mainspring.governance.keys import Keys
from mainspring.store.db import Database
from mainspring.store.tables import audit


@pytest.fixture
async def database(tmp_path: Path, database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def log(database: Database) -> Audit:
    """A log with five entries."""
    keys = Keys(database, FakeClock(), actor="eve")
    for name in ("a", "b", "c"):
        await keys.create(name)
    await keys.limit("a", Limits(tokens_per_minute=5))
    await keys.revoke("b")
    return Audit(database, FakeClock(), "nobody")


async def test_changes_are_told_without_secrets(database: Database, log: Audit) -> None:
    entries = await log.list(newest=3)
    assert [each.action for each in entries] == ["key.create", "key.limit", "key.revoke"]
    assert {each.actor for each in entries} == {"eve"}
    assert '"after":{"tokens_per_minute":5}' in entries[1].detail
    assert not any("ms-" in each.detail for each in entries)
    assert (await log.verify()).num_entries == 5


async def test_a_change_that_fails_is_no_entry(database: Database, log: Audit) -> None:
    with pytest.raises(InvalidRequest):
        await Keys(database, FakeClock()).create("a")
    assert (await log.verify()).num_entries == 5


@pytest.mark.parametrize(
    ("tampered", "broken"),
    [
        (update(audit).where(audit.c.seq == 3).values(actor="bob"), 3),
        (update(audit).where(audit.c.seq == 2).values(detail="{}"), 2),
        (update(audit).where(audit.c.seq == 4).values(time=1.0), 4),
        (delete(audit).where(audit.c.seq == 1), 1),
        (delete(audit).where(audit.c.seq == 3), 3),
        (insert(audit).values(seq=6, time=1.0, actor="x", action="y", subject="z", detail="{}", hash="0" * 64), 6),
    ],
)
async def test_what_was_changed_is_found(database: Database, log: Audit, tampered, broken: int) -> None:
    async with database.write() as connection:
        await connection.execute(tampered)
    assert (await log.verify()).broken == broken


async def test_an_entry_that_was_written_anew_with_its_own_hash_does_not_fit_the_next(
    database: Database, log: Audit
) -> None:
    first, second = (await log.list(newest=5))[:2]
    forged = msgspec.structs.replace(second, actor="bob")
    forged = msgspec.structs.replace(forged, hash=forged.expected(first.hash))
    async with database.write() as connection:
        await connection.execute(update(audit).where(audit.c.seq == 2).values(msgspec.structs.asdict(forged)))
    assert (await log.verify()).broken == 3


async def test_an_end_that_was_cut_off_is_found_by_who_has_kept_a_hash(database: Database, log: Audit) -> None:
    head = (await log.verify()).head
    await Keys(database, FakeClock()).create("more")
    assert (await log.verify(head)).known
    async with database.write() as connection:
        await connection.execute(delete(audit).where(audit.c.seq >= 5))
    verdict = await log.verify(head)
    assert verdict.broken is None
    assert verdict.known is False
