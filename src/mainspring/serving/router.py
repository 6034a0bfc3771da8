"""From a model's name to its deployment."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from mainspring.core.errors import ModelNotFound
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, Load, ModelInfo
from mainspring.serving.deployment import Deployment

__all__ = ["Router"]


class Router:
    """The deployments of this server: a `Generate`, an `Embed` and a `Models` (see `core.seams`)."""

    def __init__(self, deployments: Mapping[str, Deployment]) -> None:
        self._deployments = dict(deployments)

    def start(self) -> None:
        """Start all."""
        for deployment in self._deployments.values():
            deployment.start()

    async def stop(self) -> None:
        """Stop all."""
        await asyncio.gather(*(deployment.stop() for deployment in self._deployments.values()))

    async def wait_ready(self) -> None:
        """Until every deployment takes requests."""
        for deployment in self._deployments.values():
            await deployment.wait_ready()

    @property
    def ready(self) -> bool:
        """Whether every deployment takes requests."""
        return all(deployment.ready for deployment in self._deployments.values())

    def list(self) -> list[ModelInfo]:
        """See `Models`."""
        return [deployment.info for deployment in self._deployments.values()]

    def find(self, name: str) -> ModelInfo:
        """See `Models`."""
        return self._deployment(name).info

    def load(self, name: str) -> Load:
        """See `Models`."""
        return self._deployment(name).load

    def places(self, name: str) -> int:
        """See `Models`."""
        return self._deployment(name).num_places

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `Generate`."""
        return self._deployment(request.model).generate(request)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embed`."""
        return await self._deployment(request.model).embed(request)

    def _deployment(self, name: str) -> Deployment:
        try:
            return self._deployments[name]
        except KeyError:
            names = ", ".join(sorted(self._deployments)) or "none"
            raise ModelNotFound(f"The model {name!r} does not exist here. Deployed: {names}.") from None
