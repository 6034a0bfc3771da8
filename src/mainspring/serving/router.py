"""From a model's name to its replicas. What there is to serve is looked up again while the server runs.

A name is a model's or an adapter's plain name, which means whatever version is newest, or `name@version`, which always
means the same. Both lead to the same replicas where they mean the same version.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from mainspring.compute.launch import Launch
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config import ServingSettings
from mainspring.core.errors import MainspringError, ModelNotFound
from mainspring.core.receipt import Prompted
from mainspring.core.types import (
    Adapter,
    Embeddings,
    EmbedRequest,
    Event,
    GenerateRequest,
    Load,
    ModelInfo,
    ModelVersion,
)
from mainspring.models.weights import whole
from mainspring.serving.autoscale import Wanted
from mainspring.serving.fleet import Fleet
from mainspring.serving.keeper import Keeper, ModelSpec
from mainspring.serving.replicas import ReplicaSet, Status

__all__ = ["AdapterSpec", "Offer", "Router"]

LOOK_S = 1.0
"""Least time between two looks at what there is."""
TICK_S = 1.0
"""Time between two decisions on how many replicas there should be."""


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """A LoRA adapter that is served under a name of its own, by its base's replicas; `base` is the base's name."""

    version: ModelVersion
    adapter: Adapter
    base: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is to be served, by name. A version may have several names; an adapter's base is among the models."""

    models: Mapping[str, ModelSpec]
    adapters: Mapping[str, AdapterSpec] = field(default_factory=dict[str, AdapterSpec])


Look = Callable[[frozenset[str]], Offer]
"""What there is now, with those names in any case, if they exist; quick, since it is called between requests, and the
same object if nothing changed."""


class Router:
    """The models of this server: a `Generate`, an `Embed` and a `Models` (see `core.seams`).

    Args:
        preload: names of those that are loaded at once; others are at their first request.
    """

    def __init__(
        self,
        look: Look,
        launch: Launch,
        fleet: Fleet,
        clock: Clock,
        settings: ServingSettings,
        *,
        preload: Sequence[str] = (),
    ) -> None:
        self._look = look
        self._launch = launch
        self._fleet = fleet
        self._clock = clock
        self._settings = settings
        self._preload = preload
        self._sets: dict[str, ReplicaSet] = {}  # by the version's id
        self._retiring: set[ReplicaSet] = set()  # no longer offered, ending their streams
        self._wanted: dict[str, Wanted] = {}
        self._offer = Offer(models={})
        self._models: dict[str, ModelSpec] = {}  # what is offered, by its names and by the version's id
        self._adapters: dict[str, AdapterSpec] = {}
        self._looked = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._preloaded = asyncio.Event()

    # -- running -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Find out what there is, and load what is to be loaded at once."""
        self._refresh()
        self._fleet.start()
        self._do(self._load_first())
        self._do(self._tick_always())

    async def stop(self) -> None:
        """Stop all."""
        await self._fleet.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(each.stop() for each in (*self._sets.values(), *self._retiring)))

    async def _load_first(self) -> None:
        for name in self._preload:
            try:
                await self._set(name).load_first()
            except MainspringError as error:
                log.get().warning("not loaded at the start", model=name, reason=error.message)
        self._preloaded.set()

    async def _tick_always(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """Have every model decide how many replicas it should have."""
        self._refresh()
        for each in self._sets.values():
            each.tick()

    async def _retire(self, old: ReplicaSet) -> None:
        log.get().info("no longer served", model=old.spec.version.id)
        self._retiring.add(old)
        await old.retire()
        self._retiring.discard(old)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_ready(self) -> None:
        """Until every model that is loaded at once takes requests."""
        await self._preloaded.wait()
        for each in list(self._sets.values()):
            if each.loaded:
                await each.wait_ready()

    @property
    def ready(self) -> bool:
        """Whether every model takes requests, or would be loaded for one."""
        return self._preloaded.is_set() and all(each.ready for each in self._sets.values() if each.loaded)

    # -- what there is, and what is wanted -----------------------------------------------------------------------------

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """What deployments need, by the names of models and adapters: it is offered if the catalog has it, and has
        replicas as that says. Whatever else there is has none until a request comes. Replaces what was wanted before.
        """
        self._wanted = dict(wanted)
        self._looked = float("-inf")
        self._refresh()
        for identity, each in self._sets.items():
            each.want(self._wanted_of(identity))

    def _wanted_of(self, identity: str) -> Wanted:
        """What is wanted of the replicas of a version. What several names want of them adds up."""
        wants: list[Wanted] = []
        for name, one in self._wanted.items():
            with contextlib.suppress(ModelNotFound):
                if self._spec(name).version.id == identity:
                    wants.append(one)
        if not wants:
            return Wanted(max_replicas=self._settings.max_replicas)
        idle = [self._settings.idle_s if one.idle_s is None else one.idle_s for one in wants]
        return Wanted(
            min_replicas=sum(one.min_replicas for one in wants),
            max_replicas=sum(one.max_replicas for one in wants),
            idle_s=0.0 if 0.0 in idle else max(idle),
        )

    def _refresh(self) -> None:
        """Make the replica sets what the offer says, unless that was done a moment ago."""
        now = self._clock.monotonic()
        if now < self._looked + LOOK_S:
            return
        self._looked, before = now, self._offer
        offer = self._offer = self._look(frozenset(self._wanted))
        if offer is before:
            return
        specs = {spec.version.id: spec for spec in offer.models.values()}
        self._models = specs | dict(offer.models)
        self._adapters = {spec.version.id: spec for spec in offer.adapters.values()} | dict(offer.adapters)
        for identity in [identity for identity in self._sets if identity not in specs]:
            self._do(self._retire(self._sets.pop(identity)))
        for identity, spec in specs.items():
            if identity not in self._sets:
                self._sets[identity] = self._new(spec)
                self._sets[identity].want(self._wanted_of(identity))

    def _new(self, spec: ModelSpec) -> ReplicaSet:
        def make(name: str, load: Callable[[Keeper], Coroutine[None, None, None]]) -> Keeper:
            return Keeper(name, spec, self._launch, self._clock, load)

        return ReplicaSet(spec, make, self._fleet, self._clock, self._settings)

    def status(self, name: str) -> Status:
        """How the model or adapter called `name` is, and why."""
        try:
            return self._set(name).status
        except ModelNotFound:
            return Status("failed", f"The catalog has no model {name!r}.")

    # -- as the edge sees it -------------------------------------------------------------------------------------------

    def list(self) -> list[ModelInfo]:
        """See `Models`. What has a plain name is listed under that alone."""
        self._refresh()
        named: dict[str, str] = {}  # by version
        for name, spec in (*self._offer.models.items(), *self._offer.adapters.items()):
            named.setdefault(spec.version.id, name)
        return [self.find(name) for name in named.values()]

    def find(self, name: str) -> ModelInfo:
        """See `Models`."""
        info = self._set(name).info
        adapter = self._adapters.get(name)
        if adapter is None:
            return msgspec.structs.replace(info, id=name)
        version = adapter.version
        return msgspec.structs.replace(
            info,
            id=name,
            version=version.version,
            created=version.created,
            base=adapter.base,
            num_params=version.num_params,
            project=version.project,
            owner=version.project or info.owner,
        )

    def owner(self, name: str) -> str | None:
        """See `Models`."""
        self._refresh()
        spec = self._adapters.get(name) or self._models.get(name)
        return spec.version.project if spec else None

    def load(self, name: str) -> Load:
        """See `Models`."""
        return self._set(name).load

    def places(self, name: str) -> int:
        """See `Models`."""
        return self._set(name).num_places

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `Generate`."""
        replicas = self._set(request.model)
        adapter = self._adapters.get(request.model)
        if adapter is None:
            return replicas.generate(request)
        return _with_adapter(replicas.generate(msgspec.structs.replace(request, adapter=adapter.adapter)), adapter)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embed`."""
        return await self._set(request.model).embed(request)

    def _set(self, name: str) -> ReplicaSet:
        """The replicas of the model called `name`, or those of the base of the adapter called so."""
        self._refresh()
        return self._sets[self._spec(name).version.id]

    def _spec(self, name: str) -> ModelSpec:
        """Of the model called `name`, or of the adapter's base."""
        adapter = self._adapters.get(name)
        try:
            return self._models[adapter.base if adapter else name]
        except KeyError:
            offered = (*self._offer.models.items(), *self._offer.adapters.items())
            # What belongs to a project is nobody else's business.
            names = ", ".join(sorted({each for each, spec in offered if spec.version.project is None})) or "none"
            raise ModelNotFound(f"The model {name!r} does not exist here. Deployed: {names}.") from None


async def _with_adapter(events: AsyncGenerator[Event], spec: AdapterSpec) -> AsyncGenerator[Event]:
    """The same events, the first of which may tell what was computed with: replicas know adapters by their ids only."""
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, Prompted):
                event = msgspec.structs.replace(event, adapter=whole(spec.version))  # noqa: PLW2901
            yield event
