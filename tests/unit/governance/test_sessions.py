import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import event, select, update

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, Unauthorized
from mainspring.core.types import Grant, Limits, Principal
from mainspring.governance.audit import Audit
from mainspring.governance.keys import CACHE_S, Keys
from mainspring.governance.sessions import LINK_S, RENEWED, Session, Sessions
from mainspring.store.db import Database
from mainspring.store.tables import sessions as table

DAY_S = 86_400.0
SESSION_S = 30 * DAY_S


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


@pytest.fixture
def sessions(database: Database, clock: FakeClock, keys: Keys) -> Sessions:
    return Sessions(database, clock, keys, session_s=SESSION_S, oidc_session_s=DAY_S / 2)


def elsewhere(database: Database, clock: FakeClock) -> Sessions:
    """The same installation in another process."""
    return Sessions(database, clock, Keys(database, clock), session_s=SESSION_S)


async def is_refused(sessions: Sessions, secret: str) -> bool:
    try:
        await sessions.authenticate(secret)
    except Unauthorized:
        return True
    return False


async def test_a_session_is_its_key(keys: Keys, sessions: Sessions, clock: FakeClock) -> None:
    key, of_key = await keys.create("laptop", "contributor", limits=Limits(tokens_per_minute=5))
    opened, secret = await sessions.sign_in(of_key)
    found = await sessions.authenticate(secret)
    assert found == opened
    assert found.principal == await keys.authenticate(of_key)
    assert (found.kind, found.expires) == ("key", clock.now() + SESSION_S)
    known = keys.find(key.id)
    assert known is not None
    assert known.limits == Limits(tokens_per_minute=5)
    assert len(secret) >= 43
    assert found.csrf != secret
    assert found.is_csrf(found.csrf)
    assert not any(map(found.is_csrf, ("", secret, found.csrf[:-1], "\udcff")))


@pytest.mark.parametrize("database_url", [""])
async def test_the_secret_and_the_link_are_nowhere_on_the_disk(keys: Keys, sessions: Sessions, tmp_path: Path) -> None:
    key, of_key = await keys.create("laptop")
    opened, secret = await sessions.sign_in(of_key)
    code, _ = await sessions.link(key.id)
    on_disk = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*")))  # noqa: ASYNC240
    assert opened.id.encode() in on_disk
    for each in (secret, code, opened.csrf):
        assert each.encode() not in on_disk


@pytest.mark.parametrize("secret", ["", "x", "x" * 43, "x" * 100_000, "\udcff\0"])
async def test_what_is_no_session_is_refused(keys: Keys, sessions: Sessions, secret: str) -> None:
    _, of_key = await keys.create("laptop")
    await sessions.sign_in(of_key)
    assert await is_refused(sessions, secret)
    with pytest.raises(Unauthorized):
        await sessions.redeem(secret)


async def test_neither_a_hash_nor_a_link_is_a_session(keys: Keys, sessions: Sessions) -> None:
    key, of_key = await keys.create("laptop")
    opened, secret = await sessions.sign_in(of_key)
    code, _ = await sessions.link(key.id)
    assert await is_refused(sessions, opened.id)
    assert await is_refused(sessions, code)
    with pytest.raises(Unauthorized):
        await sessions.redeem(secret)


async def test_only_a_key_that_works_opens_one(keys: Keys, sessions: Sessions, clock: FakeClock) -> None:
    key, of_key = await keys.create("laptop", expires_s=10)
    code, _ = await sessions.link(key.id)
    clock.advance(10)
    for attempt in (sessions.sign_in(of_key), sessions.sign_in("ms-unknown"), sessions.redeem(code)):
        with pytest.raises(Unauthorized):
            await attempt
    for no_key in (key.id, "key_unknown", "oidc:1234:ada"):
        with pytest.raises(InvalidRequest):
            await sessions.link(no_key)


async def test_a_revoked_key_ends_its_sessions_at_once_here_and_soon_elsewhere(
    keys: Keys, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    other = elsewhere(database, clock)
    _, of_key = await keys.create("laptop")
    _, secret = await sessions.sign_in(of_key)
    for each in (sessions, other):
        await each.authenticate(secret)
    await keys.by("somebody").revoke("laptop")
    assert await is_refused(sessions, secret)
    assert not await is_refused(other, secret)  # it is remembered: this is what saves the database
    clock.advance(CACHE_S)
    assert await is_refused(other, secret)


async def test_a_key_that_expires_ends_its_sessions_even_while_they_are_remembered(
    keys: Keys, sessions: Sessions, clock: FakeClock
) -> None:
    _, of_key = await keys.create("laptop", expires_s=CACHE_S / 2)
    _, secret = await sessions.sign_in(of_key)
    await sessions.authenticate(secret)
    clock.advance(CACHE_S / 2)
    assert await is_refused(sessions, secret)


async def test_limits_of_the_key_hold_for_its_sessions(keys: Keys, sessions: Sessions, clock: FakeClock) -> None:
    key, of_key = await keys.create("laptop")
    _, secret = await sessions.sign_in(of_key)
    await keys.limit("laptop", Limits(cost_per_day=7))
    await sessions.authenticate(secret)
    known = keys.find(key.id)
    assert known is not None
    assert known.limits == Limits(cost_per_day=7)
    assert (await keys.list())[0].last_used == clock.now()


async def test_signing_out_acts_at_once_here_and_soon_elsewhere(
    keys: Keys, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    other = elsewhere(database, clock)
    _, of_key = await keys.create("laptop")
    session, secret = await sessions.sign_in(of_key)
    _, second = await sessions.sign_in(of_key)
    for each in (sessions, other):
        await each.authenticate(secret)
    await sessions.close(session)
    assert await is_refused(sessions, secret)
    assert not await is_refused(other, secret)
    clock.advance(CACHE_S)
    assert await is_refused(other, secret)
    assert not await is_refused(other, second)
    await sessions.close(session)  # once more does no harm


async def test_signing_out_everywhere_is_of_one_key(keys: Keys, sessions: Sessions) -> None:
    key, of_key = await keys.create("laptop")
    _, of_another = await keys.create("another")
    session, first = await sessions.sign_in(of_key)
    _, second = await sessions.sign_in(of_key)
    _, theirs = await sessions.sign_in(of_another)
    code, _ = await sessions.link(key.id)
    assert await sessions.close_all(session) == 3
    assert [await is_refused(sessions, each) for each in (first, second, theirs)] == [True, True, False]
    with pytest.raises(Unauthorized):
        await sessions.redeem(code)
    assert not await is_refused(sessions, (await sessions.sign_in(of_key))[1])


async def test_a_look_up_that_began_before_a_sign_out_is_not_remembered(
    keys: Keys, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, of_key = await keys.create("laptop")
    session, secret = await sessions.sign_in(of_key)
    use, read, go = keys.use, asyncio.Event(), asyncio.Event()

    async def slowly(key_id: str):
        read.set()
        await go.wait()
        return await use(key_id)

    with monkeypatch.context() as patch:
        patch.setattr(keys, "use", slowly)
        looking = asyncio.create_task(sessions.authenticate(secret))
        await read.wait()
        await sessions.close(session)
        go.set()
        await looking
    assert await is_refused(sessions, secret)


async def test_many_requests_at_once_are_one_look_up(keys: Keys, sessions: Sessions, database: Database) -> None:
    _, of_key = await keys.create("laptop")
    _, secret = await sessions.sign_in(of_key)
    asked: list[str] = []
    event.listen(
        database.engine.sync_engine, "before_cursor_execute",
        lambda _c, _k, statement, *_: asked.append(statement) if "FROM sessions" in statement else None,
    )  # fmt: skip
    found = await asyncio.gather(*(sessions.authenticate(secret) for _ in range(20)))
    assert len({each.id for each in found}) == 1
    await sessions.authenticate(secret)
    assert len(asked) == 1


async def expires(database: Database, session: Session) -> float:
    async with database.read() as connection:
        return (await connection.execute(select(table.c.expires).where(table.c.hash == session.id))).scalar_one()


async def test_one_that_is_used_lasts_and_one_that_is_not_ends(
    keys: Keys, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    _, of_key = await keys.create("laptop")
    session, secret = await sessions.sign_in(of_key)
    clock.advance(SESSION_S * RENEWED / 2)
    await sessions.authenticate(secret)
    assert await expires(database, session) == session.expires  # not with every request
    for _ in range(3):
        clock.advance(SESSION_S * (1 - RENEWED))
        found = await sessions.authenticate(secret)
        assert await expires(database, session) == found.expires == clock.now() + SESSION_S
    clock.advance(SESSION_S)
    assert await is_refused(sessions, secret)


async def test_it_ends_even_while_it_is_remembered(keys: Keys, sessions: Sessions, clock: FakeClock) -> None:
    _, of_key = await keys.create("laptop")
    _, secret = await sessions.sign_in(of_key)
    clock.advance(SESSION_S - 1)
    short = Sessions(sessions._database, clock, keys, session_s=1)  # does not renew it
    await short.authenticate(secret)
    clock.advance(1)
    assert await is_refused(short, secret)


async def test_what_has_expired_is_swept(keys: Keys, sessions: Sessions, database: Database, clock: FakeClock) -> None:
    key, of_key = await keys.create("laptop")
    await sessions.sign_in(of_key)
    await sessions.link(key.id)
    await sessions.open_for(Principal(id="oidc:1:ada", name="Ada"))
    assert await sessions.sweep() == 0
    clock.advance(LINK_S)
    assert await sessions.sweep() == 1
    clock.advance(DAY_S / 2)
    assert await sessions.sweep() == 1
    clock.advance(SESSION_S)
    assert (await sessions.sweep(), await sessions.sweep()) == (1, 0)


async def test_a_link_opens_one_session_and_not_for_long(keys: Keys, sessions: Sessions, clock: FakeClock) -> None:
    key, _ = await keys.create("admin", "admin")
    code, until = await sessions.link(key.id)
    assert until == clock.now() + LINK_S
    session, secret = await sessions.redeem(code)
    assert session.principal.id == key.id
    assert not await is_refused(sessions, secret)
    with pytest.raises(Unauthorized, match="has been used"):
        await sessions.redeem(code)
    late, _ = await sessions.link(key.id)
    clock.advance(LINK_S)
    with pytest.raises(Unauthorized, match="two minutes"):
        await sessions.redeem(late)


async def test_of_many_that_use_a_link_at_once_one_gets_in(
    keys: Keys, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    key, _ = await keys.create("admin", "admin")
    for _ in range(5):
        code, _ = await sessions.link(key.id)
        places = [sessions, elsewhere(database, clock)] * 5
        ended = await asyncio.gather(*(each.redeem(code) for each in places), return_exceptions=True)
        assert sum(isinstance(each, tuple) for each in ended) == 1
        assert sum(isinstance(each, Unauthorized) for each in ended) == len(places) - 1


async def test_somebody_of_an_identity_provider(sessions: Sessions, database: Database, clock: FakeClock) -> None:
    ada = Principal(
        id="oidc:1:ada", name="Ada", project="research", grants=(Grant("user", "research"), Grant("reader"))
    )
    session, secret = await sessions.open_for(ada)
    found = await elsewhere(database, clock).authenticate(secret)
    assert (found.principal, found.kind, found.expires) == (ada, "oidc", clock.now() + DAY_S / 2)
    clock.advance(DAY_S / 2 - 1)
    await sessions.authenticate(secret)
    assert await expires(database, session) == session.expires  # used or not
    clock.advance(1)
    assert await is_refused(sessions, secret)


async def test_signing_in_and_out_is_in_the_audit_log(
    keys: Keys, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    key, of_key = await keys.create("laptop")
    session, _ = await sessions.sign_in(of_key)
    await sessions.redeem((await sessions.link(key.id))[0])
    await sessions.close_all(session)
    audit = Audit(database, clock, "server")
    said = [each for each in await audit.list(newest=10) if each.action.startswith("session.")]
    assert [(each.action, each.actor, each.subject) for each in said] == [
        ("session.open", key.id, key.id), ("session.open", key.id, key.id), ("session.close", key.id, key.id)
    ]  # fmt: skip
    assert ['"with":"key"' in said[0].detail, '"with":"link"' in said[1].detail, '"everywhere":true' in said[2].detail]
    assert (await audit.verify()).broken is None


async def test_a_database_that_cannot_be_written_signs_nobody_out(
    keys: Keys, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    _, of_key = await keys.create("laptop")
    _, secret = await sessions.sign_in(of_key)
    async with database.write() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("a file that is read-only")
        await connection.execute(update(table).values(expires=clock.now() + 1))  # so that it is to be renewed
    await database.close()
    event.listen(database.engine.sync_engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only=ON"))
    assert not await is_refused(sessions, secret)
