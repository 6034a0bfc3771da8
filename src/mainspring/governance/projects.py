"""Projects, their keys and their deployments: changed here and nowhere else, whoever asks.

The two keys of a project can be shown again, as Azure's can, and are stored nowhere: each is a keyed hash of what the
project is and of how often that key was regenerated, under a secret of the installation.
"""

import base64
import hmac
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.core.clock import Clock
from mainspring.core.errors import Conflict, InvalidRequest, MainspringError, NotFound
from mainspring.core.types import Limits, ModelVersion
from mainspring.governance.audit import Audit
from mainspring.governance.filters.policy import SYSTEM_POLICIES
from mainspring.governance.keys import Keys, check_limits
from mainspring.governance.state import read_snapshot, writing
from mainspring.governance.wanted import DEFAULT, DEVELOPER_S, SKUS, Deployment, Project, Snapshot
from mainspring.models.catalog import missing
from mainspring.store.containers import remove_all_containers
from mainspring.store.conversations import remove_conversations
from mainspring.store.db import Database
from mainspring.store.evals import remove_all as remove_evals
from mainspring.store.files import remove_all
from mainspring.store.jobs import cancel_all
from mainspring.store.outbox import remove_endpoints
from mainspring.store.responses import remove_all as remove_responses
from mainspring.store.stored_chats import remove_chats
from mainspring.store.vector_stores import remove_all_stores

__all__ = ["Projects", "Slot", "installation_secret"]

Slot = Literal["key1", "key2"]
SLOTS: tuple[Slot, Slot] = ("key1", "key2")
SECRET_FILE = "secret"  # noqa: S105 - a file's name
MAX_CAPACITY = 1_000_000
LOCATION = "local"

_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_DEPLOYMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
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
        name = _project_name(name)
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
                for slot in SLOTS:
                    await self._keys.add_slot(change.connection, name, slot, self._derived(project, slot))
        self._changed()
        return project, old is None

    async def why_not(self, name: str) -> str | None:
        """Why a new project cannot have a name; None if it can."""
        try:
            taken = _project_name(name) in (await self.snapshot()).projects
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
            await remove_all(change.connection, project.name)
            await remove_evals(change.connection, project.name)
            await remove_chats(change.connection, project.name)
            await remove_all_stores(change.connection, project.name)
            await remove_all_containers(change.connection, project.name)
            await cancel_all(change.connection, project.name, self._clock.now())
            await remove_endpoints(change.connection, project.name)
            await remove_responses(change.connection, project.name)
            await remove_conversations(change.connection, project.name)
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
        project = await self.get(name)
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
            project = _project(change.before, name)
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
        _check(wanted)
        version = self._find(f"{wanted.model}@{wanted.version}" if wanted.version else wanted.model)
        async with writing(self._database, self._audit) as change:
            before, now_s = change.before, self._clock.now()
            project = _project(before, wanted.project).name
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
                expires=_expires(wanted, old, now_s),
            )
            self._check_room(before, wanted, old)
            _check_references(before, wanted)
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


def _check(wanted: Deployment) -> None:
    if not _DEPLOYMENT.fullmatch(wanted.name):
        raise InvalidRequest("A deployment's name has 1 to 64 letters, digits, and . _ - inside.", param="name")
    if wanted.sku not in SKUS:
        raise InvalidRequest(f"There is no SKU {wanted.sku!r}: use one of {', '.join(SKUS)}.", param="sku")
    if not 1 <= wanted.capacity <= MAX_CAPACITY:
        raise InvalidRequest(f"A capacity lies between 1 and {MAX_CAPACITY:,} units.", param="capacity")


def _expires(wanted: Deployment, old: Deployment | None, now_s: float) -> float | None:
    """The time of the developer tier starts when a deployment comes into it."""
    if wanted.kind != "developer":
        return None
    return old.expires if old and old.expires is not None else now_s + DEVELOPER_S


def _check_references(before: Snapshot, wanted: Deployment) -> None:
    spilling = [each.name for each in before.of(wanted.project) if each.spillover == wanted.name]
    if spilling and wanted.kind != "standard":
        raise Conflict(f"{wanted.name!r} takes what spills over from {', '.join(spilling)}: it must be standard.")
    if wanted.spillover:
        if wanted.kind != "provisioned":
            raise InvalidRequest("Only a provisioned deployment spills over.", param="spillover")
        other = before.deployments.get((wanted.project, wanted.spillover))
        if other is None or other.name == wanted.name or other.kind != "standard":
            raise InvalidRequest(
                f"{wanted.spillover!r} is no standard deployment of the project that could take what spills over.",
                param="spillover",
            )
    own = (wanted.project, wanted.policy) in before.policies
    if wanted.policy and not own and wanted.policy not in SYSTEM_POLICIES:
        raise InvalidRequest(f"The project has no content policy {wanted.policy!r}.", param="policy")


def _project_name(name: str) -> str:
    if not _PROJECT.fullmatch(name.lower()):
        raise InvalidRequest("A project's name has 1 to 64 letters, digits, and - inside.", param="name")
    return name.lower()


def _project(snapshot: Snapshot, name: str) -> Project:
    found = snapshot.projects.get(name.lower())
    if found is None:
        raise NotFound(f"There is no project {name!r}: `mainspring projects list` shows them.")
    return found


def installation_secret(home: Path, configured: str = "") -> bytes:
    """What keys are derived from: what the settings say, or a file of random bytes that is made once.

    Raises:
        MainspringError: the file cannot be read or made.
    """
    if configured:
        return configured.encode()
    path = home / SECRET_FILE
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    except OSError as error:
        raise MainspringError("The data directory's secret cannot be written: is the disk full?") from error
    return path.read_bytes().strip()
