"""One direction of a policy made ready: what is looked for in prompts, or in completions."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mainspring.governance.filters import profanity
from mainspring.governance.filters.blocklist import Blocklist, Compiled
from mainspring.governance.filters.classifier import Classifier
from mainspring.governance.filters.fold import fold, positions
from mainspring.governance.filters.personal import PersonalData
from mainspring.governance.filters.policy import GRADED, Category, FilterRule, Policy, Source
from mainspring.governance.filters.protected import Index, Kind
from mainspring.governance.filters.terms import Match, Terms
from mainspring.governance.filters.verdict import Hit, Verdict, judge

__all__ = ["Direction"]

MAX_HITS = 64
"""Of one text. A text full of a listed word says nothing new after so many."""


class _Owner(msgspec.Struct, frozen=True):
    """Whose a term or pattern is, and whether it blocks."""

    category: Category
    blocklist: str
    pattern: str
    blocking: bool


PROTECTED: frozenset[Category] = frozenset(("protected_material_text", "protected_material_code"))


class Direction:
    """The rules of a policy for one direction, with all that they need compiled.

    `terms` and `patterns` hold custom blocklists and profanity; `classified` are the categories that the classifier is
    asked for.
    """

    def __init__(
        self,
        policy: Policy,
        source: Source,
        blocklists: Mapping[str, Blocklist],
        *,
        classifier: Classifier,
        personal: PersonalData,
        index: Index | None = None,
        bases: Mapping[str, Policy] | None = None,
    ) -> None:
        self.rules: dict[Category, FilterRule] = policy.rules(source, bases)
        names = policy.prompt_blocklists if source == "Prompt" else policy.completion_blocklists
        compiled = Compiled([blocklists[name] for name in names if name in blocklists])
        self.lists = names
        self.patterns = compiled.patterns
        self._owners = {
            key: [
                _Owner("custom_blocklists", name, item, blocking=name not in policy.annotated_blocklists)
                for name, item in each
            ]
            for key, each in compiled.owners.items()
        }
        terms = dict(compiled.terms.names)
        if (rule := self.rules.get("profanity")) is not None:
            for spelling, word in profanity.words().items():
                key = terms.setdefault(fold(spelling).strip(), f"term:{fold(spelling).strip()}")
                self._owners.setdefault(key, []).append(_Owner("profanity", "", word, rule.blocking))
        self.terms = Terms(terms)
        known: tuple[Category, ...] = (*GRADED, "jailbreak") if policy.guard is None else ()
        self.classified: frozenset[Category] = frozenset(each for each in known if each in self.rules)
        self.classifier, self.finder = classifier, personal
        self.index = index if PROTECTED & self.rules.keys() else None
        if self.index is None:  # what is not looked for is not annotated as not found either
            self.rules = {name: rule for name, rule in self.rules.items() if name not in PROTECTED}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is looked for."""
        return not self.rules and not self.lists

    @property
    def looks_for_personal(self) -> bool:
        """Whether personal data is."""
        return "personally_identifiable_information" in self.rules

    @property
    def is_slow(self) -> bool:
        """Whether looking takes milliseconds, for which the event loop should not wait."""
        return self.looks_for_personal and self.finder.is_slow

    def named(self, matches: Iterable[Match], where: Sequence[int] | None = None) -> list[Hit]:
        """Hits of matches of terms or patterns; `where` turns positions in folded text into those of the text."""
        hits: list[Hit] = []
        for start, end, found in matches:
            span = (start, end) if where is None else (where[start], where[end - 1] + 1)
            key = self.terms.names.get(found, found) if where is not None else found
            for owner in self._owners[key]:
                hits.append(
                    Hit(
                        category=owner.category,
                        matched=owner.pattern,
                        span=span,
                        blocklist=owner.blocklist,
                        blocking=owner.blocking,
                    )
                )
        return hits

    def personal(self, text: str) -> list[Hit]:
        """Personal data in a text, by what finds it here."""
        category: Category = "personally_identifiable_information"
        return [Hit(category=category, matched=kind, span=(start, end)) for kind, start, end in self.finder.find(text)]

    def protected(self, text: str) -> list[Hit]:
        """Runs of a text that stand in the index."""
        if self.index is None:
            return []
        hits: list[Hit] = []
        kinds: tuple[tuple[Category, Kind], ...] = (
            ("protected_material_text", "text"),
            ("protected_material_code", "code"),
        )
        for category, kind in kinds:
            if category in self.rules:
                for copy in self.index.find(text, kind):
                    what = f"{copy.num_tokens} {'words' if kind == 'text' else 'tokens'} of {copy.name}"
                    hits.append(Hit(category=category, matched=what, span=copy.span, citation=copy.citation))
        return hits

    def whole(self, text: str, classified: frozenset[Category]) -> list[Hit]:
        """Everything that is in a whole text; `classified` of the categories that the classifier knows."""
        hits: list[Hit] = []
        if self.terms and (matches := list(self.terms.find(fold(text)))):
            hits += self.named(matches[:MAX_HITS], positions(text))
        for pattern in self.patterns:
            matches = [(*match.span(), pattern.name) for match in pattern.expression.finditer(text)]
            hits += self.named(matches[:MAX_HITS])
        if self.looks_for_personal:
            hits += self.personal(text)[:MAX_HITS]
        if classified:
            hits += self.classifier.judge(text, classified)
        return hits

    def verdict(self, hits: Iterable[Hit]) -> Verdict:
        """The verdict over hits: which filters looked, and which of the hits block."""
        decided = judge(self.rules, hits)
        if self.lists and "custom_blocklists" not in decided.looked:
            decided = msgspec.structs.replace(decided, looked=(*decided.looked, "custom_blocklists"))
        return decided
