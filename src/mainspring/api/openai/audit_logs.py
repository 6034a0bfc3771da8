"""organization/audit_logs: of our audit log what OpenAI has a name for, as its administration writes it.

What it has no name for (deployments, policies, webhooks, quotas) is in /v1/x/audit, with all the rest and the hashes.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType, field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.openai import replies
from mainspring.api.openai.pages import part_of
from mainspring.core.errors import InvalidRequest
from mainspring.governance.audit import Entry
from mainspring.governance.control import Control
from mainspring.governance.keys import ApiKey
from mainspring.governance.roles import PERMISSIONS
from mainspring.governance.wanted import Snapshot

__all__ = ["AuditLogList", "AuditLogRoutes"]

PREFIX = "audit_log-"
LAST_S = 4_102_444_800
"""The year 2100: a later time is a mistake, milliseconds mostly."""
Json = dict[str, Any]


class AuditProject(msgspec.Struct, frozen=True, kw_only=True):
    """The project that something was changed in."""

    id: str
    name: str


class ActorUser(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with a token, or at the command line; or the server itself."""

    id: str


class ActorServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A service account."""

    id: str


class ActorKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key."""

    id: str
    type: Literal["user", "service_account"]
    service_account: ActorServiceAccount | UnsetType = UNSET


class ActorSession(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever has no key."""

    user: ActorUser


class AuditActor(msgspec.Struct, frozen=True, kw_only=True):
    """Whose doing it was."""

    type: Literal["session", "api_key"]
    session: ActorSession | UnsetType = UNSET
    api_key: ActorKey | UnsetType = UNSET


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What is no more, or was changed in a way that OpenAI's has no words for."""

    id: str


class KeyData(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do."""

    scopes: list[str]


class KeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new key."""

    id: str
    data: KeyData


class PermissionData(msgspec.Struct, frozen=True, kw_only=True):
    """With whom a model was shared."""

    project_id: str
    fine_tuned_model_checkpoint: str


class PermissionCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A model was shared."""

    data: PermissionData


class ProjectData(msgspec.Struct, frozen=True, kw_only=True):
    """What a project is called, by programs and by people."""

    name: str
    title: str


class ProjectCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new project."""

    id: str
    data: ProjectData


class ProjectChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What people call it from then on."""

    title: str


class ProjectUpdated(msgspec.Struct, frozen=True, kw_only=True):
    """A project was changed: what became of it."""

    id: str
    changes_requested: ProjectChanges


class AccountData(msgspec.Struct, frozen=True, kw_only=True):
    """The role of a service account's keys."""

    role: str


class AccountCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new service account."""

    id: str
    data: AccountData


class AccountUpdated(msgspec.Struct, frozen=True, kw_only=True):
    """A service account was changed."""

    id: str
    changes_requested: AccountData | UnsetType = UNSET


class AuditLog(msgspec.Struct, frozen=True, kw_only=True):
    """One change; the property that is called like its type has the details."""

    id: str
    type: str
    effective_at: int
    actor: AuditActor
    project: AuditProject | UnsetType = UNSET
    api_key_created: KeyCreated | UnsetType = field(default=UNSET, name="api_key.created")
    api_key_updated: Deleted | UnsetType = field(default=UNSET, name="api_key.updated")
    api_key_deleted: Deleted | UnsetType = field(default=UNSET, name="api_key.deleted")
    permission_created: PermissionCreated | UnsetType = field(default=UNSET, name="checkpoint.permission.created")
    permission_deleted: Deleted | UnsetType = field(default=UNSET, name="checkpoint.permission.deleted")
    project_created: ProjectCreated | UnsetType = field(default=UNSET, name="project.created")
    project_updated: ProjectUpdated | UnsetType = field(default=UNSET, name="project.updated")
    project_archived: Deleted | UnsetType = field(default=UNSET, name="project.archived")
    project_deleted: Deleted | UnsetType = field(default=UNSET, name="project.deleted")
    account_created: AccountCreated | UnsetType = field(default=UNSET, name="service_account.created")
    account_updated: AccountUpdated | UnsetType = field(default=UNSET, name="service_account.updated")
    account_deleted: Deleted | UnsetType = field(default=UNSET, name="service_account.deleted")


class AuditLogList(msgspec.Struct, frozen=True, kw_only=True):
    """Changes, newest first."""

    object: Literal["list"] = "list"
    data: list[AuditLog]
    first_id: str | None
    last_id: str | None
    has_more: bool


Detail = Callable[[str, Json], msgspec.Struct]
"""From an entry's subject and detail."""


def _deleted(subject: str, _: Json) -> Deleted:
    return Deleted(id=subject)


def _key(subject: str, detail: Json) -> KeyCreated:
    return KeyCreated(id=subject, data=KeyData(scopes=sorted(PERMISSIONS.get(detail["role"], ()))))


def _project(subject: str, detail: Json) -> ProjectCreated:
    return ProjectCreated(id=subject, data=ProjectData(name=subject, title=detail.get("title") or subject))


def _renamed(subject: str, detail: Json) -> ProjectUpdated:
    return ProjectUpdated(id=subject, changes_requested=ProjectChanges(title=detail.get("title") or subject))


def _account(subject: str, detail: Json) -> AccountCreated:
    return AccountCreated(id=subject, data=AccountData(role="member" if detail["role"] else "none"))


def _changed_account(subject: str, detail: Json) -> AccountUpdated:
    return AccountUpdated(id=subject, changes_requested=AccountData(role="member") if detail["role"] else UNSET)


TYPES: dict[str, tuple[str, str, Detail]] = {
    "api_key.created": ("key.create", "api_key_created", _key),
    "api_key.updated": ("key.limit", "api_key_updated", _deleted),
    "api_key.deleted": ("key.revoke", "api_key_deleted", _deleted),
    "checkpoint.permission.created": (
        "model.share", "permission_created",
        lambda subject, detail: PermissionCreated(
            data=PermissionData(project_id=detail["project"], fine_tuned_model_checkpoint=subject)
        ),
    ),
    "checkpoint.permission.deleted": (
        "model.unshare", "permission_deleted", lambda _, detail: Deleted(id=detail["permission"])
    ),
    "project.created": ("project.create", "project_created", _project),
    "project.updated": ("project.update", "project_updated", _renamed),
    "project.archived": ("project.archive", "project_archived", _deleted),
    "project.deleted": ("project.delete", "project_deleted", _deleted),
    "service_account.created": ("service_account.create", "account_created", _account),
    "service_account.updated": ("service_account.update", "account_updated", _changed_account),
    "service_account.deleted": ("service_account.delete", "account_deleted", _deleted),
}  # fmt: skip
"""OpenAI's type -> our action, the property, and what is in it."""
BY_ACTION = {action: (kind, name, detail) for kind, (action, name, detail) in TYPES.items()}


class _Query:
    """The parameters of a request."""

    def __init__(self, http: Request) -> None:
        self._given = http.query_params
        self.part = part_of(http)
        self.actions = [TYPES[kind][0] for kind in self.several("event_types") if kind in TYPES]
        if not self.several("event_types"):
            self.actions = list(BY_ACTION)
        self.projects = self.several("project_ids")
        self.filters: dict[str, Any] = {
            "actors": self.several("actor_ids"),
            "subjects": self.several("resource_ids"),
            "since": self._latest(("gte", 0), ("gt", 1)),
            "until": self._earliest(("lt", 0), ("lte", 1)),
        }
        for name in ("actor_emails", "tenant_only"):
            if self.several(name) not in ([], ["false"]):
                raise InvalidRequest(f"Unsupported parameter: '{name}': nothing here has one.", param=name)
        self.below, self.above = self._cursor("after"), self._cursor("before")
        if self.below is not None and self.above is not None:
            raise InvalidRequest("Give 'after' or 'before', not both.", param="before")

    def several(self, name: str) -> list[str]:
        """Values of a parameter that may be sent several times, with brackets or without."""
        return [*self._given.getlist(name), *self._given.getlist(f"{name}[]")]

    def _times(self, *bounds: tuple[str, int]) -> list[int]:
        """Whole seconds: what is later than one is at least the next."""
        found: list[int] = []
        for name, more in bounds:
            text = self._given.get(param := f"effective_at[{name}]")
            if text is not None:
                if not text.isascii() or not text.isdecimal() or int(text[:20]) > LAST_S:
                    raise InvalidRequest(f"Invalid '{param}': it is in Unix seconds.", param=param)
                found.append(int(text) + more)
        return found

    def _latest(self, *bounds: tuple[str, int]) -> int | None:
        return max(self._times(*bounds), default=None)

    def _earliest(self, *bounds: tuple[str, int]) -> int | None:
        return min(self._times(*bounds), default=None)

    def _cursor(self, name: str) -> int | None:
        value = self._given.get(name)
        if not value:
            return None
        number = value.removeprefix(PREFIX)
        if number == value or not number.isascii() or not number.isdecimal() or len(number) > 18:
            raise InvalidRequest(f"Invalid '{name}': it is the id of an audit log.", param=name)
        return int(number)


class AuditLogRoutes:
    """The handler."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def list(self, http: Request) -> Response:
        """Changes, newest first."""
        query = _Query(http)
        keys = {each.id: each for each in await self._control.keys.list()}
        entries = await self._entries(query, keys)
        limit, more = query.part["limit"], len(entries) > query.part["limit"]
        entries = entries[-limit:] if query.above is not None else entries[:limit]
        snapshot = await self._control.projects.snapshot()
        data = [_shown(each, keys, snapshot) for each in entries]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return replies.json(AuditLogList(data=data, first_id=first, last_id=last, has_more=more))

    async def _entries(self, query: _Query, keys: dict[str, ApiKey]) -> "list[Entry]":
        """One more than a page, if there is. An entry's project is in its detail, so the database does not tell."""
        wanted, found, cursor = query.part["limit"] + 1, list[Entry](), query.above or query.below
        up = query.above is not None
        while len(found) < wanted:
            bound: Json = {"above" if up else "below": cursor if cursor is not None or not up else 0}
            some = await self._control.audit.page(
                query.actions, limit=1000 if query.projects else wanted, **query.filters, **bound
            )
            seen = [each for each in some if not query.projects or _project_of(each, keys) in query.projects]
            found = seen + found if up else found + seen
            if not some:
                break
            cursor = some[0].seq if up else some[-1].seq
        return found[-wanted:] if up else found[:wanted]


def _project_of(entry: Entry, keys: dict[str, ApiKey]) -> str | None:
    if entry.action.startswith("project."):
        return entry.subject
    if entry.action.startswith("key.") and entry.subject in keys:
        return keys[entry.subject].project
    return msgspec.json.decode(entry.detail).get("project") if entry.action.startswith("service_account.") else None


def _shown(entry: Entry, keys: dict[str, ApiKey], snapshot: Snapshot) -> AuditLog:
    kind, name, detail = BY_ACTION[entry.action]
    project = _project_of(entry, keys)
    title = "" if project is None or project not in snapshot.projects else snapshot.projects[project].title
    return AuditLog(
        id=f"{PREFIX}{entry.seq}",
        type=kind,
        effective_at=int(entry.time),
        actor=_actor(entry.actor, keys),
        project=UNSET if project is None else AuditProject(id=project, name=title or project),
        **{name: detail(entry.subject, msgspec.json.decode(entry.detail))},  # pyright: ignore[reportArgumentType]
    )


def _actor(actor: str, keys: dict[str, ApiKey]) -> AuditActor:
    key = keys.get(actor)
    if key is None:
        return AuditActor(type="session", session=ActorSession(user=ActorUser(id=actor)))
    if key.owner.startswith("svc_acct_"):
        account = ActorServiceAccount(id=key.owner)
        shown = ActorKey(id=actor, type="service_account", service_account=account)
        return AuditActor(type="api_key", api_key=shown)
    return AuditActor(type="api_key", api_key=ActorKey(id=actor, type="user"))
