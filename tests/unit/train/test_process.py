"""Jobs in real processes that train with the fake: what is told, what comes out, and that no kill changes either."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import psutil
import pytest

from mainspring.core import log
from mainspring.store.jobs import metric_events
from tests.unit.train.installation import WAIT_S, Installation, installation


@pytest.fixture(autouse=True)
def _quiet() -> None:
    log.configure("error", terminal=False)


def steps(installed_events) -> list[int]:
    return [event.data["step"] for event in installed_events if event.type == "metrics"]


def processes(installed: Installation) -> list[int]:
    return [process.pid for process in installed.runner.processes]


async def test_a_job_from_its_creation_to_its_model(tmp_path: Path, database_url: str) -> None:
    async with installation(tmp_path, database_url) as installed, installed.running():
        job = await installed.create(suffix="My Tune")
        assert job.status == "validating_files"
        done = await installed.until(job)
        name = f"ft:tiny:p:my-tune:{job.id[6:14]}"
        assert (done.status, done.error, done.wanted) == ("succeeded", None, "run")
        assert done.state["fine_tuned_model"] == name
        assert done.state["trained_tokens"] > 0
        assert done.state["chosen"]["n_epochs"] == 3
        events = await installed.events(job)
        assert await installed.said(job) == [
            f"Created fine-tuning job: {job.id}",
            f"Validating training file: {job.spec['training']['id']}",
            "Files validated, moving job to queued state",
            "Fine-tuning job started",
            "Chose 2 examples a batch: there are 12",
            "Epoch 1 of 3 done", "Checkpoint created at step 6",
            "Epoch 2 of 3 done", "Checkpoint created at step 12",
            "Checkpoint created at step 18",
            f"New fine-tuned model created: {name}",
            "The job has successfully completed",
        ]  # fmt: skip
        assert steps(events) == list(range(1, 19))
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert "training loss=" in next(event.message for event in events if event.type == "metrics")
        made = await installed.checkpoints(job)
        assert [each.name for each in made] == [f"{name}:ckpt-step-6", f"{name}:ckpt-step-12", name]
        [file_id] = done.state["result_files"]
        file = await installed.files.get("p", file_id)
        assert (file.purpose, file.filename) == ("fine-tune-results", "results.csv")
        rows = b"".join([piece async for piece in installed.files.open(file)]).decode().splitlines()
        assert rows[0].startswith("step,train_loss,train_accuracy,train_mean_token_accuracy,valid_loss")
        assert [row.split(",")[0] for row in rows[1:]] == [str(n) for n in range(1, 19)]
        await installed.until_free(job)
    assert not installed.runner.processes
    left = {path.name for path in installed.folder(job).iterdir()}
    assert left == {"lock", "told.jsonl", "tensorboard"}, "an ended job keeps what it told, and nothing else"
    assert list((installed.folder(job) / "tensorboard").glob("events.out.tfevents.*"))


async def reference(tmp_path: Path) -> dict[str, bytes]:
    """What an uninterrupted run of the same data and seed comes to."""
    home = tmp_path / "reference"
    home.mkdir()
    async with installation(home) as installed, installed.running():
        job = await installed.create("!every 4 !slow 0.03")
        assert (await installed.until(job)).status == "succeeded"
        return installed.result(job)


async def check_whole(installed: Installation, job, expected: dict[str, bytes]) -> None:
    """It came to the same end, and nothing is missing or doubled."""
    assert installed.result(job) == expected
    events = await installed.events(job)
    assert sorted(steps(events)) == list(range(1, 19))
    said = [event.message for event in events if event.type == "message" and event.level == "info"]
    for each in ("Fine-tuning job started", "Epoch 1 of 3 done", "The job has successfully completed"):
        assert said.count(each) == 1
    assert [each.step for each in await installed.checkpoints(job)] == [6, 12, 18]
    async with installed.database.read() as connection:
        assert len(await metric_events(connection, job.id)) == 18
    files, _ = await installed.files.list("p", purpose="fine-tune-results")
    assert len(files) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_kill_9_of_the_process_at_random_moments(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.train.runner.backoff_s", lambda _: 0.0)
    monkeypatch.setattr("mainspring.train.runner.MAX_ATTEMPTS", 99)  # a kill may come before the first step
    expected, draw = await reference(tmp_path), random.Random(seed)
    async with installation(tmp_path) as installed, installed.running():
        job = await installed.create("!every 4 !slow 0.03")
        await installed.until(job, "running")
        for _ in range(4):
            await asyncio.sleep(draw.uniform(0.3, 1.2))
            for pid in processes(installed):
                os.kill(pid, signal.SIGKILL)
        assert (await installed.until(job)).status == "succeeded"
        await check_whole(installed, job, expected)


async def test_kill_9_of_everything_and_another_server_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gives the job back: its lease must end first."""
    expected = await reference(tmp_path)
    async with installation(tmp_path, lease_s=3.0) as installed:
        job = await installed.create("!every 4 !slow 0.1")
        async with contextlib.AsyncExitStack() as stack:
            runner = await stack.enter_async_context(installed.running())
            await installed.until(job, "running", step=5)
            monkeypatch.setattr(runner, "_broke_off", lambda *_: asyncio.sleep(0))  # the server is gone too
            for process in runner.processes:
                process.kill()
        assert (await installed.jobs.get("p", job.id)).until > 0
        async with installed.running(installed.make_runner()):
            done = await installed.until(job)
        assert done.status == "succeeded"
        await check_whole(installed, job, expected)


@pytest.mark.parametrize("seed", range(2))
async def test_kill_9_of_the_server_at_random_moments(tmp_path: Path, database_url: str, seed: int) -> None:
    """Its jobs see that their standard input has ended; sometimes they are killed with it."""
    expected, draw = await reference(tmp_path), random.Random(seed)
    async with installation(tmp_path, database_url, lease_s=3.0) as installed:
        job = await installed.create("!every 4 !slow 0.2")
        command = (sys.executable, "-m", "tests.unit.train.server", str(tmp_path), database_url)
        for n in range(3):
            server = await asyncio.create_subprocess_exec(*command)
            try:
                await installed.until(job, "running", step=3 * n + 1)
                await asyncio.sleep(draw.uniform(0.0, 0.8))
                children = psutil.Process(server.pid).children()
            finally:
                server.kill()
                await server.wait()
            for child in children if draw.random() < 0.5 else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        async with installed.running():
            assert (await installed.until(job)).status == "succeeded"
        await check_whole(installed, job, expected)


async def test_a_server_that_stops_lets_its_jobs_write_a_checkpoint(tmp_path: Path) -> None:
    expected = await reference(tmp_path)
    async with installation(tmp_path) as installed:
        job = await installed.create("!every 100 !slow 0.1")
        async with installed.running():
            await installed.until(job, "running", step=5)
        stopped = await installed.jobs.get("p", job.id)
        assert (stopped.status, stopped.until, stopped.attempts) == ("queued", 0.0, 0)
        assert (installed.folder(job) / "state" / "state.json").exists()
        async with installed.running(installed.make_runner()):
            assert (await installed.until(job)).status == "succeeded"
        await check_whole(installed, job, expected)


async def test_a_process_whose_server_is_gone_ends_by_itself(tmp_path: Path) -> None:
    """Its standard input ends, as when the server was killed."""
    async with installation(tmp_path) as installed, installed.running():
        job = await installed.create("!every 100 !slow 0.1")
        await installed.until(job, "running", step=2)
        [process] = installed.runner.processes
        process._inner.stdin.close()  # type: ignore[attr-defined]
        await process.wait()
        assert "Fine-tuning job stopped at a checkpoint to make way; it goes on by itself" in await installed.said(job)
        assert (await installed.until(job)).status == "succeeded"


async def test_pause_resume_and_cancel_a_job_that_runs(tmp_path: Path, database_url: str) -> None:
    async with installation(tmp_path, database_url) as installed, installed.running():
        job = await installed.create("!slow 0.1")
        await installed.until(job, "running", step=2)
        assert (await installed.jobs.pause("p", job.id)).status == "paused"
        at = await installed.until_free(job)
        assert (at.status, at.state["step"] < 18) == ("paused", True)
        async with asyncio.timeout(WAIT_S):
            while installed.runner.processes:  # noqa: ASYNC110 - it takes a while to end
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)
        assert not installed.runner.processes, "nobody takes it up"
        assert (await installed.jobs.resume("p", job.id)).status == "queued"
        await installed.until(job, "running", step=at.state["step"] + 1)
        assert (await installed.jobs.cancel("p", job.id)).status == "cancelled"
        ended = await installed.until_free(job)
        assert ended.status == "cancelled"
        assert ended.finished is not None
        said = await installed.said(job)
        assert said[-1] == "Fine-tuning job cancelled"
        assert said.count("Fine-tuning job started") == 1
        assert "Fine-tuning job paused" in said


async def test_a_job_that_is_resumed_before_its_process_has_noticed_goes_on(tmp_path: Path) -> None:
    async with installation(tmp_path) as installed, installed.running():
        job = await installed.create("!slow 0.05")
        await installed.until(job, "running", step=2)
        await installed.jobs.pause("p", job.id)
        await installed.jobs.resume("p", job.id)
        assert (await installed.until(job)).status == "succeeded"


async def test_a_more_urgent_job_goes_first_and_the_other_goes_on_by_itself(tmp_path: Path) -> None:
    async with installation(tmp_path) as installed, installed.running():
        slow = await installed.create("!slow 0.4")
        await installed.until(slow, "running", step=2)
        urgent = await installed.create(priority=1, may_hurry=True)
        first = await installed.until(urgent)
        waits = await installed.jobs.get("p", slow.id)
        assert first.status == "succeeded"
        assert waits.status in ("queued", "running"), "it may have been taken up again meanwhile"
        second = await installed.until(slow)
        assert second.status == "succeeded"
        assert second.finished > first.finished  # type: ignore[operator]
        said = await installed.said(slow)
        assert "A more urgent job waits: this one makes way" in said
        assert "Fine-tuning job goes on from its last checkpoint" in said
        assert steps(await installed.events(slow)) == list(range(1, 19))


async def test_a_process_that_never_gets_on_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.train.runner.backoff_s", lambda _: 0.0)
    async with installation(tmp_path) as installed, installed.running():
        job = await installed.create("!crash 1")
        done = await installed.until(job)
        assert done.status == "failed"
        assert done.error["code"] == "server_error"  # type: ignore[index]
        assert "3 times in a row" in done.error["message"]  # type: ignore[index]
        said = await installed.said(job)
        assert said.count("The job's process broke off: its exit code was 9") == 3


async def test_what_the_trainer_refuses_is_the_user_s_to_mend(tmp_path: Path) -> None:
    async with installation(tmp_path) as installed, installed.running():
        job = await installed.create("!fail")
        done = await installed.until(job)
        assert (done.status, done.attempts) == ("failed", 0)
        assert done.error == {
            "code": "invalid_training_file", "message": "Line 1: this file asks to be refused.", "param": "training",
        }  # fmt: skip


async def test_a_base_that_cannot_be_trained_is_not_tried_again(tmp_path: Path) -> None:
    async with installation(tmp_path) as installed, installed.running():
        done = await installed.until(await installed.create("!mistake"))
        assert (done.status, done.attempts) == ("failed", 0)
        assert done.error["message"] == "This base cannot be trained: choose another."  # type: ignore[index]


async def test_too_few_examples(tmp_path: Path) -> None:
    async with installation(tmp_path) as installed, installed.running():
        few = await installed.upload(b'{"messages": []}\n' * 9)
        job = await installed.create(validation_file=few.id)
        done = await installed.until(job)
        assert done.error["message"] == "Validation file has 9 example(s), but must have at least 10 examples"  # type: ignore[index]
        assert done.error["param"] == "validation_file"  # type: ignore[index]
        assert done.started is None


async def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = await reference(tmp_path)
    async with installation(tmp_path) as installed, installed.running():
        job = await installed.create("!every 4 !slow 0.03 !full 11")
        await installed.until(job, "running", step=1)
        at = await installed.until_free(job)
        assert (at.status, at.attempts) == ("running", 0)
        assert at.not_before > installed.clock.now()
        assert "The disk is full" in (await installed.said(job))[-1]
        (installed.folder(job) / "room").touch()
        async with installed.database.write() as connection:  # the time has passed
            from mainspring.store.jobs import change_job

            await change_job(connection, at, not_before=0.0)
        assert (await installed.until(job)).status == "succeeded"
        assert [*installed.result(job)] == [*expected]
        assert steps(await installed.events(job)) == list(range(1, 19))


async def test_a_process_that_slept_through_its_lease_is_ended_by_the_next(tmp_path: Path) -> None:
    expected = await reference(tmp_path)
    async with installation(tmp_path, lease_s=3.0) as installed, installed.running() as runner:
        job = await installed.create("!every 4 !slow 0.1")
        await installed.until(job, "running", step=5)
        [process] = runner.processes
        asleep = psutil.Process(process.pid)
        asleep.suspend()
        try:
            assert (await installed.until(job)).status == "succeeded"
            assert not asleep.is_running()
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                asleep.kill()
        await check_whole(installed, job, expected)


async def test_several_servers_on_one_database_run_a_job_once(tmp_path: Path, database_url: str) -> None:
    if not database_url:
        pytest.skip("SQLite is one server's")
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(installation(tmp_path, database_url, concurrent=2)) for _ in range(2)
        ]
        for each in servers:
            await stack.enter_async_context(each.running())
        jobs = [await servers[0].create("!slow 0.02") for _ in range(4)]
        seen, now = 0, jobs
        async with asyncio.timeout(WAIT_S):
            while not all(job.finished for job in now):
                now = [await servers[1].jobs.get("p", job.id) for job in jobs]
                seen = max(seen, sum(job.status == "running" and job.until > 0 for job in now))
                await asyncio.sleep(0.02)
        for job in jobs:
            done = await servers[1].until(job)
            assert (done.status, done.lease) == ("succeeded", 2), "one claim to look at the files, one to train"
            assert steps(await servers[0].events(job)) == list(range(1, 19))
        assert seen <= 2, "so many train, on however many servers"


async def test_another_machine_begins_anew_and_doubles_nothing(tmp_path: Path) -> None:
    """The folder of the job was the first machine's."""
    expected = await reference(tmp_path)
    async with installation(tmp_path) as installed:
        job = await installed.create("!every 4 !slow 0.1")
        async with installed.running():
            await installed.until(job, "running", step=8)
        installed.folder(job).rename(tmp_path / "gone")
        async with installed.running(installed.make_runner()):
            assert (await installed.until(job)).status == "succeeded"
        await check_whole(installed, job, expected)
