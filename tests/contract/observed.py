"""What the clients that run outside of this interpreter (npm's, an older SDK's) must have seen, judged in one place."""

import json
import os
import subprocess
from typing import Any

from tests.contract.spec import check
from tests.contract.target import Target

TIMEOUT_S = 240


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
