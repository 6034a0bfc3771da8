"""A deployment: a model version, a name, and a replica that is kept alive."""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from mainspring.compute.launch import Launch, Process
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import Overloaded, Unavailable
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, Load, ModelInfo, ModelVersion
from mainspring.serving.replica import ReplicaClient

__all__ = ["Deployment", "DeploymentSpec"]

BACKOFF_S = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
"""Waits before the first, second, ... restart in a row."""
HEALTHY_S = 30.0
"""A replica that lived this long starts the back-off from the beginning."""
START_WAIT_S = 60.0
"""How long a request waits for a replica that is starting."""
STOP_WAIT_S = 1.0
"""How long a replica has to end when asked."""


@dataclass(frozen=True, kw_only=True)
class DeploymentSpec:
    """What to keep running. `command` gives the arguments and the first input of a replica process for an endpoint."""

    name: str
    version: ModelVersion
    command: Callable[[str], tuple[list[str], bytes]]
    num_places: int


class Deployment:
    """Keeps one replica of a model alive and passes requests to it.

    A crash fails the requests in flight with a retryable 503; one that had got nothing yet is sent again to the next
    incarnation. Restarts back off while they keep failing.
    """

    def __init__(self, spec: DeploymentSpec, launch: Launch, clock: Clock) -> None:
        self._spec = spec
        self._launch = launch
        self._clock = clock
        self._log = log.get().bind(deployment=spec.name)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._folder = tempfile.TemporaryDirectory(prefix="mainspring-")  # 0700, and short: socket paths are limited
        self._incarnations = itertools.count()
        self._replica: ReplicaClient | None = None
        self._ready = asyncio.Event()
        self._reason = "The model is being loaded; try again in a moment."
        self._task: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._stopped = False
        self._context_length = spec.version.context_length or 0
        self._seconds_per_request = 1.0
        self.state = "starting"

    # -- running -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep it alive."""
        self._task = asyncio.create_task(self._keep_alive(), name=f"keep {self._spec.name} alive")

    async def stop(self) -> None:
        """End the replica; requests in flight fail with Unavailable. May be called again."""
        self._reason, self._stopped = "The server is shutting down.", True
        if self._task is not None and self._task.cancel():
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._context.destroy(linger=0)
        self._folder.cleanup()

    async def _keep_alive(self) -> None:
        failures = 0
        while True:
            started = self._clock.monotonic()
            await self._run_once()
            failures = 0 if self._clock.monotonic() - started > HEALTHY_S else failures + 1
            delay = BACKOFF_S[min(max(failures - 1, 0), len(BACKOFF_S) - 1)]
            self._log.warning("replica ended", reason=self._reason, restart_in_s=delay)
            self.state = "restarting"
            await asyncio.sleep(delay)

    async def _run_once(self) -> None:
        """One incarnation, from start to end."""
        endpoint = f"ipc://{Path(self._folder.name) / str(next(self._incarnations))}"
        replica = ReplicaClient(self._context, endpoint)
        arguments, first_input = self._spec.command(endpoint)
        process = self._process = await self._launch(arguments, first_input)
        ended = asyncio.create_task(process.wait())
        try:
            started = self._clock.monotonic()
            await asyncio.wait([ended, replica.hello], return_when=asyncio.FIRST_COMPLETED)
            if replica.hello.done() and not replica.hello.exception():
                hello = replica.hello.result()
                self._context_length = hello.context_length
                self._replica, self.state = replica, "ready"
                self._ready.set()
                seconds = round(self._clock.monotonic() - started, 2)
                self._log.info("replica ready", pid=process.pid, load_s=seconds, context_tokens=hello.context_length)
                await asyncio.wait([ended])  # not `await ended`: being cancelled here must not cancel that
                self._reason = "The model's process ended unexpectedly and is being restarted; try again in a moment."
            else:
                error = replica.hello.exception() if replica.hello.done() else None
                self._reason = str(error) if error else "The model could not be loaded; the server's log says why."
        finally:
            self._ready.clear()
            self._replica = None
            replica.close(self._reason)
            await self._end(process, ended)

    async def _end(self, process: Process, ended: "asyncio.Task[int]") -> None:
        process.terminate()
        await asyncio.wait([ended], timeout=STOP_WAIT_S)
        if not ended.done():
            process.kill()
        await ended

    # -- serving -------------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a replica takes requests now."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Until a replica takes requests."""
        await self._ready.wait()

    @property
    def pid(self) -> int | None:
        """The replica's process."""
        return self._process.pid if self._process else None

    @property
    def info(self) -> ModelInfo:
        """As clients see it."""
        version = self._spec.version
        return ModelInfo(
            id=self._spec.name,
            version=version.version,
            created=version.created,
            context_length=self._context_length,
            state=self.state,
            num_params=version.num_params,
            kind=version.kind,
        )

    @property
    def load(self) -> Load:
        """How busy; requests that the engine has not counted yet are waiting."""
        if self._replica is None:
            return Load()
        load = self._replica.load
        waiting = max(load.waiting, self._replica.num_open - load.running)
        return msgspec.structs.replace(load, waiting=waiting)

    @property
    def num_places(self) -> int:
        """Requests it holds at once."""
        return self._spec.num_places

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        nothing_sent = True
        for attempt in (1, 2):
            replica = await self._current()
            self._check_places(replica)
            events = replica.generate(request)
            started = self._clock.monotonic()
            try:
                async for event in events:
                    nothing_sent = False
                    yield event
            except Unavailable:
                if attempt == 2 or not nothing_sent:
                    raise
                continue
            finally:
                # Deterministic: an abandoned iterator must cancel its request now, not when it is collected.
                await events.aclose()
            self._count(self._clock.monotonic() - started, replica)
            return

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`. Nothing of an answer is sent before it is whole, so a crash is tried again once."""
        for attempt in (1, 2):
            replica = await self._current()
            self._check_places(replica)
            started = self._clock.monotonic()
            try:
                result = await replica.embed(request)
            except Unavailable:
                if attempt == 2:
                    raise
                continue
            self._count(self._clock.monotonic() - started, replica)
            return result
        raise AssertionError("unreachable")

    def _check_places(self, replica: ReplicaClient) -> None:
        if replica.num_open >= self._spec.num_places:
            wait_s = min(max(self._seconds_per_request, 0.1), 30.0)
            message = f"{self._spec.name} holds {self._spec.num_places} requests already. Please retry."
            raise Overloaded(message, retry_after_s=wait_s)

    def _count(self, took_s: float, replica: ReplicaClient) -> None:
        """Learn how often places come free."""
        each_s = took_s / max(replica.num_open + 1, 1)
        self._seconds_per_request += 0.1 * (each_s - self._seconds_per_request)

    async def _current(self) -> ReplicaClient:
        if self._stopped:
            raise Unavailable(self._reason)
        try:
            await asyncio.wait_for(self._ready.wait(), START_WAIT_S)
        except TimeoutError:
            raise Unavailable(self._reason, retry_after_s=5.0) from None
        assert self._replica is not None
        return self._replica
