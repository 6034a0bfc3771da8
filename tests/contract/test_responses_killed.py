"""SIGKILL to the server in the middle of a response in the background: whoever reads on has every event once.

MAINSPRING_KILLS says how often (2 by default); the moments are drawn at random.
"""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from mainspring.responses.fold import fold
from tests.contract.spec import check

KILLS = int(os.environ.get("MAINSPRING_KILLS", "2"))
WORDS = 24
"""Of the fake's answers."""
OVER = ("completed", "failed", "cancelled", "incomplete")


class Server:
    """A server in a process of its own."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "tests.contract.governed_server", str(home)]
        environment = {**os.environ, "MAINSPRING_RESPONSES__LEASE_S": "3"}
        if KILLS > 5:  # a filter holds the first words back, which are all that so short a life says
            environment["MAINSPRING_FILTERS__POLICY"] = "none"
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=environment
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.client = httpx.Client(base_url=said["base_url"], headers={"api-key": said["key"]}, timeout=60)

    def kill(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def read_on(client: httpx.Client, name: str, events: list[dict[str, Any]], until_s: float) -> None:
    """Add what the log tells behind the events that were read, for so long or to its end."""
    after = events[-1]["sequence_number"] if events else -1
    query = {"stream": "true", "starting_after": after, "include_obfuscation": "false"}
    ends = time.monotonic() + until_s
    try:
        with client.stream("GET", f"/v1/responses/{name}", params=query, timeout=max(until_s, 0.05)) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                if time.monotonic() > ends:
                    return
    except httpx.TimeoutException:
        return


def test_a_response_that_is_killed_again_and_again_has_every_event_once(tmp_path: Path) -> None:
    draw = random.Random(os.urandom(8))
    hangs = WORDS // (KILLS + 1)  # each life says so many words, then nothing more
    events: list[dict[str, Any]] = []
    with ExitStack() as stack:
        server = Server(tmp_path)
        body = {"model": "fake", "input": f"Hello !hang after {hangs}", "background": True}
        made = server.client.post("/v1/responses", json=body).json()
        lives = idle = 0
        while server.client.get(f"/v1/responses/{made['id']}").json()["status"] not in OVER:
            lives += 1
            assert lives < 4 * (KILLS + WORDS), "it does not get on"
            # What breaks off five times in a row without getting on is given up, as it should be.
            until_s = draw.uniform(0.0, 6.0) if idle < 3 else 12.0
            before = len(events)
            read_on(server.client, made["id"], events, until_s)
            idle = idle + 1 if len(events) == before else 0
            if lives > KILLS and len(events) > before and events[-1]["type"] == "response.completed":
                break
            server.kill()
            server = Server(tmp_path)
        stack.callback(server.kill)
        read_on(server.client, made["id"], events, 30)
        found = server.client.get(f"/v1/responses/{made['id']}").json()
        plain = server.client.post("/v1/responses", json={**body, "input": "Hello !hang after 90", "background": False})
        again: list[dict[str, Any]] = []
        read_on(server.client, made["id"], again, 30)
    assert found["status"] == "completed", found
    assert lives >= KILLS
    assert events == again, "what was read in pieces is what the log has"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        check("ResponseStreamEvent", event)
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    (message,) = found["output"]
    assert text == message["content"][0]["text"]
    assert len(text.split()) == WORDS
    assert plain.status_code == 200
    folded = fold([json.dumps(event).encode() for event in events])
    assert {**folded.response, "output": folded.output} == {**found}
    assert found["usage"]["output_tokens"] <= WORDS
