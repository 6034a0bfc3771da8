"""A replica's process for an embedding model: the sibling of `process` with the same spec, frames and turns.

    python -m mainspring.engine.embedding <<< '{"model": "...", "endpoint": "ipc://...", "settings": {...}}'

One thread is enough: tokenising is fast, and no stream of tokens waits for it. What is computed together is up to
`pool`.
"""

import sys
import time
from pathlib import Path

import zmq

from mainspring.core.config import EngineSettings
from mainspring.core.errors import DeadlineExceeded, InvalidRequest, MainspringError
from mainspring.core.types import EmbedRequest, Load
from mainspring.engine import frames
from mainspring.engine.child import connect, run_child
from mainspring.engine.pool import Embedder, Pool, prepare
from mainspring.engine.turn import Turn

__all__ = ["EmbeddingReplica", "make_embedder"]


class EmbeddingReplica:
    """Moves frames between the socket and the model."""

    def __init__(self, model: Embedder, budget: int, endpoint: str, turn: Turn | None = None) -> None:
        self._model = model
        self._pool = Pool(budget)
        self._turn = turn or Turn(None)
        self._socket = connect(zmq.Context(), zmq.PAIR, endpoint)
        self._socket.send(frames.encode(frames.Hello(model.context_length, 0)))

    def run(self) -> None:
        """Serve until the process is told to end."""
        while True:
            self.receive(None if not self._pool.jobs else 0)
            if self._pool.jobs:
                self._compute()

    def receive(self, timeout_ms: int | None) -> None:
        """Take every frame that is there, after waiting for one."""
        ready = self._socket.poll(timeout_ms)
        while ready:
            try:
                frame = frames.decode_to_replica(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                break
            match frame:
                case frames.Embed(request):
                    self._admit(request)
                case frames.Cancel(request_id):
                    for job in self._pool.jobs:
                        if job.id == request_id:
                            self._pool.remove(job)
                case frames.Submit(request):
                    self._fail(request.id, InvalidRequest("This model makes embeddings and generates no text."))

    def _admit(self, request: EmbedRequest) -> None:
        try:
            self._pool.add(prepare(request, self._model, time.monotonic()))
        except MainspringError as error:
            self._fail(request.id, error)
        except Exception as error:  # noqa: BLE001  one request's bad luck must not end the others
            print(f"preparing a request failed: {error!r}", file=sys.stderr, flush=True)
            self._fail(request.id, MainspringError("The request could not be prepared."))

    def _compute(self) -> None:
        now = time.monotonic()
        for job in self._pool.jobs:
            if job.deadline <= now:
                self._pool.remove(job)
                self._fail(job.id, DeadlineExceeded("The request's deadline passed before it was finished."))
        if not self._pool.jobs:
            return
        batch = self._pool.take()
        with self._turn.taken():
            vectors = self._model.embed([job.rows[row] for job, row in batch])
        for (job, row), vector in zip(batch, vectors, strict=True):
            job.put(row, vector)
            if not job.missing:
                self._send(frames.Embedded(job.id, job.result(), self._load()))

    def _fail(self, request_id: str, error: MainspringError) -> None:
        self._send(frames.Step([], [frames.Failure.of(request_id, error)], self._load()))

    def _load(self) -> Load:
        jobs = self._pool.jobs
        since = [job.arrived for job in jobs if job.untouched and not job.is_patient]
        queue_s = round(time.monotonic() - min(since), 3) if since else 0.0
        return Load(running=len(jobs) - len(since), waiting=len(since), queue_s=queue_s)

    def _send(self, frame: frames.FromReplica) -> None:
        self._socket.send(frames.encode(frame))


def make_embedder(model: Path, settings: EngineSettings) -> Embedder:
    """Load a model: safetensors on ONNX Runtime, GGUF on llama.cpp. Raises EngineUnavailable."""
    if model.suffix.lower() == ".gguf":
        from mainspring.engine.llama.embedder import LlamaEmbedder

        return LlamaEmbedder(model, settings)
    from mainspring.engine.llama.backend import physical_cores
    from mainspring.engine.onnx import OnnxEmbedder

    return OnnxEmbedder(model, settings.embedding_precision, settings.threads or physical_cores())


def main() -> None:
    """Entry point of the process."""

    def build(spec: frames.ReplicaSpec, settings: EngineSettings) -> EmbeddingReplica:
        model = make_embedder(Path(spec.model), settings)
        turn = Turn(Path(spec.turn) if spec.turn else None)
        return EmbeddingReplica(model, settings.prefill_tokens, spec.endpoint, turn)

    run_child(build)


if __name__ == "__main__":
    main()
