"""Content policies and blocklists of projects: changed here and nowhere else. What they do is in `filters`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from mainspring.core.clock import Clock
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.governance.audit import Audit
from mainspring.governance.filters import blocklist as lists
from mainspring.governance.filters.policy import SYSTEM_POLICIES, from_arm, to_arm
from mainspring.governance.state import read_snapshot, writing
from mainspring.governance.wanted import Blocklist, BlocklistItem, Policy, Snapshot
from mainspring.store.db import Database

__all__ = ["Policies"]

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,98}[A-Za-z0-9])?", re.ASCII)


class Policies:
    """The policies of one installation. Changes are written to the audit log as the doing of `actor`.

    Args:
        changed: called after each change.
    """

    def __init__(
        self, database: Database, clock: Clock, actor: str = "server", changed: Callable[[], None] = lambda: None
    ) -> None:
        self._database, self._clock, self._changed = database, clock, changed
        self._audit = Audit(database, clock, actor)

    def by(self, actor: str) -> "Policies":
        """The same, on behalf of somebody else."""
        return Policies(self._database, self._clock, actor, self._changed)

    async def put(self, project: str, name: str, properties: Mapping[str, Any]) -> tuple[Policy, bool]:
        """Make a policy, or replace one; it, and whether it is new.

        Args:
            properties: of a `raiPolicies` body of Azure's control plane.

        Raises:
            InvalidRequest: something about it is refused.
            NotFound: there is no such project.
        """
        _check_name(name)
        if name in SYSTEM_POLICIES:
            raise InvalidRequest(f"{name!r} is built in: choose another name, and this one as its base.", param="name")
        parsed = from_arm(name, properties)
        async with writing(self._database, self._audit) as change:
            before = change.before
            _known(before, project)
            if parsed.base and parsed.base not in SYSTEM_POLICIES and (project, parsed.base) not in before.policies:
                raise InvalidRequest(f"There is no policy {parsed.base!r} to base it on.", param="basePolicyName")
            for each in (*parsed.prompt_blocklists, *parsed.completion_blocklists):
                if (project, each) not in before.blocklists:
                    raise InvalidRequest(f"The project has no blocklist {each!r}.", param="customBlocklists")
            policy = Policy(project=project, name=name, properties=to_arm(parsed), updated=self._clock.now())
            is_new = (project, name) not in before.policies
            await change.put(policy, "policy.create" if is_new else "policy.update", f"{project}/{name}")
        self._changed()
        return policy, is_new

    async def remove(self, project: str, name: str) -> bool:
        """Delete a policy; whether there was one.

        Raises:
            Conflict: it is used.
        """
        async with writing(self._database, self._audit) as change:
            policy = change.before.policies.get((project, name))
            if policy is None:
                return False
            users = [each.name for each in change.before.of(project) if each.policy == name]
            users += [
                each.name
                for each in change.before.policies.values()
                if each.project == project and each.properties.get("basePolicyName") == name
            ]
            if users:
                raise Conflict(f"The policy {name!r} is used by {', '.join(users[:10])}.")
            await change.remove(policy, "policy.delete", f"{project}/{name}")
        self._changed()
        return True

    async def put_list(self, project: str, name: str, description: str = "") -> tuple[Blocklist, bool]:
        """Make a blocklist, or describe one anew; it, and whether it is new.

        Raises:
            InvalidRequest: its name or description is refused.
            NotFound: there is no such project.
        """
        _check_name(name)
        if len(description) > 1000:
            raise InvalidRequest("A description has at most 1,000 characters.", param="description")
        async with writing(self._database, self._audit) as change:
            _known(change.before, project)
            is_new = (project, name) not in change.before.blocklists
            found = Blocklist(project=project, name=name, description=description, updated=self._clock.now())
            await change.put(found, "blocklist.create" if is_new else "blocklist.update", f"{project}/{name}")
        self._changed()
        return found, is_new

    async def remove_list(self, project: str, name: str) -> bool:
        """Delete a blocklist with its items; whether there was one.

        Raises:
            Conflict: a policy uses it.
        """
        async with writing(self._database, self._audit) as change:
            found = change.before.blocklists.get((project, name))
            if found is None:
                return False
            for policy in change.before.policies.values():
                parsed = from_arm(policy.name, policy.properties)
                if policy.project == project and name in (*parsed.prompt_blocklists, *parsed.completion_blocklists):
                    raise Conflict(f"The blocklist {name!r} is used by the policy {policy.name!r}.")
            for item in change.before.items.get((project, name), ()):
                await change.remove(item, "blocklist_item.delete", f"{project}/{name}/{item.name}")
            await change.remove(found, "blocklist.delete", f"{project}/{name}")
        self._changed()
        return True

    async def put_items(self, project: str, blocklist: str, items: Mapping[str, tuple[str, bool]]) -> set[str]:
        """Write items of a blocklist, name -> (pattern, whether it is a regular expression); names of the new ones.

        Raises:
            InvalidRequest: a name or pattern is refused, or the list would be too long.
            NotFound: there is no such blocklist.
        """
        for name in items:
            _check_name(name)
        async with writing(self._database, self._audit) as change:
            if (project, blocklist) not in change.before.blocklists:
                raise NotFound(f"The project {project!r} has no blocklist {blocklist!r}.")
            now_s, old = self._clock.now(), change.before.items.get((project, blocklist), ())
            known = {each.name: each for each in old}
            written = [
                BlocklistItem(
                    project=project, blocklist=blocklist, name=name, pattern=pattern, is_regex=is_regex, updated=now_s
                )
                for name, (pattern, is_regex) in items.items()
            ]
            whole = known | {each.name: each for each in written}
            lists.validate(lists.Blocklist(name=blocklist, items=tuple(map(as_filter, whole.values()))))
            for each in written:
                action = "blocklist_item.update" if each.name in known else "blocklist_item.create"
                await change.put(each, action, f"{project}/{blocklist}/{each.name}")
        self._changed()
        return items.keys() - known.keys()

    async def remove_items(self, project: str, blocklist: str, names: set[str]) -> set[str]:
        """Delete items of a blocklist; those that there were."""
        async with writing(self._database, self._audit) as change:
            found = [each for each in change.before.items.get((project, blocklist), ()) if each.name in names]
            for each in found:
                await change.remove(each, "blocklist_item.delete", f"{project}/{blocklist}/{each.name}")
        self._changed()
        return {each.name for each in found}

    async def snapshot(self) -> Snapshot:
        """All that is wanted, as it is in the database now."""
        return await read_snapshot(self._database)


def as_filter(item: BlocklistItem) -> lists.BlocklistItem:
    """An item as the filters take it."""
    return lists.BlocklistItem(name=item.name, pattern=item.pattern, is_regex=item.is_regex)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequest("A name has 1 to 100 letters, digits, and . _ - inside.", param="name")


def _known(snapshot: Snapshot, project: str) -> None:
    if project not in snapshot.projects:
        raise NotFound(f"There is no project {project!r}: `mainspring projects list` shows them.")
