"""What a browser's requests say: the cookie, which site's page has sent them, and under which address people reach this
server.

A browser sends a cookie whoever's page it was that asked. So a cookie counts only for requests of our own pages. The
browser says so itself in `Sec-Fetch-Site`, which no page can write; one that does not (they all do, over https and on
this machine) says where the page came from in `Origin`, which must be where the request goes to. This is what Go's
`http.CrossOriginProtection` does, and its reasons are in https://words.filippo.io/csrf. A page of another site can no
more send `X-Forwarded-Host` or `X-Forwarded-Prefix` than any other header of its own, unless we let it: no answer of
ours allows credentials, so such a request has no cookie.
"""

import re
from collections.abc import Iterable

from starlette.types import Scope

from mainspring.api.context import header
from mainspring.core.errors import Forbidden
from mainspring.governance.sessions import Session, Sessions

__all__ = [
    "COOKIE",
    "OIDC_COOKIE",
    "OIDC_PATH",
    "SESSION_PATH",
    "address_of",
    "check_csrf",
    "cookie_header",
    "cookie_of",
    "is_from_here",
    "is_https",
    "mount",
    "prefix_of",
    "signed_in",
]

SESSION_PATH = "/v1/x/session"
OIDC_PATH = f"{SESSION_PATH}/oidc"
COOKIE = "mainspring_session"
OIDC_COOKIE = "mainspring_oidc"
"""What a browser keeps while its user is at the identity provider."""
CSRF = b"x-csrf-token"
PREFIX = b"x-forwarded-prefix"
SAFE = ("GET", "HEAD")
"""Methods that change nothing."""
MAX_PREFIX = 256

_is_host = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?").fullmatch
_is_prefix = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?").fullmatch

Headers = Iterable[tuple[bytes, bytes]]


def cookie_of(headers: Headers, wanted: str = COOKIE) -> str:
    """A cookie's secret, empty if there is none. Of several cookies, that of the nearest path comes first."""
    for name, value in headers:
        if name != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, _, secret = pair.partition("=")
            if key.strip() == wanted:
                return secret.strip()
    return ""


def cookie_header(
    scope: Scope, secret: str, age_s: float, *, name: str = COOKIE, path: str = ""
) -> tuple[bytes, bytes]:
    """What makes a browser keep a secret, for our pages and below the path that they are under only; without a secret,
    forget it.

    Args:
        path: below the prefix; empty is all of it.
    """
    place = prefix_of(scope["headers"]) + path or "/"
    secure = "; Secure" if is_https(scope) else ""
    said = f"{name}={secret}; Path={place}; Max-Age={round(age_s) if secret else 0}; HttpOnly; SameSite=Lax{secure}"
    return b"set-cookie", said.encode("latin-1")


def is_from_here(method: str, headers: Headers) -> bool:
    """Whether one of our own pages has sent this, or a person who has typed the address, or what is no browser."""
    site = header(headers, b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin" or (site == b"none" and method in SAFE)
    origin = header(headers, b"origin")
    if origin is None:
        return True
    host = origin.partition(b"://")[2].lower()
    ours = (header(headers, name) for name in (b"host", b"x-forwarded-host"))
    return bool(host) and host in {each.lower() for each in ours if each}


def is_https(scope: Scope) -> bool:
    """Whether the browser has reached us over https: what ends TLS says so, or a page's own origin."""
    headers = scope["headers"]
    said = (header(headers, b"x-forwarded-proto") or b"").lower()
    origin = header(headers, b"origin") or b""
    return scope.get("scheme") == "https" or said == b"https" or (not said and origin.startswith(b"https://"))


def prefix_of(headers: Headers) -> str:
    """The path that a proxy has us under, without a slash at its end; empty if it is the root. What cannot be one is
    ignored: it is only ever told to whoever sent it."""
    given = (header(headers, PREFIX) or b"").decode("latin-1")
    return given.rstrip("/") if len(given) <= MAX_PREFIX and _is_prefix(given) else ""


def address_of(scope: Scope) -> str:
    """The URL that the browser has reached us under, without a slash at its end."""
    headers = scope["headers"]
    hosts = (header(headers, name) or b"" for name in (b"x-forwarded-host", b"host"))
    host = next((each for name in hosts if _is_host(each := name.decode("latin-1"))), "localhost")
    return f"{'https' if is_https(scope) else 'http'}://{host}{prefix_of(headers)}"


def mount(scope: Scope, root_path: str) -> None:
    """Take the setting `server.root_path` off the path, if a proxy has left it there, and let it be the prefix."""
    path: str = scope["path"]
    if path == root_path or path.startswith(f"{root_path}/"):
        scope["path"] = path.removeprefix(root_path) or "/"
    others = [pair for pair in scope["headers"] if pair[0] != PREFIX]
    scope["headers"] = [*others, (PREFIX, root_path.encode())]


async def signed_in(sessions: Sessions, method: str, headers: Headers) -> Session | None:
    """Whose session the cookie of a request is; None if it has none, or if another site's page has sent it.

    Raises:
        Unauthorized: the session has ended.
        Forbidden: the request changes something, and does not carry the session's second word.
    """
    secret = cookie_of(headers)
    if not secret or not is_from_here(method, headers):
        return None
    session = await sessions.authenticate(secret)
    if method not in SAFE:
        check_csrf(session, headers)
    return session


def check_csrf(session: Session, headers: Headers) -> None:
    """Raise Forbidden unless the page that sends this has read the session's second word."""
    if not session.is_csrf((header(headers, CSRF) or b"").decode("latin-1")):
        raise Forbidden("The header x-csrf-token is not this session's: reload the page.", code="csrf")
