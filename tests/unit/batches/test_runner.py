"""The job: every request once in a file, whatever breaks off; its statuses, its end, its limits. On both databases."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from mainspring.batches import answer as answer_module
from mainspring.batches import run as run_module
from mainspring.batches import runner as runner_module
from mainspring.batches.batches import Wish
from mainspring.batches.spec import State, state_of
from mainspring.core.errors import Conflict, InvalidRequest, NotFound, RateLimited, StorageFull, Unavailable
from mainspring.core.seams import Answered
from mainspring.store import worker as worker_module
from mainspring.store.db import Database
from mainspring.store.files import remove_all
from mainspring.store.jobs import Job, cancel_all
from mainspring.store.leases import Leases
from mainspring.store.tables import batch_requests, files, jobs, outbox
from tests.hearing import listen
from tests.unit.batches.installation import WHO, House, line


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LOOK_S", 0.02)
    monkeypatch.setattr(worker_module, "BACKOFF_S", 0.0)
    monkeypatch.setattr(run_module, "SAVE_S", 0.02)
    monkeypatch.setattr(runner_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(answer_module, "FIRST_FAILURE_S", 0.01)


@pytest.fixture
async def database(tmp_path: Path, database_url: str) -> AsyncGenerator[Database]:
    opened = await Database.open(tmp_path, database_url)
    await listen(opened, "p")
    yield opened
    await opened.close()


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


def some(count: int) -> list[dict[str, Any]]:
    return [line(f"r{at}") for at in range(count)]


async def outcome(house: House, job: Job) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """How it ended, and its lines by custom_id: exactly one for each request, in one of the files."""
    state = state_of(job)
    done, failed = await house.lines(state.output_file), await house.lines(state.error_file)
    names = [each["custom_id"] for each in (*done, *failed)]
    assert len(names) == len(set(names)) == state.total
    assert (len(done), len(failed)) == (state.completed, state.failed)
    made, _ = await house.files.list("p", purpose="batch_output")
    assert {each.id for each in made} == {state.output_file, state.error_file} - {None}, "and in no other"
    return state, {each["custom_id"]: each for each in done}, {each["custom_id"]: each for each in failed}


async def is_clean(house: House) -> bool:
    """Nothing is left but what belongs to somebody."""
    async with house.database.read() as connection:
        left = await connection.execute(select(func.count()).select_from(batch_requests))
        held = await connection.execute(select(func.count()).select_from(files).where(files.c.project == ""))
        return not left.scalar_one() and not held.scalar_one()


async def until_clean(house: House) -> None:
    async with asyncio.timeout(10):
        while not await is_clean(house):  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.01)


async def told(house: House) -> list[tuple[str, str]]:
    async with house.database.read() as connection:
        rows = await connection.execute(select(outbox.c.type, outbox.c.object).order_by(outbox.c.created))
        return [(row.type, row.object) for row in rows]


async def test_item_51_every_custom_id_is_in_one_file_once(house: House) -> None:
    async def answer(body: dict[str, Any]) -> Answered:
        if body["messages"] in ("r3", "r40"):
            return Answered(400, b'{"error":{"message":"no"}}', "bad")
        return await house.api.usual(body)

    house.api.answer = answer
    job = await house.create(*some(150), metadata={"a": "b"})
    assert (job.status, state_of(job).total) == ("validating", 0)
    async with house.working():
        job = await house.until(job)
        assert job.status == "completed"
        state, done, failed = await outcome(house, job)
        await until_clean(house)
    assert set(failed) == {"r3", "r40"}
    assert failed["r3"]["response"] == {
        "status_code": 400, "request_id": "bad", "body": {"error": {"message": "no"}},
    }  # fmt: skip
    assert done["r7"]["response"]["body"]["said"] == "r7"
    assert list(done) == [f"r{at}" for at in range(150) if at not in (3, 40)], "in the order of the file"
    assert (state.tokens.input, state.tokens.output) == (148 * 3, 148 * 2)
    assert list(state.times) == ["validating", "in_progress", "finalizing", "completed"]
    assert sorted(house.api.made) == sorted(f"r{at}" for at in range(150))
    assert house.api.most == 16, "a quarter of the places"
    assert await told(house) == [("batch.completed", job.id)]


async def test_what_begins_alike_is_asked_together(house: House) -> None:
    house.models.places_ = 4
    job = await house.create(*(line(f"r{at}", f"{'xyz'[at % 3] * 600}{at}") for at in range(30)))
    async with house.working():
        await house.until(job)
    order = [each[0] for each in house.api.made]
    assert sum(one != other for one, other in itertools.pairwise(order)) == 2


async def test_a_refusal_is_no_result_until_the_time_is_over(house: House) -> None:
    refusals = {"r1": [429, 503, 429, 429], "r2": [500, 500], "r3": [500] * 9}
    seen: dict[str, int] = {}

    async def answer(body: dict[str, Any]) -> Answered:
        name = body["messages"]
        seen[name] = seen.get(name, 0) + 1
        if refusals.get(name):
            return Answered(refusals[name].pop(0), b'{"error":{"code":"x"}}', "r", 0.01)
        return await house.api.usual(body)

    house.api.answer = answer
    job = await house.create(*some(5))
    async with house.working():
        job = await house.until(job)
    _, done, failed = await outcome(house, job)
    assert set(failed) == {"r3"}
    assert failed["r3"]["response"]["status_code"] == 500
    assert (seen["r1"], seen["r2"], seen["r3"]) == (5, 3, 4)
    assert len(done) == 4
    assert len(set(house.api.ids)) == 5, "however often it is made, a request has one id"


async def test_what_is_not_done_in_time_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "STANDING_S", 0.02)

    async def answer(body: dict[str, Any]) -> Answered:
        if int(body["messages"][1:]) % 2:
            return Answered(429, b"{}", "r", 0.02)
        return await house.api.usual(body)

    house.api.answer = answer
    house.clock.ahead_s = -100.0  # the leases last longer than that
    house.settings = house.settings.model_copy(update={"window_s": 50.0})
    house.batches = house.make_batches()
    job = await house.create(*some(20))
    async with house.working():
        async with asyncio.timeout(20):
            while state_of(await house.batches.get("p", job.id)).completed < 10:  # noqa: ASYNC110 - in the database
                await asyncio.sleep(0.01)
        house.clock.ahead_s = 0.0
        job = await house.until(job)
    assert job.status == "expired"
    state, done, failed = await outcome(house, job)
    assert (len(done), len(failed)) == (10, 10)
    assert {each["error"]["code"] for each in failed.values()} == {"batch_expired"}
    assert [each["response"] for each in failed.values()] == [None] * 10
    assert "expired" in state.times
    assert await told(house) == [("batch.expired", job.id)]


async def test_one_that_waited_for_its_turn_too_long_expires_too(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path, window_s=0.5, concurrent=1)

    async def never(_: dict[str, Any]) -> Answered:
        await asyncio.sleep(60)
        raise AssertionError

    house.api.answer = never
    jobs = [await house.create(*some(3)) for _ in range(3)]
    async with house.working():
        ended = [await house.until(job) for job in jobs]
    assert [job.status for job in ended] == ["expired"] * 3


async def test_cancelled_it_keeps_what_is_done(house: House) -> None:
    hanging = asyncio.Event()

    async def answer(body: dict[str, Any]) -> Answered:
        if int(body["messages"][1:]) >= 5:
            hanging.set()
            await asyncio.sleep(60)
        return await house.api.usual(body)

    house.api.answer = answer
    house.models.places_ = 4
    job = await house.create(*some(20))
    async with house.working():
        await hanging.wait()
        assert (await house.batches.cancel("p", job.id)).status == "cancelling"
        job = await house.until(job)
        assert job.status == "cancelled"
        assert house.api.running == 0
        state, done, failed = await outcome(house, job)
        await until_clean(house)
    assert state.total == 20
    assert done.keys() < {f"r{at}" for at in range(20)}
    assert {each["error"]["code"] for each in failed.values()} == {"batch_cancelled"}
    assert (await house.batches.cancel("p", job.id)).status == "cancelled", "again is the same"
    assert await told(house) == [("batch.cancelled", job.id)]


async def test_cancelled_before_anybody_looked_it_is_over_at_once(house: House) -> None:
    job = await house.create(*some(3))
    ended = await house.batches.cancel("p", job.id)
    assert (ended.status, ended.finished is not None) == ("cancelled", True)
    assert await is_clean(house)
    assert await told(house) == [("batch.cancelled", job.id)]


async def test_a_revoked_keys_batch_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "STANDING_S", 0.02)

    async def answer(body: dict[str, Any]) -> Answered:
        house.standing = False
        await asyncio.sleep(60)
        raise AssertionError

    house.api.answer = answer
    job = await house.create(*some(3))
    async with house.working():
        job = await house.until(job)
    assert job.status == "cancelled"
    assert state_of(job).faults[0].code == "invalid_api_key"


async def test_a_deleted_project_leaves_nothing(house: House) -> None:
    began = asyncio.Event()

    async def answer(_: dict[str, Any]) -> Answered:
        began.set()
        await asyncio.sleep(60)
        raise AssertionError

    house.api.answer = answer
    job = await house.create(*some(3))
    async with house.working():
        await began.wait()
        async with house.database.write() as connection:
            await remove_all(connection, "p")
            await cancel_all(connection, "p", house.clock.now())
        async with asyncio.timeout(10):
            while house.api.running:  # noqa: ASYNC110 - a number
                await asyncio.sleep(0.01)
        await house.runner.sweep()
        await until_clean(house)
    assert (await house.batches.get("p", job.id)).status == "cancelled"
    assert (await house.files.list("p"))[0] == []


async def test_a_wrong_file_fails_with_codes_and_lines(house: House) -> None:
    job = await house.create(line("a"), line("a"), line("b", url=1) | {"url": "/v1/embeddings"})
    async with house.working():
        job = await house.until(job)
        await until_clean(house)
    assert job.status == "failed"
    found = [(each.code, each.line) for each in state_of(job).faults]
    assert found == [("duplicate_custom_id", 2), ("url_mismatch", 3)]
    assert await told(house) == [("batch.failed", job.id)]
    assert not house.api.made


async def test_a_deployment_takes_so_many_tokens(house: House) -> None:
    async def never(_: dict[str, Any]) -> Answered:
        await asyncio.sleep(60)
        raise AssertionError

    house.api.answer, house.most = never, 100
    first = await house.create(line("a", "x" * 200))
    async with house.working():
        await house.until(first, "in_progress")
        second = await house.until(await house.create(line("b", "x" * 200)))
        assert second.status == "failed"
        assert state_of(second).faults[0].code == "token_limit_exceeded"
        await house.batches.cancel("p", first.id)
        await house.until(first)
        third = await house.create(line("c", "x" * 200))
        await house.until(third, "in_progress")
        await house.batches.cancel("p", third.id)
        await house.until(third)


async def test_the_input_may_be_deleted_meanwhile(house: House) -> None:
    job = await house.create(*some(30))
    [file] = [each.id for each in (await house.files.list("p"))[0]]
    await house.files.remove("p", file)
    await house.files.sweep()
    async with house.working():
        job = await house.until(job)
        await until_clean(house)
    _, done, _ = await outcome(house, job)
    assert len(done) == 30


async def test_what_breaks_off_anywhere_goes_on_and_doubles_nothing(house: House, monkeypatch: Any) -> None:
    """Every step fails once and is cancelled once, at every place where it waits."""
    broken: set[str] = set()

    async def answer(body: dict[str, Any]) -> Answered:
        if body["messages"] in ("r17", "r60") and body["messages"] not in broken:
            broken.add(body["messages"])
            raise RuntimeError("a bug")
        return await house.api.usual(body)

    house.api.answer = answer
    create = house.files.create

    async def failing(**more: Any) -> Any:
        made = await create(**more)
        if more["purpose"] == "batch_output" and more["filename"] not in broken:  # it is there, and nobody was told
            broken.add(more["filename"])
            raise StorageFull("full") if "output" in more["filename"] else RuntimeError("killed")
        return made

    monkeypatch.setattr(house.files, "create", failing)
    lines = [*some(100), line("bad", 7)]  # type: ignore[arg-type]
    job = await house.create(*lines)
    async with house.working():
        job = await house.until(job)
    assert job.status == "completed"
    _, done, _ = await outcome(house, job)
    assert set(done) == {*(f"r{at}" for at in range(100)), "bad"}


@pytest.mark.parametrize("same", [False, True])
async def test_who_takes_over_goes_on_and_the_first_writes_nothing_more(house: House, same: bool) -> None:
    """The lease is lost, and somebody has it: another server, or the same one, which may still be breaking off."""
    stuck = asyncio.Event()

    async def first(body: dict[str, Any]) -> Answered:
        if len(house.api.made) > 20:
            stuck.set()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.1)  # it takes a while to be broken off
        return await house.api.usual(body)

    house.api.answer = first
    job = await house.create(*some(60))
    async with house.working() as task:
        await stuck.wait()
        await asyncio.sleep(0.1)
        house.api.answer = house.api.usual
        other = house.make_runner()
        if not same:
            house.api.flying.clear()  # each server has an engine of its own
        async with house.database.write() as connection:
            await connection.execute(jobs.update().values(until=house.clock.now() - 1))
            found = await Leases(house.database, house.clock, 1.0).look_in(connection, "batch", ("in_progress",))
            await connection.execute(jobs.update().values(lease=found[0][0].lease + 1))  # somebody had it meanwhile
        async with contextlib.nullcontext() if same else house.working(other):
            job = await house.until(job)
        assert job.status == "completed"
        _, done, _ = await outcome(house, job)
        assert len(done) == 60
        assert not task.done()


async def test_a_database_that_is_away_for_a_while_loses_nothing(house: House, monkeypatch: Any) -> None:
    put, failures = run_module.rows.put, [0]

    async def sometimes(*arguments: Any) -> None:
        failures[0] += 1
        if failures[0] <= 3:
            raise Unavailable("away")
        await put(*arguments)

    monkeypatch.setattr(run_module.rows, "put", sometimes)
    job = await house.create(*some(40))
    async with house.working():
        job = await house.until(job)
    _, done, _ = await outcome(house, job)
    assert len(done) == len(house.api.made) == 40


async def test_one_that_never_gets_on_fails_and_keeps_what_it_has(house: House) -> None:
    async def answer(body: dict[str, Any]) -> Answered:
        if body["messages"] == "r9":
            await asyncio.sleep(0.1)  # the others are written down by then
            raise RuntimeError("a bug")
        return await house.api.usual(body)

    house.api.answer = answer
    job = await house.create(*some(10))
    async with house.working():
        job = await house.until(job)
    assert job.status == "failed"
    state, done, failed = await outcome(house, job)
    assert state.faults[0].code == "server_error"
    assert len(done) == 9
    assert failed["r9"]["error"]["code"] == "batch_failed"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/images/generations"}, "endpoint"), ({"endpoint": "/v1/responses"}, "endpoint"),
        ({"completion_window": "48h"}, "completion_window"), ({"input_file_id": "file-none"}, "input_file_id"),
    ],
)  # fmt: skip
async def test_what_cannot_be_made(house: House, change: dict[str, str], param: str) -> None:
    fields = {
        "input_file_id": await house.upload(some(1)), "endpoint": "/chat/completions", "completion_window": "24h",
        **change,
    }  # fmt: skip
    with pytest.raises(InvalidRequest) as caught:
        await house.batches.create(Wish(**fields), project="p", principal=WHO, dialect="openai")
    assert caught.value.param == param
    with pytest.raises(InvalidRequest):  # another project's file
        await house.batches.create(Wish(**{**fields, **change}), project="q", principal=WHO, dialect="openai")


async def test_whose_they_are_and_how_many(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path, per_project=2, concurrent=0)
    jobs = [await house.create(*some(1)) for _ in range(2)]
    with pytest.raises(RateLimited):
        await house.create(*some(1))
    for act in (house.batches.get, house.batches.cancel):
        with pytest.raises(NotFound):
            await act("q", jobs[0].id)
    assert await house.batches.list("q") == ([], False)
    found, more = await house.batches.list("p", limit=1)
    assert ([job.id for job in found], more) == ([jobs[1].id], True)
    found, more = await house.batches.list("p", after=jobs[1].id)
    assert ([job.id for job in found], more) == ([jobs[0].id], False)
    with pytest.raises(InvalidRequest):
        await house.batches.list("q", after=jobs[0].id)


async def test_what_has_ended_cannot_be_cancelled(house: House) -> None:
    job = await house.create(*some(1))
    async with house.working():
        await house.until(job)
    with pytest.raises(Conflict, match="status 'completed'"):
        await house.batches.cancel("p", job.id)
    assert json.dumps(await house.lines(state_of(await house.batches.get("p", job.id)).output_file))
