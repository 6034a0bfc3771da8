"""What every wire model is built on."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Label", "NotYet", "Wire"]

NotYet = Annotated[None, Field(description="Not supported yet: only null is accepted.")]
Label = Annotated[
    str | None, Field(max_length=256, description="A label of the client's own; it does not change the answer.")
]


class Wire(BaseModel):
    """Strict: no conversions, no unknown fields, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())
