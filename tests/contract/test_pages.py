"""The pages as a browser gets them: which addresses are theirs, what is kept how long, what they may do, prefixes."""

import gzip
import os
import re
import socket
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from tests.contract.target import KEY, Target, fake_target

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
INDEX = '<!doctype html><head><base href="/"><script type="module" src="./assets/a-1.js"></script></head>'
DRAWING = '<!doctype html><script type="module" crossorigin src="./assets/a-1.js"></script>'
SCRIPT = "console.log('built');" * 50
PAGES = (
    "/", "/sign-in", "/assistants", "/chat", "/chat/", "/chat/chat_1", "/chat/a/b", "/playground",
    "/playground/embeddings", "/console", "/console/keys", "/s/abc", "/c/chat_1",
)  # fmt: skip
NO_PAGES = ("/chatter", "/sign-in/", "/s", "/nowhere", "/v1", "/v1/models", "/index.html", "/.built", "/docs/x")


def build(folder: Path, index: str = INDEX) -> Path:
    """What `npm run build` leaves."""
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(index)
    (folder / "mark.svg").write_text("<svg/>")
    (folder / "diagram.html").write_text(DRAWING)
    (folder / "assets" / "a-1.js").write_text(SCRIPT)
    (folder / "assets" / "a-1.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (folder / "assets" / "a-1.js.br").write_bytes(b"brotli")
    (folder / "assets" / "plain-1.css").write_text("a {}")
    (folder / "assets" / "font-1.woff2").write_bytes(b"\0")
    (folder / "assets" / "odd-1.xyz").write_bytes(b"<script>")
    (folder / ".built").write_text("1")
    return folder


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    root = tmp_path_factory.mktemp("built")
    (root / "secret.txt").write_text("secret")
    with fake_target(pages=build(root / "pages")) as found:
        yield found


def get(target: Target, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, target.base_url + path, headers={"accept-encoding": "identity", **named})


def policy(answer: httpx.Response) -> dict[str, set[str]]:
    said = [each.split() for each in answer.headers["content-security-policy"].split(";")]
    return {name: set(sources) for name, *sources in said}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_the_one_page(target: Target, path: str) -> None:
    answer = get(target, path, **HTML)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", [*PAGES, *NO_PAGES])
def test_what_asks_for_no_page_is_answered_as_before(target: Target, path: str) -> None:
    answer = get(target, path, accept="*/*")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] in ("invalid_api_key", "401")
    assert get(target, path, accept="application/json", api_key=KEY).status_code == (200 if "models" in path else 404)


@pytest.mark.parametrize("path", [*NO_PAGES, "/projects/other/chat", "/openai/chat"])
def test_other_addresses_want_a_key_whatever_asks(target: Target, path: str) -> None:
    assert get(target, path, **HTML).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_page_is_read_only(target: Target, method: str) -> None:
    assert get(target, "/", method, **HTML).status_code == 401
    assert get(target, "/assets/a-1.js", method).status_code == 401


def test_a_page_may_do_little(target: Target) -> None:
    for path in ("/", "/assets/a-1.js", "/mark.svg", "/assets/absent.js"):
        answer = get(target, path, **HTML)
        said = policy(answer)
        assert said["default-src"] == {"'none'"}
        assert said["script-src"] == said["connect-src"] == said["base-uri"] == said["form-action"] == {"'self'"}
        assert said["frame-ancestors"] == {"'none'"}
        assert not {source for name, sources in said.items() for source in sources if "*" in source or "http" in source}
        assert not said["script-src"] & {"'unsafe-inline'", "'unsafe-eval'", "blob:", "data:"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "microphone=()" in answer.headers["permissions-policy"]


def test_the_document_that_diagrams_are_drawn_in_may_do_even_less(target: Target) -> None:
    for headers in (HTML, {"accept": "*/*"}):
        answer = get(target, "/diagram.html", **headers)
        assert (answer.status_code, answer.text) == (200, DRAWING)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert policy(answer) == {
            "default-src": {"'none'"}, "script-src": {"'self'"}, "style-src": {"'unsafe-inline'"},
            "base-uri": {"'none'"}, "form-action": {"'none'"}, "frame-ancestors": {"'self'"},
            "sandbox": {"allow-scripts"},
        }  # fmt: skip
        assert "cross-origin-opener-policy" not in answer.headers  # a sandboxed document must not have one
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("allowed", [(), ("*",), ("null",), ("https://app.example",)])
def test_a_document_without_an_origin_may_read_what_is_built_and_nothing_else(
    tmp_path: Path, allowed: tuple[str, ...]
) -> None:
    with fake_target(pages=build(tmp_path), cors_origins=allowed) as target:
        for origin in ("null", "https://app.example", "https://elsewhere.example"):
            answer = get(target, "/assets/a-1.js", origin=origin)
            assert answer.headers.get_list("access-control-allow-origin") == ["*"]
            assert "access-control-allow-credentials" not in answer.headers
            for path in ("/", "/diagram.html", "/mark.svg"):
                assert "access-control-allow-origin" not in get(target, path, **HTML, origin=origin).headers


def test_what_has_its_hash_in_its_name_is_kept_for_a_year(target: Target) -> None:
    for name, kind in (
        ("a-1.js", "text/javascript; charset=utf-8"), ("plain-1.css", "text/css; charset=utf-8"),
        ("font-1.woff2", "font/woff2"), ("odd-1.xyz", "application/octet-stream"),
    ):  # fmt: skip
        answer = get(target, f"/assets/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "set-cookie" not in answer.headers
    assert get(target, "/mark.svg").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("br, gzip", "br"), ("gzip, deflate", "gzip"), ("*", "br"), ("br;q=0, gzip", "gzip"), ("BR", "br"),
        ("br;q=0.0,*;q=0.5", "gzip"), ("gzip;q=0.001", "gzip"), ("", None), ("identity", None), ("*;q=0", None),
        ("brotli, x-gzip", None),
    ],
)  # fmt: skip
def test_what_is_compressed_is_sent_to_those_who_read_it(target: Target, accepted: str, encoding: str | None) -> None:
    with httpx.stream("GET", f"{target.base_url}/assets/a-1.js", headers={"accept-encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert raw == {"br": b"brotli", "gzip": gzip.compress(SCRIPT.encode()), None: SCRIPT.encode()}[encoding] or (
        encoding == "gzip" and gzip.decompress(raw) == SCRIPT.encode()
    )
    plain = get(target, "/assets/plain-1.css", accept_encoding="br, gzip")
    assert "content-encoding" not in plain.headers


def test_head_says_the_same_and_sends_nothing(target: Target) -> None:
    for path in ("/", "/chat/1", "/assets/a-1.js", "/mark.svg", "/assets/absent.js"):
        whole, head = get(target, path, **HTML), get(target, path, "HEAD", **HTML)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        own = {"x-request-id", "apim-request-id", "x-ms-client-request-id", "openai-processing-ms", "date"}
        assert {k: v for k, v in head.headers.items() if k not in own} == {
            k: v for k, v in whole.headers.items() if k not in own
        }
        assert int(head.headers["content-length"]) == len(whole.content)


def test_a_page_that_is_known_is_not_sent_again(target: Target) -> None:
    for path in ("/", "/mark.svg"):
        mark = get(target, path, **HTML).headers["etag"]
        for known in (mark, f"W/{mark}", f'"other", {mark}', "*"):
            answer = get(target, path, **HTML, if_none_match=known)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == mark
            assert "content-length" not in answer.headers
        assert get(target, path, **HTML, if_none_match='"other"').status_code == 200


@pytest.mark.parametrize("prefix", ["/ai", "/ai/", "/a/b.c~d_e-f"])
def test_the_base_is_what_the_proxy_says(target: Target, prefix: str) -> None:
    answer = get(target, "/chat/1", **HTML, x_forwarded_prefix=prefix)
    assert f'<base href="{prefix.rstrip("/")}/">' in answer.text
    assert answer.headers["vary"] == "x-forwarded-prefix"
    assert answer.headers["etag"] != get(target, "/", **HTML).headers["etag"]


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "ai", "//evil.example", "/a//b", "/..", '/"><script>', "/a?b", "/a#b", "/%2e", "https://evil.example/"],
)
def test_the_base_is_nothing_else(target: Target, prefix: str) -> None:
    assert get(target, "/", **HTML, x_forwarded_prefix=prefix).text == INDEX


def test_a_prefix_of_the_settings(tmp_path: Path) -> None:
    with fake_target(pages=build(tmp_path), root_path="/ai") as target:
        for path in ("/ai/chat/1", "/chat/1", "/ai", "/ai/", "/"):
            answer = get(target, path, **HTML, x_forwarded_prefix="/other")
            assert answer.status_code == 200, path
            assert '<base href="/ai/">' in answer.text
        assert get(target, "/ai/assets/a-1.js").text == SCRIPT
        assert get(target, "/ai/healthz").status_code == get(target, "/healthz").status_code == 200
        assert get(target, "/aims", **HTML).status_code == 401


def raw(target: Target, path: bytes) -> bytes:
    """The answer to a path that no client would send as it stands."""
    host, port = target.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\naccept: text/html\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "path",
    [
        b"/assets/../../secret.txt", b"/assets/..%2f..%2fsecret.txt", b"/assets/%2e%2e/%2e%2e/secret.txt",
        b"/../secret.txt", b"/..%2fsecret.txt", b"/assets/..\\..\\secret.txt", b"/assets//../../secret.txt",
        b"/assets/%00", b"/assets/../.built", b"/assets/", b"/assets", b"/assets/link.txt/x", b"/assets/..",
        b"/chat/../../secret.txt", b"/s/%2e%2e%2f%2e%2e%2fsecret.txt",
    ],
)  # fmt: skip
def test_no_path_leads_out(target: Target, path: bytes) -> None:
    answer = raw(target, path)
    status = int(answer.split()[1])
    assert status in (401, 404) or (status == 200 and INDEX.encode() in answer)
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2] or b'"error"' in answer


def test_a_name_that_is_not_there_is_said_so_and_not_kept(target: Target) -> None:
    answer = get(target, "/assets/a-2.js")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


def test_without_pages_the_first_says_how_to_get_them(tmp_path: Path) -> None:
    with fake_target(pages=tmp_path / "absent") as target:
        for path in ("/", "/chat/1"):
            answer = get(target, path, **HTML, x_forwarded_prefix="/ai")
            assert answer.status_code == 404
            assert "scripts/pages" in answer.text
            assert '<base href="/ai/">' in answer.text
            assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", answer.text)
        assert get(target, "/assets/a-1.js").status_code == 404
        assert get(target, "/v1/models", **HTML).status_code == 401
        build(tmp_path / "absent")
        assert get(target, "/", **HTML).text == INDEX  # built meanwhile
        assert get(target, "/assets/a-1.js").text == SCRIPT


def test_a_build_is_served_without_a_restart(tmp_path: Path) -> None:
    with fake_target(pages=build(tmp_path)) as target:
        assert get(target, "/", **HTML).text == INDEX
        (tmp_path / "assets" / "a-1.js").rename(tmp_path / "assets" / "a-2.js")
        newer = INDEX.replace("a-1", "a-2")
        (tmp_path / "index.html").write_text(newer)
        os.utime(tmp_path / "index.html", (1, 1))
        assert get(target, "/", **HTML).text == newer
        assert get(target, "/assets/a-2.js").text == SCRIPT
        assert get(target, "/assets/a-1.js").status_code == 404
