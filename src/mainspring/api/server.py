"""uvicorn with the two limits it lacks, and our own way to stop.

A request's head has so many seconds and so many bytes to arrive (slow-loris); what is not HTTP is answered in the same
error shape as everything else. `run` serves until a signal, and leaves starting and stopping the rest to its caller.
"""

import asyncio
import contextlib
import gc
import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mainspring.core.errors import UserMistake

__all__ = ["bind", "run"]

MAX_HEAD_BYTES = 64 * 1024
DRAIN_S = 1.0
"""After the streams in flight were told to end: how long their last bytes may take."""
YOUNG_OBJECTS, OLD_LOOKS = 1_000, 50
"""New objects before the garbage collector looks for cycles among them, and how often it looks at younger ones before
it looks at all. Each look stops the answers: half a millisecond at 1,000, ten at 20,000, and those were the p99."""
SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits for it. Python's own 5 ms: a request's whole time."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises UserMistake when the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserMistake(
            f"Cannot listen on {host} port {port} ({error.strerror}): choose another with --port, or 0 for a free one."
        ) from error
    listener.set_inheritable(False)
    return listener


class _Protocol(HttpToolsProtocol):
    """One connection."""

    head_timeout_s = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(self.head_timeout_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:  # a later request on the same connection
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._starts_body(data):
                self._refuse(431, "The head of the request is larger than 64 KiB.")
                return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's sentence does not help
        self._refuse(400, "This is not a valid HTTP/1.1 request.")

    @staticmethod
    def _starts_body(data: bytes) -> bool:
        """The head ended within a large first read: the rest is body, which has a limit of its own."""
        return b"\r\n\r\n" in data

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, message: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_http"}
        body = json.dumps({"error": error}).encode()
        head = f"HTTP/1.1 {status} Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self.transport.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """Leaves signals to `run`: uvicorn would raise them again before anybody else could clean up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _favour_answers() -> None:
    """What has been made by now stays: the collector need not look at it again while answers wait. And a thread that
    moves the ledger gives the interpreter back soon: the event loop lets go of it with each line that it writes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, OLD_LOOKS)
    sys.setswitchinterval(SWITCH_S)


async def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    head_timeout_s: float,
    grace_s: float,
    stopping: Callable[[], None] = lambda: None,
    end_streams: Callable[[], Awaitable[Any]],
) -> None:
    """Serve until SIGINT or SIGTERM.

    Then new connections are refused, `stopping` is called, so that nobody waits for what may not come, and streams in
    flight have `grace_s` seconds to end by themselves; `end_streams` ends those that did not, with an error that their
    clients can read. A second signal skips the wait.
    """
    config = uvicorn.Config(
        app,
        http=type("Protocol", (_Protocol,), {"head_timeout_s": head_timeout_s}),
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",
        server_header=False,
        proxy_headers=False,  # nothing reads the client's address, and each layer costs every token
        timeout_keep_alive=75,
        timeout_graceful_shutdown=round(grace_s + DRAIN_S),
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    async def end_after(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await end_streams()

    def stop() -> None:
        server.should_exit = True
        stopping()
        ending.append(loop.create_task(end_after(0.0 if ending else grace_s)))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    _favour_answers()
    try:
        await server.serve(sockets=[listener])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        for task in ending:
            task.cancel()
        await end_streams()
