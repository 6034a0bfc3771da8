"""Training jobs in this process, for `learning.py` and `rlhf.py`: a catalog, a job, and answers before and after."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mainspring.core.types import ChatPrompt, Message, ModelVersion
from mainspring.models.catalog import Catalog
from mainspring.train.export import register
from mainspring.train.plan import Data, Hyperparameters, Made, Plan, Progress, Wanted
from mainspring.train.run import train
from mainspring.train.sampling import Answer, Answered, Ask, EngineSampler

__all__ = ["Workshop", "chat", "wilson"]

EVERY_S = 20.0
"""Between two lines about a job."""


def chat(*texts: str) -> list[dict[str, str]]:
    """Messages of the user and the assistant in turns, as a line of data has them."""
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def wilson(passed: int, num: int, z: float = 1.96) -> tuple[float, float]:
    """The interval that holds the share behind `passed` of `num` with 95 % (Wilson, 1927)."""
    share, more = passed / num, z * z / num
    centre = (share + more / 2) / (1 + more)
    half = z / (1 + more) * math.sqrt(share * (1 - share) / num + more / (4 * num))
    return centre - half, centre + half


class _Printer:
    """A `Reporter` that prints, and lists what was made."""

    def __init__(self, workshop: "Workshop", plan: Plan) -> None:
        self._workshop, self._plan = workshop, plan
        self.steps: dict[int, dict[str, float]] = {}
        self.version: ModelVersion | None = None
        self._told = time.monotonic()

    def say(self, message: str, **_: Any) -> None:
        print(f"  {message}", flush=True)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.setdefault(step, {}).update(values)

    def progress(self, progress: Progress) -> None:
        if time.monotonic() - self._told < EVERY_S and progress.step < progress.steps:
            return
        self._told = time.monotonic()
        said = ", ".join(f"{name} {value:.3f}" for name, value in self.steps[progress.step].items())
        print(f"  step {progress.step} of {progress.steps}, {progress.left_s / 60:.0f} min left: {said}", flush=True)

    def made(self, made: Made) -> None:
        if made.is_last:
            self.version = register(self._workshop.catalog, self._plan, made)

    def wanted(self) -> Wanted:
        return "run"


class Workshop:
    """A folder with a catalog, the base model and jobs.

    Args:
        home: what is there is used again; jobs that were interrupted go on.
        model: a GGUF file.
    """

    def __init__(self, home: Path, model: Path) -> None:
        self.home, self.catalog = home, Catalog(home / "models")
        self.base = self.catalog.ensure(f"file:{model.resolve()}")

    def write(self, name: str, lines: Sequence[Mapping[str, Any]]) -> Data:
        """A file of examples."""
        path = self.home / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Data(path=str(path), sha256=name)

    def train(
        self, name: str, base: ModelVersion, method: Any, lines: Sequence[Mapping[str, Any]], *,
        valid: Sequence[Mapping[str, Any]] = (), hyperparameters: Mapping[str, Any] | None = None, seed: int = 0,
        **more: Any,
    ) -> tuple[ModelVersion, dict[int, dict[str, float]], float]:  # fmt: skip
        """Run a job to its end: what it made, its metrics by step, and the seconds that it took."""
        plan = Plan(
            job=f"bench-{name}", base=base.id, name=f"ft:bench:{name}", method=method, seed=seed,
            training=self.write(f"{name}.train", lines),
            validation=self.write(f"{name}.valid", valid) if valid else None,
            hyperparameters=Hyperparameters(**(hyperparameters or {})), **more,
        )  # fmt: skip
        reporter, started = _Printer(self, plan), time.perf_counter()
        folder = self.home / "jobs" / name
        train(self.catalog, plan, folder, reporter)
        took_s = time.perf_counter() - started
        assert reporter.version is not None
        steps = {line["step"]: line for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())}
        for step, told in reporter.steps.items():  # of steps before an interruption, only the file knows
            steps.setdefault(step, {}).update(told)
        return reporter.version, steps, took_s

    def answer(
        self, version: ModelVersion, questions: Sequence[Sequence[Mapping[str, str]]], *, n: int = 1,
        temperature: float = 0.0, max_tokens: int = 64, seed: int = 0,
    ) -> list[Answered]:  # fmt: skip
        """Answers through the engine, with the adapter that `version` is."""
        longest = max(sum(len(message["content"]) for message in each) for each in questions)
        tokens = 2 * 64 * (longest + max_tokens)
        sampler = EngineSampler(self.catalog, version, self.home / "engine", tokens=tokens)
        try:
            return sampler.sample([
                Ask(
                    prompt=ChatPrompt(tuple(Message(**message) for message in messages)),  # pyright: ignore[reportArgumentType]
                    n=n, seed=seed * 1_000_003 + at, max_tokens=max_tokens, temperature=temperature,
                )
                for at, messages in enumerate(questions)
            ])  # fmt: skip
        finally:
            sampler.close()

    def passed(
        self, version: ModelVersion, lines: Sequence[Mapping[str, Any]],
        passes: Callable[[Mapping[str, Any], Answer], bool], max_tokens: int,
    ) -> int:  # fmt: skip
        """How many of the held-out examples are answered as they should be, greedily."""
        found = self.answer(version, [line["messages"] for line in lines], max_tokens=max_tokens)
        return sum(passes(line, each.answers[0]) for line, each in zip(lines, found, strict=True))
