"""Formats of the weights: how fast this machine computes with each, how near to its limits, and what each loses.

    scripts/bench formats [--rounds 5] [--threads 2] [--formats q8_0,f16] [--model FILE] [--json FILE]

Every format that `mainspring models prepare` knows is written from the same file, compared with it (mean KL divergence
on a fixed text) and timed with the same code; rounds go over all formats, and each ratio is one of the same round.
Limits are measured here, with numpy, right before: how fast all threads together read an array that is much larger than
the caches, and how fast two matrices of 32-bit numbers are multiplied. One stream reads every weight once for each
token, so it cannot be faster than memory. Prefill is products of matrices; kernels for 8-bit integers may do more of
them in a second than 32-bit numbers allow, so that percentage is a scale and no bound.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":  # before numpy is imported: its library for matrices reads this once
    _threads = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "2"
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = _threads

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from mainspring.core.config import EngineSettings
from mainspring.engine.formats import BOUND_NATS, FORMATS, SHIPPED, Measurement, choose
from mainspring.engine.llama import binding
from mainspring.engine.llama.measure import PASSAGE, ROWS, Probe, divergence, measure, regrouped, speeds
from mainspring.engine.preparation import Job
from mainspring.models.gguf import num_bytes, read_layout

FIGURES = ("prefill", "single", "batch")
WANTED = 1.5
READ_BYTES = 2**30
SIZE = 2048
NO_BOUND = 1e9


def _best(times: int, work: Callable[[], object]) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def limits(threads: int) -> dict[str, float]:
    """Memory reads in GB/s and products of 32-bit matrices in GFLOP/s: the best of several tries."""
    parts = np.array_split(np.ones(READ_BYTES // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        read_s = _best(8, lambda: list(pool.map(np.max, parts)))  # the largest: one comparison for each 8 bytes
    one = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    other = one.T.copy()
    return {"read_gb_s": READ_BYTES / read_s / 1e9, "gemm_gflop_s": 2 * SIZE**3 / _best(8, lambda: one @ other) / 1e9}


def sizes(path: Path) -> tuple[int, int]:
    """Of a model file: bytes that a token reads while decoding, and weights that a token of a prompt is multiplied
    with."""
    tensors = {tensor.name: tensor for tensor in read_layout(path).tensors}
    # A row of the table of embeddings is read by its number, unless the same table is also the output.
    read = [one for name, one in tensors.items() if name != "token_embd.weight" or "output.weight" not in tensors]
    matrices = [one for name, one in tensors.items() if name.startswith("blk.") and len(one.shape) > 1]
    return sum(map(num_bytes, read)), sum(prod(one.shape) for one in matrices)


def timed(
    paths: dict[str, Path], settings: EngineSettings, rounds: int, say: Callable[[str], None]
) -> dict[str, list[dict[str, float]]]:
    """Speeds of every format in every round."""
    library = binding.load()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in paths}
    for at in range(rounds):
        for name, path in paths.items():
            probe = Probe(path, settings, library)
            found[name].append(dict(zip(FIGURES, speeds(probe, probe.tokenize(PASSAGE.read_bytes())), strict=True)))
            probe.close()
        say(f"round {at + 1} of {rounds}")
    return found


def _row(name: str, path: Path, compared: Measurement, runs: list[dict[str, float]], limit: dict[str, float]) -> Any:
    read, weights = sizes(path)
    speed = {figure: median(run[figure] for run in runs) for figure in FIGURES}
    return {
        "format": name,
        "num_bytes": path.stat().st_size,
        "kl_nats": compared.kl_nats,
        **speed,
        "percent_of_reads": 100 * read * speed["single"] / 1e9 / limit["read_gb_s"],
        "percent_of_gemm": 100 * 2 * weights * speed["prefill"] / 1e9 / limit["gemm_gflop_s"],
        "rounds": runs,
    }


def _print(console: Console, rows: list[Any]) -> None:
    heads = ("format", "MiB", "KL (nats)", "prefill tok/s", "1 stream", "16 streams", "% of GEMM", "% of reads")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        figures = [f"{row[figure]:.0f}" for figure in FIGURES]
        percent = [f"{row[name]:.0f}" for name in ("percent_of_gemm", "percent_of_reads")]
        table.add_row(row["format"], f"{row['num_bytes'] / 2**20:.0f}", f"{row['kl_nats']:.4f}", *figures, *percent)
    console.print(table)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Limits, then every format."""
    console = Console(width=120, soft_wrap=True)
    limit = limits(options.threads)
    console.print(
        f"{options.model.name}, {options.threads} threads; this machine reads {limit['read_gb_s']:.1f} GB/s and "
        f"multiplies {limit['gemm_gflop_s']:.0f} GFLOP/s (32-bit matrices of {SIZE} x {SIZE}, numpy)"
    )
    settings = EngineSettings(threads=options.threads)  # pyright: ignore[reportCallIssue]
    with tempfile.TemporaryDirectory(prefix="mainspring-formats-", dir=options.folder) as folder:
        job = Job(
            shards=(str(options.model),),
            folder=folder,
            settings=msgspec.Raw(settings.model_dump_json().encode()),
            formats=options.formats,
            bound_nats=NO_BOUND,
            num_rounds=1,
            noise=False,
        )
        probe = Probe(options.model, settings, binding.load())
        tokens = probe.tokenize(PASSAGE.read_bytes())
        reference = list(probe.log_probs(tokens))
        noise = divergence(reference, regrouped(probe.log_probs(tokens, ROWS // 2 + 5)))
        probe.close()
        console.print(f"the shipped file, computed in other portions, is {noise:.4f} nats from itself")
        compared = {each.format: each for each in measure(job, lambda _: None).table}
        for each in compared.values():
            if each.note:
                console.print(f"{each.format}: {each.note}")
        paths = {name: Path(folder) / f"{name}.gguf" for name in options.formats if compared[name].prefill}
        paths = {SHIPPED: options.model, **paths}
        found = timed(paths, settings, options.rounds, console.print)
        rows = [_row(name, path, compared[name], found[name], limit) for name, path in paths.items()]
    _print(console, rows)
    speed = [{name: row[name] for name in ("format", "num_bytes", "kl_nats", *FIGURES)} for row in rows]
    name, reason = choose([msgspec.convert(each, Measurement) for each in speed])
    console.print(f"chosen: {name}, because {reason}")
    for figure in FIGURES:
        ratios = [its[figure] / shipped[figure] for its, shipped in zip(found[name], found[SHIPPED], strict=True)]
        said = f"{figure}, {name} / shipped: {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        if figure == "prefill":
            said += f"; wanted >= {WANTED}: {'OK' if median(ratios) >= WANTED else 'MISSED'}"
        console.print(said)
    return {
        "limits": limit,
        "noise_nats": noise,
        "formats": rows,
        "chosen": name,
        "reason": reason,
        "bound_nats": BOUND_NATS,
    }


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"there is no format {unknown[0]!r}; name some of {', '.join(FORMATS)}")
    return names


def main() -> None:
    """Parse, run; the status is 0 even if a target was missed: a benchmark reports."""
    parser = argparse.ArgumentParser(prog="scripts/bench formats", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--formats", type=_formats, default=tuple(FORMATS), help="such as q8_0,f16; all by default")
    parser.add_argument("--folder", type=Path, help="where the formats are written; a temporary place by default")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--model", type=Path, default=os.environ.get("MAINSPRING_TEST_MODEL"), help="a GGUF file")
    options = parser.parse_args()
    if options.model is None or not options.model.is_file():
        sys.exit("Name a model file: --model FILE, or run scripts/bench, which fetches the default one.")
    result = run(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
