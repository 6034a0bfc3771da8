"""What only Azure's dialects have: api-version, and the older shapes of models and deployments.

Inference is the same handlers as OpenAI's; the deployment's name comes from the path.
"""

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ModelInfo

__all__ = [
    "API_VERSION_PATTERN",
    "V1_VERSIONS",
    "AzureDeployment",
    "AzureModel",
    "AzureRoutes",
    "check_classic",
    "check_v1",
]

API_VERSION_PATTERN = r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(-preview)?$"
V1_VERSIONS = ("v1", "preview")

_is_version = re.compile(API_VERSION_PATTERN).fullmatch


def check_classic(http: Request) -> None:
    """The classic dialect wants a date; every one is served alike. Raises InvalidRequest."""
    if not _is_version(http.query_params.get("api-version", "")):
        raise _refused("Add '?api-version=' and a date, such as 2024-10-21 or 2025-04-01-preview.")


def check_v1(http: Request) -> None:
    """The v1 dialect wants none, or one of two words. Raises InvalidRequest."""
    if http.query_params.get("api-version", "v1") not in V1_VERSIONS:
        raise _refused("Under /openai/v1 it is 'v1', 'preview', or absent.")


def _refused(fix: str) -> InvalidRequest:
    return InvalidRequest(f"API version not supported. {fix}", code="BadRequest", param="api-version")


class Capabilities(msgspec.Struct, frozen=True):
    """What a model can be used for."""

    chat_completion: bool = True
    completion: bool = True
    embeddings: bool = False
    fine_tune: bool = False
    inference: bool = True


class AzureModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as Azure lists it: OpenAI's fields and its own. Times are in Unix seconds."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    created_at: int
    updated_at: int
    status: str = "succeeded"
    lifecycle_status: str = "generally-available"
    capabilities: Capabilities = Capabilities()

    @classmethod
    def of(cls, model: ModelInfo) -> "AzureModel":
        """From the description below the edge."""
        return cls(
            id=model.id,
            created=model.created,
            owned_by=model.owner,
            created_at=model.created,
            updated_at=model.created,
            capabilities=Capabilities(
                chat_completion=model.kind == "chat",
                completion=model.kind in ("chat", "completion"),
                embeddings=model.kind == "embedding",
            ),
        )


class AzureModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every model."""

    object: str = "list"
    data: list[AzureModel]


class ScaleSettings(msgspec.Struct, frozen=True):
    """How a deployment grows."""

    scale_type: str = "standard"


class AzureDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as Azure's first API versions list it. Times are in Unix seconds."""

    id: str
    object: str = "deployment"
    model: str
    owner: str
    status: str
    created_at: int
    updated_at: int
    scale_settings: ScaleSettings = ScaleSettings()

    @classmethod
    def of(cls, model: ModelInfo) -> "AzureDeployment":
        """From the description below the edge."""
        return cls(
            id=model.id,
            model=model.model or model.id,
            owner=model.owner,
            status="succeeded" if model.state == "ready" else "running",
            created_at=model.created,
            updated_at=model.created,
        )


class AzureDeploymentList(msgspec.Struct, frozen=True, kw_only=True):
    """Every deployment."""

    object: str = "list"
    data: list[AzureDeployment]


class AzureRoutes:
    """The handlers of models and deployments in the classic dialect."""

    def __init__(self, services: Services) -> None:
        self._models = services.models

    async def list_models(self, http: Request) -> Response:
        """Every model."""
        found = self._models.list(context_of(http).project)
        return replies.json(AzureModelList(data=[AzureModel.of(model) for model in found]))

    async def retrieve_model(self, http: Request) -> Response:
        """One model."""
        return replies.json(AzureModel.of(self._models.find(http.path_params["model"], context_of(http).project)))

    async def list_deployments(self, http: Request) -> Response:
        """Every deployment."""
        found = self._models.list(context_of(http).project)
        return replies.json(AzureDeploymentList(data=[AzureDeployment.of(model) for model in found]))

    async def retrieve_deployment(self, http: Request) -> Response:
        """One deployment."""
        found = self._models.find(http.path_params["deployment"], context_of(http).project)
        return replies.json(AzureDeployment.of(found))
