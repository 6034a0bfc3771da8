"""Receipts over HTTP: whose they are, and what is wrong with a request."""

import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from mainspring.core.canonical import canonical, digest_of
from tests.contract.spec import check
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_chats import ask, begin, refused


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("receipts")) as found:
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http(target.make_key()) as found:
        yield found


def paths(response: str) -> tuple[tuple[str, str], ...]:
    one = f"/v1/x/responses/{response}"
    return ("GET", f"{one}/receipt"), ("GET", f"{one}/context"), ("POST", f"{one}/receipt/rerun")


def got(client: httpx.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_turn_of_a_chat_has_a_receipt_that_hashes_to_what_it_says(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    turn = ask(client, chat, "Hello", instructions="Be kind.")
    (_, receipt), (_, context), (_, rerun) = paths(turn["id"])
    found = got(client, receipt)
    assert (found["object"], found["id"], found["status"]) == ("response.receipt", turn["id"], "completed")
    assert found["sha256"] == digest_of({name: value for name, value in found.items() if name != "sha256"})
    assert found["context"] == got(client, context)
    assert found["context"]["messages"][0]["role"] == "system"
    verdict = client.post(rerun, json={"model": "fake", "receipt": found}).json()
    assert (verdict["identical"], verdict["receipt"], verdict["deployment"]) == (True, "matches", "fake")
    found["answer"]["characters"] += 1
    verdict = client.post(rerun, json={"receipt": found}).json()
    assert (verdict["identical"], verdict["receipt"]) == (None, "differs")
    assert verdict["differs_at"] == "/answer/characters"


def test_a_model_that_the_catalog_has_not_is_not_asked(client: httpx.Client) -> None:
    turn = ask(client, begin(client)["id"], "Hello")
    verdict = client.post(paths(turn["id"])[2][1], json={}).json()
    assert verdict["identical"] is None
    assert "is gone" in verdict["why"]  # the fake engine's is in no catalog


def test_a_receipt_is_its_owners(target: GovernedTarget, client: httpx.Client) -> None:
    turn = ask(client, begin(client)["id"], "A secret")
    with target.http(target.make_key()) as other, target.http() as admin:
        for who in (other, admin):
            for method, path in paths(turn["id"]):
                answer = who.request(method, path, json={} if method == "POST" else None)
                refused(answer, 404)
                assert "secret" not in answer.text
    for method, path in paths("resp_0"):
        refused(client.request(method, path, json={} if method == "POST" else None), 404)


def test_what_a_copy_of_a_chat_has_is_its_own(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    turn = ask(client, chat, "Hello")
    fork = client.post(f"/v1/x/chats/{chat}/fork", json={"at": turn["id"]}).json()
    client.delete(f"/v1/x/chats/{chat}")
    refused(client.get(paths(turn["id"])[0][1]), 404)
    found = got(client, paths(fork["head"])[0][1])
    assert (found["altered"], found["unknown"], len(found["generations"])) == ([], [], 1)


def test_one_that_goes_on_has_no_receipt_yet(client: httpx.Client) -> None:
    made = ask(client, begin(client)["id"], "!hang after 2", waits=False)
    (_, receipt), (_, context), (_, rerun) = paths(made["id"])
    refused(client.get(receipt), 400, "response_id")
    refused(client.post(rerun, json={}), 400, "response_id")
    assert got(client, context)["answer_tokens"] is None
    client.post(f"/v1/responses/{made['id']}/cancel")
    assert got(client, receipt)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"model": "no such"}, 404), ({"model": ""}, 400), ({"receipt": 1}, 400), ({"seed": 1}, 400), ([], 400)],
)
def test_what_is_wrong_with_a_request_is_said(client: httpx.Client, body: Any, status: int) -> None:
    turn = ask(client, begin(client)["id"], "Hello")
    refused(client.post(paths(turn["id"])[2][1], json=body), status)


def test_a_receipt_that_is_nonsense_differs_and_harms_nothing(client: httpx.Client) -> None:
    turn = ask(client, begin(client)["id"], "Hello")
    deep: Any = {}
    for _ in range(60):
        deep = {"generations": [deep], "\x00/~": "\ud800"}
    for sent in ({}, {"sha256": []}, deep):
        body = json.dumps({"receipt": sent}).encode()
        answer = client.post(paths(turn["id"])[2][1], content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 200:
            assert answer.json()["receipt"] == "differs"
        else:
            check("ErrorResponse", answer.json())


def test_canonical_json_is_what_ecmascript_writes() -> None:
    numbers = [0.7, 1.0, 1e21, 1e20, 1e-6, 1e-7, 123456.789, 5e-324, 0.1 + 0.2, -2.5, 123e-20, 0.001, -0.0]
    written = (
        b"[0.7,1,1e+21,100000000000000000000,0.000001,1e-7,123456.789,5e-324,0.30000000000000004,-2.5,1.23e-18,0.001,0]"
    )
    assert canonical(numbers) == written
    assert canonical({"\U0001f600": 1, "\ufb33": '\u2028\n\x1f"', "a": [None, True, {}]}) == (
        '{"a":[null,true,{}],"\U0001f600":1,"\ufb33":"\u2028\\n\\u001f\\""}'.encode()
    )
