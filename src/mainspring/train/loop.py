"""The loop: batches in, better weights out.

    for step in range(...):
        loss = sum of the method's losses over the micro-batches, backward after each
        clip, AdamW, next

What makes it resumable to the bit: a batch is a function of the step's number, the learning rate too, the state of the
random numbers is in the checkpoint, and every choice that was measured (precision, shapes, compiling) is written down
before the first step. What was delivered is delivered again after a resumption: whoever receives it knows it by its
step. On another machine, or with another number of threads, sums round differently.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from mainspring.train.checkpoint import Checkpoints, Saved
from mainspring.train.model import Scored, Trainee
from mainspring.train.packing import Batch, MicroBatch
from mainspring.train.plan import Made, Outcome, Progress, Reporter, Wanted

__all__ = ["CHECKPOINT_S", "WARM_UP", "Fit", "Method", "Notes", "Sums", "learning_rate"]

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
CLIP = 1.0
"""Largest norm of a step's gradient; AdamW hardly notices, a spoilt batch does."""
CHECKPOINT_S = 30.0
"""Between two checkpoints to resume from: what a killed process has to do again."""

Sums = Mapping[str, tuple[float, float]]
"""Of each metric, a sum and what it is divided by, so that micro-batches add up."""


class Method(Protocol):
    """What a way of training adds to the loop: `methods.py` has them."""

    steps: int
    """How many there are in all."""
    epoch_ends: tuple[int, ...]
    """The steps after which what there is can be served, the last one among them."""

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        ...

    def loss(self, scored: Scored, micro: MicroBatch, batch: Batch) -> tuple[Tensor, Sums]:
        """A micro-batch's share of the batch's loss, and its share of the metrics."""
        ...

    def evaluate(self, *, whole: bool) -> dict[str, float]:
        """Metrics of the validation data, or of a part of it that is always the same; empty if there is none."""
        ...


@runtime_checkable
class Notes(Protocol):
    """A method that measures while it makes a batch, such as what sampled answers are worth."""

    def notes(self) -> dict[str, float]:
        """Metrics of the batch that was made last."""
        ...


class Fit(NamedTuple):
    """How to run the loop.

    Args:
        rate: the highest learning rate.
        evaluate_every: steps between two looks at the validation data; 0 looks only where an epoch ends.
        base: what adapters say they belong to.
        now: seconds, of a clock that only moves forward.
    """

    rate: float
    evaluate_every: int
    base: str
    checkpoint_s: float = CHECKPOINT_S
    weight_decay: float = 0.0
    now: Callable[[], float] = time.monotonic

    def run(self, trainee: Trainee, method: Method, folder: Path, reporter: Reporter) -> Outcome:
        """Train from the last checkpoint in `folder` to the end, or until it is asked to stop.

        Raises:
            OSError: a checkpoint could not be written; the one before it is there.
        """
        return _Run(self, trainee, method, folder, reporter).go()


def learning_rate(step: int, steps: int) -> float:
    """The share of the highest rate in a step: up in a line, then down in a line to nothing after the last one."""
    warm = max(1, round(steps * WARM_UP))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm), 1.0)


class _Run:
    """One process's part of a run."""

    def __init__(self, fit: Fit, trainee: Trainee, method: Method, folder: Path, reporter: Reporter) -> None:
        self._fit, self._trainee, self._method, self._reporter = fit, trainee, method, reporter
        self._out, self._metrics = folder / "out", folder / "metrics.jsonl"
        self._checkpoints = Checkpoints(folder / "state")
        fused = trainee.device.type in ("cpu", "cuda")
        self._optimiser = torch.optim.AdamW(
            trainee.trained.values(), lr=fit.rate, weight_decay=fit.weight_decay, betas=(0.9, 0.99), fused=fused
        )
        self._step = self._tokens = 0
        self._last: dict[str, float] = {}
        self._speed = _Speed(fit.now)

    def go(self) -> Outcome:
        self._resume()
        saved_at = self._fit.now()
        try:
            while True:
                if self._step in self._method.epoch_ends:
                    self._deliver()
                if self._step >= self._method.steps:
                    return self._outcome("done")
                if (wanted := self._reporter.wanted()) != "run":
                    return self._stop(wanted)
                self._train_step()
                if self._fit.now() - saved_at >= self._fit.checkpoint_s:
                    self._save()
                    saved_at = self._fit.now()
        finally:
            self._checkpoints.close()

    def _outcome(self, end: Any) -> Outcome:
        return Outcome(end=end, tokens=self._tokens, steps=self._step)

    def _stop(self, wanted: Wanted) -> Outcome:
        if wanted != "cancel":
            self._save()
            self._checkpoints.wait()
        return self._outcome(wanted)

    def _train_step(self) -> None:
        batch = self._method.batch(self._step)
        sums: dict[str, tuple[float, float]] = {}
        for micro in batch.micro:
            loss, more = self._method.loss(self._trainee.score(micro), micro, batch)
            loss.backward()
            for name, (value, weight) in more.items():
                old = sums.get(name, (0.0, 0.0))
                sums[name] = (old[0] + value, old[1] + weight)
        norm = torch.nn.utils.clip_grad_norm_(self._trainee.trained.values(), CLIP)
        share = learning_rate(self._step, self._method.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = self._fit.rate * share
        if math.isfinite(float(norm)):  # a batch whose loss overflows is left out, rather than spoiling the weights
            self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._step += 1
        self._tokens += batch.num_tokens
        self._tell(
            batch, {name: value / max(weight, 1e-9) for name, (value, weight) in sums.items()}, float(norm), share
        )

    def _tell(self, batch: Batch, measured: dict[str, float], norm: float, share: float) -> None:
        every, step = self._fit.evaluate_every, self._step
        if isinstance(self._method, Notes):
            measured |= self._method.notes()
        if every and step % every == 0 and step not in self._method.epoch_ends:
            measured |= self._evaluate(whole=False)
        self._last = measured
        line = {"step": step, **measured, "grad_norm": norm, "learning_rate": self._fit.rate * share}
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._reporter.metrics(step, measured)
        per_s = self._speed.add(batch.num_tokens)
        left = self._method.steps - step
        self._reporter.progress(
            Progress(
                step=step, steps=self._method.steps, tokens=self._tokens, tokens_per_s=per_s,
                left_s=left * batch.num_tokens / per_s if per_s else 0.0,
            )
        )  # fmt: skip

    def _evaluate(self, *, whole: bool) -> dict[str, float]:
        with torch.no_grad():
            return self._method.evaluate(whole=whole)

    def _deliver(self) -> None:
        """What there is can be served from now on. Told again after a resumption, with the same numbers."""
        measured = {**self._last, **self._evaluate(whole=True)}
        target = self._out / f"step-{self._step}"
        self._trainee.save(target, self._fit.base)
        self._reporter.metrics(self._step, measured)
        is_last = self._step >= self._method.steps
        self._reporter.made(Made(step=self._step, folder=target, metrics=measured, is_last=is_last))

    def _save(self) -> None:
        moments: dict[str, Tensor] = {}
        for name, parameter in self._trainee.trained.items():
            for key, value in self._optimiser.state[parameter].items():
                moments[f"{name}:{key}"] = value.detach().clone()
        rest: dict[str, Any] = {"tokens": self._tokens, "last": self._last, "torch_rng": torch.get_rng_state().tolist()}
        self._checkpoints.save(Saved(self._step, self._trainee.state(), moments, rest))

    def _resume(self) -> None:
        saved = self._checkpoints.latest()
        if saved is not None:
            self._step, self._tokens = saved.step, saved.rest["tokens"]
            self._last = saved.rest["last"]
            torch.set_rng_state(torch.tensor(saved.rest["torch_rng"], dtype=torch.uint8))
            self._trainee.load(saved.weights)
            for name, parameter in self._trainee.trained.items():
                keys = ("step", "exp_avg", "exp_avg_sq")
                found = {key: saved.moments[f"{name}:{key}"] for key in keys if f"{name}:{key}" in saved.moments}
                if found:
                    self._optimiser.state[parameter] = found
            self._reporter.say(f"Going on after step {self._step} of {self._method.steps}.")
        lines = list(_lines_until(self._metrics, self._step))
        part = self._metrics.with_suffix(".part")
        part.write_text("".join(lines))
        part.replace(self._metrics)


def _lines_until(path: Path, step: int) -> Iterator[str]:
    """What is known of the steps before: a process that was killed may have told more than its checkpoint has."""
    if path.exists():
        for line in path.read_text().splitlines():
            if line.endswith("}") and json.loads(line)["step"] <= step:
                yield line + "\n"


class _Speed:
    """Tokens a second over the last steps."""

    def __init__(self, now: Callable[[], float], over: int = 20) -> None:
        self._now, self._over = now, over
        self._seen: list[tuple[float, int]] = [(now(), 0)]

    def add(self, tokens: int) -> float:
        self._seen.append((self._now(), tokens))
        del self._seen[: -self._over]
        took = self._seen[-1][0] - self._seen[0][0]
        return sum(tokens for _, tokens in self._seen[1:]) / took if took > 0 else 0.0
