"""What administrators work with, in one place: the control plane and the command line are given this."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mainspring.core.types import ModelVersion
from mainspring.governance.audit import Audit
from mainspring.governance.directory import Directory
from mainspring.governance.keys import Keys
from mainspring.governance.policies import Policies
from mainspring.governance.projects import Projects
from mainspring.governance.usage import Reports

__all__ = ["Control"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """The parts that change what is wanted, and those that say what was used.

    Args:
        versions: of every model of the catalog, by name and then newest first.
        status: of a model that is served: its state, and why.
    """

    projects: Projects
    policies: Policies
    keys: Keys
    audit: Audit
    reports: Reports
    directory: Directory
    versions: Callable[[], Sequence[ModelVersion]]
    status: Callable[[str], tuple[str, str]]
