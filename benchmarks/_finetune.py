"""Our side of `finetuning.py`, as a process of its own, so that its peak of memory is its own.

    python -m benchmarks._finetune '{"home": ..., "data": ..., "threads": 2, ...}'

Speaks as `_trl.py` does: a line when it is ready and one after each step, and it waits for a line every `turn` steps.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mainspring.models.catalog import Catalog
from mainspring.train.base import load_base
from mainspring.train.loop import Fit
from mainspring.train.methods import Supervised
from mainspring.train.model import Trainee, choose_precision
from mainspring.train.packing import Packer, Sample


class Items:
    """The examples that the other side reads."""

    def __init__(self, path: Path) -> None:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        self._items = [
            Sample(np.array(row["input_ids"], np.int32), np.array(row["completion_mask"], np.float32)) for row in rows
        ]
        self.lengths = np.array([len(item.ids) for item in self._items], np.int64)

    def item(self, number: int) -> list[Sample]:
        """See `packing.Source`."""
        return [self._items[number]]


class Turns:
    """A reporter that tells how each step went, and waits for the next turn."""

    def __init__(self, turn: int) -> None:
        self._turn, self._step, self._tokens, self._started = turn, 0, 0, 0.0
        self._loss = 0.0

    def say(self, message: str, **_: Any) -> None:
        """Nobody asked."""

    def metrics(self, _step: int, values: dict[str, float]) -> None:
        """Before `progress`."""
        self._loss = values["train_loss"]

    def progress(self, progress: Any) -> None:
        """After each step."""
        said = {"step": progress.step, "s": time.perf_counter() - self._started, "loss": self._loss}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(said | {"tokens": progress.tokens - self._tokens, "peak": peak}), flush=True)
        self._step, self._tokens = progress.step, progress.tokens

    def made(self, made: Any) -> None:
        """Not of interest."""

    def wanted(self) -> str:
        """Before each step."""
        if self._step % self._turn == 0 and not sys.stdin.readline():
            return "cancel"
        self._started = time.perf_counter()
        return "run"


def main() -> None:
    """Train as long as it is asked to."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    catalog = Catalog(Path(asked["home"]) / "models")
    model = load_base(catalog, catalog.get(asked["base"])).model
    device = torch.device("cpu")
    precision = torch.float32
    if asked["bf16"]:
        precision, _ = choose_precision(device, model.config.hidden_size)
    trainee = Trainee(model, rank=asked["rank"], precision=precision, length=asked["length"], seed=0)
    if asked["compile"]:
        trainee.compile()
    items = Items(Path(asked["data"]))
    mean = float(items.lengths.mean())
    # As many examples as fill the rows about as well as packing the whole file does.
    size = round(asked["rows"] * asked["length"] * asked["fill"] / mean)
    packer = Packer(items, length=asked["length"], rows=asked["rows"], batch_size=size, seed=0)
    epochs = -(-asked["steps"] // packer.steps_per_epoch)
    method = Supervised(trainee, packer, None, epochs=epochs, max_steps=asked["steps"])
    method.epoch_ends = ()
    print(json.dumps({"ready": True, "precision": str(precision), "rows": packer.packing().efficiency}), flush=True)
    Fit(asked["rate"], 0, asked["base"], 1e9).run(trainee, method, Path(asked["out"]), Turns(asked["turn"]))


if __name__ == "__main__":
    main()
