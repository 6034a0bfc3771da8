"""Item 25 of the checklist, and llama.cpp's /infill as its editors' plug-ins use it."""

import json

import pytest
from openai import BadRequestError

from tests.contract.spec import check
from tests.contract.target import Target, events

PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"


def test_item_25_infill_echoes_neither_side(target: Target, dialect: str) -> None:
    raw = target.sdk(dialect).completions.with_raw_response.create(
        model=target.model, prompt=PREFIX, suffix=SUFFIX, max_tokens=24, temperature=0
    )
    check("CreateCompletionResponse", json.loads(raw.text))
    choice = raw.parse().choices[0]
    assert not choice.text.startswith(PREFIX)
    assert "print(add(1, 2))" not in choice.text
    assert choice.finish_reason in ("stop", "length")


def test_item_25_infill_streams_and_takes_several_prompts(target: Target) -> None:
    body = {"prompt": [PREFIX, "x = "], "suffix": SUFFIX, "max_tokens": 8, "temperature": 0, "seed": 1}
    whole = target.post(body, "completions").json()["choices"]
    chunks = events(target.post({**body, "stream": True}, "completions"))[:-1]
    for choice in whole:
        streamed = (c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice["index"])
        text = "".join(c["text"] for c in streamed)
        # A real model finds the prompts cached the second time, and rounds otherwise: ties may break differently.
        assert text == choice["text"] if target.engine else len(text) > 0


@pytest.mark.parametrize("fields", [{"echo": True}, {"prompt": [1, 2]}, {"prompt": [[1], [2]]}])
def test_what_has_no_meaning_with_a_suffix_is_refused(fake: Target, fields: dict[str, object]) -> None:
    with pytest.raises(BadRequestError) as caught:
        fake.sdk("openai").completions.create(**{"model": fake.model, "prompt": "a", "suffix": "b", **fields})  # type: ignore[call-overload]
    assert caught.value.param == "suffix"


# What llama.vim and llama.vscode send.
EDITOR = {
    "input_prefix": "import math\n\n\ndef area(r):\n",
    "input_suffix": "\n\nprint(area(2))\n",
    "input_extra": [{"filename": "a.py", "text": "def circumference(r):\n    return 2 * math.pi * r\n"}],
    "prompt": "    return ",
    "n_predict": 16,
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.9,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 60_000,
}


def test_editors_get_what_they_ask_for(target: Target) -> None:
    fields = ["content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached", "nothing/here"]
    with target.http() as client:
        whole = client.post("/infill", json=EDITOR).json()
        chosen = client.post("/infill", json={**EDITOR, "response_fields": fields}).json()
        streamed = client.post("/infill", json={**EDITOR, "stream": True, "seed": 3})
        warmed = client.post("/infill", json={**EDITOR, "n_predict": 0, "response_fields": [""]})
    assert isinstance(whole["content"], str)
    assert whole["stop"] is True
    assert 0 < whole["tokens_predicted"] <= 16
    assert "print(area(2))" not in whole["content"]
    assert set(chosen) == set(fields) - {"nothing/here"}
    *pieces, last = (json.loads(block[6:]) for block in streamed.text.split("\n\n") if block)
    assert [piece["stop"] for piece in pieces] == [False] * len(pieces)
    assert last["stop"] is True
    assert warmed.status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_prefix": None}, "input_prefix"),
        ({"input_extra": [{"filename": "x"}]}, "input_extra[0].text"),
        ({"model": "no-such-model"}, "model"),
    ],
)
def test_mistakes_are_named(fake: Target, fields: dict[str, object], param: str) -> None:
    with fake.http() as client:
        response = client.post("/infill", json={**EDITOR, **fields})
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"] == param
