"""How similar two texts are, by the metrics that OpenAI's text_similarity grader has.

    fuzzy_match   rapidfuzz's WRatio over lower-case letters and digits, as OpenAI's guide computes it, / 100
    bleu          sacreBLEU's sentence BLEU (tokens of mteval-v13a, exponential smoothing, effective order), / 100
    gleu          Google BLEU (Wu et al. 2016), 1- to 4-grams, as NLTK has it
    meteor        METEOR (Lavie and Agarwal 2007) with exact and stemmed matches as NLTK has them, without WordNet's
                  synonyms, which are 10 MB of English
    rouge_n, _l   ROUGE's F-measure as Google's rouge-score computes it: Latin letters and digits only, no stemming

All but the cosine are computed here and agree with those packages to the last digits; tests hold the numbers. All take
time in proportion to the lengths, or to their product over 64 for the longest common subsequence.
"""

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from mainspring.core.types import Embeddings
from mainspring.graders.stem import stem

__all__ = ["METRICS", "cosine"]

Tokens = Sequence[str]

_SPLITS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def _tokens_13a(text: str) -> list[str]:
    """Tokens of mteval-v13a, which machine translation is judged by."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, apart in _SPLITS:
        text = pattern.sub(apart, text)
    return text.split()


def _ngrams(tokens: Tokens, count: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(count)), strict=False))


def bleu(text: str, reference: str) -> float:
    """See the module."""
    given, wanted = _tokens_13a(text), _tokens_13a(reference)
    logs: list[float] = []
    smooth, any_correct = 1.0, False
    for count in range(1, 5):
        total = max(len(given) - count + 1, 0)
        if total == 0:
            break
        correct = (_ngrams(given, count) & _ngrams(wanted, count)).total()
        any_correct = any_correct or correct > 0
        if correct == 0:
            smooth *= 2
            logs.append(math.log(1 / (smooth * total)))
        else:
            logs.append(math.log(correct / total))
    if not any_correct:
        return 0.0
    brevity = math.exp(1 - len(wanted) / len(given)) if len(given) < len(wanted) else 1.0
    return brevity * math.exp(sum(logs) / len(logs))


def gleu(text: str, reference: str) -> float:
    """See the module."""
    given, wanted = _tokens_13a(text), _tokens_13a(reference)
    correct = total = 0
    for count in range(1, 5):
        correct += (_ngrams(given, count) & _ngrams(wanted, count)).total()
        total += max(len(given) - count + 1, len(wanted) - count + 1, 0)
    # Both totals are sums over all lengths of n-grams, and the larger text has more of each.
    return correct / total if total else 0.0


def meteor(text: str, reference: str) -> float:
    """See the module."""
    given, wanted = _tokens_13a(text.lower()), _tokens_13a(reference.lower())
    left, right = dict(enumerate(given)), dict(enumerate(wanted))
    matches = _matches(left, right)
    left = {place: stem(word) for place, word in left.items()}
    right = {place: stem(word) for place, word in right.items()}
    matches = sorted(matches + _matches(left, right))
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(given), len(matches) / len(wanted)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    chunks = 1 + sum(after != (before[0] + 1, before[1] + 1) for before, after in pairwise(matches))
    return (1 - 0.5 * (chunks / len(matches)) ** 3) * mean


def _matches(left: dict[int, str], right: dict[int, str]) -> list[tuple[int, int]]:
    """Places of equal words, taken from the ends of both, and removed from them."""
    places: dict[str, list[int]] = {}
    for place, word in right.items():
        places.setdefault(word, []).append(place)
    found: list[tuple[int, int]] = []
    for place in sorted(left, reverse=True):
        if there := places.get(left[place]):
            found.append((place, there.pop()))
            del left[place], right[found[-1][1]]
    return found


def _tokens_rouge(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


def _f_measure(common: int, given: int, wanted: int) -> float:
    precision, recall = common / max(given, 1), common / max(wanted, 1)
    return 2 * precision * recall / (precision + recall) if common else 0.0


def _rouge(count: int) -> Callable[[str, str], float]:
    def rouge(text: str, reference: str) -> float:
        given, wanted = _ngrams(_tokens_rouge(text), count), _ngrams(_tokens_rouge(reference), count)
        return _f_measure((given & wanted).total(), given.total(), wanted.total())

    return rouge


def rouge_l(text: str, reference: str) -> float:
    """See the module."""
    given, wanted = _tokens_rouge(text), _tokens_rouge(reference)
    return _f_measure(_common_subsequence(given, wanted), len(given), len(wanted))


def _common_subsequence(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence, a row of the table in one number (Hyyro 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        hits = row & places.get(word, 0)
        row = ((row + hits) | (row - hits)) & everything
    return len(first) - row.bit_count()


def fuzzy_match(text: str, reference: str) -> float:
    """See the module."""
    from rapidfuzz import fuzz, utils  # 20 ms, of those servers only that grade so

    return fuzz.WRatio(text, reference, processor=utils.default_process) / 100


METRICS: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{count}": _rouge(count) for count in range(1, 6)},
    "rouge_l": rouge_l,
}
"""Each metric of two texts, (what is graded, the reference) -> 0 to 1."""


def cosine(pair: Embeddings) -> float:
    """The cosine of the angle between two vectors; 0 if either has no length."""
    numbers = struct.unpack(f"<{2 * pair.dimensions}f", pair.vectors)
    first, second = numbers[: pair.dimensions], numbers[pair.dimensions :]
    lengths = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / lengths if lengths else 0.0
