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
from mainspring.api.services import Stateful, Training, VectorStores
from mainspring.core.clock import SystemClock
from mainspring.engine.fake import FakeEngine
from mainspring.store.containers import Containers
from mainspring.store.files import Files
from mainspring.store.stored_chats import StoredChats
from mainspring.store.uploads import Uploads
from mainspring.webhooks.hooks import Webhooks
from tests.contract.spec import check
from tests.contract.target import KEY, GovernedTarget, governed, in_catalog, services
from tests.unit.train.installation import examples

ENGINE = FakeEngine()
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(services(ENGINE))).exclude(
    # The tool draws a negation here that it cannot draw from. The two other dialects' have the same schema.
    path="/openai/v1/fine_tuning/alpha/graders/validate"
)


# Files and jobs need a database, which lives in one event loop: they are asked over a socket.
NOTHING = cast("Any", None)
kept_services = services(
    ENGINE, files=Files(NOTHING, NOTHING, SystemClock()), uploads=cast("Uploads", object()),
    training=Training(jobs=NOTHING, sharing=NOTHING),
    webhooks=Webhooks(endpoints=NOTHING, courier=NOTHING, database=NOTHING, clock=SystemClock()),
    stored_chats=StoredChats(NOTHING, SystemClock(), 0), evals=cast("Any", object()),
    vector_stores=VectorStores(stores=NOTHING, attaching=NOTHING, search=NOTHING, align=NOTHING),
    responses=Stateful(
        responses=NOTHING, conversations=NOTHING, chats=NOTHING, transfer=NOTHING, presets=NOTHING, personal=NOTHING,
        receipts=NOTHING,
    ),
    containers=Containers(NOTHING, SystemClock(), per_project=1, memory_bytes=2**30),
    control=cast("Any", object()), sessions=cast("Any", object()),
)  # fmt: skip
kept = create_app(kept_services).openapi
KEPT = (
    "/files", "/uploads", "/fine_tuning/jobs", "/fine_tuning/checkpoints", "/webhook_", "/evals", "{completion_id}",
    "/vector_stores", "/responses", "/conversations", "/containers", "/organization/", "/v1/projects/", "/v1/x/session",
)  # fmt: skip
kept_schema = schemathesis.openapi.from_dict(
    {**kept, "paths": {path: each for path, each in kept["paths"].items() if any(part in path for part in KEPT)}}
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("drawn")
    in_catalog(home, "fake", "abc")
    with governed(home) as found:
        found.ids["file"] = (
            found.sdk("openai").files.create(file=("data.jsonl", examples("!fail")), purpose="fine-tune").id
        )
        wanted = {"name": "n", "url": "https://10.0.0.1.invalid/", "event_types": ["batch.completed"]}
        with found.http() as http:
            found.ids["endpoint"] = http.post("/v1/webhook_endpoints", json=wanted).json()["id"]
        begun = found.sdk("openai").uploads.create(filename="a", bytes=1, mime_type="text/plain", purpose="user_data")
        found.ids["upload"] = begun.id
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
    max_examples=12,
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
@kept_schema.parametrize()
@hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_files_and_jobs_answer_as_they_are_documented(case: Any, target: GovernedTarget) -> None:
    if isinstance(case.body, dict) and all(is_name(case.body.get(name)) for name in ("model", "training_file")):
        case.body["model"], case.body["training_file"] = "fake", target.ids["file"]
    if "webhook_endpoint_id" in (case.path_parameters or {}):
        case.path_parameters["webhook_endpoint_id"] = target.ids["endpoint"]
    if len((case.path_parameters or {}).get("upload_id", "")) % 2:  # half of them
        case.path_parameters["upload_id"] = target.ids["upload"]
    if len((case.path_parameters or {}).get("project_id", "")) % 2:
        case.path_parameters["project_id"] = "default"
    if "/responses" in case.operation.path:
        aim(case)
    response = case.call(base_url=target.base_url, headers={"api-key": target.key})
    case.validate_response(response, checks=CHECKS)
    # What a filter blocks has Azure's own shape, which OpenAI's document does not have.
    if response.status_code >= 400 and response.json()["error"]["code"] != "content_filter":
        check("ErrorResponse", response.json())
