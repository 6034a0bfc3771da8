"""What every resource of the control plane has in common: where it is, what it is called, how lists of it are paged.

Azure Resource Manager's shapes (ARM's RPC, "common API details"), so that its official clients work against our base
URL. An installation has one subscription, and any well-formed id is taken as its name and given back: who may do what
is decided by roles in projects, and a second check of a number that means nothing here would only be one more thing to
configure. A resource group is a name that accounts are made under: one that has no accounts does not exist.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.azure import API_VERSION_PATTERN
from mainspring.api.browser import address_of
from mainspring.api.context import context_of
from mainspring.api.openai.replies import encode
from mainspring.api.openapi import GUID_PATTERN
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.types import Principal
from mainspring.governance.control import Control
from mainspring.governance.policies import Policies
from mainspring.governance.projects import Projects
from mainspring.governance.roles import Permission, allows
from mainspring.governance.wanted import Project, Snapshot

__all__ = [
    "ACCOUNT",
    "GROUP",
    "PROVIDER",
    "SUBSCRIPTION",
    "Arm",
    "Body",
    "Call",
    "Resource",
    "SystemData",
    "aim",
    "answer",
    "check",
    "empty",
    "etag",
    "page",
]

PROVIDER = "Microsoft.CognitiveServices"
SUBSCRIPTION = f"/subscriptions/{{subscriptionId}}/providers/{PROVIDER}"
GROUP = f"/subscriptions/{{subscriptionId}}/resourceGroups/{{resourceGroupName}}/providers/{PROVIDER}"
ACCOUNT = f"{GROUP}/accounts/{{accountName}}"

PAGE_SIZE = 200
"""Resources of one answer; a list that is longer has a link to the next."""

_is_version = re.compile(API_VERSION_PATTERN).fullmatch
_is_guid = re.compile(GUID_PATTERN).fullmatch

T = TypeVar("T")


class Body(BaseModel):
    """What bodies are built on: wrong types are mistakes, unknown fields are not, as in ARM."""

    model_config = ConfigDict(
        extra="ignore", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=(), alias_generator=to_camel
    )


class Arm(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What answers are built on: what is None is left out, as in ARM."""


class SystemData(Arm, frozen=True, kw_only=True):
    """When a resource was made and last changed (RFC 3339)."""

    created_at: str | None = None
    last_modified_at: str | None = None

    @classmethod
    def of(cls, created_s: float | None, changed_s: float | None = None) -> "SystemData":
        """From Unix seconds."""
        return cls(created_at=_time(created_s), last_modified_at=_time(changed_s or created_s))


class Resource(Arm, frozen=True, kw_only=True):
    """What every resource has."""

    id: str
    name: str
    type: str
    system_data: SystemData | None = None
    etag: str | None = None


def aim(http: Request) -> None:
    """Make the account in the path, whatever else was said, the project that rights are looked up in."""
    if account := http.path_params.get("accountName"):
        context_of(http).project = account.lower()


def check(http: Request) -> None:
    """ARM wants a date as api-version, and every one is served alike. Raises InvalidRequest."""
    version = http.query_params.get("api-version")
    if version is None:
        raise InvalidRequest(
            "The api-version query parameter is required: add '?api-version=' and a date, such as 2025-09-01.",
            code="MissingApiVersionParameter",
        )
    if not _is_version(version):
        raise InvalidRequest(
            f"{version[:40]!r} is no api-version: use a date, such as 2025-09-01.", code="InvalidApiVersionParameter"
        )
    if not _is_guid(http.path_params.get("subscriptionId", "00000000-0000-0000-0000-000000000000")):
        raise InvalidRequest("The subscription id is not a GUID.", code="InvalidSubscriptionId")


class Call:
    """One request: who asks, and which account it names. What it changes is written down as the caller's doing."""

    def __init__(self, http: Request, control: Control) -> None:
        context = context_of(http)
        assert context.principal is not None, "every route of the control plane needs a permission"
        self.http, self.control, self.principal = http, control, context.principal
        self.path = http.path_params
        self.base = address_of(http.scope)

    @property
    def projects(self) -> Projects:
        """To change projects and deployments."""
        return self.control.projects.by(self.principal.id)

    @property
    def policies(self) -> Policies:
        """To change content policies and blocklists."""
        return self.control.policies.by(self.principal.id)

    @property
    def group(self) -> str:
        """The resource group in the path."""
        return self.path["resourceGroupName"]

    async def found(self) -> tuple[Snapshot, Project]:
        """All that is wanted, and of it the account in the path.

        Raises:
            NotFound: the resource group has no such account.
        """
        snapshot, name = await self.control.projects.snapshot(), self.path["accountName"]
        project = snapshot.projects.get(name.lower())
        if project is None or project.resource_group.lower() != self.group.lower():
            raise NotFound(
                f"The resource '{PROVIDER}/accounts/{name}' under resource group '{self.group}' was not found."
            )
        return snapshot, project

    def may(self, needs: Permission, project: str) -> bool:
        """Whether the caller has a permission in a project."""
        return may(self.principal, needs, project)

    def account_id(self, project: Project) -> str:
        """The full id of an account."""
        group = f"/subscriptions/{self.path['subscriptionId']}/resourceGroups/{project.resource_group}"
        return f"{group}/providers/{PROVIDER}/accounts/{project.name}"

    def missing(self, kind: str, name: str) -> NotFound:
        """The error for a part of the account that it does not have."""
        return NotFound(
            f"The resource '{PROVIDER}/accounts/{self.path['accountName']}/{kind}/{name}' under resource group "
            f"'{self.group}' was not found."
        )


def may(principal: Principal, needs: Permission, project: str) -> bool:
    """Whether somebody has a permission in a project."""
    return allows(principal.roles_in(project), needs)


def page(call: Call, items: Sequence[T], name: str = "name") -> tuple[list[T], str | None]:
    """The part of a list that was asked for, and the link to the next.

    Args:
        items: each with an attribute `name` that no other has.
    """
    ordered = sorted(items, key=lambda each: getattr(each, name))
    after = call.http.query_params.get("$skiptoken", "")
    rest = [each for each in ordered if getattr(each, name) > after]
    if len(rest) <= PAGE_SIZE:
        return rest, None
    shown = rest[:PAGE_SIZE]
    query = call.http.query_params
    kept = [(key, value) for key, value in query.multi_items() if key != "$skiptoken"]
    kept.append(("$skiptoken", getattr(shown[-1], name)))
    joined = "&".join(f"{quote(key, safe='$')}={quote(value, safe='')}" for key, value in kept)
    return shown, f"{call.base}{quote(context_of(call.http).path)}?{joined}"


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A whole body."""
    return Response(encode(body), status, headers, media_type="application/json")


def empty(status: int) -> Response:
    """An answer that says nothing more."""
    return Response(status_code=status)


def etag(*values: object) -> str:
    """A mark that changes whenever one of the values does."""
    return f'"{hashlib.sha256(repr(values).encode()).hexdigest()[:32]}"'


def _time(unix_s: float | None) -> str | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")
