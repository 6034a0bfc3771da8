"""Starts Open WebUI as its users do, in the environment that somebody has made for it, with us as its only provider."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.server import Server

__all__ = ["EMAIL", "PASSWORD", "OpenWebUI", "program", "running"]

START_S = 600.0
"""It imports for half a minute on a machine that does nothing else."""
EMAIL, PASSWORD = "ada@example.com", "correct horse battery staple"
CACHED = Path(".cache/open-webui")

OFFLINE = {
    # What it would fetch from elsewhere while it starts.
    "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "ENABLE_VERSION_UPDATE_CHECK": "False", "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true", "ANONYMIZED_TELEMETRY": "false",
}  # fmt: skip
MODEST = {
    # As docs/CLIENTS.md has it for small models: requests that nobody has asked for, and 3,000 tokens of tools.
    "ENABLE_OLLAMA_API": "False", "ENABLE_TITLE_GENERATION": "False", "ENABLE_TAGS_GENERATION": "False",
    "ENABLE_FOLLOW_UP_GENERATION": "False", "ENABLE_RETRIEVAL_QUERY_GENERATION": "False",
    "DEFAULT_MODEL_METADATA": json.dumps({"capabilities": {"builtin_tools": False}}),
    # So that its page's answers are the same each time.
    "DEFAULT_MODEL_PARAMS": json.dumps({"temperature": 0, "max_tokens": 24}),
}  # fmt: skip


def program() -> Path | None:
    """Its command, where MAINSPRING_TEST_OPEN_WEBUI says or in `.cache/open-webui`."""
    found = Path(os.environ.get("MAINSPRING_TEST_OPEN_WEBUI") or CACHED).resolve() / "bin" / "open-webui"
    return found if found.exists() else None


@dataclass
class OpenWebUI:
    """One that runs, and its first user's token."""

    base_url: str
    token: str = ""

    def http(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=300)


@contextlib.contextmanager
def running(command: Path, server: Server, folder: Path, embedding_model: str) -> Generator[OpenWebUI]:
    """Open WebUI on our server, with a user who has signed up. It keeps everything in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ours = {
        "OPENAI_API_BASE_URL": f"{server.base_url}/v1", "OPENAI_API_KEY": server.key,
        # Not taken from those above.
        "RAG_EMBEDDING_ENGINE": "openai", "RAG_EMBEDDING_MODEL": embedding_model,
        "RAG_OPENAI_API_BASE_URL": f"{server.base_url}/v1", "RAG_OPENAI_API_KEY": server.key,
    }  # fmt: skip
    own = {"DATA_DIR": str(folder), "WEBUI_SECRET_KEY": "of this test only, and longer than thirty-two bytes"}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder, env=os.environ | OFFLINE | MODEST | ours | own, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            made = OpenWebUI(f"http://127.0.0.1:{port}")
            _wait(made, process, log)
            with made.http() as client:
                user = {"name": "Ada", "email": EMAIL, "password": PASSWORD}
                made.token = client.post("/api/v1/auths/signup", json=user).raise_for_status().json()["token"]
            yield made
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(made: OpenWebUI, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    with made.http() as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health").is_success:
                    return
            time.sleep(0.5)
    raise AssertionError(f"Open WebUI did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")
