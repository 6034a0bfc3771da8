"""Batches over a database, files and an API that does as it is told: what the tests of the job have in common."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from mainspring.batches.batches import Batches, Wish
from mainspring.batches.runner import Runner
from mainspring.core.clock import SystemClock
from mainspring.core.config_batches import BatchSettings
from mainspring.core.errors import ModelNotFound
from mainspring.core.seams import Answered
from mainspring.core.types import ModelInfo, Principal
from mainspring.store.blobs import BLOBS, Directory
from mainspring.store.db import Database
from mainspring.store.files import Files
from mainspring.store.jobs import Job

WHO = Principal(id="key_1", name="tests")
Answer = Callable[[dict[str, Any]], Awaitable[Answered]]


class Models:
    """One model, with so many places."""

    places_ = 64

    def find(self, name: str, project: str) -> ModelInfo:
        if name != "m":
            raise ModelNotFound(f"The model {name!r} does not exist.")
        return ModelInfo(id="m", version="1", created=0, context_length=10, state="ready")

    def places(self, name: str, project: str) -> int:
        return self.places_


class Api:
    """A `Call`. `made` are the requests that came, `ids` theirs; `answer` is what they get."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.ids: list[str] = []
        self.flying: set[str] = set()
        self.running = self.most = 0
        self.answer: Answer = self.usual

    def serves(self, path: str) -> bool:
        return path != "/v1/responses"

    @staticmethod
    async def usual(body: dict[str, Any]) -> Answered:
        await asyncio.sleep(0.002)
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return Answered(200, json.dumps({"said": body["messages"], "usage": usage}).encode(), "r")

    async def __call__(
        self,
        path: str,
        body: bytes,
        *,
        principal: Principal,
        project: str,
        tier: Any,
        id: str,  # noqa: A002
    ) -> Answered:
        assert (path, principal, project, tier) == ("/v1/chat/completions", WHO, "p", "batch")
        given = json.loads(body)
        assert id not in self.flying, "the same request is made twice at once"
        self.flying.add(id)
        self.made.append(given["messages"])
        self.ids.append(id)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.answer(given)
        finally:
            self.running -= 1
            self.flying.discard(id)


class Ahead(SystemClock):
    """The time, and so many seconds more."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


class House:
    """An installation. `standing` is whether the key still works."""

    def __init__(self, database: Database, home: Path, **settings: Any) -> None:
        self.database, self.clock, self.api, self.models = database, Ahead(), Api(), Models()
        self.files = Files(database, Directory(home / BLOBS), self.clock)
        self.settings = BatchSettings(**{"lease_s": 600.0, **settings})
        self.most: int | None = None
        self.standing = True
        self.runner = self.make_runner()
        self.batches = self.make_batches()

    def make_batches(self) -> Batches:
        return Batches(
            self.database, self.clock, self.files, self.api, self.settings,
            changed=lambda job: self.runner.changed(job),
        )  # fmt: skip

    def make_runner(self) -> Runner:
        async def stands(_: str) -> bool:
            return self.standing

        return Runner(
            self.database, self.clock, self.files, call=self.api, deployments=self.models,  # type: ignore[arg-type]
            settings=self.settings, enqueued=lambda *_: self.most, stands=stands,
        )  # fmt: skip

    async def upload(self, lines: Iterable[dict[str, Any]], purpose: str = "batch") -> str:
        data = b"\n".join(json.dumps(line).encode() for line in lines)

        async def stream() -> AsyncGenerator[bytes]:
            yield data

        return (await self.files.create(project="p", purpose=purpose, filename="in.jsonl", stream=stream())).id

    async def create(self, *lines: dict[str, Any], **more: Any) -> Job:
        wish = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
        return await self.batches.create(
            Wish(input_file_id=await self.upload(lines), **wish), project="p", principal=WHO, dialect="openai"
        )

    @contextlib.asynccontextmanager
    async def working(self, runner: Runner | None = None) -> AsyncGenerator[asyncio.Task[None]]:
        runner = runner or self.runner
        task = asyncio.create_task(runner.run())
        try:
            yield task
        finally:
            await runner.stop()
            await task

    async def until(self, batch: Job, *statuses: str) -> Job:
        """The batch once it is in one of these, or has ended."""
        async with asyncio.timeout(20):
            while True:
                job = await self.batches.get("p", batch.id)
                if job.status in statuses or (not statuses and job.finished is not None):
                    return job
                await asyncio.sleep(0.01)

    async def lines(self, file: str | None) -> list[dict[str, Any]]:
        if file is None:
            return []
        pieces = self.files.open(await self.files.get("p", file))
        data = b"".join([piece async for piece in pieces])
        return [json.loads(line) for line in data.splitlines()]


def line(name: str, content: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": name if content is None else content, **more}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
