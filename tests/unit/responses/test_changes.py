"""Who waits for changes of chats hears of each, and of their own only, whichever server has made it."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest

from mainspring.core.clock import FakeClock
from mainspring.responses.changes import Changed
from mainspring.responses.chats import Chats
from mainspring.store import chat_changes
from mainspring.store.chats import remove_all_chats
from mainspring.store.db import Database

LONG_S = 60.0


class Nobody:
    """Follows no response."""

    def gone(self, _ids: list[str]) -> None:
        """Nobody minds."""


@pytest.fixture
async def database(tmp_path: Path, database_url: str) -> AsyncGenerator[Database]:
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


def server(database: Database) -> Chats:
    """The chats of one of several servers."""
    return Chats(database, FakeClock(), cast("Any", Nobody()))


def told(found: Changed) -> list[tuple[str, bool]]:
    return [(each.chat, each.gone) for each in found.changes]


async def start(chats: Chats, owner: str = "ada") -> int:
    return (await chats.changes.wait("p", owner, None, LONG_S)).number


async def test_each_change_is_told_once_and_to_its_owner(database: Database) -> None:
    chats = server(database)
    assert await start(chats) == 0
    a = (await chats.create("p", "ada")).id
    b = (await chats.create("p", "ada")).id
    await chats.create("p", "bob")
    await chats.create("q", "ada")
    found = await chats.changes.wait("p", "ada", 0, LONG_S)
    assert told(found) == [(a, False), (b, False)]
    assert found.number == 4

    await chats.update("p", "ada", a, title="Other")
    await chats.update("p", "ada", a, title="Third")
    await chats.remove("p", "ada", b)
    after = await chats.changes.wait("p", "ada", found.number, LONG_S)
    assert told(after) == [(a, False), (b, True)]
    assert told(await chats.changes.wait("p", "ada", after.number, 0)) == []
    assert told(await chats.changes.wait("p", "bob", found.number, 0)) == []


@pytest.mark.parametrize("is_other", [False, True], ids=["this server", "another"])
async def test_who_waits_is_woken(database: Database, is_other: bool) -> None:
    chats = server(database)
    writer = server(database) if is_other else chats
    begun = await start(chats)
    waits = [asyncio.create_task(chats.changes.wait("p", owner, begun, LONG_S)) for owner in ("ada", "ada", "bob")]
    await asyncio.sleep(0)
    made = await writer.create("p", "ada")
    for each in waits[:2]:
        assert told(await asyncio.wait_for(each, 20)) == [(made.id, False)]
    assert not waits[2].done()
    chats.changes.stop()
    assert told(await asyncio.wait_for(waits[2], 20)) == []
    assert told(await chats.changes.wait("p", "bob", begun, LONG_S)) == []  # nobody waits at a server that stops


async def test_many_changes_come_in_parts(database: Database) -> None:
    chats = server(database)
    made = [(await chats.create("p", "ada")).id for _ in range(130)]
    heard: list[str] = []
    number = 0
    while found := await chats.changes.wait("p", "ada", number, 0):
        if not found.changes:
            break
        heard += [each.chat for each in found.changes]
        number = found.number
    assert heard == made


async def test_what_nobody_knows_any_more_is_said_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_changes, "KEPT", 3)
    monkeypatch.setattr("mainspring.responses.changes.KEPT", 3)
    chats = server(database)
    made = [(await chats.create("p", "ada")).id for _ in range(6)]
    await chats.sweep()
    for after in (0, 2, 7, 2**63 - 1):
        found = await chats.changes.wait("p", "ada", after, LONG_S)
        assert (found.reset, found.changes, found.number) == (True, [], 6), after
    assert told(await chats.changes.wait("p", "ada", 3, LONG_S)) == [(each, False) for each in made[3:]]
    async with database.read() as connection:
        assert [each.number for each in await chat_changes.changes_after(connection, "p", "ada", 0, 10)] == [4, 5, 6]


async def test_a_project_that_goes_leaves_no_change_but_the_newest(database: Database) -> None:
    chats = server(database)
    for _ in range(3):
        await chats.create("p", "ada")
    async with database.write() as connection:
        await remove_all_chats(connection, "p")
        left = await chat_changes.changes_after(connection, "p", "ada", 0, 10)
    assert [(each.number, each.gone) for each in left] == [(3, True)]
    await chats.create("q", "bob")
    assert (await chats.changes.wait("q", "bob", 3, LONG_S)).number == 4
