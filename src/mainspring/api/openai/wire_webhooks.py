"""What clients send about webhooks. OpenAI's document has none of it: source is openai-python 3.3.1,
`types/webhooks/webhook_*_params.py`."""

from typing import Annotated

from pydantic import Field

from mainspring.api.openai.wire_base import Wire
from mainspring.webhooks.addresses import MAX_URL
from mainspring.webhooks.events import EVENT_TYPES, EventType

__all__ = [
    "CreateWebhookEndpointRequest",
    "ReplayWebhookRequest",
    "RotateWebhookSecretRequest",
    "TestWebhookEndpointRequest",
    "UpdateWebhookEndpointRequest",
]

Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL)]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=len(EVENT_TYPES))]
Enabled = Annotated[bool | None, Field(description="Whether it is told anything. Mainspring's own.")]


class CreateWebhookEndpointRequest(Wire):
    """An endpoint to be made."""

    name: Name
    url: Url
    event_types: EventTypes
    enabled: Enabled = None


class UpdateWebhookEndpointRequest(Wire):
    """What is to change of an endpoint."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None
    enabled: Enabled = None


class RotateWebhookSecretRequest(Wire):
    """How to replace a secret."""

    keep_old_secret_active_for_24_hours: bool | None = None


class TestWebhookEndpointRequest(Wire):
    """What to send."""

    __test__ = False  # no test, whatever its name is

    event_type: EventType


class ReplayWebhookRequest(Wire):
    """What to send again. Mainspring's own."""

    since: Annotated[int, Field(ge=0, le=4_102_444_800, description="Unix seconds.")]
    only_undelivered: Annotated[bool | None, Field(description="Leave out what was delivered.")] = None
