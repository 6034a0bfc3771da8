"""What was used besides tokens, and by whom, as OpenAI's administration tells it."""

import json
import time
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI

from mainspring.core.clock import FakeClock
from mainspring.core.config import IdentitySettings
from mainspring.core.types import Limits
from mainspring.governance.tokens import Tokens
from tests.contract.spec import check
from tests.contract.target import GovernedTarget, governed
from tests.issuer import AUDIENCE, ISSUER, FakeIssuer


@pytest.fixture(scope="module")
def issuer() -> FakeIssuer:
    return FakeIssuer(time.time())


@pytest.fixture(scope="module")
def target(issuer: FakeIssuer, tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    settings = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), roles={"user": "user"})  # type: ignore[call-arg]
    tokens = Tokens(settings, FakeClock(issuer.now_s), issuer.fetch)
    with governed(tmp_path_factory.mktemp("usage"), tokens.authenticate) as found:
        yield found


def told(target: GovernedTarget, what: str, num: int = 1, **query: Any) -> list[dict[str, Any]]:
    """The results of today, as soon as the ledger has so many; the body is one of OpenAI's."""
    given = {"start_time": int(time.time()) - 86_400, "limit": 2, **query}
    with target.http() as client:
        for _ in range(60):
            answer = client.get(f"/v1/organization/usage/{what}", params=given)
            assert answer.status_code == 200, answer.text
            check("UsageResponse", answer.json())
            found = [result for bucket in answer.json()["data"] for result in bucket["results"]]
            if len(found) >= num:
                return found
            time.sleep(0.1)  # until the ledger has been moved to the database
    raise AssertionError(found)


def ask(client: OpenAI) -> None:
    client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "hello"}], max_tokens=3)


def by_batch(target: GovernedTarget) -> str:
    """Have a batch ask once; its key's id."""
    key = target.make_key()
    client = target.sdk("openai", key)
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    file = client.files.create(file=("a.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    for _ in range(200):
        if (batch := client.batches.retrieve(batch.id)).status == "completed":
            return target.key_id(key)
        time.sleep(0.1)
    raise AssertionError(batch.status)


def test_what_batches_asked_for_is_told_apart(target: GovernedTarget) -> None:
    key = by_batch(target)
    ask(target.sdk("openai"))
    grouped = told(target, "completions", 2, group_by=["batch", "api_key_id"])
    assert {each["api_key_id"]: each["batch"] for each in grouped}[key] is True
    assert [each for each in grouped if each["batch"] is False]
    only = told(target, "completions", batch="true", group_by=["api_key_id"])
    assert [(each["api_key_id"], each["num_model_requests"]) for each in only] == [(key, 1)]
    rest = told(target, "completions", batch="false", group_by=["api_key_id"])
    assert key not in [each["api_key_id"] for each in rest]
    # The official client asks the same.
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    page = usage.completions(start_time=int(time.time()) - 86_400, batch=True)
    assert sum(result.num_model_requests for bucket in page.data for result in bucket.results) == 1
    with pytest.raises(BadRequestError):
        usage.completions(start_time=0, extra_query={"batch": "yes"})


def test_tiers_and_keys_that_are_not_told_apart_are_one_group(target: GovernedTarget) -> None:
    for _ in range(2):
        client = target.sdk("openai", target.make_key())
        ask(client)
        client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "hello"}], max_tokens=3, service_tier="priority"
        )
    for name, value in (("batch", False), ("user_id", None)):
        found = [each for each in told(target, "completions", group_by=name, bucket_width="1d") if each[name] is value]
        assert len(found) == len({each["object"] for each in found}), "one in each bucket"


def test_users_are_those_with_tokens(target: GovernedTarget, issuer: FakeIssuer) -> None:
    ask(target.sdk("openai", issuer.token(roles=["user"])))
    ask(target.sdk("openai"))
    found = told(target, "completions", 2, group_by="user_id")
    [user] = [each["user_id"] for each in found if each["user_id"] is not None]
    assert user.startswith("oidc:")
    only = told(target, "completions", user_ids=user, group_by="user_id")
    assert [(each["user_id"], each["num_model_requests"]) for each in only] == [(user, 1)]
    assert told(target, "completions", 0, user_ids="key_0") == []
    assert told(target, "completions", 0, user_ids=user, api_key_ids="another") == []


def test_moderations_are_counted_and_cost_nothing(target: GovernedTarget) -> None:
    key = target.make_key(Limits(tokens_per_day=5))
    client = target.sdk("openai", key)
    for _ in range(2):
        client.moderations.create(input="x" * 41)
    [found] = told(target, "moderations", group_by=["api_key_id", "model"], api_key_ids=target.key_id(key))
    assert (found["num_model_requests"], found["input_tokens"]) == (2, 22)
    assert found["model"] == "omni-moderation-latest"
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    page = usage.moderations(start_time=int(time.time()) - 86_400, api_key_ids=[target.key_id(key)])
    assert [result.num_model_requests for bucket in page.data for result in bucket.results] == [2]
    used = target.run(target.control.reports.used_since(int(time.time()) // 3600 * 3600 - 3600, minutes=False))
    assert not [each for each in used if each[2] == target.key_id(key)], "quotas do not know of it"


def test_containers_are_sessions_of_code(target: GovernedTarget) -> None:
    client = target.sdk("openai", target.make_key())
    client.containers.create(name="one")
    client.containers.create(name="two")
    [found] = told(target, "code_interpreter_sessions", group_by="project_id")
    assert (found["num_sessions"], found["project_id"]) == (2, "default")
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    page = usage.code_interpreter_sessions(start_time=int(time.time()) - 86_400)
    assert sum(result.num_sessions for bucket in page.data for result in bucket.results) == 2


def test_file_searches_are_counted_once_however_often_they_are_noted(target: GovernedTarget) -> None:
    async def note() -> None:
        for _ in range(2):  # a server that was killed while it searched searches again
            target.services.count("file_search", "fs_1", project="default", key="key_1", subject="fake")

    target.run(note())
    [found] = told(target, "file_search_calls", api_key_ids="key_1", group_by="api_key_id")
    assert (found["num_requests"], found["api_key_id"]) == (1, "key_1")
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    page = usage.file_search_calls(start_time=int(time.time()) - 86_400, api_key_ids=["key_1"])
    assert [result.num_requests for bucket in page.data for result in bucket.results] == [1]


@pytest.mark.parametrize("what", ["vector_stores", "images", "audio_speeches"])
def test_what_nobody_counts_is_not_told(target: GovernedTarget, what: str) -> None:
    with target.http() as client:
        answer: httpx.Response = client.get(f"/v1/organization/usage/{what}?start_time=0")
    assert answer.status_code == 404
