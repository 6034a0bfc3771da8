"""The ledger and the governor over the fake engine: everything is accounted for, once, whatever is killed."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from mainspring.core.clock import FakeClock, SystemClock
from mainspring.core.config import Price
from mainspring.core.errors import BudgetSpent, DeadlineExceeded, MainspringError, RateLimited, Unavailable
from mainspring.core.types import EmbedRequest, GenerateRequest, Limits, ModelInfo, TextPrompt
from mainspring.engine.fake import FakeEmbedder, FakeEngine
from mainspring.governance import ledger as module
from mainspring.governance.directory import Target
from mainspring.governance.keys import ApiKey
from mainspring.governance.ledger import Entry, Ledger
from mainspring.governance.meter import Meter, estimate
from mainspring.governance.quota import Quota
from mainspring.governance.usage import Reports
from mainspring.store import journal
from mainspring.store.db import Database
from mainspring.store.tables import requests, usage_hours

PRICES = {"fake": Price(input=1.0, cached=0.1, output=4.0), "*": Price(input=0.5)}


class Anything(FakeEngine):
    """Every model there could be, in its version v1."""

    def find(self, name: str, project: str = "") -> ModelInfo:
        return ModelInfo(id=name, version="v1", created=0, context_length=1, state="ready")


class House:
    """A ledger and a governor over a home."""

    def __init__(self, home: Path, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.accounts: dict[str, ApiKey] = {}
        self.project_limits = Limits()
        self.ledger = Ledger(database, home / "ledger", clock)
        self.reports = Reports(database)
        self.governor = Meter(
            account=self.accounts.get, find=lambda project, name: Target(project, name, name), models=Anything(),
            project_limits=lambda _: self.project_limits, quota=Quota(clock), ledger=self.ledger, prices=PRICES,
            clock=clock,
        )  # fmt: skip

    def account(self, limits: Limits) -> None:
        self.accounts["k"] = ApiKey(id="k", name="laptop", role="user", prefix="ms-", created=0.0, limits=limits)

    async def rows(self) -> list:
        async with self.database.read() as connection:
            return list((await connection.execute(select(requests).order_by(requests.c.id))).mappings())


@pytest.fixture
async def house(tmp_path: Path, database_url: str) -> AsyncIterator[House]:
    database = await Database.open(tmp_path, database_url)
    house = House(tmp_path, database, FakeClock())
    await house.ledger.start()
    yield house
    await house.ledger.stop()
    await database.close()


def ask(id_: str = "r", text: str = "hello there", **fields) -> GenerateRequest:
    defaults = {"model": "fake", "max_tokens": 5}
    return GenerateRequest(id=id_, prompt=TextPrompt(text), tenant="k", **{**defaults, **fields})


async def answer(house: House, request: GenerateRequest, engine: FakeEngine | None = None) -> list:
    return [event async for event in house.governor.generate((engine or FakeEngine()).generate)(request)]


async def test_a_request_is_a_row(house: House) -> None:
    events = await answer(house, ask(n=2))
    finished = [event.usage for event in events if hasattr(event, "usage")]
    await house.ledger.drain()
    [row] = await house.rows()
    assert (row["outcome"], row["key"], row["deployment"], row["version"]) == ("ok", "k", "fake", "v1")
    assert row["operation"] == "completion"
    assert row["prompt"] == finished[0].prompt
    assert row["completion"] == sum(usage.completion for usage in finished)
    cached = min(usage.cached for usage in finished)
    assert row["cost"] == round((row["prompt"] - cached) * 1.0 + cached * 0.1 + row["completion"] * 4.0)
    assert row["minute"] == row["started"] // 60 * 60
    assert not list(house.ledger._journal.older())


async def test_it_is_written_before_the_last_event_goes_out(house: House, tmp_path: Path) -> None:
    async with aclosing(house.governor.generate(FakeEngine().generate)(ask())) as events:
        async for event in events:
            kept = b"".join(path.read_bytes() for path in (tmp_path / "ledger").rglob("*.journal"))
            assert kept.count(b'"id":"r"') == (2 if hasattr(event, "usage") else 1)
            assert (b'"outcome":"ok"' in kept) == hasattr(event, "usage")


async def test_embeddings_are_accounted_for_too(house: House) -> None:
    embedder = FakeEmbedder()
    request = EmbedRequest(id="e", model=embedder.model.id, inputs=("a b c", (1, 2)), tenant="k")
    result = await house.governor.embed(embedder.embed)(request)
    await house.ledger.drain()
    [row] = await house.rows()
    assert (row["operation"], row["prompt"], row["outcome"]) == ("embedding", result.num_tokens, "ok")
    assert row["cost"] == round(result.num_tokens * 0.5)


@pytest.mark.parametrize("spell", ["Unavailable", "Overloaded", "DeadlineExceeded", "MainspringError"])
async def test_of_a_batchs_request_only_the_attempt_with_an_answer_is_accounted_for(house: House, spell: str) -> None:
    house.account(Limits(tokens_per_minute=1000))
    for _ in range(3):  # it is made again until it has its answer
        with pytest.raises(MainspringError):
            await answer(house, ask("b", f"!raise {spell} after 2", tier="batch"))
    async with aclosing(house.governor.generate(FakeEngine().generate)(ask("b", tier="batch"))) as left:
        await anext(left)  # and is left
    await house.ledger.drain()
    assert await house.rows() == []
    assert house.governor.rate("k", "default", "fake").tokens.remaining == 1000, "nor charged"  # type: ignore[union-attr]
    await answer(house, ask("b", tier="batch"))
    await house.ledger.drain()
    await answer(house, ask("b", tier="batch"))  # a server was killed before it wrote the answer down
    await house.ledger.drain()
    [row] = await house.rows()
    assert (row["id"], row["outcome"], row["tier"]) == ("b", "ok", "batch")
    async with house.database.read() as connection:
        assert (await connection.execute(select(usage_hours.c.requests))).scalars().all() == [1]


async def test_a_batchs_request_that_can_never_succeed_is_a_row(house: House) -> None:
    with pytest.raises(MainspringError):
        await answer(house, ask("b", "!raise InvalidRequest", tier="batch"))
    await house.ledger.drain()
    assert [row["outcome"] for row in await house.rows()] == ["invalid_value"]


async def test_a_batchs_request_that_ran_when_the_server_was_killed_is_no_row_yet(house: House, tmp_path: Path) -> None:
    for tier in ("batch", "default"):
        house.ledger.begin(
            Entry(id=tier, started=1.0, key="k", deployment="d", version="v", operation="chat", tier=tier)
        )
    drained = house.ledger._drained
    assert drained is not None
    drained.cancel()
    house.ledger._journal.close()  # as a kill does
    again = house.ledger = Ledger(house.database, tmp_path / "ledger", house.clock)
    await again.start()
    assert [(row["id"], row["outcome"]) for row in await house.rows()] == [("default", "interrupted")]
    again.begin(Entry(id="batch", started=1.0, key="k", deployment="d", version="v", operation="chat", tier="batch"))
    again.end(Entry(
        id="batch", started=1.0, key="k", deployment="d", version="v", operation="chat", tier="batch", outcome="ok"
    ))  # fmt: skip
    await again.drain()
    assert {row["outcome"] for row in await house.rows()} == {"ok", "interrupted"}


async def test_one_that_fails_and_one_that_is_left(house: House) -> None:
    async def fails(_):
        raise MainspringError("no", code="broken")
        yield

    with pytest.raises(MainspringError):
        [event async for event in house.governor.generate(fails)(ask("a"))]
    async with aclosing(house.governor.generate(FakeEngine().generate)(ask("b", max_tokens=50))) as events:
        async for _ in events:
            break
    await house.ledger.drain()
    failed, left = await house.rows()
    assert (failed["outcome"], failed["prompt"], failed["completion"]) == ("broken", 0, 0)
    assert (left["outcome"], left["completion"]) == ("cancelled", 1)
    assert left["prompt"] == estimate(ask("b")).prompt


async def test_who_leaves_before_the_first_token_pays_for_the_prompt(house: House) -> None:
    house.account(Limits(tokens_per_minute=10_000))
    long = "many words " * 400

    async def slow(_):
        await asyncio.Event().wait()
        yield

    task = asyncio.ensure_future(anext(house.governor.generate(slow)(ask("left", long))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def late(_):
        raise DeadlineExceeded("late")
        yield

    with pytest.raises(DeadlineExceeded):
        await anext(house.governor.generate(late)(ask("late", long)))
    await house.ledger.drain()
    expected = estimate(ask("x", long)).prompt
    assert {row["outcome"]: row["prompt"] for row in await house.rows()} == {
        "cancelled": expected, "deadline_exceeded": expected,
    }  # fmt: skip
    assert house.governor.rate("k", "default", "fake").tokens.remaining == 10_000 - 2 * expected


async def test_moving_twice_is_moving_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await answer(house, ask("a"))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # killed between the commit and the removal
    await house.ledger.drain()
    monkeypatch.undo()
    await answer(house, ask("b"))
    await house.ledger.drain()
    assert [row["id"] for row in await house.rows()] == ["a", "b"]
    async with house.database.read() as connection:
        sums = (await connection.execute(select(func.sum(usage_hours.c.requests)))).scalar()
    assert sums == 2


async def test_one_that_runs_while_the_journal_turns_a_page_is_not_lost(house: House, tmp_path: Path) -> None:
    events = house.governor.generate(FakeEngine().generate)(ask("slow", max_tokens=3))
    await anext(events)
    await answer(house, ask("quick"))
    await house.ledger.drain()
    assert [row["id"] for row in await house.rows()] == ["quick"]
    async for _ in events:
        pass
    await house.ledger.drain()
    assert [row["id"] for row in await house.rows()] == ["quick", "slow"]


async def test_one_that_ran_through_a_new_page_into_a_crash_is_interrupted(house: House, tmp_path: Path) -> None:
    events = house.governor.generate(FakeEngine().generate)(ask("slow"))
    await anext(events)
    await answer(house, ask("quick"))
    await house.ledger.drain()
    os.close(house.ledger._journal._lock)  # as a process that dies gives its folder back
    after = House(tmp_path, house.database, house.clock)
    await after.ledger.start()
    rows = {row["id"]: (row["outcome"], row["prompt"]) for row in await house.rows()}
    assert rows["slow"] == ("interrupted", estimate(ask("slow")).prompt)
    assert rows["quick"][0] == "ok"
    await after.ledger.stop()
    await events.aclose()
    house.ledger._journal._lock = os.open(tmp_path, os.O_RDONLY)  # for the fixture to close


async def test_the_sums_are_those_of_the_rows(house: House) -> None:
    for hour in range(3):
        for number in range(4):
            await answer(house, ask(f"{hour}-{number}", tier="flex" if number % 2 else "default"))
        await house.ledger.drain()
        house.clock.advance(3600)
    now_s = int(house.clock.now())
    for width_s in (60, 3600, 86_400):
        found = await house.reports.sums(0, now_s, width_s, ["tier"])
        assert sum(each.totals.requests for each in found) == 12
        assert {each.group for each in found} == {("default",), ("flex",)}
    rows = await house.rows()
    [total] = await house.reports.totals(0, now_s, ["key"])
    assert total.totals == tuple(sum(row[name] for row in rows) if name != "requests" else 12
                                 for name in total.totals._fields)  # fmt: skip
    assert await house.reports.sums(0, now_s, 3600, operations=["embedding"]) == []
    assert await house.reports.sums(0, now_s, 3600, keys=["other"]) == []


async def test_limits_hold_and_survive_a_restart(house: House, tmp_path: Path) -> None:
    house.account(Limits(tokens_per_minute=40, tokens_per_day=50))
    await answer(house, ask("a"))
    used = 40 - house.governor.rate("k", "default", "fake").tokens.remaining
    assert used == 5 + (await _prompt(house))
    with pytest.raises(RateLimited):
        await answer_until_refused(house, "more")
    left = house.governor.rate("k", "default", "fake").tokens.remaining
    await house.ledger.drain()

    other = House(tmp_path, house.database, house.clock)
    other.accounts = house.accounts
    other.governor._account = house.accounts.get
    await other.governor.restore(other.reports)
    assert other.governor.rate("k", "default", "fake").tokens.remaining == left
    house.clock.advance(60)
    with pytest.raises(BudgetSpent, match="'laptop'"):
        await answer_until_refused(house, "day")
    other.ledger._journal.close()


async def test_what_several_deployments_used_is_restored_as_one_sum(house: House, tmp_path: Path) -> None:
    house.account(Limits(tokens_per_minute=1000))
    house.project_limits = Limits(tokens_per_day=1000, tokens_per_minute=900)
    for number, model in enumerate(("fake", "other", "fake")):
        await answer(house, ask(f"r{number}", model=model), FakeEngine(("fake", "other")))
    await house.ledger.drain()
    other = House(tmp_path, house.database, house.clock)
    other.account(Limits(tokens_per_minute=1000))
    other.project_limits = house.project_limits
    for _ in range(2):
        await other.governor.restore(other.reports)
    assert other.governor.rate("k", "default", "fake") == house.governor.rate("k", "default", "fake")
    used = sum(row["prompt"] + row["completion"] for row in await house.rows())
    assert other.governor.rate("k", "default", "fake").tokens.remaining == 900 - used
    other.ledger._journal.close()


async def answer_until_refused(house: House, name: str) -> None:
    for number in range(9):
        await answer(house, ask(f"{name}-{number}"))


async def _prompt(house: House) -> int:
    await house.ledger.drain()
    return (await house.rows())[0]["prompt"]


async def test_exact_with_64_at_once(house: House) -> None:
    house.account(Limits(tokens_per_minute=64 * 20))
    results = await asyncio.gather(
        *(answer(house, ask(f"r{number}", max_tokens=30)) for number in range(64)), return_exceptions=True
    )
    assert all(isinstance(each, (list, RateLimited)) for each in results)
    await house.ledger.drain()
    rows = await house.rows()
    assert len(rows) == sum(isinstance(each, list) for each in results)
    used = sum(row["prompt"] + row["completion"] for row in rows)
    assert house.governor.rate("k", "default", "fake").tokens.remaining == 64 * 20 - used


async def test_a_full_disk_refuses_before_anything_is_computed_and_recovers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.account(Limits(tokens_per_minute=1000))
    running = house.governor.generate(FakeEngine().generate)(ask("before"))
    await anext(running)

    def full(*_):
        raise OSError(28, "No space left on device")

    left = house.governor.rate("k", "default", "fake").tokens.remaining
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_allocate", full)
        house.ledger._journal._allocated = house.ledger._journal._used + house.ledger._journal._held
        engine = FakeEngine()
        with pytest.raises(Unavailable, match="no room"):
            await answer(house, ask("refused"), engine)
        assert house.governor.rate("k", "default", "fake").tokens.remaining == left  # not charged
        async for _ in running:  # one that was let in is accounted for
            pass
        with pytest.raises(OSError, match="No space"):
            await house.ledger.drain()
    await answer(house, ask("after"))
    await house.ledger.drain()
    assert [row["id"] for row in await house.rows()] == ["after", "before"]


async def test_a_database_that_refuses_loses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house.database.write() as connection:
        await connection.execute(text("ALTER TABLE requests RENAME TO hidden"))
    await answer(house, ask("a"))
    with pytest.raises((Unavailable, DBAPIError)):
        await house.ledger.drain()
    for _ in range(3):
        await house.ledger._try_to_drain()
        await answer(house, ask(f"b{_}"))
    assert len(house.ledger._journal.older()) == 1  # however long it takes
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 1)
    with pytest.raises(Unavailable, match="database"):
        await answer(house, ask("too much"))
    async with house.database.write() as connection:
        await connection.execute(text("ALTER TABLE hidden RENAME TO requests"))
    await house.ledger._try_to_drain()
    await answer(house, ask("c"))
    await house.ledger.drain()
    assert [row["id"] for row in await house.rows()] == ["a", "b0", "b1", "b2", "c"]


CHILD = """
import asyncio, sys
from pathlib import Path
from mainspring.core.clock import SystemClock
from mainspring.engine.fake import FakeEngine
from tests.unit.governance.test_ledger import House, ask
from mainspring.store.db import Database

async def main():
    home, run = Path(sys.argv[1]), sys.argv[2]
    house = House(home, await Database.open(home, sys.argv[3]), SystemClock())
    await house.ledger.start()
    engine = FakeEngine()
    async def client(name):
        number = 0
        while True:
            number += 1
            request = ask(f"{run}-{name}-{number}", max_tokens=3)
            print("asked", request.id, flush=True)
            async for event in house.governor.generate(engine.generate)(request):
                if hasattr(event, "usage"):
                    print("answered", request.id, flush=True)
            await asyncio.sleep(0.002)
    await asyncio.gather(*map(client, "abcd"))

asyncio.run(main())
"""


def run_and_kill(home: Path, database_url: str) -> tuple[set[str], set[str]]:
    """Six lives of a server, each ended by SIGKILL at a random moment; the requests it got, and those it answered."""
    draw, answered, asked = random.Random(7), set(), set()
    for run in range(6):
        command = [sys.executable, "-c", CHILD, str(home), str(run), database_url]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        said = child.stdout.readline()
        time.sleep(0.3 + draw.random())
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read()
        child.stdout.close()
        child.wait()
        for line in said.split("\n")[:-1]:  # when the pipe is full, the kill leaves half a line
            what, _, id_ = line.partition(" ")
            (answered if what == "answered" else asked).add(id_)
    return asked, answered


async def test_killed_at_any_moment_no_answer_is_unaccounted_for_and_none_is_twice(
    tmp_path: Path, database_url: str
) -> None:
    asked, answered = await asyncio.to_thread(run_and_kill, tmp_path, database_url)
    database = await Database.open(tmp_path, database_url)
    house = House(tmp_path, database, SystemClock())
    await house.ledger.start()
    rows = {row["id"]: row["outcome"] for row in await house.rows()}
    async with database.read() as connection:
        sums = (await connection.execute(select(func.sum(usage_hours.c.requests)))).scalar()
    await house.ledger.stop()
    await database.close()
    assert len(answered) > 100
    assert answered <= {id_ for id_, outcome in rows.items() if outcome == "ok"}
    assert set(rows) <= asked
    assert sums == len(rows)
    assert set(rows.values()) <= {"ok", "interrupted"}


async def test_a_postgresql_server_that_is_killed_loses_nothing(tmp_path: Path, postgres_server) -> None:
    database = await Database.open(tmp_path, postgres_server.url())
    house = House(tmp_path, database, FakeClock())
    await house.ledger.start()
    await answer(house, ask("before"))
    await house.ledger.drain()
    postgres_server.kill()
    await answer(house, ask("during"))
    await house.ledger._try_to_drain()
    postgres_server.start()
    await answer(house, ask("after"))
    await house.ledger._try_to_drain()
    assert [row["id"] for row in await house.rows()] == ["after", "before", "during"]
    await house.ledger.stop()
    await database.close()


async def test_whatever_a_row_holds_is_what_was_written(house: House) -> None:
    """The database takes the rows apart itself, out of one text."""
    odd = "a \" ' \\ \n \u0000 $ :rows ünï 🙂 [1,{}]"
    entry = Entry(
        id="odd", started=house.clock.now() + 0.25, key=odd.replace("\0", "")[:60], deployment="de:ploy'ment",
        version="v", operation="chat", project="p", outcome="ok", prompt=7, cached=1, completion=3, cost=10**12,
        first_ms=0.125, total_ms=1e3, filtered="prompt", hits=msgspec.json.encode([odd]).decode(), spilled_from="x",
    )  # fmt: skip
    for number in range(3):  # the second lot has the first one in it again
        house.ledger.begin(msgspec.structs.replace(entry, id=f"odd{number}", outcome="open"))
        house.ledger.end(msgspec.structs.replace(entry, id=f"odd{number}"))
    await house.ledger.drain()
    rows = await house.rows()
    assert len(rows) == 3
    assert {name: rows[0][name] for name in Entry.__struct_fields__} == msgspec.structs.asdict(
        msgspec.structs.replace(entry, id="odd0")
    )
    assert rows[0]["minute"] == int(entry.started) // 60 * 60
    async with house.database.read() as connection:
        [sums] = (await connection.execute(select(usage_hours))).mappings()
    assert (sums["requests"], sums["prompt"], sums["cost"]) == (3, 21, 3 * 10**12)
    assert sums["hour"] == int(entry.started) // 3600 * 3600
