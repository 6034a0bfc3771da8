"""Policies: which filters look at prompts and completions, from which severity on, and whether they block.

Read from and written to the JSON of Azure's `raiPolicies`, whose names of filters differ from those in answers
(`selfharm` and `self_harm`, `Protected Material Text` and `protected_material_text`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = [
    "CATEGORIES",
    "DEFAULT",
    "DEFAULT_V2",
    "DETECTED",
    "GRADED",
    "NAMES",
    "SEVERITIES",
    "SOURCES",
    "SYSTEM_POLICIES",
    "Category",
    "FilterRule",
    "Mode",
    "Policy",
    "Severity",
    "Source",
    "from_arm",
    "to_arm",
]

Severity = Literal["safe", "low", "medium", "high"]
Source = Literal["Prompt", "Completion"]
Mode = Literal["Default", "Blocking", "Asynchronous_filter", "Deferred"]
Category = Literal[
    "hate",
    "sexual",
    "violence",
    "self_harm",
    "jailbreak",
    "indirect_attack",
    "protected_material_text",
    "protected_material_code",
    "profanity",
    "personally_identifiable_information",
    "ungrounded_material",
    "custom_blocklists",
]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CATEGORIES: tuple[Category, ...] = get_args(Category)
GRADED: tuple[Category, ...] = ("hate", "sexual", "violence", "self_harm")
"""Those that have a severity; of the others it is only said whether they were detected."""
DETECTED: tuple[Category, ...] = tuple(each for each in CATEGORIES if each not in (*GRADED, "custom_blocklists"))

SOURCES: dict[Category, tuple[Source, ...]] = {
    "jailbreak": ("Prompt",),
    "indirect_attack": ("Prompt",),
    "protected_material_text": ("Completion",),
    "protected_material_code": ("Completion",),
    "ungrounded_material": ("Completion",),
}
"""Filters that make sense in one direction only."""

NAMES: dict[Category, str] = {
    "hate": "Hate",
    "sexual": "Sexual",
    "violence": "Violence",
    "self_harm": "Selfharm",
    "jailbreak": "Jailbreak",
    "indirect_attack": "Indirect Attack",
    "protected_material_text": "Protected Material Text",
    "protected_material_code": "Protected Material Code",
    "profanity": "Profanity",
    "personally_identifiable_information": "Personally Identifiable Information",
    "ungrounded_material": "Ungrounded Material",
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


_BY_NAME: dict[str, Category] = {_plain(name): category for category, name in NAMES.items()}
_BY_NAME["pii"] = "personally_identifiable_information"


class FilterRule(msgspec.Struct, frozen=True, kw_only=True):
    """One filter in one direction.

    Args:
        enabled: whether it looks at all; what it finds is annotated.
        blocking: whether what it finds also stops the request or the answer.
        threshold: the lowest severity that counts as filtered; of filters without severities, nothing.
    """

    name: Category
    source: Source
    enabled: bool = True
    blocking: bool = True
    threshold: Severity = "medium"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is filtered for a deployment.

    Args:
        base: the policy whose rules hold where this one says nothing.
        mode: "Default" and "Blocking" hold text back until it was looked at; "Asynchronous_filter" (and "Deferred",
            its older name) let it pass at once and annotate it after.
        prompt_blocklists, completion_blocklists: names of lists whose terms block.
        annotated_blocklists: of these, the names that are only annotated.
        guard: a deployment of a guard model that judges in place of the classifier.
    """

    name: str
    base: str | None = None
    mode: Mode = "Default"
    filters: tuple[FilterRule, ...] = ()
    prompt_blocklists: tuple[str, ...] = ()
    completion_blocklists: tuple[str, ...] = ()
    annotated_blocklists: tuple[str, ...] = ()
    guard: str | None = None

    @property
    def is_asynchronous(self) -> bool:
        """Whether text passes before it was looked at."""
        return self.mode in ("Asynchronous_filter", "Deferred")

    def rules(self, source: Source, bases: Mapping[str, "Policy"] | None = None) -> dict[Category, FilterRule]:
        """Those that are enabled in one direction, the base's included.

        Args:
            bases: where bases are found by name besides the two of the system.
        """
        found: dict[Category, FilterRule] = {}
        for policy in self._lineage(bases or {}):
            found |= {rule.name: rule for rule in policy.filters if rule.source == source}
        return {name: rule for name, rule in found.items() if rule.enabled}

    def _lineage(self, bases: Mapping[str, "Policy"]) -> Sequence["Policy"]:
        """This policy and its bases, the farthest first. A circle ends where it closes."""
        line: list[Policy] = [self]
        while (base := line[-1].base) is not None:
            parent = bases.get(base) or SYSTEM_POLICIES.get(base)
            if parent is None or parent in line:
                break
            line.append(parent)
        return line[::-1]


def _defaults(name: str, prompt: Mapping[Category, bool], completion: Mapping[Category, bool]) -> Policy:
    rules = [FilterRule(name=each, source=source) for each in GRADED for source in get_args(Source)]
    rules += [FilterRule(name=each, source="Prompt", blocking=blocking) for each, blocking in prompt.items()]
    rules += [FilterRule(name=each, source="Completion", blocking=blocking) for each, blocking in completion.items()]
    return Policy(name=name, mode="Blocking", filters=tuple(rules))


_PROTECTED: dict[Category, bool] = {"protected_material_text": False, "protected_material_code": False}
DEFAULT = _defaults("Microsoft.Default", {"jailbreak": True}, {})
DEFAULT_V2 = _defaults("Microsoft.DefaultV2", {"jailbreak": True}, _PROTECTED)
"""Medium in both directions, jailbreaks blocked, protected material annotated."""
SYSTEM_POLICIES = {each.name: each for each in (DEFAULT, DEFAULT_V2)}


def from_arm(name: str, properties: object) -> Policy:
    """A policy from the `properties` of a `raiPolicies` body.

    Raises:
        InvalidRequest: a filter, a severity, a source or a mode that there is none of.
    """
    given = _object(properties, "properties")
    mode = given.get("mode", "Default")
    if mode not in get_args(Mode):
        raise _unknown("mode", mode, get_args(Mode))
    filters = tuple(_rule(each) for each in _array(given, "contentFilters"))
    prompt, completion, annotated = _lists(given)
    base, guard = given.get("basePolicyName"), given.get("guardDeploymentName")
    if not isinstance(base, str | None) or not isinstance(guard, str | None):
        raise _wrong("basePolicyName and guardDeploymentName", "strings")
    return Policy(
        name=name,
        base=base,
        mode=mode,
        filters=filters,
        prompt_blocklists=prompt,
        completion_blocklists=completion,
        annotated_blocklists=annotated,
        guard=guard,
    )


def to_arm(policy: Policy) -> dict[str, Any]:
    """The `properties` of the same policy. `guardDeploymentName` is ours; Azure has no such field."""
    written: dict[str, Any] = {
        "basePolicyName": policy.base,
        "mode": policy.mode,
        "type": "SystemManaged" if policy.name in SYSTEM_POLICIES else "UserManaged",
        "contentFilters": [_written(rule) for rule in policy.filters],
        "promptBlocklists": [_use(policy, name) for name in policy.prompt_blocklists],
        "completionBlocklists": [_use(policy, name) for name in policy.completion_blocklists],
        "customBlocklists": [
            {**_use(policy, name), "source": source}
            for source, names in (("Prompt", policy.prompt_blocklists), ("Completion", policy.completion_blocklists))
            for name in names
        ],
    }
    if policy.guard is not None:
        written["guardDeploymentName"] = policy.guard
    return written


def _written(rule: FilterRule) -> dict[str, Any]:
    written = {"name": NAMES[rule.name], "enabled": rule.enabled, "blocking": rule.blocking, "source": rule.source}
    return {**written, "severityThreshold": rule.threshold.capitalize()} if rule.name in GRADED else written


def _use(policy: Policy, name: str) -> dict[str, Any]:
    return {"blocklistName": name, "blocking": name not in policy.annotated_blocklists}


def _rule(given: object) -> FilterRule:
    fields = _object(given, "contentFilters")
    name, source = str(fields.get("name", "")), fields.get("source")
    category = _BY_NAME.get(_plain(name))
    if category is None:
        raise _unknown("content filter", name, tuple(NAMES.values()))
    if source not in SOURCES.get(category, get_args(Source)):
        raise _unknown(f"source of the content filter {NAMES[category]}", source, SOURCES.get(category, ()))
    threshold = fields.get("severityThreshold") or fields.get("allowedContentLevel") or "Medium"
    if not isinstance(threshold, str) or threshold.lower() not in SEVERITIES[1:]:
        raise _unknown("severityThreshold", threshold, ("Low", "Medium", "High"))
    enabled, blocking = fields.get("enabled", True), fields.get("blocking", True)
    if not isinstance(enabled, bool) or not isinstance(blocking, bool):
        raise _wrong("enabled and blocking of a content filter", "true or false")
    return FilterRule(
        name=category, source=source, enabled=enabled, blocking=blocking, threshold=cast("Severity", threshold.lower())
    )


def _lists(given: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    uses = [("Prompt", each) for each in _array(given, "promptBlocklists")]
    uses += [("Completion", each) for each in _array(given, "completionBlocklists")]
    for each in _array(given, "customBlocklists"):
        uses.append((str(_object(each, "customBlocklists").get("source")), each))
    found: dict[str, dict[str, bool]] = {"Prompt": {}, "Completion": {}}
    for source, use in uses:
        fields = _object(use, "a use of a blocklist")
        name = fields.get("blocklistName")
        if source not in found or not isinstance(name, str):
            raise _wrong("each use of a blocklist", "an object with blocklistName, blocking and a source")
        found[source][name] = fields.get("blocking", True) is not False
    annotated = {name for names in found.values() for name, blocking in names.items() if not blocking}
    return tuple(found["Prompt"]), tuple(found["Completion"]), tuple(sorted(annotated))


def _object(given: object, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise _wrong(what, "an object")
    return cast("Mapping[str, Any]", given)


def _array(given: Mapping[str, Any], key: str) -> Sequence[Any]:
    value: Any = given.get(key) or []
    if not isinstance(value, list | tuple):
        raise _wrong(key, "an array")
    return cast("Sequence[Any]", value)


def _wrong(what: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"In a policy, {what} must be {wanted}.", code="invalid_policy")


def _unknown(what: str, given: object, known: Sequence[str]) -> InvalidRequest:
    return InvalidRequest(f"Unknown {what} {str(given)[:60]!r}; known: {', '.join(known)}.", code="invalid_policy")
