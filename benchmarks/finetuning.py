"""A step of LoRA fine-tuning against TRL's SFTTrainer with PEFT: same model, tokens, rank, length, threads, in turns.

    scripts/bench finetuning [--steps 24] [--turn 4] [--rows 4] [--length 256] [--rank 16] [--json FILE]

Both sides are processes that train on the same tokens, packed; they compute in turns of a few steps while the other
one waits. Three kinds of the peer: as TRL does it by itself (bfloat16 through autocast over float32 weights), in
float32, and with the weights in bfloat16 (`--peers autocast,float32,bfloat16`). Each turn gives a ratio of tokens a
second; printed are median, minimum and maximum without the first turn of each, in which both warm up (and we compile).
The limit is measured in the same run: products of the model's own shapes, in the type that is used.

Wanted: 1.5 times TRL's throughput, no more memory at the peak, the same loss.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._main import main
from benchmarks._turns import PEERS, Side, exported, play, speed, warm_up
from mainspring.core.config import DEFAULT_MODEL
from mainspring.models.catalog import Catalog
from mainspring.train.examples import ExampleFile
from mainspring.train.packing import Packer, Sample
from mainspring.train.plan import Method
from mainspring.train.render import Renderer
from mainspring.train.tokens import open_vocabulary

METHOD: Method = "supervised"
HERE = Path(__file__).parent


def examples(folder: Path) -> Path:
    """Paragraphs of our own documentation, to be gone on with: chats of 40 to 250 tokens."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((HERE.parent / "docs").glob("*.md"))]
    paragraphs = [part for text in texts for part in text.split("\n\n") if 160 < len(part) < 700 and "|" not in part]
    lines: list[str] = []
    for part in paragraphs:
        words = part.split()
        half = len(words) // 3
        asked, said = " ".join(words[:half]), " ".join(words[half:])
        messages = [{"role": "user", "content": f"Go on: {asked}"}, {"role": "assistant", "content": said}]
        lines.append(json.dumps({"messages": messages}))
    path = folder / "examples.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def tokenised(source: Path, renderer: Renderer, target: Path, length: int) -> list[Sample]:
    """What both sides read: ids, and which of them are the assistant's."""
    found: list[Sample] = []
    with target.open("w", encoding="utf-8") as file:
        for _, example in ExampleFile(source, METHOD).scan():
            ((sample,),) = renderer.samples(example)
            if len(sample.ids) <= length:
                row = {"input_ids": sample.ids.tolist(), "completion_mask": (sample.weights > 0).astype(int).tolist()}
                file.write(json.dumps(row) + "\n")
                found.append(sample)
    return found


def limit(hidden: int, inner: int, threads: int, bf16: bool) -> float:
    """GFLOP/s of the products that a model of these widths is made of, in 1,024 rows."""
    code = f"""
import time, torch
torch.set_num_threads({threads})
kind = torch.{"bfloat16" if bf16 else "float32"}
total = took = 0.0
for out, width in (({hidden}, {hidden}), ({inner}, {hidden}), ({hidden}, {inner})):
    left, right = torch.randn(1024, width).to(kind), torch.randn(out, width).to(kind)
    times = []
    for _ in range(30):
        started = time.perf_counter(); torch.mm(left, right.t()); times.append(time.perf_counter() - started)
    took += sorted(times)[10]; total += 2 * 1024 * width * out
print(total / took / 1e9)
"""
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


async def run(options: argparse.Namespace) -> Any:
    """Both sides, in turns."""
    console = Console()
    peers = [name for name in str(options.peers).split(",") if name]
    python = os.environ.get("MAINSPRING_TRL_PYTHON", str(HERE.parent / ".cache/trl/bin/python"))
    work = Path(tempfile.mkdtemp(prefix="mainspring-finetuning-"))
    sides: dict[str, Side] = {}
    try:
        catalog = Catalog(work / "models")
        base = catalog.pull(f"file:{options.model}", name=DEFAULT_MODEL)
        renderer = Renderer(open_vocabulary(catalog, base))
        samples = tokenised(examples(work), renderer, work / "tokens.jsonl", options.length)
        exported(work, base.id)
        fill = _fill(samples, options)
        asked = {
            "method": METHOD, "home": str(work), "base": base.id, "folder": str(work / "folder"),
            "data": str(work / "tokens.jsonl"),
            "threads": options.threads, "rows": options.rows, "length": options.length, "rank": options.rank,
            "rate": 5e-4, "steps": options.steps, "turn": options.turn, "warm": warm_up(options.steps), "fill": fill,
        }  # fmt: skip
        here, there = [sys.executable, "-m", "benchmarks._finetune"], [python, "-P", str(HERE / "_trl.py")]
        kinds = {
            "ours": asked | {"bf16": True, "compile": True},
            "ours float32": asked | {"bf16": False, "compile": True},
        }
        kinds = {name: kinds[name] for name in kinds if name == "ours" or "float32" in peers}
        for name, more in kinds.items():
            sides[name] = Side(here, more | {"out": str(work / name)}, work / f"{name}.log")
        for name in peers:
            more = asked | PEERS[name] | {"compile": False, "out": str(work / name)}
            sides[name] = Side(there, more, work / f"{name}.log")
        turns = play(sides, options.steps // options.turn, options.turn)
        return _tell(console, turns, options, fill)
    finally:
        for side in sides.values():
            side.stop()
        shutil.rmtree(work, ignore_errors=True)


def _fill(samples: list[Sample], options: argparse.Namespace) -> float:
    """How full rows are if the whole file is packed at once, as TRL packs it."""
    import numpy as np

    class Source:
        lengths = np.array([len(sample.ids) for sample in samples], np.int64)

        def item(self, number: int) -> list[Sample]:
            return [samples[number]]

    return Packer(Source(), length=options.length, rows=1, batch_size=len(samples)).packing().efficiency


def _tell(console: Console, turns: dict[str, Any], options: argparse.Namespace, fill: float) -> dict[str, Any]:
    found: dict[str, Any] = {"fill": fill}
    table = Table("side", "tokens/s", "ours / it (median, range)", "peak MiB", "mean loss of the last turns")
    warm = {name: rounds[1:] for name, rounds in turns.items()}
    for name, rounds in warm.items():
        mine = warm["ours float32" if name == "float32" else "ours"]
        ratios = [speed(one) / speed(other) for one, other in zip(mine, rounds, strict=True)]
        losses = [step["loss"] for one in rounds[-3:] for step in one]
        figures: dict[str, Any] = {
            "tokens_s": median(speed(one) for one in rounds), "ratios": ratios, "peak": rounds[-1][-1]["peak"],
            "loss": mean(losses), "curve": [step["loss"] for one in turns[name] for step in one],
        }  # fmt: skip
        found[name] = figures
        shown = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        table.add_row(
            name, f"{figures['tokens_s']:.0f}", shown, f"{figures['peak'] / 2**20:,.0f}", f"{figures['loss']:.3f}"
        )
    console.print(table)
    found["limit"] = _limit(console, found, options)
    return found


def _limit(console: Console, found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Operations a token: forward and the gradient of what goes in, for every frozen weight; the head only where a
    token is trained, counted as if all were."""
    hidden, inner, layers, vocabulary, kv = 576, 1536, 30, 49152, 192
    weights = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * inner)
    flops = 4 * (weights + vocabulary * hidden)
    limits: dict[str, Any] = {}
    for name, bf16 in (("ours", True), ("ours float32", False)):
        if name in found:
            peak = limit(hidden, inner, options.threads, bf16)
            most = peak * 1e9 / flops
            limits[name] = {"gflops": peak, "tokens_s": most, "share": found[name]["tokens_s"] / most}
            console.print(
                f"{name}: {peak:.0f} GFLOP/s in products of the model's shapes / {flops / 1e9:.3f} GFLOP a token = "
                f"{most:.0f} tokens/s at most; reached {found[name]['tokens_s'] / most:.0%}"
            )
    return limits


if __name__ == "__main__":
    main(
        "finetuning", __doc__ or "", run, steps=24, turn=4, rows=4, length=256, rank=16,
        peers="autocast,float32,bfloat16",
    )  # fmt: skip
