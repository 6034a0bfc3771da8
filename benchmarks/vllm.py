"""Our server on vLLM against our server on llama.cpp, on this machine's processor: the same model, the same loads.

    scripts/bench vllm [--pairs 3] [--cases a,b,c] [--threads 2] [--model FILE] [--folder FOLDER] [--json FILE]

`scripts/vllm_environment` makes what it needs: MAINSPRING_VLLM_PYTHON names an interpreter that has vLLM, --folder the
model in safetensors. The weights are those of the GGUF file, in 16 bits for vLLM and as shipped for llama.cpp. Printed
is llama.cpp's time / vLLM's: above 1 vLLM is faster. Says nothing about GPUs.
"""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import _load
from benchmarks._main import main
from benchmarks._servers import mainspring, peer

LOAD_S = 600.0
SETTLE_S = 1.0
CASES = {
    "a": ("one stream, 32 + 128 tokens", _load.one),
    "b": ("16 distinct prompts of 24 tokens at once, 64 each", _load.many),
    "c": ("16 at once that share 1,500 tokens, 32 each", _load.shared_prefix),
}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Pairs of every case, the two taking turns."""
    python, folder = os.environ.get("MAINSPRING_VLLM_PYTHON", ".cache/vllm-venv/bin/python"), Path(options.folder)
    if not Path(python).exists() or not folder.is_dir():
        sys.exit("No environment with vLLM, or no model in safetensors: run scripts/vllm_environment.")
    found: dict[str, Any] = {}
    began = time.perf_counter()
    vllm_settings = {"vllm__kv_bytes": 2**30, "vllm__dtype": options.dtype}
    on_vllm = mainspring(folder.resolve(), options.threads, python=python, start_s=LOAD_S, **vllm_settings)
    async with (
        on_vllm as (vllm, _),
        peer(options.model, options.threads, unified=True, num_ctx=512, num_batch=512, num_slots=1) as tokenizer,
    ):
        found["load_s"] = time.perf_counter() - began
        print(f"load: {found['load_s']:.1f} s on vLLM", flush=True)
        began = time.perf_counter()
        async with mainspring(options.model, options.threads) as (llama, _):
            print(f"load: {time.perf_counter() - began:.1f} s on llama.cpp", flush=True)
            prompts = _load.Prompts(tokenizer)
            for to in (vllm, llama):
                await _load.many(to, prompts, "warm")
            for case in options.cases.split(","):
                found[case] = await _case(case, vllm, llama, prompts, options.pairs)
    return found


async def _case(case: str, vllm: Any, llama: Any, prompts: _load.Prompts, pairs: int) -> list[Any]:
    title, load = CASES[case]
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    for at in range(pairs):
        first = await load(vllm, prompts, f"{case}{at}")
        await asyncio.sleep(SETTLE_S)
        found.append((first, await load(llama, prompts, f"{case}{at}")))
        await asyncio.sleep(SETTLE_S)
    ratios = [theirs["wall_s"] / ours["wall_s"] for ours, theirs in found]
    print(f"({case}) {title}")
    for name, side in (("vLLM", 0), ("llama.cpp", 1)):
        figures = {key: median(pair[side][key] for pair in found) for key in ("wall_s", "tokens_s", "ttft_ms")}
        print(f"    {name}: {figures['wall_s']:.1f} s, {figures['tokens_s']:.0f} tok/s, "
              f"TTFT {figures['ttft_ms']:.0f} ms")  # fmt: skip
    print(f"    llama.cpp / vLLM in time {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True)
    return found


if __name__ == "__main__":
    main("vllm", __doc__ or "", run, pairs=3, cases="a,b,c", dtype="auto", folder=".cache/vllm/smollm2-135m-instruct")
