"""Every mistake and failure as each dialect says it: checklist items 5, 6 and 11, and what leads to each status."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.contract.spec import check
from tests.contract.target import KEY, Target, fake_target

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
READS = {
    "openai": "/v1/models",
    "azure": "/openai/models?api-version=2024-10-21",
    "azure_v1": "/openai/v1/models",
}


def refused(response: httpx.Response, status: int, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The error, once it is known to have the one shape and every header."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    for name in ("x-request-id", "apim-request-id", "x-ms-client-request-id", "x-ms-region", "openai-processing-ms"):
        assert response.headers[name]
    check("ErrorResponse", response.json())
    assert response.json().keys() == {"error"}
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert "Traceback" not in error["message"]
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param
    return error


def test_item_05_wrong_key(target: Target, dialect: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        target.sdk(dialect, key="wrong").chat.completions.create(model=target.model, messages=HELLO)
    assert caught.value.message
    error = refused(caught.value.response, 401, "invalid_api_key" if dialect == "openai" else "401")
    assert error["type"] == "invalid_request_error"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/models", "/openai/models", "/metrics", "/nowhere", "/openai/v1/nowhere", "/"])
def test_item_05_every_route_wants_a_key(target: Target, path: str) -> None:
    refused(httpx.get(target.base_url + path), 401)
    refused(httpx.get(target.base_url + path, headers={"Authorization": f"Basic {KEY}"}), 401)
    refused(httpx.get(target.base_url + path, headers={"api-key": "x" * 5000}), 401)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
def test_public_routes_want_none(target: Target, path: str) -> None:
    response = httpx.get(target.base_url + path)
    assert response.status_code == 200
    assert response.headers["x-request-id"]


def test_the_key_is_checked_before_the_body_is_read(target: Target) -> None:
    refused(httpx.post(f"{target.base_url}/v1/chat/completions", content=b"not json"), 401)


def test_item_06_unknown_route(target: Target, dialect: str) -> None:
    with target.http() as client:
        path = {"openai": "/v1/nowhere", "azure": "/openai/nowhere", "azure_v1": "/openai/v1/nowhere"}[dialect]
        refused(client.post(path), 404, "not_found" if dialect == "openai" else "404")
        refused(client.get(path + "/"), 404)


def test_item_06_wrong_method(target: Target, dialect: str) -> None:
    with target.http() as client:
        response = client.delete(READS[dialect])
        refused(response, 405, "method_not_allowed")
        assert response.headers["allow"] == "GET"
        response = client.get(target.path(dialect, "completions"))
        refused(response, 405)
        assert response.headers["allow"] == "POST"


def test_item_11_unknown_deployment(target: Target, dialect: str) -> None:
    client = target.sdk(dialect)
    code = "model_not_found" if dialect == "openai" else "DeploymentNotFound"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=HELLO)
    refused(caught.value.response, 404, code)
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="nobody", prompt="x", stream=True)
    refused(caught.value.response, 404, code)
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    refused(caught.value.response, 404, code)


def test_item_53_iterating_over_a_list_ends(target: Target, dialect: str) -> None:
    found = [model.id for model in target.sdk(dialect).models.list()]
    assert found
    assert len(found) == len(set(found))


def test_models(target: Target, dialect: str) -> None:
    client = target.sdk(dialect)
    with target.http() as http:
        check("ListModelsResponse", http.get(READS[dialect]).json())
    assert target.model in [model.id for model in client.models.list()]
    one = client.models.retrieve(target.model)
    assert (one.id, one.object) == (target.model, "model")
    check("Model", one.to_dict())


def test_a_model_may_have_a_slash_in_its_name(fake: Target, dialect: str) -> None:
    client = fake.sdk(dialect)
    assert client.models.retrieve("other/with slash").id == "other/with slash"
    answer = client.chat.completions.create(model="other/with slash", messages=HELLO, max_tokens=1)
    assert answer.model == "other/with slash"


def test_azure_lists_deployments(target: Target) -> None:
    with target.http() as client:
        listed = client.get("/openai/deployments?api-version=2023-03-15-preview").json()["data"]
        assert target.model in [one["id"] for one in listed]
        one = client.get(f"/openai/deployments/{target.model}?api-version=2023-03-15-preview").json()
        assert (one["object"], one["status"]) == ("deployment", "succeeded")
        refused(client.get("/openai/deployments/nobody?api-version=2023-03-15-preview"), 404, "DeploymentNotFound")


@pytest.mark.parametrize(
    "version", ["", "?api-version=", "?api-version=v1", "?api-version=2024-13-01", "?api-version=x"]
)
def test_classic_azure_wants_a_date(target: Target, version: str) -> None:
    with target.http() as client:
        body = {"messages": HELLO, "max_tokens": 1}
        response = client.post(f"/openai/deployments/{target.model}/chat/completions{version}", json=body)
        assert "API version not supported" in refused(response, 400, "BadRequest")["message"]
        refused(client.get(f"/openai/models{version}"), 400, "BadRequest")


@pytest.mark.parametrize(("version", "status"), [("v1", 200), ("preview", 200), ("2024-10-21", 400), ("", 400)])
def test_azure_v1_wants_no_date(target: Target, version: str, status: int) -> None:
    with target.http() as client:
        assert client.get(f"/openai/v1/models?api-version={version}").status_code == status


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("InvalidRequest", 400, "invalid_value"),
        ("ContextLengthExceeded", 400, "context_length_exceeded"),
        ("DeadlineExceeded", 408, "deadline_exceeded"),
        ("Overloaded", 429, "queue_full"),
        ("MainspringError", 500, "internal_error"),
        ("Unavailable", 503, "replica_unavailable"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_event_keeps_its_status(
    fake: Target, kind: str, status: int, code: str, *, stream: bool
) -> None:
    response = fake.chat(f"!raise {kind}", stream=stream)
    refused(response, status, code)
    assert response.headers["x-ratelimit-limit-requests"] == "16"
    if status in (429, 503):
        assert response.headers["retry-after-ms"] == "1500"
        assert response.headers["retry-after"] == "2"


def test_overload_in_azure(fake: Target) -> None:
    body = {"messages": [{"role": "user", "content": "!raise Overloaded"}]}
    with pytest.raises(openai.RateLimitError) as caught:
        fake.sdk("azure").chat.completions.create(model="fake", **body)
    refused(caught.value.response, 429, "429")


def test_an_unforeseen_failure_says_nothing_of_the_inside(fake: Target) -> None:
    error = refused(fake.chat("!crash"), 500, "internal_error")
    assert "secret" not in json.dumps(error)


def test_a_body_that_is_too_large(dialect: str) -> None:
    with fake_target(max_body_bytes=2000) as target:
        path = target.path(dialect, "chat/completions")
        with target.http() as client:
            json_type = {"content-type": "application/json"}
            refused(client.post(path, content=b"x" * 2001, headers=json_type), 413, "payload_too_large")
            refused(client.post(path, content=iter([b"x" * 1500] * 4), headers=json_type), 413, "payload_too_large")
            assert client.post(path, json={"model": "fake", "messages": HELLO, "max_tokens": 1}).status_code == 200


def test_a_hundred_megabytes(fake: Target) -> None:
    with fake.http() as client:
        headers = {"content-type": "application/json"}
        refused(client.post("/v1/chat/completions", content=b"x" * 100_000_000, headers=headers), 413)
        assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_a_body_of_another_type(target: Target, headers: dict[str, str]) -> None:
    with target.http() as client:
        refused(client.post("/v1/chat/completions", content=b"{}", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"model": NaN}',
        b'{"temperature": 1e999}',
        b'{"temperature": Infinity}',
        b'{"model": "\\ud800"}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"model": "x"} {}',
    ],
)
def test_a_body_that_is_not_json(target: Target, content: bytes) -> None:
    with target.http() as client:
        response = client.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
        refused(response, 400, "invalid_json")


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", b'"x"'])
def test_a_body_that_is_no_object(target: Target, content: bytes) -> None:
    with target.http() as client:
        response = client.post("/v1/completions", content=content, headers={"content-type": "application/json"})
        refused(response, 400, "invalid_type")


def test_client_request_ids_are_echoed_and_cleaned(target: Target) -> None:
    with target.http() as client:
        response = client.get("/v1/models", headers={"x-ms-client-request-id": "abc-123"})
        assert response.headers["x-ms-client-request-id"] == "abc-123"
        odd = b"a\xffb" + b"c" * 1000
        response = client.get("/v1/models", headers=[(b"x-ms-client-request-id", odd)])
        assert response.headers["x-ms-client-request-id"] == ("ab" + "c" * 125)
        assert len(client.get("/v1/models").headers["x-ms-client-request-id"]) == 32


def test_not_ready() -> None:
    with fake_target(ready=lambda: False) as target:
        response = httpx.get(f"{target.base_url}/readyz")
        refused(response, 503, "not_ready")
        assert response.headers["retry-after"]
        assert httpx.get(f"{target.base_url}/healthz").status_code == 200


def test_metrics(fake: Target) -> None:
    fake.chat("Hello", max_tokens=3)
    with fake.http() as client:
        client.get("/v1/models/made-up-by-a-client")
        text = client.get("/metrics").text
    assert 'mainspring_http_requests_total{dialect="openai",route="/v1/chat/completions",status="200"}' in text
    assert "mainspring_time_to_first_token_seconds_count" in text
    assert 'mainspring_tokens_total{kind="completion",model="fake"}' in text
    assert 'mainspring_kv_tokens{model="fake"} 65536.0' in text
    assert "made-up-by-a-client" not in text


def test_browsers_may_call_only_from_the_origins_that_are_configured(fake: Target) -> None:
    preflight = {"origin": "https://page.example", "access-control-request-method": "POST"}
    path = "/v1/chat/completions"
    refused(httpx.options(fake.base_url + path, headers=preflight), 401)
    with fake_target(cors_origins=("https://page.example",)) as target:
        allowed = httpx.options(
            target.base_url + path, headers={**preflight, "access-control-request-headers": "api-key"}
        )
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == "https://page.example"
        assert allowed.headers["access-control-allow-headers"] == "api-key"
        assert allowed.headers["x-request-id"]
        refused(httpx.options(target.base_url + path, headers={**preflight, "origin": "https://evil.example"}), 401)
        answer = httpx.get(target.base_url + "/v1/models", headers={"api-key": KEY, "origin": "https://page.example"})
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
