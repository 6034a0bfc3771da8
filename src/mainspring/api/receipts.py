"""Receipts, under /v1/x/responses/{id}: how a response was made, what the model was shown for it, and made again.

They are whose the response is; for everybody else it is not there.
"""

from functools import partial
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.request import deployment
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.responses.meter import ResponseContext
from mainspring.responses.receipt import Receipt
from mainspring.responses.receipts import Receipts
from mainspring.responses.rerun import Rerun, Wanted

__all__ = ["receipt_operations"]


class RerunRequest(Wire):
    """How a response is to be made again."""

    model: str | None = Field(
        None, min_length=1, max_length=256,
        description="Another deployment, to see where it says something else; otherwise the one that has answered.",
    )  # fmt: skip
    receipt: dict[str, Any] | None = Field(
        None, description="A receipt that was kept: if it is not the one that the server gives, nothing is made again."
    )


class ReceiptRoutes:
    """The handlers."""

    def __init__(self, services: Services, receipts: Receipts) -> None:
        self._services, self._receipts = services, receipts

    async def receipt(self, http: Request) -> HttpResponse:
        """How it was made."""
        return replies.json(await self._receipts.receipt(*_named(http)))

    async def context(self, http: Request) -> HttpResponse:
        """What the model was shown."""
        return replies.json(await self._receipts.context(*_named(http)))

    async def rerun(self, http: Request) -> HttpResponse:
        """The same once more."""
        body = await read_body(http, RerunRequest, self._services.max_body_bytes)
        context = context_of(http)
        if body.model is not None:
            deployment(http, context, self._services, body.model)
        wanted = Wanted(
            id=http.path_params["response_id"], project=context.project,
            tenant=context.principal.id if context.principal else "", model=body.model, receipt=body.receipt,
            deadline_s=self._services.request_timeout_s,
        )  # fmt: skip
        return replies.json(await self._receipts.rerun(wanted, context.person, self._services.generate))


def _named(http: Request) -> tuple[str, str, str]:
    context = context_of(http)
    return context.project, http.path_params["response_id"], context.person


def receipt_operations(services: Services, receipts: Receipts) -> list[Operation]:
    """The operations, for the table of the application."""
    routes, one = ReceiptRoutes(services, receipts), "/v1/x/responses/{response_id}"
    asks = partial(Operation, dialect="openai", needs="inference", extra_status=(400, 503))
    return [
        asks(method="GET", path=f"{one}/receipt", handler=routes.receipt, name="x_responses_receipt",
             summary="Tell how a response was made", reply=Receipt),
        asks(method="GET", path=f"{one}/context", handler=routes.context, name="x_responses_context",
             summary="Tell what the model was shown for a response, in tokens", reply=ResponseContext),
        asks(method="POST", path=f"{one}/receipt/rerun", handler=routes.rerun, name="x_responses_rerun",
             summary="Make a response again from its receipt, and compare", body=RerunRequest, reply=Rerun),
    ]  # fmt: skip
