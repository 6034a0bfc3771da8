"""The application: the table of routes, and the layer around it.

Every dialect's routes lead to the same handlers. Handlers parse, call and render; whatever they raise is written by
`edge.Edge`.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import cache, cached_property, partial
from importlib import resources
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mainspring import __version__
from mainspring.api import azure
from mainspring.api.chats import chat_operations
from mainspring.api.chats_changes import change_operations
from mainspring.api.chats_shared import share_operations
from mainspring.api.chats_transfer import transfer_operations
from mainspring.api.context import Context, context_of
from mainspring.api.control import arm
from mainspring.api.control.routes import control_operations
from mainspring.api.edge import Edge
from mainspring.api.errors import Dialect
from mainspring.api.explain import explain_operations
from mainspring.api.infill import Infill, InfillAnswer, InfillPiece, InfillRequest
from mainspring.api.metrics import Metrics
from mainspring.api.openai import replies, wire
from mainspring.api.openai.batches import batch_operations
from mainspring.api.openai.chat import Chat
from mainspring.api.openai.completions import Completions
from mainspring.api.openai.containers import container_operations
from mainspring.api.openai.conversations import conversation_operations
from mainspring.api.openai.copies import copy_operations
from mainspring.api.openai.embeddings import EmbeddingList, EmbeddingRoutes
from mainspring.api.openai.evals import eval_operations
from mainspring.api.openai.files import file_operations
from mainspring.api.openai.finetuning import fine_tuning_operations
from mainspring.api.openai.graders import (
    GraderRoutes,
    RunGraderRequest,
    RunGraderResponse,
    ValidateGraderRequest,
    ValidateGraderResponse,
)
from mainspring.api.openai.models import ModelRoutes
from mainspring.api.openai.moderations import moderation_operations
from mainspring.api.openai.organization import organization_operations
from mainspring.api.openai.responses import response_operations
from mainspring.api.openai.stored_chats import stored_chat_operations
from mainspring.api.openai.uploads import upload_operations
from mainspring.api.openai.vector_stores import vector_store_operations
from mainspring.api.openai.webhooks import webhook_operations
from mainspring.api.openapi import Operation, document
from mainspring.api.personal import personal_operations
from mainspring.api.presets import preset_operations
from mainspring.api.receipts import receipt_operations
from mainspring.api.routes import Handler, Routes
from mainspring.api.services import Services
from mainspring.api.session import session_operations
from mainspring.api.ui_messages import ui_operations
from mainspring.core.errors import Forbidden, Unauthorized, Unavailable
from mainspring.core.types import Role
from mainspring.governance.roles import DEFAULT_PROJECT, SERVER_WIDE, Permission, allows, roles_with

__all__ = ["App", "Services", "create_app"]

# The page is ours, inline and without a third party: it works with no network and may load nothing.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


class App:
    """The ASGI application: the edge, and what is inside of it. `served` is every (method, path) that is answered."""

    def __init__(self, services: Services, metrics: Metrics, operations: list[Operation]) -> None:
        routes = Routes(operations, partial(_checked, services), _lifespan(services))
        self._edge = Edge(routes, services, metrics)
        self.operations, self.served = operations, routes.served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._edge(scope, receive, send)

    @cached_property
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return document(self.operations, __version__)


def create_app(services: Services) -> App:
    """The ASGI application over `services`."""
    if (tracing := services.tracing) is not None:
        services = replace(services, generate=tracing.generate(services.generate), embed=tracing.embed(services.embed))
    metrics = Metrics(services.replicas, services.region, services.provisioned)
    operations = [
        *_server_routes(services, metrics, lambda: app.openapi),
        *_openai_routes(services, "/v1", "openai"),
        *_openai_routes(services, "/openai/v1", "azure_v1"),
        *_classic_routes(services),
        *organization_operations(services),
        *(file_operations(services, services.files) if services.files else ()),
        *(upload_operations(services, services.uploads) if services.uploads else ()),
        *_training_routes(services),
        *(webhook_operations(services, services.webhooks) if services.webhooks else ()),
        *_evaluation_routes(services),
        *(batch_operations(services, services.batches) if services.batches else ()),
        *_vector_store_routes(services),
        *_stateful_routes(services),
        *_container_routes(services),
        *(control_operations(services, services.control) if services.control else ()),
        *(explain_operations(services.control) if services.control else ()),
        *(session_operations(services, services.sessions) if services.sessions else ()),
        Operation(
            method="POST",
            path="/infill",
            handler=Infill(services).create,
            name="infill_create",
            summary="Fill a gap in a file, as llama.cpp's server does",
            needs="inference",
            body=InfillRequest,
            reply=InfillAnswer,
            chunk=InfillPiece,
            says_done=False,
        ),
    ]
    app = App(services, metrics, operations)
    if services.inside is not None:
        services.inside.bind(app, app.served)
    return app


def _lifespan(services: Services) -> Callable[[Any], AbstractAsyncContextManager[None]] | None:
    inner = services.lifespan
    return None if inner is None else lambda _: inner()


def _checked(services: Services, operation: Operation) -> Handler:
    """The operation's handler behind what every request is asked first: may it, and is its api-version one."""
    check = {"azure": azure.check_classic, "azure_v1": azure.check_v1, "arm": arm.check}.get(operation.dialect or "")

    async def handler(http: Request) -> Response:
        if operation.dialect == "arm":
            arm.aim(http)
        elif operation.of:
            context_of(http).project = http.path_params.get(operation.of, operation.of).lower()
        if operation.needs is not None:
            _require(context_of(http), operation.needs, operation.anywhere)
            # The control plane can still delete what is archived, the project at last.
            changes = operation.method not in (("GET", "DELETE") if operation.dialect == "arm" else ("GET",))
            if changes and services.is_archived(context_of(http).project):
                raise Forbidden("The project is archived: it can be read, and nothing else.", code="project_archived")
        if check is not None:
            check(http)
        return await operation.handler(http)

    return handler


def _require(context: Context, needs: Permission, anywhere: bool) -> None:
    """Refuse whoever lacks the permission in the request's project, or with `anywhere` in every one. Raises
    Forbidden."""
    principal = context.principal
    if principal is None:
        raise Unauthorized("No key was given. Send it as 'Authorization: Bearer KEY' or as 'api-key: KEY'.")
    project = DEFAULT_PROJECT if needs in SERVER_WIDE else context.project
    everywhere: tuple[Role, ...] = tuple(dict.fromkeys(each.role for each in principal.grants))
    has = everywhere if anywhere else principal.roles_in(project)
    if not allows(has, needs):
        where = "a project" if anywhere else f"the project {project!r}"
        raise Forbidden(
            f"This needs the role {' or '.join(roles_with(needs))} in {where}; "
            f"{principal.name!r} has {'the role ' + ' and '.join(has) if has else 'no role'} there."
        )


def _inference_routes(services: Services, prefix: str, dialect: Dialect) -> list[Operation]:
    """What every dialect has. In the classic one the path names the deployment, and the body need not."""
    is_classic = dialect == "azure"
    asks = partial(Operation, method="POST", needs="inference", dialect=dialect)
    return [
        asks(
            path=f"{prefix}/chat/completions", handler=Chat(services).create,
            name=f"{dialect}_chat_completions_create", summary="Answer a conversation",
            body=wire.DeploymentChatRequest if is_classic else wire.ChatRequest,
            reply=replies.ChatCompletion, chunk=replies.ChatChunk,
        ),
        asks(
            path=f"{prefix}/completions", handler=Completions(services).create,
            name=f"{dialect}_completions_create", summary="Continue a text",
            body=wire.DeploymentCompletionRequest if is_classic else wire.CompletionRequest,
            reply=replies.Completion, chunk=replies.Completion,
        ),
        asks(
            path=f"{prefix}/embeddings", handler=EmbeddingRoutes(services).create,
            name=f"{dialect}_embeddings_create", summary="Turn texts into vectors",
            body=wire.DeploymentEmbeddingRequest if is_classic else wire.EmbeddingRequest,
            reply=EmbeddingList,
        ),
    ]  # fmt: skip


def _openai_routes(services: Services, prefix: str, dialect: Dialect) -> list[Operation]:
    models, reads = ModelRoutes(services), partial(_read, needs="models.read", dialect=dialect)
    return [
        *_inference_routes(services, prefix, dialect),
        *_grader_routes(services, prefix, dialect),
        reads(f"{prefix}/models", models.list, f"{dialect}_models_list", "List what is deployed", replies.ModelList),
        reads(
            f"{prefix}/models/{{model:path}}", models.retrieve, f"{dialect}_models_retrieve", "Describe one deployment",
            replies.Model,
        ),
        _delete_model(prefix, models, dialect),
    ]  # fmt: skip


def _stateful_routes(services: Services) -> list[Operation]:
    if (kept := services.responses) is None:
        return []
    return [
        *response_operations(services, kept.responses),
        *conversation_operations(services, kept.conversations),
        *transfer_operations(services, kept),
        *change_operations(kept),
        *chat_operations(services, kept),
        *receipt_operations(services, kept.receipts),
        *share_operations(services, kept),
        *preset_operations(services, kept),
        *personal_operations(services, kept),
        *ui_operations(services, kept),
    ]


def _grader_routes(services: Services, prefix: str, dialect: Dialect) -> list[Operation]:
    graders, folder = GraderRoutes(services), f"{prefix}/fine_tuning/alpha/graders"
    asks = partial(Operation, method="POST", needs="graders.run", dialect=dialect)
    return [
        asks(
            path=f"{folder}/run", handler=graders.run, name=f"{dialect}_graders_run", summary="Grade one answer",
            body=RunGraderRequest, reply=RunGraderResponse,
        ),
        asks(
            path=f"{folder}/validate", handler=graders.validate, name=f"{dialect}_graders_validate",
            summary="Check a grader", body=ValidateGraderRequest, reply=ValidateGraderResponse,
        ),
    ]  # fmt: skip


def _delete_model(prefix: str, models: ModelRoutes, dialect: Dialect) -> Operation:
    return Operation(
        method="DELETE", path=f"{prefix}/models/{{model:path}}", handler=models.delete, name=f"{dialect}_models_delete",
        summary="Delete a model that the project has trained", needs="training", reply=replies.ModelDeleted,
        dialect=dialect,
    )  # fmt: skip


def _read(
    path: str, handler: Handler, name: str, summary: str, reply: type[msgspec.Struct] | str, **more: Any
) -> Operation:
    return Operation(method="GET", path=path, handler=handler, name=name, summary=summary, reply=reply, **more)


def _classic_routes(services: Services) -> list[Operation]:
    routes, reads = azure.AzureRoutes(services), partial(_read, dialect="azure")
    models, deployments = partial(reads, needs="models.read"), partial(reads, needs="deployments.read")
    folder = "/openai/deployments"
    return [
        *_inference_routes(services, f"{folder}/{{deployment:path}}", "azure"),
        *_grader_routes(services, "/openai", "azure"),
        models("/openai/models", routes.list_models, "azure_models_list", "List models", azure.AzureModelList),
        models(
            "/openai/models/{model:path}", routes.retrieve_model, "azure_models_retrieve", "Describe a model",
            azure.AzureModel,
        ),
        deployments(
            folder, routes.list_deployments, "azure_deployments_list", "List deployments", azure.AzureDeploymentList
        ),
        deployments(
            f"{folder}/{{deployment}}", routes.retrieve_deployment, "azure_deployments_retrieve",
            "Describe a deployment", azure.AzureDeployment,
        ),
    ]  # fmt: skip


_DIALECTS: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))


def _training_routes(services: Services) -> list[Operation]:
    if (training := services.training) is None:
        return []
    made = [each for where in _DIALECTS for each in fine_tuning_operations(services, training, *where)]
    return [*made, *copy_operations(services, training)]


def _evaluation_routes(services: Services) -> list[Operation]:
    found = [each for where in _DIALECTS for each in moderation_operations(services, *where)]
    if (chats := services.stored_chats) is not None:
        found += [each for where in _DIALECTS for each in stored_chat_operations(services, chats, *where)]
    if (evals := services.evals) is not None:
        found += [each for where in _DIALECTS for each in eval_operations(services, evals, *where)]
    return found


def _container_routes(services: Services) -> list[Operation]:
    if (containers := services.containers) is None or (files := services.files) is None:
        return []
    return [each for where in _DIALECTS for each in container_operations(services, containers, files, *where)]


def _vector_store_routes(services: Services) -> list[Operation]:
    if (parts := services.vector_stores) is None:
        return []
    return [each for where in _DIALECTS for each in vector_store_operations(services, parts, *where)]


class Health(msgspec.Struct, frozen=True):
    """How the server is."""

    status: str


def _server_routes(services: Services, metrics: Metrics, describe: Callable[[], object]) -> list[Operation]:
    async def healthz(_: Request) -> Response:
        return replies.json(Health("ok"))

    async def readyz(_: Request) -> Response:
        if not services.ready():
            raise Unavailable("No model is ready yet. /healthz says whether the server runs at all.", code="not_ready")
        return replies.json(Health("ready"))

    async def scrape(_: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def docs(_: Request) -> Response:
        return Response(_page(), media_type="text/html", headers={"content-security-policy": PAGE_POLICY})

    async def openapi(_: Request) -> Response:
        return replies.json(describe())

    return [
        _read("/healthz", healthz, "healthz", "Whether the server runs", Health, needs=None),
        _read("/readyz", readyz, "readyz", "Whether requests can be served", Health, needs=None, extra_status=(503,)),
        _read("/metrics", scrape, "metrics", "Metrics for Prometheus", "text/plain", needs="server.read"),
        _read("/docs", docs, "docs", "These operations as a page", "text/html", needs=None),
        _read("/openapi.json", openapi, "openapi", "These operations as OpenAPI", replies.OpenApi, needs=None),
    ]


@cache
def _page() -> bytes:
    return resources.files("mainspring.api").joinpath("docs.html").read_bytes()
