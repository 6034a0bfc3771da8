"""Settings of batches."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BatchSettings"]


class BatchSettings(BaseModel):
    """Batches of requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrent: int = Field(2, ge=0, le=1024, description="Batches that this server works on at once; 0 works on none.")
    in_flight: int = Field(
        32, ge=1, le=4096, description="Requests of a batch made at once, at most; fewer if the model holds few."
    )
    per_project: int = Field(
        100, ge=0, description="Batches of a project that may wait or run at the same time; 0 sets no limit."
    )
    window_s: float = Field(
        86_400.0, gt=0, description="Seconds that a batch has: what is not done then expires. 24h, as the API calls it."
    )
    lease_s: float = Field(
        30.0, ge=1, le=600, description="Seconds without a sign of life after which another server takes over a batch."
    )
