"""One batch on its way: requests in flight, and their results written down in groups.

As many requests as keep the engine full are made at once, in the order of `order`; when one has its answer the next one
is made. Every half second, or when enough have come, results go into the database with the counts, in one transaction
of whoever holds the batch. A batch ends early when its time is over, it is cancelled, or its key works no more.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.batches.answer import Tries, failure_line, request_id, result_line, tokens_of
from mainspring.batches.spec import Spec, State, Tokens, state_of
from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import NotFound, Unavailable
from mainspring.core.seams import Answered, Call
from mainspring.store import batches as rows
from mainspring.store.batches import Placed, Result
from mainspring.store.files import Files
from mainspring.store.jobs import Job, change_job
from mainspring.store.leases import LeaseLost
from mainspring.store.worker import Held

__all__ = ["Run", "writing_state"]

SAVE_S = 0.5
SAVE_AT = 64
"""Results that are written down without waiting any longer."""
MAX_UNSAVED = 1024
"""Results that may wait for a database that does not answer."""
STANDING_S = 60.0
"""How often it is asked whether the batch's key still works."""
_log = log.get("mainspring.batches")


class _Done(NamedTuple):
    result: Result
    tokens: Tokens


@contextlib.asynccontextmanager
async def writing_state(held: Held) -> AsyncGenerator[tuple[AsyncConnection, Job, State]]:
    """A transaction of whoever holds the batch: its connection, its job and its state as they are.

    Raises:
        LeaseLost: somebody else has it, or it has ended: its project was deleted.
    """
    async with held.writing() as (connection, job):
        if job.finished is not None:
            held.note(job)
            raise LeaseLost(job.id)
        yield connection, job, state_of(job)


class Run:
    """The requests of a batch that have no result yet.

    Args:
        stands: whether whoever made the batch may still have it worked on.
        in_flight: requests at once.
    """

    def __init__(
        self, held: Held, spec: Spec, todo: Sequence[Placed], *, call: Call, files: Files, clock: Clock,
        stands: Callable[[], Awaitable[bool]], in_flight: int,
    ) -> None:  # fmt: skip
        self._held, self._spec, self._call, self._files, self._clock = held, spec, call, files, clock
        self._stands, self._in_flight = stands, in_flight
        self._expires = state_of(held.job).expires
        self._todo: Iterator[Placed] = iter(todo)
        self._done: list[_Done] = []
        self._changed = asyncio.Condition()
        self._is_closing = False

    async def __call__(self) -> None:
        """Until every request has its result, or the batch is to end; what has come is written down then.

        Raises:
            LeaseLost: somebody else has the batch.
        """
        crew, stop = asyncio.create_task(self._crew()), asyncio.create_task(self._wait_for_stop())
        saving = asyncio.create_task(self._keep_saving())
        try:
            await asyncio.wait({crew, saving, stop}, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled(crew, stop)
            self._is_closing = True
            async with self._changed:
                self._changed.notify_all()
            await saving
        finally:
            await _cancelled(crew, stop, saving)
        for task in (crew, stop):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _crew(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._in_flight):
                group.create_task(self._work())

    async def _work(self) -> None:
        for placed in self._todo:
            done = await self._answer(placed)
            async with self._changed:
                self._done.append(done)
                if len(self._done) >= SAVE_AT:
                    self._changed.notify_all()
                await self._changed.wait_for(lambda: len(self._done) < MAX_UNSAVED)

    # -- a request -----------------------------------------------------------------------------------------------------

    async def _answer(self, placed: Placed) -> _Done:
        name, tries = request_id(self._held.job, placed.line), Tries()
        try:
            body = await self._body(placed)
        except NotFound:
            message = "The content of the input file is not there any more."
            line = failure_line(name, placed.custom_id, "input_file_missing", message)
            return _Done(Result(placed.line, True, line), Tokens())
        while True:
            answered = await self._ask(name, body)
            wait_s = tries.wait_s(answered)
            if wait_s is None:
                break
            await asyncio.sleep(wait_s)
        failed = answered.status >= 400
        used = Tokens() if failed else tokens_of(answered.body)
        return _Done(Result(placed.line, failed, result_line(name, placed.custom_id, answered)), used)

    async def _ask(self, name: str, body: bytes) -> Answered:
        spec = self._spec
        folder = "/v1" if spec.dialect == "openai" else "/openai/v1"
        return await self._call(
            folder + spec.path, body, principal=spec.principal, project=self._held.job.project, tier="batch", id=name
        )

    async def _body(self, placed: Placed) -> bytes:
        """The body of a request, read from the file."""
        pieces = self._files.open(self._spec.file, placed.start, placed.start + placed.length)
        async with contextlib.aclosing(pieces):
            line = b"".join([piece async for piece in pieces])
        body = msgspec.json.decode(line, type=dict[str, msgspec.Raw])["body"]
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if "model" in fields:
            return bytes(body)
        return msgspec.json.encode({"model": self._spec.deployment, **fields})

    # -- writing down --------------------------------------------------------------------------------------------------

    async def _keep_saving(self) -> None:
        while not (self._is_closing and not self._done):
            if not self._is_closing:
                async with self._changed:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(SAVE_S):
                            await self._changed.wait_for(lambda: self._is_closing or len(self._done) >= SAVE_AT)
            if self._done:
                await self._try_to_save()

    async def _try_to_save(self) -> None:
        try:
            await self._save(tuple(self._done))
        except Unavailable as error:
            _log.warning("results wait to be written down", batch=self._held.job.id, error=error.message)
            await asyncio.sleep(SAVE_S)

    async def _save(self, group: Sequence[_Done]) -> None:
        async with writing_state(self._held) as (connection, job, state):
            await rows.put(connection, job.id, [done.result for done in group])
            tokens = state.tokens
            for done in group:
                tokens = tokens.plus(done.tokens)
            num_failed = sum(done.result.failed for done in group)
            after = msgspec.structs.replace(
                state, completed=state.completed + len(group) - num_failed, failed=state.failed + num_failed,
                tokens=tokens,
            )  # fmt: skip
            await change_job(connection, job, state=msgspec.to_builtins(after))
        async with self._changed:
            del self._done[: len(group)]
            self._changed.notify_all()

    # -- ending early --------------------------------------------------------------------------------------------------

    async def _wait_for_stop(self) -> None:
        """Returns when the batch is to end before it is done."""
        while True:
            left_s = self._expires - self._clock.now()
            if left_s <= 0 or self._held.wanted == "cancel" or not await self._stands():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._held.poked.wait(), min(left_s, STANDING_S))
            self._held.poked.clear()


async def _cancelled(*tasks: "asyncio.Task[None]") -> None:
    """Cancel, and wait until that is over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
