"""Connections to addresses that were looked at, for `sending.py`. A module of its own because of what it imports."""

from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import httpcore
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

__all__ = ["Guarded"]


class Guarded(AsyncNetworkBackend):
    """Connects to the addresses that `addresses` says a host may be reached at: each is a number, so nothing is looked
    up again between the look and the connection."""

    def __init__(self, addresses: Callable[[str, int], Awaitable[list[str]]]) -> None:
        self._addresses = addresses
        self._inner = cast("AsyncNetworkBackend", httpcore.AnyIOBackend())  # a stub, to those who do not see anyio

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:  # fmt: skip
        """See httpcore."""
        failed: Exception | None = None
        for address in await self._addresses(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failed = error
        assert failed is not None, "there is an address"
        raise failed

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._inner.sleep(seconds)
