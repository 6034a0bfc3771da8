"""models: what is deployed, and what a project has trained."""

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.services import Services
from mainspring.core.errors import Forbidden

__all__ = ["ModelRoutes"]


class ModelRoutes:
    """The handlers of models in the OpenAI and Azure v1 dialects."""

    def __init__(self, services: Services) -> None:
        self._models, self._control = services.models, services.control

    async def list(self, http: Request) -> Response:
        """Every deployment."""
        models = self._models.list(context_of(http).project)
        return replies.json(replies.ModelList(data=[replies.Model.of(model) for model in models]))

    async def retrieve(self, http: Request) -> Response:
        """One deployment."""
        return replies.json(replies.Model.of(self._models.find(http.path_params["model"], context_of(http).project)))

    async def delete(self, http: Request) -> Response:
        """Delete a model that the project has trained. What it is answering is answered to the end."""
        context, control, name = context_of(http), self._control, http.path_params["model"]
        assert context.principal is not None, "the route needs a permission"
        if control is None:  # a server that has no projects has nothing that was trained in one
            raise Forbidden(f"The model {name[:200]!r} is not the project's own.")
        await control.models.by(context.principal.id).delete(context.project, name)
        await control.directory.refresh(control.projects)
        return replies.json(replies.ModelDeleted(id=name))
