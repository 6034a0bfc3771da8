"""Whether training teaches: tasks that the base model fails on data it has not seen, and the tuned model passes.

    scripts/bench learning [--tasks larger] [--scale 1.0] [--home DIR] [--seed 0] [--model FILE] [--json FILE]

Each task makes its data with a seed, trained and held-out examples apart, runs a job as the server does but in this
process, and asks the model the held-out questions before and after, greedily, through the engine. `--scale` shrinks a
task to see that it runs. Printed are the shares that passed with 95 % confidence intervals (Wilson).
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

from benchmarks._jobs import Workshop, chat, wilson
from benchmarks._main import main
from mainspring.train.sampling import Answer

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


TASKS: dict[str, Callable[[float, int], Task]] = {"larger": larger}


def judge(workshop: Workshop, task: Task, seed: int) -> dict[str, Any]:
    """Before, the job, after."""
    print(f"{task.name}: {len(task.lines)} examples, {len(task.held_out)} held out", flush=True)
    before = workshop.passed(workshop.base, task.held_out, task.passes, task.max_tokens)
    version, steps, took_s = workshop.train(
        task.name, workshop.base, task.method, task.lines, hyperparameters=task.hyperparameters, seed=seed, **task.more
    )
    after = workshop.passed(version, task.held_out, task.passes, task.max_tokens)
    num = len(task.held_out)
    return {
        "task": task.name, "method": task.method, "examples": len(task.lines), "held_out": num, "minutes": took_s / 60,
        "before": [before / num, *wilson(before, num)], "after": [after / num, *wilson(after, num)],
        "metrics": {step: dict(values) for step, values in steps.items()},
    }  # fmt: skip


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
