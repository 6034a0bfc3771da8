"""The testing criteria of an evaluation: graders, and from which score on an item passes each.

OpenAI's shapes, and multi graders, which its document does not list for evaluations. A score_model, python or multi
grader that names no threshold passes from the middle of its range on (0.5 where it has none).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mainspring.core.errors import InvalidRequest
from mainspring.graders.definitions import (
    Grader,
    LabelModel,
    Multi,
    Python,
    RewardModel,
    ScoreModel,
    TextSimilarity,
    validate,
)
from mainspring.graders.result import Graded

__all__ = ["Criterion", "criteria_of", "models_of", "runs_code"]

MAX_CRITERIA = 64


class Criterion:
    """One grader of an evaluation."""

    def __init__(self, grader: Grader) -> None:
        self.grader = grader

    @property
    def threshold(self) -> float:
        """The least score that passes, of graders that give more than yes or no."""
        given = getattr(self.grader, "pass_threshold", None)
        if given is not None:
            return float(given)
        low, high = getattr(self.grader, "range", None) or (0.0, 1.0)
        return (low + high) / 2

    def passes(self, graded: Graded) -> bool:
        """Whether an item is good enough."""
        if graded.failures:
            return False
        return graded.score >= self.threshold if graded.passed is None else graded.passed

    def result(self, graded: Graded) -> dict[str, Any]:
        """As the API shows it: `sample` says what was asked of a model, `error` what went wrong."""
        shown: dict[str, Any] = {
            "name": self.grader.name, "type": self.grader.type, "score": graded.score, "passed": self.passes(graded),
            "sample": None,
        }  # fmt: skip
        if graded.parts:
            shown["parts"] = {name: part.score for name, part in graded.parts.items()}
        if graded.failures:
            first = graded.failures[0]
            shown["error"] = {"code": first.code or first.kind, "message": first.detail}
        return shown


def criteria_of(given: Sequence[Mapping[str, Any]], where: str = "testing_criteria") -> list[Criterion]:
    """The criteria that JSON describes.

    Raises:
        InvalidRequest: one is none; `param` names the place.
    """
    if not 1 <= len(given) <= MAX_CRITERIA:
        raise InvalidRequest(f"Invalid '{where}': 1 to {MAX_CRITERIA} graders are expected.", param=where)
    return [Criterion(_grader(each, f"{where}[{at}]")) for at, each in enumerate(given)]


def _grader(given: Any, where: str) -> Grader:
    grader = validate(given, where)
    for each in grader.graders.values() if isinstance(grader, Multi) else (grader,):
        if isinstance(each, RewardModel):
            raise InvalidRequest(
                f"Invalid '{where}': reward models grade the answers of reinforcement jobs, nothing else. "
                "Use score_model.",
                param=where,
            )
    if isinstance(grader, TextSimilarity) and grader.pass_threshold is None:
        place = f"{where}.pass_threshold"
        raise InvalidRequest(f"Missing required parameter: '{place}'.", code="missing_required_parameter", param=place)
    return grader


def _singles(criteria: Sequence[Criterion]) -> list[tuple[int, Grader]]:
    return [
        (at, each)
        for at, criterion in enumerate(criteria)
        for each in (criterion.grader.graders.values() if isinstance(criterion.grader, Multi) else (criterion.grader,))
    ]


def models_of(criteria: Sequence[Criterion]) -> list[tuple[int, str]]:
    """The deployments that grade, with the number of the criterion."""
    return [(at, each.model) for at, each in _singles(criteria) if isinstance(each, ScoreModel | LabelModel)]


def runs_code(criteria: Sequence[Criterion]) -> bool:
    """Whether any of them runs code."""
    return any(isinstance(each, Python) for _, each in _singles(criteria))
