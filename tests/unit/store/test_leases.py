"""Who works on which job: two workers that crash, sleep and wake up, on both databases."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mainspring.core.clock import FakeClock
from mainspring.store.db import Database
from mainspring.store.jobs import (
    Job,
    Told,
    add_checkpoint,
    add_job,
    change_job,
    find_job,
    list_checkpoints,
    list_events,
    list_jobs,
    metric_events,
    tell,
)
from mainspring.store.leases import Lease, LeaseLost, Leases

KIND = "work"
LEASE_S = 30.0


def job(name: str, created: float = 1.0, **more) -> Job:
    return Job(
        **{"id": name, "kind": KIND, "project": "p", "creator": "", "priority": 0, "status": "queued", "wanted": "run",
           "spec": {}, "state": {}, "error": None, "created": created, **more}
    )  # fmt: skip


@pytest.fixture
async def database(tmp_path: Path, database_url: str):
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def put(database: Database, *jobs: Job) -> None:
    async with database.write() as connection:
        for each in jobs:
            await add_job(connection, each)


async def get(database: Database, name: str) -> Job:
    async with database.read() as connection:
        found = await find_job(connection, name)
    assert found is not None
    return found


async def test_the_most_urgent_goes_first_and_of_these_the_oldest(database: Database, clock: FakeClock) -> None:
    await put(database, job("b", 2), job("a", 1), job("hurry", 3, priority=1), job("other", 0, kind="else"))
    leases, order = Leases(database, clock), []
    while (claimed := await leases.claim(KIND, ["queued"], "w")) is not None:
        order.append(claimed[0].id)
    assert order == ["hurry", "a", "b"]


async def test_what_is_held_or_not_due_or_in_another_status_is_left(database: Database, clock: FakeClock) -> None:
    await put(database, job("later", not_before=clock.now() + 5), job("paused", status="paused"), job("a"))
    leases = Leases(database, clock)
    assert (await leases.claim(KIND, ["queued"], "w"))[0].id == "a"  # type: ignore[index]
    assert await leases.claim(KIND, ["queued"], "w") is None
    clock.advance(5)
    assert (await leases.claim(KIND, ["queued"], "w"))[0].id == "later"  # type: ignore[index]


async def test_a_lease_ends_without_a_heartbeat_and_its_holder_can_write_nothing_more(
    database: Database, clock: FakeClock
) -> None:
    await put(database, job("a"))
    leases = Leases(database, clock, LEASE_S)
    _, first = await leases.claim(KIND, ["queued"], "one")  # type: ignore[misc]
    clock.advance(LEASE_S - 1)
    await leases.heartbeat(first)
    clock.advance(LEASE_S - 1)
    assert await leases.claim(KIND, ["queued"], "two") is None
    clock.advance(1)
    taken, second = await leases.claim(KIND, ["queued"], "two")  # type: ignore[misc]
    assert (second.number, taken.attempts) == (first.number + 1, 2)
    for attempt in (leases.heartbeat(first), leases.release(first)):
        with pytest.raises(LeaseLost):
            await attempt
    with pytest.raises(LeaseLost):
        async with leases.holding(first) as (connection, held):
            await change_job(connection, held, status="running")
    assert (await get(database, "a")).status == "queued"
    await leases.heartbeat(second)


async def test_an_owner_that_claims_again_is_fenced_from_its_own_past(database: Database, clock: FakeClock) -> None:
    await put(database, job("a"))
    leases = Leases(database, clock, LEASE_S)
    _, first = await leases.claim(KIND, ["queued"], "one")  # type: ignore[misc]
    clock.advance(LEASE_S)
    _, second = await leases.claim(KIND, ["queued"], "one")  # type: ignore[misc]
    with pytest.raises(LeaseLost):
        await leases.heartbeat(first)
    await leases.release(second)
    with pytest.raises(LeaseLost):  # given back is given back, even by its number
        await leases.heartbeat(second)


async def test_only_an_end_in_order_forgets_the_attempts(database: Database, clock: FakeClock) -> None:
    await put(database, job("a"))
    leases = Leases(database, clock)
    for expected in (1, 2, 3):
        taken, lease = await leases.claim(KIND, ["queued"], "w")  # type: ignore[misc]
        assert taken.attempts == expected
        await leases.release(lease, in_order=False)
    _, lease = await leases.claim(KIND, ["queued"], "w")  # type: ignore[misc]
    await leases.release(lease, status="queued")
    assert (await get(database, "a")).attempts == 0


async def test_a_claim_chooses_and_marks_in_one_step(database: Database, clock: FakeClock) -> None:
    await put(database, job("a"), job("b", 2), job("c", 3))
    leases, seen = Leases(database, clock), []

    def choose(waiting, held):
        seen.append(([each.id for each in waiting], [each.id for each in held]))
        return waiting[-1].id if len(held) < 2 else None

    for _ in range(3):
        await leases.claim(KIND, ["queued"], "w", choose, lambda _: {"status": "running", "started": 7.0})
    assert seen == [(["a", "b", "c"], []), (["a", "b"], ["c"]), (["a"], ["b", "c"])]
    assert (await get(database, "c")).status == "running"


# -- events and checkpoints --------------------------------------------------------------------------------------------


async def test_telling_again_is_telling_once(database: Database) -> None:
    await put(database, job("j-1"), job("j-2"))
    step = Told(message="Step 1", type="metrics", data={"step": 1, "train_loss": 2.0}, key="step:1")
    later = Told(message="Step 1: more", type="metrics", data={"step": 1, "valid_loss": 3.0}, key="step:1")
    said, plain = Told(message="hello", key="say:0:x"), Told(message="no key")
    for _ in range(2):
        async with database.write() as connection:
            new = await tell(connection, "j-1", [step, said, later, plain], 5.0)
    assert [each.message for each in new] == ["no key"]
    async with database.write() as connection:
        await tell(connection, "j-2", [step], 5.0)
    async with database.read() as connection:
        events, more = await list_events(connection, "j-1", limit=10)
        assert ([each.message for each in events], more) == (["no key", "no key", "hello", "Step 1: more"], False)
        assert await metric_events(connection, "j-1") == [{"step": 1, "train_loss": 2.0, "valid_loss": 3.0}]
        page, more = await list_events(connection, "j-1", limit=2)
        rest, _ = await list_events(connection, "j-1", limit=9, after=page[-1].id)
        assert (more, [each.seq for each in (*page, *rest)]) == (True, [4, 3, 2, 1])


async def test_a_checkpoint_of_a_step_is_one_and_pages_go_on(database: Database) -> None:
    await put(database, job("j-1"))
    async with database.write() as connection:
        for step in (1, 2, 2, 3):
            await add_checkpoint(
                connection, job="j-1", step=step, name=f"n{step}", version="", metrics={"x": 1.0}, now_s=1.0
            )
    async with database.read() as connection:
        page, more = await list_checkpoints(connection, "j-1", limit=2)
        rest, end = await list_checkpoints(connection, "j-1", limit=2, after=page[-1].id)
    assert ([each.step for each in (*page, *rest)], more, end) == ([3, 2, 1], True, False)


async def test_jobs_are_listed_newest_first_and_filtered_before_they_are_counted(database: Database) -> None:
    await put(database, *(job(f"j{n:03}", n // 2, spec={"odd": n % 2 == 1}) for n in range(450)))
    async with database.read() as connection:
        found = await list_jobs(connection, kind=KIND, project="p", limit=230, wanted=lambda each: each.spec["odd"])
        assert [each.id for each in found] == [f"j{n:03}" for n in range(449, -1, -2)]
        after = await list_jobs(connection, kind=KIND, project="p", after=found[1], limit=2)
        assert [each.id for each in after] == ["j446", "j445"]


# -- everything at once ------------------------------------------------------------------------------------------------


class Workers(RuleBasedStateMachine):
    """Two workers and some jobs. A worker may forget that it holds a lease, or keep one that has ended; whoever writes
    must be the last to have claimed the job, and nobody claims what another one keeps alive."""

    url = ""
    folder: Path

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.database = self.runner.run(Database.open(self.folder, self.url))
        self.leases = Leases(self.database, self.clock, LEASE_S)
        self.names = [f"{id(self)}-{self.clock.monotonic()}-{n}" for n in range(3)]
        self.kind = f"k{id(self) % 10**12}"
        self.runner.run(
            put(self.database, *(job(name, kind=self.kind, priority=n % 2) for n, name in enumerate(self.names)))
        )
        self.held: dict[str, dict[str, Lease]] = {"one": {}, "two": {}}
        self.newest = dict.fromkeys(self.names, 0)
        self.alive_until = dict.fromkeys(self.names, 0.0)

    @rule(who=st.sampled_from(["one", "two"]))
    def claim(self, who: str) -> None:
        claimed = self.runner.run(self.leases.claim(self.kind, ["queued"], who))
        free = [name for name in self.names if self.alive_until[name] <= self.clock.now()]
        if claimed is None:
            assert not free
            return
        taken, lease = claimed
        assert taken.id in free, "claimed from under somebody who lives"
        assert lease.number > self.newest[taken.id]
        assert taken.priority == max(self.names.index(name) % 2 for name in free)
        self.held[who][taken.id], self.newest[taken.id] = lease, lease.number
        self.alive_until[taken.id] = self.clock.now() + LEASE_S

    @rule(seconds=st.sampled_from([1.0, 12.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(who=st.sampled_from(["one", "two"]), n=st.integers(0, 2), what=st.sampled_from(["beat", "write", "release"]))
    def act(self, who: str, n: int, what: str) -> None:
        lease = self.held[who].get(self.names[n])
        if lease is None:
            return
        is_mine = lease.number == self.newest[lease.job] and self.alive_until[lease.job] > 0
        try:
            self.runner.run(getattr(self, f"_{what}")(lease))
        except LeaseLost:
            assert not is_mine
            del self.held[who][lease.job]
            return
        assert is_mine, "a worker that had lost its lease changed something"
        self.alive_until[lease.job] = {"beat": self.clock.now() + LEASE_S, "release": 0.0}.get(
            what, self.alive_until[lease.job]
        )

    async def _beat(self, lease: Lease) -> None:
        await self.leases.heartbeat(lease)

    async def _write(self, lease: Lease) -> None:
        async with self.leases.holding(lease) as (connection, held):
            await change_job(connection, held, state={"by": lease.owner, "number": lease.number})

    async def _release(self, lease: Lease) -> None:
        await self.leases.release(lease)

    @rule(who=st.sampled_from(["one", "two"]))
    def crash(self, who: str) -> None:
        self.held[who].clear()

    @invariant()
    def what_is_written_is_the_newest_holder_s(self) -> None:
        if not hasattr(self, "names"):
            return
        for name in self.names:
            found = self.runner.run(get(self.database, name))
            assert found.lease == self.newest[name]
            assert found.state.get("number", 0) <= found.lease

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.runner.run(self.database.close())
            self.runner.close()


def test_two_workers_that_crash(tmp_path: Path, database_url: str) -> None:
    found = type("Found", (Workers,), {"url": database_url, "folder": tmp_path})
    run_state_machine_as_test(
        found,
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
