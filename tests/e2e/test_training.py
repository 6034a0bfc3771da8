"""A fine-tuning job on the default model, from an upload by the official client to answers, with its process killed."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import openai
import psutil
import pytest

from mainspring.models.catalog import Catalog
from tests.e2e.server import Server, running

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(0),
]  # a job goes after all other work, and says itself when it hangs

KILLS = int(os.environ.get("MAINSPRING_TEST_KILLS", "1"))
"""Ten were tried by hand; each costs a start of the process."""
STEPS = 6 + 4 * KILLS
WAIT_S = 1500.0
ROOT = Path(__file__).parents[2]
WORDS = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine"]


def examples() -> bytes:
    def line(number: int) -> str:
        word, count = WORDS[number % len(WORDS)], 2 + number % 7
        messages = [
            {"role": "user", "content": f"I want {count} trees: {word}."},
            {"role": "assistant", "content": f"TREE|{word}|{count}"},
        ]
        return json.dumps({"messages": messages})

    return "\n".join(map(line, range(40))).encode()


def jobs_of(server: Server) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "mainspring.train.job" in child.cmdline():
                found.append(child)
    return found


def train(client: openai.OpenAI, server: Server, kills: int) -> tuple[list[str], dict[str, bytes], str]:
    """Run the job; what it said, what came out of it, and what that is called."""
    file = client.files.create(file=("trees.jsonl", examples()), purpose="fine-tune")
    body = {"options": {"max_steps": STEPS}}
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 8, "batch_size": 4}}}
    job = client.fine_tuning.jobs.create(
        model=client.models.list().data[0].id, training_file=file.id, seed=3, suffix="trees", method=method,
        extra_body=body,
    )  # fmt: skip
    rng, began = random.Random(kills), time.monotonic()
    last = 0
    while job.status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() - began < WAIT_S
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
        step = (job.model_extra.get("progress") or {}).get("step", 0)
        if kills and step > last and (running_now := jobs_of(server)):
            time.sleep(rng.random() * 2)  # wherever it then is: in a step, in a checkpoint, between
            for process in running_now:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            kills, last = kills - 1, step
    assert job.status == "succeeded", job.error
    assert kills == 0, "it ended before it was killed so often"
    events = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
    catalog = Catalog(server.home / "models")
    made = catalog.folder(catalog.get(job.fine_tuned_model)) / "adapter_model.safetensors"
    weights = {made.name: made.read_bytes()}
    lines = (server.home / "training" / job.id / "metrics.jsonl").read_text()
    return events, weights | {"metrics": lines.encode()}, job.fine_tuned_model


def until_served(client: openai.OpenAI, name: str) -> None:
    """A second: that is how often a server looks at the catalog."""
    deadline = time.monotonic() + 30
    while name not in [model.id for model in client.models.list()]:
        assert time.monotonic() < deadline, "it is not served"
        time.sleep(0.1)


def test_killed_again_and_again_it_ends_in_the_same_bits_and_answers(model_file):
    with running(model_file, MAINSPRING_TRAINING__CHECKPOINT_S="0") as server:
        with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=server.key, timeout=120) as client:
            _, expected, _ = train(client, server, 0)
            events, found, name = train(client, server, KILLS)
            assert found == expected
            steps = [event for event in events if event.startswith("Step ")]
            assert len(steps) == len(set(steps)) == min(STEPS, 100 - len(events) + len(steps)), "told twice, or not"

            asked = [{"role": "user", "content": "I want 5 trees: oak."}]
            until_served(client, name)
            answer = client.chat.completions.create(model=name, messages=asked, max_tokens=12, temperature=0)
            assert answer.choices[0].message.content == "TREE|oak|5"
        version = Catalog(server.home / "models").get(name)
        assert version.lineage is not None
        assert version.lineage.step == STEPS


def compiled(catalog: Path, folder: Path, kills: int) -> int:
    """Run to the end, killed so often after a step; how often it was."""
    command = [sys.executable, "-m", "tests.e2e.compiled_run", catalog, folder.parent / "data.jsonl", folder, STEPS]
    rng, num = random.Random(kills), 0
    while True:
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if num < kills:
                time.sleep(rng.random() * 2)
                process.kill()
                num += 1
            process.stdout.read()
        if process.returncode == 0:
            return num


@pytest.mark.skipif("MAINSPRING_TEST_KILLS" not in os.environ, reason="MAINSPRING_TEST_KILLS: half a minute for each")
def test_so_does_a_run_whose_steps_are_compiled(model_file, tmp_path):
    """What it chose is kept from its first process on: a speed that was measured differs from run to run."""
    catalog = tmp_path / "models"
    Catalog(catalog).ensure(f"file:{model_file.resolve()}")
    (tmp_path / "data.jsonl").write_bytes(examples())
    found = []
    for name, kills in (("whole", 0), ("killed", KILLS)):
        folder = tmp_path / name
        if kills:  # the same choices
            folder.mkdir()
            shutil.copy(tmp_path / "whole" / "choices.json", folder)
        assert compiled(catalog, folder, kills) == kills, "it ended before it was killed so often"
        made = sorted(folder.glob("out/*/adapter_model.safetensors"))
        found.append([(folder / "metrics.jsonl").read_bytes(), *(each.read_bytes() for each in made)])
    assert json.loads((tmp_path / "whole" / "choices.json").read_text())["compile"]
    assert len(found[0]) > 1
    assert found[0] == found[1]
