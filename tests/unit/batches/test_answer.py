"""What becomes of an answer: which are made again, and for how long."""

import json

import pytest

from mainspring.batches.answer import Tries, request_id, result_line, tokens_of, unfinished_line
from mainspring.batches.spec import Tokens
from mainspring.core.seams import Answered
from mainspring.store.jobs import Job

JOB = Job(
    id="batch_1", kind="batch", project="p", creator="", priority=0, status="in_progress", wanted="run", spec={},
    state={}, error=None, created=1_700_000_000.0,
)  # fmt: skip


def answered(status: int, body: bytes = b"{}", retry_after_s: float | None = None) -> Answered:
    return Answered(status, body, "id", retry_after_s)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 507])
def test_these_are_answers(status: int) -> None:
    assert Tries().wait_s(answered(status)) is None


@pytest.mark.parametrize(
    "refusal",
    [
        answered(429), answered(503),
        answered(403, b'{"error":{"code":"deployment_paused"}}'),
        answered(403, b'{"error":{"code":"DeploymentPaused"}}'),
    ],
)  # fmt: skip
def test_what_is_refused_for_now_is_made_again_for_as_long_as_there_is_time(refusal: Answered) -> None:
    tries = Tries()
    waits = [tries.wait_s(refusal) for _ in range(1000)]
    assert None not in waits
    assert waits[0] < 1  # type: ignore[operator]
    assert max(waits) == 60.0  # type: ignore[type-var]


def test_a_server_says_when_to_come_back() -> None:
    assert Tries().wait_s(answered(429, retry_after_s=7.0)) == 7.0
    assert Tries().wait_s(answered(429, retry_after_s=86_400.0)) == 60.0


def test_faults_and_late_answers_are_tried_a_few_times() -> None:
    tries = Tries()
    waits = [tries.wait_s(answered(500)) for _ in range(4)]
    assert waits[-1] is None
    assert all(waits[:-1])
    tries = Tries()
    late = [tries.wait_s(answered(408)) for _ in range(12)]
    assert late[-1] is None
    assert 4 * 3600 < sum(late[:-1]) < 12 * 3600  # type: ignore[arg-type]


def test_lines_are_json_whatever_is_in_them() -> None:
    custom_id = json.dumps('a"\n\u2028').encode()
    line = result_line("0f", custom_id, answered(200, b'{"a":\n 1}\n'))
    assert b"\n" not in line
    assert json.loads(line) == {
        "id": "batch_req_0f", "custom_id": 'a"\n\u2028', "error": None,
        "response": {"status_code": 200, "request_id": "id", "body": {"a": 1}},
    }  # fmt: skip
    assert json.loads(result_line("0f", custom_id, answered(500, b"")))["response"]["body"] is None
    late = json.loads(unfinished_line("0f", custom_id, "expired"))
    assert (late["response"], late["error"]["code"]) == (None, "batch_expired")


def test_a_requests_id_is_always_the_same_and_nobody_elses() -> None:
    ids = {request_id(JOB, line) for line in range(1000)}
    assert len(ids) == 1000
    assert request_id(JOB, 7) in ids
    assert {len(each) for each in ids} == {32}


def test_usage_of_every_endpoint() -> None:
    chat = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1}}  # fmt: skip
    responses = {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2},
                 "output_tokens_details": {"reasoning_tokens": 1}}  # fmt: skip
    for usage in (chat, responses):
        assert tokens_of(json.dumps({"usage": usage}).encode()) == Tokens(input=5, cached=2, output=3, reasoning=1)
    assert tokens_of(b'{"usage":{"prompt_tokens":4}}') == Tokens(input=4)
    assert tokens_of(b"[]") == tokens_of(b"{}") == Tokens()
