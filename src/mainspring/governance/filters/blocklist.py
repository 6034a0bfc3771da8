"""Blocklists: terms, found wherever they stand as words however they are written, and regular expressions."""

from collections.abc import Sequence

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.governance.filters.fold import fold
from mainspring.governance.filters.patterns import Pattern, compiled
from mainspring.governance.filters.terms import Terms

__all__ = ["MAX_CHARACTERS", "MAX_ITEMS", "MAX_REGEXES", "Blocklist", "BlocklistItem", "Compiled", "validate"]

MAX_ITEMS = 10_000
MAX_CHARACTERS = 1_000
MAX_REGEXES = 500
"""Of a list. Each is run by itself over every text, so unlike terms they cost time."""


class BlocklistItem(msgspec.Struct, frozen=True, kw_only=True):
    """A term, or a regular expression in RE2's syntax; neither regards case."""

    name: str
    pattern: str
    is_regex: bool = False


class Blocklist(msgspec.Struct, frozen=True, kw_only=True):
    """A named list of items."""

    name: str
    description: str = ""
    items: tuple[BlocklistItem, ...] = ()


def validate(blocklist: Blocklist) -> None:
    """Raises `InvalidRequest` if the list is too long, or an item is too long, empty or no regular expression."""
    if len(blocklist.items) > MAX_ITEMS:
        raise InvalidRequest(f"A blocklist holds at most {MAX_ITEMS:,} items.", code="blocklist_too_long")
    if sum(item.is_regex for item in blocklist.items) > MAX_REGEXES:
        raise InvalidRequest(
            f"A blocklist holds at most {MAX_REGEXES} regular expressions; write plain terms as terms.",
            code="blocklist_too_long",
        )
    for item in blocklist.items:
        if len(item.pattern) > MAX_CHARACTERS:
            raise InvalidRequest(
                f"The pattern of the item {item.name[:60]!r} has more than {MAX_CHARACTERS:,} characters.",
                code="invalid_pattern",
            )
        if item.is_regex:
            compiled(item.pattern)
        elif not fold(item.pattern).strip():
            raise InvalidRequest(
                f"The item {item.name[:60]!r} has no visible character, so it would match nothing.",
                code="invalid_pattern",
            )


class Compiled:
    """Several lists made ready: terms by folded term, patterns; each named by its list and what was written."""

    __slots__ = ("owners", "patterns", "terms")

    def __init__(self, blocklists: Sequence[Blocklist]) -> None:
        terms: dict[str, str] = {}
        self.patterns: list[Pattern] = []
        self.owners: dict[str, list[tuple[str, str]]] = {}
        for blocklist in blocklists:
            for item in blocklist.items:
                if item.is_regex:
                    key = f"regex:{item.pattern}"
                    if key not in self.owners:
                        self.patterns.append(Pattern(key, item.pattern))
                else:
                    key = f"term:{fold(item.pattern).strip()}"
                    terms[item.pattern] = key
                self.owners.setdefault(key, []).append((blocklist.name, item.pattern))
        self.terms = Terms(terms)
