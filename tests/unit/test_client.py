"""The small client, against bodies that a server may send and servers should not."""

import httpx
import pytest

from mainspring.client import Client
from mainspring.core import errors


def client(*answers: httpx.Response | Exception) -> Client:
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        now = waiting.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    return Client("http://test", "ms-key", transport=httpx.MockTransport(answer))


def sse(*lines: str) -> httpx.Response:
    return httpx.Response(200, text="".join(f"{line}\n\n" for line in lines))


def failure(status: int, code: str | None, **headers: str) -> httpx.Response:
    error = {"message": "why", "type": "t", "param": "p", "code": code}
    return httpx.Response(status, json={"error": error}, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_the_base_url_may_have_its_v1(url: str) -> None:
    with Client(url, None) as made:
        assert made.base_url == "http://h:1/v1"


def test_text_comes_out_of_the_stream() -> None:
    role = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}'
    text = 'data: {"choices":[{"index":0,"delta":{"content":"caf\\u00e9"}}]}'
    usage = 'data: {"choices":[],"usage":{}}'
    last = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    with client(sse(": a comment", role, text, last, usage, "data: [DONE]")) as made:
        assert "".join(made.chat("m", [])) == "café"


def test_what_is_sent() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return sse('data:{"choices":[{"text":"x"}]}', "data:[DONE]")

    with Client("http://test/v1", "ms-key", transport=httpx.MockTransport(answer)) as made:
        assert list(made.complete("m", "p", max_tokens=3)) == ["x"]
    assert seen[0].url == "http://test/v1/completions"
    assert seen[0].headers["authorization"] == "Bearer ms-key"
    assert seen[0].read() == b'{"model":"m","prompt":"p","max_tokens":3,"stream":true}'


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_value", errors.InvalidRequest),
        (400, "context_length_exceeded", errors.ContextLengthExceeded),
        (401, "invalid_api_key", errors.Unauthorized),
        (404, "model_not_found", errors.ModelNotFound),
        (404, None, errors.NotFound),
        (429, "queue_full", errors.Overloaded),
        (503, "replica_unavailable", errors.Unavailable),
        (500, None, errors.MainspringError),
        (418, "teapot", errors.MainspringError),
    ],
)
def test_error_bodies_become_our_errors(status: int, code: str | None, kind: type[errors.MainspringError]) -> None:
    with client(failure(status, code)) as made, pytest.raises(kind) as caught:
        list(made.chat("m", []))
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.param) == ("why", "p")


def test_when_to_come_back() -> None:
    with client(failure(429, "queue_full", retry_after_ms="1500")) as made, pytest.raises(errors.Overloaded) as caught:
        made.models()
    assert caught.value.retry_after_s == 1.5


def test_an_error_inside_a_stream_is_raised() -> None:
    chunk = 'data: {"error":{"message":"died","code":"replica_unavailable"}}'
    with (
        client(sse('data: {"choices":[{"text":"a"}]}', chunk, "data: [DONE]")) as made,
        pytest.raises(errors.Unavailable, match="died"),
    ):
        list(made.complete("m", "p"))


def test_a_stream_without_its_end_is_no_answer() -> None:
    with client(sse('data: {"choices":[{"text":"a"}]}')) as made, pytest.raises(errors.Unavailable, match="broke off"):
        list(made.complete("m", "p"))


@pytest.mark.parametrize(
    ("failed", "kind", "says"),
    [
        (httpx.ConnectError("refused"), errors.UserMistake, "mainspring up"),
        (httpx.ReadTimeout("slow"), errors.DeadlineExceeded, "too long"),
        (httpx.RemoteProtocolError("cut"), errors.Unavailable, "broke off"),
        (httpx.Response(200, text="<html>"), errors.UserMistake, "not an OpenAI-compatible server"),
        (httpx.Response(502, text="<html>"), errors.MainspringError, "answered 502"),
    ],
)
def test_other_failures(failed: httpx.Response | Exception, kind: type[errors.MainspringError], says: str) -> None:
    with client(failed) as made, pytest.raises(kind, match=says):
        made.models()
