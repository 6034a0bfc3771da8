"""A training run of the default model whose steps are compiled, as a process that may be killed:

    python -m tests.e2e.compiled_run CATALOG DATA FOLDER STEPS

A job compiles only what is long enough to be worth it; here it always does. A line is written after each step.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

from mainspring.models.catalog import Catalog
from mainspring.train import run
from mainspring.train.plan import Data, Hyperparameters, Plan


class Told:
    """A reporter to whoever reads."""

    def say(self, message: str, **_: Any) -> None:
        print(message, file=sys.stderr, flush=True)

    def metrics(self, step: int, values: object) -> None:
        pass

    def progress(self, progress: Any) -> None:
        print(progress.step, flush=True)

    def made(self, made: Any) -> None:
        pass

    def wanted(self) -> str:
        return "run"


def main(catalog: Path, data: Path, folder: Path, steps: int) -> None:
    run.choose_compile = lambda *_, **__: (True, "it is asked for")
    models = Catalog(catalog)
    plan = Plan(
        job="job", base=models.list()[0].id, name="ft:compiled", method="supervised", seed=3, max_steps=steps,
        training=Data(path=str(data), sha256=hashlib.sha256(data.read_bytes()).hexdigest()),
        hyperparameters=Hyperparameters(n_epochs=99, batch_size=4),
    )  # fmt: skip
    run.train(models, plan, folder, Told(), checkpoint_s=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
