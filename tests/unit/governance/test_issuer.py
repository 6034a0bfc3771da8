"""How the issuer's documents are read: from a server of this machine that answers what no issuer should."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from mainspring.core.clock import FakeClock
from mainspring.core.config import IdentitySettings
from mainspring.core.errors import Unavailable
from mainspring.governance import issuer as module
from mainspring.governance.issuer import HttpFetch, Issuer, IssuerFailure, check_url
from tests.issuer import AUDIENCE, ISSUER, FakeIssuer

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
ZIPPED = gzip.compress(b"{}")


@pytest.fixture
async def fetch() -> AsyncIterator[HttpFetch]:
    found = HttpFetch()
    yield found
    await found.close()


class Server:
    """Sends `answer` to whoever connects; more of `more` for as long as it is read. May never end what it sends."""

    def __init__(self, answer: bytes, more: bytes = b"", hangs: bool = False) -> None:
        self.answer, self.more = answer, more
        self.end = asyncio.Event()
        if not hangs:
            self.end.set()
        self.asked: list[bytes] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/document"

    async def __aexit__(self, *_: object) -> None:
        self.end.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        try:
            writer.write(self.answer)
            while self.more:
                writer.write(self.more)
                await writer.drain()
            await self.end.wait()
        except OSError:
            pass
        finally:
            writer.close()


async def test_a_document_is_read(fetch: HttpFetch) -> None:
    server = Server(OK + b"content-length: 2\r\n\r\n{}")
    async with server as url:
        assert await fetch(url) == b"{}"
    assert b"accept-encoding: identity" in server.asked[0].lower()


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED, b""),
        (OK + b"\r\n", b"x" * 65_536),
        (OK + b"content-length: 100\r\n\r\n{}", b""),
        (b"SSH-2.0-OpenSSH\r\n", b""),
        (b"", b""),
    ],
    ids=["failure", "nothing", "compressed", "endless", "cut off", "not HTTP", "silence"],
)
async def test_what_is_no_document_is_refused(fetch: HttpFetch, answer: bytes, more: bytes) -> None:
    async with Server(answer, more) as url:
        with pytest.raises(IssuerFailure):
            await fetch(url)


async def test_redirects_are_not_followed(fetch: HttpFetch) -> None:
    there = Server(OK + b"content-length: 2\r\n\r\n{}")
    async with there as url, Server(b"HTTP/1.1 302 Found\r\nlocation: %b\r\n\r\n" % url.encode()) as first:
        with pytest.raises(IssuerFailure, match="302"):
            await fetch(first)
    assert not there.asked


async def test_whoever_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, fetch: HttpFetch) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.05)
    async with Server(OK + b"content-length: 2\r\n\r\n", hangs=True) as url:
        with pytest.raises(IssuerFailure, match="Timeout"):
            await fetch(url)
    with pytest.raises(IssuerFailure):
        await fetch("http://127.0.0.1:1/")


async def test_nor_may_it_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then would keep a connection alive for ever."""
    monkeypatch.setattr(module, "FETCH_S", 0.05)
    slow = FakeIssuer(FakeClock().now())
    slow.gate.clear()
    issuer = Issuer(IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,)), FakeClock(), slow.fetch)  # type: ignore[call-arg]
    with pytest.raises(Unavailable):
        await asyncio.wait_for(issuer.keys("k1", "RS256"), 5)


@pytest.mark.parametrize(
    "url",
    ["", "x", "https://", "//host", "http://host", "http://127.0.0.1.evil", "http://localhost.evil", "file:///x",
     "https://user@host", "javascript:1", "http://169.254.169.254/"],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(IssuerFailure):
        check_url(url, allow_http=False)


@pytest.mark.parametrize("url", ["https://host", "http://127.0.0.1:80", "http://127.9.9.9/", "http://[::1]/"])
def test_urls_that_are_taken(url: str) -> None:
    check_url(url, allow_http=False)
    check_url("http://host/", allow_http=True)
