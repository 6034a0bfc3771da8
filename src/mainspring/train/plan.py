"""What a training job is asked to do, and the seam between what trains and what keeps the job.

    train(plan, folder, reporter) -> Outcome

`run.train` is the real one, `fake.train` the one in tests. Whoever keeps the job (`job.py`) gives it a folder of its
own, asks it to stop through the reporter, and calls it again with the same plan and folder after whatever interruption:
it goes on where its last checkpoint was.

    <folder>/state/            what it resumes from; `checkpoint.py` alone knows what is in it
    <folder>/out/step-<n>/     an adapter in PEFT's format, or whole weights: complete once its name is there
    <folder>/metrics.jsonl     one line a step
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

__all__ = ["Data", "Hyperparameters", "Made", "Method", "Outcome", "Plan", "Progress", "Reporter", "Train", "Wanted"]

Method = Literal["supervised", "dpo", "reinforcement", "reward"]

Wanted = Literal["run", "pause", "cancel", "yield"]
"""What is asked of a job at its next step: "yield" is a pause that ends by itself, to let a more urgent job run."""


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """A file of examples on this machine, and the SHA-256 of its bytes."""

    path: str
    sha256: str


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the API calls so; None is "auto", and the job says what it chose and why.

    Args:
        learning_rate_multiplier: of the method's own rate.
        beta: how strongly DPO and reinforcement keep to the base model.
        compute_multiplier, eval_interval, eval_samples: of reinforcement.
    """

    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    compute_multiplier: float | None = None
    eval_interval: int | None = None
    eval_samples: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that decides what comes out; kept with it as its lineage.

    Args:
        base: the model to train, as name@version of the catalog; it may itself be an adapter.
        name: what comes out is called, such as `ft:smollm2-135m-instruct:acme:suffix:a1b2c3`.
        rank: of LoRA matrices; None chooses. With `full` all weights are trained instead.
        max_tokens: examples longer than this are cut; None is the model's context, within what memory allows.
        grader, response_format: of reinforcement, as the API has them.
        max_answer_tokens: of an answer that reinforcement samples; None chooses.
        max_steps: end earlier than the epochs do.
    """

    job: str
    base: str
    name: str
    method: Method
    training: Data
    validation: Data | None = None
    seed: int = 0
    hyperparameters: Hyperparameters = Hyperparameters()
    full: bool = False
    rank: int | None = None
    max_tokens: int | None = None
    max_steps: int | None = None
    grader: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    max_answer_tokens: int | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: steps done of so many, tokens trained on, and what that tells of the time left."""

    step: int
    steps: int
    tokens: int
    tokens_per_s: float
    left_s: float


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that can be served: the folder is complete. `metrics` as OpenAI names them (train_loss, ...)."""

    step: int
    folder: Path
    metrics: dict[str, float]
    is_last: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Why it returned. "done" is after the last `Made`; the others are after a checkpoint to resume from."""

    end: Literal["done", "pause", "cancel", "yield"]
    tokens: int
    steps: int


class Reporter(Protocol):
    """Who is told how it goes. Calls return at once; what they tell is kept even if the process is killed next, or is
    told again after the resumption with the same step."""

    def say(
        self, message: str, *, level: Literal["info", "warn", "error"] = "info", data: Mapping[str, Any] | None = None
    ) -> None:
        """Something for people: an automatic choice and its reason, a finished epoch."""
        ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """What was measured in a step: train_loss, train_mean_token_accuracy, valid_loss, reward, ..."""
        ...

    def progress(self, progress: Progress) -> None:
        """After each step."""
        ...

    def made(self, made: Made) -> None:
        """A checkpoint is there; it is in the catalog when this returns."""
        ...

    def wanted(self) -> Wanted:
        """Asked before each step."""
        ...


Train = Callable[[Plan, Path, Reporter], Outcome]
"""Raises `core.errors.InvalidRequest` for what is the data's or the plan's fault: the message is the user's."""
