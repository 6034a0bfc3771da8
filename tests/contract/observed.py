"""What the clients that run outside of this interpreter (npm's, an older SDK's) must have seen, judged in one place."""

import json
import os
import subprocess
from typing import Any

from tests.contract.spec import check
from tests.contract.target import Target

TIMEOUT_S = 240

_JUDGE = "Score how close the reference answer is to the model answer on a 0-1 scale. Return only the score.\n\n"
GRADERS: dict[str, tuple[dict[str, Any], dict[str, Any], str, float | None]] = {
    "string_check": (
        {"type": "string_check", "name": "Example string check grader", "input": "{{sample.output_text}}",
         "reference": "{{item.label}}", "operation": "eq"},
        {"label": "yes"}, "yes", 1.0,
    ),
    "text_similarity": (
        {"type": "text_similarity", "name": "similarity", "input": "{{ sample.output_text }}",
         "reference": "{{ item.reference_answer }}", "evaluation_metric": "rouge_l"},
        {"reference_answer": "a b c d"}, "a b", 2 / 3,
    ),
    "python": (
        {"type": "python", "name": "Example python grader", "image_tag": "2025-05-08",
         "source": "def grade(sample, item):\n    return sample['output_json']['n'] / item['of']"},
        {"of": 4}, '{"n": 1}', 0.25,
    ),
    "score_model": (
        {"type": "score_model", "name": "Example score model grader", "model": "fake",
         "input": [{"role": "user", "content": [{"type": "input_text", "text": _JUDGE
                    + "Reference answer: {{item.reference_answer}}\n\nModel answer: {{sample.output_text}}"}]}],
         "sampling_params": {"temperature": 1, "top_p": 1, "seed": 42}},
        {"reference_answer": "fuzzy wuzzy was a bear"}, "fuzzy wuzzy was a bear", None,
    ),
    "multi": (
        {"type": "multi", "name": "both", "calculate_output": "(name + email) / 2", "graders": {
            "name": {"type": "text_similarity", "name": "name_grader", "input": "{{sample.output_json.name}}",
                     "reference": "{{item.name}}", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.9},
            "email": {"type": "string_check", "name": "email_grader", "input": "{{sample.output_json.email}}",
                      "reference": "{{item.email}}", "operation": "eq"}}},
        {"name": "John Doe", "email": "john@example.org"}, '{"name": "john doe", "email": "?"}', 0.5,
    ),
}  # fmt: skip
"""Kind -> a grader as OpenAI's documents have it, an item, an answer, and the reward (None where a model decides)."""


def run(command: list[str], target: Target) -> dict[str, Any]:
    """The JSON that a client program prints about `target`."""
    environment = {**os.environ, "BASE_URL": target.base_url, "KEY": target.key, "MODEL": target.model}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)


def check_answer(body: dict[str, Any], target: Target) -> None:
    """A whole chat completion with some text."""
    check("CreateChatCompletionResponse", body)
    assert body["model"] == target.model
    assert body["choices"][0]["message"]["content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def check_stream(chunks: list[dict[str, Any]]) -> None:
    """Role first, one finish_reason, one id, usage last and only there."""
    for chunk in chunks:
        check("CreateChatCompletionStreamResponse", chunk)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert choices[0]["delta"]["role"] == "assistant"
    assert "".join(choice["delta"].get("content") or "" for choice in choices)
    reasons = [choice["finish_reason"] for choice in choices]
    assert reasons[-1] in {"stop", "length"}
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
