"""Settings of responses and conversations."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ResponseSettings"]


class ResponseSettings(BaseModel):
    """Responses that are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention_days: float = Field(
        30.0,
        gt=0,
        le=3650,
        description="Days that responses are kept; what a later one goes on from stays as long as it.",
    )
    concurrent: int = Field(8, ge=0, le=1024, description="Responses in the background that one server makes at once.")
    per_project: int = Field(
        1000, ge=1, description="Responses of a project that may wait or run in the background at the same time."
    )
    lease_s: float = Field(
        15.0, ge=3, le=600, description="Seconds without a sign of life after which another server takes one over."
    )
