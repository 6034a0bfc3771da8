"""Settings of webhooks: a part of `core/config.py`."""

from ipaddress import ip_network

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["WebhookSettings"]

DAY_S = 86_400.0


class WebhookSettings(BaseModel):
    """Webhooks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_http: bool = Field(
        False, description="Deliver to http URLs too: whoever is between reads what happened, though it stays signed."
    )
    allow_networks: tuple[str, ...] = Field(
        (),
        description="Networks that are not the internet's and are delivered to all the same, such as 127.0.0.0/8 or "
        "10.1.0.0/16; without this, whoever may make endpoints could reach what only this machine can.",
    )
    timeout_s: float = Field(15.0, gt=0, le=120, description="Seconds that an endpoint has to answer a delivery.")
    retry_s: float = Field(3 * DAY_S, gt=0, le=14 * DAY_S, description="Seconds for which a delivery is tried again.")
    keep_s: float = Field(
        30 * DAY_S, ge=DAY_S, description="Seconds for which events and what became of their deliveries are kept."
    )
    concurrent: int = Field(32, ge=1, le=1024, description="Deliveries that a server sends at once.")
    concurrent_per_endpoint: int = Field(
        4, ge=1, le=1024, description="Of all servers together, the most to one endpoint at once."
    )
    endpoints_per_project: int = Field(100, ge=1, description="Endpoints that a project may have.")

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            ip_network(each)  # a ValueError of its own says what is wrong
        return given
