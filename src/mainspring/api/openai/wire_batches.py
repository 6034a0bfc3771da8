"""What clients send about batches, and what the server sends: OpenAI's shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import Field

from mainspring.api.openai.wire_base import Wire
from mainspring.batches.spec import Fault, State, spec_of, state_of
from mainspring.store.jobs import Job

__all__ = ["Batch", "BatchList", "CreateBatchRequest"]

Text = Annotated[str, Field(min_length=1, max_length=256)]


class BatchFileExpirationIn(Wire):
    """When output files vanish."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class CreateBatchRequest(Wire):
    """A batch to be made."""

    input_file_id: Text
    endpoint: Text = Field(description="Such as /v1/chat/completions; the /v1 may be left out, as in Azure.")
    completion_window: Text = Field(description="Only 24h.")
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    output_expires_after: BatchFileExpirationIn | None = None


class BatchErrorItem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with the input, and on which line of it."""

    code: str
    message: str
    param: str | None
    line: int | None

    @classmethod
    def of(cls, fault: Fault) -> "BatchErrorItem":
        """From what was found."""
        return cls(code=fault.code, message=fault.message, param=fault.param, line=fault.line)


class BatchErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Why a batch failed."""

    object: str = "list"
    data: list[BatchErrorItem]


class BatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is. `failed` are those that are or will be in the error file."""

    total: int
    completed: int
    failed: int


class BatchInputDetails(msgspec.Struct, frozen=True):
    """Of the tokens that were read."""

    cached_tokens: int


class BatchOutputDetails(msgspec.Struct, frozen=True):
    """Of the tokens that were written."""

    reasoning_tokens: int


class BatchUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests have used so far."""

    input_tokens: int
    input_tokens_details: BatchInputDetails
    output_tokens: int
    output_tokens_details: BatchOutputDetails
    total_tokens: int


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch. Times are Unix seconds; what it has not come to is left out."""

    id: str
    object: str = "batch"
    endpoint: str
    model: str | UnsetType = UNSET
    errors: BatchErrors | UnsetType = UNSET
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | UnsetType = UNSET
    error_file_id: str | UnsetType = UNSET
    created_at: int
    in_progress_at: int | UnsetType = UNSET
    expires_at: int
    finalizing_at: int | UnsetType = UNSET
    completed_at: int | UnsetType = UNSET
    failed_at: int | UnsetType = UNSET
    expired_at: int | UnsetType = UNSET
    cancelling_at: int | UnsetType = UNSET
    cancelled_at: int | UnsetType = UNSET
    request_counts: BatchCounts
    usage: BatchUsage
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, job: Job) -> "Batch":
        """From the row below the edge."""
        spec, state = spec_of(job), state_of(job)
        errors = [BatchErrorItem.of(fault) for fault in state.faults]

        def at(status: str) -> int | UnsetType:
            return int(state.times[status]) if status in state.times else UNSET

        return cls(
            id=job.id, endpoint=spec.endpoint, model=state.model or UNSET,
            errors=BatchErrors(data=errors) if errors else UNSET, input_file_id=spec.file.id,
            completion_window=spec.window, status=job.status, output_file_id=state.output_file or UNSET,
            error_file_id=state.error_file or UNSET, created_at=int(job.created), expires_at=int(state.expires),
            request_counts=BatchCounts(total=state.total, completed=state.completed, failed=state.failed),
            usage=_usage(state), metadata=spec.metadata, in_progress_at=at("in_progress"),
            finalizing_at=at("finalizing"), completed_at=at("completed"), failed_at=at("failed"),
            expired_at=at("expired"), cancelling_at=at("cancelling"), cancelled_at=at("cancelled"),
        )  # fmt: skip


def _usage(state: State) -> BatchUsage:
    used = state.tokens
    return BatchUsage(
        input_tokens=used.input, input_tokens_details=BatchInputDetails(used.cached), output_tokens=used.output,
        output_tokens_details=BatchOutputDetails(used.reasoning), total_tokens=used.input + used.output,
    )  # fmt: skip


class BatchList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of batches, newest first; `first_id` and `last_id` are of this page."""

    object: str = "list"
    data: list[Batch]
    first_id: str | UnsetType
    last_id: str | UnsetType
    has_more: bool

    @classmethod
    def of(cls, jobs: list[Job], *, has_more: bool) -> "BatchList":
        """From rows."""
        ends = (jobs[0].id, jobs[-1].id) if jobs else (UNSET, UNSET)
        return cls(data=[Batch.of(job) for job in jobs], first_id=ends[0], last_id=ends[1], has_more=has_more)
