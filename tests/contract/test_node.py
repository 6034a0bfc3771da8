"""The contract with the npm package `openai`: node/chat.mjs runs both clients, this judges what they saw."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.contract.observed import GRADERS, check_answer, check_stream, run
from tests.contract.spec import check
from tests.contract.target import Target

FOLDER = Path(__file__).with_name("node")
PACKAGE = FOLDER / "node_modules" / "openai" / "package.json"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="no node on this machine"),
    pytest.mark.skipif(not PACKAGE.exists(), reason="the npm package openai is not installed: run scripts/test"),
]


@pytest.fixture(scope="module")
def seen(target: Target) -> dict[str, Any]:
    return run([str(NODE), str(FOLDER / "chat.mjs")], target)


def test_the_pinned_version_is_installed() -> None:
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["openai"]
    assert json.loads(PACKAGE.read_text())["version"] == wanted


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_chat(seen: dict[str, Any], target: Target, client: str) -> None:
    whole = seen[client]["whole"]
    check_answer(whole["body"], target)
    assert whole["requestId"]
    assert whole["headers"]["x-request-id"] == whole["requestId"]


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_streaming(seen: dict[str, Any], client: str) -> None:
    check_stream(seen[client]["streamed"]["chunks"])


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_the_streaming_helper_puts_the_chunks_together(seen: dict[str, Any], client: str) -> None:
    choice = seen[client]["helper"]["body"]["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] in {"stop", "length"}


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_items_12_14_15_tools(seen: dict[str, Any], client: str) -> None:
    first, second, streamed = (seen[client]["called"][key] for key in ("first", "second", "streamed"))
    for answer in (first, streamed):
        choice = answer["choices"][0]
        (call,) = choice["message"]["tool_calls"]
        assert (choice["finish_reason"], call["function"]["name"]) == ("tool_calls", "get_weather")
        assert list(json.loads(call["function"]["arguments"])) == ["city"]
    assert second["choices"][0]["message"]["content"]


def test_models_are_listed(seen: dict[str, Any], target: Target) -> None:
    assert target.model in seen["models"]["ids"]


@pytest.mark.parametrize(
    ("case", "kind", "status", "code"),
    [
        ("wrongKey", "AuthenticationError", 401, "invalid_api_key"),
        ("noModel", "NotFoundError", 404, "model_not_found"),
        ("noDeployment", "NotFoundError", 404, "DeploymentNotFound"),
        ("badField", "BadRequestError", 400, None),
    ],
)
def test_errors_become_the_packages_own_classes(
    seen: dict[str, Any], case: str, kind: str, status: int, code: str | None
) -> None:
    error = seen["errors"][case]
    assert (error["kind"], error["status"]) == (kind, status)
    assert "no body" not in error["message"]
    assert code is None or error["code"] == code


def test_a_bad_field_is_named(seen: dict[str, Any]) -> None:
    assert seen["errors"]["badField"]["param"] == "temperature"


def test_graders(fake: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    graders = {name: each for name, each in GRADERS.items() if name != "python"}  # the fake has no sandbox
    monkeypatch.setenv("GRADERS", json.dumps(graders))
    seen = run([str(NODE), str(FOLDER / "graders.mjs")], fake)
    for client in ("openai", "azure"):
        for name, (grader, _, _, reward) in graders.items():
            found = seen[client][name]
            check("RunGraderResponse", found["run"])
            assert reward is None or found["run"]["reward"] == pytest.approx(reward)
            assert found["validate"] == {"grader": grader}
        assert seen[client]["error"] == {"kind": "BadRequestError", "status": 400, "param": "grader.name"}
