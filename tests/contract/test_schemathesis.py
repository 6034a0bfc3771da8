"""Requests drawn from /openapi.json, well-formed and malformed: no 500, and no body that is not documented."""

from collections.abc import Generator
from typing import Any, cast

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mainspring.api.app import create_app
from mainspring.core.clock import SystemClock
from mainspring.engine.fake import FakeEngine
from mainspring.store.files import Files
from tests.contract.spec import check
from tests.contract.target import KEY, GovernedTarget, governed, services

ENGINE = FakeEngine()
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(services(ENGINE)))


# Files need a database, which lives in one event loop: they are asked over a socket.
files = create_app(services(ENGINE, files=Files(cast("Any", None), cast("Any", None), SystemClock()))).openapi
files_schema = schemathesis.openapi.from_dict(
    {**files, "paths": {path: operations for path, operations in files["paths"].items() if "/files" in path}}
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("drawn")) as found:
        yield found


def is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 256


def aim(case: Any) -> None:
    """Mostly at the deployment that exists: what is behind it is what wants testing."""
    if isinstance(case.body, dict) and is_name(case.body.get("model")):
        case.body["model"] = "fake"
    if "deployment" in (case.path_parameters or {}):
        case.path_parameters["deployment"] = "fake"


@pytest.mark.filterwarnings("ignore")  # of the tool's own making
@schema.parametrize()
@hypothesis.settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_every_operation_answers_as_it_is_documented(case: Any) -> None:
    aim(case)
    response = case.call(headers={"api-key": KEY})
    case.validate_response(response, checks=CHECKS)
    assert response.headers["x-request-id"]
    if response.status_code >= 400:
        check("ErrorResponse", response.json())


@pytest.mark.filterwarnings("ignore")  # of the tool's own making
@files_schema.parametrize()
@hypothesis.settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_files_answer_as_they_are_documented(case: Any, target: GovernedTarget) -> None:
    response = case.call(base_url=target.base_url, headers={"api-key": target.key})
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400:
        check("ErrorResponse", response.json())
