"""fine_tuning/alpha/graders with the official client, in every dialect, over all of governance."""

import asyncio
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, PermissionDeniedError

from mainspring.compute.sandbox import Sandbox
from mainspring.core.errors import EngineUnavailable
from tests.contract.observed import GRADERS
from tests.contract.spec import check
from tests.contract.target import API_VERSION, GovernedTarget, governed

FOLDERS = {"openai": "/v1", "azure": "/openai", "azure_v1": "/openai/v1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def target(home: Path) -> Generator[GovernedTarget]:
    with governed(home) as ready:
        yield ready


@pytest.fixture(scope="module")
def _can_isolate() -> None:
    async def start() -> None:
        async with Sandbox() as sandbox:
            await sandbox.start()

    try:
        asyncio.run(start())
    except EngineUnavailable as error:
        pytest.skip(error.message)


def post(target: GovernedTarget, operation: str, body: Any, dialect: str = "openai") -> Any:
    query = f"?api-version={API_VERSION}" if dialect == "azure" else ""
    with target.http() as client:
        return client.post(f"{FOLDERS[dialect]}/fine_tuning/alpha/graders/{operation}{query}", json=body)


@pytest.mark.parametrize("name", sorted(GRADERS))
def test_run(target: GovernedTarget, dialect: str, name: str, request: pytest.FixtureRequest) -> None:
    grader, item, sample, reward = GRADERS[name]
    if "python" in json.dumps(grader):
        request.getfixturevalue("_can_isolate")
    raw = target.sdk(dialect).fine_tuning.alpha.graders.with_raw_response.run(
        grader=grader, item=item, model_sample=sample
    )
    body = json.loads(raw.text)
    check("RunGraderResponse", body)
    answer = raw.parse()
    assert not [kind for kind, value in answer.metadata.errors.to_dict().items() if value]
    assert answer.reward == pytest.approx(reward, abs=1e-6) if reward is not None else 0 <= answer.reward <= 1
    assert (answer.metadata.name, answer.metadata.type) == (grader["name"], grader["type"])
    assert answer.metadata.execution_time > 0
    if name == "multi":
        assert answer.sub_rewards == answer.metadata.scores == {"name": 1.0, "email": 0.0}
    if name == "score_model":
        assert answer.metadata.sampled_model_name == "fake"
        used = body["model_grader_token_usage_per_model"]["fake"]
        assert answer.metadata.token_usage == used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    else:
        assert (answer.metadata.token_usage, body["model_grader_token_usage_per_model"]) == (None, {})


@pytest.mark.parametrize("name", sorted(GRADERS))
def test_validate_sends_back_what_it_was_sent(
    target: GovernedTarget, dialect: str, name: str, request: pytest.FixtureRequest
) -> None:
    grader = GRADERS[name][0]
    if "python" in json.dumps(grader):
        request.getfixturevalue("_can_isolate")
    # Strict as it is, the client does not know the guide's own form of a multi grader.
    client = target.sdk(dialect, _strict_response_validation=name != "multi" and dialect == "openai")
    raw = client.fine_tuning.alpha.graders.with_raw_response.validate(grader=grader)
    assert json.loads(raw.text) == {"grader": grader}
    if name != "multi":
        check("ValidateGraderResponse", json.loads(raw.text))
    assert raw.parse().grader.type == grader["type"]


CHECK = GRADERS["string_check"][0]


@pytest.mark.parametrize("operation", ["run", "validate"])
@pytest.mark.parametrize(
    ("grader", "param", "code"),
    [
        ({**CHECK, "operation": "contains"}, "grader.operation", "invalid_value"),
        ({**CHECK, "input": "{{ sample.output_text | upper }}"}, "grader.input", "invalid_value"),
        ({"type": "string_check"}, "grader.name", "missing_required_parameter"),
        ({**CHECK, "x": 1}, "grader.x", "unknown_parameter"),
        ({"type": "multi", "name": "m", "graders": {"a": CHECK}, "calculate_output": "a +"}, "grader.calculate_output",
         "invalid_value"),
        ({"type": "label_model", "name": "l", "model": "fake", "labels": ["a"], "passing_labels": [],
          "input": [{"role": "user", "content": "x"}]}, "grader.type", "invalid_value"),
    ],
)  # fmt: skip
def test_mistakes_are_named(
    target: GovernedTarget, dialect: str, operation: str, grader: Any, param: str, code: str
) -> None:
    body = {"grader": grader, **({"model_sample": "x"} if operation == "run" else {})}
    response = post(target, operation, body, dialect)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)


def test_the_official_client_raises_its_own_errors(target: GovernedTarget) -> None:
    graders = target.sdk("openai").fine_tuning.alpha.graders
    with pytest.raises(BadRequestError, match=r"grader\.operation"):
        graders.validate(grader={**CHECK, "operation": "x"})
    with pytest.raises(NotFoundError):
        graders.run(grader={**GRADERS["score_model"][0], "model": "no-such-model"}, model_sample="x")
    user = target.sdk("openai", target.make_key(role="user")).fine_tuning.alpha.graders
    with pytest.raises(PermissionDeniedError, match="contributor"):
        user.run(grader=CHECK, model_sample="x")
    contributor = target.sdk("openai", target.make_key(role="contributor")).fine_tuning.alpha.graders
    assert contributor.run(grader=CHECK, item={"label": "x"}, model_sample="x").reward == 1


@pytest.mark.parametrize(
    ("grader", "sample", "kind", "detail"),
    [
        (CHECK, "x", "invalid_variable_error", None),
        ({**CHECK, "input": "{{ sample.output_json.a }}"}, "no json", "sample_parse_error", None),
        ({**GRADERS["python"][0], "source": "def grade(sample, item):\n    raise ValueError('why')"}, "x",
         "python_grader_runtime_error", "python_grader_runtime_error_details"),
        (GRADERS["score_model"][0], "!raise Unavailable", "model_grader_server_error",
         "model_grader_server_error_details"),
        ({"type": "multi", "name": "m", "graders": {"a": CHECK}, "calculate_output": "1 - a"}, "x",
         "invalid_variable_error", None),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_can_isolate")
def test_what_goes_wrong_is_told_by_kind(
    target: GovernedTarget, grader: Any, sample: str, kind: str, detail: str | None
) -> None:
    response = post(target, "run", {"grader": grader, "item": {"reference_answer": "x"}, "model_sample": sample})
    assert response.status_code == 200
    check("RunGraderResponse", response.json())
    errors = response.json()["metadata"]["errors"]
    assert {name for name, value in errors.items() if value} == {kind, detail} - {None}
    assert response.json()["reward"] == 0
    if detail:
        assert "why" in errors[detail] or "spell" in errors[detail]


@pytest.mark.usefixtures("_can_isolate")
def test_source_that_does_not_compile_is_no_grader(target: GovernedTarget) -> None:
    response = post(target, "validate", {"grader": {**GRADERS["python"][0], "source": "def grade(sample item): pass"}})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "grader.source")
    assert "SyntaxError" in error["message"]


@pytest.mark.usefixtures("_can_isolate")
def test_a_grader_cannot_read_the_data_directory(target: GovernedTarget, home: Path) -> None:
    (home / "secret").write_text("the key")
    source = f"def grade(sample, item):\n    return len(open({str(home / 'secret')!r}).read())"
    response = post(target, "run", {"grader": {**GRADERS["python"][0], "source": source}, "model_sample": "x"})
    detail = response.json()["metadata"]["errors"]["python_grader_runtime_error_details"]
    assert detail.splitlines()[-1].startswith(("FileNotFoundError", "PermissionError"))


def test_a_question_to_a_model_passes_governance(target: GovernedTarget) -> None:
    before = len(target.engine.requests)
    response = post(
        target, "run", {"grader": GRADERS["score_model"][0], "item": {"reference_answer": "x"}, "model_sample": "x"}
    )
    assert response.json()["metadata"]["token_usage"] > 0
    (request,) = target.engine.requests[before:]
    assert request.id.startswith("grader-")


def test_a_client_that_leaves_ends_the_grading(target: GovernedTarget) -> None:
    body = {"grader": GRADERS["score_model"][0], "item": {"reference_answer": "x"}, "model_sample": "!hang"}
    with target.http() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/fine_tuning/alpha/graders/run", json=body, timeout=0.5)
    assert target.engine.wait_idle(20)
