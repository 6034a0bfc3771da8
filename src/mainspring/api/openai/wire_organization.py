"""Bodies of OpenAI's administration: projects, their keys and limits."""

from typing import Annotated, Literal

from pydantic import Field

from mainspring.api.openai.wire_base import NotYet, Wire

__all__ = [
    "AdminApiKeyCreateRequest",
    "ProjectCreateRequest",
    "ProjectRateLimitUpdateRequest",
    "ProjectUpdateRequest",
    "ServiceAccountApiKeyCreateRequest",
    "ServiceAccountCreateRequest",
    "ServiceAccountUpdateRequest",
    "SpendLimitUpdateRequest",
]

YEAR_S = 31_536_000
Title = Annotated[str, Field(min_length=1, max_length=256)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class ProjectCreateRequest(Wire):
    """The body of organization/projects."""

    name: Title = Field(description="What people call it; its id is made of this.")
    residency: NotYet = None
    external_key_id: NotYet = None


class ProjectUpdateRequest(Wire):
    """The body of organization/projects/{project_id}."""

    name: Title | None = Field(None, description="What people call it. Its id stays.")
    external_key_id: NotYet = None


class ServiceAccountCreateRequest(Wire):
    """The body of service_accounts."""

    name: Name = Field(description="What it is called.")
    create_service_account_only: bool | None = Field(None, description="Without a role, and so without a key.")
    expires_in_seconds: int | None = Field(None, ge=1, le=YEAR_S, description="When its first key stops working.")


class ServiceAccountUpdateRequest(Wire):
    """The body of service_accounts/{service_account_id}."""

    name: Name | None = Field(None, description="What it is called.")
    role: Literal["member"] | None = Field(None, description="That of the keys that it gets from now on.")


class ServiceAccountApiKeyCreateRequest(Wire):
    """The body of service_accounts/{service_account_id}/api_keys."""

    name: Name | None = Field(None, description="Unique among the keys of all projects; one is made up for you.")
    scopes: NotYet = None


class ProjectRateLimitUpdateRequest(Wire):
    """The body of rate_limits/{rate_limit_id}. Both are the same capacity, in units of 1,000 tokens and 6 requests."""

    max_requests_per_1_minute: int | None = Field(None, ge=6, le=6_000_000, multiple_of=6)
    max_tokens_per_1_minute: int | None = Field(None, ge=1000, le=1_000_000_000, multiple_of=1000)
    max_images_per_1_minute: NotYet = None
    max_audio_megabytes_per_1_minute: NotYet = None
    max_requests_per_1_day: NotYet = None
    batch_1_day_max_input_tokens: NotYet = None


class SpendLimitUpdateRequest(Wire):
    """The body of spend_limit."""

    threshold_amount: int = Field(ge=1, le=10**11, description="Cents of the currency that prices are given in.")
    currency: Literal["USD"]
    interval: Literal["month"]


class AdminApiKeyCreateRequest(Wire):
    """The body of organization/admin_api_keys."""

    name: Name = Field(description="Unique among all keys.")
    expires_in_seconds: int | None = Field(None, ge=1, le=YEAR_S, description="When it stops working; never without.")
