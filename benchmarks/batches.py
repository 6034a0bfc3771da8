"""Batches: few-shot prompts against the engine's own rate and against one request after the other; what a job costs.

    scripts/bench batches [--requests 2000] [--prefix 1000] [--tokens 24] [--rounds 1] [--job 50000] [--json FILE]
                          [--format shipped]

The same prompts, token ids with a common beginning and an end of their own, greedy and of a fixed length, go (a)
through a batch: a file that is uploaded, a job, files that come out; (b) to the engine alone in a process without a
server, all at once, of which 16 run at a time; (c) to the same server one after the other, as a client without a batch
does. The rates are generated tokens a second; those of (b) and (c) come from a part of the prompts. Wanted: a / b at
least 0.95, a / c at least 1.8. `--format` is of the weights: what is shipped, or one that `mainspring models prepare`
knows, which makes many streams faster than one.

`--job N`: the job over an API that answers at once with a body of 1 KB, on SQLite: what checking a file, writing down N
results and making the files costs where no model is waited for. 0 leaves that out; `--requests 0` leaves out the rest.
"""

import argparse
import asyncio
import io
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._load import END_BIAS
from benchmarks._main import main
from benchmarks._servers import engine_alone, in_format, mainspring
from mainspring.client import Client
from mainspring.core.seams import Answered
from mainspring.store.db import Database
from tests.unit.batches.installation import House

WANTED_ENGINE, WANTED_SERIAL = 0.95, 1.8
ENGINE_PART, SERIAL_PART = 256, 48
OWN_TOKENS = 24
"""Of each prompt, after the common beginning."""
FIRST_ID, LAST_ID = 1000, 40_000


def _prompts(count: int, prefix: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    shared = [draw.randint(FIRST_ID, LAST_ID) for _ in range(prefix)]
    return [[*shared, *(draw.randint(FIRST_ID, LAST_ID) for _ in range(OWN_TOKENS))] for _ in range(count)]


def _body(model: str, prompt: list[int], tokens: int) -> dict[str, Any]:
    return {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "logit_bias": END_BIAS}


def _through_a_batch(client: Client, model: str, prompts: list[list[int]], tokens: int) -> float:
    """Seconds from the batch's creation to its end."""
    lines = [
        {"custom_id": str(at), "method": "POST", "url": "/v1/completions", "body": _body(model, prompt, tokens)}
        for at, prompt in enumerate(prompts)
    ]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = client.upload("prompts.jsonl", io.BytesIO(data), "batch")
    began = time.perf_counter()
    batch = client.create_batch(input_file_id=file["id"], endpoint="/v1/completions", completion_window="24h")
    while batch["status"] not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.1)
        batch = client.batch(batch["id"])
    took_s = time.perf_counter() - began
    counts, usage = batch["request_counts"], batch["usage"]
    if counts["completed"] != len(prompts) or usage["output_tokens"] != tokens * len(prompts):
        raise RuntimeError(f"the batch ended as {batch}")
    return took_s


def _one_by_one(client: Client, model: str, prompts: list[list[int]], tokens: int) -> float:
    began = time.perf_counter()
    for prompt in prompts:
        for _ in client.complete(model, prompt, max_tokens=tokens, temperature=0, logit_bias=END_BIAS):  # type: ignore[arg-type]
            pass
    return time.perf_counter() - began


async def _round(options: argparse.Namespace, number: int) -> dict[str, float]:
    prompts = _prompts(options.requests, options.prefix, number)
    some, few = prompts[:ENGINE_PART], prompts[-SERIAL_PART:]
    async with engine_alone(options.model, options.threads) as engine:
        alone = await engine.run(some, options.tokens, END_BIAS)
    async with mainspring(options.model, options.threads) as (to, _):
        with Client(f"http://{to.host}:{to.port}", to.key) as client:
            await asyncio.to_thread(_one_by_one, client, to.model, few[:1], options.tokens)  # it is loaded, and warm
            serial_s = await asyncio.to_thread(_one_by_one, client, to.model, few, options.tokens)
            batch_s = await asyncio.to_thread(_through_a_batch, client, to.model, prompts, options.tokens)
    rates = {
        "batch": len(prompts) * options.tokens / batch_s,
        "engine": len(some) * options.tokens / alone["wall_s"],
        "serial": len(few) * options.tokens / serial_s,
    }
    return {**rates, "of_engine": rates["batch"] / rates["engine"], "of_serial": rates["batch"] / rates["serial"]}


async def _job(count: int) -> dict[str, float]:
    """The job alone: seconds to check the file and for the whole, requests a second, and what lies in the database."""
    answer = Answered(200, json.dumps({"said": "x" * 1000, "usage": {"prompt_tokens": 9}}).encode(), "r")

    async def at_once(_: dict[str, Any]) -> Answered:
        return answer

    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        database = await Database.open(Path(folder), "")
        house = House(database, Path(folder), lease_s=30.0)
        house.api.answer, house.models.places_ = at_once, 272
        lines = (
            {"custom_id": f"r{at}", "method": "POST", "url": "/v1/chat/completions",
             "body": {"model": "m", "messages": f"{'few shots ' * 50}{at}"}} for at in range(count)
        )  # fmt: skip
        job = await house.create(*lines)
        began = time.perf_counter()
        async with house.working():
            while (job := await house.batches.get("p", job.id)).status == "validating":
                await asyncio.sleep(0.02)
            checked_s, largest = time.perf_counter() - began, 0
            while (job := await house.batches.get("p", job.id)).finished is None:
                largest = max(largest, sum(path.stat().st_size for path in Path(folder).glob("mainspring.db*")))
                await asyncio.sleep(0.1)
            took_s = time.perf_counter() - began
        await database.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "requests": count, "checked_s": checked_s, "total_s": took_s, "requests_s": count / took_s,
        "ms_each": took_s * 1000 / count, "database_mb": largest / 2**20, "peak_mb": peak_mb,
    }  # fmt: skip


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every round, then the job alone."""
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        options.model = in_format(options.model, options.format, Path(folder), options.threads)
        return await _all(options)


async def _all(options: argparse.Namespace) -> dict[str, Any]:
    console, result = Console(), dict[str, Any](rounds=[], job=[])
    if options.requests:
        table = Table("tokens/s: batch", "engine alone", "one by one", "of the engine", "of one by one")
        for number in range(options.rounds):
            found = await _round(options, number)
            result["rounds"].append(found)
            table.add_row(*(f"{found[name]:.0f}" for name in ("batch", "engine", "serial")),
                          f"{found['of_engine']:.2f}", f"{found['of_serial']:.2f}")  # fmt: skip
        console.print(table)
        console.print(f"wanted: {WANTED_ENGINE} of the engine alone, {WANTED_SERIAL} times one by one")
    if options.job:
        table = Table("requests", "checked, s", "whole, s", "requests/s", "ms each", "database, MB", "peak, MB")
        for count in dict.fromkeys((min(2000, options.job), options.job)):
            found = await _job(count)
            result["job"].append(found)
            table.add_row(*(f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in found.values()))
        console.print(table)
    return result


if __name__ == "__main__":
    main("batches", __doc__ or "", run, requests=2000, prefix=1000, tokens=24, rounds=1, job=50_000, format="shipped")
