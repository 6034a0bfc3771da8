"""Several servers on one PostgreSQL: their limits hold for all of them together, whatever dies and whatever is lost."""

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import FakeClock
from mainspring.core.errors import BudgetSpent, RateLimited, Unavailable
from mainspring.core.types import Limits
from mainspring.governance import allowance as module
from mainspring.governance.allowance import Leases
from mainspring.governance.quota import Amount, Charge, Quota, Share
from mainspring.governance.windows import start_of
from mainspring.store.db import Database
from mainspring.store.tables import allowances
from tests.postgres import Postgres, programs, running

NUMBERS = itertools.count()
MIDNIGHT = 1_700_006_400.0  # 2023-11-15T00:00:00Z


class Lossy(Database):
    """A database that can be told to refuse, or to do what it is told and lose the answer."""

    refuses = loses = False
    num_used = 0

    @contextlib.asynccontextmanager
    async def statements(self) -> AsyncGenerator[AsyncConnection]:
        self.num_used += 1
        if self.refuses:
            raise Unavailable("it refuses")
        async with super().statements() as connection:
            yield connection
        if self.loses:
            raise Unavailable("the answer is lost")


class Server:
    """One of several, with connections of its own. Its sweeps come when the test says so."""

    def __init__(self, database: Lossy, clock: FakeClock) -> None:
        self.database = database
        self.leases = Leases(self.database, clock)
        self.quota = Quota(clock, self.leases)

    async def take(self, limits: Limits, tokens: int = 1, subject: str = "k") -> Charge:
        return await self.quota.admit((Share(subject, f"the key {subject!r}", limits),), Amount(tokens))

    async def take_all(self, limits: Limits, tokens: int = 1) -> int:
        """Until it is refused; how many requests that are."""
        for count in range(10_000):
            try:
                await self.take(limits, tokens)
            except (RateLimited, BudgetSpent):
                return count
        raise AssertionError("no limit")

    async def rows(self, subject: str | None = None, start: int = 0) -> dict[tuple[str, str], tuple[int, int]]:
        query = select(allowances).where(allowances.c.start >= start).order_by(allowances.c.start)
        async with self.database.read() as connection:
            rows = await connection.execute(query if subject is None else query.where(allowances.c.subject == subject))
            return {(row.what, row.period): (row.used, row.held + row.held_before) for row in rows}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(MIDNIGHT)


@pytest.fixture
async def url(postgres_server: Postgres, tmp_path: Path) -> str:
    url = postgres_server.url()
    database = await Database.open(tmp_path, url)
    await database.close()
    return url


@pytest.fixture
async def servers(url: str, clock: FakeClock) -> AsyncIterator[list[Server]]:
    servers = [Server(Lossy.at(url), clock) for _ in range(3)]
    yield servers
    for server in servers:
        await server.database.close()


async def sweep(servers: list[Server], clock: FakeClock) -> None:
    """Twice: what was used since the last one is kept until the next."""
    for _ in range(2):
        clock.advance(0.25)
        for server in servers:
            await server.leases.sweep()


async def test_64_clients_of_three_servers_get_exactly_the_limit(servers: list[Server], clock: FakeClock) -> None:
    limits, admitted = Limits(tokens_per_minute=1003), []

    async def client(number: int) -> None:
        with contextlib.suppress(RateLimited):
            while True:
                await servers[number % 3].take(limits)
                admitted.append(number)
                await asyncio.sleep(0)

    await asyncio.gather(*map(client, range(64)))
    assert 1003 - 10 <= len(admitted) <= 1003  # what one server has left when another is refused
    await sweep(servers, clock)
    await asyncio.gather(*map(client, range(64)))
    assert len(admitted) == 1003
    clock.advance(60)
    await asyncio.gather(*map(client, range(64)))
    assert 2006 - 10 <= len(admitted) <= 2006


async def test_requests_are_spread_over_the_seconds_of_all_servers(servers: list[Server], clock: FakeClock) -> None:
    limits = Limits(requests_per_minute=600)  # ten a second
    for second in range(1, 25):
        counts = [await server.take_all(limits) for server in servers]
        assert sum(counts) == 10, second
        await sweep(servers, clock)
        clock.advance(0.5)


async def test_what_suffices_is_not_asked_for(servers: list[Server]) -> None:
    server, limits = servers[0], Limits(tokens_per_minute=1_000_000, tokens_per_day=10**9)
    for _ in range(624):
        await server.take(limits, 100)
    assert server.database.num_used == 1  # a sixteenth of a million is 62,500
    with pytest.raises(StopIteration):
        server.take(limits, 100).send(None)
    assert await server.take_all(limits, 100) == 10_000 - 625
    assert server.database.num_used < 125  # for 10,000 requests


async def test_those_who_wait_are_answered_together(servers: list[Server]) -> None:
    limits = Limits(tokens_per_minute=64 * 100)
    charges = await asyncio.gather(*(servers[0].take(limits, 100) for _ in range(64)))
    assert len(charges) == 64
    assert servers[0].database.num_used <= 2
    for _ in range(50):
        with pytest.raises(RateLimited):
            await servers[0].take(limits)
    assert servers[0].database.num_used <= 3  # nor do those that are refused ask one by one


async def test_who_leaves_while_waiting_takes_nothing_along(servers: list[Server]) -> None:
    limits = Limits(tokens_per_minute=300)
    leaving, staying = (asyncio.create_task(servers[0].take(limits, 100)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await servers[0].leases.sweep()
    await servers[0].leases.sweep()
    assert await servers[1].take_all(limits, 100) == 2


async def test_what_was_used_is_said_and_the_rest_given_back(servers: list[Server], clock: FakeClock) -> None:
    limits = Limits(tokens_per_minute=1000, tokens_per_day=2000)
    first, second = servers[:2]
    charges = [await first.take(limits, 200) for _ in range(3)]
    first.quota.settle(charges[0], Amount(50))
    first.quota.settle(charges[1], Amount(500))
    await sweep(servers, clock)
    assert await first.rows() == {("tokens", "minute"): (550, 200), ("tokens", "day"): (550, 200)}
    assert await second.take_all(limits, 250) == 1
    first.quota.settle(charges[2], Amount(0))
    await sweep(servers, clock)
    assert await second.take_all(limits, 100) == 2
    assert second.quota.rate((Share("k", "k", limits),)).tokens.remaining == 0
    clock.advance(60)
    assert await first.take_all(limits, 90) == 11
    await sweep(servers, clock)  # or the leases for what runs would end
    clock.advance(60)
    with pytest.raises(BudgetSpent, match="10 left of its budget of 2,000 tokens a day"):
        await first.take(limits, 11)


async def test_a_request_larger_than_the_limit_needs_the_whole_window(servers: list[Server], clock: FakeClock) -> None:
    limits, (first, second, _) = Limits(tokens_per_minute=100), servers
    await first.take(limits, 5000)
    with pytest.raises(RateLimited):
        await second.take(limits)
    clock.advance(60)
    await second.take(limits)
    with pytest.raises(RateLimited):
        await first.take(limits, 5000)
    with pytest.raises(RateLimited):
        await first.take(Limits(tokens_per_minute=0), subject="other")


async def test_a_dead_server_s_lease_is_lost_for_the_minute_only(servers: list[Server], clock: FakeClock) -> None:
    limits, (dead, alive, _) = Limits(tokens_per_minute=1600), servers
    await dead.take(limits)  # and has leased 100
    assert await alive.take_all(limits) == 1500
    clock.advance(60)
    assert await alive.take_all(limits) == 1600


async def test_a_dead_server_s_budget_comes_back_and_the_ledger_says_what_it_used(
    servers: list[Server], clock: FakeClock
) -> None:
    limits, (dead, alive, again) = Limits(tokens_per_day=1600), servers
    dead.quota.settle(await dead.take(limits, 30), Amount(30))
    await dead.take(limits, 20)  # it runs when the server dies
    clock.advance(60)
    assert await alive.take_all(limits, 100) == 15  # of 1,600 the other one has leased 100
    for _ in range(2):
        clock.advance(60)
        await alive.leases.sweep()
    again.quota.restore("k", "day", 1, Amount(30))  # it has recovered its journal
    assert await again.take_all(limits) == 70
    assert await alive.take_all(limits) == 0


async def test_a_lease_that_was_not_renewed_is_not_used(servers: list[Server], clock: FakeClock) -> None:
    limits, (cut_off, alive, _) = Limits(tokens_per_day=1600), servers
    await cut_off.take(limits)
    cut_off.database.refuses = True
    clock.advance(60)
    await cut_off.take(limits, 50)  # the next term is still its own
    clock.advance(60)
    with pytest.raises(Unavailable, match="not known now") as caught:
        await cut_off.take(limits)
    assert (caught.value.code, caught.value.retry_after_s) == ("database_unavailable", 1.0)
    assert await alive.take_all(limits) == 1600  # and does not know of the 51
    cut_off.database.refuses = False
    await cut_off.leases.sweep()
    assert await cut_off.rows() == {("tokens", "day"): (0, 1651)}


async def test_an_answer_that_is_lost_costs_allowance_and_exceeds_nothing(
    servers: list[Server], clock: FakeClock
) -> None:
    limits, (first, second, _) = Limits(tokens_per_minute=1600), servers
    await first.take(limits)
    first.database.loses = True
    with pytest.raises(Unavailable):
        await first.take_all(limits)
    first.database.loses = False
    here, there = await first.take_all(limits), await second.take_all(limits)
    assert 100 + here + there <= 1600 - 93  # 15/16 of 1,600 were leased twice
    clock.advance(60)
    assert await first.take_all(limits) == 1600


async def test_a_limit_of_which_the_database_learns_late(servers: list[Server], clock: FakeClock) -> None:
    """A budget that is set at noon counts what was used since midnight, which the ledger says."""
    first, second = servers[:2]
    for server in (first, second):
        for _ in range(3):
            server.quota.settle(await server.take(Limits(), 100), Amount(100))
    for server in (first, second):
        server.quota.restore("k", "day", 6, Amount(600))
    limits = Limits(tokens_per_day=1000)
    for server in (first, second):
        await server.take(limits, 50)
    assert await second.take_all(limits, 50) + await first.take_all(limits, 50) == 6


async def test_buckets_are_told_to_the_others(servers: list[Server], clock: FakeClock) -> None:
    limits = Limits(provisioned_tokens_per_minute=600)
    first, second = servers[:2]
    charge = await first.take(limits, 900)
    await second.take(limits, 300)  # it does not know yet
    for _ in range(2):
        for server in (first, second):
            await server.leases.sweep()
    assert [server.quota.utilisation("k", limits) for server in (first, second)] == pytest.approx([2.0, 2.0], abs=1e-4)
    with pytest.raises(RateLimited) as caught:
        await second.take(limits)
    assert caught.value.retry_after_s == pytest.approx(60, abs=0.01)
    first.quota.settle(charge, Amount(600, cached=300))
    for server in (first, second):
        await server.leases.sweep()
    assert second.quota.utilisation("k", limits) == pytest.approx(1.0, abs=1e-4)
    clock.advance(30)
    for server in (first, second):
        await server.leases.sweep()
    assert second.quota.utilisation("k", limits) == pytest.approx(0.5, abs=1e-4)


async def test_it_sweeps_by_itself_and_gives_all_back_at_the_end(url: str, clock: FakeClock) -> None:
    server, limits = Server(Lossy.at(url), clock), Limits(tokens_per_minute=1600)
    async with server.leases:
        server.quota.settle(await server.take(limits, 5), Amount(5))
        while await server.rows() != {("tokens", "minute"): (5, 0)}:  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.01)
        await server.take(limits, 7)
        assert (await server.rows())["tokens", "minute"][1] > 7
    assert await server.rows() == {("tokens", "minute"): (5, 7)}
    await server.database.close()


async def test_rows_that_are_over_are_removed(servers: list[Server], clock: FakeClock) -> None:
    server = servers[0]
    await server.take(Limits(tokens_per_minute=100, tokens_per_day=100, tokens_per_month=100))
    await server.take(Limits(provisioned_tokens_per_minute=1), subject="d")
    await server.leases.sweep()
    for seconds, left in ((300, {"day", "month", "bucket"}), (5 * 86_400, {"month"}), (40 * 86_400, set())):
        clock.advance(seconds)
        server.leases._buckets.clear()
        await server.leases.sweep()
        assert {period for _, period in await server.rows()} == left
    assert not server.leases._leases


@pytest.fixture
def mortal_server() -> Iterator[Postgres]:
    """One of its own for a test that kills it: it holds little, so it is soon back."""
    with running(programs()) as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed: scripts/test says how")
        yield server


async def test_a_database_that_dies(mortal_server: Postgres, clock: FakeClock) -> None:
    """What is leased is used up, then requests are told to come back; and they are answered when it is there again."""
    server, limits = Server(Lossy.at(mortal_server.url()), clock), Limits(tokens_per_minute=1600)
    await server.database.migrate()
    await server.take(limits)
    mortal_server.kill()
    for _ in range(99):
        await server.take(limits)
    with pytest.raises(Unavailable, match="not known now"):
        await server.take(limits)
    mortal_server.start()
    assert await server.take_all(limits) == 1400  # what it had leased counts twice, for it cannot know
    clock.advance(60)
    assert await server.take_all(limits) == 1600
    await server.database.close()


async def test_a_database_that_hangs(servers: list[Server], clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    server, limits = servers[0], Limits(tokens_per_minute=1600)
    async with servers[1].database.write() as connection:
        await connection.execute(text("LOCK TABLE allowances"))
        with pytest.raises(Unavailable, match="not known now"):
            await server.take(limits)
    monkeypatch.undo()
    assert await server.take_all(limits) == 1600


PROCESS = """
import asyncio, json, random, sys, time
from mainspring.core.clock import FakeClock
from mainspring.core.errors import BudgetSpent, RateLimited
from mainspring.core.types import Limits
from mainspring.governance.allowance import Leases
from mainspring.governance.quota import Amount, Quota, Share
from mainspring.store.db import Database

class Clock(FakeClock):  # it is midnight in every process, for as long as they run
    def monotonic(self): return time.monotonic()

async def main(url, seed):
    database, clock = Database.at(url), Clock(1_700_006_400.0)
    draw, admitted, used, open_ = random.Random(seed), 0, 0, []
    share = Share("k", "the key 'k'", Limits(tokens_per_minute=20_000, requests_per_minute=3_000_000))
    budget = Share("p", "the project 'p'", Limits(tokens_per_day=50_000))
    async with Leases(database, clock) as leases:
        quota = Quota(clock, leases)
        async def client():
            nonlocal admitted, used
            refused = 0
            while refused < 20:
                try:
                    charge = await quota.admit((share, budget), Amount(draw.randint(1, 20) if refused < 5 else 1))
                except RateLimited:
                    refused += 1
                    await asyncio.sleep(0.05)
                else:
                    refused = 0
                    await asyncio.sleep(draw.random() * 0.002)
                    really = draw.randint(0, charge.amount.tokens) if draw.random() < 0.1 else charge.amount.tokens
                    quota.settle(charge, Amount(really))
                    admitted += 1
                    used += really
        await asyncio.gather(*(client() for _ in range(64)))
    await database.close()
    print(json.dumps([admitted, used]))

print("ready", flush=True)
sys.stdin.readline()  # all begin together
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def test_three_processes_of_64_clients_use_the_limit_to_the_last_token(url: str) -> None:
    pipe = asyncio.subprocess.PIPE
    async with asyncio.timeout(120):
        processes = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, url, str(seed), stdin=pipe, stdout=pipe)
            for seed in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    said = [json.loads(answer) for answer, _ in answers]
    assert all(admitted > 0 for admitted, _ in said)
    assert sum(used for _, used in said) == 20_000
    database = Database.at(url)
    async with database.read() as connection:
        rows = await connection.execute(select(allowances).where(allowances.c.what == "tokens"))
        assert {(row.subject, row.used, row.held + row.held_before) for row in rows} == {
            ("k", 20_000, 0),
            ("p", 20_000, 0),
        }
    await database.close()


MOST = {"minute": 300, "day": 1500}


class Cluster(RuleBasedStateMachine):
    """Two servers that are asked, swept, killed, started again, cut off and lied to. No minute ever holds more than its
    limit, but for what requests used beyond their estimates. Nor does a day, but for that and for what a server had
    used of it and not said before it was killed or cut off."""

    databases: tuple[Lossy, Lossy]
    loop: asyncio.AbstractEventLoop

    @initialize()
    def open(self) -> None:
        self.clock = FakeClock(MIDNIGHT)
        self.subject = f"k{next(NUMBERS)}"
        self.limits = Limits(tokens_per_minute=MOST["minute"], tokens_per_day=MOST["day"])
        for database in self.databases:
            database.refuses = database.loses = False
        self.servers = [Server(database, self.clock) for database in self.databases]
        self.running: list[list[tuple[Charge, dict[str, int]]]] = [[], []]
        self.used = {period: [start_of(period, MIDNIGHT), 0] for period in MOST}
        self.unsaid, self.is_faulty, self.expired = 0, False, set()
        self.beyond = dict.fromkeys(MOST, 0)

    def window(self, period: str) -> list[int]:
        """When it started, and what was used of it: of what runs, what is estimated."""
        if self.used[period][0] != (start := start_of(period, self.clock.now())):
            self.used[period], self.beyond[period] = [start, 0], 0
        return self.used[period]

    @rule(who=st.integers(0, 1), tokens=st.integers(1, 120))
    def admit(self, who: int, tokens: int) -> None:
        try:
            charge = self.loop.run_until_complete(self.servers[who].take(self.limits, tokens, self.subject))
        except (RateLimited, BudgetSpent, Unavailable):
            return
        starts = {}
        for period, most in MOST.items():
            window = self.window(period)
            window[1] += tokens
            starts[period] = window[0]
            assert window[1] <= most + self.beyond[period] + (self.unsaid if period == "day" else 0)
        self.running[who].append((charge, starts))

    @rule(who=st.integers(0, 1), at=st.integers(0, 20), tokens=st.integers(0, 120))
    def settle(self, who: int, at: int, tokens: int) -> None:
        if not self.running[who]:
            return
        charge, starts = self.running[who].pop(at % len(self.running[who]))
        self.servers[who].quota.settle(charge, Amount(tokens))
        for period, start in starts.items():
            window, more = self.window(period), tokens - charge.amount.tokens
            window[1] += more if window[0] == start else max(more, 0)
            self.beyond[period] += max(more, 0)

    @rule(who=st.integers(0, 1))
    def sweep(self, who: int) -> None:
        with contextlib.suppress(Unavailable):
            self.loop.run_until_complete(self.servers[who].leases.sweep())

    @rule(who=st.integers(0, 1), refuses=st.booleans(), loses=st.booleans())
    def cut(self, who: int, refuses: bool, loses: bool) -> None:
        database = self.servers[who].database
        database.refuses, database.loses = refuses, loses
        self.is_faulty |= refuses or loses

    @rule(who=st.integers(0, 1), is_recovered=st.booleans())
    def kill(self, who: int, is_recovered: bool) -> None:
        """What ran stays charged here, as if it had been interrupted at its estimate."""
        self.is_faulty = True
        self.forget(self.servers[who])
        self.running[who] = []
        self.servers[who] = Server(self.databases[who], self.clock)
        if is_recovered:
            self.restore(who)

    def forget(self, server: Server) -> None:
        for tally, lease in server.leases._leases.items():
            if tally.period == "day":
                self.unsaid += max(tally.used - lease.said, 0)

    @rule(who=st.integers(0, 1))
    def restore(self, who: int) -> None:
        """The ledger knows all that has ended."""
        start, used = self.window("day")
        for charge, starts in itertools.chain(*self.running):
            used -= charge.amount.tokens if starts["day"] == start else 0
        self.is_faulty = True  # some of it will be said again
        self.servers[who].quota.restore(self.subject, "day", 0, Amount(used))

    @rule(seconds=st.sampled_from([0.1, 1, 20, 45]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for server in self.servers:
            for lease in server.leases._leases.values():
                if server.leases._term() - lease.since > 1 and (lease, lease.since) not in self.expired:
                    self.expired.add((lease, lease.since))
                    self.forget(server)

    @invariant()
    def is_whole(self) -> None:
        for server in getattr(self, "servers", ()):
            for tally, lease in server.leases._leases.items():
                assert tally.used >= tally.open >= 0
                assert lease.waiting == 0 <= lease.had

    def teardown(self) -> None:
        if not hasattr(self, "servers"):
            return
        for who, server in enumerate(self.servers):
            server.database.refuses = server.database.loses = False
            for charge, _ in list(self.running[who]):
                self.settle(who, 0, charge.amount.tokens)
            self.loop.run_until_complete(server.leases.__aexit__())
        for period in MOST:
            start, used = self.window(period)
            rows = self.loop.run_until_complete(self.servers[0].rows(self.subject, start))
            if ("tokens", period) in rows and not self.is_faulty and not self.expired:
                assert rows["tokens", period] == (used, 0)


def test_whatever_happens_no_limit_is_exceeded(postgres_server: Postgres, tmp_path: Path) -> None:
    url = postgres_server.url()
    databases = Lossy.at(url), Lossy.at(url)
    with asyncio.Runner() as runner:
        runner.run(databases[0].migrate())
        machine = type("OneCluster", (Cluster,), {"databases": databases, "loop": runner.get_loop()})
        try:
            run_state_machine_as_test(
                machine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
            )
        finally:
            for database in databases:
                runner.run(database.close())
