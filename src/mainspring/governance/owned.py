"""Models that belong to a project: what fine-tuning makes. Who may use them is `wanted.Snapshot.lets`."""

import asyncio
from collections.abc import Callable, Sequence

from mainspring.core.clock import Clock
from mainspring.core.errors import Conflict, Forbidden, ModelNotFound
from mainspring.core.types import ModelVersion
from mainspring.governance.audit import Audit
from mainspring.governance.state import writing
from mainspring.governance.wanted import Snapshot
from mainspring.store.db import Database

__all__ = ["OwnedModels"]


class OwnedModels:
    """The models of all projects. Changes are written to the audit log as the doing of `actor`.

    Args:
        versions: of every model of the catalog.
        remove: takes a version, as name@version, out of the catalog.
        changed: called after each change.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        actor: str = "server",
        *,
        versions: Callable[[], Sequence[ModelVersion]],
        remove: Callable[[str], object],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._clock = database, clock
        self._versions, self._remove, self._changed = versions, remove, changed
        self._audit = Audit(database, clock, actor)

    def by(self, actor: str) -> "OwnedModels":
        """The same, on behalf of somebody else."""
        return OwnedModels(
            self._database, self._clock, actor, versions=self._versions, remove=self._remove, changed=self._changed
        )

    def usable(self, snapshot: Snapshot, project: str) -> list[ModelVersion]:
        """What a project can deploy, by name and then newest first."""
        return [each for each in self._versions() if snapshot.lets(project, each.name, each.project)]

    async def delete(self, project: str, name: str) -> None:
        """Take a project's model out of the catalog, with all of its versions unless `name` says which.

        Raises:
            ModelNotFound: the project knows no such model.
            Forbidden: it is not the project's own.
            Conflict: something is deployed of it, or trained on top of it.
        """
        async with writing(self._database, self._audit) as change:
            every = self._versions()
            found = [each for each in every if name in (each.name, each.id)]
            if not any(change.before.lets(project, each.name, each.project) for each in found):
                raise ModelNotFound(f"The model {name[:200]!r} does not exist.", param="model")
            if any(each.project != project for each in found):
                raise Forbidden(f"The model {name!r} is not the project's own: only what was trained in it is deleted.")
            _check_unused(change.before, project, found, every)
            await change.note("model.delete", name, {"project": project, "versions": [each.version for each in found]})
            for each in found:
                await asyncio.to_thread(self._remove, each.id)
        self._changed()


def _check_unused(before: Snapshot, project: str, found: Sequence[ModelVersion], every: Sequence[ModelVersion]) -> None:
    ids = {each.id for each in found}
    deployed = [each for each in before.deployments.values() if each.served_as in ids]
    if deployed:
        own = [repr(each.name) for each in deployed if each.project == project]
        where = ", ".join(own[:10]) or "in another project that it is shared with"
        raise Conflict(f"{found[0].name!r} is deployed ({where}): delete the deployment first.")
    if on_top := next((each for each in every if each.base in ids and each.id not in ids), None):
        shown = repr(on_top.name) if before.lets(project, on_top.name, on_top.project) else "a model of another project"
        raise Conflict(f"{shown} is an adapter of {found[0].name!r}: delete that first.")
