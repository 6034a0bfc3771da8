"""A replica as the server sees it: a `Generate` over one socket."""

import asyncio
from collections.abc import AsyncGenerator

import zmq

from mainspring.core.errors import MainspringError, Unavailable
from mainspring.core.types import Embeddings, EmbedRequest, Event, Finished, GenerateRequest, Load
from mainspring.engine import frames

__all__ = ["ReplicaClient"]

Inbox = asyncio.Queue[Event | Embeddings | MainspringError]


class ReplicaClient:
    """One incarnation of a replica process.

    `hello` resolves when the model is loaded, or fails with Unavailable. Once `close` was called every open request
    has failed with Unavailable and no new one is taken.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.hello: asyncio.Future[frames.Hello] = self._loop.create_future()
        self.load = Load()
        self._open: dict[str, Inbox] = {}
        self._closed: Unavailable | None = None
        self._socket = context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(endpoint)
        self._fd = self._socket.fileno()
        self._loop.add_reader(self._fd, self._readable)

    @property
    def num_open(self) -> int:
        """Requests in flight."""
        return len(self._open)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        if self._closed:
            raise self._closed
        inbox: Inbox = asyncio.Queue()
        self._open[request.id] = inbox
        self._send(frames.Submit(request))
        remaining = request.n
        try:
            while remaining:
                event = await inbox.get()
                if isinstance(event, MainspringError):
                    remaining = 0
                    raise event
                assert not isinstance(event, Embeddings), "vectors for a request that asked for text"
                remaining -= isinstance(event, Finished)
                yield event
        finally:
            del self._open[request.id]
            if remaining and not self._closed:
                self._send(frames.Cancel(request.id))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`."""
        if self._closed:
            raise self._closed
        inbox: Inbox = asyncio.Queue()
        self._open[request.id] = inbox
        self._send(frames.Embed(request))
        answered = False
        try:
            result = await inbox.get()
            answered = True
            if isinstance(result, MainspringError):
                raise result
            assert isinstance(result, Embeddings), "text for a request that asked for vectors"
            return result
        finally:
            del self._open[request.id]
            if not answered and not self._closed:
                self._send(frames.Cancel(request.id))

    def close(self, reason: str) -> None:
        """The process is gone: tell everybody who waits."""
        if self._closed:
            return
        self._closed = Unavailable(reason, retry_after_s=1.0)
        self._loop.remove_reader(self._fd)
        self._socket.close()
        for inbox in self._open.values():
            inbox.put_nowait(self._closed)
        if not self.hello.done():
            self.hello.set_exception(self._closed)
            self.hello.exception()  # seen: nobody may be waiting for it

    def _send(self, frame: frames.ToReplica) -> None:
        self._socket.send(frames.encode(frame), zmq.NOBLOCK)
        # ZeroMQ's descriptor is edge-triggered, and sending may have used up the edge that announced a message.
        self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        while not self._closed:
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on(frames.decode_from_replica(frame))

    def _on(self, frame: frames.FromReplica) -> None:
        match frame:
            case frames.Step(events, failures, load):
                self.load = load
                for request_id, event in events:
                    if inbox := self._open.get(request_id):  # else cancelled: the frame crossed ours
                        inbox.put_nowait(event)
                for failure in failures:
                    if inbox := self._open.get(failure.id):
                        inbox.put_nowait(failure.error())
            case frames.Embedded(request_id, embeddings, load):
                self.load = load
                if inbox := self._open.get(request_id):
                    inbox.put_nowait(embeddings)
            case frames.Hello():
                self.load = Load(kv_total=frame.kv_total)
                self.hello.set_result(frame)
            case frames.Broken(message):
                self.close(message)
