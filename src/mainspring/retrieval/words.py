"""Words of texts, and BM25 over them. Pure.

A word is a run of letters and digits, in lower case, without accents, stemmed as English where it is written with ASCII
letters alone; writing without spaces (Chinese, Japanese, Korean) gives its pairs of characters.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.graders.stem import stem

__all__ = ["K1", "MOST", "B", "counted", "gains", "slowness", "slowness_of", "weight", "words"]

K1, B = 1.2, 0.75
MOST = K1 + 1
"""What BM25 tends to for a word that fills a text, in multiples of the word's weight."""
MAX_CHARS = 64
"""Of a word: what is longer is no word, and is cut."""

_RUN = re.compile(r"[^\W_]+")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")


def words(text: str) -> Iterator[str]:
    """The words of a text, in order."""
    for run in _RUN.findall(text.lower()):
        if run.isascii():
            yield _stemmed(run[:MAX_CHARS])
        else:
            yield from _foreign(run)


@lru_cache(maxsize=1 << 16)
def _stemmed(word: str) -> str:
    return stem(word) if word.isalpha() else word


def _foreign(run: str) -> Iterator[str]:
    if _CJK.search(run):
        for part in _CJK.findall(run):
            yield from (part[at : at + 2] for at in range(max(len(part) - 1, 1)))
        run = _CJK.sub(" ", run)
    for part in run.split():
        plain = "".join(each for each in unicodedata.normalize("NFKD", part) if not unicodedata.combining(each))
        yield _stemmed(plain[:MAX_CHARS]) if plain.isascii() else plain[:MAX_CHARS]


def counted(text: str, heading: Sequence[str]) -> Counter[str]:
    """How often each word is in a text or in the headings above it."""
    return Counter(word for each in (text, *heading) for word in words(each))


def weight(num_texts: int, num_with: int) -> float:
    """A word's inverse document frequency: how much it says that a text has it. Never negative."""
    return float(np.log1p((num_texts - num_with + 0.5) / (num_with + 0.5)))


def slowness(lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of each text, how slowly what a word adds grows with how often it is there: long texts have more of all."""
    return slowness_of(lengths, float(lengths.mean()) if len(lengths) else 1.0)


def slowness_of(lengths: NDArray[Any], mean: float) -> NDArray[np.float32]:
    """The same of some of the texts; `mean` is the length of all."""
    return (K1 * (1 - B + B * lengths / max(mean, 1.0))).astype(np.float32)


def gains(counts: NDArray[np.float32], slow: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a word adds to the scores of texts, in multiples of its weight, by how often it is there: BM25."""
    return (counts * np.float32(MOST) / (counts + slow)).astype(np.float32, copy=False)
