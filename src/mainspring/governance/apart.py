"""Threads for filters that take milliseconds, for which the event loop does not wait."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mainspring.governance.filters.personal import GIVEN_UP

__all__ = ["Apart"]

T = TypeVar("T")


class Apart:
    """Answers have threads of their own, so that long prompts do not keep them waiting. None is started before it is
    needed."""

    def __init__(self) -> None:
        self._prompts = ThreadPoolExecutor(2, "filters-prompts")
        self._answers = ThreadPoolExecutor(2, "filters-answers")

    async def prompt(self, work: Callable[[], T]) -> T:
        """Do something for a prompt."""
        return await self._run(self._prompts, work)

    async def answer(self, work: Callable[[], T]) -> T:
        """Do something for an answer."""
        return await self._run(self._answers, work)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        given_up = threading.Event()

        def run() -> T:
            GIVEN_UP.set(given_up)
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(threads, run)
        finally:
            given_up.set()  # a client that has gone leaves no work behind
