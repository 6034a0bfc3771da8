"""The seams: shapes that parts share so that each can wrap, replace or fake any other.

`Generate` is the one that matters. A replica, the router over replicas, a quota, a content filter, a meter and the fake
in the tests all have it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from mainspring.core.search import SearchRequest, SearchResult
from mainspring.core.types import (
    Embeddings,
    EmbedRequest,
    Event,
    GenerateRequest,
    Load,
    ModelInfo,
    Principal,
    Ran,
    Tier,
)

__all__ = [
    "Align", "Answered", "Call", "Count", "Counted", "Deployments", "Embed", "Generate", "Models", "RunCode", "Search",
    "Wrapper", "uncounted",
]  # fmt: skip

Generate = Callable[[GenerateRequest], AsyncGenerator[Event]]
"""Runs one request. Raises a `core.errors` exception, before the first event whenever possible. Closing the iterator
(`aclose`) cancels the request; the engine frees its sequences within one step."""

Embed = Callable[[EmbedRequest], Awaitable[Embeddings]]
"""The same idea for embeddings: one answer instead of a stream. Cancelling the task cancels the request."""

Search = Callable[[SearchRequest], Awaitable[SearchResult]]
"""Searches vector stores. Raises `NotFound` if one is not the project's, `InvalidRequest` if one has expired."""

Counted = Literal["moderation", "file_search", "code_session", "web_search", "web_response"]
"""What is counted beside requests to models; the last is a response that searched the web, however often."""


class Count(Protocol):
    """Notes in the ledger that something was done, which costs nothing and is limited by nothing."""

    def __call__(
        self, what: Counted, id: str, *, project: str, key: str, subject: str, tokens: int = 0  # noqa: A002
    ) -> None:  # fmt: skip
        """Count one. The same id again is the same one.

        Args:
            project, key: whose doing it was.
            subject: the deployment, or what else stands in its place.

        Raises:
            Unavailable: it cannot be accounted for, so it must not be done.
        """
        ...


def uncounted(what: Counted, id: str, *, project: str, key: str, subject: str, tokens: int = 0) -> None:  # noqa: A002
    """A `Count` that keeps nothing."""


Wrapper = Callable[[Generate], Generate]


class Align(Protocol):
    """How near sentences are in meaning to the passages that they cite. `retrieval.aligning.Aligning` is the real
    one."""

    async def __call__(self, pairs: Sequence[tuple[str, str]], *, project: str, tenant: str) -> Sequence[float] | None:
        """For each (sentence, passage) the cosine with that part of the passage which is nearest; None if the project
        has no embedding model. Raises what `Embed` does."""
        ...


class Models(Protocol):
    """What runs: the models of the catalog, of which there is one lot. `router.Router` is the real one."""

    def list(self) -> Sequence[ModelInfo]:
        """Every model, by name."""
        ...

    def find(self, name: str) -> ModelInfo:
        """The model called `name`; raises `ModelNotFound`."""
        ...

    def owner(self, name: str) -> str | None:
        """The project that the model called `name` belongs to; None if it is everybody's, or there is none."""
        ...

    def load(self, name: str) -> Load:
        """How busy it is."""
        ...

    def places(self, name: str) -> int:
        """How many requests it holds, running and waiting, before the next one is refused with 429."""
        ...


class Deployments(Protocol):
    """What is deployed, which each project has its own of. `governance.directory.Directory` is the real one."""

    def list(self, project: str) -> Sequence[ModelInfo]:
        """Every deployment of a project, by name."""
        ...

    def find(self, name: str, project: str) -> ModelInfo:
        """The deployment called `name`; raises `ModelNotFound`."""
        ...

    def load(self, name: str, project: str) -> Load:
        """How busy its model is."""
        ...

    def places(self, name: str, project: str) -> int:
        """How many requests its model holds; see `Models`."""
        ...


class RunCode(Protocol):
    """Runs Python that nobody trusts. `compute.sandbox.Sandbox.run` is the real one."""

    async def __call__(self, code: str, *, files: Mapping[str, bytes] = {}, stdin: bytes = b"") -> Ran:
        """Raises `EngineUnavailable` if code cannot be run here at all, `Unavailable` if the sandbox failed."""
        ...


class Answered(NamedTuple):
    """What a request of our own API was answered with.

    Args:
        retry_after_s: when it may be made again, if the answer says so.
    """

    status: int
    body: bytes
    request_id: str
    retry_after_s: float | None = None


class Call(Protocol):
    """Carries out a request of our own API in this process, as somebody: through the same handlers, governance and
    ledger as everybody's, without a socket and without a key. `api.inside.Inside` is the real one."""

    def serves(self, path: str) -> bool:
        """Whether there is such an operation (with POST)."""
        ...

    async def __call__(
        self,
        path: str,
        body: bytes,
        *,
        principal: Principal,
        project: str,
        tier: Tier | None = None,
        id: str = "",  # noqa: A002 - what it becomes
    ) -> Answered:
        """POST `body`, which is JSON, to `path`. Errors are answers too. Cancelling the task cancels the request.

        Args:
            tier: of what it asks models for, whatever the body says; None leaves that to the body.
            id: of the request, 32 hexadecimal digits; empty makes one. In the tier "batch", what is answered twice
                under one id is accounted for once.
        """
        ...
