"""LangChain and LlamaIndex, unmodified: each in an environment of its own that scripts/test makes."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.observed import run
from tests.contract.target import Target

CACHE = Path(__file__).parents[2] / ".cache"


def python_of(name: str) -> str | None:
    paths = (CACHE / name / "bin/python", CACHE / name / "Scripts/python.exe")
    return next((str(path) for path in paths if path.exists()), None)


@pytest.fixture(scope="module", params=["langchain", "llama_index"])
def seen(request: pytest.FixtureRequest, target: Target) -> dict[str, Any]:
    python = python_of(request.param)
    if python is None:
        pytest.skip(f"no environment with {request.param}: run scripts/test")
    return run([python, str(Path(__file__).with_name(f"{request.param}_script.py"))], target)


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_text_and_streams(seen: dict[str, Any], client: str) -> None:
    assert seen[client]["text"]
    assert seen[client]["streamed"]


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_tools(seen: dict[str, Any], client: str) -> None:
    call = seen[client]["call"]
    assert call["name"] == "get_weather"
    assert list(call["args"]) == ["city"]
    for streamed in seen[client].get("streamed_calls", [call]):
        assert streamed["name"] == "get_weather"
        assert list(streamed["args"]) == ["city"]
    assert seen[client].get("answer", "-")


@pytest.mark.parametrize("client", ["openai", "azure"])
def test_structured_output(seen: dict[str, Any], client: str) -> None:
    for place in seen[client]["structured"].values():
        assert set(place) == {"name", "size"}
        assert 0 <= place["size"] <= 9
