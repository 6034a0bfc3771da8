"""Two sides that train in turns, as processes of their own: for `finetuning.py` and `alignment.py`."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mainspring.train.loop import WARM_UP

__all__ = ["PEERS", "Side", "Turn", "exported", "play", "speed", "warm_up"]

PEERS = {
    "autocast": {"bf16": True, "weights": "float32"},
    "float32": {"bf16": False, "weights": "float32"},
    "bfloat16": {"bf16": True, "weights": "bfloat16"},
}
"""Kinds of the peer: as TRL does it by itself, in float32, and with the weights in bfloat16."""

Turn = Sequence[Mapping[str, Any]]
"""What a side told of each step."""


class Side:
    """A process that trains when it is its turn."""

    def __init__(self, command: list[str], asked: dict[str, Any], log: Path) -> None:
        self._log = log.open("w")
        threads = str(asked["threads"])
        self._process = subprocess.Popen(
            [*command, json.dumps(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip
        self.ready = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                return json.loads(line)
        raise SystemExit("One side ended:\n" + "\n".join(Path(self._log.name).read_text().splitlines()[-12:]))

    def turn(self, steps: int) -> Turn:
        """Let it compute so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [self._read() for _ in range(steps)]

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def speed(steps: Turn) -> float:
    """Tokens a second."""
    return sum(step["tokens"] for step in steps) / sum(step["s"] for step in steps)


def play(sides: Mapping[str, Side], rounds: int, steps: int) -> dict[str, list[Turn]]:
    """Let each of them compute so many steps in each round, and end them."""
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            turns[name].append(side.turn(steps))
            time.sleep(1)  # threads spin for a while after their last product
    for side in sides.values():
        side.stop()
    return turns


def warm_up(steps: int) -> int:
    """Steps in which the learning rate rises: ours, so that both sides learn by the same schedule."""
    return max(1, round(steps * WARM_UP))


def exported(home: Path, base: str) -> None:
    """Write the base as a folder that transformers reads: `home`/folder."""
    subprocess.run(
        [sys.executable, "-m", "mainspring", "models", "export", base, "--format", "safetensors", "--outfile",
         str(home / "folder"), "--type", "f32", "--home", str(home)], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
