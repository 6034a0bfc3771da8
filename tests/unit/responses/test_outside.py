"""Requests to places that clients name: never a private address, whatever its name says the next time."""

import ipaddress
import socket
from typing import Any

import pytest

from mainspring.responses import outside
from mainspring.responses.outside import Outside, OutsideError, host_of
from mainspring.responses.web import _page, _read, is_within


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False), ("::1", False),
        ("192.168.1.1", False), ("172.16.0.1", False), ("169.254.169.254", False), ("0.0.0.0", False), ("::", False),
        ("100.64.0.1", False), ("224.0.0.1", False), ("255.255.255.255", False), ("fe80::1", False), ("fc00::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:8.8.8.8", True), ("2002:7f00:1::", False), ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True), ("ff02::1", False), ("198.18.0.1", False), ("192.0.2.1", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known_in_every_form(address: str, public: bool) -> None:
    assert outside._is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize("url", ["", "example.org", "ftp://example.org", "http://", "http://[::1", "file:///etc/passwd",
                                 "http://a:b:c/", "gopher://x"])  # fmt: skip
def test_only_http_has_hosts(url: str) -> None:
    with pytest.raises(OutsideError):
        host_of(url)


async def ask(client: Outside, url: str) -> bytes:
    async with client.request("GET", url, timeout_s=5, max_bytes=100) as answer:
        return await answer.body()


class Names:
    """A resolver that says something else each time, as one of an attacker's would."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers.pop(0)


async def test_a_name_is_asked_for_once_and_its_address_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(["10.0.0.1", "93.184.216.34"], ["127.0.0.1"])
    connected: list[str] = []
    client = Outside()

    async def connect(host: str, port: int, *_: Any) -> Any:
        connected.append(host)
        raise OSError("enough")

    monkeypatch.setattr(outside, "_addresses", names)
    monkeypatch.setattr(client._backend._inner, "connect_tcp", connect)
    with pytest.raises(OutsideError):
        await ask(client, "http://example.org/")
    assert (connected, names.asked) == (["93.184.216.34"], 1)
    with pytest.raises(OutsideError, match=r"tools\.private_hosts"):
        await ask(client, "http://example.org/")
    assert len(connected) == 1


async def test_hosts_that_the_settings_allow_may_be_private_and_bodies_have_limits() -> None:
    import asyncio

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = 101 if b"/large" in head else 5
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: %d\r\n\r\n" % size)
        writer.write(b"x" * size)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        for allowed in (("127.0.0.1",), ("*",)):
            assert await ask(Outside(allowed), f"http://127.0.0.1:{port}/") == b"xxxxx", "redirects are not followed"
        with pytest.raises(OutsideError, match="more than 100 bytes"):
            await ask(Outside(("*",)), f"http://127.0.0.1:{port}/large")
        with pytest.raises(OutsideError, match="private address"):
            await ask(Outside(("localhost",)), f"http://127.0.0.1:{port}/")
    finally:
        server.close()
        await server.wait_closed()


async def test_names_that_nobody_has_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("no")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(OutsideError, match="There is no host"):
        await ask(Outside(), "http://nobody.example/")


def test_pages_are_read_as_people_see_them() -> None:
    html = (
        "<title> A \n b</title><style>x</style><p>One <b>two</b></p><script>no</script><ul><li>three<li>four</ul>&lt;"
    )
    assert _read(html) == ("A b", "One two\n\nthree\nfour\n<")
    assert _read("<svg><p>open")[1] == ""


def test_domains_are_those_and_below() -> None:
    assert is_within("https://a.Example.org/x", ["example.org"])
    assert not is_within("https://badexample.org/", ["example.org"])
    assert not is_within("https://example.org.evil.com/", ["example.org"])
    assert is_within("https://x.org", [])
    assert _page({"url": "data:text/html,x"}) is None
