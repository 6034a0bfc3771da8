"""What the API calls: make a response, now or in the background; show, cancel and forget those that are kept."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, Overloaded
from mainspring.core.seams import Align, Generate
from mainspring.core.types import Event
from mainspring.responses.ask import Ask
from mainspring.responses.bell import Bell
from mainspring.responses.compaction import compacted
from mainspring.responses.context import Context, resolve
from mainspring.responses.draft import Draft
from mainspring.responses.ending import conclude, end_from_log, error_of, note_said
from mainspring.responses.events import Told, head_of
from mainspring.responses.items import CompactionItem, Response, ResponseUsage
from mainspring.responses.loop import Loop
from mainspring.responses.prompt import units_of
from mainspring.responses.toolbox import Toolbox
from mainspring.responses.tools import Kinds
from mainspring.store.conversations import find_conversation, free, hold
from mainspring.store.db import Database
from mainspring.store.jobs import Job, add_job, count_jobs, find_job
from mainspring.store.receipts import add_traces
from mainspring.store.responses import (
    Entry,
    Kept,
    add_events,
    add_items,
    add_response,
    events_after,
    expired,
    extend,
    find_response,
    items_of,
    page_of,
    remove_responses,
)

__all__ = ["KIND", "NEVER", "OPEN", "Responses", "body_of"]

KIND = "response"
"""Of jobs."""
OPEN = ("queued", "in_progress")
"""Statuses of responses that are not over."""
NEVER = 1e12
"""When turns of chats expire, in Unix seconds."""
HOLD_S = 60.0
"""A conversation is free again so long after the server that used it has died."""
POLL_S = 0.25
"""How often a reader of a log looks whether another server has written to it."""
SWEEP_S = 60.0

_log = log.get("mainspring.responses")


Join = Callable[[AsyncConnection], Awaitable[None]]


def _ignore(_: Event) -> None:
    pass


class Responses:
    """The responses of one installation.

    Args:
        kinds: tools that this server carries out.
        retention_s: how long responses are kept.
        per_project: responses of a project that may wait or run in the background.
        queued: is called when there is work for the background.
    """

    def __init__(
        self, database: Database, clock: Clock, kinds: Kinds, *, retention_s: float, per_project: int, bell: Bell,
        queued: Callable[[], None], align: Align | None = None,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._kinds = database, clock, kinds
        self._retention_s, self._per_project, self._bell, self._queued = retention_s, per_project, bell, queued
        self._align = align

    # -- in the foreground -----------------------------------------------------------------------------------------

    async def make(
        self, ask: Ask, response: Response, generate: Generate, watch: Callable[[Event], None] = _ignore
    ) -> AsyncGenerator[list[Told]]:
        """Make a response while its client waits. The last events come once all is kept. Closing gives it up.

        Raises:
            MainspringError: before the first events; later only if nobody reads the stream, which ends with
                response.failed otherwise.
        """
        box = await Toolbox.open(ask, self._kinds)
        async with self._context(ask) as context:
            draft = Draft(response, summary=ask.summary, sealed="reasoning.encrypted_content" in ask.include)
            loop = Loop(
                ask, context.entries, draft, box=box, kinds=self._kinds, generate=generate, watch=watch,
                align=self._align,
            )  # fmt: skip
            draft.create()
            said: list[Told] = []
            try:
                async with aclosing(loop.run()) as steps:
                    async for _ in steps:
                        if told := draft.take():
                            said += told if ask.streams else ()
                            yield told
                made = draft.finish(**loop.state.outcome(int(self._clock.now())))
            except MainspringError as error:
                if not said:
                    raise
                made = draft.finish(status="failed", error=error_of(error), **loop.state.findings())
            told = draft.take()
            await self._keep(ask, made, context, loop, [*said, *told] if ask.streams else [])
            yield told

    @asynccontextmanager
    async def _context(self, ask: Ask) -> AsyncGenerator[Context]:
        """What it goes on from; a conversation is its own meanwhile."""
        if ask.conversation is None:
            async with self._database.read() as connection:
                context = await resolve(connection, ask, self._clock.now())
            yield context
            return
        async with self._database.write() as connection:
            await self._hold(connection, ask, self._clock.now() + HOLD_S)
            context = await resolve(connection, ask, self._clock.now())
        beats = asyncio.create_task(self._keep_held(ask))
        try:
            yield context
        finally:
            beats.cancel()
            with contextlib.suppress(MainspringError):
                async with self._database.write() as connection:
                    await free(connection, ask.conversation, ask.id)

    async def _hold(self, connection: AsyncConnection, ask: Ask, until: float) -> None:
        found = await find_conversation(connection, ask.project, ask.conversation or "")
        await hold(connection, found, ask.id, self._clock.now(), until)

    async def _keep_held(self, ask: Ask) -> None:
        while True:
            await asyncio.sleep(HOLD_S / 3)
            try:
                async with self._database.write() as connection:
                    await self._hold(connection, ask, self._clock.now() + HOLD_S)
            except MainspringError as error:
                _log.warning("a conversation was not held", conversation=ask.conversation, error=error.message)

    async def _keep(
        self, ask: Ask, made: Response, context: Context, loop: Loop, told: list[Told]
    ) -> None:  # fmt: skip
        if not ask.stores and ask.conversation is None:
            return
        async with self._database.write() as connection:
            if ask.stores:
                await self._add(connection, ask, made, context.given)
                await add_events(connection, ask.id, 0, [each.body for each in told])
                await add_traces(connection, ask.id, loop.trace.take())
            await conclude(
                connection, ask, made, given=context.given, outputs=loop.outputs(), now_s=self._clock.now()
            )  # fmt: skip

    async def _add(self, connection: AsyncConnection, ask: Ask, response: Response, given: list[Entry]) -> None:
        now_s = self._clock.now()
        expires = NEVER if ask.chat else now_s + self._retention_s
        kept = Kept(
            id=ask.id, project=ask.project, creator=ask.tenant, created=now_s, expires=expires, chat=ask.chat or None,
            status=response.status, background=ask.background, streamed=ask.streams or ask.background,
            previous=ask.previous, conversation=ask.conversation, include=list(ask.include), body=body_of(response),
        )  # fmt: skip
        await add_response(connection, kept)
        await add_items(connection, ask.id, given, is_output=False)
        if ask.previous is not None and not ask.chat:  # a chat's turns stay as it is
            await extend(connection, kept, kept.expires)

    # -- in the background -----------------------------------------------------------------------------------------

    async def enqueue(self, ask: Ask, response: Response, join: Join | None = None) -> Response:
        """Have a response made whether its client waits or not.

        Args:
            join: what else is written in the same transaction; what it raises undoes all.

        Raises:
            InvalidRequest: it could never be made.
            Overloaded: the project has too many already.
        """
        await Toolbox.open(ask, self._kinds)
        draft, now_s = Draft(response), self._clock.now()
        draft.create()
        async with self._database.write() as connection:
            if await count_jobs(connection, kind=KIND, project=ask.project, statuses=OPEN) >= self._per_project:
                raise Overloaded(
                    f"{self._per_project} responses of this project are waiting or running in the background: wait "
                    "for some to end, or cancel them.",
                    retry_after_s=30.0,
                )  # fmt: skip
            context = await resolve(connection, ask, now_s)
            units_of(ask.instructions, context.entries, self._kinds)
            if ask.conversation is not None:
                await self._hold(connection, ask, math.inf)
            await self._add(connection, ask, response, context.given)
            if ask.chat:
                await note_said(connection, ask.id, context.given)
            await add_events(connection, ask.id, 0, [each.body for each in draft.take()])
            job = Job(
                id=ask.id, kind=KIND, project=ask.project, creator=ask.tenant, priority=0, status="queued",
                wanted="run", spec=msgspec.to_builtins(ask), state={}, error=None, created=now_s,
            )  # fmt: skip
            await add_job(connection, job)
            if join is not None:
                await join(connection)
        self._queued()
        return response

    async def cancel(self, project: str, id: str, owner: str) -> dict[str, Any]:  # noqa: A002 - what the API calls it
        """End a response in the background; nothing happens if it is over.

        Raises:
            InvalidRequest: it was not made in the background.
            NotFound: there is none of that id.
        """
        async with self._database.write() as connection:
            kept = await self._find(connection, project, id, owner)
            if not kept.background:
                raise InvalidRequest(
                    f"The response '{id}' was not created with 'background': only those can be cancelled.", param="id"
                )
            if kept.status in OPEN:
                job = await find_job(connection, id)
                assert job is not None, "a response that is not over has its job"
                await end_from_log(connection, kept, job, self._clock.now(), status="cancelled")
        self._bell.ring(id)
        return await self.get(project, id, owner)

    async def follow(
        self, project: str, id: str, owner: str, after: int = -1  # noqa: A002
    ) -> AsyncGenerator[list[Told]]:  # fmt: skip
        """The events behind number `after`, those that are there and those that will be, up to the last.

        Raises:
            InvalidRequest: its events were not kept.
            NotFound: there is no response of that id.
        """
        async with self._database.read() as connection:
            kept = await self._find(connection, project, id, owner)
        if not kept.streamed:
            raise InvalidRequest(
                f"The events of '{id}' were not kept: create responses with 'stream' or 'background' for that.",
                param="stream",
            )
        while True:
            async with self._database.read() as connection:
                found = await find_response(connection, project, id, self._clock.now())
                rows = await events_after(connection, id, after)
            if rows:
                after = rows[-1][0]
                yield [head_of(body) for _, body in rows]
            elif found is None or found.status not in OPEN:
                return
            else:
                await self._bell.wait(id, POLL_S)

    # -- what is kept ----------------------------------------------------------------------------------------------

    async def _find(self, connection: AsyncConnection, project: str, id: str, owner: str) -> Kept:  # noqa: A002
        kept = await find_response(connection, project, id, self._clock.now(), owner)
        if kept is None:
            raise NotFound(f"Response with id '{id[:100]}' not found.", param="response_id")
        return kept

    async def find(self, project: str, id: str, owner: str) -> tuple[Kept, list[Entry]]:  # noqa: A002
        """A response of a project that `owner` may see, and its output.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            kept = await self._find(connection, project, id, owner)
            return kept, await items_of(connection, id, is_output=True)

    async def get(self, project: str, id: str, owner: str) -> dict[str, Any]:  # noqa: A002
        """The same as its client saw it. Raises as `find`."""
        kept, outputs = await self.find(project, id, owner)
        return {**kept.body, "output": [entry.item for entry in outputs]}

    async def inputs(
        self, project: str, id: str, owner: str, *, after: str | None, limit: int, descending: bool  # noqa: A002
    ) -> tuple[list[Entry], bool]:  # fmt: skip
        """A page of what went into a response, and whether there is more.

        Raises:
            NotFound: there is no response of that id.
            InvalidRequest: `after` is no item of it.
        """
        async with self._database.read() as connection:
            await self._find(connection, project, id, owner)
            return await page_of(connection, id, after=after, limit=limit, descending=descending)

    async def remove(self, project: str, id: str, owner: str) -> None:  # noqa: A002
        """Forget a response; one that is not over is given up.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.write() as connection:
            kept = await self._find(connection, project, id, owner)
            if kept.conversation is not None:
                await free(connection, kept.conversation, id)
            await remove_responses(connection, [id])
        self.gone([id])

    def gone(self, ids: Iterable[str]) -> None:
        """Responses were removed: whoever follows one need not wait."""
        for id in ids:  # noqa: A001
            self._bell.ring(id)

    async def count(self, ask: Ask, generate: Generate) -> int:
        """How many tokens a model would be shown.

        Raises:
            MainspringError: as `make` does.
        """
        box = await Toolbox.open(ask, self._kinds)
        async with self._database.read() as connection:
            context = await resolve(connection, ask, self._clock.now())
        blank = Draft(Response(id=ask.id, created_at=0, status="in_progress", model=ask.model))
        return await Loop(ask, context.entries, blank, box=box, kinds=self._kinds, generate=generate).count()

    async def compact(self, ask: Ask, generate: Generate) -> tuple[CompactionItem, ResponseUsage]:
        """An item that stands for a conversation.

        Raises:
            MainspringError: as `make` does.
        """
        async with self._database.read() as connection:
            context = await resolve(connection, ask, self._clock.now())
        return await compacted(ask, units_of(ask.instructions, context.entries, self._kinds), generate)

    async def sweep(self) -> int:
        """Forget what has expired; how many there were."""
        async with self._database.write() as connection:
            return await expired(connection, self._clock.now())

    async def keep_swept(self) -> None:
        """`sweep` for as long as the server runs."""
        while True:
            try:
                while await self.sweep():
                    pass
            except MainspringError as error:
                _log.warning("responses were not swept", error=error.message)
            await asyncio.sleep(SWEEP_S)


def body_of(response: Response) -> dict[str, Any]:
    """What is kept of it beside its items."""
    body = msgspec.to_builtins(response)
    del body["output"]
    return body
