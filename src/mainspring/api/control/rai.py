"""Content policies, blocklists and their items on the control plane: Azure's raiPolicies, raiBlocklists and
raiBlocklistItems. What they mean is `governance.filters`' to say."""

from typing import Any

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.control.arm import PROVIDER, Arm, Body, Call, Resource, SystemData, answer, empty, etag, page
from mainspring.api.services import Services
from mainspring.governance.control import Control
from mainspring.governance.filters.policy import SYSTEM_POLICIES, to_arm
from mainspring.governance.wanted import Blocklist, BlocklistItem, Policy, Project

__all__ = [
    "RaiBlocklist",
    "RaiBlocklistBody",
    "RaiBlocklistItem",
    "RaiBlocklistItemBody",
    "RaiBlocklistItemList",
    "RaiBlocklistItemNames",
    "RaiBlocklistItemsBody",
    "RaiBlocklistList",
    "RaiPolicy",
    "RaiPolicyBody",
    "RaiPolicyList",
    "RaiRoutes",
]

POLICIES, LISTS, ITEMS = "raiPolicies", "raiBlocklists", "raiBlocklistItems"


class RaiPolicyBody(Body):
    """A policy; what is in `properties` is checked where policies are made."""

    properties: dict[str, Any]


class RaiBlocklistProperties(Body):
    """What is said of a blocklist."""

    description: str | None = None


class RaiBlocklistBody(Body):
    """A blocklist without its items."""

    properties: RaiBlocklistProperties | None = None


class RaiBlocklistItemProperties(Body):
    """A term, or a regular expression."""

    pattern: str
    is_regex: bool | None = None


class RaiBlocklistItemBody(Body):
    """An item of a blocklist."""

    properties: RaiBlocklistItemProperties


class NamedItem(Body):
    """An item of a blocklist among others."""

    name: str
    properties: RaiBlocklistItemProperties


class RaiBlocklistItemsBody(RootModel[list[NamedItem]]):
    """Several items at once."""


class RaiBlocklistItemNames(RootModel[list[str]]):
    """Names of items."""


class RaiPolicy(Resource, frozen=True, kw_only=True):
    """A content policy."""

    properties: dict[str, Any]


class RaiPolicyList(Arm, frozen=True, kw_only=True):
    """A page of policies."""

    value: list[RaiPolicy]
    next_link: str | None = None


class RaiBlocklist(Resource, frozen=True, kw_only=True):
    """A blocklist without its items."""

    properties: dict[str, str]


class RaiBlocklistList(Arm, frozen=True, kw_only=True):
    """A page of blocklists."""

    value: list[RaiBlocklist]
    next_link: str | None = None


class ItemProperties(Arm, frozen=True, kw_only=True):
    """A term, or a regular expression."""

    pattern: str
    is_regex: bool


class RaiBlocklistItem(Resource, frozen=True, kw_only=True):
    """An item of a blocklist."""

    properties: ItemProperties


class RaiBlocklistItemList(Arm, frozen=True, kw_only=True):
    """A page of items."""

    value: list[RaiBlocklistItem]
    next_link: str | None = None


class RaiRoutes:
    """The handlers of policies and blocklists."""

    def __init__(self, services: Services, control: Control) -> None:
        self._control, self._max_bytes = control, services.max_body_bytes

    # -- policies ------------------------------------------------------------------------------------------------------

    async def put_policy(self, http: Request) -> Response:
        """Make a policy, or replace one."""
        call, body = Call(http, self._control), await read_body(http, RaiPolicyBody, self._max_bytes)
        _, project = await call.found()
        policy, is_new = await call.policies.put(project.name, call.path["raiPolicyName"], body.properties)
        return answer(_policy(call, project, policy), 201 if is_new else 200)

    async def get_policy(self, http: Request) -> Response:
        """One policy, of the account or built in."""
        call = Call(http, self._control)
        snapshot, project = await call.found()
        name = call.path["raiPolicyName"]
        policy = snapshot.policies.get((project.name, name)) or _built_in(project.name).get(name)
        if policy is None:
            raise call.missing(POLICIES, name)
        return answer(_policy(call, project, policy))

    async def list_policies(self, http: Request) -> Response:
        """The policies of an account, and those that are built in."""
        call = Call(http, self._control)
        snapshot, project = await call.found()
        own = {name: each for (owner, name), each in snapshot.policies.items() if owner == project.name}
        shown, link = page(call, list((_built_in(project.name) | own).values()))
        return answer(RaiPolicyList(value=[_policy(call, project, each) for each in shown], next_link=link))

    async def delete_policy(self, http: Request) -> Response:
        """Delete a policy that nothing uses."""
        call = Call(http, self._control)
        _, project = await call.found()
        await call.policies.remove(project.name, call.path["raiPolicyName"])
        return empty(204)

    # -- blocklists ----------------------------------------------------------------------------------------------------

    async def put_list(self, http: Request) -> Response:
        """Make a blocklist, or describe one anew."""
        call, body = Call(http, self._control), await read_body(http, RaiBlocklistBody, self._max_bytes)
        _, project = await call.found()
        said = body.properties.description if body.properties else None
        found, is_new = await call.policies.put_list(project.name, call.path["raiBlocklistName"], said or "")
        return answer(_list(call, project, found), 201 if is_new else 200)

    async def get_list(self, http: Request) -> Response:
        """One blocklist."""
        call = Call(http, self._control)
        project, found, _ = await self._found(call)
        return answer(_list(call, project, found))

    async def list_lists(self, http: Request) -> Response:
        """The blocklists of an account."""
        call = Call(http, self._control)
        snapshot, project = await call.found()
        shown, link = page(call, [each for (owner, _), each in snapshot.blocklists.items() if owner == project.name])
        return answer(RaiBlocklistList(value=[_list(call, project, each) for each in shown], next_link=link))

    async def delete_list(self, http: Request) -> Response:
        """Delete a blocklist that no policy uses, with its items."""
        call = Call(http, self._control)
        _, project = await call.found()
        await call.policies.remove_list(project.name, call.path["raiBlocklistName"])
        return empty(204)

    # -- items ---------------------------------------------------------------------------------------------------------

    async def put_item(self, http: Request) -> Response:
        """Write an item."""
        call, body = Call(http, self._control), await read_body(http, RaiBlocklistItemBody, self._max_bytes)
        project, found, _ = await self._found(call)
        name, given = call.path["raiBlocklistItemName"], body.properties
        new = await call.policies.put_items(project.name, found.name, {name: (given.pattern, given.is_regex or False)})
        _, _, items = await self._found(call)
        return answer(_item(call, project, items[name]), 201 if new else 200)

    async def get_item(self, http: Request) -> Response:
        """One item."""
        call = Call(http, self._control)
        project, found, items = await self._found(call)
        item = items.get(call.path["raiBlocklistItemName"])
        if item is None:
            raise call.missing(f"{LISTS}/{found.name}/{ITEMS}", call.path["raiBlocklistItemName"])
        return answer(_item(call, project, item))

    async def list_items(self, http: Request) -> Response:
        """The items of a blocklist."""
        call = Call(http, self._control)
        project, _, items = await self._found(call)
        shown, link = page(call, list(items.values()))
        return answer(RaiBlocklistItemList(value=[_item(call, project, each) for each in shown], next_link=link))

    async def delete_item(self, http: Request) -> Response:
        """Delete an item."""
        call = Call(http, self._control)
        project, found, _ = await self._found(call)
        await call.policies.remove_items(project.name, found.name, {call.path["raiBlocklistItemName"]})
        return empty(204)

    async def add_items(self, http: Request) -> Response:
        """Write several items."""
        call, body = Call(http, self._control), await read_body(http, RaiBlocklistItemsBody, self._max_bytes)
        project, found, _ = await self._found(call)
        given = {each.name: (each.properties.pattern, each.properties.is_regex or False) for each in body.root}
        await call.policies.put_items(project.name, found.name, given)
        return answer(_list(call, project, found))

    async def delete_items(self, http: Request) -> Response:
        """Delete several items."""
        call, body = Call(http, self._control), await read_body(http, RaiBlocklistItemNames, self._max_bytes)
        project, found, _ = await self._found(call)
        await call.policies.remove_items(project.name, found.name, set(body.root))
        return empty(204)

    async def _found(self, call: Call) -> tuple[Project, Blocklist, dict[str, BlocklistItem]]:
        snapshot, project = await call.found()
        key = project.name, call.path["raiBlocklistName"]
        found = snapshot.blocklists.get(key)
        if found is None:
            raise call.missing(LISTS, key[1])
        return project, found, {each.name: each for each in snapshot.items.get(key, ())}


def _built_in(project: str) -> dict[str, Policy]:
    return {
        name: Policy(project=project, name=name, properties=to_arm(each), updated=0.0)
        for name, each in SYSTEM_POLICIES.items()
    }


def _policy(call: Call, project: Project, policy: Policy) -> RaiPolicy:
    return RaiPolicy(
        id=f"{call.account_id(project)}/{POLICIES}/{policy.name}",
        name=policy.name,
        type=f"{PROVIDER}/accounts/{POLICIES}",
        system_data=SystemData.of(None, policy.updated) if policy.updated else None,
        etag=etag(policy),
        properties=policy.properties,
    )


def _list(call: Call, project: Project, found: Blocklist) -> RaiBlocklist:
    return RaiBlocklist(
        id=f"{call.account_id(project)}/{LISTS}/{found.name}",
        name=found.name,
        type=f"{PROVIDER}/accounts/{LISTS}",
        system_data=SystemData.of(None, found.updated),
        etag=etag(found),
        properties={"description": found.description},
    )


def _item(call: Call, project: Project, item: BlocklistItem) -> RaiBlocklistItem:
    return RaiBlocklistItem(
        id=f"{call.account_id(project)}/{LISTS}/{item.blocklist}/{ITEMS}/{item.name}",
        name=item.name,
        type=f"{PROVIDER}/accounts/{LISTS}/{ITEMS}",
        system_data=SystemData.of(None, item.updated),
        etag=etag(item),
        properties=ItemProperties(pattern=item.pattern, is_regex=item.is_regex),
    )
