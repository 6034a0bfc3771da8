"""Threads for what blocks, from a loop that must not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

__all__ = ["drawn", "in_thread"]

T = TypeVar("T")


async def in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """What `call` returns. When this is over so is the thread's work, even if the caller was cancelled meanwhile: what
    is closed then is not being used."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # seen: nobody else will
        raise


def drawn(loop: asyncio.AbstractEventLoop, items: AsyncIterator[T]) -> Iterator[T]:
    """The items, for a thread: each is awaited in the loop, which must be running and not wait for this thread
    without `in_thread`."""
    end = object()
    while True:
        item: Any = asyncio.run_coroutine_threadsafe(_next(items, end), loop).result()
        if item is end:
            return
        yield item


async def _next(items: AsyncIterator[Any], end: object) -> Any:
    return await anext(items, end)
