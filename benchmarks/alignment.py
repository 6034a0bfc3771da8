"""A step of DPO and of GRPO against TRL with PEFT: same model, data, rank, threads, in turns.

    scripts/bench alignment [--methods dpo,reinforcement] [--steps 24] [--turn 4] [--peers autocast] [--json FILE]

As `finetuning.py`, whose sides these are. DPO: 8 pairs a step, tokens a second of prompts and answers, padding apart;
what the base gives, which we compute once before the first step and TRL in every step, is counted as if each pair were
seen once. GRPO: 8 questions a step, 8 answers of at most 64 tokens to each, sampled, graded and learnt; tokens a second
are of answers alone. TRL samples by `generate` of transformers (its other way is vLLM, which is for GPUs), and gets our
loss (`dr_grpo`, advantages that are not divided); graders are the same python, ours in its sandbox.

Nothing is wanted but figures: median, minimum and maximum of the ratio, without the first turn.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._main import main
from benchmarks._turns import PEERS, Side, Turn, exported, play, speed, warm_up
from benchmarks.finetuning import examples
from benchmarks.learning import GRADE_LARGER, larger
from mainspring.core.config import DEFAULT_MODEL
from mainspring.models.catalog import Catalog
from mainspring.train.examples import ExampleFile
from mainspring.train.render import Renderer
from mainspring.train.tokens import open_vocabulary

HERE = Path(__file__).parent
PAIRS, QUESTIONS, GROUP, ANSWER = 8, 8, 8, 64


def pairs(work: Path, renderer: Renderer, length: int, num: int) -> Path:
    """How a paragraph of our documentation goes on, and how another one does: messages for TRL, ids for us."""
    lines = [json.loads(line)["messages"] for line in examples(work).read_text(encoding="utf-8").splitlines()][:num]
    path, given = work / "dpo.jsonl", work / "given.jsonl"
    found = [
        {"input": {"messages": line[:1]}, "preferred_output": line[1:], "non_preferred_output": lines[at - 1][1:]}
        for at, line in enumerate(lines)
    ]
    given.write_text("".join(json.dumps(each) + "\n" for each in found), encoding="utf-8")
    with path.open("w", encoding="utf-8") as file:
        for line, example in ExampleFile(given, "dpo").scan():
            ((chosen, rejected),) = renderer.samples(example)
            if len(chosen.ids) + len(rejected.ids) > length:
                continue
            row = json.loads(line.data)
            parts = [
                {"input_ids": part.ids.tolist(), "completion_mask": (part.weights > 0).astype(int).tolist()}
                for part in (chosen, rejected)
            ]
            named = {"prompt": row["input"]["messages"], "chosen": row["preferred_output"]}
            file.write(json.dumps(named | {"rejected": row["non_preferred_output"], "parts": parts}) + "\n")
    return path


def questions(work: Path) -> Path:
    """Which of two numbers is larger, from `learning.py`."""
    path = work / "reinforcement.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in larger(1.0, 0).lines), encoding="utf-8")
    return path


async def run(options: argparse.Namespace) -> Any:
    """Each method, both sides in turns."""
    work = Path(tempfile.mkdtemp(prefix="mainspring-alignment-"))
    try:
        catalog = Catalog(work / "models")
        base = catalog.pull(f"file:{options.model}", name=DEFAULT_MODEL)
        exported(work, base.id)
        renderer = Renderer(open_vocabulary(catalog, base))
        common = {
            "home": str(work), "base": base.id, "folder": str(work / "folder"), "threads": options.threads,
            "rank": options.rank, "rate": 1e-4, "steps": options.steps, "turn": options.turn,
            "warm": warm_up(options.steps),
        }  # fmt: skip
        found: dict[str, Any] = {}
        for method in options.methods.split(","):
            asked = common | {"method": method}
            if method == "dpo":
                data = pairs(work, renderer, options.length, 2 * PAIRS * options.steps)
                asked |= {"rows": 2, "length": options.length, "batch": PAIRS}
            else:
                data = questions(work)
                asked |= {"rows": 2, "batch": QUESTIONS, "group": GROUP, "answer": ANSWER}
                asked |= {"grader": GRADE_LARGER, "hidden": 576}
            found[method] = _measure(method, asked | {"data": str(data)}, options, work)
        return found
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _measure(method: str, asked: dict[str, Any], options: argparse.Namespace, work: Path) -> dict[str, Any]:
    python = os.environ.get("MAINSPRING_TRL_PYTHON", str(HERE.parent / ".cache/trl/bin/python"))
    here, there = [sys.executable, "-m", "benchmarks._finetune"], [python, "-P", str(HERE / "_trl.py")]
    kinds = {"ours": (here, {"bf16": True, "compile": True})}
    kinds |= {name: (there, PEERS[name] | {"compile": False}) for name in options.peers.split(",") if name}
    sides: dict[str, Side] = {}
    try:
        for name, (command, more) in kinds.items():
            label = f"{method}-{name}"
            sides[name] = Side(command, asked | more | {"out": str(work / label)}, work / f"{label}.log")
        turns = play(sides, options.steps // options.turn, options.turn)
    finally:
        for side in sides.values():
            side.stop()
    return _tell(method, {name: [_told(turn) for turn in rounds] for name, rounds in turns.items()})


def _told(turn: Turn) -> Turn:
    """Of reinforcement, what counts is the tokens of answers."""
    return [
        {**step, "tokens": step["answer"] * QUESTIONS * GROUP} if "answer" in step else {**step} for step in turn
    ]  # fmt: skip


def _tell(method: str, turns: dict[str, list[Turn]]) -> dict[str, Any]:
    last = "reward" if method == "reinforcement" else "loss"
    table = Table(f"{method}: side", "s/step", "tokens/s", "ours / it", "peak MiB", f"mean {last}, last turns")
    found: dict[str, Any] = {}
    for name, (_, *rounds) in turns.items():
        ratios = [speed(one) / speed(other) for one, other in zip(turns["ours"][1:], rounds, strict=True)]
        figures: dict[str, Any] = {
            "step_s": median(step["s"] for one in rounds for step in one), "ratios": ratios,
            "tokens_s": median(speed(one) for one in rounds), "peak": rounds[-1][-1]["peak"],
            last: mean(step[last] for one in rounds[-2:] for step in one),
            "curve": [step[last] for one in turns[name] for step in one],
        }  # fmt: skip
        found[name] = figures
        table.add_row(
            name, f"{figures['step_s']:.1f}", f"{figures['tokens_s']:.0f}",
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", f"{figures['peak'] / 2**20:,.0f}",
            f"{figures[last]:.3f}",
        )  # fmt: skip
    Console().print(table)
    return found


if __name__ == "__main__":
    main(
        "alignment", __doc__ or "", run, methods="dpo,reinforcement", steps=24, turn=4, length=512, rank=16,
        peers="autocast",
    )  # fmt: skip
