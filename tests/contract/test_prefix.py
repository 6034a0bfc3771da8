"""Below a path of somebody else's name: nginx, as docs/OPERATIONS.md has it, in front of a server."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mainspring.core.config import ServerSettings
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_pages import HTML, SCRIPT, build
from tests.contract.test_session import COOKIE, HELLO, PATH, morsel

DOCUMENT = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
THE_REST = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;"


@contextlib.contextmanager
def nginx(folder: Path, server: str, location: str) -> Generator[str]:
    """One `location` in front of a server; the URL of its path."""
    if NGINX is None:
        pytest.skip("nginx is not installed: scripts/test says how")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {temporary}\n"
        f"upstream mainspring {{ server {server.removeprefix('http://')}; }}\n"
        f"server {{ listen 127.0.0.1:{port};\n{location}\n}} }}\n"
    )
    process = subprocess.Popen([NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"])
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/ai"
    finally:
        process.terminate()
        process.wait(20)


def locations() -> dict[str, tuple[dict[str, Any], str]]:
    """The three ways: what the server's settings say, and what nginx does."""
    [documented] = re.findall(r"```nginx\n(location.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    told = documented.replace("# and all that stands in the location of deploy/nginx.conf", THE_REST)
    assert told != documented
    root = {"server": ServerSettings(root_path="/ai")}  # type: ignore[call-arg]
    return {
        "nginx says so": ({}, told),
        "nginx leaves it": (root, f"location /ai/ {{ proxy_pass http://mainspring; {THE_REST} }}"),
        "nginx takes it off": (root, f"location /ai/ {{ proxy_pass http://mainspring/; {THE_REST} }}"),
    }


def with_pages(target: GovernedTarget, folder: Path) -> None:
    """This server has pages, whatever was built here."""
    target.app._edge._pages.__init__(build(folder))  # type: ignore[misc]


@pytest.mark.parametrize("way", ["nginx says so", "nginx leaves it", "nginx takes it off"])
def test_pages_session_and_clients(tmp_path: Path, way: str) -> None:
    settings, location = locations()[way]
    for name in ("home", "nginx"):
        (tmp_path / name).mkdir()
    with (
        governed(tmp_path / "home", **settings) as target,
        nginx(tmp_path / "nginx", target.base_url, location) as base,
    ):
        with_pages(target, tmp_path / "pages")
        with httpx.Client(base_url=base, headers={"origin": base.removesuffix("/ai")}) as browser:
            page = browser.get("/chat/1", headers=HTML)
            assert page.status_code == 200
            [root] = re.findall(r'<base href="(.*?)">', page.text)
            assert root == "/ai/"
            script = httpx.URL(base).join(root).join("./assets/a-1.js")
            assert httpx.get(script, headers={"accept-encoding": "identity"}).text == SCRIPT
            answer = browser.post(PATH, json={"key": target.key})
            assert answer.status_code == 200, answer.text
            assert morsel(answer)["path"] == "/ai"
            assert COOKIE in browser.cookies
            csrf = {"x-csrf-token": answer.json()["csrf"]}
            assert browser.post("/v1/chat/completions", json=HELLO, headers=csrf).status_code == 200
            elsewhere = {"origin": "http://127.0.0.1:1"}
            assert browser.post("/v1/chat/completions", json=HELLO, headers=csrf | elsewhere).status_code == 401
            assert browser.delete(PATH, headers=csrf).status_code == 200
        assert httpx.get(f"{base}/v1/models", headers={"api-key": target.key}).status_code == 200
