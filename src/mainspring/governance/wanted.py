"""What administrators want: projects, what is deployed in them, and under which policy. Data and arithmetic only.

A project is what Azure calls an account. Of each change there is a new revision; `Snapshot` is all of one revision, and
what requests are decided by: see `directory`.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from mainspring.core.types import Limits

__all__ = [
    "DEFAULT",
    "SKUS",
    "UPGRADES",
    "Blocklist",
    "BlocklistItem",
    "Deployment",
    "Policy",
    "Project",
    "Snapshot",
    "State",
    "Upgrade",
]

DEFAULT = "default"
"""The project that always exists: in it, every model of the catalog is deployed under its own name."""

UNIT_TOKENS, UNIT_REQUESTS = 1000, 6
"""Of a minute, for each unit of capacity: reference, section 2."""
BATCH_UNIT_TOKENS = 1_000_000
"""Tokens in open batches, for each unit of a deployment for batches. Our own number: a minute's are too few."""

Kind = Literal["standard", "provisioned", "batch", "developer"]
SKUS: dict[str, Kind] = {
    "Standard": "standard",
    "GlobalStandard": "standard",
    "DataZoneStandard": "standard",
    "ProvisionedManaged": "provisioned",
    "GlobalProvisionedManaged": "provisioned",
    "DataZoneProvisionedManaged": "provisioned",
    "GlobalBatch": "batch",
    "DataZoneBatch": "batch",
    "DeveloperTier": "developer",
}
"""Name -> what it means here. There is one region, so global and zone variants are the same as the plain one."""

DEVELOPER_S = 86_400
"""How long a deployment of the developer tier lives."""

Upgrade = Literal["OnceNewDefaultVersionAvailable", "OnceCurrentVersionExpired", "NoAutoUpgrade"]
UPGRADES: tuple[Upgrade, ...] = get_args(Upgrade)
State = Literal["Running", "Paused"]


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project. Times are Unix seconds; `generations` says how often each of its two keys was regenerated.

    Args:
        title: what people call it; empty is its name.
        archived: since when nothing in it can be used or changed, though it is still there to be read; None if it can.
    """

    name: str
    resource_group: str = DEFAULT
    location: str = "local"
    tags: dict[str, str] = {}
    limits: Limits = Limits()
    generations: tuple[int, int] = (0, 0)
    created: float = 0.0
    updated: float = 0.0
    title: str = ""
    archived: float | None = None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A model under a name, with a share of what may be used. Times are Unix seconds.

    Args:
        model, version: of the catalog.
        capacity: in units of 1,000 tokens and 6 requests a minute.
        policy: the content policy; empty means the installation's default.
        spillover: the deployment of the project that takes what this one cannot; empty for none.
        dynamic: more than the capacity may be used while the engine has nothing else to do.
        expires: when it is deleted; None never.
    """

    project: str
    name: str
    model: str
    version: str
    sku: str = "Standard"
    capacity: int = 1
    policy: str = ""
    upgrade: Upgrade = "OnceNewDefaultVersionAvailable"
    spillover: str = ""
    dynamic: bool = False
    state: State = "Running"
    created: float = 0.0
    updated: float = 0.0
    expires: float | None = None

    @property
    def kind(self) -> Kind:
        """What its SKU means."""
        return SKUS[self.sku]

    @property
    def served_as(self) -> str:
        """What the router calls its model: this version and no other."""
        return f"{self.model}@{self.version}"

    @property
    def enqueued_tokens(self) -> int:
        """Tokens of requests in batches that may wait or run at the same time, of a deployment for batches."""
        return self.capacity * BATCH_UNIT_TOKENS

    @property
    def limits(self) -> Limits:
        """What its capacity comes to."""
        if self.kind == "provisioned":
            return Limits(provisioned_tokens_per_minute=self.capacity * UNIT_TOKENS)
        if self.kind == "batch":  # batches have a quota of their own
            return Limits()
        return Limits(tokens_per_minute=self.capacity * UNIT_TOKENS, requests_per_minute=self.capacity * UNIT_REQUESTS)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A content policy: `properties` as Azure's control plane writes them."""

    project: str
    name: str
    properties: dict[str, Any]
    updated: float = 0.0


class Blocklist(msgspec.Struct, frozen=True, kw_only=True):
    """A list of what may not be said."""

    project: str
    name: str
    description: str = ""
    updated: float = 0.0


class BlocklistItem(msgspec.Struct, frozen=True, kw_only=True):
    """A term, or a regular expression."""

    project: str
    blocklist: str
    name: str
    pattern: str
    is_regex: bool = False
    updated: float = 0.0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All of one revision. Everything in a project is keyed by (project, name).

    Args:
        shares: of models that belong to a project, by name: the other projects that may use them.
    """

    revision: int = -1
    projects: Mapping[str, Project] = {}
    deployments: Mapping[tuple[str, str], Deployment] = {}
    policies: Mapping[tuple[str, str], Policy] = {}
    blocklists: Mapping[tuple[str, str], Blocklist] = {}
    items: Mapping[tuple[str, str], tuple[BlocklistItem, ...]] = {}
    capacities: Mapping[tuple[str, str], int] = {}
    shares: Mapping[str, frozenset[str]] = {}

    def lets(self, project: str, model: str, owner: str | None) -> bool:
        """Whether a project may know of and use the model called so, which is everybody's if it has no owner."""
        if owner is None or owner == project:
            return True
        return bool(self.shares) and project in self.shares.get(model.partition("@")[0], ())

    def of(self, project: str) -> list[Deployment]:
        """The deployments of a project, by name."""
        return [each for (owner, _), each in sorted(self.deployments.items()) if owner == project]

    def used(self, sku: str, model: str) -> int:
        """Units of a model that are deployed with a SKU, in all projects together."""
        return sum(each.capacity for each in self.deployments.values() if (each.sku, each.model) == (sku, model))
