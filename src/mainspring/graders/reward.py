"""Rewards for reinforcement: many answers at once, from asynchronous code or from a training loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from mainspring.graders.definitions import Grader
from mainspring.graders.result import Graded
from mainspring.graders.run import grade
from mainspring.graders.seams import Seams

__all__ = ["Rewards", "rewards"]

Pair = tuple[Mapping[str, Any], Mapping[str, Any]]
"""An item and an answer to it, from `run.sample_of`."""


async def rewards(grader: Grader, pairs: Sequence[Pair], seams: Seams, concurrency: int = 8) -> list[Graded]:
    """Grade each answer, `concurrency` at a time, in their order. A grader that fails gives 0 and says so
    (`Graded.failed`); whether such an answer counts is the caller's to decide."""
    found: list[Graded | None] = [None] * len(pairs)
    todo = iter(enumerate(pairs))

    async def work() -> None:
        for place, (item, sample) in todo:  # one iterator for all: each takes the next
            found[place] = await grade(grader, item, sample, seams)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(pairs))):
            group.create_task(work())
    return [each for each in found if each is not None]


class Rewards:
    """The same for a process that has no event loop: one of its own runs while answers are graded.

        with Rewards(grader, opened) as rewards:
            graded = rewards(pairs)

    Args:
        opened: makes what graders work with, within that loop, and closes it again.
    """

    def __init__(
        self, grader: Grader, opened: Callable[[], AbstractAsyncContextManager[Seams]], concurrency: int = 8
    ) -> None:
        self._grader, self._opened, self._concurrency = grader, opened(), concurrency
        self._runner = asyncio.Runner()
        self._seams: Seams | None = None

    def __enter__(self) -> Self:
        """Open what graders work with."""
        self._seams = self._runner.run(_awaited(self._opened.__aenter__))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, and the loop."""
        try:
            self._runner.run(_awaited(lambda: self._opened.__aexit__(kind, error, trace)))
        finally:
            self._runner.close()

    def __call__(self, pairs: Sequence[Pair]) -> list[Graded]:
        """See `rewards`."""
        assert self._seams is not None, "used outside of its block"
        return self._runner.run(rewards(self._grader, pairs, self._seams, self._concurrency))


async def _awaited(make: Callable[[], Any]) -> Any:
    return await make()
