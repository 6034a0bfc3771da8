"""Governance around the two seams, as one list of wrappers. It sees no HTTP, so every door passes it.

Outermost first, a request: goes to another deployment if this one cannot take it (`spill`); passes the quotas of its
key, project and deployment and is written to the ledger (`meter`); has its prompt and what is answered looked at by the
content filters (`screening`); and is sent to the model that its deployment stands for (here).
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import msgspec

from mainspring.core.seams import Embed, Generate
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest
from mainspring.governance.directory import Target
from mainspring.governance.meter import Meter
from mainspring.governance.screening import Screening
from mainspring.governance.spill import spilling

__all__ = ["Stack"]

Find = Callable[[str, str], Target]
"""(project, name) -> what serves the deployment; raises `ModelNotFound`."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The wrappers of one server."""

    find: Find
    meter: Meter
    screening: Screening

    def generate(self, inner: Generate) -> Generate:
        """`inner`, governed."""
        run = routing(inner, self.find)
        for wrap in (self.screening.generate, self.meter.generate):
            run = wrap(run)
        return spilling(run, self.find)

    def embed(self, inner: Embed) -> Embed:
        """`inner`, governed. Vectors say nothing, so there is nothing to screen."""

        async def run(request: EmbedRequest) -> Embeddings:
            target = self.find(request.project, request.model)
            return await inner(msgspec.structs.replace(request, model=target.model))

        return self.meter.embed(run)


def routing(inner: Generate, find: Find) -> Generate:
    """`inner`, which knows models, for requests that name deployments."""

    def run(request: GenerateRequest) -> AsyncGenerator[Event]:
        target = find(request.project, request.model)
        return inner(msgspec.structs.replace(request, model=target.model))

    return run
