"""Stored chats: written after the answer and found at once, kept for so long, and paged however many there are."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.store import stored_chats as module
from mainspring.store.db import Database
from mainspring.store.stored_chats import ChatFilter, StoredChat, StoredChats, remove_chats

EVERY = ChatFilter()


@pytest.fixture
async def database(tmp_path: Path, database_url: str) -> AsyncGenerator[Database]:
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


def chat(at: int, **more: Any) -> StoredChat:
    fields = {
        "id": f"c{at:03}", "project": "p", "model": "m", "created": 1_700_000_000.0 + at // 4,
        "labels": {"n": str(at % 3), "text": "\0 nul"}, "messages": [{"role": "user", "content": "a\0b"}],
        "answer": {"id": at}, **more,
    }  # fmt: skip
    return StoredChat(**fields)


def keep(chats: StoredChats, *given: StoredChat) -> None:
    for each in given:
        chats.keep(each.id, lambda each=each: each)


async def pages(
    chats: StoredChats, wanted: ChatFilter = EVERY, size: int = 7, *, descending: bool = False
) -> list[str]:
    found: list[str] = []
    more = True
    while more:
        page, more = await chats.list(
            "p", wanted, after=found[-1] if found else None, limit=size, descending=descending
        )
        found += [each.id for each in page]
    return found


async def test_what_was_kept_is_found_at_once(database: Database) -> None:
    chats = StoredChats(database, FakeClock(), 0)
    keep(chats, chat(1))
    assert await chats.get("p", "c001") == chat(1)
    for project, name in (("q", "c001"), ("p", "c002")):
        for act in (chats.get(project, name), chats.remove(project, name), chats.label(project, name, {})):
            with pytest.raises(NotFound):
                await act


async def test_pages_hold_each_once_in_both_orders(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 5)
    chats = StoredChats(database, FakeClock(), 0)
    keep(chats, *(chat(at) for at in range(40)), chat(99, project="q"))
    names = [f"c{at:03}" for at in range(40)]
    assert await pages(chats) == names
    assert await pages(chats, descending=True) == names[::-1]
    assert await pages(chats, ChatFilter(labels={"n": "2"}), size=3) == names[2::3]
    assert await pages(chats, ChatFilter(labels={"n": "2", "other": "x"})) == []
    assert await pages(chats, ChatFilter(model="other")) == []
    assert await pages(chats, ChatFilter(since=1_700_000_002.0, until=1_700_000_003.0)) == names[8:16]
    with pytest.raises(InvalidRequest, match="'after'"):
        await chats.list("p", EVERY, after="c099", limit=5)


async def test_they_last_as_long_as_they_are_to(database: Database) -> None:
    clock = FakeClock()
    chats = StoredChats(database, clock, 100.0)
    keep(chats, chat(0, created=clock.now()), chat(1, created=clock.now() + 50))
    assert await pages(chats) == ["c000", "c001"]
    clock.advance(120)
    assert await pages(chats) == ["c001"], "what has expired is not shown, though it is still there"
    with pytest.raises(NotFound):
        await chats.get("p", "c000")
    assert await chats.sweep() == 1
    clock.advance(1000)
    assert await chats.sweep() == 1


async def test_labels_and_projects(database: Database) -> None:
    chats = StoredChats(database, FakeClock(), 0)
    keep(chats, chat(0), chat(1), chat(2, project="q"))
    assert (await chats.label("p", "c001", {"a": "b"})).labels == {"a": "b"}
    assert await pages(chats, ChatFilter(labels={"a": "b"})) == ["c001"]
    await chats.remove("p", "c000")
    async with database.write() as connection:
        await remove_chats(connection, "p")
    assert await pages(chats) == []
    assert (await chats.get("q", "c002")).id == "c002"


async def test_one_that_cannot_be_made_costs_no_other_batch(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 1)
    chats = StoredChats(database, FakeClock(), 0)

    def broken() -> StoredChat:
        raise ValueError("no")

    chats.keep("x", broken)
    keep(chats, chat(1))
    assert await pages(chats) == ["c001"]


async def test_too_many_are_dropped_and_not_kept_in_memory(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    chats = StoredChats(database, FakeClock(), 0)
    keep(chats, *(chat(at) for at in range(30)))
    assert await pages(chats) == [f"c{at:03}" for at in range(10)]


async def test_a_database_that_does_not_answer_holds_nobody_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.05)
    chats = StoredChats(database, FakeClock(), 0)
    entered, go = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        entered.set()
        await go.wait()

    chats._writing = asyncio.create_task(slow())
    await entered.wait()
    assert await pages(chats) == []
    go.set()
    await chats._writing


@given(labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_labels_of_any_text_are_json(labels: dict[str, str]) -> None:
    columns = module._columns(chat(0, labels=labels))
    assert isinstance(columns["labels"], str)
    assert "\0" not in columns["labels"], "PostgreSQL keeps none in a text"
