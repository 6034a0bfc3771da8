"""What the server and a replica say to one another: msgpack frames over one ZeroMQ pair socket.

One `Step` carries everything an engine step has to tell, for all sequences together, so that the cost of a token stays
flat as concurrency grows. Importing this costs nothing: the server uses it without numpy or the inference library.
"""

from collections.abc import Callable

import msgspec

from mainspring.core.errors import MainspringError, from_wire
from mainspring.core.receipt import Weights
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, Load

__all__ = [
    "Broken",
    "Cancel",
    "Embed",
    "Embedded",
    "Failure",
    "FromReplica",
    "Hello",
    "ReplicaSpec",
    "Step",
    "Submit",
    "ToReplica",
    "decode_from_replica",
    "decode_to_replica",
    "encode",
]


class ReplicaSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica is started with, as one line of JSON on its standard input: the weights' path, the endpoint to
    connect to, `EngineSettings` as JSON, the lock file of those who share this machine's cores (see `turn.py`), and
    what the catalog says of the weights."""

    model: str
    endpoint: str
    settings: msgspec.Raw
    turn: str | None = None
    weights: Weights | None = None


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """Server to replica: run this."""

    request: GenerateRequest


class Embed(msgspec.Struct, frozen=True, array_like=True, tag="embed"):
    """Server to replica: turn these into vectors."""

    request: EmbedRequest


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Server to replica: nobody wants this any more."""

    id: str


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Replica to server, once: the model is loaded."""

    context_length: int
    kv_total: int


class Broken(msgspec.Struct, frozen=True, array_like=True, tag="broken"):
    """Replica to server, as its last word: why the model does not load."""

    message: str


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """A request's error, by class name and fields."""

    id: str
    name: str
    message: str
    code: str
    param: str | None = None
    retry_after_s: float | None = None

    @classmethod
    def of(cls, request_id: str, error: MainspringError) -> "Failure":
        """From an exception."""
        return cls(request_id, type(error).__name__, error.message, error.code, error.param, error.retry_after_s)

    def error(self) -> MainspringError:
        """Back to an exception."""
        return from_wire(self.name, self.message, self.code, self.param, self.retry_after_s)


class Step(msgspec.Struct, frozen=True, array_like=True, tag="step"):
    """Replica to server: all events of one engine step."""

    events: list[tuple[str, Event]]
    failures: list[Failure]
    load: Load


class Embedded(msgspec.Struct, frozen=True, array_like=True, tag="embedded"):
    """Replica to server: the vectors of a request. One that fails is told in a `Step`."""

    id: str
    embeddings: Embeddings
    load: Load


ToReplica = Submit | Embed | Cancel
FromReplica = Hello | Broken | Step | Embedded

encode = msgspec.msgpack.Encoder().encode
decode_to_replica: Callable[[bytes], ToReplica] = msgspec.msgpack.Decoder(ToReplica).decode
decode_from_replica: Callable[[bytes], FromReplica] = msgspec.msgpack.Decoder(FromReplica).decode
