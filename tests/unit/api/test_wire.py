"""Bodies of requests: every field of OpenAI's is taken or refused by name, and mistakes are told in OpenAI's words."""

from typing import Any

import pytest
from pydantic import ValidationError

from mainspring.api.body import explain
from mainspring.api.openai import wire
from mainspring.core.errors import InvalidRequest
from tests.contract.spec import SPEC

HELLO = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "m", "messages": HELLO}
TEXT: dict[str, Any] = {"model": "m", "prompt": "x"}


def mistake(model: type[wire.Wire], body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    return explain(dict(caught.value.errors(include_url=False)[0]), body)


def fields(name: str) -> set[str]:
    schema = SPEC["$defs"][name]
    found = set(schema.get("properties", ()))
    for part in schema.get("allOf", ()):
        found |= fields(part["$ref"].rpartition("/")[2]) if "$ref" in part else set(part.get("properties", ()))
    return found


@pytest.mark.parametrize(
    ("model", "schema"),
    [(wire.ChatRequest, "CreateChatCompletionRequest"), (wire.CompletionRequest, "CreateCompletionRequest")],
)
def test_every_field_of_openai_is_known(model: type[wire.Wire], schema: str) -> None:
    missing = fields(schema) - set(model.model_fields)
    assert not missing, "a field that OpenAI has must be supported, or typed NotYet"


UNSUPPORTED: list[tuple[str, Any]] = [
    ("audio", {"voice": "alloy", "format": "wav"}),
    ("web_search_options", {}),
    ("verbosity", "low"),
    ("service_tier", "scale"),
]


@pytest.mark.parametrize(("field", "value"), UNSUPPORTED)
def test_what_is_not_supported_yet_is_named(field: str, value: Any) -> None:
    error = mistake(wire.ChatRequest, {**CHAT, field: value})
    assert (error.code, error.param) == ("unsupported_parameter", field)
    assert field in error.message
    assert wire.ChatRequest.model_validate({**CHAT, field: None})


def test_what_is_not_supported_yet_inside_of_messages_is_named() -> None:
    image = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    error = mistake(wire.ChatRequest, {**CHAT, "messages": [{"role": "user", "content": image}]})
    assert (error.code, error.param) == ("unsupported_parameter", "messages[0].content[1].type")
    calls = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]
    error = mistake(wire.ChatRequest, {**CHAT, "messages": calls})
    assert (error.code, error.param) == ("missing_required_parameter", "messages[1].tool_calls[0].type")
    error = mistake(wire.ChatRequest, {**CHAT, "modalities": ["audio"]})
    assert (error.code, error.param) == ("unsupported_parameter", "modalities[0]")


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"foo": 1}, "unknown_parameter", "foo"),
    ({"foo": None}, "unknown_parameter", "foo"),
    ({"stream_options": {"foo": 1}}, "unknown_parameter", "stream_options.foo"),
    ({"messages": [{"role": "user", "content": "x", "foo": 1}]}, "unknown_parameter", "messages[0].foo"),
    ({"messages": None}, "missing_required_parameter", "messages"),
    ({"messages": [{}]}, "missing_required_parameter", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "missing_required_parameter", "messages[0].tool_call_id"),
    ({"messages": [{"role": "god", "content": "x"}]}, "invalid_value", "messages[0].role"),
    ({"messages": []}, "array_below_min_length", "messages"),
    ({"messages": "hi"}, "invalid_type", "messages"),
    ({"messages": [5]}, "invalid_type", "messages[0]"),
    ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": {}}]}]}, "invalid_value", "messages[0].content[0].type"),
    ({"temperature": "1"}, "invalid_type", "temperature"),
    ({"temperature": 2.01}, "number_above_max_value", "temperature"),
    ({"temperature": -0.1}, "number_below_min_value", "temperature"),
    ({"top_p": 1.1}, "number_above_max_value", "top_p"),
    ({"n": 0}, "number_below_min_value", "n"),
    ({"n": 17}, "number_above_max_value", "n"),
    ({"n": True}, "invalid_type", "n"),
    ({"n": 1.0}, "invalid_type", "n"),
    ({"stream": 1}, "invalid_type", "stream"),
    ({"store": 0}, "invalid_type", "store"),
    ({"max_tokens": 0}, "number_below_min_value", "max_tokens"),
    ({"max_completion_tokens": 2**31}, "number_above_max_value", "max_completion_tokens"),
    ({"seed": 2**63}, "number_above_max_value", "seed"),
    ({"seed": 10**30}, "number_above_max_value", "seed"),
    ({"top_logprobs": 21}, "number_above_max_value", "top_logprobs"),
    ({"frequency_penalty": 3}, "number_above_max_value", "frequency_penalty"),
    ({"presence_penalty": -3}, "number_below_min_value", "presence_penalty"),
    ({"stop": ""}, "string_below_min_length", "stop"),
    ({"stop": ["a", ""]}, "string_below_min_length", "stop[1]"),
    ({"stop": list("abcde")}, "array_above_max_length", "stop"),
    ({"logit_bias": {"x": 1}}, "invalid_value", "logit_bias.x"),
    ({"logit_bias": {"٣": 1}}, "invalid_value", "logit_bias.٣"),
    ({"logit_bias": {"-1": 1}}, "invalid_value", "logit_bias.-1"),
    ({"logit_bias": {"1": 101}}, "number_above_max_value", "logit_bias.1"),
    ({"metadata": {"k": 1}}, "invalid_type", "metadata.k"),
    ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
    ({"response_format": {}}, "missing_required_parameter", "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "missing_required_parameter", "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
        "invalid_value",
        "response_format.json_schema.name",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "missing_required_parameter",
        "response_format.json_schema.schema",
    ),
]


@pytest.mark.parametrize(("change", "code", "param"), MISTAKES)
def test_mistakes_in_chats(change: dict[str, Any], code: str, param: str) -> None:
    error = mistake(wire.ChatRequest, {**CHAT, **change})
    assert (error.code, error.param) == (code, param)
    assert param in error.message


TEXT_MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": None}, "missing_required_parameter", "prompt"),
    ({"prompt": []}, "array_below_min_length", "prompt"),
    ({"prompt": ["a", 1]}, "invalid_type", "prompt[1]"),
    ({"prompt": [1, "a"]}, "invalid_type", "prompt[1]"),
    ({"prompt": [1, -1]}, "number_below_min_value", "prompt[1]"),
    ({"prompt": [2**31]}, "number_above_max_value", "prompt[0]"),
    ({"prompt": [[1], []]}, "array_below_min_length", "prompt[1]"),
    ({"prompt": [[1], "a"]}, "invalid_type", "prompt[1]"),
    ({"prompt": [True]}, "invalid_type", "prompt[0]"),
    ({"prompt": ["x"] * 2049}, "array_above_max_length", "prompt"),
    ({"logprobs": 6}, "number_above_max_value", "logprobs"),
    ({"best_of": 21}, "number_above_max_value", "best_of"),
    ({"model": None}, "missing_required_parameter", "model"),
]


@pytest.mark.parametrize(("change", "code", "param"), TEXT_MISTAKES)
def test_mistakes_in_completions(change: dict[str, Any], code: str, param: str) -> None:
    error = mistake(wire.CompletionRequest, {**TEXT, **change})
    assert (error.code, error.param) == (code, param)


def test_the_path_names_the_model_in_classic_azure() -> None:
    assert wire.DeploymentChatRequest.model_validate({"messages": HELLO}).model is None
    assert mistake(wire.ChatRequest, {"messages": HELLO}).param == "model"
