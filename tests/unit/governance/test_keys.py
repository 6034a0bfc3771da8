from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, NotFound, Unauthorized, Unavailable
from mainspring.core.types import Limits
from mainspring.governance import keys as module
from mainspring.governance.admin_key import ADMIN_KEY_FILE, ensure_admin_key
from mainspring.governance.keys import CACHE_S, Keys
from mainspring.store.db import Database


@pytest.fixture
async def database(tmp_path: Path, database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(database: Database, clock: FakeClock) -> Keys:
    return Keys(database, clock)


async def test_a_key_is_made_and_recognised(keys: Keys, clock: FakeClock) -> None:
    key, secret = await keys.create("laptop")
    assert secret.startswith("ms-")
    assert len(secret) >= 35
    assert secret.startswith(key.prefix)
    principal = await keys.authenticate(secret)
    assert (principal.id, principal.name, principal.roles_in("default")) == (key.id, "laptop", ("user",))
    assert principal.roles_in("other") == ()
    [listed] = await keys.list()
    assert listed.last_used == clock.now()


@pytest.mark.parametrize("database_url", [""])
async def test_the_secret_is_nowhere_on_the_disk(keys: Keys, tmp_path: Path) -> None:
    _, secret = await keys.create("laptop")
    await keys.authenticate(secret)
    on_disk = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*")))  # noqa: ASYNC240
    assert b"laptop" in on_disk
    assert secret[12:].encode() not in on_disk


@pytest.mark.parametrize("secret", ["", "ms-", "ms-wrong", "sk-other", "ms-" + "x" * 10_000, "ms-\udcff\0"])
async def test_other_secrets_are_refused_without_being_repeated(keys: Keys, secret: str) -> None:
    await keys.create("laptop")
    with pytest.raises(Unauthorized) as caught:
        await keys.authenticate(secret)
    assert len(secret) < 4 or secret not in caught.value.message


async def test_a_revoked_key_stops_at_once_here_and_soon_elsewhere(
    keys: Keys, database: Database, clock: FakeClock
) -> None:
    elsewhere = Keys(database, clock)
    key, secret = await keys.create("laptop")
    await keys.authenticate(secret)
    await elsewhere.authenticate(secret)
    assert (await keys.revoke("laptop")).id == key.id
    with pytest.raises(Unauthorized):
        await keys.authenticate(secret)
    await elsewhere.authenticate(secret)  # it is remembered: this is what saves the database
    clock.advance(CACHE_S)
    with pytest.raises(Unauthorized):
        await elsewhere.authenticate(secret)
    assert CACHE_S <= 2.0


async def test_a_key_expires_even_while_it_is_remembered(keys: Keys, clock: FakeClock) -> None:
    _, secret = await keys.create("laptop", expires_s=CACHE_S / 2)
    await keys.authenticate(secret)
    clock.advance(CACHE_S / 2)
    with pytest.raises(Unauthorized):
        await keys.authenticate(secret)


async def test_revoking_by_id_frees_the_name(keys: Keys) -> None:
    key, _ = await keys.create("laptop")
    with pytest.raises(InvalidRequest, match="choose another name"):
        await keys.create("laptop")
    await keys.revoke(key.id)
    again, _ = await keys.create("laptop")
    assert again.id != key.id
    with pytest.raises(NotFound):
        await keys.revoke(key.id)
    assert (await keys.revoke("laptop")).id == again.id


async def test_last_used_is_written_at_most_once_a_minute(keys: Keys, clock: FakeClock) -> None:
    _, secret = await keys.create("laptop")
    first = clock.now()
    await keys.authenticate(secret)
    clock.advance(30)
    await keys.authenticate(secret)
    assert (await keys.list())[0].last_used == first
    clock.advance(31)
    await keys.authenticate(secret)
    assert (await keys.list())[0].last_used == first + 61


@pytest.mark.parametrize(
    ("name", "role", "expires_s"),
    [("", "user", None), ("x" * 101, "user", None), ("a\x1b[2J", "user", None), ("a", "root", None), ("a", "user", 0)],
)
async def test_mistakes_are_refused(keys: Keys, name: str, role: str, expires_s: float | None) -> None:
    with pytest.raises(InvalidRequest):
        await keys.create(name, role, expires_s)  # type: ignore[arg-type]
    assert await keys.list() == []


async def test_the_first_start_writes_an_admin_key(keys: Keys, tmp_path: Path) -> None:
    path = await ensure_admin_key(keys, tmp_path)
    assert path == tmp_path / ADMIN_KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await keys.authenticate(path.read_text().strip())).roles_in("any") == ("admin",)
    text = path.read_text()
    assert await ensure_admin_key(keys, tmp_path) == path
    assert path.read_text() == text
    assert len(await keys.list()) == 1


async def test_the_admin_key_is_made_anew_only_when_none_works(keys: Keys, tmp_path: Path) -> None:
    path = await ensure_admin_key(keys, tmp_path)
    old = path.read_text().strip()
    path.unlink()
    await ensure_admin_key(keys, tmp_path)
    assert not path.exists()  # moved away by its owner
    await keys.revoke("admin")
    path.write_text("whatever lay there")
    path.chmod(0o644)
    await ensure_admin_key(keys, tmp_path)
    assert path.read_text().strip() != old
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await keys.authenticate(path.read_text().strip())).roles_in("any") == ("admin",)


async def test_a_database_that_cannot_be_written_is_told_and_keys_still_work(keys: Keys, database: Database) -> None:
    _, secret = await keys.create("laptop")
    async with database.read() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("a file that is read-only")
    await database.close()
    event.listen(database.engine.sync_engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only=ON"))
    with pytest.raises(Unavailable, match="readonly database"):
        await keys.create("another")
    assert (await keys.authenticate(secret)).name == "laptop"


async def test_a_full_cache_lifts_nobody_s_limits(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_SIZE", 1)
    limits = Limits(tokens_per_minute=5)
    limited, secret = await keys.create("limited", limits=limits)
    _, other = await keys.create("other")
    await keys.authenticate(secret)
    await keys.authenticate(other)  # while the first one's body is still read
    found = keys.find(limited.id)
    assert found is not None
    assert found.limits == limits


async def test_limits_are_replaced_at_once_and_elsewhere_soon(keys: Keys, database: Database, clock: FakeClock) -> None:
    key, secret = await keys.create("laptop", limits=Limits(tokens_per_minute=5))
    elsewhere = Keys(database, clock)
    for each in (keys, elsewhere):
        await each.authenticate(secret)
    await keys.limit("laptop", Limits(cost_per_day=7))
    assert keys.find(key.id).limits == Limits(cost_per_day=7)
    clock.advance(CACHE_S)
    await elsewhere.authenticate(secret)
    assert elsewhere.find(key.id).limits == Limits(cost_per_day=7)
    for wrong in (Limits(tokens_per_day=-1), Limits(cost_per_month=10**18)):
        with pytest.raises(InvalidRequest, match="between 0"):
            await keys.limit("laptop", wrong)
    with pytest.raises(NotFound):
        await keys.limit("absent", Limits())
