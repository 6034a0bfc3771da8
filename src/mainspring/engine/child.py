"""What the process of every replica does around its model: read what it is to be, tell if that fails, end with its
server."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec
import zmq

from mainspring.core import log
from mainspring.core.config import EngineSettings
from mainspring.core.errors import MainspringError
from mainspring.engine import frames

__all__ = ["Runs", "connect", "end_with_parent", "run_child"]


class Runs(Protocol):
    """A replica that is ready."""

    def run(self) -> None:
        """Serve until the process is told to end."""
        ...


def connect(context: "zmq.Context[zmq.Socket[bytes]]", kind: int, endpoint: str) -> "zmq.Socket[bytes]":
    """A connected socket without limits: what is in flight is bounded by the places of the deployment."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.connect(endpoint)
    return socket


def run_child(build: Callable[[frames.ReplicaSpec, EngineSettings], Runs]) -> None:
    """Load what the standard input describes and serve it; the standard input stays open for as long as the server
    lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to act on
    signal.signal(signal.SIGTERM, _exit)
    log.configure()
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=frames.ReplicaSpec)
    threading.Thread(target=end_with_parent, daemon=True).start()
    settings = EngineSettings.model_validate_json(bytes(spec.settings))
    try:
        replica = build(spec, settings)
    except MainspringError as error:
        socket = connect(zmq.Context(), zmq.PAIR, spec.endpoint)
        socket.send(frames.encode(frames.Broken(error.message)))
        socket.close(linger=1000)
        raise SystemExit(1) from None
    replica.run()


def _exit(_signal: int, _frame: object) -> None:
    os._exit(0)


def end_with_parent() -> None:
    """End this process when its standard input does."""
    sys.stdin.buffer.read()
    os._exit(0)
