"""From a method and a path to a handler.

A path without parameters is one look-up; those with parameters are tried in the order of the table. Every request goes
through here and most of them name one of a few fixed paths, which is why this is ours and not a framework's.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from re import Pattern
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router, compile_path
from starlette.types import Receive, Scope, Send

from mainspring.api.context import ROUTE
from mainspring.api.openapi import Operation

__all__ = ["Handler", "Routes"]

Handler = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class _Route:
    """A path's template and its handlers by method."""

    def __init__(self, path: str) -> None:
        self.pattern: Pattern[str]
        self.pattern, self.template, _ = compile_path(path)
        self.handlers: dict[str, Handler] = {}


class Routes:
    """The ASGI application inside of the edge. What it refuses, it raises.

    Args:
        operations: the table; `handler_of` makes the handler of each.
        lifespan: entered before the first request and left after the last; None for nothing.
    """

    def __init__(
        self, operations: Sequence[Operation], handler_of: Callable[[Operation], Handler], lifespan: Lifespan | None
    ) -> None:
        self._exact: dict[str, _Route] = {}
        self._patterns: dict[str, _Route] = {}
        for operation in operations:
            routes = self._patterns if "{" in operation.path else self._exact
            route = routes.setdefault(operation.path, _Route(operation.path))
            route.handlers[operation.method] = handler_of(operation)
        self._rest = Router(lifespan=lifespan)  # speaks the protocol's other two halves: lifespan and websockets

    @property
    def served(self) -> set[tuple[str, str]]:
        """Every (method, path) that has a handler."""
        tables = (*self._exact.items(), *self._patterns.items())
        return {(method, path) for path, route in tables for method in route.handlers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        handler = self._find(scope)
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> Handler:
        """The handler; its template and parameters are noted in the scope. Raises HTTPException: 404 or 405."""
        method, path = scope["method"], scope["path"]
        allowed: dict[str, Handler] = {}
        exact = self._exact.get(path)
        for route in (exact,) if exact is not None else self._patterns.values():
            match = route.pattern.match(path)
            if match is None:
                continue
            handler = route.handlers.get(method)
            if handler is not None:
                scope[ROUTE], scope["path_params"] = route.template, match.groupdict()
                return handler
            allowed |= route.handlers
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        raise HTTPException(404)
