"""fine_tuning/jobs and fine_tuning/checkpoints: parse, call `train.jobs`, render."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.wire_finetuning import (
    CreateFineTuningJobRequest,
    CreateFineTuningPermissionRequest,
    FineTuningHyperparametersIn,
)
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Training
from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.governance.roles import DEFAULT_PROJECT, allows
from mainspring.store.jobs import Checkpoint, Event, Job
from mainspring.train.jobs import Wish
from mainspring.train.plan import Hyperparameters
from mainspring.train.sharing import Permission
from mainspring.train.spec import Integration, Spec, spec_of

__all__ = ["FineTuningRoutes", "fine_tuning_operations"]

MAX_PAGE = 100
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


class FineTuningJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Times are Unix seconds. `priority` is Mainspring's own, `trainingType` Azure's."""

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
    data: dict[str, Any] | None
    type: str

    @classmethod
    def of(cls, event: Event) -> "FineTuningEvent":
        """From the event's row."""
        return cls(
            id=event.id, created_at=int(event.created), level=event.level, message=event.message,
            data=event.data or None, type=event.type,
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
    def of(cls, found: list[Permission], has_more: bool) -> "FineTuningPermissionList":
        """From their rows."""
        data = [FineTuningPermission.of(each) for each in found]
        return cls(data=data, has_more=has_more, **_ends(found))


class FineTuningPermissionGone(msgspec.Struct, frozen=True, kw_only=True):
    """It is shared no longer."""

    object: str = "checkpoint.permission"
    id: str
    deleted: bool


def _ends(found: list[Any]) -> dict[str, Any]:
    return {"first_id": found[0].id if found else None, "last_id": found[-1].id if found else None}


class FineTuningRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def _training(self) -> Training:
        if self._services.training is None:
            raise Unavailable("This server trains no models.", code="training_unavailable")
        return self._services.training

    async def create(self, http: Request) -> Response:
        """Make a job."""
        body = await read_body(http, CreateFineTuningJobRequest, self._services.max_body_bytes)
        context = context_of(http)
        assert context.principal is not None, "the route needs a permission"
        # What goes before other projects' jobs is the operator's to say.
        may_hurry = allows(context.principal.roles_in(DEFAULT_PROJECT), "quota.write")
        job = await self._training.jobs.create(
            _wish(body), project=context.project, by=context.principal.id, may_hurry=may_hurry
        )
        return replies.json(FineTuningJob.of(job))

    async def list(self, http: Request) -> Response:
        """Jobs of the project."""
        after, limit = _page(http, 20)
        metadata, without = _metadata(http)
        found, more = await self._training.jobs.list(
            context_of(http).project, after=after, limit=limit, metadata=metadata, without_metadata=without
        )
        return replies.json(FineTuningJobList(data=[FineTuningJob.of(job) for job in found], has_more=more))

    async def retrieve(self, http: Request) -> Response:
        """One job."""
        return replies.json(FineTuningJob.of(await self._training.jobs.get(*_named(http))))

    async def cancel(self, http: Request) -> Response:
        """End it for good."""
        return replies.json(FineTuningJob.of(await self._training.jobs.cancel(*_named(http))))

    async def pause(self, http: Request) -> Response:
        """Let it rest."""
        return replies.json(FineTuningJob.of(await self._training.jobs.pause(*_named(http))))

    async def resume(self, http: Request) -> Response:
        """Let it go on."""
        return replies.json(FineTuningJob.of(await self._training.jobs.resume(*_named(http))))

    async def events(self, http: Request) -> Response:
        """What happened to it."""
        after, limit = _page(http, 20)
        found, more = await self._training.jobs.events(*_named(http), after=after, limit=limit)
        return replies.json(FineTuningEventList(data=[FineTuningEvent.of(each) for each in found], has_more=more))

    async def checkpoints(self, http: Request) -> Response:
        """What came out of it on its way."""
        after, limit = _page(http, 10)
        found, more = await self._training.jobs.checkpoints(*_named(http), after=after, limit=limit)
        data = [FineTuningCheckpoint.of(each) for each in found]
        return replies.json(FineTuningCheckpointList(data=data, has_more=more, **_ends(found)))

    async def share(self, http: Request) -> Response:
        """Share a checkpoint with projects."""
        body = await read_body(http, CreateFineTuningPermissionRequest, self._services.max_body_bytes)
        made = await self._training.sharing.share(*_checkpoint(http), body.project_ids)
        return replies.json(FineTuningPermissionList.of(made, has_more=False))

    async def permissions(self, http: Request) -> Response:
        """Whom a checkpoint is shared with."""
        after, limit = _page(http, 10)
        order = http.query_params.get("order", "descending")
        if order not in ("ascending", "descending"):
            raise InvalidRequest("'order' is ascending or descending.", param="order")
        found, more = await self._training.sharing.list(
            *_checkpoint(http), project=http.query_params.get("project_id"), after=after, limit=limit,
            descending=order == "descending",
        )  # fmt: skip
        return replies.json(FineTuningPermissionList.of(found, more))

    async def revoke(self, http: Request) -> Response:
        """Share it with a project no longer."""
        permission = http.path_params["permission_id"]
        await self._training.sharing.revoke(*_checkpoint(http), permission)
        return replies.json(FineTuningPermissionGone(id=permission, deleted=True))


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["fine_tuning_job_id"]


def _checkpoint(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["fine_tuned_model_checkpoint"]


def _page(http: Request, usual: int) -> tuple[str | None, int]:
    """The id that the page begins behind, and how many it has."""
    text = http.query_params.get("limit", str(usual))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidRequest(f"Invalid 'limit': it is a whole number from 1 to {MAX_PAGE}.", param="limit")
    return http.query_params.get("after") or None, int(text)


def _metadata(http: Request) -> tuple[dict[str, str], bool]:
    """`metadata[key]=value`, any number of times, or `metadata=null` for jobs that have none."""
    wanted = {
        name[9:-1]: value
        for name, value in http.query_params.multi_items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return wanted, http.query_params.get("metadata") == "null"


def _wish(body: CreateFineTuningJobRequest) -> Wish:
    """What is asked for. Raises InvalidRequest for what no single field can tell."""
    method, more = body.method, dict[str, Any]()
    kind = method.type if method is not None else "supervised"
    if method is not None:
        for name in ("supervised", "dpo", "reinforcement", "reward"):
            if name != kind and getattr(method, name) is not None:
                raise InvalidRequest(f"'method.{name}' was given, and the method is {kind!r}.", param=f"method.{name}")
        if kind == "reinforcement" and method.reinforcement is None:
            raise InvalidRequest(
                "Missing required parameter: 'method.reinforcement'.", code="missing_required_parameter",
                param="method.reinforcement",
            )  # fmt: skip
    of = getattr(method, kind) if method is not None else None
    given: FineTuningHyperparametersIn | None = (of and of.hyperparameters) or body.hyperparameters
    if kind == "reinforcement":
        more = {"grader": of.grader, "response_format": of.response_format}
    values = {} if given is None else given.model_dump(exclude_none=True)
    effort = values.pop("reasoning_effort", None)
    values = {name: value for name, value in values.items() if value != "auto"}
    options = {} if body.options is None else body.options.model_dump(exclude_none=True)
    return Wish(
        model=body.model, training_file=body.training_file, validation_file=body.validation_file, method=kind,
        hyperparameters=Hyperparameters(**values), reasoning_effort=effort, suffix=body.suffix, seed=body.seed,
        metadata=body.metadata, training_type=body.trainingType, priority=body.priority,
        integrations=tuple(
            Integration(**{**each.wandb.model_dump(), "tags": tuple(each.wandb.tags or ())})
            for each in body.integrations or ()
        ),
        **more, **options,
    )  # fmt: skip


def fine_tuning_operations(services: Services, prefix: str, dialect: Dialect) -> list[Operation]:
    """Every route of a dialect, for the table of the application."""
    routes, asks = FineTuningRoutes(services), partial(Operation, needs="training", dialect=dialect)
    reads, posts = partial(asks, method="GET"), partial(asks, method="POST", extra_status=(400,))
    jobs, name = f"{prefix}/fine_tuning/jobs", f"{dialect}_fine_tuning"
    job = f"{jobs}/{{fine_tuning_job_id}}"
    shares = f"{prefix}/fine_tuning/checkpoints/{{fine_tuned_model_checkpoint}}/permissions"
    paged: dict[str, Any] = {"query": ("after", "limit@100"), "extra_status": (400, 503)}
    found = [
        posts(path=jobs, handler=routes.create, name=f"{name}_jobs_create", summary="Make a fine-tuning job",
              body=CreateFineTuningJobRequest, reply=FineTuningJob),
        reads(path=jobs, handler=routes.list, name=f"{name}_jobs_list", summary="List fine-tuning jobs",
              reply=FineTuningJobList, query=("after", "limit@100", "metadata"), extra_status=(400, 503)),
        reads(path=job, handler=routes.retrieve, name=f"{name}_jobs_retrieve", summary="Describe a fine-tuning job",
              reply=FineTuningJob, extra_status=(503,)),
        reads(path=f"{job}/events", handler=routes.events, name=f"{name}_jobs_events",
              summary="List what happened to a fine-tuning job", reply=FineTuningEventList, **paged),
        reads(path=f"{job}/checkpoints", handler=routes.checkpoints, name=f"{name}_jobs_checkpoints",
              summary="List the models that came out of a fine-tuning job", reply=FineTuningCheckpointList, **paged),
        *(
            posts(path=f"{job}/{verb}", handler=handler, name=f"{name}_jobs_{verb}",
                  summary=f"{verb.capitalize()} a fine-tuning job", reply=FineTuningJob, extra_status=(400, 503))
            for verb, handler in (("cancel", routes.cancel), ("pause", routes.pause), ("resume", routes.resume))
        ),
        Operation(method="POST", path=shares, handler=routes.share, name=f"{name}_permissions_create",
                  summary="Share a checkpoint with projects", needs="projects.write", dialect=dialect,
                  body=CreateFineTuningPermissionRequest, reply=FineTuningPermissionList),
        Operation(method="GET", path=shares, handler=routes.permissions, name=f"{name}_permissions_list",
                  summary="List whom a checkpoint is shared with", needs="projects.write", dialect=dialect,
                  reply=FineTuningPermissionList, query=("after", "limit@100", "project_id", "order"),
                  extra_status=(400, 503)),
        Operation(method="DELETE", path=f"{shares}/{{permission_id}}", handler=routes.revoke,
                  name=f"{name}_permissions_delete", summary="Share a checkpoint with a project no longer",
                  needs="projects.write", dialect=dialect, reply=FineTuningPermissionGone, extra_status=(503,)),
    ]  # fmt: skip
    return found
