"""models: what is deployed."""

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.services import Services

__all__ = ["ModelRoutes"]


class ModelRoutes:
    """The handlers of models in the OpenAI and Azure v1 dialects."""

    def __init__(self, services: Services) -> None:
        self._models = services.models

    async def list(self, http: Request) -> Response:
        """Every deployment."""
        models = self._models.list(context_of(http).project)
        return replies.json(replies.ModelList(data=[replies.Model.of(model) for model in models]))

    async def retrieve(self, http: Request) -> Response:
        """One deployment."""
        return replies.json(replies.Model.of(self._models.find(http.path_params["model"], context_of(http).project)))
