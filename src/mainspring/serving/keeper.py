"""One replica of a model version: a process that is kept alive while it is wanted. Whose requests it gets, and how many
of its kind there are, is up to `replicas`."""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from mainspring.compute.launch import Launch, Process
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, Unavailable
from mainspring.core.types import Load, ModelVersion
from mainspring.serving.fleet import Seat
from mainspring.serving.replica import ReplicaClient

__all__ = ["Keeper", "ModelSpec"]

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


async def _already_loaded(_: "Keeper") -> None:
    """For a replica that somebody else starts."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model version and how it is run.

    Args:
        command: the arguments and the first input of a replica process for an endpoint; raises `UserMistake` if the
            model cannot be served as the settings want it.
        num_places: requests that a replica holds at once.
        num_slots: of these, those that it computes at once; the others wait in it.
        estimate: bytes of memory that a replica will take.
    """

    version: ModelVersion
    command: Callable[[str], tuple[list[str], bytes]]
    num_places: int
    num_slots: int = 16
    estimate: Callable[[], int] = lambda: 0


class Keeper:
    """Keeps one replica of a model alive.

    It is idle, with no process, until `start`; a request for an idle one has it loaded first. A crash fails the
    requests in flight with a retryable 503. Restarts back off while they keep failing.

    Args:
        name: unique among the replicas of this server.
        load: called with this replica when a request finds it idle; returns when it was started.

    Attributes:
        state: idle, starting, ready or restarting.
        reason: why there is no replica, while there is none.
        kept: it is not unloaded for another model.
        spare: its model has another replica.
    """

    def __init__(
        self,
        name: str,
        spec: ModelSpec,
        launch: Launch,
        clock: Clock,
        load: Callable[["Keeper"], Coroutine[None, None, None]] = _already_loaded,
    ) -> None:
        self.name = name
        self.state = "idle"
        self.reason = "The model is being loaded; try again in a moment."
        self.kept = self.spare = False
        self._spec = spec
        self._launch = launch
        self._clock = clock
        self._load = load
        self._log = log.get().bind(replica=name)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._folder = tempfile.TemporaryDirectory(prefix="mainspring-")  # 0700, and short: socket paths are limited
        self._incarnations = itertools.count()
        self._replica: ReplicaClient | None = None
        self._changed = asyncio.Event()  # set when there is a replica, or when starting it has failed too often
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None  # the latest such task that was told to end
        self._process: Process | None = None
        self._stopped = False
        self.failures = 0  # starts in a row that came to nothing
        self.context_length = spec.version.context_length or 0
        self.num_here = 0  # requests here
        self._num_inside = 0  # of these, those that are served before it may be unloaded; all, but while it is draining
        self._left = asyncio.Event()  # set when the last of them leaves
        self._num_draining = 0  # calls of `unload` that are under way
        self._is_open = asyncio.Event()  # cleared while there are any
        self._is_open.set()
        self._loading: asyncio.Task[None] | None = None
        self.last_used = clock.monotonic()
        self._estimated = 0

    # -- running -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep it alive, unless it was stopped for good."""
        assert self._task is None, "started twice"
        if self._stopped:
            return
        self.state, self.failures, self.last_used = "starting", 0, self._clock.monotonic()
        self._changed.clear()
        self._task = asyncio.create_task(self._keep_alive(), name=f"keep {self.name} alive")

    async def unload(self) -> None:
        """See `fleet.Member`. Requests that came before are served, those that come meanwhile have it loaded again."""
        self._num_draining += 1
        self._is_open.clear()
        try:
            while self._num_inside:
                self._left.clear()
                await self._left.wait()
            await self._end_task()
        finally:
            self._num_draining -= 1
            if not self._num_draining:
                self._is_open.set()

    async def retire(self) -> None:
        """Nobody will ask for it again: let its streams end, then stop."""
        await self.unload()
        await self.stop("The model is no longer served.")

    async def stop(self, reason: str = "The server is shutting down.") -> None:
        """End the replica; requests in flight fail with Unavailable. May be called again."""
        self.reason, self._stopped = reason, True
        self._changed.set()
        if self._loading is not None:
            self._loading.cancel()
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
            self.failures = 0 if healthy else self.failures + 1
            delay = BACKOFF_S[min(max(self.failures - 1, 0), len(BACKOFF_S) - 1)]
            self._log.warning("replica ended", reason=self.reason, restart_in_s=delay)
            self.state = "restarting"
            if not was_ready and self.failures >= MANY_FAILURES:
                self._changed.set()
            await asyncio.sleep(delay)

    async def _run_once(self) -> bool:
        """One incarnation, from start to end; whether it was ever ready."""
        endpoint = f"ipc://{Path(self._folder.name) / str(next(self._incarnations))}"
        try:
            arguments, first_input = await asyncio.to_thread(self._spec.command, endpoint)
        except MainspringError as error:
            self.reason = error.message
            return False
        replica = ReplicaClient(self._context, endpoint)
        try:
            process = self._process = await self._launched(arguments, first_input)
        except BaseException as error:
            replica.close(self.reason)
            if not isinstance(error, OSError):
                raise
            self.reason = "No process can be started for the model: the machine is short of memory or of processes."
            return False
        ended = asyncio.create_task(process.wait())
        try:
            started = self._clock.monotonic()
            await asyncio.wait([ended, replica.hello], return_when=asyncio.FIRST_COMPLETED)
            if replica.hello.done() and not replica.hello.exception():
                hello = replica.hello.result()
                self.context_length = hello.context_length
                self._replica, self.state, self.last_used = replica, "ready", self._clock.monotonic()
                self._changed.set()
                seconds = round(self._clock.monotonic() - started, 2)
                self._log.info("replica ready", pid=process.pid, load_s=seconds, context_tokens=hello.context_length)
                await asyncio.wait([ended])  # not `await ended`: being cancelled here must not cancel that
                self.reason = "The model's process ended unexpectedly and is being restarted; try again in a moment."
                return True
            error = replica.hello.exception() if replica.hello.done() else None
            self.reason = str(error) if error else "The model could not be loaded; the server's log says why."
            return False
        finally:
            if self._replica is replica:
                self._changed.clear()
                self._replica = None
            replica.close(self.reason)
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
    def ready(self) -> bool:
        """Whether a replica takes requests now."""
        return self._replica is not None

    @property
    def loaded(self) -> bool:
        """See `fleet.Member`."""
        return self._task is not None

    @property
    def draining(self) -> bool:
        """Whether requests that come now have to wait until it is unloaded."""
        return self._num_draining > 0

    @property
    def failing(self) -> bool:
        """Whether it has failed to start too often for requests to wait for it."""
        return not self.ready and self.failures >= MANY_FAILURES

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
    def load(self) -> Load:
        """How busy; requests that the engine has not counted yet are waiting."""
        load = self._replica.load if self._replica else Load()
        return msgspec.structs.replace(load, waiting=max(load.waiting, self.num_here - load.running))

    @property
    def seat(self) -> Seat:
        """See `fleet.Member`. Before a replica is ready its memory is a guess, afterwards it is measured."""
        measured = self._process.memory_bytes() if self._replica and self._process else None
        size = self._estimated if measured is None else measured
        busy = self.num_here > 0 or self.state == "starting"
        return Seat(self.name, size, busy, self.last_used, kept=self.kept, spare=self.spare)

    async def estimate(self) -> int:
        """See `fleet.Member`."""
        try:
            self._estimated = await asyncio.to_thread(self._spec.estimate)
        except (MainspringError, OSError):
            self._estimated = 0  # starting it will tell what is wrong
        return self._estimated

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncGenerator[ReplicaClient]:
        """The replica, once there is one; it is not unloaded in the body.

        Raises:
            Unavailable: there is none for too long, or it does not start.
        """
        self.num_here += 1
        self.last_used = self._clock.monotonic()
        try:
            replica = await self._entered()
            try:
                yield replica
            finally:
                self._leave()
        finally:
            self.num_here -= 1
            self.last_used = self._clock.monotonic()

    async def _entered(self) -> ReplicaClient:
        """Wait for a replica; whoever got it must `_leave`."""
        try:
            async with asyncio.timeout(START_WAIT_S):
                await self._is_open.wait()
                self._num_inside += 1
                try:
                    await self._load_once()
                    return await self._current()
                except BaseException:
                    self._leave()
                    raise
        except TimeoutError:
            raise Unavailable(self.reason, retry_after_s=5.0) from None

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
            if self._replica is None and self.failures >= MANY_FAILURES:
                raise Unavailable(self.reason, retry_after_s=5.0)
        raise Unavailable(self.reason)
