"""A replica's process: one model, one engine, one socket to the server.

    python -m mainspring.engine.process <<< '{"model": "...", "endpoint": "ipc://...", "settings": {...}}'

The main thread runs the engine and nothing else; a second one prepares requests. The standard input stays open for as
long as the server lives: when it ends, however the server died, so does the replica.
"""

import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zmq

from mainspring.core import log
from mainspring.core.config import EngineSettings
from mainspring.core.errors import InvalidRequest, MainspringError
from mainspring.core.receipt import EngineBuild, Weights
from mainspring.core.types import GenerateRequest, Load
from mainspring.engine import frames
from mainspring.engine.backend import Adapts, Backend
from mainspring.engine.build import build_of
from mainspring.engine.child import connect, run_child
from mainspring.engine.draft import Drafter, speaks_like
from mainspring.engine.loop import Engine, Output
from mainspring.engine.prepare import Preparer
from mainspring.engine.scheduler import SchedulerConfig
from mainspring.engine.sequence import Sequence
from mainspring.engine.turn import Turn

__all__ = ["Replica", "make_engine"]


REPORT_S = 0.5
"""How often the server is told how busy it is here while no step has anything else to tell: long prompts take many."""

Prepared = tuple[str, list[Sequence] | MainspringError]


class Replica:
    """Moves frames between the socket and the engine."""

    def __init__(
        self, backend: Backend, engine: Engine, endpoint: str, turn: Turn | None = None, *, speculate: bool = True,
        build: EngineBuild | None = None, weights: Weights | None = None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._turn = turn or Turn(None)
        self._preparer = Preparer(backend, speculate=speculate, build=build, weights=weights)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.PAIR, endpoint)
        # Prepared requests are handed over through a queue; the inproc socket only wakes the poller.
        self._prepared: queue.SimpleQueue[Prepared] = queue.SimpleQueue()
        self._woken = self._context.socket(zmq.PULL)
        self._woken.bind("inproc://prepared")
        self._pool = ThreadPoolExecutor(1, "prepare", self._connect_waker)
        self._backend = backend
        self._preparing: dict[str, GenerateRequest] = {}
        self._told = Load()  # what the server knows; it is told with every step, and when the last request left
        self._told_at = 0.0
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)
        hello = frames.Hello(backend.context_length, backend.num_cells)
        self._socket.send(frames.encode(hello))

    def _connect_waker(self) -> None:
        self._waker = connect(self._context, zmq.PUSH, "inproc://prepared")  # a socket belongs to one thread: this one

    def run(self) -> None:
        """Serve until the process is told to end."""
        while True:
            self._receive(None if not self._engine.busy else 0)
            outputs = self._admit()
            if self._engine.busy:
                with self._turn.taken():
                    outputs += self._engine.step()
            if outputs or self._has_news():
                self._send(outputs)

    def _has_news(self) -> bool:
        """Whether the server should be told how busy it is here."""
        if self._engine.busy:
            return time.monotonic() > self._told_at + REPORT_S
        return self._engine.load != self._told

    def _receive(self, timeout_ms: int | None) -> None:
        ready = dict(self._poller.poll(timeout_ms))
        while ready.get(self._woken):
            try:
                self._woken.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
        while ready.get(self._socket):
            try:
                frame: frames.ToReplica = frames.decode_to_replica(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
            match frame:
                case frames.Submit(request):
                    self._preparing[request.id] = request
                    self._pool.submit(self._prepare, request)
                case frames.Cancel(request_id):
                    self._preparing.pop(request_id, None)
                    self._engine.cancel(request_id)
                case frames.Embed(request):
                    refused = InvalidRequest("This model generates text and makes no embeddings.")
                    self._socket.send(
                        frames.encode(frames.Step([], [frames.Failure.of(request.id, refused)], self._told))
                    )

    def _prepare(self, request: GenerateRequest) -> None:
        try:
            result = self._preparer.prepare(request, time.monotonic)
        except MainspringError as error:
            result = error
        except Exception as error:  # noqa: BLE001  one request's bad luck must not silence the thread
            print(f"preparing a request failed: {error!r}", file=sys.stderr, flush=True)
            result = MainspringError("The request could not be prepared.")
        self._prepared.put((request.id, result))
        self._waker.send(b"")

    def _admit(self) -> list[Output]:
        failed: list[Output] = []
        while not self._prepared.empty():
            request_id, result = self._prepared.get()
            if self._preparing.pop(request_id, None) is None:
                continue  # cancelled meanwhile
            if isinstance(result, MainspringError):
                failed.append((request_id, result))
            else:
                self._engine.add(result)
                if result[0].adapter is not None:
                    self._drop_adapters()
        return failed

    def _drop_adapters(self) -> None:
        """Let go of adapters that nobody uses, if there are too many."""
        if isinstance(self._backend, Adapts):
            preparing = {request.adapter.id for request in self._preparing.values() if request.adapter}
            self._backend.drop_adapters(preparing | self._engine.adapters)

    def _send(self, outputs: list[Output]) -> None:
        events = [(name, event) for name, event in outputs if not isinstance(event, MainspringError)]
        failures = [frames.Failure.of(name, event) for name, event in outputs if isinstance(event, MainspringError)]
        self._told, self._told_at = self._engine.load, time.monotonic()
        self._socket.send(frames.encode(frames.Step(events, failures, self._told)))


def make_engine(model: Path, settings: EngineSettings) -> tuple[Backend, Engine]:
    """Load a model and build its engine; raises EngineUnavailable."""
    from mainspring.engine.llama.backend import MAX_OUTPUTS, LlamaBackend  # here, so that tests can do without it

    backend = LlamaBackend(model, settings)
    config = SchedulerConfig(
        max_running=settings.max_running,
        prefill_tokens=settings.prefill_tokens,
        mixed_tokens=settings.mixed_tokens,
        max_outputs=MAX_OUTPUTS,
    )
    # In a split cache nobody scans an idle slot.
    hot_tokens = settings.hot_tokens if settings.kv == "unified" else backend.num_cells
    drafter = None
    if settings.draft_model is not None and settings.speculation == "auto":
        small = LlamaBackend(settings.draft_model, settings)
        if speaks_like(small, backend):
            drafter = Drafter(small, backend, time.monotonic)
        else:  # one setting for all models: it may suit another of them
            small.close()
            log.get().warning("no draft model", model=model.name, reason="engine.draft_model has another vocabulary")
    engine = Engine(
        backend, config, time.monotonic, hot_tokens=hot_tokens, save_bytes=settings.cache_bytes, drafter=drafter
    )
    return backend, engine


def main() -> None:
    """Entry point of the process."""

    def build(spec: frames.ReplicaSpec, settings: EngineSettings) -> Replica:
        backend, engine = make_engine(Path(spec.model), settings)
        turn = Turn(Path(spec.turn) if spec.turn else None)
        speculate = settings.speculation == "auto"
        build = build_of(settings)
        return Replica(backend, engine, spec.endpoint, turn, speculate=speculate, build=build, weights=spec.weights)

    run_child(build)


if __name__ == "__main__":
    main()
