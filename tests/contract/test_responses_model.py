"""Responses on the default model, for what the fake cannot do: real tokens, schemas, tools."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from tests.contract.spec import check
from tests.contract.target import Target

pytestmark = pytest.mark.model


class Answer(BaseModel):
    city: str
    is_capital: bool


def test_a_response_and_its_stream(model_target: Target) -> None:
    responses = model_target.sdk("openai").responses
    asked: dict[str, Any] = {"model": model_target.model, "input": "What is the capital of France?", "temperature": 0}
    made = responses.create(**asked, max_output_tokens=32)
    check("Response", made.model_dump(exclude_unset=True, by_alias=True))
    assert made.output_text
    events = list(responses.create(**asked, max_output_tokens=32, stream=True))
    for event in events:
        check("ResponseStreamEvent", event.model_dump(exclude_unset=True, by_alias=True))
    # Not that of `made`: sums are rounded otherwise from the cache, and two first words are nearly as likely.
    told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].response.output_text == told
    counted = responses.input_tokens.count(model=model_target.model, input="What is the capital of France?")
    assert made.usage is not None
    assert counted.input_tokens == made.usage.input_tokens
    after = responses.create(
        model=model_target.model,
        input="And of Italy?",
        previous_response_id=made.id,
        temperature=0,
        max_output_tokens=32,
    )
    assert after.usage is not None
    assert after.usage.input_tokens_details.cached_tokens >= made.usage.input_tokens  # the chain is its prefix


def test_bound_answers_and_calls(model_target: Target) -> None:
    responses = model_target.sdk("openai").responses
    parsed = responses.parse(
        model=model_target.model, input="Describe Paris as JSON.", text_format=Answer, temperature=0
    )
    assert isinstance(parsed.output_parsed, Answer)
    tool: Any = {"type": "function", "name": "describe", "parameters": Answer.model_json_schema() | {
        "additionalProperties": False}, "strict": True}  # fmt: skip
    called = responses.create(
        model=model_target.model, input="Describe Paris.", tools=[tool], tool_choice="required", temperature=0
    )
    (call,) = [item for item in called.output if item.type == "function_call"][:1]
    assert Answer.model_validate(json.loads(call.arguments))
    background = responses.create(model=model_target.model, input="Say hello.", background=True, max_output_tokens=32)
    *_, last = responses.retrieve(background.id, stream=True)
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text
