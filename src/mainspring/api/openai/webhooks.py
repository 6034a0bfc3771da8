"""webhook_endpoints and webhook_event_types, as the official packages' `client.webhooks` asks for them; and under /v1/x
what is ours alone: what was delivered, and once more. Parse, call `webhooks.hooks`, render."""

from functools import partial
from typing import Any, cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.pages import chosen, part_of
from mainspring.api.openai.wire_webhooks import (
    CreateWebhookEndpointRequest,
    ReplayWebhookRequest,
    RotateWebhookSecretRequest,
    TestWebhookEndpointRequest,
    UpdateWebhookEndpointRequest,
)
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.webhooks.deliveries import Delivery, Status
from mainspring.webhooks.endpoints import Endpoint, Endpoints
from mainspring.webhooks.events import EVENT_TYPES
from mainspring.webhooks.hooks import Webhooks

__all__ = ["WebhookRoutes", "webhook_operations"]

STATUSES: tuple[str, ...] = get_args(Status)


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. `signing_secret` is shown once, when it is made. `enabled` is Mainspring's own."""

    id: str
    object: str = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    enabled: bool
    signing_secret: str | msgspec.UnsetType = msgspec.UNSET
    signing_secret_hint: str

    @classmethod
    def of(cls, found: Endpoint, secret: str | msgspec.UnsetType = msgspec.UNSET) -> "WebhookEndpoint":
        """From the row below the edge."""
        return cls(
            id=found.id, created_at=int(found.created), updated_at=int(found.updated), name=found.name, url=found.url,
            event_types=list(found.event_types), enabled=found.enabled, signing_secret=secret,
            signing_secret_hint=found.hint,
        )  # fmt: skip


class WebhookEndpointList(msgspec.Struct, frozen=True, kw_only=True):
    """Endpoints, newest first."""

    object: str = "list"
    data: list[WebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class WebhookEndpointGone(msgspec.Struct, frozen=True, kw_only=True):
    """That an endpoint is deleted."""

    id: str
    object: str = "webhook_endpoint.deleted"
    deleted: bool = True


class WebhookTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """That an endpoint answered, and with what status."""

    object: str = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: bool = True


class WebhookEventTypes(msgspec.Struct, frozen=True, kw_only=True):
    """What can be told."""

    object: str = "list"
    data: list[str]


class WebhookAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request. While it runs, all but `number` and `started_at` are null."""

    number: int
    started_at: float
    duration_s: float | None
    status_code: int | None
    error: str | None


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is to be told to an endpoint. Its id is the header webhook-id of every attempt."""

    id: str
    object: str = "webhook_delivery"
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    object_id: str
    created_at: int
    status: str
    attempts: list[WebhookAttempt]
    next_attempt_at: float | None
    finished_at: float | None

    @classmethod
    def of(cls, found: Delivery) -> "WebhookDelivery":
        """From the row below the edge."""
        attempts = [
            WebhookAttempt(number=each.number, started_at=each.started, duration_s=each.duration_s,
                           status_code=each.status_code, error=each.error)
            for each in found.attempts
        ]  # fmt: skip
        return cls(
            id=found.id, webhook_endpoint_id=found.endpoint, event_id=found.event.id, event_type=found.event.type,
            object_id=found.event.object, created_at=int(found.created), status=found.status, attempts=attempts,
            next_attempt_at=found.due if found.status == "pending" else None, finished_at=found.finished,
        )  # fmt: skip


class WebhookDeliveryList(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, newest first."""

    object: str = "list"
    data: list[WebhookDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool


class WebhookReplay(msgspec.Struct, frozen=True, kw_only=True):
    """How many events are told once more."""

    object: str = "webhook_endpoint.replay"
    webhook_endpoint_id: str
    events: int


class WebhookRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, webhooks: Webhooks) -> None:
        self._webhooks, self._max_bytes = webhooks, services.max_body_bytes

    async def create(self, http: Request) -> Response:
        """Make an endpoint."""
        body = await read_body(http, CreateWebhookEndpointRequest, self._max_bytes)
        made, secret = await self._endpoints(http).create(
            context_of(http).project, name=body.name, url=body.url, event_types=body.event_types,
            enabled=body.enabled is not False,
        )  # fmt: skip
        return replies.json(WebhookEndpoint.of(made, secret))

    async def list(self, http: Request) -> Response:
        """Endpoints of the project."""
        found, more = await self._webhooks.endpoints.list(context_of(http).project, **part_of(http))
        data = [WebhookEndpoint.of(each) for each in found]
        return replies.json(WebhookEndpointList(data=data, has_more=more, **_ends([each.id for each in found])))

    async def retrieve(self, http: Request) -> Response:
        """One endpoint."""
        return replies.json(WebhookEndpoint.of(await self._webhooks.endpoints.get(*_named(http))))

    async def update(self, http: Request) -> Response:
        """Change one."""
        body = await read_body(http, UpdateWebhookEndpointRequest, self._max_bytes)
        made = await self._endpoints(http).update(
            *_named(http), name=body.name, url=body.url, event_types=body.event_types, enabled=body.enabled
        )
        return replies.json(WebhookEndpoint.of(made))

    async def delete(self, http: Request) -> Response:
        """Delete one."""
        project, endpoint = _named(http)
        await self._endpoints(http).remove(project, endpoint)
        return replies.json(WebhookEndpointGone(id=endpoint))

    async def rotate(self, http: Request) -> Response:
        """Give one another secret."""
        body = await read_body(http, RotateWebhookSecretRequest, self._max_bytes)
        keep_old = body.keep_old_secret_active_for_24_hours is True
        return replies.json(WebhookEndpoint.of(*await self._endpoints(http).rotate(*_named(http), keep_old=keep_old)))

    async def test(self, http: Request) -> Response:
        """Send a sample."""
        body = await read_body(http, TestWebhookEndpointRequest, self._max_bytes)
        project, endpoint = _named(http)
        status = await self._webhooks.test(project, endpoint, body.event_type)
        return replies.json(
            WebhookTestResult(webhook_endpoint_id=endpoint, event_type=body.event_type, status_code=status)
        )

    async def types(self, _: Request) -> Response:
        """What can be told."""
        return replies.json(WebhookEventTypes(data=list(EVENT_TYPES)))

    async def deliveries(self, http: Request) -> Response:
        """What an endpoint was told."""
        status = cast("Status | None", chosen(http, "status", STATUSES))
        found, more = await self._webhooks.deliveries(*_named(http), status=status, **part_of(http))
        data = [WebhookDelivery.of(each) for each in found]
        return replies.json(WebhookDeliveryList(data=data, has_more=more, **_ends([each.id for each in found])))

    async def delivery(self, http: Request) -> Response:
        """One of it."""
        found = await self._webhooks.delivery(*_named(http), http.path_params["delivery_id"])
        return replies.json(WebhookDelivery.of(found))

    async def replay(self, http: Request) -> Response:
        """One of it, again."""
        found = await self._webhooks.replay(*_named(http), http.path_params["delivery_id"])
        return replies.json(WebhookDelivery.of(found))

    async def replay_since(self, http: Request) -> Response:
        """All since a time, again."""
        body = await read_body(http, ReplayWebhookRequest, self._max_bytes)
        project, endpoint = _named(http)
        count = await self._webhooks.replay_since(
            project, endpoint, float(body.since), only_undelivered=body.only_undelivered is True
        )
        return replies.json(WebhookReplay(webhook_endpoint_id=endpoint, events=count))

    def _endpoints(self, http: Request) -> Endpoints:
        principal = context_of(http).principal
        assert principal is not None, "the route needs a permission"
        return self._webhooks.endpoints.by(principal.id)


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["webhook_endpoint_id"]


def _ends(ids: list[str]) -> dict[str, Any]:
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


_PAGE = ("webhooks/after", "webhooks/limit")


def webhook_operations(services: Services, webhooks: Webhooks) -> list[Operation]:
    """Every operation in every dialect, for the table of the application."""
    prefixes: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))
    routes = WebhookRoutes(services, webhooks)
    return [*(each for place in prefixes for each in _operations(routes, *place)), *_own_operations(routes)]


def _operations(routes: WebhookRoutes, prefix: str, dialect: Dialect) -> list[Operation]:
    asks = partial(Operation, dialect=dialect, needs="webhooks", extra_status=(400, 409, 503))
    many, name = f"{prefix}/webhook_endpoints", f"{dialect}_webhooks"
    one = f"{many}/{{webhook_endpoint_id}}"
    return [
        asks(method="POST", path=many, handler=routes.create, name=f"{name}_create", summary="Make a webhook endpoint",
             body=CreateWebhookEndpointRequest, reply=WebhookEndpoint),
        asks(method="GET", path=many, handler=routes.list, name=f"{name}_list", summary="List webhook endpoints",
             reply=WebhookEndpointList, query=_PAGE),
        asks(method="GET", path=one, handler=routes.retrieve, name=f"{name}_retrieve",
             summary="Describe a webhook endpoint", reply=WebhookEndpoint),
        asks(method="POST", path=one, handler=routes.update, name=f"{name}_update",
             summary="Change a webhook endpoint", body=UpdateWebhookEndpointRequest, reply=WebhookEndpoint),
        asks(method="DELETE", path=one, handler=routes.delete, name=f"{name}_delete",
             summary="Delete a webhook endpoint", reply=WebhookEndpointGone),
        asks(method="POST", path=f"{one}/rotate_secret", handler=routes.rotate, name=f"{name}_rotate",
             summary="Replace the secret of a webhook endpoint", body=RotateWebhookSecretRequest,
             reply=WebhookEndpoint),
        asks(method="POST", path=f"{one}/test", handler=routes.test, name=f"{name}_test",
             summary="Send a sample event to a webhook endpoint", body=TestWebhookEndpointRequest,
             reply=WebhookTestResult),
        asks(method="GET", path=f"{prefix}/webhook_event_types", handler=routes.types, name=f"{name}_types",
             summary="List what webhooks can tell", reply=WebhookEventTypes),
    ]  # fmt: skip


def _own_operations(routes: WebhookRoutes) -> list[Operation]:
    asks = partial(Operation, dialect="openai", needs="webhooks", extra_status=(400, 503))
    one, name = "/v1/x/webhook_endpoints/{webhook_endpoint_id}", "x_webhooks"
    delivery = f"{one}/deliveries/{{delivery_id}}"
    return [
        asks(method="GET", path=f"{one}/deliveries", handler=routes.deliveries, name=f"{name}_deliveries",
             summary="List what a webhook endpoint was told", reply=WebhookDeliveryList,
             query=(*_PAGE, "webhooks/status")),
        asks(method="GET", path=delivery, handler=routes.delivery, name=f"{name}_delivery",
             summary="Describe a delivery to a webhook endpoint", reply=WebhookDelivery),
        asks(method="POST", path=f"{delivery}/replay", handler=routes.replay, name=f"{name}_replay",
             summary="Deliver again", reply=WebhookDelivery),
        asks(method="POST", path=f"{one}/replay", handler=routes.replay_since, name=f"{name}_replay_since",
             summary="Deliver all again that has happened since a time", body=ReplayWebhookRequest,
             reply=WebhookReplay),
    ]  # fmt: skip
