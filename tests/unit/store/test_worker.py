"""Work beside requests: done once, whatever breaks off, is cancelled or taken over."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mainspring.core.clock import SystemClock
from mainspring.store import worker as module
from mainspring.store.db import Database
from mainspring.store.jobs import Job, add_job, change_job, find_job
from mainspring.store.worker import MAX_ATTEMPTS, Held, Worker

KIND = "work"


@pytest.fixture(autouse=True)
def hurry(monkeypatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "BACKOFF_S", 0.0)


@pytest.fixture
async def database(tmp_path: Path, database_url: str):
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


async def put(database: Database, *names: str) -> None:
    async with database.write() as connection:
        for at, name in enumerate(names):
            await add_job(connection, Job(
                id=name, kind=KIND, project="p", creator="", priority=0, status="queued", wanted="run", spec={},
                state={}, error=None, created=float(at),
            ))  # fmt: skip


async def get(database: Database, name: str) -> Job:
    async with database.read() as connection:
        found = await find_job(connection, name)
    assert found is not None
    return found


async def finish(held: Held, **more) -> None:
    async with held.writing() as (connection, job):
        await change_job(connection, job, status="done", finished=1.0, **more)


async def give_up(held: Held, why: str) -> None:
    async with held.writing(gets_on=False) as (connection, job):
        await change_job(connection, job, status="failed", finished=1.0, error={"message": why})


def make(database: Database, work: Callable[[Held], Awaitable[None]], **more) -> Worker:
    return Worker(database, SystemClock(), KIND, ("queued",), work, give_up=give_up, **more)


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await done():  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.01)


async def run(database: Database, worker: Worker, *names: str) -> None:
    """Until the jobs have ended."""

    async def ended() -> bool:
        return all([(await get(database, name)).finished is not None for name in names])

    task = asyncio.create_task(worker.run())
    await until(ended)
    await worker.stop()
    await task


async def test_every_job_is_done_and_no_more_at_once_than_allowed(database: Database) -> None:
    names, now, most = [f"j{at}" for at in range(6)], 0, 0
    done: list[str] = []
    together = asyncio.Event()

    async def work(held: Held) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        if now == 3:
            together.set()
        await asyncio.wait_for(together.wait(), 30)
        await asyncio.sleep(0.02)
        now -= 1
        done.append(held.job.id)
        await finish(held)

    await put(database, *names)
    await run(database, make(database, work, concurrent=3), *names)
    assert sorted(done) == names
    assert most == 3
    assert [(await get(database, name)).until for name in names] == [0.0] * 6, "given back"


async def test_what_breaks_off_goes_on_and_is_given_up_if_it_never_gets_on(database: Database) -> None:
    calls: list[str] = []

    async def work(held: Held) -> None:
        calls.append(held.job.id)
        if held.job.id == "never" or calls.count("sometimes") < 3:
            raise ValueError("no")
        await finish(held)

    await put(database, "never", "sometimes")
    await run(database, make(database, work), "never", "sometimes")
    assert calls.count("never") == MAX_ATTEMPTS
    assert (await get(database, "never")).status == "failed"
    assert (await get(database, "sometimes")).status == "done"


async def test_progress_counts_attempts_anew(database: Database) -> None:
    calls = 0

    async def work(held: Held) -> None:
        nonlocal calls
        calls += 1
        async with held.writing() as (connection, job):
            await change_job(connection, job, state={"calls": calls})
        if calls < 2 * MAX_ATTEMPTS:
            raise ValueError("no")
        await finish(held)

    await put(database, "j")
    await run(database, make(database, work), "j")
    assert (await get(database, "j")).status == "done"
    assert calls == 2 * MAX_ATTEMPTS


async def test_a_server_that_stops_gives_its_jobs_back_and_another_goes_on(database: Database) -> None:
    started, ends = asyncio.Event(), [False]

    async def work(held: Held) -> None:
        started.set()
        if not ends[0]:
            await asyncio.Event().wait()
        await finish(held)

    await put(database, "j")
    worker = make(database, work)
    task = asyncio.create_task(worker.run())
    await started.wait()
    await worker.stop()
    await task
    left = await get(database, "j")
    assert (left.until, left.attempts, left.status) == (0.0, 0, "queued"), "given back, and the attempt does not count"
    ends[0] = True
    await run(database, make(database, work), "j")
    assert (await get(database, "j")).status == "done"


async def test_who_has_lost_the_lease_is_ended_and_writes_nothing(database: Database) -> None:
    started, over = asyncio.Event(), asyncio.Event()

    async def work(held: Held) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    await put(database, "j")
    worker = make(database, work)
    task = asyncio.create_task(worker.run())
    await started.wait()
    async with database.write() as connection:  # its lease has ended while it was not looking, and another has it now
        job = await find_job(connection, "j")
        assert job is not None
        await change_job(connection, job, owner="thief", until=SystemClock().now() + 60)
    async with asyncio.timeout(5):
        await over.wait()
    await worker.stop()
    await task
    found = await get(database, "j")
    assert found.owner == "thief"
    assert found.until > 1


async def test_a_wish_reaches_the_work_within_a_look(database: Database) -> None:
    async def work(held: Held) -> None:
        await held.poked.wait()
        await finish(held, state={"wanted": held.wanted})

    await put(database, "j")
    worker = make(database, work)
    task = asyncio.create_task(worker.run())

    async def held() -> bool:
        return (await get(database, "j")).until > 0

    await until(held)
    async with database.write() as connection:
        await change_job(connection, await find_job(connection, "j"), wanted="cancel")  # type: ignore[arg-type]

    async def ended() -> bool:
        return (await get(database, "j")).finished is not None

    await until(ended)
    assert (await get(database, "j")).state == {"wanted": "cancel"}
    await worker.stop()
    await task
