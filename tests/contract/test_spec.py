"""The checker itself: it must accept what OpenAI sends and refuse what OpenAI would never send."""

import copy

import pytest
from jsonschema import Draft202012Validator

from tests.contract.spec import SPEC, check

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
TEXT_CHUNK = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "text": "a", "finish_reason": None, "logprobs": None}],
    "usage": None,
}


def test_every_schema_is_valid_json_schema() -> None:
    for schema in SPEC["$defs"].values():
        Draft202012Validator.check_schema(schema)


def test_accepts_a_chat_completion() -> None:
    check("CreateChatCompletionResponse", CHAT)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("choices", 0, "finish_reason"), "", "$.choices[0].finish_reason"),
        (("choices", 0, "finish_reason"), None, "$.choices[0].finish_reason"),
        (("choices", 0, "message", "content"), 5, "$.choices[0].message.content"),
        (("usage", "total_tokens"), "2", "$.usage.total_tokens"),
        (("object",), "chat.completion.chunk", "$.object"),
    ],
)
def test_refuses_a_wrong_value_and_names_its_place(path: tuple[str | int, ...], value: object, place: str) -> None:
    body = copy.deepcopy(CHAT)
    target = body
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    with pytest.raises(AssertionError) as caught:
        check("CreateChatCompletionResponse", body)
    assert place in str(caught.value)


def test_refuses_a_missing_field() -> None:
    body = copy.deepcopy(CHAT)
    del body["choices"][0]["message"]["refusal"]
    with pytest.raises(AssertionError, match="refusal"):
        check("CreateChatCompletionResponse", body)


def test_streamed_text_may_have_no_finish_reason_yet_but_whole_text_must() -> None:
    check("CreateCompletionStreamResponse", TEXT_CHUNK)
    with pytest.raises(AssertionError, match="finish_reason"):
        check("CreateCompletionResponse", {**TEXT_CHUNK, "usage": CHAT["usage"]})


def test_nullable_fields_of_a_chunk_take_null() -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": None, "logprobs": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    check("CreateChatCompletionStreamResponse", {**chunk, "usage": None})
    with pytest.raises(AssertionError, match="finish_reason"):
        check("CreateChatCompletionStreamResponse", {**chunk, "choices": [{**choice, "finish_reason": ""}]})


def test_an_error_has_all_four_keys() -> None:
    check("ErrorResponse", {"error": {"message": "no", "type": "t", "param": None, "code": None}})
    with pytest.raises(AssertionError, match="param"):
        check("ErrorResponse", {"error": {"message": "no", "type": "t", "code": None}})


def test_an_unknown_schema_name_is_a_mistake_of_the_test() -> None:
    with pytest.raises(KeyError):
        check("Nope", {})
