"""Keys with limits and the ledger, in the whole product: commands beside a server that runs, and is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import openai
import pytest

from tests.e2e.server import running

pytestmark = pytest.mark.model
HELLO = [{"role": "user", "content": "Say hello."}]


def mainspring(home, *arguments):
    command = [sys.executable, "-c", "from mainspring.cli.main import main; main()", *arguments]
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def client_of(server, key):
    return openai.OpenAI(base_url=server.base_url + "/v1", api_key=key, max_retries=0)


def chat(client, model, **fields):
    return client.chat.completions.create(model=model, messages=HELLO, **{"max_tokens": 8, **fields})


def test_limits_act_while_it_runs_and_a_killed_server_has_accounted_for_its_answers(model_file, tmp_path):
    home = tmp_path / "home"
    with running(model_file, home=home) as server:
        key = mainspring(home, "keys", "create", "laptop", "--limit", "tokens_per_day=100000").strip()
        with client_of(server, key) as client:
            model = client.models.list().data[0].id
            replies = [chat(client, model) for _ in range(3)]
            for chunk in chat(client, model, stream=True, stream_options={"include_usage": True}):
                last = chunk
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
    usages = [*(reply.usage for reply in replies), last.usage]
    with running(model_file, home=home) as server:
        [row] = json.loads(mainspring(home, "usage", "--json"))
        assert (row["key"], row["model"], row["requests"]) == ("laptop", model, 4)
        assert row["prompt"] == sum(usage.prompt_tokens for usage in usages)
        assert row["completion"] == sum(usage.completion_tokens for usage in usages)
        # What was used before the kill counts against the budget of today.
        used = row["prompt"] + row["completion"]
        mainspring(home, "keys", "limit", "laptop", f"tokens_per_day={used + 20}")
        with client_of(server, key) as client:
            with pytest.raises(openai.RateLimitError, match="budget"):
                chat(client, model, max_tokens=100)
            mainspring(home, "keys", "limit", "laptop")
            for _ in range(40):  # two seconds, within which the server sees it
                try:
                    assert chat(client, model, max_tokens=30).choices[0].message.content
                    break
                except openai.RateLimitError:
                    time.sleep(0.1)
            else:
                pytest.fail("the limit still holds")
        server.stop()
    assert json.loads(mainspring(home, "usage", "--json"))[0]["requests"] == 5
