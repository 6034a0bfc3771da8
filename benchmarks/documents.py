"""64 questions at once about 8 documents: each document is computed once here, 8 times by llama.cpp's server.

    scripts/bench documents [--pairs 2] [--threads 2] [--model FILE] [--json FILE]

Each request is one of 8 documents of 600 tokens, 24 tokens of its own, and 24 tokens of answer; all 64 arrive together.
llama.cpp's server is tried with unified and with split KV, 16 slots, and we are compared with the better of the two.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import _load
from benchmarks._client import Address
from benchmarks._servers import NUM_SLOTS, mainspring, peer

NUM_DOCUMENTS, NUM_QUESTIONS, DOCUMENT, QUESTION, ANSWER = 8, 8, 600, 24, 24


async def ask(to: Address, prompts: _load.Prompts, seed: str) -> float:
    """Seconds until all are answered."""
    documents = await prompts.several(f"{seed}/document", NUM_DOCUMENTS, DOCUMENT)
    asked = [
        document + await prompts.ids(f"{seed}/{at}/{number}", QUESTION)
        for number in range(NUM_QUESTIONS)
        for at, document in enumerate(documents)
    ]
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(_load.complete(to, prompt, ANSWER) for prompt in asked))
    return asyncio.get_running_loop().time() - started


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Try the peer's two settings, then pairs."""
    need = DOCUMENT + QUESTION + ANSWER + 8
    tried: dict[bool, float] = {}

    def theirs_with(unified: bool) -> Any:
        num_ctx = -(-need * NUM_SLOTS // 256) * 256
        return peer(options.model, options.threads, unified=unified, num_ctx=num_ctx, num_batch=2048)

    for unified in (True, False):
        async with theirs_with(unified) as theirs:
            tried[unified] = await ask(theirs, _load.Prompts(theirs), "try")
            print(f"llama.cpp's server, {'unified' if unified else 'split'}: {tried[unified]:.1f} s", flush=True)
    best = min(tried, key=tried.__getitem__)
    pairs: list[dict[str, float]] = []
    async with mainspring(options.model, options.threads) as (ours, _), theirs_with(best) as theirs:
        prompts = _load.Prompts(theirs)
        for at in range(options.pairs):
            did = {"ours": await ask(ours, prompts, str(at))}
            await asyncio.sleep(1)
            did["theirs"] = await ask(theirs, prompts, str(at))
            await asyncio.sleep(1)
            pairs.append(did)
            print(f"ours {did['ours']:.1f} s, llama.cpp's server {did['theirs']:.1f} s", flush=True)
    ratios = [did["theirs"] / did["ours"] for did in pairs]
    verdict = "OK" if median(ratios) >= 4 else "MISSED"
    print(f"theirs / ours: {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); wanted >= 4: {verdict}")
    return {"tried": {"unified": tried[True], "split": tried[False]}, "pairs": pairs}


def main() -> None:
    """Parse, run; the status is 0 even if the target was missed: a benchmark reports."""
    parser = argparse.ArgumentParser(prog="scripts/bench documents", description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--model", type=Path, default=os.environ.get("MAINSPRING_TEST_MODEL"), help="a GGUF file")
    options = parser.parse_args()
    if options.model is None or not options.model.is_file():
        sys.exit("Name a model file: --model FILE, or run scripts/bench, which fetches the default one.")
    result = asyncio.run(run(options))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
