"""Answers of OpenAI's administration: projects, keys, service accounts, limits, roles."""

from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request

from mainspring.api.openai.pages import part_of
from mainspring.core.errors import InvalidRequest
from mainspring.governance.keys import ApiKey
from mainspring.governance.roles import AZURE_NAMES, PERMISSIONS, Role
from mainspring.governance.service_accounts import ServiceAccount
from mainspring.governance.wanted import Deployment, Project

__all__ = [
    "MEMBER",
    "AdminApiKey",
    "AdminApiKeyCreated",
    "AdminApiKeyList",
    "AdminOwner",
    "Enforcement",
    "Gone",
    "OrganizationProject",
    "OrganizationProjectList",
    "OrganizationRole",
    "OrganizationRoleList",
    "ProjectApiKey",
    "ProjectApiKeyList",
    "ProjectRateLimit",
    "ProjectRateLimitList",
    "ProjectServiceAccount",
    "ProjectServiceAccountCreated",
    "ProjectServiceAccountList",
    "ServiceAccountApiKey",
    "SpendLimit",
    "SpendLimitDeleted",
    "page",
    "redacted",
    "whole",
]

T = TypeVar("T")
MEMBER: dict[Role | None, Literal["member", "none"]] = {"user": "member", None: "none"}
"""What OpenAI calls the roles that service accounts can have."""


class Listed(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """That something is deleted."""

    id: str
    object: str
    deleted: bool = True


class OrganizationProject(msgspec.Struct, frozen=True, kw_only=True):
    """A project; `id` is its name in paths and in the header OpenAI-Project."""

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    created_at: int
    archived_at: int | None
    status: Literal["active", "archived"]

    @classmethod
    def of(cls, found: Project) -> "OrganizationProject":
        """From what is wanted."""
        is_archived = found.archived is not None
        return cls(
            id=found.name, name=found.title or found.name, created_at=int(found.created),
            archived_at=whole(found.archived), status="archived" if is_archived else "active",
        )  # fmt: skip


class OrganizationProjectList(Listed[OrganizationProject], frozen=True, kw_only=True):
    """Projects, oldest first."""


class OwnerServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The service account that a key was made for."""

    id: str
    name: str
    created_at: int
    role: str


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a key was made for. Of people there is no more to tell: this server knows no addresses of theirs."""

    type: Literal["user", "service_account"] | UnsetType = UNSET
    service_account: OwnerServiceAccount | UnsetType = UNSET


class ProjectApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    id: str
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner: KeyOwner
    owner_project_access: Literal["active"] = "active"

    @classmethod
    def of(cls, found: ApiKey, account: ServiceAccount | None) -> "ProjectApiKey":
        """From the row, and the service account that it belongs to."""
        owner = KeyOwner(type="user") if found.owner else KeyOwner()
        if account is not None:
            shown = OwnerServiceAccount(
                id=account.id, name=account.name, created_at=int(account.created), role=MEMBER[account.role]
            )
            owner = KeyOwner(type="service_account", service_account=shown)
        return cls(
            id=found.id, name=found.name, redacted_value=redacted(found), created_at=int(found.created),
            last_used_at=whole(found.last_used), expires_at=whole(found.expires), owner=owner,
        )  # fmt: skip


class ProjectApiKeyList(Listed[ProjectApiKey], frozen=True, kw_only=True):
    """The keys of a project that were not revoked, oldest first."""


class ProjectServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A service account."""

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: Literal["member", "none"]
    created_at: int

    @classmethod
    def of(cls, found: ServiceAccount) -> "ProjectServiceAccount":
        """From the row."""
        return cls(id=found.id, name=found.name, role=MEMBER[found.role], created_at=int(found.created))


class ProjectServiceAccountList(Listed[ProjectServiceAccount], frozen=True, kw_only=True):
    """The service accounts of a project, oldest first."""


class ServiceAccountApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made: `value` is its secret, which is shown once."""

    id: str
    object: Literal["organization.project.service_account.api_key"] = "organization.project.service_account.api_key"
    name: str
    value: str
    created_at: int
    expires_at: int | None

    @classmethod
    def of(cls, found: ApiKey, secret: str) -> "ServiceAccountApiKey":
        """From the row and the secret."""
        return cls(
            id=found.id, name=found.name, value=secret, created_at=int(found.created), expires_at=whole(found.expires)
        )


class ProjectServiceAccountCreated(ProjectServiceAccount, frozen=True, kw_only=True):
    """A service account and its first key."""

    api_key: ServiceAccountApiKey | None


class ProjectRateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What may be asked of a deployment in a minute: its capacity."""

    id: str
    object: Literal["project.rate_limit"] = "project.rate_limit"
    model: str
    max_requests_per_1_minute: int
    max_tokens_per_1_minute: int

    @classmethod
    def of(cls, found: Deployment) -> "ProjectRateLimit":
        """From a deployment that is limited by the minute."""
        requests, tokens = found.limits.requests_per_minute, found.limits.tokens_per_minute
        assert requests is not None, "provisioned ones have other limits"
        assert tokens is not None, "as above"
        return cls(
            id=f"rl-{found.name}", model=found.name, max_requests_per_1_minute=requests, max_tokens_per_1_minute=tokens
        )


class ProjectRateLimitList(Listed[ProjectRateLimit], frozen=True, kw_only=True):
    """The limits of a project's deployments, by name."""


class AdminOwner(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an administrator's key was made for, if that was said."""

    type: Literal["user"] = "user"
    object: Literal["organization.user"] = "organization.user"
    name: str | UnsetType = UNSET
    role: Literal["owner"] = "owner"


class AdminApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator's key without its secret."""

    id: str
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner: AdminOwner

    @classmethod
    def of(cls, found: ApiKey) -> "AdminApiKey":
        """From the row."""
        return cls(
            id=found.id, name=found.name, redacted_value=redacted(found), created_at=int(found.created),
            last_used_at=whole(found.last_used), expires_at=whole(found.expires),
            owner=AdminOwner(name=found.owner or UNSET),
        )  # fmt: skip


class AdminApiKeyCreated(AdminApiKey, frozen=True, kw_only=True):
    """One that was just made: `value` is its secret, which is shown once."""

    value: str


class AdminApiKeyList(Listed[AdminApiKey], frozen=True, kw_only=True):
    """The keys of administrators that were not revoked."""


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests are refused because of a limit."""

    status: Literal["inactive", "enforcing"]


class SpendLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a project may cost in a month (UTC), in hundredths of the currency that prices are given in."""

    object: Literal["project.spend_limit"] = "project.spend_limit"
    threshold_amount: int
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    enforcement: Enforcement


class SpendLimitDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That there is no such limit any more."""

    object: Literal["project.spend_limit.deleted"] = "project.spend_limit.deleted"
    deleted: bool


class OrganizationRole(msgspec.Struct, frozen=True, kw_only=True):
    """One of the roles, which are what they are: docs/IDENTITY.md."""

    id: str
    object: Literal["role"] = "role"
    name: str
    description: str | None
    permissions: list[str]
    resource_type: Literal["api.organization", "api.project"]
    predefined_role: bool = True

    @classmethod
    def of(cls, role: Role, where: Literal["api.organization", "api.project"]) -> "OrganizationRole":
        """From our table."""
        azure = AZURE_NAMES.get(role)
        said = f"Azure's {azure[0]}." if azure else None
        return cls(
            id=f"role-{role}", name=role, description=said, permissions=sorted(PERMISSIONS[role]), resource_type=where
        )


class OrganizationRoleList(msgspec.Struct, frozen=True, kw_only=True):
    """Roles; `next` is to be sent as `after` for more."""

    object: Literal["list"] = "list"
    data: list[OrganizationRole]
    has_more: bool
    next: str | None


def page(
    http: Request, found: Sequence[T], id_of: Callable[[T], str], *, usual: int = 20
) -> tuple[list[T], str | None, str | None, bool]:
    """Of a list that is at hand the part that the query asks for; the ids of its first and last, and whether there is
    more.

    Raises:
        InvalidRequest: `limit` is none, or `after` or `before` is of none of them.
    """
    part, before = part_of(http, usual=usual), http.query_params.get("before")
    ids = [id_of(each) for each in found]

    def at(name: str, value: str) -> int:
        if value not in ids:
            raise InvalidRequest(f"Invalid '{name}': {value[:100]!r} is not in this list.", param=name)
        return ids.index(value)

    start, end = 0, len(ids)
    if part["after"]:
        start = at("after", part["after"]) + 1
    if before:
        end = at("before", before)
    more = end - start > part["limit"]
    shown = slice(max(end - part["limit"], start), end) if before else slice(start, min(start + part["limit"], end))
    picked = ids[shown]
    return list(found[shown]), picked[0] if picked else None, picked[-1] if picked else None, more


def whole(unix_s: float | None) -> int | None:
    """A time as OpenAI writes it."""
    return None if unix_s is None else int(unix_s)


def redacted(key: ApiKey) -> str:
    """How a key's secret begins."""
    return f"{key.prefix}{'*' * 8}"
