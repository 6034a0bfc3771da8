"""Projects, their keys and their deployments: changed here and nowhere else, whoever asks.

The two keys of a project can be shown again, as Azure's can, and are stored nowhere: each is a keyed hash of what the
project is and of how often that key was regenerated, under a secret of the installation.
"""

import base64
import hmac
import re
from collections.abc import Callable
from typing import Literal

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.core.types import Limits, ModelVersion
from mainspring.governance.audit import Audit
from mainspring.governance.deploying import MAX_CAPACITY, check, check_references, expires
from mainspring.governance.keys import Keys, check_limits
from mainspring.governance.naming import check_title, free_name, project_name
from mainspring.governance.state import Change, read_snapshot, writing
from mainspring.governance.wanted import DEFAULT, SKUS, Deployment, Project, Snapshot
from mainspring.models.catalog import missing
from mainspring.store.db import Database
from mainspring.store.emptying import empty
from mainspring.store.jobs import cancel_all

__all__ = ["Projects", "Slot"]

Slot = Literal["key1", "key2"]
SLOTS: tuple[Slot, Slot] = ("key1", "key2")
LOCATION = "local"

_GROUP = re.compile(r"[\w.()-]{1,90}")
_LOCATION = re.compile(r"[\w. -]{1,64}")


class Projects:
    """The projects of one installation. Changes are written to the audit log as the doing of `actor`.

    Args:
        find: the model version that a name of the catalog, or name@version, stands for; raises `ModelNotFound`.
        secret: what keys are derived from; every server of an installation has the same.
        units: capacity of one model and SKU that all projects together may deploy, where nothing else is set.
        changed: called after each change.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keys: Keys,
        *,
        find: Callable[[str], ModelVersion],
        secret: bytes,
        units: int,
        actor: str = "server",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._clock, self._keys = database, clock, keys
        self._find, self._secret, self._units = find, secret, units
        self._audit, self._changed = Audit(database, clock, actor), changed

    def by(self, actor: str) -> "Projects":
        """The same, on behalf of somebody else."""
        return Projects(
            self._database, self._clock, self._keys.by(actor), find=self._find, secret=self._secret, units=self._units,
            actor=actor, changed=self._changed,
        )  # fmt: skip

    async def snapshot(self) -> Snapshot:
        """All that is wanted, as it is in the database now."""
        return await read_snapshot(self._database)

    # -- projects ------------------------------------------------------------------------------------------------------

    async def put(
        self,
        name: str,
        *,
        resource_group: str = DEFAULT,
        location: str | None = None,
        tags: dict[str, str] | None = None,
        limits: Limits | None = None,
    ) -> tuple[Project, bool]:
        """Make a project with its two keys, or change one; the project, and whether it is new. None leaves a thing as
        it is.

        Raises:
            InvalidRequest: a name, tag or limit is refused.
            Conflict: it belongs to another resource group.
        """
        name = project_name(name)
        if not _GROUP.fullmatch(resource_group):
            raise InvalidRequest("A resource group's name has 1 to 90 letters, digits, and . _ - ( ).", param="group")
        if location is not None and not _LOCATION.fullmatch(location):
            raise InvalidRequest("A location has 1 to 64 letters, digits, spaces, and . _ -.", param="location")
        if tags is not None and (len(tags) > 50 or any(len(k) > 512 or len(v) > 256 for k, v in tags.items())):
            raise InvalidRequest("A project has at most 50 tags, of 512 and 256 characters.", param="tags")
        if limits is not None:
            check_limits(limits)
        async with writing(self._database, self._audit) as change:
            now_s, old = self._clock.now(), change.before.projects.get(name)
            if old is not None:
                _living(old)
            if old is not None and old.resource_group.lower() != resource_group.lower():
                raise Conflict(f"The project {name!r} exists in the resource group {old.resource_group!r}.")
            project = msgspec.structs.replace(
                old or Project(name=name, resource_group=resource_group, created=now_s),
                location=location or (old.location if old else LOCATION),
                tags=tags if tags is not None else old.tags if old else {},
                limits=limits if limits is not None else old.limits if old else Limits(),
                updated=now_s,
            )
            await change.put(project, "project.update" if old else "project.create", name)
            if old is None:
                await self._add_slots(change, project)
        self._changed()
        return project, old is None

    async def open(self, title: str) -> Project:
        """Make a project with its two keys, whose name is made of what people call it.

        Raises:
            InvalidRequest: the title is refused.
        """
        check_title(title)
        async with writing(self._database, self._audit) as change:
            now_s = self._clock.now()
            project = Project(name=free_name(change.before.projects, title), title=title, created=now_s, updated=now_s)
            await change.put(project, "project.create", project.name)
            await self._add_slots(change, project)
        self._changed()
        return project

    async def rename(self, name: str, title: str) -> Project:
        """Have people call a project something else. Its name, which paths and keys have, stays.

        Raises:
            InvalidRequest: the title is refused.
            NotFound: there is no such project.
            Conflict: it is archived.
        """
        check_title(title)
        return await self._edit(name, lambda old: msgspec.structs.replace(old, title=title))

    async def limit_cost(self, name: str, per_month: int | None) -> Project:
        """What a project may cost a month, in millionths; its other limits stay. Errors as of `rename`."""

        def limited(old: Project) -> Project:
            limits = msgspec.structs.replace(old.limits, cost_per_month=per_month)
            check_limits(limits)
            return msgspec.structs.replace(old, limits=limits)

        return await self._edit(name, limited)

    async def archive(self, name: str) -> Project:
        """End a project for good and keep what is in it to be read: its keys stop working, its deployments are deleted,
        its jobs cancelled. One that is archived stays as it is.

        Raises:
            NotFound: there is no such project.
            Conflict: it is the one that always exists.
        """
        async with writing(self._database, self._audit) as change:
            project = _project(change.before, name)
            if project.archived is not None:
                return project
            if project.name == DEFAULT:
                raise Conflict("The default project cannot be archived.")
            for each in change.before.of(project.name):
                await change.remove(each, "deployment.delete", f"{project.name}/{each.name}")
            now_s = self._clock.now()
            await self._keys.revoke_all(change.connection, project.name)
            await cancel_all(change.connection, project.name, now_s)
            project = msgspec.structs.replace(project, archived=now_s, updated=now_s)
            await change.put(project, "project.archive", project.name)
        self._keys.forget(project.name)
        self._changed()
        return project

    async def _edit(self, name: str, edit: Callable[[Project], Project]) -> Project:
        async with writing(self._database, self._audit) as change:
            old = _living(_project(change.before, name))
            project = msgspec.structs.replace(edit(old), updated=self._clock.now())
            await change.put(project, "project.update", project.name)
        self._changed()
        return project

    async def _add_slots(self, change: Change, project: Project) -> None:
        for slot in SLOTS:
            await self._keys.add_slot(change.connection, project.name, slot, self._derived(project, slot))

    async def why_not(self, name: str) -> str | None:
        """Why a new project cannot have a name; None if it can."""
        try:
            taken = project_name(name) in (await self.snapshot()).projects
        except InvalidRequest as error:
            return error.message
        return f"There is a project {name!r} already." if taken else None

    async def ensure_default(self) -> None:
        """Make the project that always exists, unless it is there."""
        if DEFAULT not in (await self.snapshot()).projects:
            await self.put(DEFAULT)

    async def get(self, name: str) -> Project:
        """A project.

        Raises:
            NotFound: there is none of that name.
        """
        return _project(await self.snapshot(), name)

    async def remove(self, name: str) -> bool:
        """Delete a project and its keys; whether there was one.

        Raises:
            Conflict: it has deployments, or is the one that always exists.
        """
        async with writing(self._database, self._audit) as change:
            project = change.before.projects.get(name.lower())
            if project is None:
                return False
            if project.name == DEFAULT:
                raise Conflict("The default project cannot be deleted.")
            if names := [each.name for each in change.before.of(project.name)]:
                raise Conflict(f"The project {name!r} has deployments, delete them first: {', '.join(names[:10])}.")
            for table in (change.before.items, change.before.blocklists, change.before.policies):
                for key in (key for key in table if key[0] == project.name):
                    found = table[key]
                    for each in found if isinstance(found, tuple) else (found,):
                        await change.remove(each, "project.empty", f"{key[0]}/{key[1]}")
            await self._keys.revoke_all(change.connection, project.name)
            await empty(change.connection, project.name, self._clock.now())
            await change.remove(project, "project.delete", project.name)
        self._keys.forget(project.name)
        self._changed()
        return True

    async def keys(self, name: str) -> tuple[str, str]:
        """A project's two keys.

        Raises:
            NotFound: there is no such project.
            Conflict: they were made under another secret than this server's.
        """
        project = _living(await self.get(name))
        found = self._derived(project, "key1"), self._derived(project, "key2")
        for slot, key in zip(SLOTS, found, strict=True):
            if not await self._keys.holds(project.name, slot, key):
                raise Conflict(
                    f"{slot} of {project.name!r} was made under another secret than this server's: give the setting "
                    "'secret' the same value on every server, or regenerate the key."
                )
        return found

    async def regenerate(self, name: str, slot: Slot) -> tuple[str, str]:
        """Replace one of a project's two keys: the old one stops working here at once, in other processes within
        `keys.CACHE_S`. The other one goes on working.

        Raises:
            NotFound: there is no such project.
        """
        async with writing(self._database, self._audit) as change:
            project = _living(_project(change.before, name))
            first, second = project.generations
            generations = (first + 1, second) if slot == "key1" else (first, second + 1)
            project = msgspec.structs.replace(project, generations=generations, updated=self._clock.now())
            await change.put(project, f"project.regenerate_{slot}", project.name)
            await self._keys.add_slot(change.connection, project.name, slot, self._derived(project, slot))
        self._keys.forget(project.name)
        self._changed()
        return self._derived(project, "key1"), self._derived(project, "key2")

    def _derived(self, project: Project, slot: Slot) -> str:
        # The time of its creation is in it, so that a project which is deleted and made again has other keys.
        what = f"{project.name}\0{project.created!r}\0{slot}\0{project.generations[SLOTS.index(slot)]}"
        digest = hmac.digest(self._secret, what.encode(), "sha256")
        return f"ms-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"

    # -- deployments ---------------------------------------------------------------------------------------------------

    async def deploy(self, wanted: Deployment) -> tuple[Deployment, bool]:
        """Make a deployment, or change one; it, and whether it is new. An empty version stands for the newest.

        Raises:
            InvalidRequest: something about it is refused; `param` says what.
            ModelNotFound: the catalog has no such model.
            Conflict: there is not so much capacity left.
        """
        check(wanted)
        version = self._find(f"{wanted.model}@{wanted.version}" if wanted.version else wanted.model)
        async with writing(self._database, self._audit) as change:
            before, now_s = change.before, self._clock.now()
            project = _living(_project(before, wanted.project)).name
            if not before.lets(project, version.name, version.project):
                raise missing(wanted.model)  # in the catalog's own words: it does not exist for this project
            old = before.deployments.get((project, wanted.name))
            wanted = msgspec.structs.replace(
                wanted,
                project=project,
                model=version.name,
                version=version.version,
                created=old.created if old else now_s,
                updated=now_s,
                expires=expires(wanted, old, now_s),
            )
            self._check_room(before, wanted, old)
            check_references(before, wanted)
            action = "deployment.update" if old else "deployment.create"
            await change.put(wanted, action, f"{project}/{wanted.name}")
        self._changed()
        return wanted, old is None

    async def deployment(self, project: str, name: str) -> Deployment:
        """A deployment.

        Raises:
            NotFound: there is none of that name, or no such project.
        """
        snapshot = await self.snapshot()
        found = snapshot.deployments.get((_project(snapshot, project).name, name))
        if found is None:
            raise NotFound(f"The project {project!r} has no deployment {name!r}.")
        return found

    async def undeploy(self, project: str, name: str) -> bool:
        """Delete a deployment; whether there was one. What it is answering is answered to the end."""
        async with writing(self._database, self._audit) as change:
            found = change.before.deployments.get((project.lower(), name))
            if found is None:
                return False
            spilling = [each.name for each in change.before.of(found.project) if each.spillover == name]
            if spilling:
                raise Conflict(f"{name!r} takes what spills over from {', '.join(spilling)}: change that first.")
            await change.remove(found, "deployment.delete", f"{found.project}/{name}")
        self._changed()
        return True

    async def upkeep(self, seen: Deployment, version: str | None) -> bool:
        """Move a deployment to a version of its model, or with None delete it as expired; whether that was done. It is
        not if the deployment is no longer what was seen: somebody has changed or deleted it, or done the same."""
        key = seen.project, seen.name
        async with writing(self._database, self._audit) as change:
            if change.before.deployments.get(key) != seen:
                return False
            if version is None:
                await change.remove(seen, "deployment.expire", "/".join(key))
            else:
                moved = msgspec.structs.replace(seen, version=version, updated=self._clock.now())
                await change.put(moved, "deployment.upgrade", "/".join(key))
        self._changed()
        return True

    async def set_capacity(self, sku: str, model: str, units: int) -> None:
        """How many units of a model all projects together may deploy with a SKU."""
        if sku not in SKUS or not 0 <= units <= MAX_CAPACITY:
            raise InvalidRequest(f"A quota is for one of {', '.join(SKUS)}, and 0 to {MAX_CAPACITY:,} units.")
        async with writing(self._database, self._audit) as change:
            await change.set_capacity(sku, model, units)
        self._changed()

    def room(self, snapshot: Snapshot, sku: str, model: str) -> tuple[int, int]:
        """Units of a model that are deployed with a SKU, and how many may be."""
        return snapshot.used(sku, model), snapshot.capacities.get((sku, model), self._units)

    def _check_room(self, before: Snapshot, wanted: Deployment, old: Deployment | None) -> None:
        used, most = self.room(before, wanted.sku, wanted.model)
        if old is not None and (old.sku, old.model) == (wanted.sku, wanted.model):
            if wanted.capacity <= old.capacity:
                return  # the quota may have been lowered since; what is there may stay, and be changed otherwise
            used -= old.capacity
        if used + wanted.capacity > most:
            raise Conflict(
                f"The quota for {wanted.sku} of {wanted.model} is {most:,} units, of which {used:,} are deployed: "
                f"{wanted.capacity:,} more are too many. Ask for less, or have the quota raised.",
                code="InsufficientQuota",
            )


def _living(project: Project) -> Project:
    if project.archived is not None:
        raise Conflict(f"The project {project.name!r} is archived: nothing in it can be changed or used any more.")
    return project


def _project(snapshot: Snapshot, name: str) -> Project:
    found = snapshot.projects.get(name.lower())
    if found is None:
        raise NotFound(f"There is no project {name!r}: `mainspring projects list` shows them.")
    return found
