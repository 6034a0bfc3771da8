"""Profanity: a list of English words, found as terms are, with digits and signs read as the letters they stand for."""

from functools import lru_cache
from pathlib import Path

__all__ = ["words"]

_SIGNS = {"a": "@4", "e": "3", "i": "1!", "o": "0", "s": "$5"}
"""What each letter is written as to get past a list. Other scripts, accents and invisible characters are folded."""


@lru_cache(maxsize=1)
def words() -> dict[str, str]:
    """Each spelling, with the word of the list that it is one of."""
    found: dict[str, str] = {}
    for line in Path(__file__).with_name("profanity.txt").read_text().splitlines():
        word = line.strip()
        if word and not word.startswith("#"):
            found.update(dict.fromkeys(_spellings(word), word))
    return found


def _spellings(word: str) -> list[str]:
    spellings = {word, "*".join((word[0], word[2:])) if len(word) > 3 else word}
    spellings |= {word[0] + "*" * (len(word) - 2) + word[-1]} if len(word) > 3 else set()
    for letter, signs in _SIGNS.items():
        spellings |= {one.replace(letter, sign) for one in tuple(spellings) for sign in signs if letter in one}
    return sorted(spellings)
