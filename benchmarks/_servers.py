"""Starts and stops what is measured: Mainspring, llama.cpp's own server from the same wheel, and our engine alone.

Each runs in a process of its own and dies with this one. Both servers get the same file and the same number of threads.
Run as a program (`python -m benchmarks._servers`), this file is llama.cpp's server.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks._client import Address, get
from mainspring.engine.formats import FORMATS, SHIPPED
from mainspring.models.catalog import Catalog
from tests.unit.engine.make_adapter import write_adapter

__all__ = [
    "NUM_SLOTS",
    "add_adapters",
    "engine_alone",
    "idle_cpu",
    "in_format",
    "mainspring",
    "metric",
    "peer",
    "server_memory_mb",
]

NUM_SLOTS = 16
START_S = 120.0


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def _wait(to: Address, path: str, process: asyncio.subprocess.Process, start_s: float = START_S) -> None:
    """Until the server says that it is ready."""
    until = time.monotonic() + start_s
    while time.monotonic() < until:
        if process.returncode is not None:
            raise RuntimeError(f"the server ended with status {process.returncode} while starting")
        try:
            if (await get(to, path))[0] == 200:
                return
        except (OSError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the server was not ready within {START_S:.0f} s")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def mainspring(
    model: Path, threads: int, *, python: str = sys.executable, start_s: float = START_S, **engine: object
) -> AsyncIterator[tuple[Address, int]]:
    """Our server as a user starts it, with settings of the `engine` section; its address and process id."""
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as home:
        port = _free_port()
        start = "from mainspring.cli.main import main; main()"  # the console script, wherever it was installed
        command = ("-c", start, "up", "--home", home, "--port", str(port), "--model", f"file:{model}")
        # The file as it is, unless the caller wants another format: the peers get the same file.
        settings = {
            f"MAINSPRING_ENGINE__{name.upper()}": str(value) for name, value in {"format": "shipped", **engine}.items()
        }
        environment = {**os.environ, "MAINSPRING_LOG_LEVEL": "warning", "MAINSPRING_ENGINE__THREADS": str(threads)}
        # Engines are compared: the peers filter nothing. What filters cost is benchmarks/gateway.py's to say.
        environment |= settings | {"MAINSPRING_FILTERS__POLICY": "none"}
        with Path(home, "server.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                python, *command, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL, env=environment
            )
        try:
            await _wait(Address(port), "/readyz", process, start_s)
            to = Address(port, Path(home, "admin.key").read_text().strip())
            models = json.loads((await get(to, "/v1/models"))[1])
            yield Address(port, to.key, models["data"][0]["id"]), process.pid
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{Path(home, 'server.log').read_text()[-2000:]}") from error
        finally:
            await _stop(process)


@asynccontextmanager
async def peer(
    model: Path,
    threads: int,
    *,
    unified: bool,
    num_ctx: int,
    num_batch: int,
    num_slots: int = NUM_SLOTS,
    guesses: str = "NONE",
) -> AsyncIterator[Address]:
    """llama.cpp's server.

    Args:
        unified: one KV cache for all slots, instead of an equal part for each.
        num_ctx: tokens of KV cache altogether.
        num_batch: most tokens that it computes in one step (llama.cpp's default is 2048).
        guesses: its way of speculative decoding, such as NGRAM_SIMPLE.
    """
    port = _free_port()
    wanted = {"model": str(model), "threads": threads, "unified": unified, "num_ctx": num_ctx, "num_batch": num_batch}
    wanted |= {"num_slots": num_slots, "guesses": guesses}
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks._servers", json.dumps({**wanted, "port": port}),
        stdin=asyncio.subprocess.PIPE, stdout=null, stderr=null,
    )  # fmt: skip
    try:
        await _wait(Address(port), "/health", process)
        yield Address(port)
    finally:
        await _stop(process)


def in_format(model: Path, name: str, folder: Path, threads: int) -> Path:
    """The model's file written in a format that `mainspring models prepare` knows; "shipped" is the file itself."""
    if name == SHIPPED:
        return model
    from mainspring.engine.llama import binding  # here, so that the processes that serve do not load the library twice
    from mainspring.engine.llama.quantise import Quantiser, rewrite

    path = folder / f"{model.stem.partition('.')[0]}.{name}.gguf"
    with path.open("wb") as file:
        rewrite([model], FORMATS[name], file, Quantiser(binding.find(), threads), lambda _done, _total: None)
    return path


async def add_adapters(to: Address, pid: int, model: Path, names: Sequence[str]) -> None:
    """Pull random LoRA adapters into the catalog of our running server, and wait until it serves them."""
    command = psutil.Process(pid).cmdline()
    home = Path(command[command.index("--home") + 1])
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(names):
            path = write_adapter(Path(folder) / f"{name}.gguf", model, seed)
            Catalog(home / "models").pull(f"file:{path}", name=name, base=to.model)
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        listed = json.loads((await get(to, "/v1/models"))[1])["data"]
        if {one["id"] for one in listed} >= set(names):
            return
        await asyncio.sleep(0.2)
    raise RuntimeError("the server does not notice the adapters")


class _EngineAlone:
    """The engine in a process without a server: what is left is the time of the engine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, prompts: list[list[int]], max_tokens: int, logit_bias: dict[str, int]) -> dict[str, Any]:
        """Everything at once; seconds of wall time and to each one's first token."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"prompts": prompts, "max_tokens": max_tokens, "logit_bias": logit_bias}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the engine alone ended")
        return json.loads(line)


@asynccontextmanager
async def engine_alone(model: Path, threads: int) -> AsyncIterator[_EngineAlone]:
    """Our engine, driven in process by benchmarks/_engine.py."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks._engine", str(model), str(threads), limit=2**22,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield _EngineAlone(process)
    finally:
        await _stop(process)


async def idle_cpu(of: int | None = None, seconds: float = 1.0) -> float:
    """Share of one core that our children (or the process `of` and its own) use while nothing is asked of them."""
    root = psutil.Process(of)
    processes = root.children(recursive=True) + ([root] if of else [])

    def used() -> float:
        times = [one.cpu_times() for one in processes if one.is_running()]
        return sum(one.user + one.system for one in times)

    before = used()
    await asyncio.sleep(seconds)
    return (used() - before) / seconds


async def metric(to: Address, start: str) -> float:
    """The first figure of our server's metrics whose line begins so."""
    text = (await get(to, "/metrics"))[1].decode()
    return float(next(line for line in text.splitlines() if line.startswith(start)).split()[-1])


def server_memory_mb(pid: int) -> float:
    """Resident memory of the server's own process, without its replicas, in MiB."""
    return psutil.Process(pid).memory_info().rss / 2**20


def _serve_peer(wanted: dict[str, Any]) -> None:
    import xllamacpp  # here, so that only this process loads it

    params = xllamacpp.CommonParams()
    params.model.path = wanted["model"]
    params.n_parallel = wanted["num_slots"]
    kinds = xllamacpp.common_speculative_type
    params.speculative.types = [getattr(kinds, f"COMMON_SPECULATIVE_TYPE_{wanted['guesses']}")]
    params.n_ctx = wanted["num_ctx"]
    params.n_batch = wanted["num_batch"]
    params.kv_unified = wanted["unified"]
    params.cpuparams.n_threads = wanted["threads"]
    params.cpuparams_batch.n_threads = wanted["threads"]
    params.port = wanted["port"]
    params.verbosity = -1
    server = xllamacpp.Server(params)
    sys.stdin.buffer.read()  # until the parent is gone, in whatever way
    del server
    os._exit(0)


if __name__ == "__main__":
    _serve_peer(json.loads(sys.argv[1]))
