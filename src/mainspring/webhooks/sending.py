"""One delivery over HTTP: to an address that may be connected to, in a bounded time, without redirects.

Each has a connection of its own, over HTTP/1.1, through no proxy: deliveries to one endpoint are minutes apart.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from mainspring import __version__
from mainspring.core import log
from mainspring.webhooks.addresses import networks_of, why_not

if TYPE_CHECKING:
    from mainspring.webhooks.network import Guarded

__all__ = ["Outcome", "Refused", "Resolve", "Send", "Sender", "look_up"]

MAX_ANSWER_BYTES = 64 * 1024
"""What is read of an answer before the connection is closed; nothing of it is kept."""
ANSWER_S = 1.0
"""How long an answer is read once its status is known."""
MAX_ERROR = 300
_log = log.get("mainspring.webhooks")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an attempt. `status_code` is None if there was no answer; then `error` says why."""

    status_code: int | None = None
    error: str | None = None
    duration_s: float = 0.0
    retry_after_s: float = 0.0
    """How long the endpoint asks to be left alone."""

    @property
    def is_delivered(self) -> bool:
        """Whether the endpoint has said that it has it."""
        return self.status_code is not None and 200 <= self.status_code < 300


Send = Callable[[str, Mapping[str, str], bytes], Awaitable[Outcome]]
"""(url, headers, body) -> what became of it. Never raises for what the endpoint does."""
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> its addresses."""


class Refused(Exception):
    """No connection may be made there."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """A `Resolve` that asks the system. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Sender:
    """A `Send`.

    Args:
        allow_networks: networks that may be connected to though they are not the internet's.
        timeout_s: from the look-up of the name to the status of the answer.
        tls: what certificates are checked with; None takes the usual authorities, or those of SSL_CERT_FILE.
    """

    def __init__(
        self, *, allow_networks: Sequence[str] = (), timeout_s: float, resolve: Resolve = look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._allowed, self._timeout_s = networks_of(allow_networks), timeout_s
        self._resolve, self._tls = resolve, tls
        self._network: Guarded | None = None

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """See `Send`."""
        began_s = time.monotonic()
        given = {
            "content-type": "application/json", "user-agent": f"Mainspring/{__version__}",
            "accept-encoding": "identity", "connection": "close", **headers,
        }  # fmt: skip
        status, error, retry_after_s = None, None, 0.0
        try:
            async with asyncio.timeout(self._timeout_s):
                status, retry_after_s = await self._post(url, given, body)
        except TimeoutError:
            error = f"no answer within {self._timeout_s:g} s"
        except Refused as refused:
            error = str(refused)
        except Exception as failed:  # noqa: BLE001 - whatever an endpoint does is an attempt that failed
            error = _said(failed)
        return Outcome(
            status_code=status, error=error, duration_s=time.monotonic() - began_s, retry_after_s=retry_after_s
        )

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to. Raises Refused, OSError."""
        found, reasons = list[str](), list[str]()
        for address in await self._resolve(host, port):
            reason = why_not(address, self._allowed)
            if reason is None:
                found.append(address)
            else:
                reasons.append(f"{host} has the address {address}, which is not delivered to: {reason}")
        if not found:
            raise Refused(reasons[0] if reasons else f"{host} has no address")
        return found

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, float]:
        # Not at the start of a server that has no endpoints: they take a tenth of a second.
        import httpcore
        import httpx

        from mainspring.webhooks.network import Guarded

        self._network = self._network or Guarded(self.addresses)
        parts = urlsplit(url)
        target = httpcore.URL(
            scheme=parts.scheme, host=parts.hostname or "", port=parts.port,
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )  # fmt: skip
        if target.scheme == b"https" and self._tls is None:
            self._tls = httpx.create_ssl_context()
        headers = {"host": parts.netloc, **headers}
        connection = httpcore.AsyncHTTPConnection(
            target.origin, ssl_context=self._tls, network_backend=self._network, http2=False
        )
        try:
            async with connection.stream("POST", target, headers=list(headers.items()), content=body) as answer:
                await _drain(answer.aiter_stream())
                return answer.status, _retry_after(answer.headers)
        finally:
            await connection.aclose()


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read a little more, so that the endpoint need not see its connection break off; its status counts whatever
    becomes of that."""
    size = 0
    with contextlib.suppress(Exception):
        async with asyncio.timeout(ANSWER_S):
            async for piece in pieces:
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    return


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """Seconds; dates are not read."""
    given = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return float(given) if given.isdigit() and len(given) < 8 else 0.0


def _said(failed: Exception) -> str:
    """In a line. The message of an exception is the library's or the system's: an address at most, no path of ours."""
    text = "".join(character if character.isprintable() else " " for character in str(failed)) or type(failed).__name__
    _log.info("a delivery failed", reason=text[:MAX_ERROR], kind=type(failed).__name__)
    return text[:MAX_ERROR]
