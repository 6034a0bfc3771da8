"""Our side of `finetuning.py` and `alignment.py`, as a process of its own, so that its peak of memory is its own.

    python -m benchmarks._finetune '{"home": ..., "data": ..., "threads": 2, ...}'

Speaks as `_trl.py` does: a line when it is ready and one after each step, and it waits for a line every `turn` steps.
"""

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mainspring.models.catalog import Catalog
from mainspring.train import auto
from mainspring.train.base import load_base
from mainspring.train.loop import Fit
from mainspring.train.methods import Preferences, Supervised
from mainspring.train.model import Trainee, choose_precision
from mainspring.train.packing import Packer, Sample
from mainspring.train.plan import Data, Hyperparameters, Plan, Wanted
from mainspring.train.run import train


class Items:
    """The examples that the other side reads: each one segment, or the two of a pair."""

    def __init__(self, path: Path) -> None:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        self._items = [[_sample(part) for part in row.get("parts", [row])] for row in rows]
        self.lengths = np.array([sum(len(part.ids) for part in item) for item in self._items], np.int64)

    def item(self, number: int) -> list[Sample]:
        """See `packing.Source`."""
        return self._items[number]


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(np.array(row["input_ids"], np.int32), np.array(row["completion_mask"], np.float32))


class Turns:
    """A reporter that tells how each step went, and waits for the next turn.

    Args:
        more_s: what each step cost before the first one.
    """

    def __init__(self, turn: int, more_s: float = 0.0) -> None:
        self._turn, self._step, self._tokens, self._started = turn, 0, 0, 0.0
        self._more_s, self._values = more_s, dict[str, float]()

    def say(self, message: str, **_: Any) -> None:
        """For the log."""
        print(message, file=sys.stderr)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Before `progress`, which knows the step."""
        del step
        self._values = dict(values)

    def progress(self, progress: Any) -> None:
        """After each step."""
        took = time.perf_counter() - self._started + self._more_s
        said = {"step": progress.step, "s": took, "loss": self._values["train_loss"]}
        said["tokens"] = progress.tokens - self._tokens
        if (reward := self._values.get("train_reward")) is not None:
            said |= {"reward": reward, "answer": self._values["train_answer_tokens"]}
        said["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(said), flush=True)
        self._step, self._tokens = progress.step, progress.tokens

    def made(self, made: Any) -> None:
        """Not of interest."""

    def wanted(self) -> Wanted:
        """Before each step."""
        if self._step % self._turn == 0 and not sys.stdin.readline():
            return "cancel"
        self._started = time.perf_counter()
        return "run"


def from_examples(asked: dict[str, Any]) -> None:
    """Supervised, or preferences."""
    torch.set_num_threads(asked["threads"])
    catalog = Catalog(Path(asked["home"]) / "models")
    model = load_base(catalog, catalog.get(asked["base"])).model
    device, precision = torch.device("cpu"), torch.float32
    if asked["bf16"]:
        precision, _ = choose_precision(device, model.config.hidden_size)
    trainee = Trainee(model, rank=asked["rank"], precision=precision, length=asked["length"], seed=0)
    if asked["compile"]:
        trainee.compile()
    items = Items(Path(asked["data"]))
    # As many examples as fill the rows about as well as packing the whole file does; pairs are counted.
    size = asked.get("batch") or round(asked["rows"] * asked["length"] * asked["fill"] / float(items.lengths.mean()))
    packer = Packer(items, length=asked["length"], rows=asked["rows"], batch_size=size, seed=0)
    epochs, more_s = -(-asked["steps"] // packer.steps_per_epoch), 0.0
    if asked["method"] == "dpo":
        packer.batch(0)
        started = time.perf_counter()
        method = Preferences(
            trainee, packer, None, epochs=epochs, max_steps=asked["steps"], beta=0.1, cache=Path(asked["out"])
        )
        # What the base gives is computed before the first step; here as if there were one epoch only.
        more_s = (time.perf_counter() - started) / packer.steps_per_epoch
    else:
        method = Supervised(trainee, packer, None, epochs=epochs, max_steps=asked["steps"])
    method.epoch_ends = ()
    print(json.dumps({"ready": True, "precision": str(precision), "rows": packer.packing().efficiency}), flush=True)
    turns = Turns(asked["turn"], more_s)
    Fit(asked["rate"], 0, asked["base"], 1e9).run(trainee, method, Path(asked["out"]), turns)


def reinforced(asked: dict[str, Any]) -> None:
    """As a server does it, grader in its sandbox and all."""
    catalog = Catalog(Path(asked["home"]) / "models")
    plan = Plan(
        job="bench", base=asked["base"], name="ft:bench", method="reinforcement", rank=asked["rank"],
        training=Data(path=asked["data"], sha256="bench"), max_answer_tokens=asked["answer"],
        hyperparameters=Hyperparameters(
            n_epochs=1, batch_size=asked["batch"],
            learning_rate_multiplier=asked["rate"] / auto.choose_learning_rate(asked["hidden"], "reinforcement")[0],
        ), max_steps=asked["steps"],
        grader={"type": "python", "name": "larger", "source": asked["grader"]},
    )  # fmt: skip
    print(json.dumps({"ready": True}), flush=True)
    train(catalog, plan, Path(asked["out"]), Turns(asked["turn"]), checkpoint_s=1e9)


def main() -> None:
    """Train as long as it is asked to."""
    asked = json.loads(sys.argv[1])
    (reinforced if asked["method"] == "reinforcement" else from_examples)(asked)


if __name__ == "__main__":
    main()
