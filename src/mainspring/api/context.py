"""What the edge knows about one HTTP request, from its arrival to the access log."""

import secrets
import time
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import Scope

from mainspring.api.errors import Dialect, dialect_of
from mainspring.core.types import ModelInfo, Principal

__all__ = ["Context", "clean", "context_of", "header"]

_KEY = "mainspring"
MAX_ECHO_BYTES = 128


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a header (names are lower case in ASGI)."""
    return next((value for key, value in headers if key == name), None)


def clean(value: bytes) -> bytes:
    """A value fit for a header of ours: printable ASCII only (so no line can be smuggled in), and short."""
    return bytes(byte for byte in value[:MAX_ECHO_BYTES] if 0x20 <= byte < 0x7F).strip()


class Context:
    """Mutable notes of one request; owned by the task that serves it.

    `deployment` is set once the request has named one: from then on answers carry its headers. `started` is in seconds
    of the monotonic clock.
    """

    __slots__ = (
        "client_request_id", "deployment", "dialect", "method", "path", "principal", "request_id", "scope", "started",
        "status",
    )  # fmt: skip

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.dialect: Dialect = dialect_of(self.path)
        self.request_id = secrets.token_hex(16)
        echoed = header(scope["headers"], b"x-ms-client-request-id")
        self.client_request_id = (clean(echoed) if echoed else b"") or self.request_id.encode()
        self.started = time.perf_counter()
        self.status = 0
        self.principal: Principal | None = None
        self.deployment: ModelInfo | None = None
        scope[_KEY] = self

    @property
    def route(self) -> str:
        """The route's template, never the path itself: paths are the client's to invent, labels must be few."""
        return getattr(self.scope.get("route"), "path_format", "none")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request's head was read."""
        return time.perf_counter() - self.started


def context_of(request: Request) -> Context:
    """The context that `Edge` made for this request."""
    return request.scope[_KEY]
