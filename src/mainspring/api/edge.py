"""The outermost layer: who is asking, what every answer carries, and that every request gets an answer.

Plain ASGI, so a token on its way out passes one extra coroutine and nothing else. Everything below raises; only this
file turns an exception into a response.
"""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.api.browser import OIDC_PATH, SESSION_PATH, mount, signed_in
from mainspring.api.context import SHARED, Context, clean, header
from mainspring.api.errors import error_body, error_headers, error_status, from_status
from mainspring.api.headers import common_headers, deployment_headers
from mainspring.api.metrics import Metrics
from mainspring.api.pages import PAGES_ROUTE, Found, Pages
from mainspring.api.services import Services
from mainspring.core import log
from mainspring.core.errors import MainspringError, Unauthorized

__all__ = ["ClientGone", "Edge"]

PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
MAX_KEY_BYTES = 16_384
"""Of a token of Entra's: 10,000 and more. A key of ours is much shorter."""
CLIENT_GONE = 499  # nginx's number for a client that left; only logs and metrics see it

_log = log.get("mainspring.api")


class ClientGone(Exception):
    """The client closed the connection. Nobody is left to answer; not an error."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, services: Services, metrics: Metrics) -> None:
        self._app = app
        self._services = services
        self._metrics = metrics
        self._region = clean(services.region.encode())
        self._origins = frozenset(origin.encode() for origin in services.cors_origins)
        self._pages = Pages(services.pages)
        own = {SESSION_PATH} if services.sessions else set[str]()
        if services.sign_in:
            own |= {OIDC_PATH, f"{OIDC_PATH}/callback"}
        self._public = PUBLIC_PATHS | own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._services.root_path:
            mount(scope, self._services.root_path)
        page = self._pages.find(scope)  # before a project is taken off the path: pages are nobody's
        context = Context(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(context)]
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            if self._services.tracing is None:
                await self._answer(context, page, receive, send_with_headers)
            else:
                with self._services.tracing.request(context):
                    await self._answer(context, page, receive, send_with_headers)
        self._metrics.request(context)
        _log.info(
            "request",
            method=context.method,
            route=context.route,
            status=context.status,
            ms=round(context.elapsed_s * 1000, 1),
            request_id=context.request_id,
            key=context.principal.id if context.principal else None,
        )
        context.leave()

    async def _answer(self, context: Context, page: Found | None, receive: Receive, send: Send) -> None:
        try:
            if page is not None:
                await page(context.scope, receive, send)
                return
            if self._is_preflight(context):
                await _respond(send, 204, b"", self._preflight_headers(context))
                return
            await self._admit(context)
            await self._app(context.scope, receive, send)
        except ClientGone:
            context.status = CLIENT_GONE
        except HTTPException as refusal:
            error = from_status(refusal.status_code, context.method, context.path)
            allow = (refusal.headers or {}).get("Allow")
            await self._refuse(context, send, error, [(b"allow", allow.encode())] if allow else [])
        except MainspringError as error:
            context.error = error
            if error.status >= 500:
                _log.warning("failed", request_id=context.request_id, error=type(error).__name__, message=error.message)
            await self._refuse(context, send, error)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            context.error = error
            _log.exception("unhandled", request_id=context.request_id, route=context.route)
            await self._refuse(context, send, from_status(500, context.method, context.path))

    async def _admit(self, context: Context) -> None:
        """Every route but the public ones needs a key, unknown routes included; checked before the body is read."""
        if context.path in self._public or context.path.startswith(SHARED):
            return
        if (caller := context.caller) is not None:
            context.principal, context.project = caller.principal, caller.project
            return
        key = _key(context.scope)
        if not key:
            await self._admit_browser(context)
            return
        if len(key) > MAX_KEY_BYTES:
            raise Unauthorized("The key is too long to be one of ours.")
        context.principal = await self._services.authenticate(key)
        context.project = context.project or context.principal.project

    async def _admit_browser(self, context: Context) -> None:
        """Somebody who is signed in may do what their key may, from our own pages."""
        sessions = self._services.sessions
        session = await signed_in(sessions, context.method, context.scope["headers"]) if sessions else None
        if session is None:
            raise Unauthorized("No key was given. Send it as 'Authorization: Bearer KEY' or as 'api-key: KEY'.")
        context.session, context.principal = session, session.principal
        context.project = context.project or session.principal.project

    async def _refuse(
        self, context: Context, send: Send, error: MainspringError, extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        if context.status:  # a response has started: the server closes the connection, which the client notices
            _log.error("failed after the response started", request_id=context.request_id, error=error.code)
            return
        headers = [(b"content-type", b"application/json"), *error_headers(error), *(extra or [])]
        await _respond(send, error_status(error, context.dialect), error_body(error, context.dialect), headers)

    def _headers(self, context: Context) -> list[tuple[bytes, bytes]]:
        headers = common_headers(context, self._region)
        if context.deployment is not None:
            try:
                key = context.principal.id if context.principal else ""
                rate = self._services.rate(key, context.project, context.deployment.id)
                headers += deployment_headers(context, context.deployment, self._services.models, rate)
            except MainspringError:  # withdrawn while it answered
                _log.debug("deployment gone", deployment=context.deployment.id)
        origin = header(context.scope["headers"], b"origin")
        # Pages say themselves who may read them.
        if origin and context.route != PAGES_ROUTE and (origin in self._origins or b"*" in self._origins):
            headers.append((b"access-control-allow-origin", clean(origin)))
            headers.append((b"access-control-expose-headers", b"*"))
            headers.append((b"vary", b"origin"))
        return headers

    def _is_preflight(self, context: Context) -> bool:
        headers = context.scope["headers"]
        if context.method != "OPTIONS" or header(headers, b"access-control-request-method") is None:
            return False
        return b"*" in self._origins or header(headers, b"origin") in self._origins

    def _preflight_headers(self, context: Context) -> list[tuple[bytes, bytes]]:
        asked = clean(header(context.scope["headers"], b"access-control-request-headers") or b"")
        return [
            (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", asked or b"authorization, api-key, content-type"),
            (b"access-control-max-age", b"600"),
        ]


def _key(scope: Scope) -> str:
    """The key of either header; `api-key` wins, because clients that set it often send a dummy Bearer too."""
    if direct := header(scope["headers"], b"api-key"):
        return direct.decode("latin-1").strip()
    kind, _, value = (header(scope["headers"], b"authorization") or b"").decode("latin-1").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


async def _respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
