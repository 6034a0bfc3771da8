"""What administrators work with, in one place: the control plane and the command line are given this."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mainspring.core.types import ModelVersion
from mainspring.governance.audit import Audit
from mainspring.governance.directory import Directory
from mainspring.governance.keys import Keys
from mainspring.governance.owned import OwnedModels
from mainspring.governance.policies import Policies
from mainspring.governance.projects import Projects
from mainspring.governance.service_accounts import ServiceAccounts
from mainspring.governance.sessions import Sessions
from mainspring.governance.usage import Reports

__all__ = ["Control"]


class Status(Protocol):
    """How a model is: ready, starting, idle, restarting or failed; and why."""

    @property
    def state(self) -> str:
        """One of these words."""
        ...

    @property
    def reason(self) -> str:
        """A sentence."""
        ...


@dataclass(frozen=True, kw_only=True)
class Control:
    """The parts that change what is wanted, and those that say what was used.

    Args:
        models: those that belong to projects.
        versions: of every model of the catalog, by name and then newest first.
        status: how a model is that is served.
    """

    projects: Projects
    policies: Policies
    keys: Keys
    sessions: Sessions
    service_accounts: ServiceAccounts
    audit: Audit
    reports: Reports
    models: OwnedModels
    directory: Directory
    versions: Callable[[], Sequence[ModelVersion]]
    status: Callable[[str], Status]
