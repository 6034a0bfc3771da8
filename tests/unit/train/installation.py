"""A data directory with everything that keeps fine-tuning jobs, over the fake trainer in real processes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

from mainspring.compute.local import launch_local
from mainspring.core.clock import SystemClock
from mainspring.core.config import TrainingSettings
from mainspring.core.errors import ModelNotFound
from mainspring.core.types import FileRef, ModelInfo, ModelVersion
from mainspring.store.blobs import BLOBS, Directory
from mainspring.store.db import Database
from mainspring.store.files import File, Files
from mainspring.store.jobs import Checkpoint, Event, Job
from mainspring.train.fake import MADE
from mainspring.train.jobs import FineTuning, Wish
from mainspring.train.runner import Runner
from mainspring.train.states import ENDS

TRAINER = "mainspring.train.fake"
BASE = ModelVersion(
    name="tiny", version="abc", kind="chat", format="gguf", files=(FileRef(path="w.gguf", bytes=0, sha256="0" * 64),),
    source="file:tiny", created=1,
)  # fmt: skip
WAIT_S = 240.0  # a machine that has much else to do


def examples(spell: str = "", count: int = 12) -> bytes:
    """Training data, the first line of which orders the fake about."""
    lines = [
        {"messages": [{"role": "user", "content": spell if n == 0 else f"question {n}"},
                      {"role": "assistant", "content": f"answer {n}"}]}
        for n in range(count)
    ]  # fmt: skip
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def find(name: str, _project: str) -> ModelVersion:
    if name != "tiny":
        raise ModelNotFound("no such model")
    return BASE


def deployed(name: str, _project: str) -> ModelInfo:
    if name not in ("judge", "vectors"):
        raise ModelNotFound("no such deployment")
    return ModelInfo(
        id=name,
        version="1",
        created=0,
        context_length=64,
        state="ready",
        kind="embedding" if name == "vectors" else "chat",
    )


class Installation:
    """One server's parts. `runner` works while `running` is entered."""

    def __init__(self, home: Path, url: str, database: Database, **settings: Any) -> None:
        self.home, self.url, self.database, self.clock = home, url, database, SystemClock()
        self.settings = TrainingSettings(**settings)
        self.files = Files(database, Directory(home / BLOBS), self.clock)
        self.jobs = FineTuning(
            database, self.clock, self.files, find=find, deployed=deployed, settings=self.settings,
            changed=lambda: self.runner.poke(),
        )  # fmt: skip
        self.runner = self.make_runner()

    def make_runner(self) -> Runner:
        return Runner(
            self.database, self.clock, launch_local, self.settings, home=self.home, url=self.url, trainer=TRAINER
        )

    async def upload(self, data: bytes, purpose: str = "fine-tune", project: str = "p") -> File:
        async def stream() -> AsyncIterator[bytes]:
            yield data

        return await self.files.create(project=project, purpose=purpose, filename="data.jsonl", stream=stream())

    async def create(self, spell: str = "", *, project: str = "p", may_hurry: bool = False, **wish: Any) -> Job:
        file = await self.upload(examples(spell), project=project)
        return await self.jobs.create(
            Wish(**{"model": "tiny", "training_file": file.id, "seed": 7, **wish}), project=project, by="key-1",
            may_hurry=may_hurry,
        )  # fmt: skip

    async def until(self, job: Job, *statuses: str, step: int = 0) -> Job:
        """The job once it is in one of the statuses (an end, by default), and so far."""
        async with asyncio.timeout(WAIT_S):
            while True:
                now = await self.jobs.get(job.project, job.id)
                if now.status in (statuses or ENDS) and now.state.get("step", 0) >= step:
                    return now
                assert now.status not in ENDS or statuses == (), f"it has {now.status}: {now.error}"
                await asyncio.sleep(0.05)

    async def until_free(self, job: Job) -> Job:
        """The job once no process holds it."""
        async with asyncio.timeout(WAIT_S):
            while (now := await self.jobs.get(job.project, job.id)).until:  # noqa: ASYNC110 - another process ends it
                await asyncio.sleep(0.05)
            return now

    async def events(self, job: Job) -> list[Event]:
        """Every event, oldest first."""
        found, more = await self.jobs.events(job.project, job.id, limit=1000)
        assert not more
        return found[::-1]

    async def said(self, job: Job) -> list[str]:
        """What was told that is no metric."""
        return [event.message for event in await self.events(job) if event.type == "message"]

    async def checkpoints(self, job: Job) -> list[Checkpoint]:
        found, _ = await self.jobs.checkpoints(job.project, job.id, limit=1000)
        return found[::-1]

    def folder(self, job: Job) -> Path:
        return self.home / "training" / job.id

    def result(self, job: Job) -> dict[str, bytes]:
        """Everything that came out of it: bit by bit."""
        folder = self.home / MADE / job.id
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("step-*/*.json"))}

    @contextlib.asynccontextmanager
    async def running(self, runner: Runner | None = None) -> AsyncGenerator[Runner]:
        runner = runner or self.runner
        task = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            await runner.stop()
            await task


@contextlib.asynccontextmanager
async def installation(home: Path, url: str = "", **settings: Any) -> AsyncGenerator[Installation]:
    database = await Database.open(home, url)
    try:
        yield Installation(home, url, database, **settings)
    finally:
        await database.close()
