"""The serving cases (a) to (d) against OpenVINO GenAI, which reads the same GGUF file.

    scripts/bench openvino [--pairs 3] [--cases a,b,c,d] [--threads 2] [--model FILE] [--json FILE]

OpenVINO GenAI has no server of its own: it runs in a process that is driven through a pipe, with continuous batching
and prefix caching on, while ours answers over HTTP. Case (e) needs arrivals during a batch, which its pipeline for
GGUF files does not take. MAINSPRING_OPENVINO_PYTHON names an interpreter that has it; without, an environment is made
in .cache/openvino. Printed is theirs / ours in time: above 1 ours is faster.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._load import Prompts, complete
from benchmarks._main import main
from benchmarks._servers import mainspring, peer

SCRIPT = Path(__file__).with_name("_openvino.py")
CASES = {
    "a": "one stream, 32 + 128 tokens: tokens a second",
    "b": "16 prompts of 24 tokens at once, 64 each: total time",
    "c": "16 that share 1,500 tokens, 32 each: total time",
    "d": "eighth turn of a conversation: time to the first token",
}


class _OpenVino:
    """The process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("OpenVINO's process ended")
        return json.loads(line)

    async def run(self, prompts: list[list[int]], max_tokens: int) -> dict[str, Any]:
        """Everything at once; seconds of wall time and to the first token of a single one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompts": prompts, "max_tokens": max_tokens}).encode() + b"\n")
        return await self.line()


@asynccontextmanager
async def openvino(python: str, model: Path, threads: int) -> AsyncIterator[_OpenVino]:
    """OpenVINO GenAI with the model loaded."""
    process = await asyncio.create_subprocess_exec(
        python, "-P", str(SCRIPT), str(model), str(threads), limit=2**22,  # -P: this file has the library's name
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        theirs = _OpenVino(process)
        print(f"OpenVINO GenAI {(await theirs.line())['ready']}", flush=True)
        yield theirs
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _pair(case: str, ours: Any, theirs: _OpenVino, prompts: Prompts, seed: str) -> tuple[float, float]:
    """Seconds of ours and of theirs for the same tokens."""
    if case == "d":
        return await _turns(ours, theirs, prompts, seed)
    if case == "c":
        shared = await prompts.ids(seed, 1500)
        asked, length = [shared + end for end in await prompts.several(seed, 16, 16)], 32
    else:
        asked, length = (await prompts.several(seed, 1, 32), 128) if case == "a" else (
            await prompts.several(seed, 16, 24), 64)  # fmt: skip
    replies = await asyncio.gather(*(complete(ours, one, length) for one in asked))
    wall = max(reply.times[-1] for reply in replies) - min(reply.asked for reply in replies)
    await asyncio.sleep(1)
    return wall, (await theirs.run(asked, length))["wall_s"]


async def _turns(ours: Any, theirs: _OpenVino, prompts: Prompts, seed: str) -> tuple[float, float]:
    turns = await prompts.several(seed, 8, 90)
    said: list[int] = []
    for turn in turns[:-1]:
        said += turn
        await complete(ours, said, 1)
    mine = (await complete(ours, said + turns[-1], 2)).ttft_s
    await asyncio.sleep(1)
    said = []
    for turn in turns[:-1]:
        said += turn
        await theirs.run([said], 1)
    return mine, (await theirs.run([said + turns[-1]], 2))["ttft_s"][0]


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Pairs of every case."""
    python = os.environ.get("MAINSPRING_OPENVINO_PYTHON", ".cache/openvino/bin/python")
    if not Path(python).exists():
        sys.exit("No environment with openvino-genai: run scripts/bench openvino, which makes one.")
    found: dict[str, list[tuple[float, float]]] = {}
    async with (
        mainspring(options.model, options.threads) as (ours, _),
        peer(options.model, options.threads, unified=True, num_ctx=512, num_batch=512, num_slots=1) as tokenizer,
        openvino(python, options.model, options.threads) as theirs,
    ):
        prompts = Prompts(tokenizer)
        await _pair("a", ours, theirs, prompts, "warm")
        for case in options.cases.split(","):
            found[case] = [await _pair(case, ours, theirs, prompts, f"{case}{at}") for at in range(options.pairs)]
            ratios = [there / here for here, there in found[case]]
            here, there = (median(values) for values in zip(*found[case], strict=True))
            print(f"({case}) {CASES[case]}")
            print(f"    ours {here:.3f} s, OpenVINO GenAI {there:.3f} s; theirs / ours {median(ratios):.2f} "
                  f"({min(ratios):.2f}-{max(ratios):.2f})", flush=True)  # fmt: skip
    return {"seconds": found}


if __name__ == "__main__":
    main("openvino", __doc__ or "", run, pairs=3, cases="a,b,c,d")
