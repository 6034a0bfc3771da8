"""What was found in a text, and how Azure's JSON says it."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mainspring.governance.filters.policy import GRADED, SEVERITIES, Category, FilterRule, Severity

__all__ = ["NOTHING", "Citation", "Hit", "Verdict", "annotations", "judge", "refusal"]


class Citation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where protected material comes from."""

    url: str = ""
    license: str = ""


class Hit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was found, and why: what an administrator is shown who asks.

    Args:
        severity: of a graded category; of the others None.
        score: the classifier's probability that the text is at least this severe, or 1 where something matched.
        threshold: the severity (graded) or the score from which on it counts.
        matched: the term or pattern, the kind of personal data, the source of protected material; otherwise the
            piece of the text that scored highest, cut short.
        span: where in the text, in characters.
        where: which text: the number of the message, or "document 2"; of a completion, nothing.
        scores: the classifier's probability for each severity, or for the category.
        blocking: whether the rule that found it blocks, and it is severe enough.
    """

    category: Category
    severity: Severity | None = None
    score: float = 1.0
    threshold: Severity | float = 0.0
    matched: str = ""
    span: tuple[int, int] = (0, 0)
    where: str = ""
    blocklist: str = ""
    citation: Citation | None = None
    scores: dict[str, float] = {}
    blocking: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says of a text: whether it is blocked, which filters looked, and what they found.

    Args:
        looked: the enabled filters. A filter that found nothing is annotated as such; one that is not here, not at all.
        failed: why a filter could not look (a guard model that did not answer); the text then passed unjudged.
    """

    blocked: bool = False
    looked: tuple[Category, ...] = ()
    hits: tuple[Hit, ...] = ()
    failed: str = ""

    def __add__(self, other: "Verdict") -> "Verdict":
        hits = self.hits + tuple(hit for hit in other.hits if hit not in self.hits)
        looked: tuple[Category, ...] = (*self.looked, *(each for each in other.looked if each not in self.looked))
        blocked = self.blocked or other.blocked
        return Verdict(blocked=blocked, looked=looked, hits=hits, failed=self.failed or other.failed)


NOTHING = Verdict()


def judge(rules: Mapping[Category, FilterRule], hits: Iterable[Hit]) -> Verdict:
    """Hits with whether each blocks, by the rules. Hits of custom blocklists bring that with them."""
    decided: list[Hit] = []
    for hit in hits:
        rule = rules.get(hit.category)
        if hit.category == "custom_blocklists":
            decided.append(hit)
        elif rule is not None:
            decided.append(_decided(rule, hit))
    looked: tuple[Category, ...] = tuple(rules)
    if any(hit.category == "custom_blocklists" for hit in decided):
        looked = (*looked, "custom_blocklists")
    return Verdict(blocked=any(hit.blocking for hit in decided), looked=looked, hits=tuple(decided))


def _decided(rule: FilterRule, hit: Hit) -> Hit:
    if hit.severity is None:
        return msgspec.structs.replace(hit, blocking=rule.blocking)
    severe = SEVERITIES.index(hit.severity) >= SEVERITIES.index(rule.threshold)
    return msgspec.structs.replace(hit, threshold=rule.threshold, blocking=rule.blocking and severe)


def annotations(verdict: Verdict) -> dict[str, Any]:
    """`content_filter_results` as Azure writes them."""
    results: dict[str, Any] = {}
    for category in verdict.looked:
        hits = [hit for hit in verdict.hits if hit.category == category]
        filtered = any(hit.blocking for hit in hits)
        if category in GRADED:
            severities = [hit.severity for hit in hits if hit.severity is not None]
            results[category] = {
                "filtered": filtered,
                "severity": max(severities, key=SEVERITIES.index, default="safe"),
            }
        elif category == "custom_blocklists":
            results[category] = {"filtered": filtered, "details": _lists(hits)}
        else:
            results[category] = {"filtered": filtered, "detected": bool(hits), **_more(category, hits)}
    if verdict.failed:
        results["error"] = {"code": "content_filter_error", "message": verdict.failed}
    return results


def _lists(hits: list[Hit]) -> list[dict[str, Any]]:
    names = dict.fromkeys(hit.blocklist for hit in hits)
    return [{"filtered": any(hit.blocking for hit in hits if hit.blocklist == name), "id": name} for name in names]


def _more(category: Category, hits: list[Hit]) -> dict[str, Any]:
    if category == "protected_material_code" and hits and hits[0].citation is not None:
        return {"citation": {"URL": hits[0].citation.url, "license": hits[0].citation.license}}
    if category == "ungrounded_material":
        offsets = [
            dict(zip(("completion_start_offset", "completion_end_offset"), hit.span, strict=True)) for hit in hits
        ]
        return {"details": offsets}
    if category == "personally_identifiable_information":
        kinds = dict.fromkeys(hit.matched for hit in hits)
        blocking = any(hit.blocking for hit in hits)
        return {"sub_categories": [{"sub_category": kind, "detected": True, "filtered": blocking} for kind in kinds]}
    return {}


REFUSAL = (
    "The response was filtered due to the prompt triggering the content management policy of this deployment. "
    "Please modify your prompt and retry."
)
"""Azure's sentence without its link, which would lead to the wrong policies."""


def refusal(verdict: Verdict) -> dict[str, Any]:
    """The `error` object of the 400 that answers a filtered prompt."""
    return {
        "message": REFUSAL,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": annotations(verdict)},
    }
