"""Responses in the background: taken up by any server, told in a log, and gone on with after whatever happened.

What was told stays told. An item that is whole stands. A message of free text that was broken off is continued: the
model is given its beginning as the beginning of its answer. Items that could not be continued (thoughts, calls, and
answers that are bound by a schema) are told only when they are whole: they are made anew, and nobody sees them twice.
"""

import asyncio
from typing import Any

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.errors import DeadlineExceeded, MainspringError, Overloaded, Unavailable
from mainspring.core.seams import Align, Generate
from mainspring.responses.ask import Ask
from mainspring.responses.bell import Bell
from mainspring.responses.context import Context, history_of
from mainspring.responses.draft import Draft, kinds_of
from mainspring.responses.ending import conclude, end_from_log, error_of, folded_log
from mainspring.responses.fold import Folded
from mainspring.responses.items import Response, ResponseError
from mainspring.responses.loop import Loop
from mainspring.responses.state import State
from mainspring.responses.toolbox import Toolbox
from mainspring.responses.tools import Kinds
from mainspring.store.db import Database
from mainspring.store.jobs import change_job
from mainspring.store.receipts import add_traces
from mainspring.store.responses import add_events, change_response, find_response, items_of
from mainspring.store.worker import Held

__all__ = ["Background"]

FLUSH_S = 0.05
"""Events are written together that come within this time."""
RETRIED = (Unavailable, Overloaded, DeadlineExceeded)
"""Errors that another attempt may not meet."""


class Background:
    """What `store.worker.Worker` is given for jobs of this kind."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        generate: Generate,
        kinds: Kinds,
        bell: Bell,
        *,
        align: Align | None = None,
    ) -> None:
        self._database, self._clock, self._generate, self._align = database, clock, generate, align
        self._kinds, self._bell = kinds, bell

    async def work(self, held: Held) -> None:
        """One attempt at a response.

        Raises:
            MainspringError: it may succeed later.
            LeaseLost: it was cancelled, or another server has it.
        """
        ask = msgspec.convert(held.job.spec, Ask)
        writing = _Writing(self._database, self._clock, self._bell, held, ask)
        try:
            context, folded, response = await self._read(ask)
            draft = Draft(
                response, summary=ask.summary, sealed="reasoning.encrypted_content" in ask.include,
                whole=kinds_of(constrained=ask.constraint is not None),
            )  # fmt: skip
            draft.resume(folded)
            writing.draft, writing.context = draft, context
            state = msgspec.convert(held.job.state, State) if held.job.state else None
            if response.status == "queued":
                draft.start()
                if ask.prefix:  # taken up as if it had been said before
                    draft.say(ask.prefix)
                    state = State()
            writing.loop = Loop(
                ask, context.entries, draft, box=await Toolbox.open(ask, self._kinds), kinds=self._kinds,
                generate=self._generate, state=state, save=writing.flush, align=self._align,
            )  # fmt: skip
            await writing.run()
        except RETRIED as error:
            await writing.note(error)
            raise
        except MainspringError as error:
            await writing.fail(error_of(error))

    async def _read(self, ask: Ask) -> tuple[Context, Folded, Response]:
        async with self._database.read() as connection:
            # Whatever its retention: one that is not over does not expire.
            kept = await find_response(connection, ask.project, ask.id, 0.0)
            assert kept is not None, "a response that is not over has its row"
            given = await items_of(connection, ask.id, is_output=False)
            history = await history_of(connection, ask, self._clock.now())
            folded = await folded_log(connection, ask.id)
        return Context(history, given), folded, msgspec.convert(kept.body, Response)

    async def give_up(self, held: Held, why: str) -> None:
        """It broke off too often."""
        ask = msgspec.convert(held.job.spec, Ask)
        state = msgspec.convert(held.job.state, State)
        error = ResponseError(**state.error) if state.error else ResponseError("server_error", why)
        await _Writing(self._database, self._clock, self._bell, held, ask).fail(error)


class _Writing:
    """The log of a response while it is made."""

    draft: Draft
    loop: Loop
    context: Context

    def __init__(self, database: Database, clock: Clock, bell: Bell, held: Held, ask: Ask) -> None:
        self._database, self._clock, self._bell, self._held, self._ask = database, clock, bell, held, ask
        self._flushing = asyncio.Lock()
        self._saved = held.job.state

    async def run(self) -> None:
        """Make it, and write down what is told on the way and at the end."""
        making = asyncio.create_task(self._make())
        try:
            while not making.done():
                await asyncio.wait((making,), timeout=FLUSH_S)
                await self.flush()
        finally:
            making.cancel()
            await asyncio.wait((making,))
        making.result()
        made = self.draft.finish(**self.loop.state.outcome(int(self._clock.now())))
        told = self.draft.take()
        async with self._held.writing() as (connection, job):
            await add_events(connection, self._ask.id, told[0].seq, [each.body for each in told])
            await add_traces(connection, self._ask.id, self.loop.trace.take())
            await conclude(
                connection, self._ask, made, given=self.context.given, outputs=self.loop.outputs(),
                now_s=self._clock.now(),
            )  # fmt: skip
            await change_job(connection, job, status=made.status, finished=self._clock.now())
        self._bell.ring(self._ask.id)

    async def _make(self) -> None:
        async for _ in self.loop.run():
            pass

    async def flush(self) -> None:
        """Write down what is settled."""
        async with self._flushing:
            told = self.draft.take(settled=True)
            state = self._state()
            traces = self.loop.trace.take()
            if not told and state is None and not traces:
                return
            async with self._held.writing(gets_on=bool(told)) as (connection, job):
                await add_traces(connection, self._ask.id, traces)
                if told:
                    await add_events(connection, self._ask.id, told[0].seq, [each.body for each in told])
                if job.status == "queued":
                    body = msgspec.to_builtins(self.draft.response)
                    del body["output"]
                    await change_response(connection, self._ask.id, status="in_progress", body=body)
                    job = await change_job(connection, job, status="in_progress", started=self._clock.now())  # noqa: PLW2901
                if state is not None:
                    await change_job(connection, job, state=state)
        if told:
            self._bell.ring(self._ask.id)

    def _state(self) -> dict[str, Any] | None:
        """The state, if it has changed."""
        state: dict[str, Any] = msgspec.to_builtins(self.loop.state)
        if state == self._saved:
            return None
        self._saved = state
        return state

    async def note(self, error: MainspringError) -> None:
        """Why an attempt broke off, for whoever gives up."""
        async with self._held.writing(gets_on=False) as (connection, job):
            shown = error_of(error)
            await change_job(
                connection, job, state={**job.state, "error": {"code": shown.code, "message": shown.message}}
            )

    async def fail(self, error: ResponseError) -> None:
        """It has failed for good, as far as it was told."""
        async with self._held.writing() as (connection, job):
            kept = await find_response(connection, self._ask.project, self._ask.id, 0.0)
            assert kept is not None, "a response that is not over has its row"
            await end_from_log(connection, kept, job, self._clock.now(), status="failed", error=error)
        self._bell.ring(self._ask.id)
