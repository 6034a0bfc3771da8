"""The default classifier: a linear model over hashed words and pairs of words, judged window by window.

For hate, sexual, violence and self-harm it says how likely a text is at least of low, medium and high severity; for
jailbreaks and indirect attacks, how likely it is one. A long text is as bad as its worst window, so one sentence in a
long letter counts. It is small (two megabytes), needs numpy alone and takes under a millisecond for 2,000 characters;
`scripts/train_filters.py` made its weights, `docs/SAFETY.md` says how good it is and what it cannot do.
"""

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from mainspring.core.errors import InvalidRequest
from mainspring.governance.filters.fold import fold, positions
from mainspring.governance.filters.policy import GRADED, SEVERITIES, Category, Severity
from mainspring.governance.filters.verdict import Hit
from mainspring.models.safetensors import read_tensors

__all__ = ["HEADS", "ROWS", "WINDOWS", "Classifier", "bundled", "earlier", "features", "spans", "tokens"]

Array = Any  # numpy is imported when the first text is judged, not when the server starts

HEADS: tuple[str, ...] = (
    *(f"{category}:{severity}" for category in GRADED for severity in SEVERITIES[1:]),
    "jailbreak",
    "indirect_attack",
)
ROWS = 2**16
"""Rows for words and as many again for pairs of words."""
WINDOWS = ((12, 4), (24, 8), (72, 24))
"""Length and stride of the windows, in words."""
EXCERPT = 120
SMOOTHING = 4.0
"""Added to a window's length, whose root its sum is divided by: two words alone are weak evidence."""
DETECTED_AT = 0.5
SHORT_WORDS, SHORT_AT = 5, 0.72
"""Of fewer words so much certainty is asked: among two or three, one that is often found in bad company decides alone.
With 0.5, 0.9 % of harmless pieces of one to five words are found to be something, with 0.72 a tenth of that."""
SHORT = 128
"""Words of a text whose windows are laid out once and remembered."""

_TOKEN = re.compile(r"[^\W\d_]+|\d+|[!?\"<>{}\[\]:#|]")
_PAIR, _SKIP = 0x9E3779B1, 0x85EBCA77


def tokens(folded: str) -> list[str]:
    """Words, numbers (all alike) and telling punctuation of a folded text."""
    return ["0" if one[0].isdigit() else one for one in _TOKEN.findall(folded)]


@lru_cache(maxsize=65536)
def _hashes(token: str) -> tuple[int, int]:
    """Of a word, and of its first five letters, which stand for its inflections."""
    return zlib.crc32(token.encode()), zlib.crc32(f"{token[:5]}*".encode())


def features(words: Sequence[str]) -> Array:
    """For each word the rows of its four features: itself, its stem, with the word before, with the one before that."""
    import numpy as np

    pairs = np.array([_hashes(word) for word in words], np.uint32).reshape(-1, 2)
    one = pairs[:, 0]
    rows = np.empty((len(words), 4), np.int64)
    rows[:, :2] = pairs & (ROWS - 1)
    mixed = one * np.uint32(_PAIR)
    hashes = np.zeros((len(words), 2), np.uint32)
    np.bitwise_xor(mixed[:-1], one[1:], out=hashes[1:, 0])
    hashes[2:, 1] = (mixed[:-2] ^ one[2:]) * np.uint32(_SKIP)
    rows[:, 2:] = _row(hashes)
    rows[0, 2], rows[:2, 3] = ROWS, ROWS  # what a pair at the beginning has: a row that stays zero
    return rows


def _row(hashes: Array) -> Array:
    return ROWS + 1 + ((hashes ^ (hashes >> 15)) & (ROWS - 1)) % (ROWS - 1)


def spans(length: int) -> list[tuple[int, int]]:
    """The windows of a text of so many words, by size, the smallest first."""
    return [span for group in _groups(length) for span in group]


def _groups(length: int) -> list[list[tuple[int, int]]]:
    groups: list[list[tuple[int, int]]] = []
    for size, stride in WINDOWS:
        if length <= size:
            return [*groups, [(0, length)]]
        starts = [*range(0, length - size, stride), length - size]
        groups.append([(start, start + size) for start in starts])
    return groups


def _layout(length: int) -> list[tuple[Array, Array, float]]:
    """Of each size of windows: where they begin, the words in them, and what their sums are divided by."""
    import numpy as np

    found: list[tuple[Array, Array, float]] = []
    for group in _groups(length):
        starts = np.array([start for start, _ in group])
        size = group[0][1] - group[0][0]
        found.append((starts[:, None, None], starts[:, None] + np.arange(size), (size + SMOOTHING) ** 0.5))
    return found


_short_layout = lru_cache(maxsize=SHORT)(_layout)


def earlier(rows: Array) -> Array:
    """For each feature of each word, at which word the same feature stood before; -1 if nowhere."""
    import numpy as np

    flat = rows.reshape(-1)
    order = flat.argsort(kind="stable")
    same = flat[order[1:]] == flat[order[:-1]]
    before = np.full(len(flat), -1, np.int64)
    before[order[1:]] = np.where(same, order[:-1] // rows.shape[1], -1)
    return cast("Array", before.reshape(rows.shape))


class Classifier:
    """Judges texts with the weights of a safetensors file: `table` (rows, heads) in 8 bits, `scale` and `bias` (heads).

    The file is read when the first text is judged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table: Array = None
        self._scale: Array = None
        self._bias: Array = None

    def load(self) -> None:
        """Read the weights now rather than with the first text."""
        import numpy as np

        entries = read_tensors(self._path)
        heads = len(HEADS)
        wanted = {"table": ("I8", (2 * ROWS, heads)), "scale": ("F32", (heads,)), "bias": ("F32", (heads,))}
        have = {name: (entry.dtype, entry.shape) for name, entry in entries.items()}
        if any(have.get(name) != each for name, each in wanted.items()):
            raise InvalidRequest("These are no weights of a content filter: train them with scripts/train_filters.py.")
        data = self._path.read_bytes()
        parts = {name: data[entries[name].begin : entries[name].end] for name in wanted}
        self._scale = np.frombuffer(parts["scale"], np.float32)
        self._bias = np.frombuffer(parts["bias"], np.float32)
        self._table = np.frombuffer(parts["table"], np.int8).reshape(-1, len(HEADS))

    def probabilities(self, words: Sequence[str]) -> tuple[list[float], list[tuple[int, int]]]:
        """For each of `HEADS`, the probability of the likeliest window, and that window."""
        import numpy as np

        if self._table is None:
            self.load()
        if not words:
            return [0.0] * len(HEADS), [(0, 0)] * len(HEADS)
        logits, windows = self._logits(words), spans(len(words))
        best = logits.argmax(0)
        likely = 1 / (1 + np.exp(-logits.max(0)))
        return cast("list[float]", likely.tolist()), [windows[each] for each in best.tolist()]

    def by_window(self, words: Sequence[str]) -> Array:
        """The probability of each of `HEADS` (columns) in each of `spans` (rows); there are words."""
        import numpy as np

        return 1 / (1 + np.exp(-self._logits(words)))

    def _logits(self, words: Sequence[str]) -> Array:
        """Of each window and each of `HEADS`."""
        import numpy as np

        if self._table is None:
            self.load()
        rows = features(words)
        table: Array = self._table
        weights = table.take(rows, axis=0).astype(np.float32)
        before = earlier(rows)
        parts: list[Array] = []
        for starts, inside, root in (_short_layout if len(words) <= SHORT else _layout)(len(words)):
            # What a window says twice counts once: where it stands in the window for the first time.
            first = (before.take(inside, 0) < starts).astype(np.float32).reshape(len(inside), 1, -1)
            sums = np.matmul(first, weights.take(inside, 0).reshape(len(inside), -1, len(HEADS)))
            parts.append(sums[:, 0] / root)
        return np.concatenate(parts) * self._scale + self._bias

    def judge(self, text: str, categories: frozenset[Category]) -> list[Hit]:
        """What of these categories is in the text, from low severity on; those without severities if detected."""
        folded = fold(text)
        words = tokens(folded)
        if not words:
            return []
        least = SHORT_AT if len(words) < SHORT_WORDS else DETECTED_AT
        likely, windows = self.probabilities(words)
        if max(likely) < least:  # as for nearly every text
            return []
        scores = dict(zip(HEADS, zip(likely, windows, strict=True), strict=True))
        hits: list[Hit] = []
        for category in sorted(categories):
            judge = _graded if category in GRADED else _detected
            hit = judge(category, scores, least)
            if hit is not None:
                begin, end = _place(text, hit.span)
                excerpt = text[begin:end] if end - begin <= EXCERPT else text[begin : begin + EXCERPT] + "..."
                hits.append(
                    Hit(
                        category=category,
                        severity=hit.severity,
                        score=hit.score,
                        threshold=hit.threshold,
                        matched=excerpt,
                        span=(begin, end),
                        scores=hit.scores,
                    )
                )
        return hits


def _graded(category: Category, scores: dict[str, tuple[float, tuple[int, int]]], least: float) -> Hit | None:
    found = {severity: scores[f"{category}:{severity}"] for severity in SEVERITIES[1:]}
    severity: Severity = "safe"
    for each in SEVERITIES[1:]:
        if found[each][0] >= least:
            severity = each
    if severity == "safe":
        return None
    likely, window = found[severity]
    figures = {each: round(likely, 4) for each, (likely, _) in found.items()}
    return Hit(category=category, severity=severity, score=round(likely, 4), span=window, scores=figures)


def _detected(category: Category, scores: dict[str, tuple[float, tuple[int, int]]], least: float) -> Hit | None:
    likely, window = scores[category]
    if likely < least:
        return None
    figure = round(likely, 4)
    return Hit(category=category, score=figure, threshold=least, span=window, scores={category: figure})


def _place(text: str, window: tuple[int, int]) -> tuple[int, int]:
    """Where a window of words stands in the text as it was written."""
    matches = list(_TOKEN.finditer(fold(text)))
    where = positions(text)
    return where[matches[window[0]].start()], where[matches[window[1] - 1].end() - 1] + 1


@lru_cache(maxsize=1)
def bundled() -> Classifier:
    """The one that comes with Mainspring."""
    return Classifier(Path(__file__).with_name("weights.safetensors"))
