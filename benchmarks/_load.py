"""The loads of `serving.py`: what is sent, and what is made of the answers. The same code drives both servers.

Prompts come from a seeded word list, tokenised by llama.cpp and sent as token ids, so both servers compute the same
tokens. A repetition number is part of the seed: nothing is left in a cache from the repetition before, unless a case is
about the cache. End-of-text tokens are biased away, so that each stream has exactly the tokens that were asked for.
"""

import asyncio
import json
import random
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks._client import Address, Reply, post, stream

__all__ = ["END_BIAS", "Prompts", "complete", "conversation", "long_prompt", "many", "one", "shared_prefix"]

WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house "
    "service friend father power hour game line end member law car city community name president team minute idea "
    "kid body back parent face others level office door health person art war history party result change morning "
    "reason research girl guy moment air teacher force education foot boy age policy music market sense nation plan "
    "college interest death experience effect use class control field development role effort rate heart drug show "
    "leader light voice wife"
).split()
# SmolLM2's control tokens, all of which llama.cpp may take for an end of text.
END_BIAS = {str(token): -100 for token in range(17)}
STREAMED = {"temperature": 0, "stream": True, "stream_options": {"include_usage": True}, "logit_bias": END_BIAS}


@dataclass
class Prompts:
    """Token ids of made-up text. `tokenizer` is llama.cpp's server; `quick` shrinks every load to an eighth."""

    tokenizer: Address
    quick: bool = False

    def tokens(self, count: int) -> int:
        """How many tokens to send or ask for where the full load has `count`."""
        return max(8, count // 8) if self.quick else count

    async def ids(self, seed: str, count: int) -> list[int]:
        """Exactly `count` tokens, the same for the same seed."""
        status, body = await post(self.tokenizer, "/tokenize", {"content": words(seed, count), "add_special": False})
        ids = json.loads(body)["tokens"][:count] if status == 200 else []
        if len(ids) < count:
            raise RuntimeError(f"tokenising failed: status {status}, {len(ids)} of {count} tokens")
        return ids

    async def several(self, seed: str, how_many: int, count: int) -> list[list[int]]:
        """Distinct prompts of `count` tokens each."""
        return [await self.ids(f"{seed}/{at}", count) for at in range(how_many)]


def words(seed: str, count: int) -> str:
    """Text of at least `count` tokens."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(count))


async def complete(to: Address, prompt: list[int], tokens: int, **more: Any) -> Reply:
    """Stream the continuation of a prompt of token ids, exactly `tokens` long."""
    body = {"model": to.model, "prompt": prompt, "max_tokens": tokens, **STREAMED}
    reply = await stream(to, "/v1/completions", body, **more)
    if (reply.prompt_tokens, reply.completion_tokens) != (len(prompt), tokens):
        raise RuntimeError(
            f"{reply.prompt_tokens} + {reply.completion_tokens} tokens instead of {len(prompt)} + {tokens}"
        )
    return reply


def _summary(replies: list[Reply]) -> dict[str, float]:
    wall = max(reply.times[-1] for reply in replies) - min(reply.asked for reply in replies)
    return {
        "wall_s": wall,
        "tokens_s": sum(reply.completion_tokens for reply in replies) / wall,
        "ttft_ms": 1000 * median(reply.ttft_s for reply in replies),
        "tpot_ms": 1000 * median(reply.tpot_s for reply in replies),
        "cached_tokens": sum(reply.cached_tokens for reply in replies),
    }


async def one(to: Address, prompts: Prompts, seed: str) -> dict[str, float]:
    """(a) One stream: a prompt of 32 tokens, 128 tokens of answer."""
    return _summary([await complete(to, await prompts.ids(seed, 32), prompts.tokens(128))])


async def many(to: Address, prompts: Prompts, seed: str) -> dict[str, float]:
    """(b) 16 distinct prompts of 24 tokens at once, 64 tokens each."""
    asked = await prompts.several(seed, 16, 24)
    return _summary(await asyncio.gather(*(complete(to, prompt, prompts.tokens(64)) for prompt in asked)))


async def shared_prefix(to: Address, prompts: Prompts, seed: str) -> dict[str, float]:
    """(c) 16 at once that share 1,500 tokens and end in 16 of their own, 32 tokens each."""
    prefix, ends = await prompts.ids(seed, prompts.tokens(1500)), await prompts.several(seed, 16, 16)
    return _summary(await asyncio.gather(*(complete(to, prefix + end, prompts.tokens(32)) for end in ends)))


async def conversation(to: Address, prompts: Prompts, seed: str) -> dict[str, float]:
    """(d) Eight turns of about 60 tokens with answers of 32: time to the first token of the eighth."""
    messages: list[dict[str, str]] = []
    reply = Reply()
    for turn in range(8):
        messages.append({"role": "user", "content": words(f"{seed}/{turn}", prompts.tokens(60))})
        body = {"model": to.model, "messages": messages, "max_tokens": prompts.tokens(32), **STREAMED}
        reply = await stream(to, "/v1/chat/completions", body)
        messages.append({"role": "assistant", "content": reply.text})
    return {**_summary([reply]), "prompt_tokens": reply.prompt_tokens}


async def long_prompt(to: Address, prompts: Prompts, seed: str) -> dict[str, float]:
    """(e) Eight streams decode; 4,000 tokens arrive: the gaps between tokens until the newcomer's first token."""
    asked, long = await prompts.several(seed, 8, 32), await prompts.ids(f"{seed}/long", prompts.tokens(4000))
    running, all_decode = set[int](), asyncio.Event()
    replies = [Reply() for _ in asked]

    def noted(at: int) -> Any:
        def note(reply: Reply) -> None:
            replies[at] = reply
            if len(reply.chunks) >= 8:
                running.add(at)
            if len(running) == len(asked):
                all_decode.set()

        return note

    length = prompts.tokens(600)
    streams = [asyncio.create_task(complete(to, prompt, length, on_chunk=noted(at))) for at, prompt in enumerate(asked)]
    try:
        await asyncio.wait_for(all_decode.wait(), 120)
        newcomer = await complete(to, long, 1)
        if any(task.done() for task in streams):
            raise RuntimeError("a stream ended before the long prompt was computed: its gaps say nothing")
        await asyncio.sleep(0.5)  # so that the gap that the window ends in has ended as well
    finally:
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    gaps = sorted(1000 * gap for reply in replies for gap in _gaps(reply, newcomer.asked, newcomer.times[0]))
    return {
        "gap_p95_ms": gaps[min(len(gaps) - 1, int(0.95 * len(gaps)))],
        "gap_max_ms": gaps[-1],
        "gap_p50_ms": gaps[len(gaps) // 2],
        "num_gaps": len(gaps),
        "ttft_ms": 1000 * newcomer.ttft_s,
    }


def _gaps(reply: Reply, since: float, until: float) -> list[float]:
    """Seconds between successive tokens, of those gaps that overlap the window."""
    times = [at for at, _ in reply.chunks]
    return [after - before for before, after in pairwise(times) if after > since and before < until]
