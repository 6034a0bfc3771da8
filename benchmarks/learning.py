"""Whether training teaches: tasks that the base model fails on data it has not seen, and the tuned model passes.

    scripts/bench learning [--tasks orders,sections,larger,closing] [--scale 1.0] [--home DIR] [--seed 0] [--json FILE]

Each task makes its data with a seed, trained and held-out examples apart, runs a job as the server does but in this
process, and asks the model the held-out questions before and after, greedily, through the engine. `--scale` shrinks a
task to see that it runs. Printed are the shares that passed with 95 % confidence intervals (Wilson). Of preferences
(`closing`), what passes is a held-out pair whose preferred answer is the likelier one to the model.
"""

import argparse
import asyncio
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._jobs import Workshop, chat, wilson
from benchmarks._main import main
from benchmarks._tasks import closing_questions, orders, sections
from mainspring.core.types import ModelVersion
from mainspring.train.base import load_base
from mainspring.train.dataset import Dataset, tokenise
from mainspring.train.examples import ExampleFile
from mainspring.train.methods import Preferences
from mainspring.train.model import Trainee
from mainspring.train.packing import Packer
from mainspring.train.render import Renderer
from mainspring.train.sampling import Answer
from mainspring.train.tokens import open_vocabulary

Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job and how it is judged.

    Args:
        lines, held_out: examples of the method; of the held-out ones, `messages` are asked.
        passes: whether an answer to an example is right.
        max_tokens: of an answer.
        more: whatever else the plan says.
    """

    name: str
    method: str
    lines: Sequence[Line]
    held_out: Sequence[Line]
    passes: Callable[[Line, Answer], bool]
    max_tokens: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


NUMBER = re.compile(r"\d+")

GRADE_LARGER = """
import re

def grade(sample, item):
    if sample["choices"][0]["finish_reason"] != "stop":
        return 0.0
    numbers = re.findall(r"\\d+", sample["output_text"])
    return 1.0 if numbers and int(numbers[-1]) == item["larger"] else 0.0
"""


def _larger_is_last(line: Line, answer: Answer) -> bool:
    numbers = NUMBER.findall(answer.text)
    return answer.reason == "stop" and bool(numbers) and int(numbers[-1]) == line["larger"]


def larger(scale: float, seed: int) -> Task:
    """The larger of two numbers by reinforcement: a reward of 1 if it is the last number of an answer that comes to its
    end within 24 tokens, graded in the sandbox. The base begins an explanation, and is right in one of ten samples, so
    that about half of the groups have something to learn from; whoever names one of the two numbers at random is right
    half of the time. No pair of numbers is both trained and held out, in either order."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for a in range(10, 100) for b in range(a + 1, 100)]
    rng.shuffle(pairs)
    lines = [
        {
            "messages": chat(f"Which number is larger, {a} or {b}? Answer with the number only."),
            "larger": int(max(a, b)),
        }
        for a, b in (pair if rng.random() < 0.5 else pair[::-1] for pair in pairs)
    ]
    held, trained = max(8, round(200 * scale)), max(10, round(480 * scale))
    return Task(
        name="larger", method="reinforcement", lines=lines[held : held + trained], held_out=lines[:held],
        passes=_larger_is_last, max_tokens=24,
        hyperparameters={"n_epochs": 1, "batch_size": 8, "learning_rate_multiplier": 3.0},
        more={"grader": {"type": "python", "name": "larger", "source": GRADE_LARGER}, "max_answer_tokens": 24},
    )  # fmt: skip


def _is_answer(line: Line, answer: Answer) -> bool:
    return answer.text.strip() == line["answer"]


def order_format(scale: float, seed: int) -> Task:
    """A strict format by supervised training; names and wordings of held-out orders were not trained."""
    lines, held = orders(round(400 * scale), max(8, round(200 * scale)), seed)
    return Task(
        name="orders", method="supervised", lines=_plain(lines), held_out=_asked(held), passes=_is_answer,
        max_tokens=40, hyperparameters={"n_epochs": 2},
    )  # fmt: skip


def package_sections(scale: float, seed: int) -> Task:
    """Classification into eight by supervised training, of one-line descriptions that nobody here wrote."""
    lines, held = sections(round(1200 * scale), max(8, round(240 * scale)), seed)
    return Task(
        name="sections", method="supervised", lines=_plain(lines), held_out=_asked(held), passes=_is_answer,
        max_tokens=12, hyperparameters={"n_epochs": 2},
    )  # fmt: skip


def preferences(scale: float, seed: int) -> Task:
    """Preferences by DPO; topics of held-out pairs were not trained."""
    lines, held = closing_questions(round(300 * scale), max(8, round(200 * scale)), seed)
    return Task(
        name="closing", method="dpo", lines=lines, held_out=held, passes=_is_answer, max_tokens=0,
        hyperparameters={"n_epochs": 1},
    )  # fmt: skip


def _plain(lines: Sequence[Line]) -> list[Line]:
    """What is trained: nothing but messages."""
    return [{"messages": line["messages"]} for line in lines]


def _asked(lines: Sequence[Line]) -> list[Line]:
    """What is asked: all but the answer."""
    return [{**line, "messages": line["messages"][:-1]} for line in lines]


TASKS: dict[str, Callable[[float, int], Task]] = {
    "orders": order_format,
    "sections": package_sections,
    "larger": larger,
    "closing": preferences,
}


def preferred(workshop: Workshop, version: ModelVersion, lines: Sequence[Line]) -> int:
    """To how many pairs the model gives the preferred answer the larger log probability."""
    data, folder = workshop.write("held", lines), workshop.home / f"held-{version.version}"
    vocabulary = open_vocabulary(workshop.catalog, version)
    held = Dataset(tokenise(ExampleFile(Path(data.path), "dpo"), Renderer(vocabulary), folder / "tokens", least=1))
    length = max(256, int(held.lengths.max()))
    model = load_base(workshop.catalog, version).model
    trainee = Trainee(model, rank=1, precision=torch.float32, length=length)
    packer = Packer(held, length=length, rows=2, batch_size=8, shuffle=False)
    Preferences(trainee, packer, None, epochs=1, beta=1.0, cache=folder)  # looks at each pair, and keeps what it saw
    seen = np.load(folder / "base_train.npy")
    return int((seen[:, 0] > seen[:, 1]).sum())


def judge(workshop: Workshop, task: Task, seed: int) -> dict[str, Any]:
    """Before, the job, after."""
    print(f"{task.name}: {len(task.lines)} examples, {len(task.held_out)} held out", flush=True)
    before = _passed(workshop, workshop.base, task)
    version, steps, took_s = workshop.train(
        task.name, workshop.base, task.method, task.lines, hyperparameters=task.hyperparameters, seed=seed, **task.more
    )
    after = _passed(workshop, version, task)
    num = len(task.held_out)
    print(f"{task.name}: {before} of {num} before, {after} after, {took_s / 60:.1f} minutes", flush=True)
    return {
        "task": task.name, "method": task.method, "examples": len(task.lines), "held_out": num, "minutes": took_s / 60,
        "before": [before / num, *wilson(before, num)], "after": [after / num, *wilson(after, num)],
        "metrics": {step: dict(values) for step, values in steps.items()},
    }  # fmt: skip


def _passed(workshop: Workshop, version: ModelVersion, task: Task) -> int:
    if task.method == "dpo":
        return preferred(workshop, version, task.held_out)
    return workshop.passed(version, task.held_out, task.passes, task.max_tokens)


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every task that was asked for. Training has event loops of its own, so it is in another thread."""
    return await asyncio.to_thread(measure, options)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """See `run`."""
    with tempfile.TemporaryDirectory(prefix="mainspring-learning-") as scratch:
        workshop = Workshop(Path(options.home or scratch), options.model)
        names = options.tasks.split(",")
        rows = [judge(workshop, TASKS[name](options.scale, options.seed), options.seed) for name in names]
    print(f"\n{'task':<12}{'method':<16}{'held out':>9}{'before':>22}{'after':>22}{'minutes':>9}")
    for row in rows:
        shown = [f"{share:.0%} ({low:.0%}-{high:.0%})" for share, low, high in (row["before"], row["after"])]
        print(
            f"{row['task']:<12}{row['method']:<16}{row['held_out']:>9}{shown[0]:>22}{shown[1]:>22}{row['minutes']:>9.1f}"
        )
    return rows


if __name__ == "__main__":
    main("learning", __doc__ or "", run, tasks=",".join(TASKS), scale=1.0, home="", seed=0)
