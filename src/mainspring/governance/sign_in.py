"""Signing in at an OpenID Connect issuer with a browser: the authorization code flow (OpenID Connect Core 1.0, section
3.1) with PKCE (RFC 7636).

Nothing is kept here between the two halves. The browser keeps one random secret in a cookie, which only the answer to
its own question comes back with; `state`, `nonce` and the verifier of PKCE are all made of it. A code that somebody
else was given is of no use in this browser, and this browser's is of no use elsewhere.

Who it is says the ID token, which is held to what `Tokens` holds an access token to. What they may do is read from its
claims, and from those of the access token if that is one for us.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

import msgspec

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config import IdentitySettings
from mainspring.core.errors import Unauthorized, Unavailable
from mainspring.core.types import Principal
from mainspring.governance.issuer import RETRY_S, Fetch, HttpFetch, IssuerFailure, check_url, discovery_url
from mainspring.governance.tokens import Tokens

__all__ = ["FLOW_S", "Post", "SignIn", "opened_sign_in"]

FLOW_S = 600.0
"""How long somebody may take at the issuer."""
MAX_CODE_CHARACTERS = 8192

Post = Callable[[str, Mapping[str, str], tuple[str, str] | None], Awaitable[bytes]]
"""Sends a form to an URL, with user and password if it is given them; raises `IssuerFailure`."""

_log = log.get("mainspring.identity")


class _Document(msgspec.Struct, frozen=True):
    """Of the discovery document, what is looked at here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Answer(msgspec.Struct, frozen=True):
    """What a code is worth."""

    id_token: str
    access_token: str = ""


class SignIn:
    """The one way in of people, at one issuer.

    Args:
        fetch, post: how the issuer is asked.
    """

    def __init__(self, settings: IdentitySettings, clock: Clock, tokens: Tokens, fetch: Fetch, post: Post) -> None:
        self._settings, self._clock, self._tokens = settings, clock, tokens
        self._fetch, self._post = fetch, post
        self._known: tuple[_Document, float] | None = None

    async def begin(self, back: str) -> tuple[str, str]:
        """Where the browser is to go, and the secret that it keeps meanwhile.

        Args:
            back: the URL that the issuer sends it back to, as it is registered there.

        Raises:
            Unavailable: the issuer does not answer.
        """
        document, secret = await self._document(), secrets.token_urlsafe(32)
        challenge = hashlib.sha256(_made(secret, "verifier").encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": back,
            "scope": " ".join(dict.fromkeys(("openid", *self._settings.scopes))),
            "state": _made(secret, "state"),
            "nonce": _made(secret, "nonce"),
            "code_challenge": _base64(challenge),
            "code_challenge_method": "S256",
        }
        join = "&" if urlsplit(document.authorization_endpoint).query else "?"
        return f"{document.authorization_endpoint}{join}{urlencode(query)}", secret

    async def finish(self, back: str, secret: str, answered: Mapping[str, str]) -> Principal:
        """Who it is that the issuer has sent back.

        Args:
            back: as `begin` was given it.
            secret: what the browser has kept; empty if it has kept nothing.
            answered: the query that it has come with.

        Raises:
            Unauthorized: it has not come from there, or the issuer has let nobody in. The log has the reason.
            Unavailable: the issuer does not answer.
        """
        try:
            code = self._code(secret, answered)
            answer = await self._redeem(code, back, secret)
            return await self._tokens.identify(
                answer.id_token, answer.access_token, client=self._settings.client_id, nonce=_made(secret, "nonce")
            )
        except IssuerFailure as error:
            _log.info("sign-in refused", reason=str(error))
            raise Unauthorized("The identity provider has signed nobody in.", code="oidc_failed") from error

    def _code(self, secret: str, answered: Mapping[str, str]) -> str:
        state = answered.get("state", "")
        if not secret or not hmac.compare_digest(state.encode(errors="surrogatepass"), _made(secret, "state").encode()):
            raise IssuerFailure("it does not answer a question of this browser's, or ten minutes have passed")
        if "iss" in answered and answered["iss"] != self._settings.issuer and not self._settings.tenants:  # RFC 9207
            raise IssuerFailure("it is the answer of another issuer")
        if "error" in answered:
            raise IssuerFailure(f"the issuer says {answered['error'][:100]!r}")
        code = answered.get("code", "")
        if not 0 < len(code) <= MAX_CODE_CHARACTERS:
            raise IssuerFailure("it has no code")
        return code

    async def _redeem(self, code: str, back: str, secret: str) -> _Answer:
        document, settings = await self._document(), self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": _made(secret, "verifier"),
        }
        credentials = None
        if not settings.client_secret:
            form["client_id"] = settings.client_id
        elif "client_secret_basic" in document.token_endpoint_auth_methods_supported:
            credentials = settings.client_id, settings.client_secret
        else:
            form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        body = await self._post(document.token_endpoint, form, credentials)
        try:
            return msgspec.json.decode(body, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise IssuerFailure(f"it answered with no ID token ({error})") from error

    async def _document(self) -> _Document:
        now_s = self._clock.monotonic()
        if self._known is not None and now_s - self._known[1] < self._settings.keys_s:
            return self._known[0]
        try:
            document = await self._read()
        except IssuerFailure as error:
            _log.warning("issuer cannot be used", issuer=self._settings.issuer, reason=str(error))
            if self._known is None:
                raise Unavailable(
                    "Nobody can be signed in: the identity provider does not answer. API keys work meanwhile.",
                    code="issuer_unavailable", retry_after_s=RETRY_S,
                ) from error  # fmt: skip
            return self._known[0]
        self._known = document, now_s
        return document

    async def _read(self) -> _Document:
        body = await self._fetch(discovery_url(self._settings.issuer))
        try:
            document = msgspec.json.decode(body, type=_Document)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise IssuerFailure(f"it answered with what is no such document ({error}).") from error
        if document.issuer != self._settings.issuer and not self._settings.tenants:
            raise IssuerFailure(f"it calls itself {document.issuer!r}: set identity.issuer to exactly that.")
        for url in (document.authorization_endpoint, document.token_endpoint):
            check_url(url, self._settings.allow_http)
        return document


@asynccontextmanager
async def opened_sign_in(
    settings: IdentitySettings, clock: Clock, tokens: Tokens | None
) -> AsyncGenerator[SignIn | None]:
    """The way in that the settings name, None if they name none; its connections are closed at the end."""
    if tokens is None or not settings.client_id:
        yield None
        return
    fetch = HttpFetch()
    try:
        yield SignIn(settings, clock, tokens, fetch, fetch.post)
    finally:
        await fetch.close()


def _made(secret: str, what: str) -> str:
    """What only those can say who have the secret: 43 characters of base64url, as PKCE wants its verifier."""
    return _base64(hmac.digest(secret.encode(errors="surrogatepass"), f"mainspring oidc {what}".encode(), "sha256"))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
