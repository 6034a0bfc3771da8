"""A streaming HTTP client that costs almost nothing: it shares the machine's cores with the server it measures.

One connection a request, chunks kept as bytes with the time they came, JSON read only after the end. The same code
talks to both servers. Not a general client: HTTP/1.1, loopback, chunked or closed bodies.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 900.0

__all__ = ["Address", "Reply", "get", "post", "stream"]


@dataclass(frozen=True)
class Address:
    """Where a server listens, the key it wants, and the model's name there."""

    port: int
    key: str = "none"
    model: str = "default"
    host: str = "127.0.0.1"


@dataclass
class Reply:
    """A stream: when it was asked for and when each chunk came, in seconds of `time.perf_counter`."""

    asked: float = 0.0
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    text: str = ""
    times: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def read(self) -> "Reply":
        """Fill in text, the times of the chunks that carried some, and usage."""
        for at, data in self.chunks:
            body = json.loads(data)
            if body.get("error"):
                raise RuntimeError(f"the server sent an error: {body['error']}")
            for choice in body.get("choices", ()):
                piece = choice.get("text") or choice.get("delta", {}).get("content")
                if piece:
                    self.text += piece
                    self.times.append(at)
            if usage := body.get("usage"):
                self.prompt_tokens, self.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
                self.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return self

    @property
    def ttft_s(self) -> float:
        """Seconds from the request to the first text."""
        return self.times[0] - self.asked

    @property
    def wall_s(self) -> float:
        """Seconds from the request to the last text."""
        return self.times[-1] - self.asked

    @property
    def tpot_s(self) -> float:
        """Seconds for each token after the first."""
        return (self.times[-1] - self.times[0]) / max(1, self.completion_tokens - 1)


async def _open(
    to: Address, method: str, path: str, body: dict[str, Any] | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int, dict[str, str]]:
    reader, writer = await asyncio.open_connection(to.host, to.port, limit=2**22)
    data = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {to.host}:{to.port}\r\nAuthorization: Bearer {to.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + data)
    status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
    return reader, writer, int(status_line.split(" ")[1]), headers


async def _part(reader: asyncio.StreamReader, chunked: bool) -> bytes:
    """The next piece of the body; empty at its end."""
    if not chunked:
        return await reader.read(2**16)
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def _whole(to: Address, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
    reader, writer, status, headers = await _open(to, method, path, body)
    try:
        data, chunked = b"", headers.get("transfer-encoding") == "chunked"
        while part := await _part(reader, chunked):
            data += part
        return status, data
    finally:
        writer.close()


async def get(to: Address, path: str) -> tuple[int, bytes]:
    """Status and body."""
    return await _whole(to, "GET", path, None)


async def post(to: Address, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Status and body."""
    return await _whole(to, "POST", path, body)


async def stream(
    to: Address, path: str, body: dict[str, Any], on_chunk: Callable[[Reply], None] | None = None
) -> Reply:
    """Ask, and collect the stream to its end. `on_chunk` is told of each chunk as it comes.

    Raises:
        TimeoutError: after a quarter of an hour.
        RuntimeError: any status but 200, an error inside the stream, or a stream without an end.
    """
    async with asyncio.timeout(TIMEOUT_S):
        return await _stream(to, path, body, on_chunk)


async def _stream(to: Address, path: str, body: dict[str, Any], on_chunk: Callable[[Reply], None] | None) -> Reply:
    reply = Reply(asked=time.perf_counter())
    reader, writer, status, headers = await _open(to, "POST", path, body)
    try:
        chunked, buffer = headers.get("transfer-encoding") == "chunked", b""
        while part := await _part(reader, chunked):
            at = time.perf_counter()
            buffer += part
            *events, buffer = buffer.split(b"\n\n")
            for event in events:
                data = event.strip().removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return reply.read()
                if data.startswith(b"{"):
                    reply.chunks.append((at, data))
            if events and on_chunk:
                on_chunk(reply)
        raise RuntimeError(f"status {status}, and no end of the stream: {buffer[:500]!r}")
    finally:
        writer.close()
