"""Mainspring over HTTP against llama.cpp's own server over HTTP: same file, same threads, one run, alternating.

    scripts/bench serving [--cases a,b,c,d,e,f] [--pairs 3] [--json FILE] [--threads 2] [--model FILE] [--quick]

For each case llama.cpp's server is tried with one KV cache for all slots (unified) and with a part for each (split),
and the better of the two is what we are compared with. Then the two servers take turns, ours first, theirs second, and
each pair gives a ratio; printed are its median and, as the spread, its minimum and maximum. Only one server computes at
a time, and the idle one is checked to be idle. `_load.py` says what each case sends.

Case (f) is about what is outside of the engine. Its share of wall time is what the engine itself did not spend in its
steps (it counts them, /metrics tells); its time to first token is compared with our own engine driven in process
(`_engine.py`). Also printed, and judged by nobody, is how much longer 16 streams take over HTTP than in process: that
contains this program's own work, on the same cores.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import _load
from benchmarks._client import Address
from benchmarks._servers import NUM_SLOTS, engine_alone, idle_cpu, mainspring, metric, peer, server_memory_mb

SETTLE_S = 1.0  # between runs: a server may still be dropping what its client left
MAX_IDLE_CPU = 0.1  # of one core; more means that the idle server disturbs the one that is measured

Run = Callable[[Address, _load.Prompts, str], Awaitable[dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A load, the figure that decides, and what is asked of the ratio.

    `inverse` divides theirs by ours, for figures that should be small but whose target is a gain; `most` turns the
    target into an upper limit. `slot_tokens` and `num_busy` size llama.cpp's cache so that the load fits without waste.
    """

    title: str
    run: Run
    figure: str
    shown: tuple[str, ...]
    target: float
    slot_tokens: int
    num_busy: int
    num_tries: int = 1
    inverse: bool = False
    most: bool = False

    def ratio(self, ours: dict[str, float], theirs: dict[str, float]) -> float:
        """Of one pair."""
        up, down = (theirs, ours) if self.inverse else (ours, theirs)
        return up[self.figure] / down[self.figure]

    @property
    def bigger_is_better(self) -> bool:
        """Whether the figure itself, not the ratio, should be big."""
        return not self.inverse and not self.most

    def num_ctx(self, unified: bool) -> int:
        """KV tokens that llama.cpp's server gets."""
        need = self.slot_tokens * (max(2, self.num_busy) if unified else NUM_SLOTS)
        return -(-need // 256) * 256


CASES = {
    "a": Case(
        title="one stream, 128 tokens",
        run=_load.one,
        figure="tokens_s",
        shown=("tokens_s", "ttft_ms", "tpot_ms"),
        target=0.95,
        slot_tokens=256,
        num_busy=1,
        num_tries=3,
    ),
    "b": Case(
        title="16 distinct short prompts, 64 tokens",
        run=_load.many,
        figure="tokens_s",
        shown=("tokens_s", "ttft_ms", "tpot_ms"),
        target=1.0,
        slot_tokens=256,
        num_busy=16,
        num_tries=3,
    ),
    "c": Case(
        title="16 at once sharing 1,500 tokens, 32 tokens",
        run=_load.shared_prefix,
        figure="wall_s",
        shown=("wall_s", "ttft_ms", "tpot_ms"),
        target=5.0,
        inverse=True,
        slot_tokens=1792,
        num_busy=16,
    ),
    "d": Case(
        title="turn 8 of a conversation",
        run=_load.conversation,
        figure="ttft_ms",
        shown=("ttft_ms", "tpot_ms", "cached_tokens"),
        target=0.95,
        inverse=True,
        slot_tokens=2048,
        num_busy=1,
        num_tries=3,
    ),
    "e": Case(
        title="4,000 tokens arrive while 8 streams decode",
        run=_load.long_prompt,
        figure="gap_p95_ms",
        shown=("gap_p95_ms", "gap_p50_ms", "gap_max_ms", "ttft_ms"),
        target=0.5,
        most=True,
        slot_tokens=4352,
        num_busy=3,  # one long and eight short ones fill three times the long one's share
    ),
}
BUSY = "mainspring_engine_busy_seconds_total"
OUTSIDE: dict[str, tuple[str, float | None]] = {
    "share": ("of wall time at 16 streams", 0.03),
    "longer": ("of wall time: longer than in process, this program's work included", None),
    "ttft_added_ms": ("ms of TTFT", 5.0),
    "rss_mb": ("MB", 150.0),
}


@dataclass
class Bench:
    """What all cases need."""

    model: Path
    threads: int
    num_pairs: int
    num_batch: int
    quick: bool
    ours: Address
    our_pid: int
    console: Console

    def peer(self, case: Case, unified: bool) -> Any:
        """llama.cpp's server, fitted to a case."""
        num_ctx = case.num_ctx(unified)
        return peer(self.model, self.threads, unified=unified, num_ctx=num_ctx, num_batch=self.num_batch)

    def tries(self, case: Case) -> int:
        """How often each setting of llama.cpp's server is tried."""
        return 1 if self.quick else case.num_tries

    async def best_setting(self, key: str, case: Case) -> tuple[bool, dict[str, float]]:
        """Whether llama.cpp's server is better unified, and the figure of each try."""
        tried: dict[str, float] = {}
        better = max if case.bigger_is_better else min
        for name, unified in (("unified", True), ("split", False)):
            async with self.peer(case, unified) as theirs:
                prompts = _load.Prompts(theirs, self.quick)
                await _warm(theirs, prompts)
                runs = [await case.run(theirs, prompts, f"{key}/try/{at}") for at in range(self.tries(case))]
                tried[name] = median(run[case.figure] for run in runs)
        return better(tried, key=tried.__getitem__) == "unified", tried

    async def compare(self, key: str, case: Case) -> dict[str, Any]:
        """Pairs of runs, ours and theirs in turn."""
        unified, tried = await self.best_setting(key, case)
        pairs: list[dict[str, Any]] = []
        async with self.peer(case, unified) as theirs:
            prompts = _load.Prompts(theirs, self.quick)
            await _warm(theirs, prompts)
            await _warm(self.ours, prompts)
            await _check_idle(self.console)
            for repetition in range(self.num_pairs):
                seed = f"{key}/{repetition}"
                ours_did = await case.run(self.ours, prompts, seed)
                await asyncio.sleep(SETTLE_S)
                theirs_did = await case.run(theirs, prompts, seed)
                await asyncio.sleep(SETTLE_S)
                pairs.append({"ours": ours_did, "theirs": theirs_did, "ratio": case.ratio(ours_did, theirs_did)})
        return {"setting": "unified" if unified else "split", "tried": tried, "pairs": pairs}

    async def outside(self) -> dict[str, Any]:
        """Case (f): our server against our engine alone, and the server's memory after all that."""
        runs: list[dict[str, float]] = []
        async with AsyncExitStack() as stack:
            prompts = _load.Prompts(await stack.enter_async_context(self.peer(CASES["a"], unified=True)), self.quick)
            alone = await stack.enter_async_context(engine_alone(self.model, self.threads))
            await alone.run(await prompts.several("f/warm", 1, 24), 4, _load.END_BIAS)
            await _warm(self.ours, prompts)
            await _check_idle(self.console)
            for repetition in range(self.num_pairs):
                asked = await prompts.several(f"f/{repetition}", 16, 24)
                alone_first = [await prompts.ids(f"f/one/{repetition}", 32)]
                busy = await metric(self.ours, BUSY)
                served = await _load.many(self.ours, prompts, f"f/{repetition}")
                busy = await metric(self.ours, BUSY) - busy
                await asyncio.sleep(SETTLE_S)
                bare = await alone.run(asked, prompts.tokens(64), _load.END_BIAS)
                await asyncio.sleep(SETTLE_S)
                first = await _load.one(self.ours, prompts, f"f/one/{repetition}")
                await asyncio.sleep(SETTLE_S)
                short = await alone.run(alone_first, prompts.tokens(128), _load.END_BIAS)
                await asyncio.sleep(SETTLE_S)
                runs.append(
                    {
                        "share": 1 - busy / served["wall_s"],
                        "longer": 1 - bare["wall_s"] / served["wall_s"],
                        "ttft_added_ms": first["ttft_ms"] - 1000 * short["ttft_s"][0],
                    }
                )
        memory = server_memory_mb(self.our_pid)
        return {"runs": runs, "rss_mb": memory}


async def _warm(to: Address, prompts: _load.Prompts) -> None:
    """Touch the weights once, so that the first measured run does not read them from disk."""
    await _load.one(to, prompts, "warm")


async def _check_idle(console: Console) -> None:
    """The servers wait without computing, or the figures would be worthless; other programs are worth a warning."""
    psutil.cpu_percent()
    used = await idle_cpu()
    others = psutil.cpu_percent() / 100 * (os.cpu_count() or 1) - used
    if used > MAX_IDLE_CPU:
        raise RuntimeError(f"the servers use {used:.0%} of a core while idle: stop them in turn instead")
    if others > MAX_IDLE_CPU:
        console.print(f"WARNING: other programs use {others:.0%} of a core: do not trust the figures that follow")


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)}


def _report(console: Console, case: Case, result: dict[str, Any]) -> None:
    ratios = _spread([pair["ratio"] for pair in result["pairs"]])
    met = ratios["median"] <= case.target if case.most else ratios["median"] >= case.target
    result["ratio"], result["met"] = ratios, met
    table = Table("", "ours", "llama.cpp's server", title=case.title, title_justify="left")
    for name in case.shown:
        figures = [_spread([pair[side][name] for pair in result["pairs"]]) for side in ("ours", "theirs")]
        table.add_row(name, *(f"{one['median']:.1f}  ({one['min']:.1f}-{one['max']:.1f})" for one in figures))
    console.print(table)
    tried = ", ".join(f"{name} {figure:.1f}" for name, figure in result["tried"].items())
    of = f"{case.figure}, {'theirs / ours' if case.inverse else 'ours / theirs'}"
    console.print(f"llama.cpp's best: {result['setting']} ({tried})")
    console.print(
        f"ratio ({of}): {ratios['median']:.2f}, spread {ratios['min']:.2f}-{ratios['max']:.2f}; "
        f"wanted {'<=' if case.most else '>='} {case.target}: {'OK' if met else 'MISSED'}\n"
    )


def _report_outside(console: Console, result: dict[str, Any]) -> None:
    console.print("what is outside of the engine")
    result["met"] = {}
    for name, (unit, limit) in OUTSIDE.items():
        values = [run[name] for run in result["runs"]] if name != "rss_mb" else [result["rss_mb"]]
        one = _spread(values)
        text = f"{name}: {one['median']:.3g} {unit}, spread {one['min']:.3g} to {one['max']:.3g}"
        if limit is not None:
            result["met"][name] = one["median"] <= limit
            text += f"; wanted <= {limit}: {'OK' if result['met'][name] else 'MISSED'}"
        console.print(text)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "xllamacpp": version("xllamacpp"),
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All cases asked for, printed as they come."""
    console = Console(width=120, soft_wrap=True)
    results: dict[str, Any] = {"machine": machine(), "model": options.model.name, "threads": options.threads}
    results["quick"] = options.quick
    about = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    console.print(f"{about}; {options.model.name}, {options.threads} threads, {options.pairs} pairs\n")
    if options.quick:
        console.print("QUICK: an eighth of each load, to try this program; the figures mean nothing\n")
    async with mainspring(options.model, options.threads) as (ours, pid):
        bench = Bench(
            options.model, options.threads, options.pairs, options.peer_batch, options.quick, ours, pid, console
        )
        for key in options.cases:
            if key == "f":
                results[key] = await bench.outside()
                _report_outside(console, results[key])
            else:
                results[key] = await bench.compare(key, CASES[key])
                console.print(f"({key}) ", end="")
                _report(console, CASES[key], results[key])
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _cases(text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    if unknown := [key for key in keys if key not in CASES and key != "f"]:
        raise argparse.ArgumentTypeError(f"there is no case {unknown[0]!r}; name some of a, b, c, d, e, f")
    return keys


def main() -> None:
    """Parse, run; the status is 0 even if a target was missed: a benchmark reports."""
    parser = argparse.ArgumentParser(prog="scripts/bench serving", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=_cases, default=["a", "b", "c", "d", "e", "f"], help="such as a,b")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each server for each case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-batch", type=int, default=2048, help="llama.cpp's n_batch")
    parser.add_argument(
        "--quick", action="store_true", help="small loads, to try the program; the figures mean nothing"
    )
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--model", type=Path, default=os.environ.get("MAINSPRING_TEST_MODEL"), help="a GGUF file")
    options = parser.parse_args()
    if options.model is None or not options.model.is_file():
        sys.exit("Name a model file: --model FILE, or run scripts/bench, which fetches the default one.")
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
