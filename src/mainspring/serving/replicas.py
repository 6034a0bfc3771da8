"""One model version, served by as many replicas as its requests need: none, one or several.

Which replica gets a request, what happens to it if that replica is lost, and when replicas are added and taken away.
How many there should be is decided in `autoscale`, whether there is memory for them in `fleet`, and how one is kept
alive in `keeper`.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config import ServingSettings
from mainspring.core.errors import MainspringError, Overloaded, Unavailable
from mainspring.core.receipt import Prompted
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, Load, ModelInfo
from mainspring.serving.autoscale import DOWN_S, Metrics, Sample, Wanted, decide
from mainspring.serving.fleet import Fleet
from mainspring.serving.keeper import Keeper, ModelSpec
from mainspring.serving.placement import choose, prefix_of
from mainspring.serving.replica import ReplicaClient

__all__ = ["Make", "ReplicaSet", "Status"]

RETRY_S = 30.0
"""After there was no memory for one more replica, it is tried again so much later."""

Make = Callable[[str, Callable[[Keeper], Coroutine[None, None, None]]], Keeper]
"""A replica of the model, by name and with what has it loaded; see `Keeper`."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a model is: ready, starting, idle (the next request loads it), restarting or failed; and why."""

    state: str
    reason: str


class ReplicaSet:
    """The replicas of one model version: a `Generate` and an `Embed` (see `core.seams`).

    A request that finds none loaded has one loaded first. One whose replica is lost before it gave anything is sent
    again, to another replica if there is one. A replica that is taken away gets no more requests and ends its streams
    before it ends.

    Invariants: there is always a keeper; a keeper is in at most one of `_loads` and `_drains`.
    """

    def __init__(self, spec: ModelSpec, make: Make, fleet: Fleet, clock: Clock, settings: ServingSettings) -> None:
        self.spec = spec
        self._make = make
        self._fleet = fleet
        self._clock = clock
        self._settings = settings
        self._log = log.get().bind(model=spec.version.id)
        self._numbers = itertools.count(1)
        self._keepers: list[Keeper] = []
        self._loads: dict[Keeper, asyncio.Task[None]] = {}  # being loaded, though no request asked for it
        self._drains: dict[Keeper, asyncio.Task[None]] = {}  # being unloaded, though nobody needs its memory
        self._tasks: set[asyncio.Task[None]] = set()
        self._samples: deque[Sample] = deque()
        self._wanted = Wanted(max_replicas=settings.max_replicas, idle_s=settings.idle_s)
        self._refused = ""  # why no replica could be loaded, when it was last tried
        self._not_before = float("-inf")
        self._num_active = 0  # requests here
        self._seconds_per_request = 1.0
        self._add()

    # -- what is known about it ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a replica takes requests now."""
        return any(keeper.ready for keeper in self._keepers)

    @property
    def loaded(self) -> bool:
        """Whether it has a process, or would have one if that did not fail."""
        return any(keeper.loaded for keeper in self._keepers)

    @property
    def keepers(self) -> tuple[Keeper, ...]:
        """Those that are loaded and those that could be."""
        return tuple(self._keepers)

    @property
    def status(self) -> Status:
        """See `Status`."""
        loaded = [keeper for keeper in self._keepers if keeper.loaded]
        num_ready = sum(keeper.ready for keeper in loaded)
        if num_ready:
            return Status("ready", f"{num_ready} of {len(loaded)} replicas take requests.")
        if not loaded:
            if self._refused:
                return Status("failed", self._refused)
            return Status("idle", "It is not loaded; the next request loads it.")
        for keeper in loaded:
            if keeper.failing:
                return Status("failed", keeper.reason)
        if any(keeper.state == "starting" for keeper in loaded):
            return Status("starting", "It is being loaded.")
        return Status("restarting", loaded[0].reason)

    @property
    def info(self) -> ModelInfo:
        """As clients see it."""
        version, states = self.spec.version, [keeper.state for keeper in self._keepers]
        assert version.kind != "reward"  # never on the shelf
        return ModelInfo(
            id=version.id,
            version=version.version,
            created=version.created,
            context_length=max(keeper.context_length for keeper in self._keepers),
            state=next(state for state in ("ready", "starting", "restarting", "idle") if state in states),
            num_params=version.num_params,
            kind=version.kind,
            project=version.project,
            owner=version.project or "mainspring",
        )

    @property
    def load(self) -> Load:
        """How busy all replicas together are; `queue_s` is that of the one with the longest queue."""
        loads = [keeper.load for keeper in self._keepers]
        if len(loads) == 1:
            return loads[0]
        return Load(
            running=sum(load.running for load in loads),
            waiting=sum(load.waiting for load in loads),
            kv_used=sum(load.kv_used for load in loads),
            kv_total=sum(load.kv_total for load in loads),
            busy_s=sum(load.busy_s for load in loads),
            guessed=sum(load.guessed for load in loads),
            stood=sum(load.stood for load in loads),
            queue_s=max(load.queue_s for load in loads),
        )

    @property
    def num_places(self) -> int:
        """Requests that the replicas hold at once, or that the first one will."""
        num_ready = sum(keeper.ready and not self._leaves(keeper) for keeper in self._keepers)
        return self.spec.num_places * max(num_ready, 1)

    async def wait_ready(self) -> None:
        """Until a replica takes requests."""
        waiting = [asyncio.create_task(keeper.wait_ready()) for keeper in self._keepers]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    # -- requests ------------------------------------------------------------------------------------------------------

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        key = prefix_of(request)
        with self._place(request.model):
            for attempt in (1, 2):
                sent = emitted = False
                try:
                    async with self._served(key) as replica, contextlib.aclosing(replica.generate(request)) as events:
                        sent = True
                        async for event in events:
                            # What it was shown is told before anything is said, and may be told again.
                            emitted = emitted or not isinstance(event, Prompted)
                            yield event
                        return
                except Unavailable:
                    if emitted or not self._may_try_again(attempt, sent=sent):
                        raise

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`. Nothing of an answer is sent before it is whole, so a loss is tried again once."""
        with self._place(request.model):
            for attempt in (1, 2):
                sent = False
                try:
                    async with self._served(b"") as replica:
                        sent = True
                        return await replica.embed(request)
                except Unavailable:
                    if not self._may_try_again(attempt, sent=sent):
                        raise
        raise AssertionError("unreachable")

    def _may_try_again(self, attempt: int, *, sent: bool) -> bool:
        """Once: after its replica was lost, or if that never came to take it and another one is there."""
        return attempt == 1 and (sent or self.ready)

    @contextlib.contextmanager
    def _place(self, name: str) -> Generator[None]:
        """One of the places, for as long as a request is here."""
        places = self.num_places
        if self._num_active >= places:
            wait_s = min(max(self._seconds_per_request, 0.1), 30.0)
            raise Overloaded(f"{name} holds {places} requests already. Please retry.", retry_after_s=wait_s)
        self._num_active += 1
        try:
            yield
        finally:
            self._num_active -= 1

    @contextlib.asynccontextmanager
    async def _served(self, key: bytes) -> AsyncGenerator[ReplicaClient]:
        """The replica for a request; see `Keeper.serve`."""
        async with self._choose(key).serve() as replica:
            started = self._clock.monotonic()
            yield replica
        # Learn how often places come free.
        each_s = (self._clock.monotonic() - started) / max(self._num_active, 1)
        self._seconds_per_request += 0.1 * (each_s - self._seconds_per_request)

    def _choose(self, key: bytes) -> Keeper:
        """Who gets the next request."""
        if len(self._keepers) == 1:
            return self._keepers[0]
        staying = self._staying()
        if ready := [keeper for keeper in staying if keeper.ready]:
            return choose(ready, key)
        if staying:  # none is there yet: the one that is most likely to come
            return min(staying, key=lambda keeper: (keeper.failures, keeper.num_here))
        return min(self._keepers, key=self._leaves)

    # -- how many ------------------------------------------------------------------------------------------------------

    def want(self, wanted: Wanted) -> None:
        """What its deployments need from now on; the settings bound it."""
        most = self._settings.max_replicas
        self._wanted = Wanted(
            min_replicas=min(wanted.min_replicas, most),
            max_replicas=min(wanted.max_replicas, most),
            idle_s=self._settings.idle_s if wanted.idle_s is None else wanted.idle_s,
        )
        self.tick()

    def tick(self) -> None:
        """Measure, decide, and begin to make it so; to be called about once a second."""
        self._dispose()
        self._mark()
        now = self._sample()
        if not now.replicas and not self._wanted.min_replicas:
            self._samples.clear()
            return
        while self._samples and self._samples[0].at < now.at - DOWN_S - 5.0:
            self._samples.popleft()
        self._samples.append(now)
        decision = decide(
            Metrics(
                samples=tuple(self._samples),
                min_replicas=self._wanted.min_replicas,
                max_replicas=self._wanted.max_replicas,
                slots=self.spec.num_slots,
                target_s=self._settings.queue_s,
                idle_s=self._wanted.idle_s or 0.0,
            )
        )
        if decision.replicas > now.replicas and now.at < self._not_before:
            return
        if decision.replicas != now.replicas:
            self._log.info("replicas", now=now.replicas, wanted=decision.replicas, reason=decision.reason)
            for number in range(now.replicas, decision.replicas):
                self._grow(spare=number >= max(self._wanted.min_replicas, 1))
            for _ in range(decision.replicas, now.replicas):
                self._shrink()
            self._mark()

    def _sample(self) -> Sample:
        staying = self._staying()
        ready = [keeper for keeper in staying if keeper.ready]
        loads = [keeper.load for keeper in staying]
        return Sample(
            at=(now := self._clock.monotonic()),
            replicas=len(staying),
            ready=len(ready),
            starting=sum(keeper.state == "starting" or keeper in self._loads for keeper in staying),
            running=sum(load.running for load in loads),
            waiting=sum(load.waiting for load in loads),
            queue_s=min((keeper.load.queue_s for keeper in ready), default=0.0),
            idle_s=0.0 if self._num_active else now - max(keeper.last_used for keeper in self._keepers),
        )

    def _staying(self) -> list[Keeper]:
        """Those that are loaded or being loaded, and not on their way out."""
        return [each for each in self._keepers if (each.loaded or each in self._loads) and not self._leaves(each)]

    def _leaves(self, keeper: Keeper) -> bool:
        return keeper.draining or keeper in self._drains

    def _mark(self) -> None:
        """Tell the fleet which of them are reserved, and which are not the only one."""
        staying = sorted(self._staying(), key=lambda keeper: not keeper.ready)
        for keeper in self._keepers:
            at = staying.index(keeper) if keeper in staying else len(self._keepers)
            keeper.kept = at < self._wanted.min_replicas
            keeper.spare = at > 0 and not keeper.kept

    def _add(self) -> Keeper:
        number = next(self._numbers)
        name = self.spec.version.id
        keeper = self._make(name if number == 1 else f"{name}#{number}", self._load_for_request)
        self._keepers.append(keeper)
        self._fleet.add(keeper)
        return keeper

    def _grow(self, *, spare: bool) -> None:
        """One more: one that was about to go, one that is idle, or a new one."""
        if self._drains:
            keeper, task = self._drains.popitem()
            task.cancel()
            if keeper.loaded:
                return
        idle = (each for each in self._keepers if not (each.loaded or each in self._loads or self._leaves(each)))
        keeper = next(idle, None) or self._add()
        self._loads[keeper] = self._do(self._load_one_more(keeper, spare=spare))

    def _shrink(self) -> None:
        """One less: one that is not there yet, or else the one with the fewest requests."""
        if self._loads:
            self._loads.popitem()[1].cancel()
            return
        keeper = min(reversed(self._staying()), key=lambda each: (each.ready, each.num_here))
        self._drains[keeper] = self._do(self._drain(keeper))

    async def _load_one_more(self, keeper: Keeper, *, spare: bool) -> None:
        try:
            await self._fleet.load(keeper, spare=spare)
        except MainspringError as error:
            self._log.warning("no further replica", reason=error.message, try_again_in_s=RETRY_S)
            self._not_before = self._clock.monotonic() + RETRY_S
            if not spare:
                self._refused = error.message
        else:
            self._refused = ""
        finally:
            self._forget(self._loads, keeper)

    async def _load_for_request(self, keeper: Keeper) -> None:
        try:
            await self._fleet.load(keeper)
        except MainspringError as error:
            self._refused = error.message
            raise
        self._refused = ""

    async def _drain(self, keeper: Keeper) -> None:
        try:
            await keeper.unload()
        finally:
            self._forget(self._drains, keeper)

    @staticmethod
    def _forget(tasks: "dict[Keeper, asyncio.Task[None]]", keeper: Keeper) -> None:
        if tasks.get(keeper) is asyncio.current_task():
            del tasks[keeper]

    def _dispose(self) -> None:
        """Let go of keepers that keep nothing, but for the last."""
        for keeper in self._keepers[::-1]:
            empty = not (keeper.loaded or keeper in self._loads or self._leaves(keeper) or keeper.num_here)
            if empty and len(self._keepers) > 1:
                self._keepers.remove(keeper)
                self._fleet.remove(keeper)
                self._do(keeper.stop())

    # -- beginning and end ---------------------------------------------------------------------------------------------

    async def load_first(self) -> None:
        """See to it that a replica is loaded, or at least loading.

        Raises:
            Unavailable: there is not enough memory.
        """
        if not self.loaded:
            await self._load_for_request(self._keepers[0])

    async def retire(self) -> None:
        """Nobody will ask for it again: let its streams end, then stop."""
        self._leave_fleet()
        await asyncio.gather(*(keeper.retire() for keeper in self._keepers))

    async def stop(self) -> None:
        """End the replicas; requests in flight fail with Unavailable. May be called again."""
        self._leave_fleet()
        for task in self._drains.values():
            task.cancel()
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _leave_fleet(self) -> None:
        for task in self._loads.values():
            task.cancel()
        for keeper in self._keepers:
            self._fleet.remove(keeper)

    def _do(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
