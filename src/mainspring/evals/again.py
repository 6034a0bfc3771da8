"""Work in the background waits where a client would be told to come back later: a full queue, a quota, a replica that
starts."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from mainspring.core.clock import Clock
from mainspring.core.errors import MainspringError, Overloaded, Unavailable
from mainspring.core.seams import Embed, Generate
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest

__all__ = ["PATIENCE_S", "waiting", "waiting_embed"]

PATIENCE_S = 3600.0
"""Of one request. After that its error is what came of it."""
FIRST_S, MOST_S = 0.5, 30.0

Sleep = Callable[[float], Awaitable[None]]


class _Patience:
    """How long to wait before the next attempt."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock, self._sleep = clock, sleep
        self._until_s, self._next_s = clock.monotonic() + PATIENCE_S, FIRST_S

    async def wait(self, error: MainspringError) -> None:
        """Wait, or raise the error because it has lasted too long."""
        if self._clock.monotonic() >= self._until_s:
            raise error
        await self._sleep(min(max(error.retry_after_s or 0.0, self._next_s), MOST_S))
        self._next_s = min(self._next_s * 2, MOST_S)


def waiting(inner: Generate, clock: Clock, sleep: Sleep = asyncio.sleep) -> Generate:
    """`inner`, asked again while it cannot take a request. What has begun to be answered is not asked again."""

    async def run(request: GenerateRequest) -> AsyncGenerator[Event]:
        patience, begun = _Patience(clock, sleep), False
        while True:
            try:
                async with aclosing(inner(request)) as events:
                    async for event in events:
                        begun = True
                        yield event
            except (Overloaded, Unavailable) as error:
                if begun:
                    raise
                await patience.wait(error)
            else:
                return

    return run


def waiting_embed(inner: Embed, clock: Clock, sleep: Sleep = asyncio.sleep) -> Embed:
    """The same for embeddings."""

    async def run(request: EmbedRequest) -> Embeddings:
        patience = _Patience(clock, sleep)
        while True:
            try:
                return await inner(request)
            except (Overloaded, Unavailable) as error:
                await patience.wait(error)

    return run
