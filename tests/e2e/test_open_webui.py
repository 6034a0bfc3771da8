"""Open WebUI, as it comes, with us as its provider: models, streamed chats, embeddings of its documents, its own page.

Optional: it takes 2.5 GB and an environment of its own, which docs/CLIENTS.md says how to make.
"""

import json
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.open_webui import EMAIL, PASSWORD, OpenWebUI, program, running
from tests.e2e.server import Server
from tests.e2e.server import running as running_server
from tests.web.conftest import CHROMIUM

COMMAND = program()
PATIENCE_MS = 300_000
SAY = [{"role": "user", "content": "Say hello."}]
FACTS = {
    "lamp.txt": "The lighthouse of Marrow Point is painted green and was built in 1874 by the widow Ferris.",
    "bread.txt": "Sourdough needs flour, water, salt and a starter that was fed twelve hours before.",
}

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(0),  # it imports longer than most tests take
    pytest.mark.skipif(COMMAND is None, reason="no Open WebUI here, which is optional: docs/CLIENTS.md says how"),
]


@pytest.fixture(scope="module")
def server(model_file: Path, embedding_folder: Path) -> Generator[Server]:
    with running_server(model_file, embedding_folder) as found:
        yield found


@pytest.fixture(scope="module")
def models(server: Server) -> dict[str, str]:
    """The one that chats, and the one for embeddings."""
    with server.http() as client:
        found = client.get("/openai/models", params={"api-version": "2024-10-21"}).json()["data"]
    kinds = {"chat": "chat_completion", "embeddings": "embeddings"}
    return {name: next(each["id"] for each in found if each["capabilities"][kind]) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def webui(server: Server, models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[OpenWebUI]:
    assert COMMAND is not None
    with running(COMMAND, server, tmp_path_factory.mktemp("webui"), models["embeddings"]) as found:
        yield found


@pytest.fixture(scope="module")
def ours(server: Server, models: dict[str, str]) -> str:
    """What the model says when nobody is between."""
    body = {"model": models["chat"], "messages": SAY, "temperature": 0, "max_tokens": 24}
    with server.http() as client:
        return (
            client.post("/v1/chat/completions", json=body).raise_for_status().json()["choices"][0]["message"]["content"]
        )


def test_it_lists_our_models(webui: OpenWebUI, models: dict[str, str]) -> None:
    with webui.http() as client:
        listed = client.get("/api/models").raise_for_status().json()["data"]
    assert set(models.values()) <= {model["id"] for model in listed}


def test_a_wrong_key_is_told(webui: OpenWebUI, server: Server) -> None:
    """Its check of a connection, which is what people see first when they have mistyped the key."""
    with webui.http() as client:

        def check(key: str) -> httpx.Response:
            return client.post("/openai/verify", json={"url": f"{server.base_url}/v1", "key": key})

        assert check(server.key).is_success
        assert not check("sk-wrong").is_success


def test_chats_stream(webui: OpenWebUI, models: dict[str, str], ours: str) -> None:
    body = {"model": models["chat"], "messages": SAY, "stream": True}
    pieces: list[str] = []
    reasons: list[str] = []
    with webui.http() as client, client.stream("POST", "/api/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    for chunk in map(json.loads, lines):
        for choice in chunk["choices"]:
            pieces.append(choice["delta"].get("content") or "")
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    assert len([piece for piece in pieces if piece]) > 1
    assert ("".join(pieces), reasons) == (ours, ["stop"])


def test_its_documents_are_found_by_our_vectors(webui: OpenWebUI, server: Server) -> None:
    def asked() -> float:
        with server.http() as client:
            lines = client.get("/metrics").text.splitlines()
        mine = [
            line for line in lines if line.startswith("mainspring_http_requests_total{") and "/v1/embeddings" in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in mine)

    before = asked()
    with webui.http() as client:
        files = {
            name: client.post("/api/v1/files/", files={"file": (name, text)}, params={"process_in_background": False})
            for name, text in FACTS.items()
        }
        names = [f"file-{file.raise_for_status().json()['id']}" for file in files.values()]
        between = asked()
        body = {"collection_names": names, "query": "Who built the beacon at the coast?", "k": 2}
        found = client.post("/api/v1/retrieval/query/collection", json=body).raise_for_status().json()
    assert [FACTS["lamp.txt"], FACTS["bread.txt"]] == found["documents"][0]
    # One for what each needs, which is not for us to say; but none of it was made without us.
    assert before < between < asked()


@pytest.fixture(scope="module")
def chromium() -> Generator[Any]:
    if find_spec("playwright") is None or CHROMIUM is None:
        pytest.skip("no Chromium and playwright for its page")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def test_its_page(webui: OpenWebUI, models: dict[str, str], ours: str, chromium: Any) -> None:
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{webui.base_url}/auth")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Okay, Let's Go!").click()  # what is new in it
    # Of our two models, the one that is not for embeddings.
    page.goto(f"{webui.base_url}/?model={models['chat']}")
    page.locator("#chat-input").click()
    page.keyboard.type(SAY[0]["content"])
    page.keyboard.press("Enter")
    answer = page.locator(".chat-assistant")
    words = ours.split()
    answer.get_by_text(words[-1]).last.wait_for()
    assert words == answer.inner_text().split()
    page.reload()  # it is kept
    answer.get_by_text(words[-1]).last.wait_for()
    page.close()
