"""Settings of evaluations and of stored chats."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EvalSettings", "StoredChatSettings"]


class EvalSettings(BaseModel):
    """Evaluations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrent: int = Field(2, ge=0, le=64, description="Runs of evaluations that a server works on; 0 works on none.")
    items: int = Field(8, ge=1, le=256, description="Items of a run that are answered and graded at a time.")
    max_items: int = Field(50_000, ge=1, le=10_000_000, description="Most items of a run.")
    runs_per_project: int = Field(
        100, ge=0, description="Runs of a project that may wait or run at the same time; 0 sets no limit."
    )
    lease_s: float = Field(
        30.0, ge=1, le=600, description="Seconds without a sign of life after which another server takes over a run."
    )


class StoredChatSettings(BaseModel):
    """Chats that are sent with store: true."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention_s: float = Field(
        30 * 86_400.0, ge=0, description="Seconds that a stored chat is kept; 0 keeps it until it is deleted."
    )
