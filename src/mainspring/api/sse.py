"""From the engine's events to the bytes of an answer, streamed or whole: one code path.

`Run` pumps the events of one or several requests into one list and watches for the client to leave. `Answer` is the
ASGI response over it: it awaits the first event before it sends a status, so an early failure keeps its own, and it
sends whatever became ready together in one piece.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mainspring.api.context import Context, Work
from mainspring.api.edge import ClientGone
from mainspring.api.errors import error_body
from mainspring.api.openai.replies import Tally
from mainspring.api.services import Services
from mainspring.core import log
from mainspring.core.errors import DeadlineExceeded, MainspringError
from mainspring.core.types import Event, Explained, GenerateRequest, Said, Screened, Spilled

__all__ = ["GRACE_S", "Answer", "Run", "Writer"]

MAX_TOGETHER = 16  # prompts of one request that are computed at once, so that one request never fills the queue alone
GRACE_S = 2.0  # the engine keeps the deadline; the edge steps in this much later, should the engine not answer at all

_log = log.get("mainspring.api")

Asked = TypeVar("Asked")
Told = TypeVar("Told")

Numbered = tuple[int, Event]
"""An event and the number of the request (the prompt) that it belongs to."""


class Writer(Protocol):
    """Turns events into a body. `streams` says whether the pieces are sent as they come or all at the end."""

    streams: bool
    tally: Tally

    def begin(self) -> bytes:
        """What comes before the first event."""
        ...

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """What an event adds."""
        ...

    def end(self) -> bytes:
        """What comes after the last event; raises if a choice never finished."""
        ...


class Run(Generic[Asked, Told]):
    """The requests of one answer, in flight. What they are and what comes of them is not looked at here.

    Owns a task for each request in flight and one that waits for the client to leave; none outlives the `async with`.
    Cancelling a pump closes its iterator, which is what frees the engine's sequences.
    """

    def __init__(
        self,
        generate: Callable[[Asked], AsyncGenerator[Told]],
        requests: Sequence[Asked],
        receive: Receive,
        limit_s: float,
    ) -> None:
        self._generate = generate
        self._requests = requests
        self._receive = receive
        self._limit_s = limit_s
        self._ready: list[tuple[int, Told]] = []
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None  # done when there is something to take
        self._ended: asyncio.Future[None] | None = None  # done when there will be nothing more
        self._pumping = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            self._limit_s, self._fail, DeadlineExceeded(f"The request took longer than {self._limit_s:.0f} seconds.")
        )
        todo = iter(enumerate(self._requests))
        self._pumping = min(len(self._requests), MAX_TOGETHER)
        self._tasks = [loop.create_task(self._pump(todo)) for _ in range(self._pumping)]
        self._watching = loop.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._watching.cancel()
        # A cancelled task holds its traceback, whose frames hold us: let go of it, or the collector has it to do.
        del self._watching
        running = [task for task in self._tasks if not task.done()]
        self._tasks = []
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        else:
            await asyncio.sleep(0)  # the watcher only waits, so this is its end

    async def take(self) -> list[tuple[int, Told]]:
        """The events that are ready, after waiting for one; empty once all requests are done.

        Raises:
            ClientGone: nobody is left to read them.
            MainspringError: a request failed.
        """
        while not self._ready and self._failure is None and self._pumping:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._taken()

    async def rest(self) -> list[tuple[int, Told]]:
        """All events that are left, once all requests are done: nobody is woken for each of them. Raises as `take`."""
        if self._failure is None and self._pumping:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended
        if self._failure is not None:
            raise self._failure
        return self._taken()

    def _taken(self) -> list[tuple[int, Told]]:
        if isinstance(self._failure, ClientGone) or (self._failure is not None and not self._ready):
            raise self._failure
        ready, self._ready = self._ready, []
        return ready

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        self._wake()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._end()

    async def _pump(self, todo: Iterator[tuple[int, Asked]]) -> None:
        try:
            for number, request in todo:
                async with aclosing(self._generate(request)) as events:
                    async for event in events:
                        self._ready.append((number, event))
                        self._wake()
        except Exception as error:  # noqa: BLE001 - whatever it is, take() raises it where the answer is written
            self._fail(error)
        self._pumping -= 1
        if not self._pumping:
            self._end()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._fail(ClientGone())


class Answer(Response):
    """An ASGI response that runs requests and writes what they say. Handlers return it; raising happens inside."""

    def __init__(
        self,
        services: Services,
        context: Context,
        requests: Sequence[GenerateRequest],
        writer: Writer,
    ) -> None:
        self._services = services
        self._context = context
        self._requests = requests
        self._writer = writer
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Run, then write."""
        limit_s, context = self._services.request_timeout_s + GRACE_S, self._context
        work = self._work = context.work = Work(streams=self._writer.streams)
        async with Run(self._services.generate, self._requests, receive, limit_s) as run:
            ready = await run.take()
            for _, event in ready:
                self._note_spill(event)
            work.first_s = context.elapsed_s
            try:
                if self._writer.streams:
                    await self._stream(run, ready, send)
                else:
                    await self._whole(run, ready, send)
            finally:
                tally = self._writer.tally
                work.prompt, work.cached, work.completion = tally.prompt, tally.cached, tally.completion
                work.last_s = context.elapsed_s

    def _note_spill(self, event: Event) -> None:
        """If another deployment took the request, the answer's headers say so: it is the first thing to be said."""
        if isinstance(event, Spilled):
            self._context.spilled = event
            self._context.deployment = self._services.models.find(event.to, self._context.project)

    def _feed(self, ready: list[Numbered]) -> list[bytes]:
        feed = self._writer.feed
        pieces: list[bytes] = []
        for number, event in ready:
            if isinstance(event, Screened):
                self._work.note(event)
            if not isinstance(event, Spilled | Explained):
                pieces.append(feed(number, event))
        return pieces

    async def _whole(self, run: Run[GenerateRequest, Event], ready: list[Numbered], send: Send) -> None:
        pieces = [self._writer.begin()]
        pieces += self._feed([*ready, *await run.rest()])
        body = b"".join((*pieces, self._writer.end()))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, run: Run[GenerateRequest, Event], ready: list[Numbered], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        pieces = [self._writer.begin()]
        try:
            while ready:
                pieces += self._feed(ready)
                if body := b"".join(pieces):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                pieces = []
                ready = await run.take()
            last = self._writer.end()
        except (ClientGone, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the status is sent: all that is left is an event that says so
            last = b"data: " + self._explain(error) + b"\n\n"
        await send({"type": "http.response.body", "body": last})

    def _explain(self, error: Exception) -> bytes:
        request_id, self._context.error = self._context.request_id, error
        if isinstance(error, MainspringError):
            _log.warning("failed mid-stream", request_id=request_id, error=type(error).__name__, message=error.message)
            return error_body(error, self._context.dialect)
        _log.error("unhandled mid-stream", request_id=request_id, exc_info=error)
        failure = MainspringError("The server failed. The log has the details under this request's id.")
        return error_body(failure, self._context.dialect)
