"""What is deployed where, as requests see it; and the loop that makes it what is wanted.

Several deployments may stand for one model: a deployment is a name, a share and a policy, and the router keeps one set
of replicas for each model version, whoever deploys it. So a deployment is made, resized, moved to another version or
deleted by changing what its name stands for, and nothing that is being answered notices.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import DeploymentPaused, MainspringError, ModelNotFound
from mainspring.core.seams import Models
from mainspring.core.types import Limits, Load, ModelInfo, ModelVersion
from mainspring.governance.projects import Projects
from mainspring.governance.state import read_revision
from mainspring.governance.wanted import DEFAULT, Deployment, Snapshot
from mainspring.store.db import Database

__all__ = ["Directory", "Need", "Target", "upgraded"]

LOOK_S = 1.0
"""How often it is asked whether something else is wanted."""

_log = log.get("mainspring.directory")


class Target(NamedTuple):
    """What a request that names a deployment is served by.

    Args:
        model: what the router calls the model.
        policy: the content policy; empty means the installation's default.
        deployment: None if nobody deployed it: a model of the catalog in the default project.
    """

    project: str
    name: str
    model: str
    policy: str = ""
    limits: Limits = Limits()
    deployment: Deployment | None = None


class Need(NamedTuple):
    """The units of capacity that are deployed of a model: those that are provisioned, and all of them."""

    provisioned: int
    units: int


class Directory:
    """The deployments of all projects: a `Deployments`.

    Args:
        models: the router's.
        versions: every version of a model in the catalog, newest first.
        need: told what the models are needed for, whenever that changes.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        models: Models,
        *,
        versions: Callable[[str], Sequence[ModelVersion]] = lambda _: (),
        need: Callable[[Mapping[str, Need]], None] = lambda _: None,
        changed: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self._database, self._clock, self._models = database, clock, models
        self._versions, self._need, self._changed = versions, need, changed
        self.snapshot = Snapshot()
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- what requests ask ---------------------------------------------------------------------------------------------

    def target(self, project: str, name: str) -> Target:
        """What serves a deployment.

        Raises:
            ModelNotFound: there is none of that name.
            DeploymentPaused: it is not to be used now.
        """
        deployment = self.snapshot.deployments.get((project, name))
        model = name if deployment is None else deployment.served_as
        owner = self._models.owner(model)
        if not self.snapshot.lets(project, model, owner) or (
            deployment is None and owner is None and project != DEFAULT
        ):
            raise self._unknown(project, name)
        if deployment is None:
            return Target(project, name, name)  # whether there is such a model is the router's to say
        if deployment.state == "Paused":
            raise DeploymentPaused(f"The deployment {name!r} is paused: an administrator can resume it.")
        return Target(project, name, deployment.served_as, deployment.policy, deployment.limits, deployment)

    def limits(self, project: str) -> Limits:
        """How much a project may use."""
        found = self.snapshot.projects.get(project)
        return Limits() if found is None else found.limits

    def _unknown(self, project: str, name: str) -> ModelNotFound:
        names = ", ".join(each.name for each in self.snapshot.of(project)) or "none"
        return ModelNotFound(f"The deployment {name!r} does not exist in the project {project!r}. Deployed: {names}.")

    def list(self, project: str) -> list[ModelInfo]:
        """See `Deployments`."""
        deployed: list[ModelInfo] = []
        for each in self.snapshot.of(project):
            with contextlib.suppress(ModelNotFound):  # its version has gone from the catalog, or is no longer shared
                if self.snapshot.lets(project, each.model, self._models.owner(each.served_as)):
                    deployed.append(self._info(each))
        names = {each.id for each in deployed}
        for each in self._models.list():
            is_there = (
                project == DEFAULT if each.project is None else self.snapshot.lets(project, each.id, each.project)
            )
            if is_there and each.id not in names and "@" not in each.id:
                deployed.append(each)
        return deployed

    def find(self, name: str, project: str) -> ModelInfo:
        """See `Deployments`."""
        target = self.target(project, name)
        return self._info(target.deployment) if target.deployment else self._models.find(target.model)

    def load(self, name: str, project: str) -> Load:
        """See `Deployments`."""
        return self._models.load(self.target(project, name).model)

    def places(self, name: str, project: str) -> int:
        """See `Deployments`."""
        return self._models.places(self.target(project, name).model)

    def _info(self, deployment: Deployment) -> ModelInfo:
        info = self._models.find(deployment.served_as)
        state = "paused" if deployment.state == "Paused" else info.state
        return msgspec.structs.replace(
            info,
            id=deployment.name,
            created=int(deployment.created),
            state=state,
            base=None,
            model=deployment.model,
            is_for_batches=deployment.kind == "batch",
        )

    # -- making it so --------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        """Something has changed: look at once."""
        self._poked.set()

    async def start(self, projects: Projects) -> None:
        """Find out what is wanted, and go on looking."""
        await projects.ensure_default()
        await self.refresh(projects)
        self._task = asyncio.create_task(self._look_on(projects), name="reconcile")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look_on(self, projects: Projects) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), LOOK_S)
            self._poked.clear()
            try:
                await self.refresh(projects)
                await self.reconcile(projects)
            except MainspringError as error:  # what was wanted last is served on
                _log.warning("what is wanted is not known", reason=error.message)
            except Exception:  # noqa: BLE001 - the next look may go better
                _log.exception("reconciling failed")

    async def refresh(self, projects: Projects) -> None:
        """Take over what is wanted now."""
        if await read_revision(self._database) == self.snapshot.revision:
            return
        snapshot = await projects.snapshot()
        if snapshot.revision <= self.snapshot.revision:
            return  # who looked at the same time was faster
        self.snapshot = snapshot
        self._need(needs(self.snapshot))
        self._changed(self.snapshot)

    async def reconcile(self, projects: Projects) -> None:
        """Delete what has expired, and move what is to follow its model to the newer version."""
        now_s = self._clock.now()
        for each in list(self.snapshot.deployments.values()):
            if each.expires is not None and each.expires <= now_s:
                if await projects.upkeep(each, None):
                    _log.info("deployment expired", project=each.project, deployment=each.name)
                continue
            version = upgraded(each, [found.version for found in self._versions(each.model)])
            if version and await projects.upkeep(each, version):
                _log.info("deployment upgraded", project=each.project, deployment=each.name, version=version)
        await self.refresh(projects)


def upgraded(deployment: Deployment, versions: Sequence[str]) -> str | None:
    """The version that a deployment is to move to, if it is.

    Args:
        versions: of its model in the catalog, newest first.
    """
    if not versions or deployment.upgrade == "NoAutoUpgrade" or versions[0] == deployment.version:
        return None
    if deployment.kind == "provisioned" and deployment.version in versions:
        return None  # provisioned ones are never moved off a version that works
    expired = deployment.version not in versions
    return versions[0] if expired or deployment.upgrade == "OnceNewDefaultVersionAvailable" else None


def needs(snapshot: Snapshot) -> dict[str, Need]:
    """What each model is needed for."""
    found: dict[str, Need] = {}
    for each in snapshot.deployments.values():
        if each.state == "Running":
            before = found.get(each.served_as, Need(0, 0))
            provisioned = each.capacity if each.kind == "provisioned" else 0
            found[each.served_as] = Need(before.provisioned + provisioned, before.units + each.capacity)
    return found


Provisioning = Literal["Creating", "Succeeded", "Failed"]


def provisioning(deployment: Deployment, state: str) -> Provisioning:
    """How far a deployment is, from the state of its replicas (see `Router.status`). Only a provisioned one that runs
    has to be loaded before it is there: the others are loaded by their first request."""
    if state == "failed":
        return "Failed"
    is_awaited = deployment.kind == "provisioned" and deployment.state == "Running"
    return "Creating" if is_awaited and state != "ready" else "Succeeded"
