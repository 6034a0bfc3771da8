"""Roles and what each may do. Pure tables: who has which role is the business of keys and tokens.

The roles are Azure's, under shorter names, and one for the operator, whom Azure has no name for. What each may do
follows the definitions of Azure's built-in roles, with one exception: `usage.read` shows what each key has used, so it
is not everybody's who may read the rest.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from mainspring.core.types import Grant, Role

__all__ = [
    "AZURE_NAMES",
    "DEFAULT_PROJECT",
    "PERMISSIONS",
    "ROLES",
    "SERVER_WIDE",
    "Permission",
    "Role",
    "allows",
    "azure_role",
    "grant",
    "grants_from",
    "role_named",
    "roles_with",
]

Permission = Literal[
    "inference",  # requests to models, and everything that belongs to making them
    "training",  # make, pause, resume and cancel fine-tuning jobs
    "training.read",
    "evals",  # make, run, cancel and delete evaluations; graders that run code need graders.run besides
    "evals.read",
    "files.read",
    "files.write",  # upload and delete
    "graders.run",  # which runs code in the sandbox, and asks models
    "webhooks",  # endpoints that are told what happens in the project, and what they were told
    "models.read",
    "deployments.read",
    "deployments.write",
    "projects.read",
    "projects.write",
    "keys.read",  # the secrets too: listKeys
    "keys.write",  # create, limit, revoke, regenerate
    "keys.admin",  # create and delete keys of administrators
    "policies.read",
    "policies.write",  # policies of content filters, and blocklists
    "filters.explain",  # why a filter acted: shows parts of what was asked and answered
    "quota.read",
    "quota.write",  # how much the projects may use
    "usage.read",  # what each key has used, and what it cost
    "audit.read",
    "server.read",  # metrics of the whole server
]

DEFAULT_PROJECT = "default"

SERVER_WIDE: frozenset[Permission] = frozenset({"keys.admin", "quota.write", "audit.read", "server.read"})
"""What belongs to no project: roles in the default project, the operator's own, decide."""

AZURE_NAMES: dict[Role, tuple[str, str]] = {
    "user": ("Cognitive Services OpenAI User", "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd"),
    "contributor": ("Cognitive Services OpenAI Contributor", "a001fd3d-188f-4b5d-821b-7da978bf7442"),
    "manager": ("Cognitive Services Contributor", "25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68"),
    "reader": ("Cognitive Services Usages Reader", "bba48692-92b0-4667-a9ad-c31c7b334ac2"),
}
"""Role -> the name and the id of Azure's role definition. Owner, Contributor and Reader are not among them: what is
called so in a directory is seldom meant for this."""

_READS: frozenset[Permission] = frozenset(
    {"models.read", "deployments.read", "projects.read", "policies.read", "quota.read"}
)

_WRITES: frozenset[Permission] = frozenset({"deployments.write", "policies.write", "webhooks"})
_USES: frozenset[Permission] = frozenset(
    {"inference", "files.read", "files.write", "training.read", "evals", "evals.read"}
)
_TRAINS: frozenset[Permission] = frozenset({"training", "graders.run"})
_MANAGES: frozenset[Permission] = frozenset({"projects.write", "keys.read", "keys.write", "filters.explain"})
_WATCHES: frozenset[Permission] = frozenset({"quota.read", "usage.read", "server.read"})

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "admin": frozenset[Permission](get_args(Permission)),
    "user": _READS | _USES,
    "contributor": _READS | _USES | _TRAINS | _WRITES,
    "manager": _READS | _WRITES | _MANAGES | _WATCHES,
    "reader": _WATCHES,
}

ROLES: tuple[Role, ...] = get_args(Role)
_BY_AZURE_NAME: dict[str, Role] = {name.casefold(): role for role, names in AZURE_NAMES.items() for name in names}


def allows(roles: Iterable[Role], permission: Permission) -> bool:
    """Whether any of the roles has the permission."""
    return any(permission in PERMISSIONS[role] for role in roles)


def roles_with(permission: Permission) -> tuple[Role, ...]:
    """The roles that have the permission."""
    return tuple(role for role in ROLES if permission in PERMISSIONS[role])


def azure_role(name: str) -> Role | None:
    """The role that Azure calls so: its name in any case, its id, or the path of that role definition."""
    _, found, last = name.rpartition("/roleDefinitions/")
    return _BY_AZURE_NAME.get((last if found else name).casefold())


def role_named(name: str) -> Role | None:
    """A role by our name or by Azure's."""
    return name if name in ROLES else azure_role(name)


def grant(role: Role, project: str) -> Grant:
    """A role in a project. An administrator is one everywhere: whoever runs the server could take the rest."""
    return Grant(role, "*" if role == "admin" else project)


def grants_from(text: str, project: str) -> tuple[Grant, ...]:
    """Grants as settings write them: `user`, `user@research`, `reader@*`, several with commas between them.

    Args:
        project: of those that name none.

    Raises:
        ValueError: what is wrong, as a sentence.
    """
    found: list[Grant] = []
    for part in text.split(","):
        name, at, place = (piece.strip() for piece in part.partition("@"))
        role = role_named(name)
        if role is None:
            raise ValueError(f"{name!r} is no role: use {', '.join(ROLES)}, or a name of Azure's.")
        if at and not place:
            raise ValueError(f"{part.strip()!r} names no project: write {name}@PROJECT, or {name}@* for all.")
        if role == "admin" and at and place != "*":
            raise ValueError(f"An administrator is one of the whole server: write admin, or manager@{place}.")
        found.append(grant(role, place or project))
    return tuple(dict.fromkeys(found))
