"""Requests of our own API from within this process: the same application, without a socket and without a key.

    answered = await inside("/v1/chat/completions", body, principal=who, project="research", tier="batch")

They pass the edge and everything behind it like everybody's; only the question who asks is answered here and not by a
key. It is answered by an object in the ASGI scope (`context.Caller`). What a client sends becomes bytes and texts in
places of the scope that the server chooses, so no client can be that object, whatever it sends.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message

from mainspring.api.context import CALLER, Caller, header
from mainspring.core.seams import Answered
from mainspring.core.types import Principal, Tier

__all__ = ["Inside"]


class Inside:
    """A `core.seams.Call`. Whoever calls before there is an application waits for it."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._served: frozenset[tuple[str, str]] = frozenset()
        self._bound = asyncio.Event()

    def bind(self, app: ASGIApp, served: Iterable[tuple[str, str]]) -> None:
        """This is the application, and every (method, path) that it answers."""
        self._app, self._served = app, frozenset(served)
        self._bound.set()

    def serves(self, path: str) -> bool:
        """See `Call`."""
        return ("POST", path) in self._served

    async def __call__(
        self,
        path: str,
        body: bytes,
        *,
        principal: Principal,
        project: str,
        tier: Tier | None = None,
        id: str = "",  # noqa: A002 - what it becomes
    ) -> Answered:
        """See `Call`."""
        await self._bound.wait()
        assert self._app is not None
        exchange = _Exchange(body)
        scope = _scope(path, len(body)) | {CALLER: Caller(principal, project, tier, id)}
        await self._app(scope, exchange.receive, exchange.send)
        return exchange.answered()


def _scope(path: str, num_bytes: int) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % num_bytes)],
        "client": None,
        "server": None,
    }


class _Exchange:
    """Both ends of the one request: a client that sends its body and waits for the answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []

    async def receive(self) -> Message:
        """The body; then nothing, for as long as somebody waits: it leaves by cancelling the task."""
        if self._body is None:
            await asyncio.get_running_loop().create_future()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Keep what is answered."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message.get("headers", ()))
        else:
            self._pieces.append(message.get("body", b""))

    def answered(self) -> Answered:
        """What was."""
        wait_ms = header(self._headers, b"retry-after-ms")
        request_id = header(self._headers, b"x-request-id") or b""
        wait_s = float(wait_ms) / 1000 if wait_ms is not None else None
        return Answered(self._status, b"".join(self._pieces), request_id.decode(), wait_s)
