"""A deployment: a model version, a name, and a replica that is kept alive while it is wanted."""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from mainspring.compute.launch import Launch, Process
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, Overloaded, Unavailable
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, Load, ModelInfo, ModelVersion
from mainspring.serving.fleet import Seat
from mainspring.serving.replica import ReplicaClient

__all__ = ["Deployment", "DeploymentSpec"]

BACKOFF_S = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
"""Waits before the first, second, ... restart in a row."""
HEALTHY_S = 30.0
"""A replica that lived this long starts the back-off from the beginning."""
START_WAIT_S = 300.0
"""How long a request waits for a replica: for others to be unloaded, and for the model to load."""
STOP_WAIT_S = 1.0
"""How long a replica has to end when asked."""
MANY_FAILURES = 3
"""After so many starts in a row that came to nothing, requests do not wait for the next one."""


async def _already_loaded(_: "Deployment") -> None:
    """For a deployment that somebody else starts."""


@dataclass(frozen=True, kw_only=True)
class DeploymentSpec:
    """What to keep running.

    Args:
        command: the arguments and the first input of a replica process for an endpoint; raises `UserMistake` if the
            model cannot be served as the settings want it.
        num_places: requests that it holds at once.
        estimate: bytes of memory that a replica will take.
    """

    name: str
    version: ModelVersion
    command: Callable[[str], tuple[list[str], bytes]]
    num_places: int
    estimate: Callable[[], int] = lambda: 0


class Deployment:
    """Keeps one replica of a model alive and passes requests to it.

    It is idle, with no process, until `start`; a request for an idle one has it loaded first. A crash fails the
    requests in flight with a retryable 503; one that had got nothing yet is sent again to the next incarnation.
    Restarts back off while they keep failing.

    Args:
        load: called with this deployment when a request finds it idle; returns when it was started.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        launch: Launch,
        clock: Clock,
        load: Callable[["Deployment"], Coroutine[None, None, None]] = _already_loaded,
    ) -> None:
        self.spec = spec
        self.state = "idle"
        self._launch = launch
        self._clock = clock
        self._load = load
        self._log = log.get().bind(deployment=spec.name)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._folder = tempfile.TemporaryDirectory(prefix="mainspring-")  # 0700, and short: socket paths are limited
        self._incarnations = itertools.count()
        self._replica: ReplicaClient | None = None
        self._changed = asyncio.Event()  # set when there is a replica, or when starting it has failed too often
        self._reason = "The model is being loaded; try again in a moment."
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None  # the latest such task that was told to end
        self._process: Process | None = None
        self._stopped = False
        self._failures = 0  # starts in a row that came to nothing
        self._context_length = spec.version.context_length or 0
        self._seconds_per_request = 1.0
        self._num_active = 0  # requests here
        self._num_inside = 0  # of these, those that are served before it may be unloaded; all, but while it is draining
        self._left = asyncio.Event()  # set when the last of them leaves
        self._is_open = asyncio.Event()  # cleared while it is draining
        self._is_open.set()
        self._loading: asyncio.Task[None] | None = None
        self._last_used = clock.monotonic()
        self._estimated = 0

    # -- running -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep it alive."""
        assert self._task is None, "started twice"
        self.state, self._failures, self._last_used = "starting", 0, self._clock.monotonic()
        self._changed.clear()
        self._task = asyncio.create_task(self._keep_alive(), name=f"keep {self.spec.name} alive")

    async def unload(self) -> None:
        """See `fleet.Member`. Requests that came before are served, those that come meanwhile have it loaded again."""
        self._is_open.clear()
        try:
            while self._num_inside:
                self._left.clear()
                await self._left.wait()
            await self._end_task()
        finally:
            self._is_open.set()

    async def retire(self) -> None:
        """Nobody will ask for it again: let its streams end, then stop."""
        await self.unload()
        await self.stop()

    async def stop(self) -> None:
        """End the replica; requests in flight fail with Unavailable. May be called again."""
        self._reason, self._stopped = "The server is shutting down.", True
        self._changed.set()
        await self._end_task()
        self._context.destroy(linger=0)
        self._folder.cleanup()

    async def _end_task(self) -> None:
        task, self._task, self.state = self._task, None, "idle"
        if task is not None:
            task.cancel()
            self._ending = task
        if self._ending is not None:  # waited for, not awaited: if we are cancelled, it ends its process all the same
            await asyncio.wait([self._ending])

    async def _keep_alive(self) -> None:
        while True:
            started = self._clock.monotonic()
            was_ready = await self._run_once()
            healthy = was_ready and self._clock.monotonic() - started > HEALTHY_S
            self._failures = 0 if healthy else self._failures + 1
            delay = BACKOFF_S[min(max(self._failures - 1, 0), len(BACKOFF_S) - 1)]
            self._log.warning("replica ended", reason=self._reason, restart_in_s=delay)
            self.state = "restarting"
            if not was_ready and self._failures >= MANY_FAILURES:
                self._changed.set()
            await asyncio.sleep(delay)

    async def _run_once(self) -> bool:
        """One incarnation, from start to end; whether it was ever ready."""
        endpoint = f"ipc://{Path(self._folder.name) / str(next(self._incarnations))}"
        try:
            arguments, first_input = await asyncio.to_thread(self.spec.command, endpoint)
        except MainspringError as error:
            self._reason = error.message
            return False
        replica = ReplicaClient(self._context, endpoint)
        try:
            process = self._process = await self._launched(arguments, first_input)
        except BaseException as error:
            replica.close(self._reason)
            if not isinstance(error, OSError):
                raise
            self._reason = "No process can be started for the model: the machine is short of memory or of processes."
            return False
        ended = asyncio.create_task(process.wait())
        try:
            started = self._clock.monotonic()
            await asyncio.wait([ended, replica.hello], return_when=asyncio.FIRST_COMPLETED)
            if replica.hello.done() and not replica.hello.exception():
                hello = replica.hello.result()
                self._context_length = hello.context_length
                self._replica, self.state, self._last_used = replica, "ready", self._clock.monotonic()
                self._changed.set()
                seconds = round(self._clock.monotonic() - started, 2)
                self._log.info("replica ready", pid=process.pid, load_s=seconds, context_tokens=hello.context_length)
                await asyncio.wait([ended])  # not `await ended`: being cancelled here must not cancel that
                self._reason = "The model's process ended unexpectedly and is being restarted; try again in a moment."
                return True
            error = replica.hello.exception() if replica.hello.done() else None
            self._reason = str(error) if error else "The model could not be loaded; the server's log says why."
            return False
        finally:
            if self._replica is replica:
                self._changed.clear()
                self._replica = None
            replica.close(self._reason)
            await self._end(process, ended)

    async def _launched(self, arguments: list[str], first_input: bytes) -> Process:
        """Start the process; if we are cancelled meanwhile it is ended, whoever has its handle."""
        launching = asyncio.ensure_future(self._launch(arguments, first_input))
        try:
            return await asyncio.shield(launching)
        except asyncio.CancelledError:
            process = await launching
            process.kill()
            await process.wait()
            raise

    async def _end(self, process: Process, ended: "asyncio.Task[int]") -> None:
        process.terminate()
        await asyncio.wait([ended], timeout=STOP_WAIT_S)
        if not ended.done():
            process.kill()
        await ended

    # -- serving -------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What clients call it."""
        return self.spec.name

    @property
    def ready(self) -> bool:
        """Whether a replica takes requests now."""
        return self._replica is not None

    @property
    def loaded(self) -> bool:
        """See `fleet.Member`."""
        return self._task is not None

    async def wait_ready(self) -> None:
        """Until a replica takes requests."""
        while self._replica is None:
            self._changed.clear()
            await self._changed.wait()

    @property
    def pid(self) -> int | None:
        """The replica's process."""
        return self._process.pid if self._process else None

    @property
    def info(self) -> ModelInfo:
        """As clients see it."""
        version = self.spec.version
        return ModelInfo(
            id=self.spec.name,
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
        load = self._replica.load if self._replica else Load()
        return msgspec.structs.replace(load, waiting=max(load.waiting, self._num_active - load.running))

    @property
    def num_places(self) -> int:
        """Requests it holds at once."""
        return self.spec.num_places

    @property
    def seat(self) -> Seat:
        """See `fleet.Member`. Before a replica is ready its memory is a guess, afterwards it is measured."""
        measured = self._process.memory_bytes() if self._replica and self._process else None
        size = self._estimated if measured is None else measured
        return Seat(self.spec.name, size, self._num_active > 0 or self.state == "starting", self._last_used)

    async def estimate(self) -> int:
        """See `fleet.Member`."""
        try:
            self._estimated = await asyncio.to_thread(self.spec.estimate)
        except (MainspringError, OSError):
            self._estimated = 0  # starting it will tell what is wrong
        return self._estimated

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        may_try_again = False
        with self._place():
            for attempt in (1, 2):
                try:
                    async with self._served() as replica, contextlib.aclosing(replica.generate(request)) as events:
                        may_try_again = attempt == 1
                        async for event in events:
                            may_try_again = False
                            yield event
                        return
                except Unavailable:
                    if not may_try_again:
                        raise

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`. Nothing of an answer is sent before it is whole, so a crash is tried again once."""
        may_try_again = False
        with self._place():
            for attempt in (1, 2):
                try:
                    async with self._served() as replica:
                        may_try_again = attempt == 1
                        return await replica.embed(request)
                except Unavailable:
                    if not may_try_again:
                        raise
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _place(self) -> Generator[None]:
        """One of the places, for as long as a request is here."""
        if self._num_active >= self.spec.num_places:
            wait_s = min(max(self._seconds_per_request, 0.1), 30.0)
            message = f"{self.spec.name} holds {self.spec.num_places} requests already. Please retry."
            raise Overloaded(message, retry_after_s=wait_s)
        self._num_active += 1
        self._last_used = self._clock.monotonic()
        try:
            yield
        finally:
            self._num_active -= 1
            self._last_used = self._clock.monotonic()

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncGenerator[ReplicaClient]:
        """The replica, once there is one; it is not unloaded in the body.

        Raises:
            Unavailable: there is none for too long, or it does not start.
        """
        try:
            async with asyncio.timeout(START_WAIT_S):
                await self._is_open.wait()
                self._num_inside += 1
                try:
                    await self._load_once()
                    replica = await self._current()
                except BaseException:
                    self._leave()
                    raise
        except TimeoutError:
            raise Unavailable(self._reason, retry_after_s=5.0) from None
        started = self._clock.monotonic()
        try:
            yield replica
        finally:
            self._leave()
        # Learn how often places come free.
        each_s = (self._clock.monotonic() - started) / max(self._num_active, 1)
        self._seconds_per_request += 0.1 * (each_s - self._seconds_per_request)

    async def _load_once(self) -> None:
        """Have it loaded if it is idle; all requests that wait for that share one attempt."""
        if self.loaded or self._stopped:
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load(self))
        loading = self._loading
        await asyncio.wait([loading])  # not `await loading`: it goes on for the others if we are cancelled
        if not loading.cancelled():
            loading.result()

    def _leave(self) -> None:
        self._num_inside -= 1
        if not self._num_inside:
            self._left.set()
            if self._loading is not None:
                self._loading.cancel()  # nobody waits for it any more

    async def _current(self) -> ReplicaClient:
        while not self._stopped:
            if self._replica is not None:
                return self._replica
            await self._changed.wait()
            if self._replica is None and self._failures >= MANY_FAILURES:
                raise Unavailable(self._reason, retry_after_s=5.0)
        raise Unavailable(self._reason)
