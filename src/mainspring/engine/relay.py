"""A replica whose engine schedules itself: moves frames between the socket and a `Generate`, in one event loop.

What `process.py` is to our own engine. Requests run as tasks; all events that one turn of the loop brings go into one
frame, so the cost of a token stays flat as concurrency grows.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import zmq
import zmq.asyncio

from mainspring.core.errors import InvalidRequest, MainspringError
from mainspring.core.types import Event, GenerateRequest, Load
from mainspring.engine import frames

__all__ = ["Relay", "Served"]


class Served(Protocol):
    """An engine with a scheduler of its own."""

    @property
    def hello(self) -> frames.Hello:
        """What the server is told first."""
        ...

    @property
    def load(self) -> Load:
        """How busy."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        ...

    async def watch(self) -> None:
        """Runs beside the requests, for as long as the engine is well."""
        ...


class Relay:
    """See `child.Runs`.

    Invariant: a request is in `_tasks` from its submission until it was answered, failed or cancelled.
    """

    def __init__(self, engine: Served, endpoint: str) -> None:
        self._engine = engine
        self._endpoint = endpoint
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._events: list[tuple[str, Event]] = []
        self._failures: list[frames.Failure] = []
        self._told = Load()
        self._flushing = False

    def run(self) -> None:
        """Serve until the process is told to end, or the engine is lost."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """The same, in a loop that runs already."""
        context: Any = zmq.asyncio.Context()
        self._socket: Any = context.socket(zmq.PAIR)
        for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER):
            self._socket.setsockopt(option, 0)
        self._socket.connect(self._endpoint)
        self._socket.send(frames.encode(self._engine.hello))
        watch = asyncio.create_task(self._engine.watch())
        receive = asyncio.create_task(self._receive())
        try:
            done, _ = await asyncio.wait([watch, receive], return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in (watch, receive, *self._tasks.values()):
                task.cancel()
            self._socket.close()
            context.term()

    async def _receive(self) -> None:
        while True:
            match frames.decode_to_replica(await self._socket.recv()):
                case frames.Submit(request):
                    self._tasks[request.id] = asyncio.create_task(self._answer(request))
                case frames.Cancel(request_id):
                    if task := self._tasks.get(request_id):
                        task.cancel()
                case frames.Embed(request):
                    self._fail(request.id, InvalidRequest("This model generates text and makes no embeddings."))

    async def _answer(self, request: GenerateRequest) -> None:
        try:
            async for event in self._engine.generate(request):
                self._events.append((request.id, event))
                self._flush_soon()
        except MainspringError as error:
            self._fail(request.id, error)
        except Exception as error:  # noqa: BLE001  one request's bad luck is not the others'
            print(f"a request failed: {error!r}", file=sys.stderr, flush=True)
            self._fail(request.id, MainspringError("The request could not be computed."))
        finally:
            del self._tasks[request.id]
            self._flush_soon()

    def _fail(self, request_id: str, error: MainspringError) -> None:
        self._failures.append(frames.Failure.of(request_id, error))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        load = self._engine.load
        if self._events or self._failures or load != self._told:
            self._socket.send(frames.encode(frames.Step(self._events, self._failures, load)))
            self._events, self._failures, self._told = [], [], load
