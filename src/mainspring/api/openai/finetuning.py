"""fine_tuning/jobs and fine_tuning/checkpoints: parse, call `train.jobs`, render."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.pages import chosen, labels_in, part_of
from mainspring.api.openai.replies_finetuning import (
    FineTuningCheckpointList,
    FineTuningEvent,
    FineTuningEventList,
    FineTuningJob,
    FineTuningJobList,
    FineTuningPermissionGone,
    FineTuningPermissionList,
)
from mainspring.api.openai.wire_finetuning import (
    CreateFineTuningJobRequest,
    CreateFineTuningPermissionRequest,
    FineTuningHyperparametersIn,
    IntegrationIn,
)
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Training
from mainspring.core.errors import InvalidRequest
from mainspring.governance.roles import DEFAULT_PROJECT, allows
from mainspring.train.jobs import Wish
from mainspring.train.plan import Hyperparameters
from mainspring.train.sharing import Sharing
from mainspring.train.spec import Integration

__all__ = ["FineTuningRoutes", "fine_tuning_operations"]


class FineTuningRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, training: Training) -> None:
        self._services, self._training = services, training

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
        metadata, without = labels_in(http)
        found, more = await self._training.jobs.list(
            context_of(http).project, **part_of(http), metadata=metadata, without_metadata=without
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
        found, more = await self._training.jobs.events(*_named(http), **part_of(http))
        return replies.json(FineTuningEventList(data=[FineTuningEvent.of(each) for each in found], has_more=more))

    async def checkpoints(self, http: Request) -> Response:
        """What came out of it on its way."""
        found, more = await self._training.jobs.checkpoints(*_named(http), **part_of(http, usual=10))
        return replies.json(FineTuningCheckpointList.of(found, more))

    async def share(self, http: Request) -> Response:
        """Share a checkpoint with projects."""
        body = await read_body(http, CreateFineTuningPermissionRequest, self._services.max_body_bytes)
        made = await self._sharing(http).share(*_checkpoint(http), body.project_ids)
        return replies.json(FineTuningPermissionList.of(made, has_more=False))

    async def permissions(self, http: Request) -> Response:
        """Whom a checkpoint is shared with."""
        order = chosen(http, "order", ("ascending", "descending"))
        found, more = await self._training.sharing.list(
            *_checkpoint(http), project=http.query_params.get("project_id"), **part_of(http, usual=10),
            descending=order != "ascending",
        )  # fmt: skip
        return replies.json(FineTuningPermissionList.of(found, more))

    async def revoke(self, http: Request) -> Response:
        """Share it with a project no longer."""
        permission = http.path_params["permission_id"]
        await self._sharing(http).revoke(*_checkpoint(http), permission)
        return replies.json(FineTuningPermissionGone(id=permission, deleted=True))

    def _sharing(self, http: Request) -> Sharing:
        principal = context_of(http).principal
        assert principal is not None, "the route needs a permission"
        return self._training.sharing.by(principal.id)


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["fine_tuning_job_id"]


def _checkpoint(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["fine_tuned_model_checkpoint"]


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
    if method is not None and method.reinforcement is not None:
        more = {"grader": method.reinforcement.grader, "response_format": method.reinforcement.response_format}
    values = {} if given is None else given.model_dump(exclude_none=True)
    effort = values.pop("reasoning_effort", None)
    if effort not in (None, "default"):
        raise InvalidRequest(
            "Only 'default' is supported: answers are sampled as the model's chat template has them.",
            param="method.reinforcement.hyperparameters.reasoning_effort",
        )
    values = {name: value for name, value in values.items() if value != "auto"}
    options = {} if body.options is None else body.options.model_dump(exclude_none=True)
    return Wish(
        model=body.model, training_file=body.training_file, validation_file=body.validation_file, method=kind,
        hyperparameters=Hyperparameters(**values), reasoning_effort=effort, suffix=body.suffix, seed=body.seed,
        metadata=body.metadata, training_type=body.trainingType, priority=body.priority,
        integrations=tuple(map(_integration, body.integrations or ())),
        **more, **options,
    )  # fmt: skip


def _integration(each: IntegrationIn) -> Integration:
    run = each.wandb
    return Integration(project=run.project, name=run.name, entity=run.entity, tags=tuple(run.tags or ()))


_PAGE = ("fine_tuning/after", "fine_tuning/limit")
_LIST = (*_PAGE, "fine_tuning/metadata")
_SHARES = (*_PAGE, "fine_tuning/project_id", "fine_tuning/order")


def fine_tuning_operations(services: Services, training: Training, prefix: str, dialect: Dialect) -> list[Operation]:
    """Every route of a dialect, for the table of the application."""
    routes, asks = FineTuningRoutes(services, training), partial(Operation, dialect=dialect)
    reads, posts = partial(asks, method="GET", needs="training.read"), partial(asks, method="POST", needs="training")
    jobs, name = f"{prefix}/fine_tuning/jobs", f"{dialect}_fine_tuning"
    job = f"{jobs}/{{fine_tuning_job_id}}"
    shares = f"{prefix}/fine_tuning/checkpoints/{{fine_tuned_model_checkpoint}}/permissions"
    paged: dict[str, Any] = {"query": _PAGE, "extra_status": (400, 503)}
    return [
        posts(path=jobs, handler=routes.create, name=f"{name}_jobs_create", summary="Make a fine-tuning job",
              body=CreateFineTuningJobRequest, reply=FineTuningJob),
        reads(path=jobs, handler=routes.list, name=f"{name}_jobs_list", summary="List fine-tuning jobs",
              reply=FineTuningJobList, query=_LIST, extra_status=(400, 503)),
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
        asks(method="POST", path=shares, handler=routes.share, name=f"{name}_permissions_create",
             summary="Share a checkpoint with projects", needs="projects.write",
             body=CreateFineTuningPermissionRequest, reply=FineTuningPermissionList),
        asks(method="GET", path=shares, handler=routes.permissions, name=f"{name}_permissions_list",
             summary="List whom a checkpoint is shared with", needs="projects.write",
             reply=FineTuningPermissionList, query=_SHARES, extra_status=(400, 503)),
        asks(method="DELETE", path=f"{shares}/{{permission_id}}", handler=routes.revoke,
             name=f"{name}_permissions_delete", summary="Share a checkpoint with a project no longer",
             needs="projects.write", reply=FineTuningPermissionGone, extra_status=(503,)),
    ]  # fmt: skip
