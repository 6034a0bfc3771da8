"""The conformance checklist, items 12-15 and 17, with the official clients: tools, functions, thoughts, predictions."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openai import BadRequestError

from tests.contract.spec import check
from tests.contract.target import Target, events

ASK: list[Any] = [{"role": "user", "content": "What is the weather in Paris? !call"}]
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"type": "string", "enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather of a city", "parameters": PARAMETERS},
}
NOW: Any = {"type": "function", "function": {"name": "now"}}
SUM: Any = {
    "type": "custom",
    "custom": {
        "name": "sum",
        "description": "Adds",
        "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": r"[0-9]{1,3} \+ [0-9]{1,3}"}},
    },
}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def test_item_12_a_required_call_has_valid_arguments(target: Target, dialect: str) -> None:
    raw = target.sdk(dialect).chat.completions.with_raw_response.create(
        model=target.model, messages=ASK, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False,
        max_tokens=120,
    )  # fmt: skip
    check("CreateChatCompletionResponse", json.loads(raw.text))
    choice = raw.parse().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.id
    assert isinstance(call.function.arguments, str)
    Draft202012Validator(PARAMETERS).validate(json.loads(call.function.arguments))


def test_item_12_ids_are_unique(fake: Target, dialect: str) -> None:
    body = {"messages": ASK, "tools": [WEATHER, NOW], "n": 2}
    choices = fake.post(body, dialect=dialect).json()["choices"]
    ids = [call["id"] for choice in choices for call in choice["message"]["tool_calls"]]
    assert len(ids) == len(set(ids)) == 4


def test_item_13_streamed_calls_have_distinct_indexes(fake: Target, dialect: str) -> None:
    body = {"messages": ASK, "tools": [WEATHER, NOW], "tool_choice": "required", "stream": True}
    *chunks, last = events(fake.post(body, dialect=dialect))
    assert last == "[DONE]"
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
        for delta in chunk["choices"][0]["delta"].get("tool_calls", []):
            if delta["index"] not in calls:
                assert delta["type"] == "function"
                calls[delta["index"]] = {"id": delta["id"], "name": delta["function"]["name"], "arguments": ""}
            else:
                assert "id" not in delta  # told once
                assert "name" not in delta["function"]
            calls[delta["index"]]["arguments"] += delta["function"]["arguments"]
    assert sorted(calls) == [0, 1]
    assert [call["name"] for call in calls.values()] == ["get_weather", "now"]
    assert len({call["id"] for call in calls.values()}) == 2
    Draft202012Validator(PARAMETERS).validate(json.loads(calls[0]["arguments"]))
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_item_13_the_official_client_folds_a_stream_of_calls(target: Target, dialect: str) -> None:
    client = target.sdk(dialect)
    with client.chat.completions.stream(
        model=target.model, messages=ASK, tools=[{**WEATHER, "function": {**WEATHER["function"], "strict": True}}],
        tool_choice=named("get_weather"), max_tokens=120,
    ) as stream:  # fmt: skip
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.function.name == "get_weather"
    assert set(call.function.parsed_arguments or {}) == {"city", "unit"}


def test_item_14_a_result_leads_to_an_answer(target: Target, dialect: str) -> None:
    client = target.sdk(dialect)
    first = client.chat.completions.create(
        model=target.model, messages=ASK, tools=[WEATHER], tool_choice=named("get_weather"), max_tokens=120
    )
    message = first.choices[0].message
    (call,) = message.tool_calls or []
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "sky": "clear"}'}
    second = client.chat.completions.create(
        model=target.model, messages=[*ASK, message, result], tools=[WEATHER], tool_choice="none", max_tokens=30
    )
    assert second.choices[0].message.content
    assert second.choices[0].message.tool_calls is None
    assert second.choices[0].finish_reason in ("stop", "length")


def test_item_15_none_forbids_calls(target: Target, dialect: str) -> None:
    body = {"messages": ASK, "tools": [WEATHER], "tool_choice": "none", "max_tokens": 30, "temperature": 0}
    message = target.post(body, dialect=dialect).json()["choices"][0]["message"]
    assert "tool_calls" not in message
    assert message["content"]


def test_item_15_a_named_tool_is_the_one(target: Target, dialect: str) -> None:
    tools = [NOW, WEATHER]
    body = {"messages": ASK, "tools": tools, "tool_choice": named("get_weather"), "max_tokens": 120}
    calls = target.post(body, dialect=dialect).json()["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather"]


def test_item_15_allowed_tools_are_the_only_ones(target: Target) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("now")]}}
    body = {
        "messages": ASK, "tools": [WEATHER, NOW], "tool_choice": choice, "parallel_tool_calls": False, "max_tokens": 60
    }  # fmt: skip
    calls = target.post(body).json()["choices"][0]["message"]["tool_calls"]
    assert [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls] == [("now", {})]


def test_custom_tools_take_text_that_matches(target: Target, dialect: str) -> None:
    choice = {"type": "custom", "custom": {"name": "sum"}}
    body = {"messages": ASK, "tools": [SUM], "tool_choice": choice, "max_tokens": 60}
    answer = target.post(body, dialect=dialect).json()
    check("CreateChatCompletionResponse", answer)
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["type"] == "custom"
    left, plus, right = call["custom"]["input"].split(" ")
    assert (left.isdigit(), plus, right.isdigit()) == (True, "+", True)
    told = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "2"}
    body = {"messages": [*ASK, told, result], "tools": [SUM], "tool_choice": "none", "max_tokens": 10}
    assert target.post(body).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_functions_are_the_older_form(target: Target, dialect: str, stream: bool) -> None:
    body = {
        "messages": ASK,
        "functions": [WEATHER["function"]],
        "function_call": {"name": "get_weather"},
        "max_tokens": 120,
        "stream": stream,
    }
    response = target.post(body, dialect=dialect)
    if stream:
        chunks = events(response)[:-1]
        for chunk in chunks:
            check("CreateChatCompletionStreamResponse", chunk)
        deltas = [chunk["choices"][0]["delta"].get("function_call", {}) for chunk in chunks]
        name = "".join(delta.get("name", "") for delta in deltas)
        arguments = "".join(delta.get("arguments", "") for delta in deltas)
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        check("CreateChatCompletionResponse", response.json())
        choice = response.json()["choices"][0]
        name, arguments = choice["message"]["function_call"]["name"], choice["message"]["function_call"]["arguments"]
        reason = choice["finish_reason"]
        assert "tool_calls" not in choice["message"]
    assert (name, reason) == ("get_weather", "function_call")
    Draft202012Validator(PARAMETERS).validate(json.loads(arguments))
    called = {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}}
    result = {"role": "function", "name": name, "content": "sunny"}
    body = {"messages": [*ASK, called, result], "functions": [WEATHER["function"]], "function_call": "none"}
    assert target.post({**body, "max_tokens": 10}).json()["choices"][0]["message"]["content"]


def test_item_17_a_function_that_is_not_strict_is_refused_with_its_path(target: Target, dialect: str) -> None:
    loose = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}, "required": ["a"]}
    loose["additionalProperties"] = False
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": loose, "strict": True}}
    with pytest.raises(BadRequestError) as caught:
        target.sdk(dialect).chat.completions.create(model=target.model, messages=ASK, tools=[tool])
    assert caught.value.param == "tools[0].function.parameters.properties.a"
    assert caught.value.code == "invalid_function_parameters"


def result(id_: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": "x"}


CALLED: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [NOW], "tool_choice": named("other")}, "tool_choice.function.name"),
        ({"tools": [NOW, NOW]}, "tools[1]"),
        ({"tools": [NOW], "functions": [NOW["function"]]}, "functions"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [NOW], "tool_choice": "sometimes"}, "tool_choice"),
        ({"functions": [NOW["function"]], "function_call": {"name": "other"}}, "function_call"),
        ({"messages": [*ASK, result("a")]}, "messages[1].tool_call_id"),
        ({"messages": [*ASK, CALLED, *ASK]}, "messages[2].role"),
        ({"messages": [*ASK, CALLED, result("b")]}, "messages[2].tool_call_id"),
        ({"messages": [*ASK, {"role": "assistant"}]}, "messages[1].content"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
         "tools[0].function.parameters"),
    ],
)  # fmt: skip
def test_mistakes_are_named(fake: Target, fields: dict[str, Any], param: str) -> None:
    response = fake.post({"messages": ASK, **fields})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    check("ErrorResponse", response.json())


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_apart_from_the_answer(fake: Target, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "!think"}], "max_tokens": 8, "stream": stream}
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in events(fake.post(body))[:-1]]
        thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
        content = "".join(delta.get("content", "") for delta in deltas)
    else:
        answer = fake.post(body).json()
        thought, content = (answer["choices"][0]["message"][key] for key in ("reasoning_content", "content"))
        assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
    assert thought == "let me see"
    assert content
    assert thought not in content


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high"}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
    ],
)
def test_thinking_can_be_turned_off(fake: Target, fields: dict[str, Any], thinking: bool | None) -> None:
    assert fake.engine is not None
    fake.chat("Hi", max_tokens=1, **fields)
    assert fake.engine.requests[-1].prompt.thinking is thinking


@pytest.mark.parametrize(("wanted", "served"), [("flex", "flex"), ("priority", "priority"), ("auto", "default")])
def test_the_tier_is_echoed(target: Target, wanted: str, served: str) -> None:
    assert target.chat("Hi", max_tokens=2, service_tier=wanted).json()["service_tier"] == served
    chunks = events(target.chat("Hi", max_tokens=2, service_tier=wanted, stream=True))[:-1]
    assert {chunk["service_tier"] for chunk in chunks} == {served}


def test_predictions_are_accounted_for(target: Target) -> None:
    predicted = "one two three four five six seven eight nine ten"
    asked = [{"role": "user", "content": f"Repeat: {predicted}"}]
    body = {"messages": asked, "max_tokens": 24, "prediction": {"type": "content", "content": predicted}}
    details = target.post({**body, "temperature": 0}).json()["usage"]["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] >= 0
    assert details["rejected_prediction_tokens"] >= 0
    parts = [{"type": "text", "text": predicted}]
    assert target.post({**body, "prediction": {"type": "content", "content": parts}}).status_code == 200


@pytest.mark.model
def test_a_regular_expression_or_a_grammar_binds_the_answer(model_target: Target) -> None:
    bound = model_target.chat("Is it sunny?", response_format={"type": "regex", "regex": "(yes|no), [a-z]{3}/x"})
    answer = bound.json()["choices"][0]["message"]["content"]
    assert answer.split(",")[0] in ("yes", "no")
    assert answer.endswith("/x")
    lark = {"type": "grammar", "grammar": 'start: "a" B+\nB: "b"'}
    assert set(
        model_target.chat("Hi", response_format=lark, max_tokens=5).json()["choices"][0]["message"]["content"][1:]
    ) == {"b"}
    for kind, broken in (("regex", "(a"), ("grammar", "start: missing")):
        response = model_target.chat("Hi", response_format={"type": kind, kind: broken})
        assert (response.status_code, response.json()["error"]["param"]) == (400, "response_format")


@pytest.mark.model
def test_what_cannot_be_enforced_is_refused_with_its_path(model_target: Target) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"not": {"type": "string"}}}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    error = model_target.chat("Hi", response_format=wanted).json()["error"]
    assert error["param"] == "response_format.json_schema.schema.properties.a.items"
    assert "not" in error["message"]
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    error = model_target.chat("Hi", tools=[tool], tool_choice="required").json()["error"]
    assert error["param"] == "tools[0].function.parameters.properties.a.items"
    assert model_target.chat("Hi", tools=[tool], max_tokens=2).status_code == 200  # nothing was promised
