"""batches with the official clients in every dialect, over all of governance and the fake engine: from the file to the
results, what is refused, whose they are, what it costs."""

import json
import time
from collections.abc import Generator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Batch
from sqlalchemy import select

from mainspring.core.config_batches import BatchSettings
from mainspring.core.types import Limits
from mainspring.governance.wanted import Deployment
from mainspring.store.tables import requests, usage_hours
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import API_VERSION, GovernedTarget, governed, in_catalog
from tests.contract.test_node import FOLDER, NODE, PACKAGE

ENDS = ("completed", "failed", "expired", "cancelled")
FOLDERS = {"openai": "/v1", "azure_v1": "/openai/v1", "azure": "/openai"}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("batches")
    in_catalog(home, "tiny", "abc")
    with governed(home, batches=BatchSettings(per_project=0)) as found:
        yield found


def line(name: str, content: str = "hello", url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], "max_tokens": 5, **body}
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def upload(client: OpenAI, *lines: dict[str, Any], purpose: Any = "batch") -> str:
    data = "\n".join(json.dumps(each) for each in lines).encode()
    return client.files.create(file=("requests.jsonl", data), purpose=purpose).id


def create(client: OpenAI, *lines: dict[str, Any], **more: Any) -> Batch:
    given: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return client.batches.create(input_file_id=upload(client, *lines), **given)


def until(client: OpenAI, batch: Batch, *statuses: str) -> Batch:
    deadline = time.monotonic() + 240
    while True:
        found = client.batches.retrieve(batch.id)
        if found.status in (statuses or ENDS):
            return found
        assert found.status not in ENDS, found
        assert time.monotonic() < deadline, found
        time.sleep(0.03)


def lines_of(client: OpenAI, file: str | None) -> list[dict[str, Any]]:
    return [] if file is None else [json.loads(text) for text in client.files.content(file).text.splitlines()]


def raw(target: GovernedTarget, dialect: str, path: str, method: str = "GET", **more: Any) -> Any:
    query = {"api-version": API_VERSION} if dialect == "azure" else {}
    with target.http() as client:
        url = f"{FOLDERS[dialect]}/batches{path}"
        return client.request(method, url, params={**query, **more.pop("params", {})}, **more)


def test_item_51_every_custom_id_is_once_across_output_and_error_file(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    asked = [line(f"r{at}", f"number {at}") for at in range(40)]
    asked += [line("hot", temperature=9), line("long", "x " * 5000), line("tool", "!call", tools=[
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    ])]  # fmt: skip
    made = create(
        client, *asked, metadata={"night": "ly"}, output_expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.status == "validating"
    assert made.request_counts is not None
    assert made.request_counts.total == 0
    check("Batch", raw(target, dialect, f"/{made.id}").json())
    done = until(client, made)
    assert done.status == "completed"
    check("Batch", raw(target, dialect, f"/{made.id}").json())
    answers, errors = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
    assert [each["custom_id"] for each in answers] == [*(f"r{at}" for at in range(40)), "tool"]
    assert [each["custom_id"] for each in errors] == ["hot", "long"]
    for each in answers:
        assert each["error"] is None
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["id"] == f"chatcmpl-{each['response']['request_id']}"
        check("CreateChatCompletionResponse", each["response"]["body"])
        assert ("prompt_filter_results" in each["response"]["body"]) == (dialect != "openai")
    assert {each["response"]["status_code"] for each in errors} == {400}
    assert errors[0]["response"]["body"]["error"]["param"] == "temperature"
    assert (done.request_counts.completed, done.request_counts.failed) == (41, 2)  # type: ignore[union-attr]
    assert (done.metadata, done.model, done.input_file_id) == ({"night": "ly"}, "fake", made.input_file_id)
    assert done.usage is not None
    assert done.usage.input_tokens == sum(each["response"]["body"]["usage"]["prompt_tokens"] for each in answers)
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    assert done.in_progress_at and done.finalizing_at and done.completed_at  # noqa: PT018
    for file in (done.output_file_id, done.error_file_id):
        about = client.files.retrieve(str(file))
        assert about.purpose == "batch_output"
        assert about.expires_at is not None
        assert about.expires_at - about.created_at == 3600


def test_the_other_endpoints(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    texts = [
        {"custom_id": f"c{at}", "method": "POST", "url": "/v1/completions",
         "body": {"model": "fake", "prompt": ["one", "two"], "max_tokens": 3}} for at in range(3)
    ]  # fmt: skip
    vectors = [
        {"custom_id": f"e{at}", "method": "POST", "url": "/v1/embeddings",
         "body": {"model": "fake-embed", "input": ["one", "two"]}} for at in range(3)
    ]  # fmt: skip
    for lines, endpoint, schema in (
        (texts, "/v1/completions", "CreateCompletionResponse"), (vectors, "/v1/embeddings", "CreateEmbeddingResponse"),
    ):  # fmt: skip
        done = until(client, create(client, *lines, endpoint=endpoint))
        assert (done.status, done.error_file_id) == ("completed", None)
        found = lines_of(client, done.output_file_id)
        assert [each["custom_id"] for each in found] == [each["custom_id"] for each in lines]
        for each in found:
            check(schema, each["response"]["body"])
        assert done.usage is not None
        assert done.usage.input_tokens > 0


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([line("a"), line("b"), line("a")], "duplicate_custom_id", 3),
        ([line("a"), line("b", url="/v1/completions")], "url_mismatch", 2),
        ([line("a"), line("b", model="tiny")], "model_mismatch", 2),
        ([line("a", model="nobody")], "model_not_found", 1),
        ([line("a"), {**line("b"), "method": "GET"}], "invalid_request", 2),
        ([line("a", model="fake-embed")], "invalid_request", 1),
    ],
)
def test_item_52_validation_errors_have_azures_codes_and_the_line(
    target: GovernedTarget, dialect: str, lines: list[Any], code: str, number: int
) -> None:
    client = target.sdk(dialect)
    failed = until(client, create(client, *lines))
    assert (failed.status, failed.output_file_id, failed.error_file_id) == ("failed", None, None)
    assert failed.failed_at
    assert failed.errors is not None
    [error] = failed.errors.data or []
    assert (error.code, error.line) == (code, number)
    assert error.message
    check("Batch", raw(target, dialect, f"/{failed.id}").json())


def test_item_52_an_empty_file_is_refused_when_it_is_uploaded(target: GovernedTarget, dialect: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        upload(target.sdk(dialect))
    assert caught.value.code == "empty_file"


def test_item_53_batches_are_listed_in_pages_that_end(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    made = [create(client, line("a")).id for _ in range(5)]
    whole = [each.id for each in client.batches.list(limit=100)]
    assert whole[:5] == made[::-1]
    first = client.batches.list(limit=2)
    assert (len(first.data), first.has_more) == (2, True)
    assert [each.id for each in first] == whole
    page = raw(target, dialect, "", params={"limit": 2, "after": made[4]}).json()
    assert [each["id"] for each in page["data"]] == [made[3], made[2]]
    assert (page["first_id"], page["last_id"]) == (made[3], made[2])
    check("ListBatchesResponse", page)
    for limit in ("0", "101", "x"):
        assert raw(target, dialect, "", params={"limit": limit}).json()["error"]["param"] == "limit"
    assert raw(target, dialect, "", params={"after": "batch_none"}).json()["error"]["param"] == "after"


def test_cancelled_within_a_second(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    batch = create(client, *(line(f"r{at}", "!hang after 2") for at in range(30)))
    until(client, batch, "in_progress")
    began = time.monotonic()
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    ended = until(client, batch)
    assert (ended.status, time.monotonic() - began < 5) == ("cancelled", True)
    assert ended.cancelled_at
    names = [each["custom_id"] for each in lines_of(client, ended.error_file_id)]
    assert names == [f"r{at}" for at in range(30)]
    assert target.engine is not None
    assert target.engine.wait_idle(5)
    done = until(client, create(client, line("a")))
    with pytest.raises(openai.ConflictError) as caught:
        client.batches.cancel(done.id)
    assert "status 'completed'" in caught.value.message


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/nothing"}, "endpoint"), ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"completion_window": "7d"}, "completion_window"), ({"input_file_id": "file-nobodys"}, "input_file_id"),
        ({"metadata": {"a": 7}}, "metadata.a"), ({"output_expires_after": {"anchor": "created_at", "seconds": 7}},
                                                 "output_expires_after.seconds"),
        ({"priority": 1}, "priority"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(target: GovernedTarget, dialect: str, change: dict[str, Any], param: str) -> None:
    body = {
        "input_file_id": upload(target.sdk(dialect), line("a")), "endpoint": "/v1/chat/completions",
        "completion_window": "24h", **change,
    }  # fmt: skip
    answer = raw(target, dialect, "", "POST", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    check("ErrorResponse", answer.json())


def test_a_file_for_something_else_is_refused(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    file = upload(client, line("a"), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
    assert (caught.value.code, caught.value.param) == ("invalid_file_purpose", "input_file_id")


def test_azure_answers_201_and_leaves_out_the_v1(target: GovernedTarget, dialect: str) -> None:
    file = upload(target.sdk(dialect), line("a", url="/chat/completions"), line("b"))
    body = {"input_file_id": file, "endpoint": "/chat/completions", "completion_window": "24h"}
    answer = raw(target, dialect, "", "POST", json=body)
    assert answer.status_code == (201 if dialect == "azure" else 200)
    assert answer.json()["endpoint"] == "/chat/completions"
    client = target.sdk(dialect)
    assert until(client, client.batches.retrieve(answer.json()["id"])).request_counts.completed == 2  # type: ignore[union-attr]


def test_one_projects_batches_are_no_others(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("research"))
    other = target.sdk("openai", key=target.make_key(project="research"))
    mine = target.sdk("openai")
    batch = create(mine, line("a"))
    for act in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            act(batch.id)
    assert not list(other.batches.list())
    with pytest.raises(openai.BadRequestError) as caught:
        other.batches.create(
            input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert caught.value.param == "input_file_id"


def rows(target: GovernedTarget, table: Any, **where: str) -> list[Any]:
    async def read() -> list[Any]:
        async with target.control.keys._database.read() as connection:
            query = select(table).where(*(table.c[name] == value for name, value in where.items()))
            return list((await connection.execute(query)).mappings())

    return target.run(read())


def test_its_requests_are_in_the_ledger_once_and_under_its_key(target: GovernedTarget) -> None:
    key = target.make_key()
    client = target.sdk("openai", key=key)
    done = until(client, create(client, *(line(f"r{at}") for at in range(20)), line("bad", temperature=9)))
    assert done.usage is not None
    deadline = time.monotonic() + 240
    while len(found := rows(target, requests, key=target.key_id(key))) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {(each["outcome"], each["tier"], each["operation"]) for each in found} == {("ok", "batch", "chat")}
    assert sum(each["prompt"] + each["completion"] for each in found) == done.usage.total_tokens
    [hour] = rows(target, usage_hours, key=target.key_id(key))
    assert (hour["requests"], hour["prompt"]) == (20, done.usage.input_tokens)
    asked = {each["response"]["request_id"] for each in lines_of(client, done.output_file_id)}
    assert asked == {each["id"].removeprefix("chatcmpl-") for each in found}


def test_a_key_is_held_to_its_limits_and_its_deployments(target: GovernedTarget) -> None:
    client = target.sdk("openai", key=target.make_key(deployments=("tiny@abc",)))
    done = until(client, create(client, line("a"), line("b")))
    assert {each["response"]["status_code"] for each in lines_of(client, done.error_file_id)} == {403}
    client = target.sdk("openai", key=target.make_key(Limits(tokens_per_day=1)))
    waiting = create(client, line("a", "much more than one token"), line("b", "and more"))
    until(client, waiting, "in_progress")
    client.batches.cancel(waiting.id)
    assert until(client, waiting).request_counts.completed <= 1  # type: ignore[union-attr]


def test_a_deployment_for_batches_takes_batches_only(target: GovernedTarget) -> None:
    control = target.control
    wanted = Deployment(project="default", name="nightly", model="tiny", version="abc", sku="GlobalBatch")
    target.run(control.projects.deploy(wanted))
    target.run(control.directory.refresh(control.projects))
    client = target.sdk("openai")
    with pytest.raises(openai.BadRequestError, match="for batches"):
        client.chat.completions.create(model="nightly", messages=[{"role": "user", "content": "hi"}])
    done = until(client, create(client, *(line(f"r{at}", model="nightly") for at in range(3))))
    assert (done.status, done.model, done.request_counts.completed) == ("completed", "nightly", 3)  # type: ignore[union-attr]
    padded = create(client, *(line(f"r{at}", "x" * 100_000, model="nightly") for at in range(45)))
    failed = until(client, padded)
    assert failed.errors is not None
    assert [each.code for each in failed.errors.data or []] == ["token_limit_exceeded"]


def test_revoking_the_key_ends_its_batches(target: GovernedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.batches.run.STANDING_S", 0.1)
    key = target.make_key()
    batch = create(target.sdk("openai", key=key), *(line(f"r{at}", "!hang") for at in range(3)))
    admin = target.sdk("openai")
    until(admin, batch, "in_progress")
    target.run(target.control.keys.revoke(target.key_id(key)))
    ended = until(admin, batch)
    assert ended.status == "cancelled"
    assert ended.errors is not None


def test_no_client_is_somebody_by_a_header_or_a_path(target: GovernedTarget) -> None:
    """What is said from within is an object in the scope; this is all that a client has to put there."""
    for headers in ({"mainspring.caller": "admin"}, {"x-mainspring-caller": "key_1"}, {"mainspring-caller": "{}"}):
        with target.http("") as client:
            answer = client.post("/v1/chat/completions", headers={**headers, "api-key": ""}, json={})
        assert answer.status_code == 401


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="no node, or not the npm package openai")
def test_item_60_the_npm_package_runs_batches_unmodified(target: GovernedTarget, monkeypatch: Any) -> None:
    monkeypatch.setenv("LINES", "\n".join(json.dumps(line(f"r{at}")) for at in range(4)))
    bare = line("bare")
    del bare["body"]["model"]
    monkeypatch.setenv("BARE", json.dumps(bare))
    seen = run([str(NODE), str(FOLDER / "batches.mjs")], target)
    for client in ("openai", "azure", "azure_v1"):
        found = seen[client]
        check("Batch", found["batch"])
        assert found["batch"]["status"] == "completed"
        assert [json.loads(text)["custom_id"] for text in found["output"].splitlines()] == [f"r{at}" for at in range(4)]
        assert found["listed"]
        assert found["cancelled"] == {"kind": "ConflictError", "status": 409}
    assert seen["azure"]["bare"]["request_counts"] == {"total": 1, "completed": 1, "failed": 0}, "the path names it"
