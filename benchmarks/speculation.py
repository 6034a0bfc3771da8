"""Guessing ahead at work that copies: ours with and without it, and llama.cpp's server with each of its n-gram modes.

    scripts/bench speculation [--pairs 3] [--format q8_0] [--threads 2] [--model FILE] [--json FILE]

The work is one that a model of 135 million parameters can do: repeat a text. One stream, temperature 0, over HTTP. Each
round runs ours with guesses, ours without and llama.cpp's server in turn; printed are tokens a second after the first
token, the ratios with their spread, and how many of our guesses stood. llama.cpp's server is tried in every mode first,
and we are compared with the best of them. What a guess costs is the price of one more token in a step, which depends on
the format of the weights: --format has all servers serve the file written in that one.
"""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._client import Address, stream
from benchmarks._load import END_BIAS
from benchmarks._main import main
from benchmarks._servers import in_format, mainspring, metric, peer

MODES = ("NONE", "NGRAM_SIMPLE", "NGRAM_MAP_K", "NGRAM_MAP_K4V", "NGRAM_MOD", "NGRAM_CACHE")
ASK = "Repeat the following text exactly, word by word, and nothing else:\n\n"
TEXTS = (
    "The lighthouse keeper climbed the stairs every evening at six. He carried a can of oil, a clean cloth and a small "
    "brass key. At the top he wiped the salt from the glass, filled the lamp and wound the clockwork that turned the "
    "lens. Then he sat down by the window and wrote the weather in his book: wind from the north-west, four ships "
    "passed, nothing to report. In the morning he put out the lamp, counted the gulls on the railing and slept.",
    "Before you begin, switch off the main valve and let the water run until it stops. Remove the two screws on the "
    "back of the housing and lift the cover. Behind it you will find a filter of white foam. Rinse the filter with warm"
    " water and mild soap, and let it dry for at least one hour. Put the filter back, close the cover, tighten the two "
    "screws and open the main valve slowly. If water drips from the housing, tighten the screws a little more.",
    "The committee met on Tuesday to discuss the budget for the new library. The architect presented three drawings of "
    "the reading room. The first drawing had tall windows to the south, the second had a glass roof, and the third had "
    "a gallery along the walls. The members liked the gallery, but they were worried about its cost. They asked the "
    "architect to come back in two weeks with a cheaper gallery and a plan for the heating of the reading room.",
)
LENGTH = 120


async def repeat(to: Address, seed: str) -> float:
    """Tokens a second after the first, over the three texts."""
    tokens, seconds = 0, 0.0
    for text in TEXTS:
        body = {
            "model": to.model,
            "messages": [{"role": "user", "content": f"{ASK}{text}\n\n({seed})"}],
            "max_tokens": LENGTH,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logit_bias": END_BIAS,
        }
        reply = await stream(to, "/v1/chat/completions", body)
        tokens += reply.completion_tokens - 1
        seconds += reply.times[-1] - reply.times[0]
    return tokens / seconds


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All of it, on the file in the format that was asked for."""
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        options.model = in_format(options.model, options.format, Path(folder), options.threads)
        return await compare(options)


async def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Try llama.cpp's modes, then rounds."""
    fitted = {"unified": True, "num_ctx": 4096, "num_batch": 2048, "num_slots": 1}
    tried: dict[str, float] = {}
    for mode in MODES:
        async with peer(options.model, options.threads, guesses=mode, **fitted) as theirs:
            await repeat(theirs, "warm")
            tried[mode] = await repeat(theirs, "try")
            print(f"llama.cpp's server, {mode}: {tried[mode]:.1f} tokens/s", flush=True)
    best = max(tried, key=tried.__getitem__)
    rounds: list[dict[str, float]] = []
    async with AsyncExitStack() as stack:
        on, _ = await stack.enter_async_context(mainspring(options.model, options.threads))
        off, _ = await stack.enter_async_context(mainspring(options.model, options.threads, speculation="off"))
        theirs = await stack.enter_async_context(peer(options.model, options.threads, guesses=best, **fitted))
        servers = {"on": on, "off": off, "theirs": theirs}
        for to in servers.values():
            await repeat(to, "warm")
        guessed = await metric(on, 'mainspring_draft_tokens_total{kind="guessed"')
        stood = await metric(on, 'mainspring_draft_tokens_total{kind="stood"')
        for at in range(options.pairs):
            did = {}
            for name, to in servers.items():
                await asyncio.sleep(1)
                did[name] = await repeat(to, str(at))
            rounds.append(did)
            print(", ".join(f"{name} {value:.1f}" for name, value in did.items()), flush=True)
        guessed = await metric(on, 'mainspring_draft_tokens_total{kind="guessed"') - guessed
        stood = await metric(on, 'mainspring_draft_tokens_total{kind="stood"') - stood
    for name in servers:
        print(f"{name}: {_spread([did[name] for did in rounds])} tokens/s")
    gains = [did["on"] / did["off"] for did in rounds]
    against = [did["on"] / did["theirs"] for did in rounds]
    print(f"guesses that stood: {stood / max(guessed, 1):.0%} of {guessed:.0f}")
    print(f"ours with / without guesses: {_spread(gains)}; wanted >= 1.5: {'OK' if median(gains) >= 1.5 else 'MISSED'}")
    verdict = "OK" if median(against) >= 1 else "MISSED"
    print(f"ours / llama.cpp's server ({best}): {_spread(against)}; wanted >= 1: {verdict}")
    return {"tried": tried, "rounds": rounds, "guessed": guessed, "stood": stood}


if __name__ == "__main__":
    main("speculation", __doc__ or "", run, pairs=3, format="shipped")
