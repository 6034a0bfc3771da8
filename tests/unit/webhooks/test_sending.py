"""One delivery over real sockets: what endpoints may do to us, and where none may send us."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from mainspring.webhooks import sending
from mainspring.webhooks.sending import Outcome, Sender

HERE = ("127.0.0.0/8", "::1/128")
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Endpoint:
    """Whatever `answer` writes. `seen` is what was sent to it; `connections` how often somebody connected."""

    def __init__(self, answer: bytes | Answer) -> None:
        self._answer, self.seen, self.connections, self.port = answer, list[bytes](), 0, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            self.seen.append(head + await reader.readexactly(length))
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(reader, writer)
        writer.close()


@contextlib.asynccontextmanager
async def listening(answer: bytes | Answer, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Endpoint]:
    endpoint = Endpoint(answer)
    server = await asyncio.start_server(endpoint, "127.0.0.1", 0, ssl=tls)
    endpoint.port = server.sockets[0].getsockname()[1]
    async with server:
        yield endpoint


def status(code: int, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [b"HTTP/1.1 %d Said" % code, b"content-length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


async def send(endpoint: Endpoint, host: str = "127.0.0.1", sender: Sender | None = None, path: str = "/") -> Outcome:
    sender = sender or Sender(allow_networks=HERE, timeout_s=5.0)
    return await sender(f"http://{host}:{endpoint.port}{path}", {"webhook-id": "wh_1"}, b'{"a": 1}')


async def test_a_delivery_arrives_as_it_was_written() -> None:
    async with listening(status(204)) as endpoint:
        outcome = await send(endpoint, path="/hook;x?key=%20v")
    assert (outcome.status_code, outcome.error, outcome.is_delivered) == (204, None, True)
    assert outcome.duration_s > 0
    head, _, body = endpoint.seen[0].partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in rest)
    assert first == b"POST /hook;x?key=%20v HTTP/1.1"
    assert body == b'{"a": 1}'
    assert headers[b"host"] == b"127.0.0.1:%d" % endpoint.port
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"webhook-id"] == b"wh_1"
    assert headers[b"user-agent"].startswith(b"mainspring/")


@pytest.mark.parametrize("code", [300, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
async def test_what_is_no_success_is_none_and_no_redirect_is_followed(code: int) -> None:
    async with (
        listening(b"") as other,
        listening(status(code, b"location: http://127.0.0.1:%d/" % other.port)) as endpoint,
    ):
        outcome = await send(endpoint)
    assert (outcome.status_code, outcome.is_delivered) == (code, False)
    assert other.connections == 0


@pytest.mark.parametrize(("header", "seconds"), [(b"7", 7.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0), (b"-1", 0.0)])
async def test_an_endpoint_may_ask_to_be_left_alone(header: bytes, seconds: float) -> None:
    async with listening(status(503, b"Retry-After: " + header)) as endpoint:
        assert (await send(endpoint)).retry_after_s == seconds


async def test_an_answer_without_an_end_is_read_no_further_than_it_must_be() -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with listening(endless) as endpoint:
        outcome = await send(endpoint)
    assert (outcome.status_code, outcome.error) == (200, None)
    assert sent < 64 * 2**20


async def test_an_endpoint_that_dawdles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    for answer in (never, trickle):
        async with listening(answer) as endpoint:
            outcome = await send(endpoint, sender=Sender(allow_networks=HERE, timeout_s=0.2))
        assert outcome.status_code is None
        assert outcome.error
    monkeypatch.setattr(sending, "ANSWER_S", 0.05)

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        await writer.drain()
        await reader.read()

    async with listening(half) as endpoint:
        assert (await send(endpoint)).is_delivered


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 2**20, b"\x16\x03"]
)
async def test_what_is_no_http_is_an_attempt_that_failed(answer: bytes) -> None:
    async with listening(answer) as endpoint:
        outcome = await send(endpoint)
    assert outcome.status_code is None
    assert outcome.error
    assert len(outcome.error) <= 300
    assert not outcome.is_delivered


async def test_where_nobody_listens() -> None:
    async with listening(b"") as endpoint:
        pass
    outcome = await send(endpoint)
    assert outcome.status_code is None
    assert outcome.error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::ffff:127.0.0.1]"])
async def test_this_machine_is_not_reached_by_any_of_its_names(host: str) -> None:
    async with listening(status(200)) as endpoint:
        outcome = await send(endpoint, host, Sender(timeout_s=5.0))
    assert outcome.status_code is None
    assert "is not delivered to" in (outcome.error or "")
    assert endpoint.connections == 0


async def test_a_name_that_turns_to_this_machine_after_it_was_looked_at_reaches_nothing() -> None:
    """DNS rebinding: what was looked at is what is connected to."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    async with listening(status(200)) as endpoint:  # at 127.0.0.1 only
        outcome = await send(endpoint, "rebind.example", Sender(allow_networks=["127.0.0.2/32"], timeout_s=5.0,
                                                               resolve=resolve))  # fmt: skip
        assert outcome.status_code is None
        assert asked == ["rebind.example"], "one look-up for a connection"
        second = await send(endpoint, "rebind.example", Sender(allow_networks=["127.0.0.2/32"], timeout_s=5.0,
                                                              resolve=resolve))  # fmt: skip
        assert "127.0.0.1, which is not delivered to" in (second.error or "")
        assert endpoint.connections == 0


async def test_of_several_addresses_only_those_that_may_be_are_tried() -> None:
    async def resolve(_: str, __: int) -> list[str]:
        return ["10.0.0.1", "127.0.0.3", "127.0.0.1"]

    async with listening(status(200)) as endpoint:
        sender = Sender(allow_networks=HERE, timeout_s=5.0, resolve=resolve)
        assert await sender.addresses("many.example", 80) == ["127.0.0.3", "127.0.0.1"]
        assert (await send(endpoint, "many.example", sender)).is_delivered


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for hook.example, and a client's that trusts it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


async def test_certificates_are_checked_against_the_name_though_the_connection_is_to_an_address(authority) -> None:
    server, trusting = authority

    async def resolve(_: str, __: int) -> list[str]:
        return ["127.0.0.1"]

    async with listening(status(200), tls=server) as endpoint:
        for host, tls, arrives in (
            ("hook.example", trusting, True), ("other.example", trusting, False), ("hook.example", None, False),
        ):  # fmt: skip
            sender = Sender(allow_networks=HERE, timeout_s=5.0, resolve=resolve, tls=tls)
            outcome = await sender(f"https://{host}:{endpoint.port}/", {}, b"{}")
            assert outcome.is_delivered == arrives, outcome
    assert len(endpoint.seen) == 1
