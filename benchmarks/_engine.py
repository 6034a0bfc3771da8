"""Our engine without server, socket or other process, for `serving.py` case (f): what is longer than this is outside.

    python -m benchmarks._engine MODEL THREADS

Reads one JSON object a line: prompts (token ids), max_tokens, logit_bias. Answers each with one: wall_s, ttft_s.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from mainspring.core.config import EngineSettings
from mainspring.core.errors import MainspringError
from mainspring.core.types import GenerateRequest, Sampling, Token, TokenPrompt
from mainspring.engine.backend import Backend
from mainspring.engine.loop import Engine
from mainspring.engine.prepare import Preparer
from mainspring.engine.process import make_engine


def _requests(asked: dict[str, Any], run: int) -> list[GenerateRequest]:
    bias = {int(token): float(value) for token, value in asked["logit_bias"].items()}
    return [
        GenerateRequest(
            id=f"{run}-{at}",
            model="",
            prompt=TokenPrompt(tuple(ids)),
            max_tokens=asked["max_tokens"],
            sampling=Sampling(temperature=0.0, logit_bias=bias),
        )
        for at, ids in enumerate(asked["prompts"])
    ]


def _run(backend: Backend, engine: Engine, requests: list[GenerateRequest]) -> dict[str, Any]:
    preparer = Preparer(backend)
    first: dict[str, float] = {}
    start = time.perf_counter()
    for request in requests:
        engine.add(preparer.prepare(request, time.monotonic))
    last = start
    while engine.busy:
        outputs = engine.step()
        now = time.perf_counter()
        for name, event in outputs:
            if isinstance(event, MainspringError):
                raise event
            if isinstance(event, Token) and event.text:
                first.setdefault(name, now - start)
                last = now
    return {"wall_s": last - start, "ttft_s": [first[request.id] for request in requests]}


def main() -> None:
    """Answer until the input ends."""
    model, threads = Path(sys.argv[1]), int(sys.argv[2])
    backend, engine = make_engine(model, EngineSettings(threads=threads))  # pyright: ignore[reportCallIssue]
    for run, line in enumerate(sys.stdin):
        print(json.dumps(_run(backend, engine, _requests(json.loads(line), run))), flush=True)


if __name__ == "__main__":
    main()
