"""Azure's copies of checkpoints: .../fine_tuning/jobs/{job}/checkpoints/{checkpoint}/copy.

Azure copies a model to another account, in another region or subscription. Here all accounts are projects of one
installation over one catalog, so a copy is a permission to use the checkpoint (`train.sharing`): it is there at once,
under the same name as Azure has it too, and goes with the original, which Azure's would survive.

Source: Microsoft's v1 REST reference, "Fine-tuning checkpoints - copy"; azure-ai-docs, includes/fine-tuning-rest.md.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.control.arm import PROVIDER
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import GUID_PATTERN, Operation
from mainspring.api.services import Services, Training
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.store.jobs import Checkpoint

__all__ = ["copy_operations"]

_ACCOUNT = re.compile(
    rf"/subscriptions/{GUID_PATTERN[1:-1]}/resourceGroups/[^/]{{1,90}}/providers/{re.escape(PROVIDER)}"
    r"/accounts/(?P<account>[A-Za-z0-9-]{1,64})",
    re.IGNORECASE,
)
NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
PAGE = 100


class CopyCheckpointRequest(Wire):
    """Where to copy a checkpoint."""

    destinationResourceId: Annotated[str, Field(min_length=1, max_length=1024)]  # noqa: N815 - Azure's name
    region: Annotated[str, Field(min_length=1, max_length=64)]


class CopiedAccount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An account that has a copy."""

    destination_resource_id: str
    region: str
    status: str = "Completed"


class CheckpointCopies(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which accounts have a copy of a checkpoint."""

    checkpointed_model_name: str
    fine_tuning_job_id: str
    copied_account_details: list[CopiedAccount]


class CopyRoutes:
    """The handlers, for both of Azure's dialects."""

    def __init__(self, services: Services, training: Training) -> None:
        self._services, self._training = services, training

    async def create(self, http: Request) -> Response:
        """Copy one."""
        body = await read_body(http, CopyCheckpointRequest, self._services.max_body_bytes)
        context = context_of(http)
        assert context.principal is not None, "the route needs a permission"
        account = await self._account(body.destinationResourceId)
        if _plain(body.region) != _plain(self._services.region):
            raise InvalidRequest(
                f"Invalid 'region': this installation has one region, {self._services.region!r}.", param="region"
            )
        found = await self._checkpoint(http)
        await self._training.sharing.by(context.principal.id).share(context.project, found.name, [account])
        return await self._answer(http, found, {account: body.destinationResourceId})

    async def retrieve(self, http: Request) -> Response:
        """Who has a copy."""
        return await self._answer(http, await self._checkpoint(http), {})

    async def _answer(self, http: Request, found: Checkpoint, named: Mapping[str, str]) -> Response:
        """Accounts that were named just now are called so."""
        shared, _ = await self._training.sharing.list(context_of(http).project, found.name, limit=PAGE)
        return replies.json(
            CheckpointCopies(
                checkpointed_model_name=found.name,
                fine_tuning_job_id=found.job,
                copied_account_details=[
                    CopiedAccount(
                        destination_resource_id=named.get(each.project) or await self._id_of(each.project),
                        region=self._services.region,
                    )
                    for each in shared
                ],
            )
        )

    async def _checkpoint(self, http: Request) -> Checkpoint:
        """By its id or its name."""
        project, job = context_of(http).project, http.path_params["fine_tuning_job_id"]
        wanted, after, more = http.path_params["fine_tuning_checkpoint_id"], None, True
        while more:
            page, more = await self._training.jobs.checkpoints(project, job, after=after, limit=PAGE)
            for each in page:
                if wanted in (each.id, each.name):
                    return each
            after = page[-1].id if page else None
        raise NotFound(f"The job {job[:100]!r} has no checkpoint {wanted[:320]!r}.", param="fine_tuning_checkpoint_id")

    async def _account(self, resource: str) -> str:
        """The project that an account's full id names. Raises InvalidRequest."""
        found = _ACCOUNT.fullmatch(resource)
        name = found["account"].lower() if found is not None else ""
        control = self._services.control
        if not name or (control is not None and name not in (await control.projects.snapshot()).projects):
            raise InvalidRequest(
                "Invalid 'destinationResourceId': it is the full id of another account of this installation, "
                f"/subscriptions/ID/resourceGroups/GROUP/providers/{PROVIDER}/accounts/NAME.",
                param="destinationResourceId",
            )
        return name

    async def _id_of(self, project: str) -> str:
        control, group = self._services.control, "default"
        if control is not None:
            known = (await control.projects.snapshot()).projects.get(project)
            group = known.resource_group if known is not None else group
        return f"/subscriptions/{NO_SUBSCRIPTION}/resourceGroups/{group}/providers/{PROVIDER}/accounts/{project}"


def _plain(region: str) -> str:
    """Azure takes "East US" for eastus."""
    return region.replace(" ", "").lower()


def copy_operations(services: Services, training: Training) -> list[Operation]:
    """Both operations in both dialects, for the table of the application."""
    routes = CopyRoutes(services, training)
    dialects: tuple[tuple[str, Dialect], ...] = (("/openai/v1", "azure_v1"), ("/openai", "azure"))
    found: list[Operation] = []
    for prefix, dialect in dialects:
        path = f"{prefix}/fine_tuning/jobs/{{fine_tuning_job_id}}/checkpoints/{{fine_tuning_checkpoint_id}}/copy"
        asks = partial(
            Operation, path=path, reply=CheckpointCopies, needs="projects.write", dialect=dialect, extra_status=(503,)
        )
        name = f"{dialect}_fine_tuning_copies"
        found += [
            asks(method="POST", handler=routes.create, name=f"{name}_create", body=CopyCheckpointRequest,
                 summary="Copy a checkpoint to another account"),
            asks(method="GET", handler=routes.retrieve, name=f"{name}_retrieve",
                 summary="List the accounts that have a copy of a checkpoint"),
        ]  # fmt: skip
    return found
