"""The conformance checklist, items 1-10, 16-21, 27-29 and 55, with the official clients over a real socket."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openai import BadRequestError

from tests.contract.spec import check
from tests.contract.target import Target, events

HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["Ada", "Grace"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 2},
        "born": {"anyOf": [{"type": "integer", "minimum": 1800, "maximum": 1999}, {"type": "null"}]},
    },
    "required": ["name", "tags", "born"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "enum": ["a", "b"]}},
}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}


def test_items_01_02_03_chat_works_in_every_dialect(target: Target, dialect: str) -> None:
    raw = target.sdk(dialect).chat.completions.with_raw_response.create(
        model=target.model, messages=HELLO, max_tokens=8
    )
    check("CreateChatCompletionResponse", json.loads(raw.text))
    answer = raw.parse()
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 8
    assert answer.usage.prompt_tokens > 0
    assert answer.model == target.model


async def test_items_01_02_03_chat_works_with_async_clients(target: Target, dialect: str) -> None:
    async with target.async_sdk(dialect) as client:
        answer = await client.chat.completions.create(model=target.model, messages=HELLO, max_tokens=8)
        assert answer.choices[0].message.content
        stream = await client.chat.completions.create(model=target.model, messages=HELLO, max_tokens=8, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert text


@pytest.mark.parametrize("header", ["api-key", "Authorization"])
def test_item_04_both_headers_authenticate_every_dialect(target: Target, dialect: str, header: str) -> None:
    value = target.key if header == "api-key" else f"Bearer {target.key}"
    with target.http() as client:
        del client.headers["api-key"]
        body = {"model": target.model, "messages": HELLO, "max_tokens": 1}
        path = target.path(dialect, "chat/completions")
        assert client.post(path, json=body, headers={header: value}).status_code == 200
        assert client.post(path, json=body).status_code == 401


def test_items_07_08_09_stream_of_chunks(target: Target, dialect: str) -> None:
    body = {"messages": HELLO, "max_tokens": 6, "stream": True}
    *chunks, last = events(target.post(body, dialect=dialect))
    assert last == "[DONE]"
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert "".join(choice["delta"].get("content", "") for choice in choices)
    *earlier, finish = [choice["finish_reason"] for choice in choices]
    assert finish in ("stop", "length")
    assert earlier == [None] * len(earlier)  # null, never ""
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)


def test_item_07_stream_with_the_official_client(target: Target, dialect: str) -> None:
    client = target.sdk(dialect)
    stream = client.chat.completions.create(model=target.model, messages=HELLO, max_tokens=6, stream=True)
    chunks = [chunk for chunk in stream if chunk.choices]  # the first of Azure's has none
    assert chunks[0].choices[0].delta.role == "assistant"
    assert sum(chunk.choices[0].finish_reason is not None for chunk in chunks) == 1


def test_item_10_include_usage_sends_one_trailing_chunk(target: Target, dialect: str) -> None:
    options = {"include_usage": True}
    body = {"messages": HELLO, "max_tokens": 4, "n": 2, "stream": True, "stream_options": options}
    *chunks, usage, last = events(target.post(body, dialect=dialect))
    assert last == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + usage["usage"]["completion_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks)
    check("CreateChatCompletionStreamResponse", usage)


def test_streams_say_what_whole_answers_say(target: Target) -> None:
    body = {"messages": HELLO, "max_tokens": 12, "temperature": 0, "seed": 7}
    whole = target.post(body).json()
    chunks = events(target.post({**body, "stream": True, "stream_options": {"include_usage": True}}))[:-1]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_obfuscation_levels_the_size_of_chunks(target: Target) -> None:
    body = {"messages": HELLO, "max_tokens": 8, "stream": True, "seed": 1}
    deltas = [c for c in events(target.post(body))[:-1] if c["choices"][0]["finish_reason"] is None]
    assert all(chunk["obfuscation"] for chunk in deltas)
    sizes = [
        len(json.dumps(c["choices"][0]["delta"].get("content", ""), ensure_ascii=False).encode()) - 2 for c in deltas
    ]
    assert all((size + len(c["obfuscation"])) % 16 == 0 for size, c in zip(sizes, deltas, strict=True))
    plain = events(target.post({**body, "stream_options": {"include_obfuscation": False}}))[:-1]
    assert all("obfuscation" not in chunk for chunk in plain)


def test_item_16_strict_schemas_are_obeyed(target: Target, dialect: str) -> None:
    raw = target.sdk(dialect).chat.completions.with_raw_response.create(
        model=target.model, messages=HELLO, response_format=strict(SCHEMA), max_tokens=200
    )
    check("CreateChatCompletionResponse", json.loads(raw.text))
    choice = raw.parse().choices[0]
    assert choice.finish_reason == "stop"
    Draft202012Validator(SCHEMA).validate(json.loads(choice.message.content or ""))


def test_item_17_a_schema_that_is_not_strict_is_refused_with_its_path(target: Target, dialect: str) -> None:
    loose = {**SCHEMA, "properties": {**SCHEMA["properties"], "born": {"type": "object", "properties": {}}}}
    with pytest.raises(BadRequestError) as caught:
        target.sdk(dialect).chat.completions.create(
            model=target.model, messages=HELLO, response_format=strict(loose), max_tokens=4
        )
    assert caught.value.param == "response_format.json_schema.schema.properties.born"
    assert "properties.born" in caught.value.message


def test_item_18_json_object_output_parses(target: Target) -> None:
    asked = [{"role": "user", "content": "Answer with the JSON object {} and nothing else."}]
    body = {"messages": asked, "response_format": {"type": "json_object"}, "max_tokens": 60, "temperature": 0}
    choice = target.post(body).json()["choices"][0]
    if choice["finish_reason"] == "stop":  # a small model may fill its limit with a long object
        assert isinstance(json.loads(choice["message"]["content"]), dict)
    else:
        assert choice["message"]["content"].lstrip().startswith("{")


def test_item_19_stop_sequences_end_and_are_left_out(target: Target, dialect: str) -> None:
    body = {"messages": HELLO, "max_tokens": 16, "temperature": 0}
    text = target.post(body, dialect=dialect).json()["choices"][0]["message"]["content"]
    middle = text[len(text) // 2 : len(text) // 2 + 2]
    stops = ["never-said-1", "never-said-2", "never-said-3", middle]
    choice = target.post({**body, "stop": stops}, dialect=dialect).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert middle not in choice["message"]["content"]
    assert text.startswith(choice["message"]["content"])
    streamed = events(target.post({**body, "stop": middle, "stream": True}, dialect=dialect))[:-1]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in streamed) == choice["message"]["content"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_item_20_limits_are_respected(target: Target, dialect: str, field: str) -> None:
    body = {"messages": [{"role": "user", "content": "Count from one to a hundred in words."}], field: 3}
    answer = target.post(body, dialect=dialect).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_item_21_a_prompt_longer_than_the_context_is_refused(target: Target, dialect: str) -> None:
    endless = [{"role": "user", "content": "word " * (target.context_length * 2)}]
    response = target.post({"messages": endless, "max_tokens": 4}, dialect=dialect)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert str(target.context_length) in error["message"]
    check("ErrorResponse", response.json())


@pytest.mark.parametrize("num_top", [0, 5, 20])
def test_item_27_logprobs(target: Target, dialect: str, num_top: int) -> None:
    raw = target.sdk(dialect).chat.completions.with_raw_response.create(
        model=target.model, messages=HELLO, max_tokens=5, logprobs=True, top_logprobs=num_top, temperature=0
    )
    check("CreateChatCompletionResponse", json.loads(raw.text))
    answer = raw.parse()
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content
    for token in choice.logprobs.content:
        assert token.logprob <= 0
        assert bytes(token.bytes or []).decode("utf-8", "replace") == token.token
        assert len(token.top_logprobs) == num_top
        ranked = [top.logprob for top in token.top_logprobs]
        assert ranked == sorted(ranked, reverse=True)
    text = b"".join(bytes(token.bytes or []) for token in choice.logprobs.content).decode("utf-8", "replace")
    assert text.startswith(choice.message.content or "")


def test_item_27_logprobs_in_streams(target: Target) -> None:
    body = {"messages": HELLO, "max_tokens": 5, "logprobs": True, "top_logprobs": 2, "stream": True}
    chunks = events(target.post(body))[:-1]
    told = [chunk["choices"][0]["logprobs"]["content"] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    assert 0 < sum(len(content) for content in told) <= 5
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)


def test_item_28_choices_have_their_own_index(target: Target, dialect: str) -> None:
    body = {"messages": HELLO, "max_tokens": 4, "n": 3}
    answer = target.post(body, dialect=dialect).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] <= 12
    chunks = events(target.post({**body, "stream": True}, dialect=dialect))[:-1]
    for index in range(3):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert [choice["finish_reason"] for choice in own if choice["finish_reason"]] == [own[-1]["finish_reason"]]


def test_item_29_seed_and_temperature_0_repeat(target: Target, dialect: str) -> None:
    body = {"messages": HELLO, "max_tokens": 12, "temperature": 0, "seed": 42}
    first, second = (target.post(body, dialect=dialect).json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["system_fingerprint"] == second["system_fingerprint"]
    assert first["system_fingerprint"].startswith("fp_")


def test_item_29_a_seed_repeats_at_temperature_1(target: Target) -> None:
    body = {"messages": HELLO, "max_tokens": 12, "temperature": 1, "seed": 42}
    first, second = (target.post(body).json() for _ in range(2))
    assert first["choices"][0]["message"] == second["choices"][0]["message"]


def test_item_55_headers_of_every_inference_answer(target: Target, dialect: str) -> None:
    for stream in (False, True):
        headers = target.post({"messages": HELLO, "max_tokens": 2, "stream": stream}, dialect=dialect).headers
        assert headers["x-request-id"] == headers["apim-request-id"]
        assert headers["x-ms-deployment-name"] == target.model
        assert headers["x-accel-buffering"] == "no"
        assert int(headers["openai-processing-ms"]) >= 0
        for kind in ("requests", "tokens"):
            limit, rest = (int(headers[f"x-ratelimit-{name}-{kind}"]) for name in ("limit", "remaining"))
            assert 0 <= rest <= limit
            reset = headers[f"x-ratelimit-reset-{kind}"]
            assert reset.removesuffix("s").isdigit()
            assert reset.endswith("s") == (dialect == "openai")


def test_cached_tokens_are_reported(target: Target) -> None:
    body = {"messages": [{"role": "user", "content": "Once upon a time " * 40}], "max_tokens": 2}
    target.post(body)
    usage = target.post(body).json()["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_roles_and_text_parts(target: Target) -> None:
    conversation = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {"role": "system", "content": "Be kind.", "name": "house"},
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": None},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Let me see."}],
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
        {"role": "user", "content": [{"type": "text", "text": "Go on."}]},
    ]
    assert target.post({"messages": conversation, "max_tokens": 2}).status_code == 200


def test_an_answer_can_be_sent_back_as_it_came(target: Target) -> None:
    client = target.sdk("openai")
    message = client.chat.completions.create(model=target.model, messages=HELLO, max_tokens=4).choices[0].message
    again = [*HELLO, message, {"role": "user", "content": "Go on."}]
    assert client.chat.completions.create(model=target.model, messages=again, max_tokens=4).choices


def test_labels_change_nothing(target: Target) -> None:
    body = {"messages": HELLO, "max_tokens": 4, "temperature": 0}
    labels = {
        "user": "u",
        "metadata": {"a": "b"},
        "safety_identifier": "s",
        "prompt_cache_key": "p",
        "store": False,
        "service_tier": "auto",
        "modalities": ["text"],
        "tools": None,
        "stop": None,
    }
    plain, labelled = target.post(body).json(), target.post({**body, **labels}).json()
    assert plain["choices"] == labelled["choices"]
    assert labelled["service_tier"] == "default"


def test_logit_bias_bans_and_forces(target: Target) -> None:
    body = {"prompt": "One two", "max_tokens": 3, "temperature": 0}
    answer = target.post({**body, "logit_bias": {"65": 100}, "logprobs": 1}, "completions").json()
    tokens = answer["choices"][0]["logprobs"]["tokens"]
    assert len(set(tokens)) == 1
