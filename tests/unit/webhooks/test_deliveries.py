"""Deliveries on both databases: what is announced, attempts, replays, and what is over."""

import asyncio
import collections
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.config_webhooks import WebhookSettings
from mainspring.core.errors import InvalidRequest, NotFound, Unavailable
from mainspring.store.db import Database
from mainspring.store.outbox import announce, remove_endpoints
from mainspring.store.tables import outbox, webhook_deliveries
from mainspring.webhooks import courier as module
from mainspring.webhooks import deliveries
from mainspring.webhooks.courier import Courier
from mainspring.webhooks.deliveries import BROKE_OFF, EXPIRED, GRACE_S
from mainspring.webhooks.endpoints import Endpoints
from mainspring.webhooks.sending import Outcome
from tests.unit.webhooks.installation import LEASE_S, SETTINGS, TABLES, TYPES, Installation, emptied


@pytest.fixture
async def here(tmp_path: Path, database_url: str) -> AsyncGenerator[Installation]:
    database = await Database.open(tmp_path, database_url)
    yield await emptied(database)
    await database.close()


# -- what is announced -------------------------------------------------------------------------------------------------


async def test_where_nobody_wants_to_hear_nothing_is_written(here: Installation) -> None:
    await here.endpoint("other")
    await here.happens("batch_1")
    assert await here.count(outbox) == await here.count(webhook_deliveries) == 0


async def test_an_event_is_told_with_what_it_happened_in_or_not_at_all(here: Installation) -> None:
    endpoint = await here.endpoint()

    async def fails() -> None:
        async with here.database.write() as connection:
            await announce(connection, project="p", type=TYPES[0], object="batch_1", now_s=1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert await here.count(outbox) == 0
    await here.happens("batch_2")
    assert [each.event.object for each in await here.of(endpoint)] == ["batch_2"]


async def test_every_endpoint_of_the_project_that_asked_for_the_type_is_told_once(here: Installation) -> None:
    one, two = await here.endpoint(), await here.endpoint(types=TYPES[:1])
    deaf, other = await here.endpoint(enabled=False), await here.endpoint("other")
    await here.happens("batch_1")
    await here.happens("batch_2", TYPES[1])
    while await here.step():
        pass
    assert sorted(body.count("batch_1") for _, body in here.told) == [0, 1, 1]
    assert len({message for message, _ in here.told}) == 3
    assert [len(await here.of(each)) for each in (one, two, deaf, other)] == [2, 1, 0, 0]
    assert {each.status for each in await here.of(one)} == {"delivered"}


async def test_a_project_that_goes_takes_its_webhooks_with_it(here: Installation) -> None:
    await here.endpoint()
    kept = await here.endpoint("other")
    for project in ("p", "other"):
        await here.happens("batch_1", project=project)
    await here.courier.claim()
    async with here.database.write() as connection:
        assert await remove_endpoints(connection, "p") == 1
    assert [await here.count(table) for table in TABLES] == [1, 1, 1, 1]
    assert len(await here.of(kept)) == 1


# -- attempts ----------------------------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_later_and_every_attempt_is_kept(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    here.outcomes = [Outcome(status_code=500, duration_s=0.2), Outcome(error="no answer", duration_s=15.0)]
    for wait_s in (5, 15):
        assert await here.step() == 1
        [found] = await here.of(endpoint)
        assert (found.status, found.due) == ("pending", here.clock.now() + wait_s)
        here.clock.advance(wait_s - 1)
        assert await here.step() == 0
        here.clock.advance(1)
    assert await here.step() == 1
    [found] = await here.of(endpoint)
    assert (found.status, found.finished) == ("delivered", here.clock.now())
    assert [(each.number, each.status_code, each.error) for each in found.attempts] == [
        (1, 500, None), (2, None, "no answer"), (3, 200, None),
    ]  # fmt: skip
    assert {message for message, _ in here.told} == {found.id}
    here.clock.advance(10 * 86_400)
    assert await here.step() == 0


async def test_what_fails_for_three_days_is_given_up(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    here.outcomes = [Outcome(status_code=503)] * 100
    began_s = here.clock.now()
    while (found := (await here.of(endpoint))[0]).status == "pending":
        here.clock.advance(max(found.due - here.clock.now(), 0))
        assert await here.step() == 1
    assert found.status == "failed"
    assert len(found.attempts) == 15
    assert here.clock.now() == began_s + SETTINGS.retry_s


async def test_an_endpoint_that_hangs_keeps_no_other_waiting(here: Installation) -> None:
    hanging, quick = await here.endpoint(types=TYPES[:1]), await here.endpoint(types=TYPES[1:])
    for n in range(50):
        await here.happens(f"batch_{n}")
    await here.happens("batch_x", TYPES[1])
    claimed = await here.courier.claim()
    assert collections.Counter(each.endpoint.id for each in claimed) == {
        hanging.id: SETTINGS.concurrent_per_endpoint, quick.id: 1,
    }  # fmt: skip
    assert await here.server().claim() == [], "of all servers together"
    await here.happens("batch_y", TYPES[1])
    assert [each.event.object for each in await here.server().claim()] == ["batch_y"]


async def test_what_was_claimed_is_claimed_by_nobody_else_until_the_claim_has_ended(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    [first] = await here.courier.claim()
    here.clock.advance(LEASE_S - 0.1)
    assert await here.server().claim() == []
    here.clock.advance(0.1)
    [second] = await here.server().claim()
    assert (second.id, second.number, second.attempt) == (first.id, first.number + 1, 2)
    await here.courier.note(first, Outcome(status_code=500))  # it wakes up: nobody asks it any more
    [found] = await here.of(endpoint)
    assert found.status == "pending"
    assert [each.status_code for each in found.attempts] == [500, None]
    here.clock.advance(LEASE_S - 1)
    assert await here.server().claim() == [], "the second claim holds"
    await here.courier.note(second, Outcome(status_code=200))
    assert (await here.of(endpoint))[0].status == "delivered"


async def test_an_attempt_of_which_nobody_tells_is_said_to_be_one(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    await here.courier.claim()
    here.clock.advance(LEASE_S)
    await here.step()
    [found] = await here.of(endpoint)
    assert [each.error for each in found.attempts] == [BROKE_OFF, None]


async def test_a_disabled_endpoint_is_told_when_it_is_enabled_again_unless_that_takes_too_long(
    here: Installation,
) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    await here.endpoints.update("p", endpoint.id, enabled=False)
    assert await here.step() == 0
    here.clock.advance(3600)
    await here.endpoints.update("p", endpoint.id, enabled=True)
    assert await here.step() == 1
    await here.happens("batch_2")
    await here.endpoints.update("p", endpoint.id, enabled=False)
    here.clock.advance(SETTINGS.retry_s + GRACE_S)
    await here.courier.sweep()
    await here.endpoints.update("p", endpoint.id, enabled=True)
    assert await here.step() == 0
    [found] = [each for each in await here.of(endpoint) if each.event.object == "batch_2"]
    assert (found.status, found.attempts[-1].error) == ("failed", EXPIRED)


async def test_another_installation_secret_signs_nothing(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    stranger = Endpoints(here.database, here.clock, SETTINGS, b"another")
    courier = Courier(here.database, here.clock, stranger, here._send, SETTINGS)
    await here.step(courier)
    assert here.told == []
    [found] = await here.of(endpoint)
    assert "another secret than this server's" in (found.attempts[0].error or "")


async def test_the_old_secret_signs_too_for_a_day_if_it_is_kept(here: Installation) -> None:
    made, first = await here.endpoints.create("p", name="n", url="https://example.com/", event_types=TYPES)
    kept, second = await here.endpoints.rotate("p", made.id, keep_old=True)
    assert list(here.endpoints.secrets(kept)) == [second, first]
    here.clock.advance(86_400)
    assert list(here.endpoints.secrets(kept)) == [second]
    replaced, third = await here.endpoints.rotate("p", made.id)
    assert list(here.endpoints.secrets(replaced)) == [third]
    assert len({first, second, third}) == 3


async def test_a_project_has_so_many_endpoints_and_no_more(here: Installation) -> None:
    here.endpoints = Endpoints(here.database, here.clock, WebhookSettings(endpoints_per_project=2), b"s")  # type: ignore[call-arg]
    for _ in range(2):
        await here.endpoint()
    with pytest.raises(Exception, match="the most that it may"):
        await here.endpoint()
    await here.endpoint("other")


# -- once more ---------------------------------------------------------------------------------------------------------


async def test_a_replay_has_the_same_id_and_a_time_of_its_own(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    await here.step()
    here.clock.advance(10 * 86_400)
    [delivery] = await here.of(endpoint)
    found = await here.hooks.replay("p", endpoint.id, delivery.id)
    assert (found.status, found.due, len(found.attempts)) == ("pending", here.clock.now(), 1)
    here.outcomes = [Outcome(status_code=500)]
    await here.step()
    assert (await here.of(endpoint))[0].due == here.clock.now() + 5, "its back-off begins anew"
    here.clock.advance(5)
    await here.step()
    assert (await here.of(endpoint))[0].status == "delivered"
    assert here.told == [here.told[0]] * 3


async def test_what_is_on_its_way_is_not_sent_twice_at_once_by_a_replay(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    [claimed] = await here.courier.claim()
    await here.hooks.replay("p", endpoint.id, claimed.id)
    assert await here.courier.claim() == []
    await here.courier.note(claimed, Outcome(status_code=200))
    assert (await here.of(endpoint))[0].status == "delivered"


async def test_all_since_a_time_is_told_again_also_what_an_endpoint_was_never_told(here: Installation) -> None:
    early = await here.endpoint()
    await here.happens("batch_1")
    here.clock.advance(100)
    since_s = here.clock.now()
    await here.happens("batch_2")
    await here.happens("batch_3", TYPES[1])
    late = await here.endpoint(types=TYPES[:1])
    other = await here.endpoint("other")
    await here.step()
    here.told.clear()
    assert await here.hooks.replay_since("p", late.id, since_s) == 1
    assert await here.hooks.replay_since("p", early.id, since_s) == 2
    assert await here.hooks.replay_since("p", early.id, since_s, only_undelivered=True) == 2
    assert await here.hooks.replay_since("other", other.id, 0) == 0
    while await here.step():
        pass
    assert await here.hooks.replay_since("p", early.id, since_s, only_undelivered=True) == 0
    assert sorted(body.partition('"data":{"id":"')[2][:7] for _, body in here.told) == ["batch_2", "batch_2", "batch_3"]
    assert len(await here.of(early)) == 3


async def test_too_many_events_are_not_replayed(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = await here.endpoint()
    monkeypatch.setattr(deliveries, "MAX_REPLAYED", 3)
    for n in range(4):
        await here.happens(f"batch_{n}")
    with pytest.raises(InvalidRequest) as error:
        await here.hooks.replay_since("p", endpoint.id, 0)
    assert error.value.param == "since"


async def test_what_is_another_projects_is_not_there(here: Installation) -> None:
    endpoint = await here.endpoint()
    await here.happens("batch_1")
    [delivery] = await here.of(endpoint)
    hooks, one, to = here.hooks, delivery.id, endpoint.id
    for call in (
        here.endpoints.get("other", to), here.endpoints.update("other", to, name="x"),
        here.endpoints.rotate("other", to), here.endpoints.remove("other", to), hooks.test("other", to, TYPES[0]),
        hooks.deliveries("other", to), hooks.delivery("other", to, one), hooks.replay("other", to, one),
        hooks.replay_since("other", to, 0), hooks.delivery("p", (await here.endpoint()).id, one),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await call
    assert (await here.of(endpoint))[0] == delivery


# -- what is over ------------------------------------------------------------------------------------------------------


async def test_what_has_ended_is_forgotten_after_a_while_and_what_has_not_is_kept(here: Installation) -> None:
    endpoint = await here.endpoint()
    for n in range(3):
        await here.happens(f"batch_{n}")
    await here.step()
    await here.happens("nobody asked", "response.completed")
    here.clock.advance(SETTINGS.keep_s - 1)
    await here.happens("batch_new")
    await here.courier.sweep()
    assert await here.count(outbox) == 5
    here.clock.advance(2)
    await here.courier.sweep()
    assert [each.event.object for each in await here.of(endpoint)] == ["batch_new"]
    assert [await here.count(table) for table in TABLES] == [0, 1, 1, 1]


# -- in a loop ---------------------------------------------------------------------------------------------------------


async def test_a_server_delivers_what_happens_while_it_runs_whatever_fails_meanwhile(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    endpoint = await here.endpoint()
    note, failures = deliveries.note, [Unavailable("no database")] * 2

    async def failing(*given: Any, **more: Any) -> bool:
        if failures:
            raise failures.pop()
        return await note(*given, **more)

    monkeypatch.setattr(deliveries, "note", failing)
    task = asyncio.create_task(here.courier.run())
    for n in range(40):
        await here.happens(f"batch_{n}")
    async with asyncio.timeout(120):
        while {each.status for each in await here.of(endpoint)} != {"delivered"}:  # noqa: ASYNC110 - in the database
            await asyncio.sleep(0.01)
    await here.courier.stop()
    await task
    assert len(here.told) == len({message for message, _ in here.told}) == 40
    assert failures == []


async def test_a_stop_leaves_what_is_on_its_way_to_be_sent_again(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "STOP_S", 0.01)
    endpoint, sending = await here.endpoint(), asyncio.Event()

    async def hanging(*_: Any) -> Outcome:
        sending.set()
        await asyncio.Event().wait()
        raise AssertionError

    courier = Courier(here.database, here.clock, here.endpoints, hanging, SETTINGS)
    await here.happens("batch_1")
    task = asyncio.create_task(courier.run())
    await asyncio.wait_for(sending.wait(), 20)
    await courier.stop()
    await task
    here.clock.advance(LEASE_S)
    assert await here.step() == 1
    assert (await here.of(endpoint))[0].status == "delivered"
