"""Limits of a key and what was used, as the official clients see them."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest
from openai import OpenAI, PermissionDeniedError, RateLimitError

from mainspring.api.app import create_app
from mainspring.core.clock import SystemClock
from mainspring.core.types import Grant, Limits, Principal
from mainspring.engine.fake import FakeEngine
from tests.contract.target import DIALECTS, KEY, GovernedTarget, governed, serve, services


@pytest.fixture
def target(tmp_path: Path) -> Generator[GovernedTarget]:
    with governed(tmp_path) as found:
        yield found


def chat(client: OpenAI, **fields):
    messages = [{"role": "user", "content": "hello"}]
    return client.chat.completions.create(model="fake", messages=messages, **{"max_tokens": 5, **fields})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_too_many_requests_say_when_to_come_back(target: GovernedTarget, dialect: str) -> None:
    key = target.make_key(Limits(requests_per_minute=2))
    client = target.sdk(dialect, key)
    said = client.chat.completions.with_raw_response.create(
        model="fake", messages=[{"role": "user", "content": "hello"}], max_tokens=5
    ).headers
    assert said["x-ratelimit-limit-requests"] == "2"
    assert said["x-ratelimit-remaining-requests"] == "1"
    assert said["x-ratelimit-reset-requests"].rstrip("s").isdecimal()
    assert said["x-ratelimit-reset-requests"].endswith("s") == (dialect == "openai")
    chat(client)
    with pytest.raises(RateLimitError, match="Please retry after") as caught:
        chat(client)
    headers = caught.value.response.headers
    assert 0 < int(headers["retry-after-ms"]) <= 60_000
    assert int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.code == ("429" if dialect != "openai" else "rate_limit_exceeded")


def test_the_client_s_own_retry_succeeds(target: GovernedTarget) -> None:
    """One request a second is what 60 a minute come to: the second one is sent again by the client."""
    key = target.make_key(Limits(requests_per_minute=60))
    client = target.sdk("openai", key, max_retries=3)
    began = time.monotonic()
    for _ in range(3):
        assert chat(client).choices[0].message.content
    assert time.monotonic() - began > 0.9


def test_a_spent_budget_is_not_tried_again(target: GovernedTarget) -> None:
    key = target.make_key(Limits(tokens_per_day=10))
    client = target.sdk("openai", key, max_retries=5)
    chat(client)
    began = time.monotonic()
    with pytest.raises(RateLimitError, match="budget of 10 tokens a day") as caught:
        chat(client)
    assert time.monotonic() - began < 5
    assert caught.value.code == "insufficient_quota"


def test_a_stream_that_is_refused_is_a_429_and_no_stream(target: GovernedTarget) -> None:
    client = target.sdk("openai", target.make_key(Limits(tokens_per_minute=0)))
    with pytest.raises(RateLimitError):
        chat(client, stream=True)


def test_embeddings_and_completions_count_too(target: GovernedTarget) -> None:
    key = target.make_key(Limits(requests_per_minute=2))
    client = target.sdk("openai", key)
    client.completions.create(model="fake", prompt="hello", max_tokens=2)
    chat(client)
    with pytest.raises(RateLimitError):
        client.completions.create(model="fake", prompt="hello", max_tokens=2)


def test_usage_by_key_and_model_with_the_official_client(target: GovernedTarget) -> None:
    key = target.make_key(Limits())
    replies = [chat(target.sdk("openai", key)) for _ in range(3)]
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    now_s = int(time.time())
    time.sleep(1)  # until the ledger has been moved to the database
    for width in ("1m", "1h", "1d"):
        page = usage.completions(
            start_time=now_s - 60,
            bucket_width=width,
            group_by=["api_key_id", "model"],
            api_key_ids=[target.key_id(key)],
        )
        [result] = [result for bucket in page.data for result in bucket.results]
        assert result.num_model_requests == 3
        assert result.input_tokens == sum(reply.usage.prompt_tokens for reply in replies)
        assert result.output_tokens == sum(reply.usage.completion_tokens for reply in replies)
        assert (result.model, result.api_key_id) == ("fake", target.key_id(key))
    assert not [result for bucket in usage.embeddings(start_time=now_s - 60).data for result in bucket.results]
    costs = usage.costs(start_time=now_s - 60)
    total = sum(result.amount.value for bucket in costs.data for result in bucket.results)
    assert total == pytest.approx(sum(reply.usage.total_tokens for reply in replies) / 1e6)


def test_pages_of_usage_end(target: GovernedTarget) -> None:
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    start, page, seen = int(time.time()) - 5 * 3600, None, []
    for _ in range(9):
        found = usage.completions(start_time=start, bucket_width="1h", limit=2, **({"page": page} if page else {}))
        seen += [bucket.start_time for bucket in found.data]
        page = found.next_page
        if not found.has_more:
            break
    assert seen == sorted(set(seen))
    assert len(seen) == 6
    assert page is None


def test_usage_is_not_for_users(target: GovernedTarget) -> None:
    client = target.sdk("openai", admin_api_key=target.make_key(Limits()))
    with pytest.raises(PermissionDeniedError, match="role admin or manager or reader"):
        client.admin.organization.usage.completions(start_time=0)


@pytest.mark.parametrize(
    "query",
    ["", "start_time=x", "start_time=-1", "start_time=0&bucket_width=2d", "start_time=0&limit=32",
     "start_time=0&page=p", "start_time=0&group_by=planet", "start_time=" + "9" * 30],
)  # fmt: skip
def test_a_bad_question_is_told(target: GovernedTarget, query: str) -> None:
    with target.http() as client:
        said = client.get(f"/v1/organization/usage/completions?{query}")
    assert said.status_code == 400
    assert said.json()["error"]["param"]


def test_without_governance_there_is_no_usage() -> None:
    async def authenticate(_: str):
        return Principal(id="a", name="a", grants=(Grant("admin"),))

    app = create_app(services(FakeEngine(), authenticate=authenticate, clock=SystemClock()))
    with serve(app) as base_url:
        client = OpenAI(base_url=f"{base_url}/v1", api_key=KEY, admin_api_key=KEY)
        assert not client.admin.organization.usage.completions(start_time=int(time.time())).data[0].results
