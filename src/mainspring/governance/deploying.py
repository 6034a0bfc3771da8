"""What a deployment may be: held against the project that it is to be in. Pure."""

import re

from mainspring.core.errors import Conflict, InvalidRequest
from mainspring.governance.filters.policy import SYSTEM_POLICIES
from mainspring.governance.wanted import DEVELOPER_S, SKUS, Deployment, Snapshot

__all__ = ["MAX_CAPACITY", "check", "check_references", "expires"]

MAX_CAPACITY = 1_000_000

_DEPLOYMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def check(wanted: Deployment) -> None:
    """Raise InvalidRequest if its name, SKU or capacity is none."""
    if not _DEPLOYMENT.fullmatch(wanted.name):
        raise InvalidRequest("A deployment's name has 1 to 64 letters, digits, and . _ - inside.", param="name")
    if wanted.sku not in SKUS:
        raise InvalidRequest(f"There is no SKU {wanted.sku!r}: use one of {', '.join(SKUS)}.", param="sku")
    if not 1 <= wanted.capacity <= MAX_CAPACITY:
        raise InvalidRequest(f"A capacity lies between 1 and {MAX_CAPACITY:,} units.", param="capacity")


def expires(wanted: Deployment, old: Deployment | None, now_s: float) -> float | None:
    """The time of the developer tier starts when a deployment comes into it."""
    if wanted.kind != "developer":
        return None
    return old.expires if old and old.expires is not None else now_s + DEVELOPER_S


def check_references(before: Snapshot, wanted: Deployment) -> None:
    """What it names beside its model must be there. Raises InvalidRequest, or Conflict if others spill over into it."""
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
