"""What LoRA adapters cost, and whether those who share a machine share it fairly.

    scripts/bench adapters [--pairs 3] [--threads 2] [--model FILE] [--json FILE]

Sixteen streams of 64 tokens each, prompts of 24: all on the model itself, all on one adapter, and four each on the
model and three adapters, which take turns. Printed are tokens a second, the ratio to the model itself, and of the mixed
load how long the slowest group of four took over the fastest: 1 is fair. Then what a change of adapters costs single
streams: two of them, on one adapter or on two. Adapters are of rank 8 on all projections.
"""

import argparse
import asyncio
from statistics import median
from typing import Any

from benchmarks import _load
from benchmarks._client import Address
from benchmarks._main import main
from benchmarks._servers import add_adapters, mainspring, peer

ADAPTERS = ("pirate", "parrot", "anchor")
PROMPT, ANSWER, STREAMS = 24, 64, 16


async def measure(to: Address, prompts: _load.Prompts, seed: str, models: list[str]) -> tuple[float, dict[str, float]]:
    """Tokens a second of all streams together, one for each name in `models`; and for each name the seconds until the
    last of its streams ended."""
    asked = await prompts.several(seed, len(models), PROMPT)
    started = asyncio.get_running_loop().time()
    ended: dict[str, float] = {}

    async def one(model: str, prompt: list[int]) -> None:
        await _load.complete(Address(to.port, to.key, model), prompt, ANSWER)
        ended[model] = asyncio.get_running_loop().time() - started

    await asyncio.gather(*(one(model, prompt) for model, prompt in zip(models, asked, strict=True)))
    return len(models) * ANSWER / max(ended.values()), ended


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Rounds over all loads."""
    async with (
        mainspring(options.model, options.threads, speculation="off") as (to, pid),
        peer(options.model, options.threads, unified=True, num_ctx=512, num_batch=512, num_slots=1) as tokenizer,
    ):
        await add_adapters(to, pid, options.model, ADAPTERS)
        prompts = _load.Prompts(tokenizer)
        loads = {
            "16 on the model": [to.model] * STREAMS,
            "16 on one adapter": [ADAPTERS[0]] * STREAMS,
            "4 each on the model and 3 adapters": [to.model, *ADAPTERS] * (STREAMS // 4),
            "2 on the model": [to.model] * 2,
            "2 on one adapter": [ADAPTERS[0]] * 2,
            "2 on two adapters": list(ADAPTERS[:2]),
        }
        await measure(to, prompts, "warm", [to.model, *ADAPTERS])
        rounds: list[dict[str, Any]] = []
        for at in range(int(options.pairs)):
            did = {name: await measure(to, prompts, f"{at}/{name}", models) for name, models in loads.items()}
            rounds.append(did)
            print(", ".join(f"{name}: {speed:.1f}" for name, (speed, _) in did.items()), flush=True)
    for name, models in loads.items():
        base = "16 on the model" if len(models) == STREAMS else "2 on the model"
        ratios = [did[name][0] / did[base][0] for did in rounds]
        speed = median(did[name][0] for did in rounds)
        print(
            f"{name}: {speed:.1f} tokens/s, "
            f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) of the model alone"
        )
    mixed = [did["4 each on the model and 3 adapters"][1].values() for did in rounds]
    fair = [max(each) / min(each) for each in mixed]
    print(f"slowest group / fastest group of four: {median(fair):.2f} ({min(fair):.2f}-{max(fair):.2f})")
    return {"rounds": rounds}


if __name__ == "__main__":
    main("adapters", __doc__ or "", run, pairs=3)
