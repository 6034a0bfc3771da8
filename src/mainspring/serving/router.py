"""From a model's name to its deployment. What there is to serve is looked up again while the server runs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from mainspring.compute.launch import Launch
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, ModelNotFound
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
from mainspring.serving.deployment import Deployment, DeploymentSpec
from mainspring.serving.fleet import Fleet

__all__ = ["AdapterSpec", "Offer", "Router"]

LOOK_S = 1.0
"""Least time between two looks at what there is."""


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """A LoRA adapter that is served under a name of its own, by its base's deployment."""

    version: ModelVersion
    adapter: Adapter
    base: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is to be served, by name; an adapter's base is among the deployments."""

    deployments: Mapping[str, DeploymentSpec]
    adapters: Mapping[str, AdapterSpec] = field(default_factory=dict[str, AdapterSpec])


class Router:
    """The deployments of this server: a `Generate`, an `Embed` and a `Models` (see `core.seams`).

    Args:
        look: what there is now; quick, since it is called between requests, and the same object if nothing changed.
        preload: names of those that are loaded at once; others are at their first request.
    """

    def __init__(
        self, look: Callable[[], Offer], launch: Launch, fleet: Fleet, clock: Clock, preload: Sequence[str] = ()
    ) -> None:
        self._look = look
        self._launch = launch
        self._fleet = fleet
        self._clock = clock
        self._preload = preload
        self._deployments: dict[str, Deployment] = {}
        self._adapters: dict[str, AdapterSpec] = {}
        self._retiring: set[Deployment] = set()  # no longer offered, ending their streams
        self._offer: Offer | None = None
        self._looked = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._preloaded = asyncio.Event()

    def start(self) -> None:
        """Find out what there is, and load what is to be loaded at once."""
        self._refresh()
        self._fleet.start()
        self._do(self._load_first())

    async def stop(self) -> None:
        """Stop all."""
        await self._fleet.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(deployment.stop() for deployment in (*self._deployments.values(), *self._retiring)))

    async def _load_first(self) -> None:
        for name in self._preload:
            try:
                await self._fleet.load(self._deployment(name))
            except MainspringError as error:
                log.get().warning("not loaded at the start", model=name, reason=error.message)
        self._preloaded.set()

    async def _retire(self, deployment: Deployment) -> None:
        log.get().info("no longer served", model=deployment.name, version=deployment.spec.version.version)
        self._retiring.add(deployment)
        await deployment.retire()
        self._retiring.discard(deployment)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_ready(self) -> None:
        """Until every deployment that is loaded at once takes requests."""
        await self._preloaded.wait()
        for deployment in list(self._deployments.values()):
            if deployment.loaded:
                await deployment.wait_ready()

    @property
    def ready(self) -> bool:
        """Whether every deployment takes requests, or would be loaded for one."""
        loaded = (deployment for deployment in self._deployments.values() if deployment.loaded)
        return self._preloaded.is_set() and all(deployment.ready for deployment in loaded)

    def _refresh(self) -> None:
        """Make the deployments what the offer says, unless that was done a moment ago."""
        now = self._clock.monotonic()
        if now < self._looked + LOOK_S:
            return
        self._looked, before = now, self._offer
        offer = self._offer = self._look()
        if offer is before:
            return
        for name, deployment in list(self._deployments.items()):
            spec = offer.deployments.get(name)
            if spec is None or spec.version != deployment.spec.version:
                self._fleet.remove(deployment)
                self._do(self._retire(self._deployments.pop(name)))
        for name, spec in offer.deployments.items():
            if name not in self._deployments:
                deployment = Deployment(spec, self._launch, self._clock, self._fleet.load)
                self._deployments[name] = deployment
                self._fleet.add(deployment)
        self._adapters = dict(offer.adapters)

    def list(self) -> list[ModelInfo]:
        """See `Models`."""
        self._refresh()
        return [self.find(name) for name in (*self._deployments, *self._adapters)]

    def find(self, name: str) -> ModelInfo:
        """See `Models`."""
        info = self._deployment(name).info
        spec = self._adapters.get(name)
        if spec is None:
            return info
        version = spec.version
        return msgspec.structs.replace(
            info, id=name, version=version.version, created=version.created, base=info.id, num_params=version.num_params
        )

    def load(self, name: str) -> Load:
        """See `Models`."""
        return self._deployment(name).load

    def places(self, name: str) -> int:
        """See `Models`."""
        return self._deployment(name).num_places

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `Generate`."""
        deployment = self._deployment(request.model)
        if spec := self._adapters.get(request.model):
            request = msgspec.structs.replace(request, adapter=spec.adapter)
        return deployment.generate(request)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embed`."""
        return await self._deployment(request.model).embed(request)

    def _deployment(self, name: str) -> Deployment:
        """The deployment called `name`, or the one of the adapter called so."""
        self._refresh()
        spec = self._adapters.get(name)
        try:
            return self._deployments[spec.base if spec else name]
        except KeyError:
            names = ", ".join(sorted({*self._deployments, *self._adapters})) or "none"
            raise ModelNotFound(f"The model {name!r} does not exist here. Deployed: {names}.") from None
