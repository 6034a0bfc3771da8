"""Several servers that are killed anywhere between a claim, the sending and the note of it, on random walks over both
databases: everything is told, under one id, and nothing by two at once."""

import asyncio
import collections
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.store.db import Database
from mainspring.store.tables import outbox
from mainspring.webhooks.deliveries import Claim
from mainspring.webhooks.endpoints import Endpoint
from mainspring.webhooks.sending import Outcome
from tests.unit.webhooks.installation import LEASE_S, SETTINGS, TYPES, Installation, emptied


class Model:
    """Several servers that are killed anywhere. `in_flight` is who sends what now, and until when nobody else may."""

    SERVERS = 3

    def __init__(self, here: Installation, endpoints: list[Endpoint]) -> None:
        self.here, self.endpoints = here, endpoints
        self.hands: list[list[tuple[Claim, Outcome | None]]] = [[] for _ in range(self.SERVERS)]
        self.couriers = [here.server() for _ in range(self.SERVERS)]
        self.happened: dict[str, float] = {}
        self.received: collections.defaultdict[tuple[str, str], set[str]] = collections.defaultdict(set)

    async def act(self, word: str, at: int, number: int) -> None:
        server = at % self.SERVERS
        if word == "happens":
            name = f"batch_{len(self.happened)}"
            self.happened[name] = self.here.clock.now()
            await self.here.happens(name)
        elif word == "claim":
            claimed = await self.couriers[server].claim()
            self.check_alone(claimed)
            self.hands[server] += [(each, None) for each in claimed]
        elif word == "send" and self.hands[server]:
            index = number % len(self.hands[server])
            claimed, _ = self.hands[server][index]
            if self.here.clock.now() <= claimed.until - SETTINGS.timeout_s:
                self.hands[server][index] = (claimed, self.receive(claimed, number))
        elif word == "note" and self.hands[server]:
            claimed, outcome = self.hands[server].pop(number % len(self.hands[server]))
            if outcome is not None:
                await self.couriers[server].note(claimed, outcome)
        elif word == "kill":
            self.hands[server].clear()
            self.couriers[server] = self.here.server()
        elif word == "wait":
            self.here.clock.advance((0.5, 3.0, LEASE_S / 2, LEASE_S, 600.0, 20_000.0)[number % 6])
        elif word == "toggle":
            which = self.endpoints[number % len(self.endpoints)]
            await self.here.endpoints.update("p", which.id, name=f"n{number}")
        elif word == "sweep":
            await self.couriers[server].sweep()

    def check_alone(self, claimed: list[Claim]) -> None:
        """Nobody holds what was claimed just now, and no endpoint has more than it may."""
        now_s = self.here.clock.now()
        held = [each for hand in self.hands for each, _ in hand if each.until > now_s]
        assert not {each.id for each in held} & {each.id for each in claimed}
        counts = collections.Counter(each.endpoint.id for each in (*held, *claimed))
        assert max(counts.values(), default=0) <= SETTINGS.concurrent_per_endpoint

    def receive(self, claimed: Claim, number: int) -> Outcome:
        """What the endpoint makes of it: it has it, or it has it and its answer is lost, or it fails."""
        if number % 3 == 0:
            return Outcome(status_code=500, duration_s=0.1)
        self.received[claimed.endpoint.id, claimed.event.object].add(claimed.id)
        if number % 3 == 1:
            return Outcome(error="no answer", duration_s=15.0)
        return Outcome(status_code=200, duration_s=0.1)

    async def check_end(self) -> None:
        """Once nothing is killed any more, all is delivered, or three days have passed."""
        here = self.here
        for _ in range(200):
            here.clock.advance(LEASE_S)
            for each in await here.courier.claim():
                self.received[each.endpoint.id, each.event.object].add(each.id)
                await here.courier.note(each, Outcome(status_code=200, duration_s=0.1))
            found = [each for endpoint in self.endpoints for each in await here.of(endpoint)]
            pending = [each for each in found if each.status == "pending"]
            if not pending:
                break
            here.clock.advance(max(0.0, min(each.due for each in pending) - here.clock.now()))
        assert not pending
        for endpoint in self.endpoints:
            of = {each.event.object: each for each in await here.of(endpoint)}
            assert of.keys() == self.happened.keys(), "nothing is lost, nothing doubled"
            for name, delivery in of.items():
                ids = self.received[endpoint.id, name]
                assert ids <= {delivery.id}, "one id for an event and an endpoint"
                assert ids or here.clock.now() - self.happened[name] >= SETTINGS.retry_s, "never told"
                assert [each.number for each in delivery.attempts] == list(range(1, len(delivery.attempts) + 1))
                assert all(each.duration_s is not None for each in delivery.attempts)
        assert await here.count(outbox) == len(self.happened)


WORDS = ("happens", "claim", "send", "note", "kill", "wait", "toggle", "sweep", "claim", "send", "note")
STEPS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 2), st.integers(0, 5)), min_size=30, max_size=80)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as found:
        yield found


def test_whatever_is_killed_everything_is_told_under_one_id_and_by_nobody_twice_at_once(
    tmp_path: Path, database_url: str, runner: asyncio.Runner
) -> None:
    database = runner.run(Database.open(tmp_path, database_url))

    async def example(steps: list[tuple[str, int, int]]) -> None:
        here = await emptied(database)
        model = Model(here, [await here.endpoint(types=TYPES[:1]) for _ in range(2)])
        for step in steps:
            await model.act(*step)
        await model.check_end()

    @settings(max_examples=25, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(STEPS)
    def drawn(steps: list[tuple[str, int, int]]) -> None:
        runner.run(example(steps))

    try:
        drawn()
    finally:
        runner.run(database.close())
