"""Accounts of the control plane: our projects, and their two keys."""

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.control.arm import PROVIDER, Arm, Body, Call, Resource, SystemData, answer, empty, etag, page
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.governance.control import Control
from mainspring.governance.projects import Slot
from mainspring.governance.wanted import Project

__all__ = [
    "KIND",
    "SKU",
    "Account",
    "AccountBody",
    "AccountList",
    "AccountRoutes",
    "ApiKeys",
    "RegenerateKeyBody",
    "SkuBody",
    "SkuName",
]

KIND, SKU = "OpenAI", "S0"
"""The one kind of account there is, and its one SKU."""
KINDS = ("OpenAI", "AIServices")
"""Kinds that may be asked for: the two that have deployments."""


class SkuBody(Body):
    """A SKU, and for deployments how much of it."""

    name: str | None = None
    capacity: int | None = None


class AccountBody(Body):
    """What an account is to be. Its properties are Azure's infrastructure, which there is none of here."""

    location: str | None = None
    kind: str | None = None
    sku: SkuBody | None = None
    tags: dict[str, str] | None = None


class RegenerateKeyBody(Body):
    """Which of the two keys."""

    key_name: Literal["Key1", "Key2"]


class SkuName(Arm, frozen=True, kw_only=True):
    """A SKU, and for deployments how much of it."""

    name: str
    capacity: int | None = None


class SkuCapability(Arm, frozen=True, kw_only=True):
    """Something that an account can do."""

    name: str
    value: str


class AccountProperties(Arm, frozen=True, kw_only=True):
    """What is known of an account."""

    provisioning_state: str
    endpoint: str
    endpoints: dict[str, str]
    internal_id: str
    custom_sub_domain_name: str
    date_created: str
    capabilities: list[SkuCapability]
    public_network_access: str


class Account(Resource, frozen=True, kw_only=True):
    """An account."""

    kind: str
    sku: SkuName
    location: str
    tags: dict[str, str]
    properties: AccountProperties


class AccountList(Arm, frozen=True, kw_only=True):
    """A page of accounts."""

    value: list[Account]
    next_link: str | None = None


class ApiKeys(Arm, frozen=True, kw_only=True):
    """An account's two keys: either is good."""

    key1: str
    key2: str


class AccountRoutes:
    """The handlers of accounts."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services, self._control = services, control

    async def put(self, http: Request) -> Response:
        """Make an account, or change one."""
        call, body = Call(http, self._control), await self._body(http)
        if body.location is None and call.path["accountName"].lower() not in (await call.projects.snapshot()).projects:
            raise InvalidRequest("An account has a location: any name, such as 'local'.", param="location")
        project, is_new = await call.projects.put(
            call.path["accountName"], resource_group=call.group, location=body.location, tags=body.tags or {}
        )
        return answer(_account(call, project), 201 if is_new else 200)

    async def patch(self, http: Request) -> Response:
        """Change what is given of an account."""
        call, body = Call(http, self._control), await self._body(http)
        _, project = await call.found()
        project, _ = await call.projects.put(
            project.name, resource_group=project.resource_group, location=body.location, tags=body.tags
        )
        return answer(_account(call, project))

    async def get(self, http: Request) -> Response:
        """One account."""
        call = Call(http, self._control)
        _, project = await call.found()
        return answer(_account(call, project))

    async def list(self, http: Request) -> Response:
        """The accounts of the subscription or of a resource group that the caller may see."""
        call = Call(http, self._control)
        group = call.path.get("resourceGroupName", "").lower()
        projects = (await self._control.projects.snapshot()).projects.values()
        seen = [
            each
            for each in projects
            if call.may("projects.read", each.name) and group in ("", each.resource_group.lower())
        ]
        shown, link = page(call, seen)
        return answer(AccountList(value=[_account(call, each) for each in shown], next_link=link))

    async def list_deleted(self, http: Request) -> Response:
        """Accounts that could be had back: none, since they are deleted for good."""
        Call(http, self._control)
        return answer(AccountList(value=[]))

    async def delete(self, http: Request) -> Response:
        """Delete an account with its keys, policies and blocklists; it must have no deployments."""
        call = Call(http, self._control)
        project = (await call.projects.snapshot()).projects.get(call.path["accountName"].lower())
        if project is None or project.resource_group.lower() != call.group.lower():
            return empty(204)
        return empty(200 if await call.projects.remove(project.name) else 204)

    async def keys(self, http: Request) -> Response:
        """Both keys."""
        call = Call(http, self._control)
        _, project = await call.found()
        return answer(ApiKeys(**dict(zip(("key1", "key2"), await call.projects.keys(project.name), strict=True))))

    async def regenerate(self, http: Request) -> Response:
        """Replace one key, which stops working; the other one goes on."""
        call = Call(http, self._control)
        body = await read_body(http, RegenerateKeyBody, self._services.max_body_bytes)
        _, project = await call.found()
        slot: Slot = "key1" if body.key_name == "Key1" else "key2"
        key1, key2 = await call.projects.regenerate(project.name, slot)
        return answer(ApiKeys(key1=key1, key2=key2))

    async def _body(self, http: Request) -> AccountBody:
        body = await read_body(http, AccountBody, self._services.max_body_bytes)
        if body.kind is not None and body.kind not in KINDS:
            raise InvalidRequest(f"There are no accounts of the kind {body.kind[:40]!r}: use {KIND}.", param="kind")
        if body.sku is not None and body.sku.name not in (None, SKU):
            raise InvalidRequest(f"Accounts have the SKU {SKU}; what is used is that of deployments.", param="sku.name")
        return body


def _account(call: Call, project: Project) -> Account:
    endpoint = f"{call.base}/projects/{project.name}/"
    data = SystemData.of(project.created, project.updated)
    return Account(
        id=call.account_id(project),
        name=project.name,
        type=f"{PROVIDER}/accounts",
        system_data=data,
        etag=etag(project),
        kind=KIND,
        sku=SkuName(name=SKU),
        location=project.location,
        tags=project.tags,
        properties=AccountProperties(
            provisioning_state="Succeeded",
            endpoint=endpoint,
            endpoints={"OpenAI Language Model Instance API": endpoint},
            internal_id=project.name,
            custom_sub_domain_name=project.name,
            date_created=data.created_at or "",
            capabilities=[SkuCapability(name="RaiPolicy", value="true"), SkuCapability(name="Scale", value="true")],
            public_network_access="Enabled",
        ),
    )
