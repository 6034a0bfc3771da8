"""Groundedness: sentences of an answer that the given sources do not bear out, judged by their words.

A sentence is grounded if nearly all its telling words, numbers and names stand close together in one source. This sees
invented figures, names and facts; it does not see a denial ("is not" for "is"), a swapped subject or a wrong
conclusion, and a good paraphrase in other words looks invented to it. docs/SAFETY.md has the figures.
"""

import re
from collections.abc import Sequence

__all__ = ["SHARE", "shares", "ungrounded"]

SHARE = 0.6
"""The part of a sentence's weight that must be found in one passage of a source."""
PASSAGE, STRIDE = 60, 30
NUMBER_WEIGHT = 3.0
"""A number, or a name within a sentence, that is in no passage weighs as much as three words."""
LEAST_WORDS = 4

_SENTENCE = re.compile(r"[^.!?\n]+(?:\.(?=\d)[^.!?\n]*|\.(?=\w)[^.!?\n]*)*[.!?\n]*")
_WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*")
_COMMON = frozenset(
    "a about after all also an and any are as at be because been before being both but by can could did do does for "  # noqa: SIM905
    "from had has have he her here his how i if in into is it its just like may me might more most my no not of on one "
    "only or other our out over said she should so some such than that the their them then there these they this those "
    "through to under up us was we were what when where which while who will with would you your according based "
    "document source sources text article says states however".split()
)


def _stem(word: str) -> str:
    word = word.casefold()
    for ending in ("ingly", "edly", "ing", "ed", "ies", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)][:7]
    return word[:7]


def _weights(sentence: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for position, match in enumerate(_WORD.finditer(sentence)):
        word = match[0]
        if word.casefold() in _COMMON:
            continue
        is_name = word[0].isupper() and position > 0
        stem = word.replace(",", "") if word[0].isdigit() else _stem(word)
        weights[stem] = NUMBER_WEIGHT if word[0].isdigit() or is_name else 1.0
    return weights


def ungrounded(answer: str, sources: Sequence[str]) -> list[tuple[int, int, float]]:
    """Where sentences stand that no source bears out, each with the share that one did. Questions and very short
    sentences claim nothing."""
    return [(start, end, round(share, 3)) for start, end, share in shares(answer, sources) if share < SHARE]


def shares(answer: str, sources: Sequence[str]) -> list[tuple[int, int, float]]:
    """The same for every sentence that claims something: the largest part of its weight in one passage."""
    passages: list[set[str]] = []
    for source in sources:
        stems = [one.replace(",", "") if one[0].isdigit() else _stem(one) for one in _WORD.findall(source)]
        passages += [set(stems[start : start + PASSAGE]) for start in range(0, max(1, len(stems) - STRIDE), STRIDE)]
    found: list[tuple[int, int, float]] = []
    for match in _SENTENCE.finditer(answer):
        sentence = match[0].strip()
        weights = _weights(sentence)
        if len(weights) < LEAST_WORDS or sentence.endswith("?"):
            continue
        total = sum(weights.values())
        share = max((sum(weights[word] for word in weights.keys() & one) for one in passages), default=0.0) / total
        start = match.start() + len(match[0]) - len(match[0].lstrip())
        found.append((start, start + len(sentence), share))
    return found
