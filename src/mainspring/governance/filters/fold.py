"""Folds text so that what looks alike is alike: case, width, accents, invisible characters, runs of white space.

Folding goes character by character, so a text can be folded in pieces, however it was cut, and every folded character
knows where it came from.
"""

import re
import unicodedata

__all__ = ["WORD", "Folder", "fold", "is_boundary", "positions"]

_ALIKE = str.maketrans(
    "аеорсухѕіјһԁԛԝɡⅼαεικνορτυχıłøđ",
    "aeopcyxsijhdqwglaeiknoptuxilod",
)
"""Letters of Cyrillic and Greek that look like Latin ones, and Latin letters that do not decompose. A term in those
scripts is folded in the same way, so it still matches itself."""

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_KEPT_MARKS = (0, 7, 8, 9)
"""Canonical combining classes of marks that tell letters apart: vowel signs, nukta, kana voicing, virama."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
"""Scripts that put no spaces between words (and Korean, whose particles stick to words): their characters always stand
at a boundary."""
WORD = re.compile(f"[^\\W_{_UNSPACED}\U00020000-\U0003ffff]+|.", re.DOTALL)
"""A run of characters that make up a word, or a single other character."""
_LETTER = re.compile(f"[^\\W_{_UNSPACED}\U00020000-\U0003ffff]")


class _Table(dict[int, str]):
    """What each character becomes, worked out when it is first seen. There are at most 1.1 million."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _folded(chr(code))
        return folded


def _folded(character: str) -> str:
    if character.isspace():
        return " "
    text = unicodedata.normalize("NFKD", character).casefold()
    text = unicodedata.normalize("NFKD", text)
    return "".join(one for one in text if _is_kept(one)).translate(_ALIKE)


def _is_kept(character: str) -> bool:
    if unicodedata.combining(character) not in _KEPT_MARKS or _INVISIBLE.match(character):
        return False
    return unicodedata.category(character) not in ("Cc", "Cf", "Me")


_TABLE = _Table()
_SPACES = re.compile("  +")


class Folder:
    """Folds a stream, and remembers whether it ended with white space so far."""

    __slots__ = ("_spaced",)

    def __init__(self) -> None:
        self._spaced = False

    def feed(self, text: str, start: int = 0) -> tuple[str, list[int]]:
        """The next piece folded, and for each folded character the position of its source; `text` is at `start`."""
        folded = text.translate(_TABLE)
        if len(folded) == len(text) and "  " not in folded and not (self._spaced and folded[:1] == " "):
            if not text.isascii():  # one character may have gone where another became two
                return self._slowly(text, start)
            self._spaced = folded[-1] == " " if folded else self._spaced
            return folded, list(range(start, start + len(text)))
        return self._slowly(text, start)

    def _slowly(self, text: str, start: int) -> tuple[str, list[int]]:
        pieces: list[str] = []
        where: list[int] = []
        for position, character in enumerate(text, start):
            for one in _TABLE[ord(character)]:
                if one == " " and self._spaced:
                    continue
                self._spaced = one == " "
                pieces.append(one)
                where.append(position)
        return "".join(pieces), where


def fold(text: str) -> str:
    """The whole text folded."""
    return _SPACES.sub(" ", text.translate(_TABLE))


def positions(text: str) -> list[int]:
    """For each character of `fold(text)` the position in `text` that it came from."""
    return Folder().feed(text)[1]


def is_boundary(before: str, after: str) -> bool:
    """Whether a word may end after `before` and another begin with `after`; an empty string is the edge of the text."""
    return not (before and after and _LETTER.match(before) and _LETTER.match(after))
