"""Whether passages bear out what cites them, by meaning too: annotations that wait for that while the text goes on.

Words are compared at once (`citations.is_supported`). Where the project has an embedding model, the sentence's vector
is held against the passage as well, and either is enough: words catch what is copied, vectors what is said in other
words. Asking the model takes some time, so annotations follow their text by as much, in their order; text never waits.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mainspring.core import log
from mainspring.core.errors import MainspringError
from mainspring.core.seams import Align
from mainspring.responses.tools import Annotated

__all__ = ["NEAR", "WORDS", "Judge", "Waiting"]

_log = log.get(__name__)

NEAR = 0.7
"""The least cosine of a sentence and its passage that speaks for it. Below, too many sentences of the same subject and
of another statement pass; docs/LOG.md says how many, with all-MiniLM-L6-v2."""
MAX_WAIT_S = 10.0
"""For vectors, after which words alone decide: an answer is not to wait for a model that is being loaded."""


class Judge(NamedTuple):
    """For whom, and with what: None is words alone."""

    align: Align | None = None
    project: str = ""
    tenant: str = ""

    async def __call__(self, found: Sequence[Annotated]) -> list[Annotated]:
        """The same with scores, as far as there are any. Raises nothing."""
        claims = [each.claim for each in found if each.claim is not None]
        if self.align is None or not claims:
            return list(found)
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                scores = await self.align(claims, project=self.project, tenant=self.tenant)
        except (MainspringError, TimeoutError) as error:
            _log.info("citations_unaligned", reason=type(error).__name__)
            return list(found)
        if scores is None:
            return list(found)
        left = iter(scores)
        return [each if each.claim is None else _scored(each, next(left)) for each in found]


WORDS = Judge()
"""Without an embedding model."""


def _scored(found: Annotated, score: float) -> Annotated:
    annotation = found.annotation
    changes = {"supported": annotation.supported is True or score >= NEAR, "support_score": round(score, 3)}  # type: ignore[union-attr]
    return msgspec.structs.replace(found, annotation=msgspec.structs.replace(annotation, **changes))


class Waiting:
    """The annotations of one message. Whoever makes one closes it."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._tasks = deque[asyncio.Task[list[Annotated]] | Annotated]()

    def put(self, found: Annotated) -> None:
        """One more, which is judged from now on."""
        is_judged = found.claim is None or self._judge.align is None
        self._tasks.append(found if is_judged else asyncio.create_task(self._judge([found])))

    def ready(self) -> list[Annotated]:
        """Those that can be told now, none before one that was put earlier."""
        told: list[Annotated] = []
        while self._tasks:
            first = self._tasks[0]
            if isinstance(first, asyncio.Task):
                if not first.done():
                    break
                told += first.result()
            else:
                told.append(first)
            self._tasks.popleft()
        return told

    async def rest(self) -> list[Annotated]:
        """All of them."""
        if running := [each for each in self._tasks if isinstance(each, asyncio.Task)]:
            await asyncio.wait(running)
        return self.ready()

    def close(self) -> None:
        """Nobody wants what is left."""
        for each in self._tasks:
            if isinstance(each, asyncio.Task):
                each.cancel()
        self._tasks.clear()
