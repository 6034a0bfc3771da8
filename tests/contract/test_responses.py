"""Responses through both official packages and plain HTTP, each body and each event held against OpenAI's document."""

import json
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from mainspring.api.openai import responses_answer
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import DIALECTS, GovernedTarget, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE

OVER = ("completed", "failed", "cancelled", "incomplete")
WEATHER: dict[str, Any] = {
    "type": "function", "name": "get_weather", "description": "The weather.", "strict": True,
    "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        "additionalProperties": False,
    },
}  # fmt: skip
CODE: dict[str, Any] = {"type": "custom", "name": "run", "description": "Runs code."}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("responses")) as found:
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http() as found:
        yield found


def make(client: httpx.Client, **body: Any) -> Any:
    """A response as the wire has it, checked if it is one."""
    answer = client.post("/v1/responses", json={"model": "fake", "input": "Hello", **body})
    if answer.status_code == 200:
        check("Response", answer.json())
        return answer.json()
    check("ErrorResponse", answer.json())
    return answer


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, each checked, with what every stream keeps to."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.split("\n\n")
    assert blocks.pop() == ""
    found: list[dict[str, Any]] = []
    for block in blocks:
        event, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert event == f"event: {found[-1]['type']}"
        check("ResponseStreamEvent", found[-1])
    numbers = [event["sequence_number"] for event in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    return found


def stream(client: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    return told(client.post("/v1/responses", json={"model": "fake", "input": "Hello", "stream": True, **body}))


def wait(client: httpx.Client, name: str) -> Any:
    for _ in range(400):
        body = client.get(f"/v1/responses/{name}").json()
        check("Response", body)
        if body["status"] in OVER:
            return body
        time.sleep(0.02)
    raise AssertionError(f"{name} is still {body['status']}")


def text_of(body: dict[str, Any]) -> str:
    return "".join(p["text"] for item in body["output"] if item["type"] == "message" for p in item["content"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_30_a_string_gives_a_completed_text(target: GovernedTarget, dialect: str) -> None:
    made = target.sdk(dialect).responses.create(model="fake", input="Hello")
    assert (made.status, made.object, made.model, made.error, made.background) == (
        "completed", "response", "fake", None, False,
    )  # fmt: skip
    assert made.output_text
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    check("Response", made.model_dump(exclude_unset=True, by_alias=True))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_items_31_and_32_a_stream_in_order_whose_deltas_are_the_text(target: GovernedTarget, dialect: str) -> None:
    events = list(target.sdk(dialect).responses.create(model="fake", input="Hello", stream=True))
    assert [event.type for event in events[:4]] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert [event.type for event in events[-4:]] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    done = next(event for event in events if event.type == "response.output_text.done")
    assert text == done.text == events[-1].response.output_text != ""
    whole = target.sdk(dialect).responses.create(model="fake", input="Hello")
    assert whole.output_text == text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_33_what_was_said_and_called_before_is_known(target: GovernedTarget, dialect: str) -> None:
    responses = target.sdk(dialect).responses
    first = responses.create(
        model="fake", input="My name is Ada. !call", tools=[WEATHER], instructions="Be kind.", tool_choice="required"
    )  # type: ignore[call-overload]
    (call,) = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": ""})
    with pytest.raises(openai.BadRequestError, match="No tool output found for the call"):
        responses.create(model="fake", input="And?", previous_response_id=first.id)
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    second = responses.create(model="fake", input=[output], previous_response_id=first.id)  # type: ignore[list-item]
    third = responses.create(model="fake", input="Who am I?", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [(each.role, each.content) for each in asked] == [
        ("user", "My name is Ada. !call"), ("assistant", ""), ("tool", "Rain."), ("assistant", second.output_text),
        ("user", "Who am I?"),
    ]  # fmt: skip
    assert asked[1].tool_calls[0].id == call.call_id == asked[2].tool_call_id
    with pytest.raises(openai.BadRequestError) as error:
        responses.create(model="fake", input="?", previous_response_id="resp_none")
    assert error.value.param == "previous_response_id"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_34_what_is_not_stored_is_not_found(target: GovernedTarget, dialect: str) -> None:
    responses = target.sdk(dialect).responses
    for streams in (False, True):
        made = responses.create(model="fake", input="Hello", store=False, stream=streams)
        made = [*made][-1].response if streams else made
        assert made.status == "completed"
        with pytest.raises(openai.NotFoundError):
            responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            responses.input_items.list(made.id)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_35_retrieve_delete_and_gone(target: GovernedTarget, dialect: str) -> None:
    responses = target.sdk(dialect).responses
    made = responses.create(model="fake", input="Hello", metadata={"a": "b"}, user="me")
    assert responses.retrieve(made.id) == made
    responses.delete(made.id)
    for call in (responses.retrieve, responses.delete, responses.cancel):
        with pytest.raises(openai.NotFoundError) as error:
            call(made.id)
        assert made.id in error.value.message


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_36_in_the_background_it_can_be_polled_and_cancelled_twice(target: GovernedTarget, dialect: str) -> None:
    responses = target.sdk(dialect).responses
    made = responses.create(model="fake", input="Hello", background=True)
    assert (made.status, made.background, made.output) == ("queued", True, [])
    for _ in range(400):
        found = responses.retrieve(made.id)
        if found.status == "completed":
            break
        assert found.status in ("queued", "in_progress")
        time.sleep(0.02)
    assert found.output_text == responses.create(model="fake", input="Hello").output_text
    assert responses.cancel(made.id) == found  # it is over: nothing happens
    hanging = responses.create(model="fake", input="Hello !hang after 12", background=True)
    for _ in range(400):
        if len([*_log(target, hanging.id, 3)]) >= 3:
            break
    first, second = responses.cancel(hanging.id), responses.cancel(hanging.id)
    assert first == second == responses.retrieve(hanging.id)
    assert first.status == "cancelled"
    assert first.output[0].status == "incomplete"  # type: ignore[union-attr]
    assert target.engine is not None
    assert target.engine.wait_idle(10)
    with pytest.raises(openai.BadRequestError):
        responses.cancel(responses.create(model="fake", input="Hello").id)


def _log(target: GovernedTarget, name: str, most: int) -> Generator[dict[str, Any]]:
    """The first deltas of a log, as they are written."""
    with target.http() as client, client.stream("GET", f"/v1/responses/{name}?stream=true") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and (event := json.loads(line[6:]))["type"].endswith("text.delta"):
                yield event
                most -= 1
                if not most:
                    return


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_37_a_stream_that_was_left_goes_on_where_it_was(target: GovernedTarget, dialect: str) -> None:
    responses = target.sdk(dialect).responses
    seen: list[Any] = []
    with responses.create(model="fake", input=f"Hi {dialect}", background=True, stream=True) as left:
        for event in left:
            seen.append(event)
            if len(seen) == 9:
                break
    for after in (seen[-1].sequence_number, 0):
        seen = [event for event in seen if event.sequence_number <= after]
        name = seen[0].response.id  # type: ignore[union-attr]
        seen += responses.retrieve(name, stream=True, starting_after=after)
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        assert [event.type for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]
        text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
        assert text == seen[-1].response.output_text == responses.retrieve(name).output_text  # type: ignore[union-attr]


class Answer(BaseModel):
    city: str
    degrees: int


def test_the_python_helpers_stream_and_parse(target: GovernedTarget) -> None:
    responses = target.sdk("openai").responses
    with responses.stream(model="fake", input="Hello", text_format=Answer) as found:
        kinds = [event.type for event in found]
        last = found.get_final_response()
    assert {"response.output_text.delta", "response.completed"} <= {*kinds}
    assert isinstance(last.output_parsed, Answer)
    parsed = responses.parse(model="fake", input="Hello", text_format=Answer)
    assert parsed.output_parsed == last.output_parsed
    assert parsed.text.format.type == "json_schema"  # type: ignore[union-attr]
    tool = openai.pydantic_function_tool(Answer)["function"]
    called = responses.parse(
        model="fake", input="!call", tools=[{"type": "function", **tool}], tool_choice="required"  # type: ignore[list-item, misc]
    )  # fmt: skip
    assert called.output[0].parsed_arguments == {"city": "", "degrees": 0}  # type: ignore[union-attr]
    background = responses.create(model="fake", input="Hello", background=True)
    with responses.stream(response_id=background.id) as again:
        assert again.get_final_response().output_text


@pytest.fixture(scope="module")
def seen(target: GovernedTarget) -> dict[str, Any]:
    return run([str(NODE), str(FOLDER / "responses.mjs")], target)


@pytest.mark.skipif(
    shutil.which("node") is None or not PACKAGE.exists(), reason="the npm package openai is not installed"
)
@pytest.mark.parametrize("name", ["openai", "azure", "azure_v1"])
def test_items_30_to_37_and_53_with_the_npm_package(seen: dict[str, Any], name: str) -> None:
    found = seen[name]
    check("Response", found["made"])
    assert found["made"]["status"] == "completed"
    assert found["outputText"]
    assert found["numbers"] == list(range(len(found["numbers"])))
    assert found["streamed"] == found["outputText"] == found["helper"]
    assert found["recalled"]["previous_response_id"] == found["made"]["id"]
    assert found["unstored"] == found["deleted"] == {"kind": "NotFoundError", "status": 404}
    assert (found["background"]["first"], found["background"]["last"]) == ("queued", "completed")
    assert found["resumed"]["numbers"] == list(range(len(found["resumed"]["numbers"])))
    assert found["resumed"]["text"] == found["resumed"]["whole"]
    assert found["parsed"] == {"city": "", "degrees": 0}
    assert len(set(found["items"])) == len(found["items"]) == 5
    assert found["conversation"] == {"items": 4, "deleted": True}


def test_item_53_input_items_in_pages(target: GovernedTarget, client: httpx.Client) -> None:
    given = [{"role": "user", "content": str(at)} for at in range(5)]
    made = make(client, input=given)
    items = target.sdk("openai").responses.input_items
    assert [each.content[0].text for each in items.list(made["id"], limit=2)] == ["4", "3", "2", "1", "0"]  # type: ignore[union-attr]
    assert [each.content[0].text for each in items.list(made["id"], order="asc", limit=2)] == [*"01234"]  # type: ignore[union-attr]
    page = client.get(f"/v1/responses/{made['id']}/input_items", params={"limit": 2}).json()
    check("ResponseItemList", page)
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, *(each["id"] for each in page["data"]))
    for query in ({"limit": "0"}, {"limit": "101"}, {"order": "up"}, {"after": "msg_none"}, {"include": "all"}):
        answer = client.get(f"/v1/responses/{made['id']}/input_items", params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


def test_every_kind_of_item_comes_out_and_goes_in_again(client: httpx.Client) -> None:
    tools = [WEATHER, CODE]
    events = stream(client, input="!think !call", tools=tools, tool_choice="required", include=[
        "reasoning.encrypted_content",
    ])  # fmt: skip
    kinds = [event["type"] for event in events]
    for kind in (
        "response.reasoning_text.delta", "response.reasoning_text.done", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    ):  # fmt: skip
        assert kind in kinds
    body = events[-1]["response"]
    thought, function, custom = body["output"]
    assert (thought["type"], function["type"], custom["type"]) == ("reasoning", "function_call", "custom_tool_call")
    assert (custom["input"], function["status"]) == ("1 + 1", "completed")
    assert thought["encrypted_content"]
    outputs = [
        {"type": "function_call_output", "call_id": function["call_id"], "output": "Rain"},
        {"type": "custom_tool_call_output", "call_id": custom["call_id"],
         "output": [{"type": "input_text", "text": "2"}]},
    ]  # fmt: skip
    second = make(client, input=[{"role": "user", "content": "!call"}, *body["output"], *outputs], tools=tools)
    assert second["status"] == "completed"
    page = client.get(f"/v1/responses/{second['id']}/input_items").json()
    check("ResponseItemList", page)
    assert "encrypted_content" not in page["data"][-2]
    summaries = stream(client, input="!think", reasoning={"effort": "low", "summary": "auto"})
    assert "response.reasoning_summary_text.delta" in [event["type"] for event in summaries]
    assert summaries[-1]["response"]["output"][0]["summary"][0]["text"] == "let me see"


def test_strict_is_what_a_schema_is_if_it_can_be(client: httpx.Client) -> None:
    tool = {key: value for key, value in WEATHER.items() if key != "strict"}
    loose = {**tool, "name": "loose", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    assert [each["strict"] for each in make(client, tools=[tool, loose])["tools"]] == [True, False]
    answer = make(client, tools=[{**loose, "strict": True}])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools[0].parameters")


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("auto", ["get_weather", "run"]),
        ({"type": "function", "name": "get_weather"}, ["get_weather"]),
        ({"type": "custom", "name": "run"}, ["run"]),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "run"}]}, ["run"]),
    ],
)
def test_tool_choice(client: httpx.Client, choice: Any, names: list[str]) -> None:
    made = make(client, input="!call", tools=[WEATHER, CODE], tool_choice=choice)
    assert [item["name"] for item in made["output"] if "name" in item] == names
    assert made["tool_choice"] == choice


def test_parallel_calls_may_be_refused(client: httpx.Client) -> None:
    made = make(client, input="!call", tools=[WEATHER, CODE], parallel_tool_calls=False)
    assert len(made["output"]) == 1
    assert made["parallel_tool_calls"] is False


def test_formats_and_limits(client: httpx.Client) -> None:
    schema = Answer.model_json_schema() | {"additionalProperties": False}
    wanted = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    assert json.loads(text_of(make(client, text={"format": wanted}))) == {"city": "", "degrees": 0}
    assert json.loads(text_of(make(client, text={"format": {"type": "json_object"}}))) == {"answer": "fake"}
    short = make(client, max_output_tokens=16)
    assert (short["status"], short["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (short["output"][0]["status"], short["usage"]["output_tokens"]) == ("incomplete", 16)
    events = stream(client, max_output_tokens=16)
    assert events[-1]["type"] == "response.incomplete"
    logged = make(client, top_logprobs=2, include=["message.output_text.logprobs"])
    logprobs = logged["output"][0]["content"][0]["logprobs"]
    assert len(logprobs) == logged["usage"]["output_tokens"]
    assert len(logprobs[0]["top_logprobs"]) == 2
    again = client.get(f"/v1/responses/{logged['id']}").json()
    assert again == logged


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"tools": [{"type": "image_generation"}]}, "tools[0].type"),
        ({"tools": [{"type": "teleport"}]}, "tools[0].type"),
        ({"reasoning": {"summary": "concise"}}, "reasoning.summary"),
        ({"background": True, "store": False}, "store"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "conversation"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "no"}}, "tool_choice"),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]},
         "input[0].content[0]"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_none"}]}, "input"),
        ({"input": [{"type": "compaction", "encrypted_content": "made up"}]}, "input"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"seed": 1}, "seed"),
        ({"temperature": 3}, "temperature"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}}},
         "text.format.schema"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", [{}, {"stream": True}, {"background": True}])
def test_what_is_refused_is_named(client: httpx.Client, body: dict[str, Any], param: str, how: dict[str, Any]) -> None:
    answer = make(client, **{**how, **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.json()


def test_an_early_failure_keeps_its_status_and_a_late_one_is_told(client: httpx.Client) -> None:
    alone = make(client, stream_options={"include_obfuscation": False})
    assert (alone.status_code, alone.json()["error"]["param"]) == (400, "stream_options")
    for more in ({}, {"stream": True}):
        answer = make(client, input="!raise Overloaded", **more)
        assert (answer.status_code, answer.headers["retry-after-ms"]) == (429, "1500")
    assert make(client, input="!raise Unavailable after 12").status_code == 503
    events = stream(client, input="!raise Unavailable after 12")
    assert events[-1]["type"] == "response.failed"
    failed = events[-1]["response"]
    assert (failed["error"]["code"], failed["output"][0]["status"]) == ("server_error", "incomplete")
    assert client.get(f"/v1/responses/{failed['id']}").json() == failed
    crashed = stream_raw(client, input="!crash after 12")
    assert crashed[-1]["type"] == "error"
    assert "secret" not in json.dumps(crashed)
    missing = client.post("/v1/responses", json={"model": "none", "input": "x"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def stream_raw(client: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    return told(client.post("/v1/responses", json={"model": "fake", "stream": True, **body}))


def test_failures_in_the_background_are_told_in_the_log(client: httpx.Client) -> None:
    made = make(client, input="!raise InvalidRequest after 12", background=True)
    failed = wait(client, made["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "invalid_prompt")
    assert failed["output"][0]["status"] == "incomplete"
    events = told(client.get(f"/v1/responses/{made['id']}", params={"stream": "true"}))
    assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", failed)


def test_padding_hides_lengths_unless_it_is_refused(client: httpx.Client) -> None:
    deltas = [each for each in stream(client) if each["type"].endswith(".delta")]
    assert {len(json.dumps(each, separators=(",", ":"), ensure_ascii=False).encode()) % 16 for each in deltas} == {
        len(b',"obfuscation":""') % 16
    }
    plain = stream(client, stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in each for each in plain)
    made = make(client, background=True)
    wait(client, made["id"])
    path = f"/v1/responses/{made['id']}"
    assert any("obfuscation" in each for each in told(client.get(path, params={"stream": "true"})))
    query = {"stream": "true", "include_obfuscation": "false"}
    assert not any("obfuscation" in each for each in told(client.get(path, params=query)))


def test_a_plain_stream_that_was_kept_can_be_read_again_and_one_that_did_not_stream_cannot(
    client: httpx.Client,
) -> None:
    events = stream(client, stream_options={"include_obfuscation": False})
    name = events[0]["response"]["id"]
    query = {"stream": "true", "include_obfuscation": "false"}
    assert told(client.get(f"/v1/responses/{name}", params=query)) == events
    assert told(client.get(f"/v1/responses/{name}", params={**query, "starting_after": 5})) == events[6:]
    assert told(client.get(f"/v1/responses/{name}", params={**query, "starting_after": 1000})) == []
    still = make(client)["id"]
    for path, param in (
        (f"/v1/responses/{still}?stream=true", "stream"),
        (f"/v1/responses/{still}?starting_after=1", "starting_after"),
        (f"/v1/responses/{name}?stream=true&starting_after=x", "starting_after"),
        (f"/v1/responses/{name}?stream=yes", "stream"),
        (f"/v1/responses/{name}?stream=true&include[]=message.output_text.logprobs", "include"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_who_leaves_a_plain_stream_ends_it(target: GovernedTarget) -> None:
    body = {"model": "fake", "input": "Hello !hang after 12", "stream": True}
    with target.http() as client, client.stream("POST", "/v1/responses", json=body) as answer:
        lines: list[str] = []
        for line in answer.iter_lines():
            lines.append(line)
            if "response.output_text.delta" in line:
                break
        assert target.engine is not None
        assert target.engine.wait_busy(30), lines
    assert target.engine.wait_idle(30)


def test_truncation_leaves_out_whole_turns_from_the_beginning(target: GovernedTarget, client: httpx.Client) -> None:
    long = "word " * 600
    given: list[dict[str, Any]] = [{"role": "developer", "content": "Stay."}]
    for at in range(4):
        call = {"type": "function_call", "call_id": f"c{at}", "name": "f", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": f"c{at}", "output": long}
        given += [{"role": "user", "content": f"turn {at}"}, call, output]
    given.append({"role": "user", "content": "last"})
    answer = make(client, input=given)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    made = make(client, input=given, truncation="auto")
    assert (made["status"], made["truncation"]) == ("completed", "auto")
    assert target.engine is not None
    roles = [message.role for message in target.engine.requests[-1].prompt.messages]  # type: ignore[union-attr]
    assert roles[:2] == ["developer", "user"]
    assert len(roles) < 14
    assert roles.count("assistant") == roles.count("tool")
    shorter = client.post("/v1/responses/input_tokens", json={"model": "fake", "input": given, "truncation": "auto"})
    check("TokenCountsResource", shorter.json())
    assert shorter.json()["input_tokens"] == made["usage"]["input_tokens"]


def test_input_tokens_are_those_of_the_response(client: httpx.Client) -> None:
    body = {"model": "fake", "input": "Hello there", "instructions": "Be kind.", "tools": [WEATHER]}
    counted = client.post("/v1/responses/input_tokens", json=body).json()
    check("TokenCountsResource", counted)
    assert counted["input_tokens"] == make(client, **body)["usage"]["input_tokens"]


def test_a_compaction_stands_for_what_was_said(target: GovernedTarget, client: httpx.Client) -> None:
    first = make(client, input="My name is Ada.")
    body = {"model": "fake", "previous_response_id": first["id"], "input": "And I live in Paris."}
    compact = client.post("/v1/responses/compact", json=body).json()
    check("CompactResource", compact)
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages[-1].content  # type: ignore[union-attr]
    assert "My name is Ada." in asked
    assert text_of(first) in asked
    made = make(client, input=[*compact["output"], {"role": "user", "content": "Who am I?"}])
    head, last = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert head.content.startswith("What was said before, in summary:\n")
    assert last.content == "Who am I?"
    assert make(client, input="Go on", previous_response_id=made["id"])["status"] == "completed"
    long = [{"role": "user", "content": f"{at} " + " the" * 700} for at in range(5)]
    halves = client.post("/v1/responses/compact", json={"model": "fake", "input": long})
    check("CompactResource", halves.json())
    assert client.post("/v1/responses/compact", json={"model": "fake"}).json()["error"]["param"] == "input"


def test_item_references_are_found_in_the_project(target: GovernedTarget, client: httpx.Client) -> None:
    made = make(client, input="Remember me.")
    item = client.get(f"/v1/responses/{made['id']}/input_items").json()["data"][0]
    again = make(client, input=[{"id": item["id"]}, {"role": "user", "content": "Well?"}])
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [each.content for each in asked] == ["Remember me.", "Well?"]
    assert again["status"] == "completed"


def test_no_project_sees_another_s(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("other"))
    mine, theirs = target.sdk("openai", target.make_key()), target.sdk("openai", target.make_key(project="other"))
    made = mine.responses.create(model="fake", input="Hello", background=True)
    conversation = mine.conversations.create()
    for call in (
        lambda: theirs.responses.retrieve(made.id),
        lambda: theirs.responses.retrieve(made.id, stream=True),
        lambda: theirs.responses.cancel(made.id),
        lambda: theirs.responses.delete(made.id),
        lambda: theirs.responses.input_items.list(made.id),
        lambda: theirs.conversations.retrieve(conversation.id),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        theirs.responses.create(model="fake", input="?", previous_response_id=made.id)
    with target.http() as client:
        found = wait(client, made.id)
        item = client.get(f"/v1/responses/{made.id}/input_items").json()["data"][0]
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        theirs.responses.create(model="fake", input=[{"type": "item_reference", "id": item["id"]}])
    assert found["status"] == "completed"


def test_azure_tells_what_its_filters_found_and_openai_does_not(target: GovernedTarget) -> None:
    with target.http() as client:
        body = {"model": "fake", "input": "Hello"}
        theirs = client.post("/openai/v1/responses", json=body).json()
        check("Response", theirs)
        found = theirs["content_filters"]
        assert [each["source_type"] for each in found] == ["prompt", "completion"]
        assert found[0]["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}
        path = f"responses/{theirs['id']}"
        assert client.get(f"/openai/{path}?api-version=2025-04-01-preview").json() == theirs
        assert "content_filters" not in client.get(f"/v1/{path}").json()
        streamed = client.post("/v1/responses", json={**body, "stream": True})
        assert b"content_filters" not in streamed.content
        told(streamed)
        assert b"content_filters" in client.post("/openai/v1/responses", json={**body, "stream": True}).content


def test_every_generation_is_in_the_ledger_and_under_the_key_s_limits(target: GovernedTarget) -> None:
    from mainspring.core.types import Limits

    limited = target.sdk("openai", target.make_key(limits=Limits(requests_per_minute=1)))
    limited.responses.create(model="fake", input="Hello")
    with pytest.raises(openai.RateLimitError):
        limited.responses.create(model="fake", input="Hello")


def test_places_of_the_engine_are_named_as_the_client_knows_them() -> None:
    from mainspring.core.errors import InvalidRequest

    error = InvalidRequest("In tools[0].function.parameters, no.", param="tools[0].function.parameters")
    assert responses_answer.placed(error).param == "tools[0].parameters"
    assert error.message == "In tools[0].parameters, no."


def test_the_document_describes_them(target: GovernedTarget) -> None:
    paths = target.app.openapi["paths"]
    assert Path("/v1/responses").as_posix() in paths
    assert "text/event-stream" in paths["/v1/responses/{response_id}"]["get"]["responses"]["200"]["content"]
