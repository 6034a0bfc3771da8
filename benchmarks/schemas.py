"""200 random JSON schemas: does every answer match, what does it cost, and what does it cost llama.cpp's server?

    scripts/bench schemas [--schemas 200] [--pairs 1] [--threads 2] [--model FILE] [--json FILE]

Sixteen requests are in flight at all times. Each round asks for one answer of every schema (benchmarks/schemas.json),
then for free answers of exactly the same lengths, then llama.cpp's server for the same schemas. Compared are tokens a
second, and answers a second where the two servers' answers differ in length. An answer that the limit of tokens cut off
is not complete and is counted apart; every other one must match its schema.
"""

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from jsonschema import Draft202012Validator

from benchmarks._client import Address, post
from benchmarks._load import END_BIAS
from benchmarks._main import main
from benchmarks._servers import NUM_SLOTS, mainspring, peer

LIMIT = 200
SCHEMAS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("schemas.json").read_text("utf-8"))


async def _ask(to: Address, place: asyncio.Semaphore, prompt: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    async with place:
        status, body = await post(to, "/v1/chat/completions", {"model": to.model, "messages": messages, **fields})
    answer = json.loads(body)
    return {"status": status, **answer}


async def ask(to: Address, bodies: list[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
    """All requests, sixteen at a time; the seconds they took and the answers."""
    place = asyncio.Semaphore(NUM_SLOTS)
    started = time.perf_counter()
    answers = await asyncio.gather(*(_ask(to, place, **body) for body in bodies))
    return time.perf_counter() - started, answers


def _bound(schemas: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"Number {seed}/{at}: write an example of a record.",
            "response_format": {"type": "json_schema", "json_schema": {"name": "record", "schema": schema}},
            "max_tokens": LIMIT,
            "temperature": 1.0,
            "seed": seed * 1000 + at,
        }
        for at, schema in enumerate(schemas)
    ]


def _free(bodies: list[dict[str, Any]], answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same prompts without a schema, with the lengths that the answers had."""
    return [
        {
            "prompt": body["prompt"].replace("Number", "Item"),  # a new prompt: neither finds the other's in its cache
            "max_tokens": max(1, answer["usage"]["completion_tokens"]),
            "temperature": 1.0,
            "seed": body["seed"],
            "logit_bias": END_BIAS,
        }
        for body, answer in zip(bodies, answers, strict=True)
        if answer["status"] == 200
    ]


def judge(schemas: list[dict[str, Any]], answers: list[dict[str, Any]]) -> dict[str, int]:
    """How many were refused, cut off, complete, and complete but wrong."""
    told = {"refused": 0, "cut": 0, "complete": 0, "wrong": 0}
    for schema, answer in zip(schemas, answers, strict=True):
        if answer["status"] != 200:
            told["refused"] += 1
            continue
        choice = answer["choices"][0]
        if choice["finish_reason"] != "stop":
            told["cut"] += 1
            continue
        told["complete"] += 1
        try:
            valid = Draft202012Validator(schema).is_valid(json.loads(choice["message"]["content"]))
        except ValueError:
            valid = False
        if not valid:
            told["wrong"] += 1
            print(f"wrong: {json.dumps(schema)}\n  {choice['message']['content']!r}", flush=True)
    return told


def _tokens(answers: list[dict[str, Any]]) -> int:
    return sum(answer["usage"]["completion_tokens"] for answer in answers if answer["status"] == 200)


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of the three."""
    schemas = SCHEMAS[: options.schemas]
    rounds: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        ours, _ = await stack.enter_async_context(mainspring(options.model, options.threads))
        theirs = await stack.enter_async_context(
            peer(options.model, options.threads, unified=True, num_ctx=NUM_SLOTS * 1024, num_batch=2048)
        )
        for to in (ours, theirs):
            await ask(to, _bound(schemas[:4], 99))
        for at in range(options.pairs):
            bodies = _bound(schemas, at)
            seconds, answers = await ask(ours, bodies)
            free_seconds, free = await ask(ours, _free(bodies, answers))
            their_seconds, their_answers = await ask(theirs, bodies)
            did = {
                "judged": judge(schemas, answers),
                "theirs_judged": judge(schemas, their_answers),
                "bound": _tokens(answers) / seconds,
                "free": _tokens(free) / free_seconds,
                "theirs": _tokens(their_answers) / their_seconds,
                "seconds": seconds,
                "their_seconds": their_seconds,
            }
            rounds.append(did)
            print(json.dumps(did), flush=True)
    wrong = sum(did["judged"]["wrong"] for did in rounds)
    complete = sum(did["judged"]["complete"] for did in rounds)
    print(
        f"answers that match: {complete - wrong} of {complete} complete; wanted all: {'OK' if not wrong else 'MISSED'}"
    )
    for name, wanted, values in (
        ("with / without a schema, tokens a second", 0.9, [did["bound"] / did["free"] for did in rounds]),
        ("ours / llama.cpp's server, tokens a second", 1.2, [did["bound"] / did["theirs"] for did in rounds]),
        ("ours / llama.cpp's server, answers a second", 1.2, [did["their_seconds"] / did["seconds"] for did in rounds]),
    ):
        verdict = "OK" if median(values) >= wanted else "MISSED"
        print(f"{name}: {_spread(values)}; wanted >= {wanted}: {verdict}")
    return {"rounds": rounds}


if __name__ == "__main__":
    main("schemas", __doc__ or "", run, schemas=len(SCHEMAS), pairs=1)
