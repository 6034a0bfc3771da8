"""Our whole edge against LiteLLM's proxy: requests a second, chunks a second, memory, added latency, error of quotas.

    scripts/bench gateway [--seconds 30] [--rounds 3] [--clients 64] [--minutes 0] [--quota-minutes 1] [--filters 1]
                         [--peer 1] [--json FILE]

Ours is the real server with one worker: HTTP, authentication with a key in a database, a quota that is never reached,
content filters with the default policy (`--filters 0`: without), the ledger, metrics, and whatever else `wiring` puts
around a request, over the fake engine, which answers at once with 24 tokens, one chunk each. LiteLLM's proxy has one
worker, a master key and no database; its backend is `mock_response`, a text that it cuts into 24 chunks. Both get the
same requests from the same clients, in turn; a ratio is of one round.

The clients are one process of their own code (`_pressure.py`). Two things tell that they are not what is measured: the
share of a core that they use, and how many requests a second they do against a server that answers with a constant.

Added latency: requests arrive at random at half of the rate that was just measured; the same arrivals go to the fake
engine behind a server that does nothing else, and the percentiles are subtracted. Quotas: as many clients send as fast
as they can, with a key that has a limit, for whole minutes; what was admitted is compared with the limit.

`--minutes 5` does one long round instead.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks._client import Address
from benchmarks._gateway import NUM_TOKENS
from benchmarks._main import main
from benchmarks._pressure import Load, Pool, arrivals, busy, request
from benchmarks._servers import _free_port, _stop, _wait

SHOWN = {"plain": ("requests_s", "p50_ms", "p99_ms"), "stream": ("chunks_s", "requests_s", "p50_ms", "p99_ms")}
DECIDES = {"plain": "requests_s", "stream": "chunks_s"}
WANTED_RATIO, WANTED_ADDED_MS, WANTED_QUOTA = 5.0, 15.0, 0.01
MEMORY_EVERY_S = 2.0
LITELLM = Path(".cache/litellm/bin/litellm")
MASTER_KEY = "sk-benchmark"
PIECE = 3
"""Characters that LiteLLM puts into a chunk of a mocked stream."""
PLENTY = 10**12
QUESTIONS = 4096
HOW = ("how can", "when did", "will", "where could", "how did", "why would")
WHO = ("many people", "all of them", "her people", "some of us", "two people", "the first people")
WHAT = ("find the water", "use the long way", "see the number", "make the day", "know the other word", "write it down")
WHEN = ("in no time", "after a long day", "when there is so little time", "over the water", "at first", "by now")
REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 6000, 300_000
HEAR = 0.02
"""Seconds between a refusal and the next try."""


async def _run(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[1:5]} ended with status {process.returncode}")
    return out


async def _key(home: Path, name: str, **limits: int) -> str:
    """A user's key, made as an operator makes one."""
    options = [text for limit, most in limits.items() for text in ("--limit", f"{limit}={most}")]
    command = (sys.executable, "-m", "mainspring", "keys", "create", name, "--home", str(home), "--json", *options)
    return json.loads(await _run(*command))["key"]


@asynccontextmanager
async def _process(
    command: Sequence[str], log: Path, to: Address, path: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=file, stderr=file, stdin=asyncio.subprocess.DEVNULL, env={**os.environ, **environment}
        )
    try:
        try:
            await _wait(to, path, process)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text()[-2000:]}") from error
        yield process
    finally:
        await _stop(process)


@asynccontextmanager
async def _ours(home: Path, kind: str = "serve", key: str = "none") -> AsyncIterator[tuple[Address, int]]:
    to = Address(_free_port(), key, "fake")
    command = (sys.executable, "-m", "benchmarks._gateway", kind, str(to.port), str(home))
    async with _process(command, home / f"{kind}.log", to, "/healthz") as process:
        yield to, process.pid


@asynccontextmanager
async def _litellm(home: Path) -> AsyncIterator[tuple[Address, int]]:
    """The proxy as its own documentation starts it for production, and without anything that needs a network."""
    to, config = Address(_free_port(), MASTER_KEY, "fake"), home / "litellm.json"
    text = "".join(f"w{at:02}" for at in range(NUM_TOKENS))
    assert len(text) == PIECE * NUM_TOKENS
    model = {"model": "openai/fake", "api_key": "none", "mock_response": text}
    settings = {
        "model_list": [{"model_name": "fake", "litellm_params": model}],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"set_verbose": False},
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    python = os.environ.get("MAINSPRING_LITELLM_PYTHON")
    program = Path(python).with_name("litellm") if python else LITELLM
    command = (str(program), "--config", str(config), "--host", to.host, "--port", str(to.port), "--num_workers", "1")
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    telemetry = ("--telemetry", "False")
    async with _process((*command, *telemetry), home / "litellm.log", to, "/health/liveliness", **quiet) as process:
        yield to, process.pid


def _question(draw: random.Random) -> str:
    """Words that the fake knows, mostly: what it does not know, it counts by bytes."""
    halves = [" ".join(draw.choice(words) for words in (HOW, WHO, WHAT, WHEN)) for _ in range(2)]
    return ", and ".join(halves) + "?"


def _requests(to: Address, *, stream: bool) -> list[bytes]:
    """Different questions under the same instruction, as an application sends them."""
    draw = random.Random(to.model)
    system = {"role": "system", "content": "you are one who has been here long and will say it in few words"}
    return [
        request(
            to,
            {
                "model": to.model,
                "messages": [system, {"role": "user", "content": _question(draw)}],
                "max_tokens": NUM_TOKENS,
                "temperature": 0.7,
                "stream": stream,
            },
        )
        for _ in range(QUESTIONS)
    ]


class _Memory:
    """Resident MiB of a process and its children, every few seconds for as long as the `with` lasts."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.samples: list[tuple[float, float]] = []

    def _read(self) -> None:
        family = [self._process, *self._process.children(recursive=True)]
        self.samples.append((time.monotonic(), sum(one.memory_info().rss for one in family) / 2**20))

    async def _watch(self) -> None:
        while True:
            self._read()
            await asyncio.sleep(MEMORY_EVERY_S)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self._read()

    def figures(self) -> dict[str, float]:
        """The first, last and largest sample, and the slope of the last two thirds in MiB an hour."""
        late = self.samples[len(self.samples) // 3 :]
        middle, mean = (sum(each) / len(late) for each in zip(*late, strict=True))
        spread = sum((at - middle) ** 2 for at, _ in late)
        slope = 3600 * sum((at - middle) * (size - mean) for at, size in late) / max(spread, 1e-9)
        sizes = [size for _, size in self.samples]
        return {"first_mb": sizes[0], "last_mb": sizes[-1], "most_mb": max(sizes), "slope_mb_hour": slope}


def _cpu_s(pid: int) -> float:
    """Processor time of a server: unlike the clock's, it says the same while other programs run."""
    return sum(sum(one.cpu_times()[:2]) for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)))


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):,.2f} ({min(values):,.2f}-{max(values):,.2f})"


def _verdict(value: float, relation: str, wanted: float, unit: str = "") -> str:
    met = value >= wanted if relation == ">=" else value <= wanted
    return f"wanted {relation} {wanted:g}{unit}: {'OK' if met else 'MISSED'}"


class Bench:
    """Both servers, and what was measured of them."""

    def __init__(self, options: argparse.Namespace, sides: dict[str, tuple[Address, int]], console: Console) -> None:
        self._options, self._sides, self._console = options, sides, console
        self._memory = {name: _Memory(pid) for name, (_, pid) in sides.items()}
        self.results: dict[str, Any] = {}

    async def compare(self, kind: str) -> None:
        """Rounds of both servers in turn, and their ratio."""
        rounds: list[dict[str, dict[str, float]]] = []
        for _ in range(self._options.rounds):
            rounds.append({name: await self._load(name, kind) for name in self._sides})
        self.results[kind] = rounds
        table = Table(kind, *self._sides, title=f"{kind}, {self._options.clients} clients", title_justify="left")
        for figure in (*SHOWN[kind], "server_cpu_ms", "client_cpu", "failed"):
            table.add_row(figure, *(_spread([each[name][figure] for each in rounds]) for name in self._sides))
        self._console.print(table)
        if len(self._sides) > 1:
            ratios = [each["ours"][DECIDES[kind]] / each["LiteLLM"][DECIDES[kind]] for each in rounds]
            verdict = _verdict(median(ratios), ">=", WANTED_RATIO)
            self._console.print(f"ratio ({DECIDES[kind]}, ours / LiteLLM): {_spread(ratios)}; {verdict}")
            cpu = [each["LiteLLM"]["server_cpu_ms"] / each["ours"]["server_cpu_ms"] for each in rounds]
            self._console.print(f"ratio (server_cpu_ms a request, LiteLLM / ours): {_spread(cpu)}\n")

    async def _load(self, name: str, kind: str) -> dict[str, float]:
        to, pid = self._sides[name]
        requests = _requests(to, stream=kind == "stream")
        await busy(to, requests, self._options.clients, min(2.0, self._options.seconds))  # to warm it up
        async with self._memory[name]:
            used_s = _cpu_s(pid)
            load = await busy(to, requests, self._options.clients, self._options.seconds)
            used_s = _cpu_s(pid) - used_s
        return load.figures() | {"server_cpu_ms": 1000 * used_s / load.statuses[200]}

    def memory(self) -> None:
        """Whether it stays flat."""
        self.results["memory"] = {name: each.figures() for name, each in self._memory.items()}
        for name, each in self.results["memory"].items():
            self._console.print(
                f"resident, {name}: {each['first_mb']:.0f} MiB at first, {each['last_mb']:.0f} at last, "
                f"{each['most_mb']:.0f} at most; {each['slope_mb_hour']:+.0f} an hour over the last two thirds"
            )

    async def added(self, bare: Address) -> None:
        """Percentiles at half of the load that was measured, ours minus the bare fake's."""
        rate = median(each["ours"]["requests_s"] for each in self.results["plain"]) / 2
        rounds: list[dict[str, float]] = []
        for seed in range(self._options.rounds):
            found: dict[str, Load] = {}
            for name, to in (("bare", bare), ("ours", self._sides["ours"][0])):
                requests = _requests(to, stream=False)
                found[name] = await arrivals(to, requests, rate, min(self._options.seconds, 60.0), seed)
            rounds.append(
                {f"{name}_p{share}_ms": load.ms(share / 100) for name, load in found.items() for share in (50, 99)}
                | {"client_cpu": found["ours"].cpu}
            )
            rounds[-1] |= {f"added_p{at}_ms": rounds[-1][f"ours_p{at}_ms"] - rounds[-1][f"bare_p{at}_ms"]
                           for at in (50, 99)}  # fmt: skip
        self.results["added"] = {"rate": rate, "rounds": rounds}
        said = ", ".join(f"{name} {_spread([each[name] for each in rounds])}" for name in rounds[0])
        verdict = _verdict(median(each["added_p99_ms"] for each in rounds), "<=", WANTED_ADDED_MS, " ms")
        self._console.print(f"at {rate:,.0f} requests/s: {said}; added_p99_ms {verdict}\n")

    async def client_alone(self, echo: Address) -> None:
        """What the clients do where the server does nothing."""
        load = await busy(echo, _requests(echo, stream=False), self._options.clients, min(5.0, self._options.seconds))
        self.results["client_alone_requests_s"] = load.requests_s
        self._console.print(f"the clients alone: {load.requests_s:,.0f} requests/s against a constant\n")

    async def quota(self, what: str, key: str, most: int) -> None:
        """Whole minutes of everybody hitting one limit."""
        minutes, to = self._options.quota_minutes, self._sides["ours"][0]
        to = Address(to.port, key, to.model)
        await asyncio.sleep(60 - time.time() % 60 + 0.05)  # the quota's minutes are the clock's
        admitted, refused = await _hammer(to, what, self._options.clients, 60 * minutes - 0.2)
        error = admitted / (most * minutes) - 1
        self.results[f"quota_{what}"] = {"admitted": admitted, "refused": refused, "error": error}
        verdict = _verdict(abs(error), "<=", WANTED_QUOTA)
        self._console.print(
            f"quota of {most:,} {what} a minute, {minutes} min: {admitted:,} admitted, {refused:,} requests refused, "
            f"error {error:+.2%}; {verdict}"
        )


async def _hammer(to: Address, what: str, clients: int, seconds: float) -> tuple[int, int]:
    """(what was admitted, how many requests were refused)."""
    pool, until, admitted, refused = Pool(to), time.perf_counter() + seconds, 0, 0
    requests = cycle(_requests(to, stream=False))

    async def client() -> None:
        nonlocal admitted, refused
        while time.perf_counter() < until:
            answer = await pool.ask(next(requests))
            if answer.status == 200:
                admitted += 1 if what == "requests" else json.loads(answer.body)["usage"]["total_tokens"]
            elif answer.status == 400:  # the content filter's mistake: admitted all the same, and nothing computed
                admitted += what == "requests"
            elif answer.status == 429:
                refused += 1
                await asyncio.sleep(HEAR)
            else:
                raise RuntimeError(f"status {answer.status}: {answer.body[:200]!r}")

    await asyncio.gather(*(client() for _ in range(clients)))
    pool.close()
    return admitted, refused


async def _busy_share() -> float:
    """Of one core, what other programs use at this moment."""
    psutil.cpu_percent()
    await asyncio.sleep(3.0)
    return psutil.cpu_percent() / 100 * (os.cpu_count() or 1)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, printed as it comes."""
    if options.minutes:
        options.seconds, options.rounds = 60 * options.minutes, 1
    console = Console(width=120, soft_wrap=True)
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mainspring-bench-")))
        os.environ["MAINSPRING_LOG_LEVEL"] = options.log_level
        if not options.filters:
            (home / "mainspring.toml").write_text('[filters]\npolicy = "none"\n')
        keys = {
            "plenty": await _key(home, "plenty", tokens_per_minute=PLENTY, requests_per_minute=PLENTY),
            "requests": await _key(home, "few-requests", requests_per_minute=REQUESTS_PER_MINUTE),
            "tokens": await _key(home, "few-tokens", tokens_per_minute=TOKENS_PER_MINUTE),
        }
        sides = {"ours": await stack.enter_async_context(_ours(home, key=keys["plenty"]))}
        if options.peer:
            sides["LiteLLM"] = await stack.enter_async_context(_litellm(home))
        others = await _busy_share()
        doubt = ": do not trust the figures" if others > 0.1 else ""
        filters = "on" if options.filters else "OFF"
        console.print(
            f"{os.cpu_count()} cores, uvicorn {version('uvicorn')}, {options.rounds} x {options.seconds:.0f} s, "
            f"content filters {filters}; other programs use {others:.0%} of a core{doubt}\n"
        )
        bench = Bench(options, sides, console)
        bench.results["others_cpu"] = others
        async with _ours(home, "echo") as (echo, _):
            await bench.client_alone(echo)
        for kind in ("plain", "stream"):
            await bench.compare(kind)
        bench.memory()
        async with _ours(home, "bare") as (bare, _):
            await bench.added(bare)
        if options.quota_minutes:
            await bench.quota("requests", keys["requests"], REQUESTS_PER_MINUTE)
            await bench.quota("tokens", keys["tokens"], TOKENS_PER_MINUTE)
    return bench.results


if __name__ == "__main__":
    main("gateway", __doc__ or "", run, needs_model=False, runner=uvloop.run, seconds=30.0, rounds=3, clients=64,
         minutes=0.0, quota_minutes=1, peer=1, filters=1, log_level="info")  # fmt: skip
