"""What a fine-tuning job is asked to do, as its row keeps it; its `Plan`; how what comes out is called."""

import re
from typing import Any, Literal

import msgspec

from mainspring.core.types import ModelVersion
from mainspring.store.jobs import Job
from mainspring.train.asking import Asking
from mainspring.train.plan import Data, Hyperparameters, Method, Plan

__all__ = [
    "FOLDER",
    "METHODS",
    "FileOf",
    "First",
    "Integration",
    "Spec",
    "checkpoint_name",
    "model_name",
    "plan_of",
    "spec_of",
]

METHODS: tuple[Method, ...] = ("supervised", "dpo", "reinforcement", "reward")

FOLDER = "training"
"""In the data directory: a folder for each job."""

_NOT_OF_A_NAME = re.compile(r"[^a-z0-9_-]+")


class FileOf(msgspec.Struct, frozen=True):
    """A file, and the content that it had when the job was made."""

    id: str
    sha256: str


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """Where metrics are to go besides. Weights & Biases is what there is."""

    project: str
    name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()
    type: Literal["wandb"] = "wandb"


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A fine-tuning job's `spec`.

    Args:
        model: as it was asked for; `base` is the version of the catalog that it stood for then.
        name: what comes out is called.
        method: with the hyperparameters that were given; those that were not are "auto".
        training_type: Azure's word for where it runs.
    """

    model: str
    base: str
    name: str
    method: Method
    training: FileOf
    seed: int
    validation: FileOf | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    grader: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    suffix: str | None = None
    metadata: dict[str, str] | None = None
    integrations: tuple[Integration, ...] = ()
    training_type: str | None = None
    full: bool = False
    rank: int | None = None
    max_tokens: int | None = None
    max_steps: int | None = None
    max_answer_tokens: int | None = None


class First(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of the standard input of a job's process.

    Args:
        home: the data directory; `database` and `blobs` as in the settings.
        owner, number: of the claim on `job`.
        trainer: a module to take `train`, `register` and `check` from instead; tests have one.
        asks: where its graders ask models.
    """

    home: str
    database: str
    job: str
    owner: str
    number: int
    lease_s: float
    checkpoint_s: float = 30.0
    trainer: str = ""
    asks: Asking | None = None
    blobs: dict[str, Any] = {}


def spec_of(job: Job) -> Spec:
    """What a fine-tuning job is asked to do."""
    return msgspec.convert(job.spec, Spec)


def plan_of(job: Job, training: Data, validation: Data | None) -> Plan:
    """What the job's process is to do, with its files on this machine."""
    spec = spec_of(job)
    return Plan(
        job=job.id, base=spec.base, name=spec.name, method=spec.method, training=training, validation=validation,
        seed=spec.seed, hyperparameters=spec.hyperparameters, full=spec.full, rank=spec.rank,
        max_tokens=spec.max_tokens, max_steps=spec.max_steps, max_answer_tokens=spec.max_answer_tokens,
        grader=spec.grader,
        response_format=spec.response_format,
    )  # fmt: skip


def model_name(base: ModelVersion, project: str, suffix: str | None, job: str) -> str:
    """ft:BASE:PROJECT:SUFFIX:ID, as OpenAI forms it. Of a model that was tuned before, the base is what that began
    with."""
    root = base.name.split(":")[1] if base.name.startswith("ft:") and base.name.count(":") > 1 else base.name
    clean = _NOT_OF_A_NAME.sub("-", (suffix or "").lower()).strip("-")
    return f"ft:{root}:{project}:{clean}:{job.rpartition('-')[2][:8]}"


def checkpoint_name(name: str, step: int) -> str:
    """What a checkpoint answers to. The last one is the model itself, and has its name."""
    return f"{name}:ckpt-step-{step}"
