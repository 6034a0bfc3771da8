"""Our side's servers for `gateway.py`, each in a process of its own: `python -m benchmarks._gateway KIND PORT HOME`.

    serve  the server as `mainspring up` runs it, with the fake engine in place of the router and its replicas
    bare   the fake engine over HTTP with nothing in between: what added latency is measured against
    echo   a constant answer: what the client alone can do

The fake answers as fast as it can. It runs in the server's process, so its own work counts as ours.
"""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from mainspring import wiring
from mainspring.core.config import load_settings
from mainspring.core.types import ChatPrompt, Embeddings, EmbedRequest, GenerateRequest, Message, Token
from mainspring.engine.fake import FakeEmbedder, FakeEngine
from mainspring.serving.autoscale import Wanted
from mainspring.serving.replicas import Status

NUM_TOKENS = 24
"""Of an answer; each of them is a chunk of a stream."""
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


class FakeRouter(FakeEngine):
    """The fake with what `wiring` wants of a router."""

    ready = True

    def __init__(self) -> None:
        embedder = FakeEmbedder()
        super().__init__(("fake",), places=4096, others=(embedder.model,), remembers=False)
        self._embedder = embedder

    def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def wait_ready(self) -> None:
        """It is."""

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """Everything that is wanted is there."""

    def status(self, name: str) -> Status:
        """Always ready."""
        return Status(self.find(name).state, "It is a fake.")

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """The fake's."""
        return await self._embedder.embed(request)


class _Bare(asyncio.Protocol):
    """Reads a request, answers it, knows nothing of HTTP but where a request ends."""

    def __init__(self, engine: FakeEngine | None) -> None:
        self._engine = engine
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if not found or len(rest) < size:
            return
        self._buffer = rest[size:]
        if not size:  # a GET, which asks whether the server has started
            self._write("yes")
            self._transport.close()
        elif self._engine is None:
            self._write("a constant")
        else:
            self._task = asyncio.get_running_loop().create_task(self._answer(rest[:size], self._engine))

    async def _answer(self, body: bytes, engine: FakeEngine) -> None:
        asked = msgspec.json.decode(body)
        messages = tuple(Message(role=one["role"], content=one["content"]) for one in asked["messages"])
        request = GenerateRequest(id="bare", model="fake", prompt=ChatPrompt(messages), max_tokens=asked["max_tokens"])
        texts = [event.text async for event in engine.generate(request) if isinstance(event, Token)]
        self._write("".join(texts))

    def _write(self, text: str) -> None:
        body = msgspec.json.encode({"choices": [{"message": {"content": text}}]})
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def _listen(port: int, engine: FakeEngine | None) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Bare(engine), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    kind, port, home = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "serve":
        wiring._router = lambda _: FakeRouter()  # type: ignore # noqa: SLF001 - the one part that is not real
        wiring.serve(load_settings(home, {"server": {"port": port}}))
    else:
        uvloop.run(_listen(port, FakeRouter() if kind == "bare" else None))


if __name__ == "__main__":
    main()
