"""Keeps a server busy with many requests at once, for `gateway.py`: one process, kept-alive connections, no parsing.

It shares the machine's two cores with a server that uses one of them, so it must cost less than that: requests are
encoded beforehand, an answer is only searched for its end, and chunks are counted in the bytes of a whole stream.
"""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import NamedTuple, cast

from benchmarks._client import Address

__all__ = ["Answer", "Load", "Pool", "arrivals", "busy", "percentile", "request"]

TIMEOUT_S = 60.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_CONTENT = re.compile(rb'"delta":\{(?:"role":"assistant",)?"content":"[^"]')
"""What a chunk with text in it has, however a server orders the fields before it."""


class Answer(NamedTuple):
    """A whole answer. Times are seconds of `time.perf_counter`."""

    status: int
    body: bytes
    asked: float
    ended: float

    @property
    def chunks(self) -> int:
        """Events of a stream that carried text."""
        return len(_CONTENT.findall(self.body))


def request(to: Address, body: dict[str, object], path: str = "/v1/chat/completions") -> bytes:
    """The bytes of a POST."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {to.host}:{to.port}\r\nAuthorization: Bearer {to.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body_at = 0
        self._end = 0  # 0: not known yet; -1: chunked
        self._asked = 0.0
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, data: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the future is its answer."""
        assert self._transport is not None
        self._buffer.clear()
        self._end = self._body_at = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._asked = time.perf_counter()
        self._transport.write(data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._body_at:
            at = buffer.find(b"\r\n\r\n")
            if at < 0:
                return
            self._body_at = at + 4
            length = _LENGTH.search(buffer, 0, at)
            self._end = self._body_at + int(length[1]) if length else -1
            assert length or _CHUNKED.search(buffer, 0, at), "an answer without an end"
        if len(buffer) >= self._end if self._end >= 0 else buffer.endswith(b"\r\n0\r\n\r\n"):
            assert self._answer is not None
            if not self._answer.done():
                status, body = int(buffer[9:12]), bytes(buffer[self._body_at :])
                self._answer.set_result(Answer(status, body, self._asked, time.perf_counter()))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class Pool:
    """Connections that are not in use, and as many new ones as are needed."""

    def __init__(self, to: Address) -> None:
        self._to = to
        self._free: list[_Connection] = []

    async def ask(self, data: bytes) -> Answer:
        """Send a request on a connection of its own. One that fails to arrive is an error: none is expected."""
        connection = self._free.pop() if self._free else None
        if connection is None or not connection.is_open:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, self._to.host, self._to.port)
        async with asyncio.timeout(TIMEOUT_S):
            answer = await connection.ask(data)
        self._free.append(connection)
        return answer

    def close(self) -> None:
        """Hang up."""
        for connection in self._free:
            connection.close()


@dataclass
class Load:
    """What came of it. `cpu` is this process's own use of a core: at 1 it, not the server, was measured."""

    seconds: float = 0.0
    cpu: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter[int])
    latencies_s: list[float] = field(default_factory=list[float])
    chunks: int = 0

    @property
    def requests_s(self) -> float:
        """Successes a second."""
        return self.statuses[200] / self.seconds

    @property
    def chunks_s(self) -> float:
        """Chunks with text a second."""
        return self.chunks / self.seconds

    def ms(self, share: float) -> float:
        """A percentile of the latency of whole answers, in milliseconds."""
        return 1000 * percentile(self.latencies_s, share)

    def figures(self) -> dict[str, float]:
        """To be kept."""
        return {
            "requests_s": self.requests_s,
            "chunks_s": self.chunks_s,
            "p50_ms": self.ms(0.5),
            "p99_ms": self.ms(0.99),
            "client_cpu": self.cpu,
            "failed": sum(self.statuses.values()) - self.statuses[200],
        }

    def add(self, answer: Answer, since: float) -> None:
        """Count an answer that was wanted at `since`."""
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.latencies_s.append(answer.ended - since)
            if b"data: " in answer.body[:16]:
                self.chunks += answer.chunks


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def busy(to: Address, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """So many clients, each of which sends the next request as soon as its last is answered (a closed loop)."""
    pool, load = Pool(to), Load()
    began, cpu = time.perf_counter(), time.process_time()
    until, todo = began + seconds, cycle(requests)

    async def client() -> None:
        while time.perf_counter() < until:
            answer = await pool.ask(next(todo))
            load.add(answer, answer.asked)

    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.perf_counter() - began
    load.cpu = (time.process_time() - cpu) / load.seconds
    pool.close()
    return load


async def arrivals(to: Address, requests: Sequence[bytes], rate: float, seconds: float, seed: int) -> Load:
    """Requests that come at random moments, `rate` a second on average, however long the answers take (an open loop).

    A latency counts from the moment that the request was due, so a client that lags makes it worse, never better.
    """
    pool, load, draw = Pool(to), Load(), random.Random(seed)
    running: set[asyncio.Task[None]] = set()
    began, cpu = time.perf_counter(), time.process_time()

    async def one(data: bytes, due: float) -> None:
        load.add(await pool.ask(data), due)

    due = began
    while (due := due + draw.expovariate(rate)) < began + seconds:
        while (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(draw.choice(requests), due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    load.seconds = time.perf_counter() - began
    load.cpu = (time.process_time() - cpu) / load.seconds
    pool.close()
    return load
