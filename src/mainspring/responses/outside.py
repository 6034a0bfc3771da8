"""Requests to places that clients name: MCP servers and web pages.

Private addresses are refused unless the settings allow the host, and it is the address that is connected to that is
looked at: a name may mean another one the next time it is asked for. Redirects are not followed, no proxy is used, and
bodies have limits. Nothing of a request or an answer is logged.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httpcore

__all__ = ["Answer", "Outside", "OutsideError", "host_of"]

CONNECT_S = 10.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class OutsideError(Exception):
    """What came of it, in a sentence that may be shown to whoever named the place."""


class Answer:
    """The head of an answer, and its body as it comes."""

    def __init__(self, response: httpcore.Response, max_bytes: int) -> None:
        self._response, self._max_bytes = response, max_bytes
        self.status = response.status

    def header(self, name: str) -> str:
        """A header, or nothing."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self._response.headers if key.lower() == wanted), "")

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The body. Raises OutsideError if it is too long."""
        seen = 0
        async for piece in self._response.aiter_stream():
            seen += len(piece)
            if seen > self._max_bytes:
                raise OutsideError(f"The answer has more than {self._max_bytes} bytes.")
            yield piece

    async def body(self) -> bytes:
        """All of it. Raises as `pieces`."""
        async with aclosing(self.pieces()) as pieces:
            return b"".join([piece async for piece in pieces])


class Outside:
    """A client.

    Args:
        private: hosts that may be at private addresses; "*" is all.
    """

    def __init__(self, private: Collection[str] = ()) -> None:
        self._backend = _Backend(frozenset(host.casefold() for host in private))

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] = {}, content: bytes | None = None,
        timeout_s: float, max_bytes: int,
    ) -> AsyncGenerator[Answer]:  # fmt: skip
        """Ask, on a connection of its own. All of it together may take `timeout_s`.

        Raises:
            OutsideError: the place is refused, is not there, or does not answer properly.
        """
        host_of(url)
        wanted = {"user-agent": "mainspring", **headers}
        given = [
            (name.encode("latin-1", "replace"), each.encode("latin-1", "replace")) for name, each in wanted.items()
        ]
        waits = {"connect": CONNECT_S, "read": timeout_s, "write": timeout_s, "pool": timeout_s}
        try:
            async with (
                asyncio.timeout(timeout_s),
                httpcore.AsyncConnectionPool(network_backend=self._backend) as pool,
                pool.stream(method, url, headers=given, content=content, extensions={"timeout": waits}) as got,
            ):
                yield Answer(got, max_bytes)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise OutsideError(f"It did not answer within {timeout_s:.0f} seconds.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
            raise OutsideError("It cannot be reached, or does not speak HTTP.") from error


def host_of(url: str) -> str:
    """The host of a URL. Raises OutsideError: it is none of http or https."""
    try:
        parts = urlsplit(url)
        host, _, scheme = parts.hostname, parts.port, parts.scheme
    except ValueError:
        host, scheme = None, ""
    if not host or scheme not in ("http", "https"):
        raise OutsideError("It is no URL of http or https.")
    return host.casefold()


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at."""

    def __init__(self, private: frozenset[str]) -> None:
        self._private = private
        self._inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ASYNC109 - httpcore's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """See httpcore."""
        addresses = await _addresses(host, port)
        if not ({host.casefold(), "*"} & self._private):
            addresses = [each for each in addresses if _is_public(ipaddress.ip_address(each))]
            if not addresses:
                raise OutsideError(
                    f"{host[:100]!r} is at a private address: set tools.private_hosts if that is to be reached."
                )
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        """Never."""
        raise OutsideError("There are no such places.")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await asyncio.sleep(seconds)


async def _addresses(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OutsideError(f"There is no host {host[:100]!r}.") from error
    return list(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


def _is_public(address: Address) -> bool:
    """Whether anybody in the internet may be there, and nobody of this network. Addresses that carry another one are
    what that is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast
