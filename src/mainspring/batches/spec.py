"""What a batch is asked to do, and how far it is: what its job's row holds as JSON."""

from typing import Any, Literal

import msgspec

from mainspring.core.types import Principal
from mainspring.store.files import File
from mainspring.store.jobs import Job

__all__ = [
    "ACTIVE",
    "BATCH",
    "ENDPOINTS",
    "KIND",
    "Dialect",
    "Fault",
    "Outcome",
    "Spec",
    "State",
    "Tokens",
    "holder",
    "spec_of",
    "state_of",
]

KIND = "batch"
BATCH = "batch"
"""The purpose of an input file."""
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""What a batch may ask for, where this server does it."""
ACTIVE = ("validating", "in_progress", "finalizing", "cancelling")
Outcome = Literal["completed", "failed", "expired", "cancelled"]
Dialect = Literal["openai", "azure", "azure_v1"]


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Args:
        endpoint: as it was written; `path` is what it means, below /v1.
        file: the input, as it was when the batch was made.
        output_expires_s: how long output files are kept.
        deployment: what the path named; what a request that names no model is for.
        principal: whom the requests are made as.
    """

    endpoint: str
    path: str
    file: File
    window: str
    dialect: Dialect
    principal: Principal
    deployment: str = ""
    metadata: dict[str, str] | None = None
    output_expires_s: int | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the input, and on which line."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests have used."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def plus(self, other: "Tokens") -> "Tokens":
        """Both together."""
        names = self.__struct_fields__
        return Tokens(**{name: getattr(self, name) + getattr(other, name) for name in names})


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far it is.

    Args:
        times: when it came into each status, in Unix seconds.
        outcome: what it will be once its files are made.
        enqueued: tokens of its requests, estimated, that count against its deployment while it is open.
    """

    expires: float = 0.0
    times: dict[str, float] = {}
    outcome: Outcome | None = None
    model: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    enqueued: int = 0
    tokens: Tokens = Tokens()
    faults: tuple[Fault, ...] = ()
    output_file: str | None = None
    error_file: str | None = None

    def at(self, status: str, now_s: float, **fields: Any) -> "State":
        """It comes into a status, and some fields change."""
        return msgspec.structs.replace(self, times={**self.times, status: now_s}, **fields)


def spec_of(job: Job) -> Spec:
    """What a batch is asked to do."""
    return msgspec.convert(job.spec, Spec)


def state_of(job: Job) -> State:
    """How far it is."""
    return msgspec.convert(job.state, State)


def holder(batch: str) -> str:
    """The name under which a batch's input is held."""
    return f"hold-{batch}"
