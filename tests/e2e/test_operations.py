"""docs/OPERATIONS.md as a program: PostgreSQL, TLS behind nginx, backups, keys that are rotated, a move and a return.

What only a machine that systemd has started can show is not here; the document says so.
"""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import openai
import pytest

from tests.e2e.server import Server, running

pytestmark = pytest.mark.model
DEPLOY = Path(__file__).parents[2] / "deploy"
HELLO = [{"role": "user", "content": "Count from one to twenty."}]
ENDLESS = {"0": -100, "2": -100}  # never the model's two ends of a text
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def mainspring(home: Path, *arguments: str, url: str = "", code: int = 0) -> str:
    command = [sys.executable, "-c", "from mainspring.cli.main import main; main()", *arguments, "--home", str(home)]
    environment = os.environ | ({"MAINSPRING_DATABASE": url} if url else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == code, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def nginx(folder: Path, *servers: str) -> Generator[tuple[str, ssl.SSLContext]]:
    """The site of deploy/nginx.conf on a free port, with a certificate of its own, in front of `servers`."""
    if NGINX is None or shutil.which("openssl") is None:
        pytest.skip("nginx and openssl are not installed: scripts/test says how")
    port, certificate, key = free_port(), folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    site = (DEPLOY / "nginx.conf").read_text()
    for old, new in [
        ("server 127.0.0.1:8080;", "".join(f"server {each.removeprefix('http://')};" for each in servers)),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/mainspring/tls.crt", str(certificate)),
        ("/etc/mainspring/tls.key", str(key)),
    ]:
        assert site.count(old) == 1
        site = site.replace(old, new)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; {temporary}\n{site}\n}}\n"
    )
    process = subprocess.Popen([NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"])
    trusting = ssl.create_default_context(cafile=str(certificate))
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"https://127.0.0.1:{port}", trusting
    finally:
        process.terminate()
        process.wait(20)


def client_at(base_url: str, key: str, trusting: ssl.SSLContext | None = None) -> openai.OpenAI:
    http = httpx.Client(verify=trusting, timeout=120) if trusting else httpx.Client(timeout=120)
    return openai.OpenAI(base_url=base_url + "/v1", api_key=key, max_retries=0, http_client=http)


def check_stream(base_url: str, key: str, trusting: ssl.SSLContext, model: str) -> None:
    """A stream reaches the official client whole."""
    with client_at(base_url, key, trusting) as client:
        fields = {"max_tokens": 40, "temperature": 0, "logit_bias": ENDLESS}
        chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True, **fields))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip()
        assert chunks[-1].choices[0].finish_reason


def check_first_token(server: Server, url: str, base_url: str, trusting: ssl.SSLContext, model: str) -> None:
    """The first token arrives long before the last is computed: who leaves then is charged for a part of the answer."""
    key = mainspring(server.home, "keys", "create", "leaver", url=url).strip()
    with client_at(base_url, key, trusting) as client:
        stream = client.chat.completions.create(
            model=model, messages=HELLO, stream=True, logit_bias=ENDLESS, max_tokens=1500
        )
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        stream.close()
    for _ in range(100):
        [*row] = (row for row in usage(server.home, url) if row["key"] == "leaver")
        if row:
            break
        time.sleep(0.1)
    assert row[0]["requests"] == 1
    assert 0 < row[0]["completion"] < 1500


def check_rotation(server: Server, url: str, base_url: str, trusting: ssl.SSLContext, model: str) -> str:
    """A new key works beside the old one, which then is revoked; no request in between is refused. Returns the new."""
    old = mainspring(server.home, "keys", "create", "site-1", url=url).strip()
    new = mainspring(server.home, "keys", "create", "site-2", url=url).strip()
    for key in (old, new):
        check_stream(base_url, key, trusting, model)
    mainspring(server.home, "keys", "revoke", "site-1", url=url)
    with client_at(base_url, old, trusting) as client:
        for _ in range(60):
            try:
                client.models.list()
            except openai.AuthenticationError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the revoked key still works")
    check_stream(base_url, new, trusting, model)
    return new


def usage(home: Path, url: str) -> list[dict[str, object]]:
    rows = json.loads(mainspring(home, "usage", "--json", url=url))
    return sorted(rows, key=lambda row: row["key"])


def test_the_document_as_a_program(model_file: Path, tmp_path: Path, postgres_server) -> None:
    home, url = tmp_path / "home", postgres_server.url()
    proxy = tmp_path / "proxy"
    proxy.mkdir()
    night, stopped = tmp_path / "night.tar.gz", tmp_path / "stopped.tar.gz"
    with (
        running(model_file, home=home, MAINSPRING_DATABASE=url) as server,
        nginx(proxy, server.base_url) as (base_url, trusting),
    ):
        with client_at(base_url, server.key, trusting) as client:
            model = client.models.list().data[0].id
        key = check_rotation(server, url, base_url, trusting, model)
        check_first_token(server, url, base_url, trusting, model)
        assert not (home / "mainspring.db").exists()
        mainspring(home, "backup", str(night), "--models", url=url)  # while it runs
        check_stream(base_url, key, trusting, model)
        mainspring(home, "restore", str(night), "--replace", url=url, code=2)  # not while it runs
        server.stop()
    mainspring(home, "backup", str(stopped), url=url)
    mainspring(home, "restore", str(stopped), "--check", url=url)
    expected = usage(home, url)
    assert sum(row["requests"] for row in expected) == 5  # three of the rotation, one left, one after the backup

    # A move to SQLite and back to another PostgreSQL.
    lite, other, back = tmp_path / "lite", tmp_path / "other", postgres_server.url()
    mainspring(lite, "restore", str(stopped))
    assert usage(lite, "") == expected
    mainspring(lite, "backup", str(tmp_path / "lite.tar.gz"))
    mainspring(other, "restore", str(tmp_path / "lite.tar.gz"), url=back)
    assert usage(other, back) == expected
    mainspring(other, "audit", "verify", url=back)

    # The way back to last night, on another machine: models and all; the rotated key is the one that works.
    again = tmp_path / "again"
    mainspring(again, "restore", str(night))
    with running(home=again, MAINSPRING_MODELS=json.dumps([model])) as server:
        with client_at(server.base_url, key) as client:
            assert client.chat.completions.create(model=model, messages=HELLO, max_tokens=5).usage.completion_tokens
        server.stop()
    assert sum(row["requests"] for row in usage(again, "")) == 5


def test_the_files_of_systemd_are_well_formed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    folder = tmp_path / "units"
    shutil.copytree(DEPLOY, folder)
    for unit in folder.glob("*.service"):  # the programs need not be installed where the unit has them
        unit.write_text(unit.read_text().replace("/opt/mainspring/bin/mainspring up", "/bin/true"))
    units = [str(path) for kind in ("service", "timer") for path in sorted(folder.glob(f"*.{kind}"))]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(folder) in line]) == (0, [])
    for unit, most in (("mainspring.service", 2.0), ("mainspring-backup.service", 4.0)):
        command = ["systemd-analyze", "security", "--offline=true", str(folder / unit)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert float(said.rpartition("level for")[2].split(": ")[1].split()[0]) <= most
