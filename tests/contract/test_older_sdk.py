"""The contract with an older major of the `openai` package, in an environment of its own that scripts/test makes."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.observed import check_answer, check_stream, run
from tests.contract.spec import check
from tests.contract.target import Target

ENVIRONMENT = Path(__file__).parents[2] / ".cache" / "openai-1"
PYTHON = next(
    (path for path in (ENVIRONMENT / "bin/python", ENVIRONMENT / "Scripts/python.exe") if path.exists()), None
)
SCRIPT = Path(__file__).with_name("sdk_script.py")

pytestmark = pytest.mark.skipif(PYTHON is None, reason="no environment with an older openai package: run scripts/test")


@pytest.fixture(scope="module")
def seen(target: Target) -> dict[str, Any]:
    return run([str(PYTHON), str(SCRIPT)], target)


def test_it_is_an_older_major(seen: dict[str, Any]) -> None:
    assert seen["version"].startswith("1.")


@pytest.mark.parametrize("client", ["openai", "azure", "azure_v1", "openai_async", "azure_async"])
def test_chat_and_streaming(seen: dict[str, Any], target: Target, client: str) -> None:
    check_answer(seen[client]["whole"], target)
    check_stream(seen[client]["chunks"])


def test_models(seen: dict[str, Any], target: Target) -> None:
    for model in seen["models"]:
        check("Model", model)
    assert target.model in {model["id"] for model in seen["models"]}
    assert seen["model"]["id"] == target.model


@pytest.mark.parametrize(
    ("case", "kind", "status", "code"),
    [
        ("wrong_key", "AuthenticationError", 401, "invalid_api_key"),
        ("no_model", "NotFoundError", 404, "model_not_found"),
        ("no_deployment", "NotFoundError", 404, "DeploymentNotFound"),
        ("bad_value", "BadRequestError", 400, None),
    ],
)
def test_errors_become_the_packages_own_classes(
    seen: dict[str, Any], case: str, kind: str, status: int, code: str | None
) -> None:
    error = seen["errors"][case]
    assert (error["kind"], error["status"]) == (kind, status)
    check("ErrorResponse", {"error": error["body"]})
    assert error["body"]["message"]
    assert code is None or error["body"]["code"] == code


def test_a_bad_value_is_named(seen: dict[str, Any]) -> None:
    assert seen["errors"]["bad_value"]["body"]["param"] == "temperature"
