"""What the edge knows about one HTTP request, from its arrival to the access log."""

import secrets
import time
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import Scope

from mainspring.api.errors import Dialect, dialect_of
from mainspring.core.types import ModelInfo, Principal, Screened, Spilled, Tier
from mainspring.governance.sessions import Session

__all__ = ["CALLER", "ROUTE", "SHARED", "Caller", "Context", "Work", "clean", "context_of", "header"]

PROJECTS = "/projects/"
SHARED = "/v1/x/shared/"
"""What links lead to: below it the path is the key."""
ROUTE = "mainspring.route"
"""Where a route's template is noted in the scope."""
CALLER = "mainspring.caller"
"""Where the scope of a request from within says whose it is. A server makes the scopes of requests from outside, and
puts nothing of a client's there but texts in places of their own."""
_KEY = "mainspring"
MAX_ECHO_BYTES = 128


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of a header (names are lower case in ASGI)."""
    return next((value for key, value in headers if key == name), None)


def clean(value: bytes) -> bytes:
    """A value fit for a header of ours: printable ASCII only (so no line can be smuggled in), and short."""
    return bytes(byte for byte in value[:MAX_ECHO_BYTES] if 0x20 <= byte < 0x7F).strip()


def _new_id() -> str:
    """128 bits, of which the first 48 are the time in milliseconds: rows of the ledger that are written together then
    lie together in its index. Where they lay at random, each touched a page of its own: the more rows, the slower."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Work:
    """What a request that reached a model came to, for metrics. Times are seconds since the request's arrival.

    `first_s` is when the first event was there and `last_s` when the last was; None before that.
    """

    __slots__ = ("cached", "completion", "first_s", "is_blocked", "is_harmful", "last_s", "prompt", "streams")

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.prompt = self.cached = self.completion = 0
        self.is_blocked = self.is_harmful = False

    def note(self, found: Screened) -> None:
        """What the content filters found."""
        self.is_blocked = self.is_blocked or found.blocked
        self.is_harmful = self.is_harmful or bool(found.reasons)


class Caller:
    """Who a request from within is made as: see `inside`. Only code of this process can make one.

    Args:
        tier: of what it asks models for; None leaves that to the body.
        id: of the request; empty makes one.
    """

    __slots__ = ("id", "principal", "project", "tier")

    def __init__(self, principal: Principal, project: str, tier: Tier | None = None, id: str = "") -> None:  # noqa: A002
        self.principal, self.project, self.id = principal, project, id
        self.tier: Tier | None = tier


class Context:
    """Mutable notes of one request; owned by the task that serves it.

    `project` is the one that the request is for, once it is known who asks. `deployment` is set once the request has
    named one: from then on answers carry its headers; `caller` is set of requests from within, `session` of those whose
    cookie has said who asks; `spilled` if another one took the request; `work` once it has reached a model; `error` if
    it failed. `started` is in seconds of the monotonic clock.
    """

    __slots__ = (
        "caller", "client_request_id", "deployment", "dialect", "error", "method", "path", "principal", "project",
        "request_id", "scope", "session", "spilled", "started", "status", "work",
    )  # fmt: skip

    def __init__(self, scope: Scope) -> None:
        caller = scope.get(CALLER)
        self.caller = caller if isinstance(caller, Caller) else None
        self.project = _take_project(scope)
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.dialect: Dialect = dialect_of(self.path)
        self.request_id = (self.caller and self.caller.id) or _new_id()
        echoed = header(scope["headers"], b"x-ms-client-request-id")
        self.client_request_id = (clean(echoed) if echoed else b"") or self.request_id.encode()
        self.started = time.perf_counter()
        self.status = 0
        self.principal: Principal | None = None
        self.session: Session | None = None
        self.deployment: ModelInfo | None = None
        self.spilled: Spilled | None = None
        self.work: Work | None = None
        self.error: Exception | None = None
        scope[_KEY] = self

    def leave(self) -> None:
        """It is answered. The scope and this hold each other, and nobody is to wait for the collector to find out."""
        self.scope.pop(_KEY, None)

    @property
    def route(self) -> str:
        """The route's template, never the path itself: paths are the client's to invent, labels must be few."""
        return self.scope.get(ROUTE, "none")

    @property
    def tier(self) -> Tier | None:
        """The tier of what it asks models for, if that is not the body's to say."""
        return None if self.caller is None else self.caller.tier

    @property
    def person(self) -> str:
        """Who asks, whichever of their keys they use."""
        return self.principal.person if self.principal is not None else ""

    @property
    def spillover(self) -> str | None:
        """The deployment that the client wants to take the request if the one that it names cannot."""
        named = header(self.scope["headers"], b"x-ms-spillover-deployment")
        return clean(named).decode() if named else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request's head was read."""
        return time.perf_counter() - self.started


def _take_project(scope: Scope) -> str:
    """The project that a request names, by what its path begins with or else by OpenAI's header; empty if it does not.

    The path goes on without it, so that one table of routes serves every project: PROJECTS/name is the base of all."""
    path: str = scope["path"]
    if path.startswith(PROJECTS):
        name, slash, rest = path.removeprefix(PROJECTS).partition("/")
        scope["path"], scope["root_path"] = slash + rest or "/", ""
        return name.lower()
    return clean(header(scope["headers"], b"openai-project") or b"").decode().lower()


def context_of(request: Request) -> Context:
    """The context that `Edge` made for this request."""
    return request.scope[_KEY]
