"""Bearer tokens of an OpenID Connect issuer: checked, and turned into a principal with roles.

A token is a signed JWT (RFC 7519; as an access token RFC 9068). What it must say follows RFC 8725: an algorithm that
is allowed and fits the key, our issuer, our audience, a time that is now. Where the keys come from is
`governance/issuer.py`. Nobody is asked whether a token was withdrawn before its time: issuers make them short-lived.

A refusal tells a caller that a genuine token has expired, and nothing else: the log has the reason.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, cast

import msgspec

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config import IdentitySettings
from mainspring.core.errors import Unauthorized, UserMistake
from mainspring.core.types import Grant, Principal
from mainspring.governance.issuer import Fetch, HttpFetch, Issuer, Jwk
from mainspring.governance.roles import DEFAULT_PROJECT, azure_role, grant, grants_from

__all__ = ["CACHE_S", "MAX_TOKEN_CHARACTERS", "Authenticate", "Tokens", "credentials", "opened"]

MAX_TOKEN_CHARACTERS = 16_384
"""Entra's tokens with 200 groups have about 10,000."""
CACHE_S = 60.0
CACHE_SIZE = 4096
MAX_ID_CHARACTERS = 64
MAX_NAME_CHARACTERS = 100
MAX_VALUES = 1000
MAX_TIME_S = 1e12
TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
"""Of the header's `typ`. Others are not for use as access tokens: logout tokens, DPoP proofs."""
OTHER_PURPOSES = frozenset({"id", "refresh", "offline", "logout"})
"""Of Keycloak's claim `typ`."""
LISTS = frozenset({"scope", "scp"})
"""Claims whose text is several values with spaces between them."""
EVERYONE = "*"

Claims = Mapping[str, Any]
Authenticate = Callable[[str], Awaitable[Principal]]

_log = log.get("mainspring.identity")


class _Refusal(Exception):
    """Why a token is not taken: for the log."""


class _Expired(Exception):
    """All is right with it, but its time is over."""


class _Header(msgspec.Struct, frozen=True):
    """Of a token's header, what is looked at. Keys or places of keys that it names are not."""

    alg: str
    kid: str | None = None
    typ: str = ""
    crit: msgspec.Raw | None = None


class Tokens:
    """The tokens of one issuer.

    Args:
        fetch: how the issuer's documents are read.

    Raises:
        UserMistake: the settings are refused.
    """

    def __init__(self, settings: IdentitySettings, clock: Clock, fetch: Fetch) -> None:
        self._settings, self._clock = settings, clock
        self._issuer = Issuer(settings, clock, fetch)
        try:
            self._grants = {name: grants_from(text, settings.project) for name, text in settings.roles.items()}
        except ValueError as error:
            raise UserMistake(f"Setting 'identity.roles': {error}") from error
        self._verified: dict[bytes, tuple[Principal, float, int]] = {}  # SHA-256 -> who, until (monotonic), generation

    async def authenticate(self, token: str) -> Principal:
        """Whose token this is.

        Raises:
            Unauthorized: it is no token of the issuer for this server, or it has expired.
            Unavailable: the issuer's keys are not known and it does not answer.
        """
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        principal, until_s, generation = self._verified.get(digest, (None, 0.0, 0))
        if principal is not None and self._clock.monotonic() < until_s and generation == self._issuer.generation:
            return principal
        self._verified.pop(digest, None)
        try:
            claims = await self._verify(token)
            _check_purpose(claims, self._settings.audience)
            _check_time(claims, self._clock.now(), self._settings.leeway_s)
            principal = _principal(claims, self._settings, tuple(_granted(claims, self._settings, self._grants)))
        except _Expired as error:
            raise Unauthorized("The token has expired: sign in again.", code="token_expired") from error
        except _Refusal as error:
            _log.info("token refused", reason=str(error))
            raise Unauthorized(
                "The token is not valid here: it must be of this server's identity provider, for this server's "
                "audience, and in use now. The server's log has the reason.",
                code="invalid_token",
            ) from error
        self._remember(digest, principal, claims)
        return principal

    async def identify(self, id_token: str, access_token: str, *, client: str, nonce: str) -> Principal:
        """Who has signed in at the issuer with a browser, by the ID token that it was asked for with this nonce. The
        roles are those of both tokens, as far as the other one is for us and of the same person.

        Raises:
            Unauthorized: it is no such token.
            Unavailable: as of `authenticate`.
        """
        try:
            claims = await self._verify(id_token)
            _check_sign_in(claims, client, nonce)
            _check_time(claims, self._clock.now(), self._settings.leeway_s)
            found = [*_granted(claims, self._settings, self._grants)]
            if (other := await self._for_us(access_token)) is not None and other.get("sub") == claims.get("sub"):
                found += _granted(other, self._settings, self._grants)
            return _principal(claims, self._settings, tuple(found))
        except (_Refusal, _Expired) as error:
            _log.info("sign-in refused", reason=str(error) or "its token has expired")
            raise Unauthorized("The identity provider has signed nobody in.", code="oidc_failed") from error

    async def _for_us(self, token: str) -> Claims | None:
        """The claims of an access token that is for this server. Many are opaque, or for another service."""
        try:
            claims = await self._verify(token)
            _check_purpose(claims, self._settings.audience)
            _check_time(claims, self._clock.now(), self._settings.leeway_s)
        except (_Refusal, _Expired):
            return None
        return claims

    async def close(self) -> None:
        """Stop reading keys."""
        await self._issuer.close()

    async def _verify(self, token: str) -> Claims:
        """The claims of a token that the issuer has signed; for whom and until when is not looked at yet."""
        parts = token.split(".") if len(token) <= MAX_TOKEN_CHARACTERS and token.isascii() else []
        if len(parts) != 3:
            raise _Refusal("it is no signed JWT of at most 16,384 characters")
        header = _decode(parts[0], _Header)
        if header.alg not in self._settings.algorithms:
            raise _Refusal(f"it is signed with {header.alg[:20]!r}")
        if header.crit is not None or header.typ.lower() not in TYPES:
            raise _Refusal("its header says that it is something else")
        keys = await self._issuer.keys(header.kid, header.alg)
        key = next((key for key in keys if _has_signed(key, token, header.alg)), None)
        if key is None:
            raise _Refusal("no key of the issuer has signed it" if keys else "the issuer has no such key")
        claims = _decode(parts[1], dict[str, Any])
        tenant = claims.get("tid")
        if not self._issuer.is_issuer(_text(claims, "iss"), tenant if isinstance(tenant, str) else None, key):
            raise _Refusal("it is of another issuer")
        return claims

    def _remember(self, digest: bytes, principal: Principal, claims: Claims) -> None:
        left_s = claims["exp"] + self._settings.leeway_s - self._clock.now()
        if len(self._verified) >= CACHE_SIZE:
            self._verified.pop(next(iter(self._verified)))  # the oldest
        until_s = self._clock.monotonic() + min(left_s, CACHE_S)
        self._verified[digest] = (principal, until_s, self._issuer.generation)


def credentials(keys: Authenticate, tokens: Authenticate | None) -> Authenticate:
    """One way in for both: what has the two dots of a token is one, all else a key."""

    async def authenticate(credential: str) -> Principal:
        if credential.count(".") != 2 or credential.startswith("ms-"):
            return await keys(credential)
        if tokens is None:
            raise Unauthorized(
                "This server takes keys only: its setting identity.issuer names no identity provider for tokens.",
                code="invalid_token",
            )
        return await tokens(credential)

    return authenticate


@asynccontextmanager
async def opened(settings: IdentitySettings, clock: Clock) -> AsyncGenerator[Tokens | None]:
    """The tokens of the issuer that the settings name, None if they name none; its connections are closed at the end.

    Raises:
        UserMistake: the settings are refused, or the library that checks signatures is not installed.
    """
    if not settings.issuer:
        yield None
        return
    if not all(map(find_spec, ("jwt", "cryptography"))):
        raise UserMistake("Setting 'identity.issuer' needs the extra oidc: pip install 'mainspring[oidc]'.")
    fetch = HttpFetch()
    tokens = Tokens(settings, clock, fetch)
    try:
        yield tokens
    finally:
        await tokens.close()
        await fetch.close()


def _has_signed(key: Jwk, token: str, algorithm: str) -> bool:
    # A tenth of a second and megabytes that a server without an issuer does not spend.
    import jwt

    data = {name: value for name, value in msgspec.structs.asdict(key).items() if isinstance(value, str) and value}
    try:
        jwt.PyJWS().decode(
            token, jwt.PyJWK(data, algorithm), [algorithm], options={"enforce_minimum_key_length": True}
        )  # fmt: skip
    except jwt.PyJWTError:
        return False
    return True


def _decode(part: str, kind: type[Any]) -> Any:
    try:
        raw = base64.b64decode(part.encode() + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=kind)
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _Refusal("it cannot be read") from error


def _text(claims: Claims, name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise _Refusal(f"it has no {name}")
    return value


def _check_purpose(claims: Claims, audience: tuple[str, ...]) -> None:
    """It is for us, and an access token that anybody may use who holds it."""
    meant = claims.get("aud")
    if not set(_texts(meant)) & set(audience):
        raise _Refusal("it is for another audience")
    if str(claims.get("typ", "")).lower() in OTHER_PURPOSES:
        raise _Refusal("it is no access token")
    if claims.get("cnf") is not None:
        raise _Refusal("it is bound to a key of its holder's, which is not checked here")


def _check_sign_in(claims: Claims, client: str, nonce: str) -> None:
    """It is an ID token, for us, and the answer to this question (OpenID Connect Core, section 3.1.3.7)."""
    meant = _texts(claims.get("aud"))
    if client not in meant or claims.get("azp", client) != client:
        raise _Refusal("it is for another client")
    if not hmac.compare_digest(_text(claims, "nonce").encode(errors="surrogatepass"), nonce.encode()):
        raise _Refusal("it answers another question")


def _check_time(claims: Claims, now_s: float, leeway_s: float) -> None:
    times: dict[str, float] = {}
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None) or (value or 0) > MAX_TIME_S:
            raise _Refusal(f"its {name} is no time")
        if value is not None:
            times[name] = value
    if "exp" not in times:
        raise _Refusal("it never expires")
    if max(times.get("nbf", 0.0), times.get("iat", 0.0)) > now_s + leeway_s:
        raise _Refusal("its time has not come yet")
    if times["exp"] + leeway_s <= now_s:
        raise _Expired


def _texts(value: object) -> list[str]:
    """The texts of a claim that may be one or a list."""
    values = cast("list[object]", value)[:MAX_VALUES] if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _claim(claims: Claims, path: str) -> object:
    """The claim of that name, dots and all, or else what its dots lead to."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = cast("dict[str, object]", found).get(name)
    return found


def _granted(claims: Claims, settings: IdentitySettings, grants: Mapping[str, tuple[Grant, ...]]) -> Iterator[Grant]:
    yield from grants.get(EVERYONE, ())
    for path in settings.claims.roles:
        name, values = path.rpartition(".")[2], _texts(_claim(claims, path))
        if name in LISTS:
            values = [part for value in values for part in value.split()]
        for value in values:
            if value in grants:
                yield from grants[value]
            # Groups can be called anything by anybody in many directories; roles are made by an administrator.
            elif name == "roles" and (role := azure_role(value)):
                yield grant(role, settings.project)


def _principal(claims: Claims, settings: IdentitySettings, granted: tuple[Grant, ...]) -> Principal:
    subject = _claim(claims, settings.claims.subject)
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
        raise _Refusal(f"it has no {settings.claims.subject}")
    found = tuple(dict.fromkeys(granted))
    projects = {each.project for each in found}
    # v1 and v2 of Entra write one person's issuer differently; tenants are different issuers.
    issuer = claims["iss"] if settings.tenants else settings.issuer
    shown = (_claim(claims, name) for name in settings.claims.name)
    name = next((each for each in shown if isinstance(each, str) and each), subject)
    return Principal(
        id=_principal_id(issuer, subject),
        name="".join(character for character in name if character.isprintable())[:MAX_NAME_CHARACTERS],
        project=projects.pop() if len(projects) == 1 and "*" not in projects else DEFAULT_PROJECT,
        grants=found,
    )


def _principal_id(issuer: str, subject: str) -> str:
    """Readable where it can be; a hash where the subject is long, odd, or looks like a hash."""
    prefix = f"oidc:{hashlib.sha256(issuer.encode()).hexdigest()[:8]}:"
    is_plain = subject.isascii() and subject.isprintable() and not subject.startswith("~")
    if is_plain and len(prefix) + len(subject) <= MAX_ID_CHARACTERS:
        return prefix + subject
    return f"{prefix}~{hashlib.sha256(subject.encode(errors='surrogatepass')).hexdigest()[:40]}"
