"""A policy made ready: looks at prompts, and gives each choice of an answer a `Hold` that looks at it as it streams.

Pure: no clock, no device. Built once for each policy, since compiling blocklists takes time; safe to share.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from mainspring.governance.filters.blocklist import Blocklist
from mainspring.governance.filters.classifier import Classifier, bundled
from mainspring.governance.filters.direction import Direction
from mainspring.governance.filters.hold import Hold
from mainspring.governance.filters.personal import FORMS, PersonalData
from mainspring.governance.filters.policy import GRADED, Category, Policy
from mainspring.governance.filters.protected import Index
from mainspring.governance.filters.verdict import Hit, Verdict

__all__ = ["Screen", "Turn"]

REMEMBERED, REMEMBERED_CHARACTERS = 1024, 2000
"""So many messages of at most so many characters are not looked at again."""
_PEOPLE = ("user",)
"""Whose messages may be jailbreaks: a system prompt is the developer's own, an answer is the model's."""
_STRANGERS = ("tool",)
"""Whose messages are documents: what tools returned."""


class Turn(Protocol):
    """A message as far as a filter looks at it; `core.types.Message` is one."""

    @property
    def role(self) -> str:
        """Who says it."""
        ...

    @property
    def content(self) -> str:
        """What is said."""
        ...


class Screen:
    """What a policy looks for.

    Args:
        blocklists: by name; those that the policy names and are not here are passed over.
        classifier: the bundled one unless another is given. Not asked where the policy names a guard model.
        personal: what finds personal data.
        index: of protected material; without one that filter finds nothing.
        bases: other policies, which this one may be based on.
    """

    def __init__(
        self,
        policy: Policy,
        blocklists: Mapping[str, Blocklist] | None = None,
        *,
        classifier: Classifier | None = None,
        personal: PersonalData = FORMS,
        index: Index | None = None,
        bases: Mapping[str, Policy] | None = None,
    ) -> None:
        self.policy = policy
        lists, model = blocklists or {}, classifier or bundled()
        self.prompt = Direction(policy, "Prompt", lists, classifier=model, personal=personal, index=index, bases=bases)
        self.completion = Direction(
            policy, "Completion", lists, classifier=model, personal=personal, index=index, bases=bases
        )

        # The same instructions come with every request, and each turn of a conversation with all that follow it.
        self._whole = self.prompt.whole
        self._remembered = lru_cache(REMEMBERED)(self._whole)

    def check_prompt(self, messages: Sequence[Turn], documents: Sequence[str] = ()) -> Verdict:
        """What is in a prompt.

        Args:
            documents: texts that the prompt brings along for the model to read, which nobody in the conversation wrote.
        """
        hits: list[Hit] = []
        for number, message in enumerate(messages):
            hits += _located(self._look(message.content, message.role), f"message {number}")
        for number, document in enumerate(documents):
            hits += _located(self._look(document, "tool"), f"document {number}")
        return self.prompt.verdict(hits)

    def _look(self, text: str, role: str) -> list[Hit]:
        if self.prompt.is_idle or not text:
            return []
        asked: set[Category] = {each for each in GRADED if each in self.prompt.classified}
        if role in _PEOPLE and "jailbreak" in self.prompt.classified:
            asked.add("jailbreak")
        if role in _STRANGERS and "indirect_attack" in self.prompt.rules:
            asked.add("indirect_attack")
        return (self._whole if len(text) > REMEMBERED_CHARACTERS else self._remembered)(text, frozenset(asked))

    def stream(self, sources: Sequence[str] = ()) -> Hold:
        """What looks at one choice of an answer while it streams.

        Args:
            sources: what the answer must be grounded in, if that filter is on.
        """
        return Hold(self.completion, asynchronous=self.policy.is_asynchronous, sources=sources)


def _located(hits: Sequence[Hit], where: str) -> list[Hit]:
    return [msgspec.structs.replace(hit, where=where) for hit in hits]
