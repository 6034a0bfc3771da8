"""That what an administrator has changed holds for the next request."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from mainspring.governance.control import Control

__all__ = ["settled"]

Handler = Callable[[Request], Awaitable[Response]]


def settled(handler: Handler, control: Control) -> Handler:
    """What was changed holds for every request that this server is sent after the answer."""

    async def run(http: Request) -> Response:
        reply = await handler(http)
        await control.directory.refresh(control.projects)
        return reply

    return run
