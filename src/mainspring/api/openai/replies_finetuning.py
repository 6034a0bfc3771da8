"""What the server sends about fine-tuning: OpenAI's shapes, from the rows of jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.store.jobs import Checkpoint, Event, Job
from mainspring.train.sharing import Permission
from mainspring.train.spec import Integration, Spec, spec_of

__all__ = [
    "FineTuningCheckpoint",
    "FineTuningCheckpointList",
    "FineTuningEvent",
    "FineTuningEventList",
    "FineTuningJob",
    "FineTuningJobList",
    "FineTuningPermission",
    "FineTuningPermissionGone",
    "FineTuningPermissionList",
]

Auto = int | float | str


class FineTuningError(msgspec.Struct, frozen=True):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class FineTuningHyperparameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was asked for, or chosen since; "auto" before that."""

    n_epochs: Auto | UnsetType = UNSET
    batch_size: Auto | UnsetType = UNSET
    learning_rate_multiplier: Auto | UnsetType = UNSET
    beta: Auto | UnsetType = UNSET
    compute_multiplier: Auto | UnsetType = UNSET
    eval_interval: Auto | UnsetType = UNSET
    eval_samples: Auto | UnsetType = UNSET
    reasoning_effort: str | UnsetType = UNSET


class FineTuningWandb(msgspec.Struct, frozen=True, kw_only=True):
    """A run of Weights & Biases."""

    project: str
    name: str | None
    entity: str | None
    tags: list[str]


class FineTuningIntegration(msgspec.Struct, frozen=True, kw_only=True):
    """Where metrics go besides."""

    type: str = "wandb"
    wandb: FineTuningWandb


class FineTuningMethodOf(msgspec.Struct, frozen=True, kw_only=True):
    """How one method trains."""

    hyperparameters: FineTuningHyperparameters
    grader: dict[str, Any] | UnsetType = UNSET
    response_format: dict[str, Any] | UnsetType = UNSET


class FineTuningMethod(msgspec.Struct, frozen=True, kw_only=True):
    """How a job trains: the field that `type` names says the rest."""

    type: str
    supervised: FineTuningMethodOf | UnsetType = UNSET
    dpo: FineTuningMethodOf | UnsetType = UNSET
    reinforcement: FineTuningMethodOf | UnsetType = UNSET
    reward: FineTuningMethodOf | UnsetType = UNSET


class FineTuningProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is: steps done of so many, tokens trained on, and how fast it is."""

    step: int
    steps: int
    tokens: int
    tokens_per_s: float


class FineTuningJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Times are Unix seconds. `priority` and `progress` are Mainspring's own, `trainingType` Azure's."""

    object: str = "fine_tuning.job"
    id: str
    model: str
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    fine_tuned_model: str | None
    organization_id: str
    result_files: list[str]
    status: str
    training_file: str
    validation_file: str | None
    hyperparameters: FineTuningHyperparameters
    trained_tokens: int | None
    error: FineTuningError | None
    seed: int
    user_provided_suffix: str | None
    integrations: list[FineTuningIntegration]
    method: FineTuningMethod
    metadata: dict[str, str] | None
    priority: int
    progress: FineTuningProgress | UnsetType = UNSET
    trainingType: str | UnsetType = UNSET  # noqa: N815 - Azure's name

    @classmethod
    def of(cls, job: Job) -> "FineTuningJob":
        """From the job's row."""
        spec, state = spec_of(job), job.state
        given = _hyperparameters(spec, state.get("chosen", {}))
        finish = state.get("finish_at") if job.status == "running" else None
        return cls(
            id=job.id, model=spec.model, created_at=int(job.created), finished_at=_whole(job.finished),
            estimated_finish=_whole(finish), fine_tuned_model=state.get("fine_tuned_model"),
            organization_id="mainspring", result_files=state.get("result_files", []), status=job.status,
            training_file=spec.training.id, validation_file=spec.validation.id if spec.validation else None,
            hyperparameters=FineTuningHyperparameters(
                given.n_epochs, given.batch_size, given.learning_rate_multiplier
            ),
            trained_tokens=state.get("trained_tokens"),
            error=None if job.error is None else msgspec.convert(job.error, FineTuningError), seed=spec.seed,
            user_provided_suffix=spec.suffix, integrations=[_integration(each) for each in spec.integrations],
            method=_method(spec, given), metadata=spec.metadata, priority=job.priority,
            progress=msgspec.convert(state, FineTuningProgress) if "steps" in state else UNSET,
            trainingType=spec.training_type or UNSET,
        )  # fmt: skip


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


_BY_METHOD: Mapping[str, tuple[str, ...]] = {
    "dpo": ("beta",),
    "reinforcement": ("beta", "compute_multiplier", "eval_interval", "eval_samples"),
}
_BY_ALL = ("n_epochs", "batch_size", "learning_rate_multiplier")


def _hyperparameters(spec: Spec, chosen: Mapping[str, Any]) -> FineTuningHyperparameters:
    names = (*_BY_ALL, *_BY_METHOD.get(spec.method, ()))
    given = {name: getattr(spec.hyperparameters, name) for name in names}
    values: dict[str, Any] = {
        name: chosen.get(name, "auto") if value is None else value for name, value in given.items()
    }
    if spec.reasoning_effort is not None:
        values["reasoning_effort"] = spec.reasoning_effort
    return FineTuningHyperparameters(**values)


def _method(spec: Spec, given: FineTuningHyperparameters) -> FineTuningMethod:
    of = FineTuningMethodOf(
        hyperparameters=given, grader=spec.grader or UNSET, response_format=spec.response_format or UNSET
    )
    named: dict[str, Any] = {spec.method: of}
    return FineTuningMethod(type=spec.method, **named)


def _integration(each: Integration) -> FineTuningIntegration:
    run = FineTuningWandb(project=each.project, name=each.name, entity=each.entity, tags=list(each.tags))
    return FineTuningIntegration(wandb=run)


class FineTuningJobList(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first."""

    object: str = "list"
    data: list[FineTuningJob]
    has_more: bool


class FineTuningEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job."""

    object: str = "fine_tuning.job.event"
    id: str
    created_at: int
    level: str
    message: str
    data: dict[str, Any]
    type: str

    @classmethod
    def of(cls, event: Event) -> "FineTuningEvent":
        """From the event's row."""
        return cls(
            id=event.id, created_at=int(event.created), level=event.level, message=event.message,
            data=event.data, type=event.type,
        )  # fmt: skip


class FineTuningEventList(msgspec.Struct, frozen=True, kw_only=True):
    """Events, newest first."""

    object: str = "list"
    data: list[FineTuningEvent]
    has_more: bool


class FineTuningCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A model that came out of a job on its way."""

    object: str = "fine_tuning.job.checkpoint"
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: dict[str, float]
    step_number: int

    @classmethod
    def of(cls, found: Checkpoint) -> "FineTuningCheckpoint":
        """From the checkpoint's row."""
        return cls(
            id=found.id, created_at=int(found.created), fine_tuned_model_checkpoint=found.name,
            fine_tuning_job_id=found.job, metrics={"step": found.step, **found.metrics}, step_number=found.step,
        )  # fmt: skip


class FineTuningCheckpointList(msgspec.Struct, frozen=True, kw_only=True):
    """Checkpoints, newest first."""

    object: str = "list"
    data: list[FineTuningCheckpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, found: Sequence[Checkpoint], has_more: bool) -> "FineTuningCheckpointList":
        """From their rows."""
        return cls(data=[FineTuningCheckpoint.of(each) for each in found], has_more=has_more, **_ends(found))


class FineTuningPermission(msgspec.Struct, frozen=True, kw_only=True):
    """A project that a checkpoint is shared with."""

    object: str = "checkpoint.permission"
    id: str
    created_at: int
    project_id: str

    @classmethod
    def of(cls, found: Permission) -> "FineTuningPermission":
        """From the permission's row."""
        return cls(id=found.id, created_at=int(found.created), project_id=found.project)


class FineTuningPermissionList(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a checkpoint is shared with."""

    object: str = "list"
    data: list[FineTuningPermission]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, found: Sequence[Permission], has_more: bool) -> "FineTuningPermissionList":
        """From their rows."""
        return cls(data=[FineTuningPermission.of(each) for each in found], has_more=has_more, **_ends(found))


class FineTuningPermissionGone(msgspec.Struct, frozen=True, kw_only=True):
    """It is shared no longer."""

    object: str = "checkpoint.permission"
    id: str
    deleted: bool


def _ends(found: Sequence[Checkpoint | Permission]) -> dict[str, Any]:
    return {"first_id": found[0].id if found else None, "last_id": found[-1].id if found else None}
