"""Signing in and out with a browser: Mainspring's own operations under /v1/x/session.

They ask for no key: whoever has none is told so, and signs in with these. A session is a cookie that no script can read
(`governance/sessions.py`); the pages get `csrf` from here, and send it with every request that changes something.
"""

from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.browser import (
    OIDC_COOKIE,
    OIDC_PATH,
    SESSION_PATH,
    address_of,
    check_csrf,
    cookie_header,
    cookie_of,
    is_from_here,
    prefix_of,
)
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.pages import flag_of
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.clock import Clock
from mainspring.core.errors import Forbidden, InvalidRequest, MainspringError, Unauthorized
from mainspring.governance.sessions import Session, Sessions
from mainspring.governance.sign_in import FLOW_S, SignIn

__all__ = ["session_operations"]

MAX_BODY_BYTES = 64 * 1024
MAX_KEY = 1024


class CreateSessionRequest(Wire):
    """How to sign in: one of the two."""

    key: Annotated[str | None, Field(min_length=1, max_length=MAX_KEY, description="An API key.")] = None
    link: Annotated[str | None, Field(min_length=1, max_length=MAX_KEY, description="The code of a one-time link.")] = (
        None
    )


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in with this browser, if somebody is.

    Args:
        roles: in `project`, where requests go that name none.
        csrf: what the header x-csrf-token of requests that change something must say.
        expires_at: when the session ends unless it is used, in Unix seconds; 0 of nobody's.
        oidc: whether `GET /v1/x/session/oidc` leads to an identity provider.
    """

    object: Literal["session"] = "session"
    signed_in: bool = False
    name: str = ""
    kind: Literal["key", "oidc", ""] = ""
    roles: tuple[str, ...] = ()
    project: str = ""
    csrf: str = ""
    expires_at: int = 0
    oidc: bool = False


class SessionLink(msgspec.Struct, frozen=True, kw_only=True):
    """What opens one session: the page `sign-in#link=CODE` gives `code` back."""

    object: Literal["session.link"] = "session.link"
    code: str
    expires_at: int


class SessionRoutes:
    """The handlers."""

    def __init__(self, sessions: Sessions, clock: Clock, *, oidc: bool) -> None:
        self._sessions, self._clock, self._oidc = sessions, clock, oidc

    async def show(self, http: Request) -> Response:
        """Who is signed in. A session that is used lasts longer, and so does its cookie. One that is not known here is
        left with the browser: it may be that of another server on this host, and cookies know no ports."""
        if not is_from_here("GET", http.scope["headers"]):
            return self._state(None)
        session = await _session_of(self._sessions, http)
        return self._state(session, http if session else None, cookie_of(http.scope["headers"]))

    async def create(self, http: Request) -> Response:
        """Sign in; the session that the browser had ends."""
        self._check_site(http)
        body = await read_body(http, CreateSessionRequest, MAX_BODY_BYTES)
        if (body.key is None) == (body.link is None):
            raise InvalidRequest("Give 'key' or 'link', and one of them only.", param="key")
        opened, secret = await (
            self._sessions.redeem(body.link) if body.link else self._sessions.sign_in(body.key or "")
        )
        await _end_before(self._sessions, http)
        return self._state(opened, http, secret)

    async def delete(self, http: Request) -> Response:
        """Sign out, here or everywhere."""
        everywhere = flag_of(http, "everywhere")
        self._check_site(http)
        session = await _session_of(self._sessions, http)
        if session is not None:
            check_csrf(session, http.scope["headers"])
            await (self._sessions.close_all if everywhere else self._sessions.close)(session)
        return self._state(None, http, cookie_of(http.scope["headers"]))

    async def link(self, http: Request) -> Response:
        """A one-time link for the key that asks: to carry a session to a browser, not to make more of one."""
        context = context_of(http)
        if context.session is not None or context.principal is None:
            raise Forbidden("A link is made for whoever shows a key in a header.", code="key_needed")
        code, expires = await self._sessions.link(context.principal.id)
        return _private(replies.json(SessionLink(code=code, expires_at=int(expires))))

    def _check_site(self, http: Request) -> None:
        if not is_from_here(http.method, http.scope["headers"]):
            raise Forbidden("Another site's page has sent this: sign in and out on our own.", code="cross_site")

    def _state(self, session: Session | None, http: Request | None = None, secret: str = "") -> Response:
        """What the pages are told; with `http` also what its browser is to do about the cookie with that secret."""
        if session is None:
            answer, kept, age_s = SessionState(oidc=self._oidc), "", 0.0
        else:
            who, kept, age_s = session.principal, secret, session.expires - self._clock.now()
            answer = SessionState(
                signed_in=True, name=who.name, kind=session.kind, roles=who.roles_in(who.project), project=who.project,
                csrf=session.csrf, expires_at=int(session.expires), oidc=self._oidc,
            )  # fmt: skip
        response = _private(replies.json(answer))
        if http is not None and secret:
            response.raw_headers.append(cookie_header(http.scope, kept, age_s))
        return response


class OidcRoutes:
    """Signing in at the identity provider: there and back. A browser goes these ways, so what fails ends at a page."""

    def __init__(self, sessions: Sessions, sign_in: SignIn, clock: Clock) -> None:
        self._sessions, self._sign_in, self._clock = sessions, sign_in, clock

    async def begin(self, http: Request) -> Response:
        """To the identity provider."""
        try:
            place, secret = await self._sign_in.begin(self._back(http))
        except MainspringError as error:
            return _failed(http, error)
        return self._keep(_to(place), http, secret)

    async def end(self, http: Request) -> Response:
        """Back from there: signed in, or told that not."""
        kept = cookie_of(http.scope["headers"], OIDC_COOKIE)
        try:
            who = await self._sign_in.finish(self._back(http), kept, http.query_params)
            opened, secret = await self._sessions.open_for(who)
            await _end_before(self._sessions, http)
        except MainspringError as error:
            return self._keep(_failed(http, error), http, "")
        response = _to(f"{prefix_of(http.scope['headers'])}/")
        age_s = opened.expires - self._clock.now()
        response.raw_headers.append(cookie_header(http.scope, secret, age_s))
        return self._keep(response, http, "")

    def _back(self, http: Request) -> str:
        return f"{address_of(http.scope)}{OIDC_PATH}/callback"

    def _keep(self, response: Response, http: Request, secret: str) -> Response:
        """Have the browser keep what it needs to come back with, or forget it."""
        kept = cookie_header(http.scope, secret, FLOW_S, name=OIDC_COOKIE, path=OIDC_PATH)
        response.raw_headers.append(kept)
        return response


async def _session_of(sessions: Sessions, http: Request) -> Session | None:
    try:
        return await sessions.authenticate(cookie_of(http.scope["headers"]))
    except Unauthorized:
        return None


async def _end_before(sessions: Sessions, http: Request) -> None:
    """Who signs in anew leaves no session behind that no browser has any longer."""
    if (before := await _session_of(sessions, http)) is not None:
        await sessions.close(before)


def _to(place: str) -> Response:
    return _private(Response(status_code=303, headers={"location": place}))


def _failed(http: Request, error: MainspringError) -> Response:
    return _to(f"{prefix_of(http.scope['headers'])}/sign-in?error={quote(error.code, safe='')}")


def _private(response: Response) -> Response:
    """Nobody keeps it."""
    response.headers["cache-control"] = "no-store"
    return response


def session_operations(services: Services, sessions: Sessions) -> list[Operation]:
    """All of them, for the table of the application."""
    routes = SessionRoutes(sessions, services.clock, oidc=services.sign_in is not None)
    return [
        *(_oidc_operations(services.clock, sessions, services.sign_in) if services.sign_in else ()),
        Operation(
            method="GET", path=SESSION_PATH, handler=routes.show, name="x_session_retrieve",
            summary="Say who is signed in with this browser", needs=None, reply=SessionState, dialect="openai",
            extra_status=(500, 503),
        ),
        Operation(
            method="POST", path=SESSION_PATH, handler=routes.create, name="x_session_create",
            summary="Sign in with a key or a one-time link", needs=None, body=CreateSessionRequest,
            reply=SessionState, dialect="openai", extra_status=(400, 401, 403, 408, 413, 415, 500, 503),
        ),
        Operation(
            method="DELETE", path=SESSION_PATH, handler=routes.delete, name="x_session_delete",
            summary="Sign out, here or everywhere", needs=None, reply=SessionState, dialect="openai",
            query=("everywhere",), extra_status=(400, 403, 500, 503),
        ),
        Operation(
            method="POST", path=f"{SESSION_PATH}/links", handler=routes.link, name="x_session_links_create",
            summary="Make a link that signs a browser in, once", needs="keys.admin", reply=SessionLink,
            dialect="openai", extra_status=(400, 503),
        ),
    ]  # fmt: skip


def _oidc_operations(clock: Clock, sessions: Sessions, sign_in: SignIn) -> list[Operation]:
    routes = OidcRoutes(sessions, sign_in, clock)
    return [
        Operation(
            method="GET", path=OIDC_PATH, handler=routes.begin, name="x_session_oidc_begin",
            summary="Go to the identity provider to sign in", needs=None, reply=None, dialect="openai", success=(303,),
        ),
        Operation(
            method="GET", path=f"{OIDC_PATH}/callback", handler=routes.end, name="x_session_oidc_end",
            summary="Come back from the identity provider", needs=None, reply=None, dialect="openai", success=(303,),
        ),
    ]  # fmt: skip
