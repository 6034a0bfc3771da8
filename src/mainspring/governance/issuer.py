"""The keys that an OpenID Connect issuer signs with: found, kept, and read again when they change.

They are read in one place at a time, at most every `RETRY_S`, whatever tokens arrive: a key that nobody has heard of
makes one request, ten thousand of them make no more. Keys that were read once serve on for `MAX_STALE_S` while the
issuer is down. What a token says about where keys may be found (`jku`, `x5u`, `jwk`, `x5c`) is not looked at.

Checks of tokens are in `governance/tokens.py`; here nothing is known of claims but who issued them.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

import msgspec

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config import IdentitySettings
from mainspring.core.errors import Unavailable, UserMistake

if TYPE_CHECKING:
    import httpx

__all__ = ["MAX_STALE_S", "RETRY_S", "Fetch", "HttpFetch", "Issuer", "IssuerFailure", "Jwk", "check_url"]

Fetch = Callable[[str], Awaitable[bytes]]
"""Reads a URL; raises `IssuerFailure`."""

RETRY_S = 10.0
"""Between two attempts to read the keys."""
MAX_STALE_S = 86_400.0
"""A key that the issuer took back may not live on for ever because somebody keeps us from hearing of it."""
FETCH_S = 5.0
MAX_DOCUMENT_BYTES = 512 * 1024
MAX_KEYS = 200
TENANT = "{tenantid}"
"""What Entra writes in the issuer of its documents for several tenants."""

FAMILIES = {
    "RS": ("RSA", ""),
    "PS": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithm, or how its name starts -> the type and the curve of its keys."""

_log = log.get("mainspring.identity")


class IssuerFailure(Exception):
    """The issuer could not be asked, or answered what cannot be used. For the log: it may name addresses."""


class Jwk(msgspec.Struct, frozen=True, kw_only=True):
    """A public key as issuers publish it: RFC 7517, and Entra's `issuer`."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    crv: str = ""
    issuer: str | None = None
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""

    def fits(self, kid: str | None, algorithm: str) -> bool:
        """Whether this key may have signed a token with that header. A token without `kid` is tried with all."""
        kind, curve = FAMILIES.get(algorithm) or FAMILIES[algorithm[:2]]
        return (
            (kid is None or kid == self.kid)
            and self.kty == kind
            and (not curve or self.crv == curve)
            and self.use in (None, "sig")
            and (self.key_ops is None or "verify" in self.key_ops)
            and self.alg in (None, algorithm)
        )


class _Document(msgspec.Struct, frozen=True):
    """Of the discovery document, what is used."""

    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


class _Known(msgspec.Struct, frozen=True):
    """The keys as they were read at `since_s` (monotonic), and the issuer as its own document writes it."""

    keys: tuple[Jwk, ...]
    issuer: str
    since_s: float


def check_url(url: str, allow_http: bool) -> None:
    """Refuse what could be read or changed on its way: http is for this machine alone, unless settings allow it.

    Raises:
        IssuerFailure: it is.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username is not None or not host:
        raise IssuerFailure(f"{url!r} is no URL of an issuer.")
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or _is_here(host))):
        return
    raise IssuerFailure(f"{url!r} is not https: keys from there could be anybody's. identity.allow_http takes them.")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpFetch:
    """Reads documents over HTTP: no redirects, no compression, nothing long, nothing slow."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, url: str) -> bytes:
        """See `Fetch`."""
        return await self._ask("GET", url)

    async def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str] | None) -> bytes:
        """Send a form, with user and password if they are given."""
        if credentials is not None:  # RFC 6749, section 2.3.1
            user, password = (quote_plus(each) for each in credentials)
            return await self._ask("POST", url, data=form, auth=(user, password))
        return await self._ask("POST", url, data=form)

    async def _ask(self, method: str, url: str, **more: Any) -> bytes:
        # Not at the start of a server that never needs it.
        import httpx

        if self._client is None:
            once = httpx.Limits(max_keepalive_connections=0)  # minutes lie between two readings
            self._client = httpx.AsyncClient(follow_redirects=False, timeout=FETCH_S, limits=once)
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        try:
            async with self._client.stream(method, url, headers=headers, **more) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise IssuerFailure(f"{url} answered with a compressed document.")
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MAX_DOCUMENT_BYTES:
                        raise IssuerFailure(f"{url} answered with more than {MAX_DOCUMENT_BYTES:,} bytes.")
                if response.status_code != 200:
                    raise IssuerFailure(f"{url} answered {response.status_code}: {bytes(body[:300])!r}.")
                return bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IssuerFailure(f"{url} cannot be read ({type(error).__name__}: {error}).") from error

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()


class Issuer:
    """One issuer. Owns what is known of its keys and the only task that reads them.

    `generation` counts how often they have changed: what was checked with those of an older one is checked again.

    Raises:
        UserMistake: a URL in the settings is refused.
    """

    def __init__(self, settings: IdentitySettings, clock: Clock, fetch: Fetch) -> None:
        self._settings, self._clock, self._fetch = settings, clock, fetch
        self._known: _Known | None = None
        self._reading: asyncio.Task[None] | None = None
        self._tried_s = float("-inf")
        self._failed = False
        self.generation = 0
        for url in filter(None, (settings.issuer, settings.keys_url)):
            try:
                check_url(url, settings.allow_http)
            except IssuerFailure as error:
                raise UserMistake(f"Setting 'identity': {error}") from error

    async def keys(self, kid: str | None, algorithm: str) -> list[Jwk]:
        """The keys that a token with this header may have been signed with; none if the issuer has none such.

        Raises:
            Unavailable: the keys are not known, and the issuer does not answer.
        """
        known = await self._current()
        found = [key for key in known.keys if key.fits(kid, algorithm)]
        if not found and kid is not None:  # a new key, perhaps
            await self._read()
            known = self._known or known
            found = [key for key in known.keys if key.fits(kid, algorithm)]
            if not found and self._failed:
                raise _unavailable()
        return found

    def is_issuer(self, issuer: str, tenant: str | None, key: Jwk) -> bool:
        """Whether a token that `key` has signed may say that it comes from `issuer`, of that tenant."""
        settings, known = self._settings, self._known
        if known is not None and TENANT in known.issuer:
            if tenant not in settings.tenants or issuer != known.issuer.replace(TENANT, tenant):
                return False
            return key.issuer is None or key.issuer.replace(TENANT, tenant) == issuer
        accepted = (settings.issuer, *settings.other_issuers)
        return issuer in accepted and (key.issuer is None or key.issuer.replace(TENANT, tenant or "") in accepted)

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _current(self) -> _Known:
        """What is known of the keys: read if it is not or is old, and read behind this request's back when it ages."""
        age_s = self._age_s()
        if age_s > self._settings.keys_s * 2:
            await self._read()
            age_s = self._age_s()
        elif age_s > self._settings.keys_s:
            self._begin()
        if self._known is None or age_s > MAX_STALE_S:
            raise _unavailable()
        return self._known

    def _age_s(self) -> float:
        return float("inf") if self._known is None else self._clock.monotonic() - self._known.since_s

    async def _read(self) -> None:
        """Wait until the keys have been read, unless that was tried a moment ago."""
        if (task := self._begin()) is not None:
            await asyncio.shield(task)  # a client that leaves takes the keys from nobody

    def _begin(self) -> asyncio.Task[None] | None:
        if self._reading is not None and not self._reading.done():
            return self._reading
        now_s = self._clock.monotonic()
        if now_s - self._tried_s < RETRY_S:
            return None
        self._tried_s = now_s
        self._reading = asyncio.create_task(self._read_once())
        return self._reading

    async def _read_once(self) -> None:
        self._failed = True
        try:
            async with asyncio.timeout(FETCH_S):
                known = await self._load()
            if self._known is None or known.keys != self._known.keys:
                self.generation += 1
            self._known, self._failed = known, False
        except TimeoutError:
            _log.warning("issuer does not answer", issuer=self._settings.issuer, seconds=FETCH_S)
        except IssuerFailure as error:
            _log.warning("issuer cannot be used", issuer=self._settings.issuer, reason=str(error))
        except Exception:  # noqa: BLE001 - requests wait for this task and must get an answer
            _log.exception("issuer failed", issuer=self._settings.issuer)

    async def _load(self) -> _Known:
        settings, since_s = self._settings, self._clock.monotonic()
        url, issuer = settings.keys_url, settings.issuer
        if not url:
            document = _parse(await self._fetch(discovery_url(issuer)), _Document)
            if TENANT in document.issuer and not settings.tenants:
                raise IssuerFailure("it is Entra's for many tenants: name those that may come in identity.tenants.")
            if TENANT not in document.issuer and document.issuer != issuer:
                raise IssuerFailure(f"it calls itself {document.issuer!r}: set identity.issuer to exactly that.")
            url, issuer = document.jwks_uri, document.issuer
            check_url(url, settings.allow_http)
        keys = _usable(_parse(await self._fetch(url), _KeySet).keys)
        return _Known(keys, issuer, since_s)


def discovery_url(issuer: str) -> str:
    """Where the issuer describes itself (OpenID Connect Discovery, section 4)."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def _parse(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IssuerFailure(f"it answered with what is no such document ({error}).") from error


def _usable(raw: list[msgspec.Raw]) -> tuple[Jwk, ...]:
    """Those keys that are of a kind we know. Others may lie beside them: encryption keys, shared secrets."""
    if len(raw) > MAX_KEYS:
        raise IssuerFailure(f"it has {len(raw):,} keys; {MAX_KEYS} are the most that are taken.")
    found: list[Jwk] = []
    for each in raw:
        try:
            key = msgspec.json.decode(each, type=Jwk)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if key.kty in ("RSA", "EC", "OKP"):
            found.append(key)
    if not found:
        raise IssuerFailure("it has no key that can be used.")
    return tuple(found)


def _unavailable() -> Unavailable:
    return Unavailable(
        "Tokens cannot be checked: the identity provider does not answer. API keys work meanwhile.",
        code="issuer_unavailable",
        retry_after_s=RETRY_S,
    )
