"""completions: checklist items 26 and 28, prompts in every form, best_of, streams."""

import json
from typing import Any

import pytest

from tests.contract.spec import check
from tests.contract.target import Target, events


def complete(target: Target, dialect: str = "openai", **fields: Any) -> dict[str, Any]:
    response = target.post(fields, "completions", dialect)
    assert response.status_code == 200, response.text
    check("CreateCompletionResponse", response.json())
    return response.json()


def test_completions_with_the_official_client(target: Target, dialect: str) -> None:
    raw = target.sdk(dialect).completions.with_raw_response.create(model=target.model, prompt="One two", max_tokens=4)
    check("CreateCompletionResponse", json.loads(raw.text))
    answer = raw.parse()
    assert answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 4
    assert answer.id.startswith("cmpl-")


def test_sixteen_tokens_by_default(target: Target) -> None:
    assert complete(target, prompt="Once upon a time")["usage"]["completion_tokens"] <= 16


def test_item_26_echo_and_logprobs_align(target: Target, dialect: str) -> None:
    prompt = "One two three four"
    answer = complete(target, dialect, prompt=prompt, echo=True, logprobs=2, max_tokens=5, temperature=0)
    choice = answer["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"].startswith(prompt)
    lengths = {len(logprobs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    assert lengths == {answer["usage"]["total_tokens"]}
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        if "\ufffd" not in token:
            assert choice["text"][offset : offset + len(token)] == token
    for token, value, top in list(
        zip(*(logprobs[n] for n in ("tokens", "token_logprobs", "top_logprobs")), strict=True)
    )[1:]:
        assert top[token] == value <= 0


def test_item_26_echo_alone_scores_a_text(target: Target) -> None:
    answer = complete(target, prompt="One two three", echo=True, logprobs=0, max_tokens=0)
    assert answer["choices"][0]["text"] == "One two three"
    assert answer["usage"]["completion_tokens"] == 0
    assert answer["choices"][0]["finish_reason"] == "length"


def test_item_26_echo_in_streams(target: Target) -> None:
    body = {"prompt": "One two three", "echo": True, "logprobs": 1, "max_tokens": 3, "temperature": 0}
    whole = complete(target, **body)["choices"][0]
    *chunks, last = events(target.post({**body, "stream": True}, "completions"))
    assert last == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["text"]
    offsets = [o for chunk in chunks for o in (chunk["choices"][0]["logprobs"] or {"text_offset": []})["text_offset"]]
    assert offsets == whole["logprobs"]["text_offset"]


def test_item_28_several_prompts_and_choices_are_numbered_in_order(target: Target, dialect: str) -> None:
    prompts = ["One two", "Red green", "North south"]
    answer = complete(target, dialect, prompt=prompts, n=2, echo=True, max_tokens=2)
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    for number, prompt in enumerate(prompts):
        assert all(c["text"].startswith(prompt) for c in answer["choices"][2 * number : 2 * number + 2])
    alone = sum(complete(target, prompt=prompt, max_tokens=1)["usage"]["prompt_tokens"] for prompt in prompts)
    assert answer["usage"]["prompt_tokens"] == alone


def test_item_28_several_prompts_in_streams(target: Target) -> None:
    body = {"prompt": ["One two", "Red green"], "n": 2, "max_tokens": 3, "stream": True}
    *chunks, usage, last = events(target.post({**body, "stream_options": {"include_usage": True}}, "completions"))
    assert last == "[DONE]"
    assert usage["choices"] == []
    finishes = [c["index"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert sorted(finishes) == [0, 1, 2, 3]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


def test_many_more_prompts_than_are_run_at_once(target: Target) -> None:
    answer = complete(target, prompt=[f"Number {i}" for i in range(40)], max_tokens=1)
    assert [choice["index"] for choice in answer["choices"]] == list(range(40))


@pytest.mark.parametrize("prompt", [[65, 66, 67], [[65, 66], [67]]])
def test_tokens_as_prompts(target: Target, prompt: list[Any]) -> None:
    answer = complete(target, prompt=prompt, max_tokens=2)
    assert answer["usage"]["prompt_tokens"] == 3
    assert len(answer["choices"]) == (2 if isinstance(prompt[0], list) else 1)


def test_best_of_returns_the_likeliest(fake: Target) -> None:
    body = {"prompt": "One two", "max_tokens": 6, "logprobs": 0, "temperature": 1, "seed": 3}
    everyone = complete(fake, **body, n=6)["choices"]
    best = complete(fake, **body, n=2, best_of=6)
    means = sorted((sum(c["logprobs"]["token_logprobs"]) / 6, c["text"]) for c in everyone)
    assert [c["text"] for c in best["choices"]] == [text for _, text in means[:-3:-1]]
    assert [c["index"] for c in best["choices"]] == [0, 1]
    assert best["usage"]["completion_tokens"] == 36
    silent = complete(fake, **{**body, "logprobs": None}, n=2, best_of=6)
    assert [c["text"] for c in silent["choices"]] == [c["text"] for c in best["choices"]]
    assert all(c["logprobs"] is None for c in silent["choices"])


def test_top_p_0_is_greedy(target: Target) -> None:
    body = {"prompt": "One two", "max_tokens": 6}
    assert complete(target, **body, top_p=0)["choices"] == complete(target, **body, temperature=0)["choices"]
