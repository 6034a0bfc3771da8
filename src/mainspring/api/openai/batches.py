"""batches: parse, call `batches.batches`, render."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.pages import part_of
from mainspring.api.openai.wire_batches import Batch, BatchList, CreateBatchRequest
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.batches.batches import Batches, Wish

__all__ = ["BatchRoutes", "batch_operations"]

CREATED = 201
"""What the classic Azure API answers to a batch that is made."""


class BatchRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, batches: Batches) -> None:
        self._services, self._batches = services, batches

    async def create(self, http: Request) -> Response:
        """Make a batch."""
        body = await read_body(http, CreateBatchRequest, self._services.max_body_bytes)
        context = context_of(http)
        assert context.principal is not None, "the route needs a permission"
        assert context.dialect != "arm", "no route of the control plane"
        wish = Wish(
            input_file_id=body.input_file_id, endpoint=body.endpoint, completion_window=body.completion_window,
            deployment=http.path_params.get("deployment", ""), metadata=body.metadata,
            output_expires_s=body.output_expires_after.seconds if body.output_expires_after else None,
        )  # fmt: skip
        made = await self._batches.create(
            wish, project=context.project, principal=context.principal, dialect=context.dialect
        )
        response = replies.json(Batch.of(made))
        response.status_code = CREATED if context.dialect == "azure" else 200
        return response

    async def list(self, http: Request) -> Response:
        """Batches of the project."""
        found, more = await self._batches.list(context_of(http).project, **part_of(http))
        return replies.json(BatchList.of(found, has_more=more))

    async def retrieve(self, http: Request) -> Response:
        """One batch."""
        return replies.json(Batch.of(await self._batches.get(*_named(http))))

    async def cancel(self, http: Request) -> Response:
        """End it early."""
        return replies.json(Batch.of(await self._batches.cancel(*_named(http))))


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["batch_id"]


def batch_operations(services: Services, batches: Batches) -> list[Operation]:
    """Every operation in every dialect, for the table of the application."""
    prefixes: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))
    routes = BatchRoutes(services, batches)
    found = [each for prefix, dialect in prefixes for each in _operations(routes, f"{prefix}/batches", dialect)]
    # The npm package puts the deployment into the path of what it creates, of batches too.
    named = _create(
        routes, "/openai/deployments/{deployment:path}/batches", "azure", "azure_deployments_batches_create"
    )
    return [*found, named]


def _create(routes: BatchRoutes, path: str, dialect: Dialect, name: str) -> Operation:
    return Operation(
        method="POST", path=path, handler=routes.create, name=name, summary="Make a batch", needs="inference",
        dialect=dialect, body=CreateBatchRequest, reply=Batch, success=(CREATED,) if dialect == "azure" else (200,),
    )  # fmt: skip


def _operations(routes: BatchRoutes, path: str, dialect: Dialect) -> list[Operation]:
    asks, one, name = (
        partial(Operation, needs="inference", dialect=dialect),
        f"{path}/{{batch_id}}",
        f"{dialect}_batches",
    )
    return [
        _create(routes, path, dialect, f"{name}_create"),
        asks(method="GET", path=path, handler=routes.list, name=f"{name}_list", summary="List batches",
             reply=BatchList, query=("batches/after", "batches/limit"), extra_status=(400, 503)),
        asks(method="GET", path=one, handler=routes.retrieve, name=f"{name}_retrieve", summary="Describe a batch",
             reply=Batch, extra_status=(503,)),
        asks(method="POST", path=f"{one}/cancel", handler=routes.cancel, name=f"{name}_cancel",
             summary="End a batch early", reply=Batch, extra_status=(409, 503)),
    ]  # fmt: skip
