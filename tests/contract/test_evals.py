"""evals with the official clients in every dialect, over all of governance and the fake: each operation, every grader,
what is refused, what belongs to whom, and a server that is killed while it works on a run."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.contract.observed import run as run_client
from tests.contract.spec import check
from tests.contract.target import API_VERSION, GovernedTarget, governed
from tests.contract.test_graders import _can_isolate
from tests.contract.test_node import FOLDER, NODE, PACKAGE

__all__ = ["_can_isolate"]

FOLDERS = {"openai": "/v1", "azure_v1": "/openai/v1", "azure": "/openai"}
CONFIG: Any = {
    "type": "custom",
    "item_schema": {
        "type": "object",
        "properties": {"q": {"type": "string"}, "a": {"type": ["string", "null"]}},
        "required": ["q"],
    },
    "include_sample_schema": True,
}
HAS: Any = {
    "type": "string_check", "name": "has it", "input": "{{sample.output_text}}", "reference": "{{item.a}}",
    "operation": "like",
}  # fmt: skip
ASK: Any = {"type": "template", "template": [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "type": "message", "content": {"type": "input_text", "text": "{{item.q}}"}},
]}  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("evals")) as found:
        yield found


def sdk(target: GovernedTarget, dialect: str, key: str | None = None) -> OpenAI:
    """As strict as it goes: the client's types lack the null of `error`, and multi graders."""
    return target.sdk(dialect, key, _strict_response_validation=False)


def create(client: OpenAI, *criteria: Any, **more: Any) -> Any:
    given = {"name": "test", "data_source_config": CONFIG, "testing_criteria": list(criteria) or [HAS], **more}
    return client.evals.create(**given)


def content(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "file_content", "content": [{"item": item} for item in items]}


def completions(*items: dict[str, Any], **more: Any) -> Any:
    given = {"type": "completions", "model": "fake", "input_messages": ASK, "source": content(*items), **more}
    return {name: value for name, value in given.items() if value is not None}


def start(client: OpenAI, eval_id: str, source: Any, **more: Any) -> Any:
    return client.evals.runs.create(eval_id, data_source=source, **more)


def until(client: OpenAI, run: Any) -> Any:
    deadline = time.monotonic() + 240
    while run.status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, run
        time.sleep(0.03)
        run = client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
    return run


def ran(client: OpenAI, eval_id: str, source: Any, **more: Any) -> Any:
    return until(client, start(client, eval_id, source, **more))


def raw(
    target: GovernedTarget, dialect: str, path: str, method: str = "GET", key: str | None = None, **more: Any
) -> Any:
    params = {**({"api-version": API_VERSION} if dialect == "azure" else {}), **more.pop("params", {})}
    with target.http(key) as client:
        return client.request(method, f"{FOLDERS[dialect]}/evals{path}", params=params, **more)


def test_an_eval_is_made_found_changed_and_deleted(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    made = create(client, metadata={"k": "v"})
    assert (made.object, made.name, made.metadata) == ("eval", "test", {"k": "v"})
    schema: Any = made.data_source_config.to_dict()["schema"]
    assert schema["properties"]["item"] == CONFIG["item_schema"]
    assert schema["required"] == ["item", "sample"]
    found = client.evals.retrieve(made.id)
    assert found.to_dict() == made.to_dict()
    answer = raw(target, dialect, f"/{made.id}")
    check("Eval", answer.json())
    changed = client.evals.update(made.id, name="other")
    assert (changed.name, changed.metadata) == ("other", {"k": "v"})
    assert client.evals.update(made.id, metadata={"n": "1"}).metadata == {"n": "1"}
    gone = client.evals.delete(made.id)
    assert (gone.deleted, gone.eval_id, gone.object) == (True, made.id, "eval.deleted")
    for act in (client.evals.retrieve, client.evals.delete, client.evals.update, client.evals.runs.list):
        with pytest.raises(openai.NotFoundError):
            act(made.id)


def test_creating_answers_201(target: GovernedTarget, dialect: str) -> None:
    body = {"data_source_config": CONFIG, "testing_criteria": [HAS]}
    answer = raw(target, dialect, "", "POST", json=body)
    assert answer.status_code == 201
    check("Eval", answer.json())
    run = raw(target, dialect, f"/{answer.json()['id']}/runs", "POST", json={"data_source": completions({"q": "a"})})
    assert run.status_code == 201
    check("EvalRun", run.json())


def test_item_53_evals_are_listed_in_pages(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    for old in list(client.evals.list(limit=100)):
        client.evals.delete(old.id)
    made = [create(client).id for _ in range(5)]
    assert [each.id for each in client.evals.list(limit=2)] == made
    assert [each.id for each in client.evals.list(limit=2, order="desc")] == made[::-1]
    client.evals.update(made[1], name="newest")
    assert [each.id for each in client.evals.list(order_by="updated_at", limit=4)] == [
        made[0], *made[2:], made[1]
    ]  # fmt: skip
    body = raw(target, dialect, "", params={"limit": "3"}).json()
    check("EvalList", body)
    assert (body["first_id"], body["last_id"], body["has_more"]) == (made[0], made[2], True)
    for params in ({"limit": "101"}, {"order": "x"}, {"order_by": "name"}, {"after": "eval_none"}):
        answer = raw(target, dialect, "", params=params)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(params)))
    for each in made:
        client.evals.delete(each)
    check("EvalList", raw(target, dialect, "").json())


def test_a_run_from_its_creation_to_its_report(target: GovernedTarget, dialect: str) -> None:
    client = sdk(target, dialect)
    made = create(client, HAS, {**HAS, "name": "second", "reference": "xyzzy"})
    items = [{"q": "one", "a": ""}, {"q": "two", "a": None}, {"q": "!raise InvalidRequest", "a": ""}]
    source = completions(*items, sampling_params={"temperature": 0.5, "max_completion_tokens": 6})
    first = start(client, made.id, source, metadata={"m": "1"})
    assert (first.status, first.name, first.model) == ("queued", "fake", "fake")
    assert first.data_source.to_dict() == source
    run = until(client, first)
    assert (run.status, run.error) == ("completed", None)
    counts = run.result_counts
    assert (counts.total, counts.passed, counts.failed, counts.errored) == (3, 0, 2, 1)
    by_name = {each.testing_criteria: (each.passed, each.failed) for each in run.per_testing_criteria_results}
    assert by_name["second"] == (0, 2)
    (usage,) = run.per_model_usage
    assert (usage.model_name, usage.invocation_count) == ("fake", 2)
    assert usage.completion_tokens == 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    body = raw(target, dialect, f"/{made.id}/runs/{run.id}").json()
    check("EvalRun", body)
    with target.http() as http:
        report = http.get(body["report_url"])
    assert report.status_code == 200
    check("EvalRunOutputItemList", report.json())
    check("EvalRunList", raw(target, dialect, f"/{made.id}/runs").json())
    assert [each.id for each in client.evals.runs.list(made.id, status="completed")] == [run.id]
    assert [each.id for each in client.evals.runs.list(made.id, status="failed")] == []
    requests = target.engine.requests if target.engine else []
    assert requests[-1].tier == "flex"


def test_output_items_are_listed_in_pages(target: GovernedTarget, dialect: str) -> None:
    client = sdk(target, dialect)
    made = create(client)
    run = ran(client, made.id, completions(*({"q": f"q {at}", "a": "xyzzy" if at % 3 else ""} for at in range(7))))
    list_items = client.evals.runs.output_items.list
    items = list(list_items(run.id, eval_id=made.id, limit=2))
    assert sorted(item.datasource_item_id for item in items) == list(range(7))
    assert [item.id for item in list_items(run.id, eval_id=made.id, limit=3, order="desc")] == [
        item.id for item in items
    ][::-1]
    passed = list(list_items(run.id, eval_id=made.id, status="pass"))
    assert sorted(item.datasource_item_id for item in passed) == [0, 3, 6]
    assert len(list(list_items(run.id, eval_id=made.id, status="fail", limit=1))) == 4
    one = client.evals.runs.output_items.retrieve(items[0].id, eval_id=made.id, run_id=run.id)
    assert one.to_dict() == items[0].to_dict()
    body = raw(target, dialect, f"/{made.id}/runs/{run.id}/output_items/{one.id}").json()
    check("EvalRunOutputItem", body)
    sample = body["sample"]
    assert [each["role"] for each in sample["input"]] == ["developer", "user"]
    assert (sample["temperature"], sample["top_p"], sample["seed"]) == (1.0, 1.0, 42)
    assert sample["max_completion_tokens"] == 4096, "what the model's context holds"
    assert body["datasource_item"] == {"q": sample["input"][1]["content"], "a": body["datasource_item"]["a"]}
    for path in (f"{run.id}/output_items/outputitem_none", "evalrun_none", "evalrun_none/output_items"):
        assert raw(target, dialect, f"/{made.id}/runs/{path}").status_code == 404


GRADERS: dict[str, tuple[dict[str, Any], bool]] = {
    "string_check": (HAS, True),
    "text_similarity": (
        {"type": "text_similarity", "name": "like", "input": "{{item.a}}", "reference": "{{item.q}}",
         "evaluation_metric": "fuzzy_match", "pass_threshold": 0.9},
        True,
    ),
    "cosine": (
        {"type": "text_similarity", "name": "cosine", "input": "{{item.a}}", "reference": "{{item.q}}",
         "evaluation_metric": "cosine", "pass_threshold": 0.9},
        True,
    ),
    "score_model": (
        {"type": "score_model", "name": "score", "model": "fake", "range": [1, 3], "pass_threshold": 2,
         "input": [{"role": "user", "content": "Score {{sample.output_text}}"}]},
        False,  # the fake gives the least that its schema allows
    ),
    "label_model": (
        {"type": "label_model", "name": "label", "model": "fake", "labels": ["good", "bad"], "passing_labels": ["good"],
         "input": [{"role": "user", "content": {"type": "input_text", "text": "Label {{sample.output_text}}"}}]},
        True,  # and the first of its values
    ),
    "python": (
        {"type": "python", "name": "code", "source": "def grade(sample, item):\n    return item['a'] == item['q']"},
        True,
    ),
    "multi": (
        {"type": "multi", "name": "both", "calculate_output": "(a + b) / 2", "pass_threshold": 1.0,
         "graders": {"a": HAS, "b": {**HAS, "reference": "xyzzy"}}},
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(GRADERS))
def test_every_grader_grades(target: GovernedTarget, name: str, request: pytest.FixtureRequest) -> None:
    if name == "python":
        request.getfixturevalue("_can_isolate")
    grader, passes = GRADERS[name]
    client = sdk(target, "openai")
    made = create(client, grader)
    assert raw(target, "openai", f"/{made.id}").json()["testing_criteria"] == [grader]
    source = completions({"q": "", "a": ""}, input_messages={"type": "template", "template": [
        {"role": "user", "content": "Say {{item.q}}"}]}) if name in ("string_check", "multi") else completions(
        {"q": "same text", "a": "same text"})  # fmt: skip
    run = ran(client, made.id, source)
    (item,) = client.evals.runs.output_items.list(run.id, eval_id=made.id)
    assert (run.status, run.result_counts.errored) == ("completed", 0), item
    (result,) = item.results
    assert (result.name, result.type, result.passed) == (grader["name"], grader["type"], passes)
    assert item.status == ("pass" if passes else "fail")
    assert run.per_model_usage[0].invocation_count == (2 if name in ("score_model", "label_model") else 1)


def test_items_that_bring_their_answers_along(target: GovernedTarget, dialect: str) -> None:
    client = sdk(target, dialect)
    made = create(client)
    items = [
        {"item": {"q": "a", "a": "x"}, "sample": {"output_text": "it is x"}},
        {"item": {"q": "b", "a": "y"}, "sample": {"output_text": "it is x"}},
        {"item": {"q": "c", "a": "y"}},
    ]
    run = ran(client, made.id, {"type": "jsonl", "source": {"type": "file_content", "content": items}}, name="mine")
    assert (run.name, run.model, run.status) == ("mine", "", "completed")
    assert (run.result_counts.passed, run.result_counts.failed, run.result_counts.errored) == (1, 1, 1)
    assert run.per_model_usage == []
    body = raw(target, dialect, f"/{made.id}/runs/{run.id}/output_items").json()
    check("EvalRunOutputItemList", body)
    by_place = {each["datasource_item_id"]: each for each in body["data"]}
    assert by_place[0]["sample"]["output"][0]["content"] == "it is x"
    assert by_place[2]["results"][0]["error"]["code"] == "invalid_variable_error"


def test_items_of_a_file(target: GovernedTarget, dialect: str) -> None:
    client = sdk(target, dialect)
    made = create(client)
    lines = "\n".join(json.dumps({"item": {"q": f"q {at}", "a": ""}}) for at in range(30))
    file = client.files.create(file=("items.jsonl", lines.encode()), purpose="evals")
    run = ran(client, made.id, completions(source={"type": "file_id", "id": file.id}))
    assert (run.status, run.result_counts.passed) == ("completed", 30)
    wrong = client.files.create(file=("items.jsonl", b'{"item": {"q": "a"}}\n{"item": {"q": 1}}'), purpose="evals")
    failed = ran(client, made.id, {"type": "jsonl", "source": {"type": "file_id", "id": wrong.id}})
    assert failed.status == "failed"
    assert failed.error.code == "invalid_item"
    assert "Line 2" in failed.error.message
    check("EvalRun", raw(target, dialect, f"/{made.id}/runs/{failed.id}").json())
    other = client.files.create(file=("items.jsonl", lines.encode()), purpose="batch")
    refused(lambda: start(client, made.id, completions(source={"type": "file_id", "id": other.id})),
            "data_source.source.id", "purpose")  # fmt: skip


def refused(act: Any, param: str | None, says: str, kind: type[openai.APIStatusError] = openai.BadRequestError) -> None:
    with pytest.raises(kind) as caught:
        act()
    body: Any = caught.value.body
    check("ErrorResponse", {"error": body})
    assert says in body["message"], body
    assert body["param"] == param, body


@pytest.mark.parametrize("kind", ["logs", "stored_completions"])
def test_stored_chats_are_evaluated(target: GovernedTarget, kind: str) -> None:
    client = sdk(target, "openai")
    tag = f"for-{kind}"
    for at in range(4):
        client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": f"{at}"}], store=True, metadata={"tag": tag},
        )  # fmt: skip
    made = create(client, {**HAS, "reference": ""}, data_source_config={"type": kind, "metadata": {"tag": tag}})
    assert made.data_source_config.to_dict()["metadata"] == {"tag": tag}
    source: Any = {"type": "stored_completions", "limit": 3}
    own = create(client)
    refused(lambda: start(client, own.id, {"type": "completions", "source": source}), "data_source.source.type", "logs")
    run = ran(client, made.id, {"type": "completions", "source": source})
    assert (run.status, run.result_counts.passed, run.per_model_usage) == ("completed", 3, [])
    check("EvalRunOutputItemList", raw(target, "openai", f"/{made.id}/runs/{run.id}/output_items").json())
    reference: Any = {"type": "item_reference", "item_reference": "item.input"}
    anew = ran(client, made.id, completions(source=source, input_messages=reference))
    assert (anew.result_counts.passed, anew.per_model_usage[0].invocation_count) == (3, 3)
    item = next(iter(client.evals.runs.output_items.list(anew.id, eval_id=made.id)))
    assert item.sample.input[0].role == "user"


def test_stored_responses_are_evaluated(target: GovernedTarget) -> None:
    client = sdk(target, "openai")
    labels, look = {"tag": "evaluated"}, {"type": "function", "name": "look", "parameters": None, "strict": None}
    asks: list[dict[str, Any]] = [
        {"input": "one", "metadata": labels, "instructions": "Be a Pirate.", "temperature": 0.5},
        {"input": "!call", "metadata": labels, "tools": [look], "user": "ada"},
        {"input": "three", "metadata": {"tag": "other"}},
        {"input": "four", "metadata": labels, "store": False},
    ]
    first, called, *_ = [client.responses.create(model="fake", **ask) for ask in asks]
    second = client.responses.create(model="fake", input="two", previous_response_id=first.id, metadata=labels)
    with target.http() as http:
        chat = http.post("/v1/x/chats", json={}).json()["id"]
        turn = {"model": "fake", "input": "the owner's alone", "metadata": labels}
        assert http.post(f"/v1/x/chats/{chat}/turns", json=turn).is_success
    made = create(client, {**HAS, "reference": ""}, data_source_config={"type": "logs", "metadata": labels})
    own = create(client)
    all_of_them: Any = {"type": "responses", "source": {"type": "responses"}}
    refused(lambda: start(client, own.id, all_of_them), "data_source.source.type", "logs")

    run = ran(client, made.id, all_of_them)
    assert (run.status, run.result_counts.total, run.per_model_usage) == ("completed", 3, [])
    listed = raw(target, "openai", f"/{made.id}/runs/{run.id}/output_items").json()
    check("EvalRunOutputItemList", listed)
    shown = {each["datasource_item"]["id"]: each for each in listed["data"]}  # in the order in which they were graded
    begun, with_tool, went_on = (shown[made.id]["datasource_item"] for made in (first, called, second))
    system = {"role": "system", "content": "Be a Pirate."}
    assert begun["input"] == [system, {"role": "user", "content": "one"}]
    sample = shown[called.id]["sample"]
    assert (with_tool["input"][0]["content"], sample["finish_reason"]) == ("!call", "tool_calls")
    assert sample["output"][0]["tool_calls"][0]["function"]["name"] == "look"
    said = [
        *begun["input"][1:],
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "two"},
    ]
    assert went_on["input"] == said, "what it went on from, without the other response's instructions"

    for wanted, count in (
        ({"instructions_search": "pirate"}, 1), ({"temperature": 0.5}, 1), ({"users": ["ada", "bob"]}, 1),
        ({"tools": ["look"]}, 1), ({"model": "fake"}, 3), ({"created_after": int(time.time()) + 60}, 0),
    ):  # fmt: skip
        found = ran(client, made.id, {"type": "responses", "source": {"type": "responses", **wanted}})
        assert found.result_counts.total == count, wanted
    reference: Any = {"type": "item_reference", "item_reference": "item.input"}
    anew = ran(client, made.id, {**all_of_them, "model": "fake", "input_messages": reference})
    assert (anew.result_counts.passed, anew.per_model_usage[0].invocation_count) == (3, 3)


def test_responses_are_sampled_in_their_own_words(target: GovernedTarget) -> None:
    client = sdk(target, "openai")
    named = {**HAS, "input": "{{sample.output_json.word}}", "reference": "x", "operation": "ne"}
    called = {**HAS, "input": "{{sample.output_tools[0].function.name}}", "reference": "look"}
    schema = {"type": "object", "properties": {"word": {"const": "x"}}, "required": ["word"]}
    asked = {"type": "responses", **{key: value for key, value in completions({"q": "a"}).items() if key != "type"}}
    text: Any = {"format": {"type": "json_schema", "name": "s", "schema": schema}}
    run = ran(client, create(client, named).id, {**asked, "sampling_params": {"text": text}})
    assert (run.status, run.result_counts.failed) == ("completed", 1)
    assert run.data_source.to_dict()["sampling_params"] == {"text": text}
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}]
    asked |= {key: value for key, value in completions({"q": "!call"}).items() if key != "type"}
    run = ran(client, create(client, called).id, {**asked, "sampling_params": {"tools": tools}})
    assert run.result_counts.passed == 1
    text["format"] |= {"schema": {"type": "object", "properties": {"a": {}}}, "strict": True}
    refused(lambda: start(client, create(client, named).id, {**asked, "sampling_params": {"text": text}}),
            "data_source.sampling_params.text.format.schema", "additionalProperties")  # fmt: skip


def test_a_model_is_bound_by_schemas_and_tools(target: GovernedTarget) -> None:
    client = sdk(target, "openai")
    named = {**HAS, "input": "{{sample.output_json.word}}", "reference": "x", "operation": "ne"}
    called = {**HAS, "input": "{{sample.output_tools[0].function.name}}", "reference": "look"}
    schema = {"type": "object", "properties": {"word": {"const": "x"}}, "required": ["word"]}
    format: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}  # noqa: A001
    made = create(client, named)
    run = ran(client, made.id, completions({"q": "a"}, sampling_params={"response_format": format}))
    assert (run.status, run.result_counts.failed) == ("completed", 1)
    assert run.data_source.to_dict()["sampling_params"] == {"response_format": format}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    made = create(client, called)
    run = ran(client, made.id, completions({"q": "!call"}, sampling_params={"tools": [tool]}))
    assert run.result_counts.passed == 1


def test_a_run_is_cancelled_and_deleted(target: GovernedTarget, dialect: str) -> None:
    client = sdk(target, dialect)
    made = create(client)
    run = start(client, made.id, completions({"q": "quick", "a": ""}, *({"q": "!hang", "a": ""},) * 3))
    assert target.engine is not None
    assert target.engine.wait_busy(20)
    cancelled = client.evals.runs.cancel(run.id, eval_id=made.id)
    assert cancelled.status == "canceled"
    check("EvalRun", raw(target, dialect, f"/{made.id}/runs/{run.id}").json())
    assert target.engine.wait_idle(20), "what is computed for it is given up"
    assert client.evals.runs.cancel(run.id, eval_id=made.id).status == "canceled"
    gone = client.evals.runs.delete(run.id, eval_id=made.id)
    assert (gone.deleted, gone.run_id, gone.object) == (True, run.id, "eval.run.deleted")
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.retrieve(run.id, eval_id=made.id)
    started = start(client, made.id, completions({"q": "!hang", "a": ""}))
    answer = raw(target, dialect, f"/{made.id}/runs/{started.id}", "POST")
    assert answer.json()["status"] == "canceled", "OpenAI's document names no verb"
    done = ran(client, made.id, completions({"q": "a", "a": ""}))
    refused(lambda: client.evals.runs.cancel(done.id, eval_id=made.id), "run_id", "completed")


def test_an_eval_that_is_deleted_takes_its_runs_along(target: GovernedTarget) -> None:
    client = sdk(target, "openai")
    made = create(client)
    start(client, made.id, completions({"q": "!hang", "a": ""}))
    assert target.engine is not None
    assert target.engine.wait_busy(20)
    client.evals.delete(made.id)
    assert target.engine.wait_idle(20)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"data_source_config": {"type": "custom"}}, "data_source_config.item_schema", "Missing"),
        ({"data_source_config": {"type": "custom", "item_schema": {"type": "x"}}},
         "data_source_config.item_schema.type", "one of object"),
        ({"data_source_config": {"type": "other"}}, "data_source_config.type", "other"),
        ({"testing_criteria": []}, "testing_criteria", "at least 1"),
        ({"testing_criteria": [{**HAS, "operation": "x"}]}, "testing_criteria[0].operation", "operation"),
        ({"testing_criteria": [HAS, {**HAS, "input": "{{ item.a | x }}"}]}, "testing_criteria[1].input", "no variable"),
        ({"testing_criteria": [{"type": "text_similarity", "name": "a", "input": "", "reference": "",
                                "evaluation_metric": "bleu"}]}, "testing_criteria[0].pass_threshold", "Missing"),
        ({"testing_criteria": [{"type": "reward_model", "name": "a", "model": "m"}]}, "testing_criteria[0]", "Reward"),
        ({"testing_criteria": [{"type": "label_model", "name": "a", "model": "fake-embed", "labels": ["a"],
                                "passing_labels": [], "input": [{"role": "user", "content": ""}]}]},
         "testing_criteria[0].model", "embeddings"),
        ({"metadata": {"a": "v" * 513}}, "metadata.a", "512"),
        ({"shared": True}, "shared", "Unknown"),
    ],
)  # fmt: skip
def test_what_an_eval_cannot_be(target: GovernedTarget, fields: dict[str, Any], param: str, says: str) -> None:
    body = {"data_source_config": CONFIG, "testing_criteria": [HAS], **fields}
    answer = raw(target, "openai", "", "POST", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    assert says.lower() in error["message"].lower(), error


@pytest.mark.parametrize(
    ("source", "param", "says"),
    [
        ({"type": "responses", "source": {"type": "file_id", "id": "a"}}, "data_source.input_messages", "Missing"),
        ({"type": "responses", "source": {"type": "responses"}, "model": "fake"}, "data_source.model", "as they are"),
        ({"type": "nothing", "source": {"type": "file_id", "id": "a"}}, "data_source.type", "nothing"),
        (completions({"a": "no q"}), "data_source.source.content[0].item", "'q' is missing"),
        (completions({"q": 1}), "data_source.source.content[0].item", "string is expected"),
        (completions({"q": "a"}, model=None), "data_source.model", "Missing"),
        (completions({"q": "a"}, input_messages=None), "data_source.input_messages", "Missing"),
        (completions({"q": "a"}, model="none"), "data_source.model", "none"),
        (completions({"q": "a"}, model="fake-embed"), "data_source.model", "embeddings"),
        (completions({"q": "a"}, input_messages={"type": "item_reference", "item_reference": "sample.x"}),
         "data_source.input_messages.item_reference", "pattern"),
        (completions({"q": "a"}, input_messages={"type": "template", "template": [
            {"role": "user", "content": "{{sample.output_text}}"}]}), "data_source.input_messages.template[0].content",
         "no sample"),
        (completions({"q": "a"}, input_messages={"type": "template", "template": [
            {"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
         "data_source.input_messages.template[0].content[0].type", "input_text"),
        (completions({"q": "a"}, sampling_params={"temperature": 3}), "data_source.sampling_params.temperature", "2"),
        (completions({"q": "a"}, sampling_params={"response_format": {"type": "json_schema", "json_schema": {
            "name": "s", "strict": True, "schema": {"type": "object", "properties": {}}}}}),
         "data_source.sampling_params.response_format.json_schema.schema", "additionalProperties"),
        (completions(source={"type": "file_id", "id": "file-none"}), "data_source.source.id", "No such File"),
        ({"type": "completions", "model": "fake", "source": {"type": "stored_completions"}}, "data_source.model",
         "input_messages"),
        (completions(), "data_source.source.content", "at least 1"),
    ],
)  # fmt: skip
def test_what_a_run_cannot_be(target: GovernedTarget, source: Any, param: str, says: str) -> None:
    made = create(target.sdk("openai"))
    answer = raw(target, "openai", f"/{made.id}/runs", "POST", json={"data_source": source})
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    assert says in error["message"], error


def test_another_project_s_eval_is_not_found(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("elsewhere"))
    mine, theirs = sdk(target, "openai"), sdk(target, "openai", target.make_key(project="elsewhere"))
    made = create(mine)
    run = ran(mine, made.id, completions({"q": "a", "a": ""}))
    (item,) = mine.evals.runs.output_items.list(run.id, eval_id=made.id)
    own = create(theirs)
    for eval_id in (made.id, own.id):
        for act in (theirs.evals.runs.retrieve, theirs.evals.runs.cancel, theirs.evals.runs.delete,
                    theirs.evals.runs.output_items.list):  # fmt: skip
            with pytest.raises(openai.NotFoundError):
                act(run.id, eval_id=eval_id)
        with pytest.raises(openai.NotFoundError):
            theirs.evals.runs.output_items.retrieve(item.id, eval_id=eval_id, run_id=run.id)
    for act in (theirs.evals.retrieve, theirs.evals.update, theirs.evals.delete, theirs.evals.runs.list):
        with pytest.raises(openai.NotFoundError):
            act(made.id)
    with pytest.raises(openai.NotFoundError):
        start(theirs, made.id, completions({"q": "a"}))
    assert [each.id for each in theirs.evals.list()] == [own.id]
    assert mine.evals.runs.retrieve(run.id, eval_id=made.id).status == "completed"


def test_a_project_that_goes_takes_its_evals_along(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("short-lived"))
    client = sdk(target, "openai", target.make_key(project="short-lived"))
    made = create(client)
    start(client, made.id, {"type": "jsonl", "source": content({"q": "a", "a": ""})})
    target.run(target.control.projects.remove("short-lived"))
    target.run(target.control.projects.put("short-lived"))
    again = sdk(target, "openai", target.make_key(project="short-lived"))
    assert list(again.evals.list()) == []


def test_who_may_what(target: GovernedTarget) -> None:
    user = sdk(target, "openai", target.make_key(role="user"))
    made = create(user)
    assert ran(user, made.id, completions({"q": "a", "a": ""})).status == "completed"
    code = {"type": "python", "name": "code", "source": "def grade(sample, item): return 1"}
    for grader in (code, {"type": "multi", "name": "m", "graders": {"a": code}, "calculate_output": "a"}):
        refused(lambda grader=grader: create(user, grader), "testing_criteria", "contributor")
    reader = sdk(target, "openai", target.make_key(role="reader"))
    for act in (lambda: create(reader), lambda: reader.evals.list()):
        with pytest.raises(openai.PermissionDeniedError):
            act()


def test_what_is_asked_is_in_the_ledger_as_the_creator_s(target: GovernedTarget) -> None:
    key = target.make_key(role="user")
    client = sdk(target, "openai", key)
    made = create(client, {**GRADERS["score_model"][0], "pass_threshold": 1})
    run = ran(client, made.id, completions({"q": "a", "a": ""}, {"q": "b", "a": ""}))
    assert run.result_counts.passed == 2
    deadline = time.monotonic() + 240
    while True:
        with target.http() as http:
            answer = http.get(
                "/v1/organization/usage/completions",
                params={"start_time": int(time.time()) - 3600, "api_key_ids": target.key_id(key)},
            )
        results = [each for bucket in answer.json()["data"] for each in bucket["results"]]
        if sum(each["num_model_requests"] for each in results) == 4:
            break
        assert time.monotonic() < deadline, results
        time.sleep(0.1)
    assert sum(each["output_tokens"] for each in results) == run.per_model_usage[0].completion_tokens


def test_a_key_that_is_revoked_asks_nothing_more(target: GovernedTarget) -> None:
    key = target.make_key(role="user")
    client = sdk(target, "openai", key)
    made = create(client)
    hold = [start(sdk(target, "openai"), made.id, completions({"q": "!hang", "a": ""})) for _ in range(2)]
    run = start(client, made.id, completions({"q": "a", "a": ""}))
    target.run(target.control.keys.revoke(target.key_id(key)))
    admin = sdk(target, "openai")
    for each in hold:
        admin.evals.runs.cancel(each.id, eval_id=made.id)
    failed = until(admin, run)
    assert (failed.status, failed.error.code) == ("failed", "invalid_api_key")


class _Server:
    """A server in a process of its own, over a data directory that outlives it."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "tests.contract.governed_server", str(home)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        self.client = OpenAI(base_url=found["base_url"] + "/v1", api_key=found["key"], max_retries=0, timeout=30)

    def kill(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def test_a_server_that_is_killed_loses_and_doubles_no_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time in the midst of the run: `MAINSPRING_TEST_KILLS` says how often."""
    kills, dice = int(os.environ.get("MAINSPRING_TEST_KILLS", "3")), random.Random(11)
    monkeypatch.setenv("MAINSPRING_EVALS__LEASE_S", "1")
    file = "\n".join(json.dumps({"item": {"q": f"number {at}", "a": ""}}) for at in range(400))
    server = _Server(tmp_path)
    try:
        uploaded = server.client.files.create(file=("x.jsonl", file.encode()), purpose="evals")
        made = create(server.client)
        run = start(server.client, made.id, completions(source={"type": "file_id", "id": uploaded.id}))
        total = 0
        for _ in range(kills):
            until_total = total + dice.randint(1, 300 // kills)
            while total < until_total:
                total = server.client.evals.runs.retrieve(run.id, eval_id=made.id).result_counts.total
            time.sleep(dice.uniform(0, 0.02))
            server.kill()
            assert total < 400, "it was in the midst of it"
            server = _Server(tmp_path)
        done = until(server.client, run)
        items = list(server.client.evals.runs.output_items.list(run.id, eval_id=made.id, limit=100))
    finally:
        server.kill()
    assert (done.status, done.result_counts.passed, done.result_counts.total) == ("completed", 400, 400)
    assert sorted(item.datasource_item_id for item in items) == list(range(400))
    assert len({item.id for item in items}) == 400
    assert done.per_model_usage[0].invocation_count == 400
    assert (done.per_testing_criteria_results[0].passed, done.per_testing_criteria_results[0].failed) == (400, 0)


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_every_operation_with_the_npm_package(target: GovernedTarget) -> None:
    seen = run_client([str(NODE), str(FOLDER / "evals.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        check("Eval", found["made"])
        check("EvalRun", found["run"])
        assert (found["run"]["status"], found["run"]["result_counts"]["passed"]) == ("completed", 2)
        for item in found["items"]:
            check("EvalRunOutputItem", item)
        assert sorted(item["datasource_item_id"] for item in found["items"]) == [0, 1, 2]
        assert found["failed"] == [item["id"] for item in found["items"] if item["status"] == "fail"]
        assert found["one"] == found["items"][0]
        assert found["cancelled"] == {"kind": "BadRequestError", "status": 400, "code": "invalid_run_state"}
        assert (found["renamed"], found["runs"]) == ("renamed", [found["run"]["id"]])
        assert found["gone"]["deleted"]
        assert found["deleted"]["deleted"]
        assert found["after"]["status"] == 404
        chats = found["stored"]
        check("CreateChatCompletionResponse", chats["found"])
        assert chats["found"]["choices"][0]["message"]["content"] == chats["made"]["choices"][0]["message"]["content"]
        assert chats["updated"]["metadata"] == {"by": "me"}
        assert [each["role"] for each in chats["sent"]] == ["user"]
        assert chats["listed"] == [chats["made"]["id"]]
        assert (chats["deleted"]["deleted"], chats["after"]["status"]) == (True, 404)
        check("CreateModerationResponse", found["moderated"])
        assert found["moderated"]["results"][0]["categories"]["harassment"]
