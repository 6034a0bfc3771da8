"""64 questions at once about 8 documents: each document is computed once here, again and again by llama.cpp's server.

    scripts/bench documents [--pairs 2] [--order shuffled] [--document 600] [--kv split] [--format q8_0]
                            [--threads 2] [--model FILE] [--json FILE]

Each request is one of 8 documents of 600 tokens, 24 tokens of its own, and 24 tokens of answer; all 64 arrive together.
llama.cpp's server is tried with unified and with split KV, 16 slots, and we are compared with the better of the two
(--kv says which it is, if that is known). It takes requests in their order, and computes again what is in no slot that
is free at that moment and not in its memory of finished ones, so the order decides how much that is. "grouped" (all
questions about one document, then the next) is what a program that goes through documents sends, "shuffled" what many
people send, and "interleaved" (one question about each document, then the next round) suits it best.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import _load
from benchmarks._client import Address
from benchmarks._main import main
from benchmarks._servers import NUM_SLOTS, in_format, mainspring, peer

NUM_DOCUMENTS, NUM_QUESTIONS, QUESTION, ANSWER = 8, 8, 24, 24


async def ask(to: Address, prompts: _load.Prompts, seed: str, order: str, length: int) -> float:
    """Seconds until all are answered."""
    documents = await prompts.several(f"{seed}/document", NUM_DOCUMENTS, length)
    pairs = [(at, number) for number in range(NUM_QUESTIONS) for at in range(NUM_DOCUMENTS)]
    if order == "grouped":
        pairs.sort()
    elif order == "shuffled":
        random.Random(seed).shuffle(pairs)
    asked = [documents[at] + await prompts.ids(f"{seed}/{at}/{number}", QUESTION) for at, number in pairs]
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(_load.complete(to, prompt, ANSWER) for prompt in asked))
    return asyncio.get_running_loop().time() - started


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All of it, on the file in the format that was asked for."""
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        options.model = in_format(options.model, options.format, Path(folder), options.threads)
        return await compare(options)


async def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Try the peer's two settings, then pairs."""
    need = options.document + QUESTION + ANSWER + 8
    tried: dict[bool, float] = {}

    def theirs_with(unified: bool) -> Any:
        num_ctx = -(-need * NUM_SLOTS // 256) * 256
        return peer(options.model, options.threads, unified=unified, num_ctx=num_ctx, num_batch=2048)

    settings = {"both": (True, False), "unified": (True,), "split": (False,)}[options.kv]
    for unified in settings if len(settings) > 1 else ():
        async with theirs_with(unified) as theirs:
            tried[unified] = await ask(theirs, _load.Prompts(theirs), "try", options.order, options.document)
            print(f"llama.cpp's server, {'unified' if unified else 'split'}: {tried[unified]:.1f} s", flush=True)
    best = min(tried, key=tried.__getitem__) if tried else settings[0]
    pairs: list[dict[str, float]] = []
    async with mainspring(options.model, options.threads) as (ours, _), theirs_with(best) as theirs:
        prompts = _load.Prompts(theirs)
        for at in range(options.pairs):
            did = {"ours": await ask(ours, prompts, str(at), options.order, options.document)}
            await asyncio.sleep(1)
            did["theirs"] = await ask(theirs, prompts, str(at), options.order, options.document)
            await asyncio.sleep(1)
            pairs.append(did)
            print(f"ours {did['ours']:.1f} s, llama.cpp's server {did['theirs']:.1f} s", flush=True)
    ratios = [did["theirs"] / did["ours"] for did in pairs]
    verdict = "OK" if median(ratios) >= 4 else "MISSED"
    print(f"theirs / ours: {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); wanted >= 4: {verdict}")
    return {
        "tried": {("unified" if unified else "split"): seconds for unified, seconds in tried.items()},
        "pairs": pairs,
    }


if __name__ == "__main__":
    main("documents", __doc__ or "", run, pairs=2, order="shuffled", document=600, kv="both", format="shipped")
