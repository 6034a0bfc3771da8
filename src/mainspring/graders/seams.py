"""What graders are given to work with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mainspring.core.seams import Deployments, Embed, Generate, RunCode
from mainspring.core.types import Tier

__all__ = ["Reward", "Seams", "embedding_of"]

Reward = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Awaitable[float]]
"""Raises `core.errors.MainspringError` if there is no such model."""


@dataclass(frozen=True, kw_only=True)
class Seams:
    """What graders are given to work with; those that need what is None fail, the others do not.

    Args:
        generate: answers for score_model and label_model; it sees a deployment's name as its model.
        embed, embedding: vectors for the cosine, and the deployment that makes them.
        run: runs the source of python graders.
        reward: what a reward model makes of an answer, by the model's name, the item and the sample.
        tenant, project: whose requests to models these are.
        deadline_s: for each question to a model.
        tier: of these requests; grading in the background gives way with "flex".
    """

    generate: Generate | None = None
    embed: Embed | None = None
    embedding: str | None = None
    run: RunCode | None = None
    reward: Reward | None = None
    tenant: str = ""
    project: str = "default"
    deadline_s: float = 120.0
    tier: Tier = "default"


def embedding_of(models: Deployments, project: str) -> str | None:
    """The deployment that makes vectors for a project's graders: its first one of an embedding model."""
    return next((each.id for each in models.list(project) if each.kind == "embedding"), None)
