"""What comes of grading."""

from typing import Literal

import msgspec

from mainspring.core.types import Usage

__all__ = ["ErrorKind", "Failure", "Graded", "GraderFailed"]

ErrorKind = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""What can go wrong, by OpenAI's names."""


class Failure(msgspec.Struct, frozen=True):
    """One thing that went wrong; `code` is the stable name of an error of ours behind it, if there is one."""

    kind: ErrorKind
    detail: str
    code: str = ""


class Graded(msgspec.Struct, frozen=True, kw_only=True):
    """How good an answer is.

    Args:
        score: 0 if anything failed: nobody is rewarded for an answer that breaks the grader.
        passed: whether it is good enough; None if the grader does not say from where on.
        parts: of a multi grader, what came of each of the others.
        seconds: that it took.
        usage: tokens of models that were asked, by deployment.
        model: the deployment that was asked.
    """

    name: str
    type: str
    score: float
    passed: bool | None = None
    failures: tuple[Failure, ...] = ()
    parts: dict[str, "Graded"] = {}
    seconds: float = 0.0
    usage: dict[str, Usage] = {}
    model: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the score means nothing."""
        return bool(self.failures)


class GraderFailed(Exception):
    """Raised within graders; `run.grade` makes a `Failure` of it. `usage` is what was asked of a model before."""

    def __init__(self, kind: ErrorKind, detail: str, code: str = "", usage: dict[str, Usage] | None = None) -> None:
        super().__init__(detail)
        self.failure = Failure(kind, detail, code)
        self.usage = usage or {}
