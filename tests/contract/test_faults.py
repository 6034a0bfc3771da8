"""What happens when an answer cannot be finished: failures mid-stream, clients that leave, deadlines."""

import json
import socket
from typing import Any

import openai
import pytest

from tests.contract.spec import check
from tests.contract.target import KEY, Target, events, fake_target

WAIT_S = 120


def ask(text: str, operation: str = "chat/completions", **fields: Any) -> bytes:
    body = {"prompt": text} if operation == "completions" else {"messages": [{"role": "user", "content": text}]}
    content = json.dumps({"model": "fake", **body, **fields}).encode()
    head = f"POST /v1/{operation} HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(content) + content


def connect(target: Target) -> socket.socket:
    host, _, port = target.base_url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=WAIT_S)


@pytest.mark.parametrize(
    ("spell", "code"),
    [("!raise Unavailable after 3", "replica_unavailable"), ("!crash after 3", "internal_error")],
)
@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
def test_a_failure_mid_stream_is_the_last_event(fake: Target, spell: str, code: str, operation: str) -> None:
    body = {"prompt": spell} if operation == "completions" else {"messages": [{"role": "user", "content": spell}]}
    response = fake.post({**body, "stream": True}, operation)
    assert response.status_code == 200
    *chunks, last = events(response)
    check("ErrorResponse", last)
    assert last["error"]["code"] == code
    assert "secret" not in last["error"]["message"]
    assert "[DONE]" not in chunks
    assert len(chunks) == (4 if operation == "chat/completions" else 3)


def test_the_official_client_sees_a_failure_mid_stream(fake: Target, dialect: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "!raise Unavailable after 2"}]
    stream = fake.sdk(dialect).chat.completions.create(model="fake", messages=messages, stream=True)
    seen: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(iter(stream))
    assert "spell" in caught.value.message
    del seen


def test_a_failure_after_the_start_of_a_whole_answer_keeps_its_status(fake: Target) -> None:
    assert fake.chat("!raise Unavailable after 3").status_code == 503


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(fake: Target) -> None:
    with connect(fake) as client:
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\napi-key: {KEY}\r\ncontent-type: application/json\r\n"
        client.sendall(head.encode() + b"content-length: 1000000000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("after", ["", " after 3"])
@pytest.mark.parametrize("stream", [False, True])
def test_leaving_cancels_the_request(fake: Target, after: str, *, stream: bool) -> None:
    assert fake.engine is not None
    with connect(fake) as client:
        client.sendall(ask(f"!hang{after}", stream=stream))
        assert fake.engine.wait_busy(WAIT_S)
        if stream and after:
            assert b"text/event-stream" in client.recv(100_000)
    assert fake.engine.wait_idle(WAIT_S)


def test_leaving_cancels_all_prompts_of_a_request(fake: Target) -> None:
    assert fake.engine is not None
    content = [f"!hang {i}" for i in range(20)]
    with connect(fake) as client:
        client.sendall(ask(content, "completions"))  # type: ignore[arg-type]
        assert fake.engine.wait_busy(WAIT_S)
    assert fake.engine.wait_idle(WAIT_S)


def test_one_prompt_that_fails_ends_the_request_and_the_others(fake: Target) -> None:
    assert fake.engine is not None
    response = fake.post({"prompt": ["!hang", "!raise Unavailable", "!hang"]}, "completions")
    assert response.status_code == 503
    assert fake.engine.wait_idle(WAIT_S)


def test_the_edge_answers_even_if_the_engine_does_not() -> None:
    with fake_target(request_timeout_s=-1.9) as target:  # with the grace of two seconds: a tenth of a second
        response = target.chat("!hang")
        assert (response.status_code, response.json()["error"]["code"]) == (408, "deadline_exceeded")
        assert response.headers["x-should-retry"] == "false"
        assert target.engine is not None
        assert target.engine.wait_idle(WAIT_S)


def test_a_queue_that_is_full(fake: Target) -> None:
    assert fake.engine is not None
    clients = [connect(fake) for _ in range(16)]
    for client in clients:
        client.sendall(ask("!hang after 1", stream=True))
        client.recv(100_000)
    response = fake.chat("Hello")
    assert (response.status_code, response.json()["error"]["code"]) == (429, "queue_full")
    assert int(response.headers["retry-after-ms"]) > 0
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    for client in clients:
        client.close()
    assert fake.engine.wait_idle(WAIT_S)
    assert fake.chat("Hello").status_code == 200
