"""Work beside what is done meanwhile."""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["running"]


@contextmanager
def running(work: Coroutine[Any, Any, None]) -> Generator[None]:
    """Beside what is done meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
