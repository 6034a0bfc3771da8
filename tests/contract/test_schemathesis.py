"""Requests drawn from /openapi.json, well-formed and malformed: no 500, and no body that is not documented."""

from typing import Any

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
from mainspring.engine.fake import FakeEngine
from tests.contract.spec import check
from tests.contract.target import KEY, services

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
