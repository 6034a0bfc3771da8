"""embeddings: texts or tokens in, vectors out."""

import asyncio
import binascii
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mainspring.api.body import read_body
from mainspring.api.context import Context, Work, context_of
from mainspring.api.edge import ClientGone
from mainspring.api.openai import replies, request, wire
from mainspring.api.services import Services
from mainspring.api.sse import GRACE_S
from mainspring.core.errors import DeadlineExceeded
from mainspring.core.types import Embeddings, EmbedRequest

__all__ = ["Embedding", "EmbeddingAnswer", "EmbeddingList", "EmbeddingRoutes", "EmbeddingUsage", "write"]

ROWS_TOGETHER = 64
"""Vectors written in one go: some ms of the event loop, after which others get their turn."""
FLOAT_BYTES = 4


class Embedding(msgspec.Struct, frozen=True):
    """One vector: numbers, or base64 of them as little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Tokens of all inputs, the special ones that the model wants around each included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer to embeddings; described here, written by `write`."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class EmbeddingRoutes:
    """The handler of embeddings in every dialect."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, http: Request) -> "EmbeddingAnswer":
        """Parse, call, render."""
        context = context_of(http)
        model = wire.DeploymentEmbeddingRequest if "deployment" in http.path_params else wire.EmbeddingRequest
        body = await read_body(http, model, self._services.max_body_bytes)
        found = request.deployment(http, context, self._services, body.model, "embedding")
        embed = EmbedRequest(
            id=f"embd-{context.request_id}",
            model=found.id,
            inputs=_inputs(body.input),
            tenant=context.principal.id if context.principal else "",
            project=context.project,
            dimensions=body.dimensions,
            tier=request.tier(context, None),
            deadline_s=self._services.request_timeout_s,
        )
        return EmbeddingAnswer(self._services, context, embed, base64=body.encoding_format == "base64")


def _inputs(given: wire.EmbeddingInput) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        return (given,)
    tokens = [item for item in given if isinstance(item, int)]
    if tokens:
        return (tuple(tokens),)
    return tuple(item if isinstance(item, str) else tuple(item) for item in given if not isinstance(item, int))


class EmbeddingAnswer(Response):
    """An ASGI response that computes vectors and writes them. Raising happens inside, before a status is sent."""

    def __init__(self, services: Services, context: Context, embed: EmbedRequest, *, base64: bool) -> None:
        self._services = services
        self._context = context
        self._request = embed
        self._base64 = base64
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Compute, then write."""
        work = self._context.work = Work(streams=False)
        result = await self._compute(receive)
        work.first_s, work.prompt = self._context.elapsed_s, result.num_tokens
        pieces: list[bytes] = []
        for piece in write(result, self._request.model, base64=self._base64):
            pieces.append(piece)
            await asyncio.sleep(0)
        body = b"".join(pieces)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        work.last_s = self._context.elapsed_s

    async def _compute(self, receive: Receive) -> Embeddings:
        """The vectors, unless the client leaves or time runs out first: both cancel the request."""
        limit_s = self._services.request_timeout_s + GRACE_S
        computed = asyncio.ensure_future(self._services.embed(self._request))
        left = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([computed, left], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if computed.done():
                return computed.result()
            if left.done():
                raise ClientGone
            raise DeadlineExceeded(f"The request took longer than {limit_s - GRACE_S:.0f} seconds.")
        finally:
            for task in (computed, left):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(computed, left, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def write(result: Embeddings, model: str, *, base64: bool) -> Iterator[bytes]:
    """The JSON of an `EmbeddingList`, some vectors at a time: 2,048 of them are megabytes of text."""
    size = FLOAT_BYTES * result.dimensions
    count = len(result.vectors) // size
    yield b'{"object":"list","data":['
    for start in range(0, count, ROWS_TOGETHER):
        rows: list[Embedding] = []
        for at in range(start, min(start + ROWS_TOGETHER, count)):
            raw = result.vectors[at * size : (at + 1) * size]
            rows.append(Embedding("embedding", at, _text(raw) if base64 else _numbers(raw)))
        yield (b"," if start else b"") + replies.encode(rows)[1:-1]
    usage = EmbeddingUsage(result.num_tokens, result.num_tokens)
    yield b'],"model":' + replies.encode(model) + b',"usage":' + replies.encode(usage) + b"}"


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _numbers(raw: bytes) -> list[float]:
    """float32 as the doubles that they are; the machines that Mainspring runs on are little-endian."""
    return array("f", raw).tolist()
