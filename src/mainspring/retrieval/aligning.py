"""Whether a passage says what a sentence says: the cosine of the sentence and the part of the passage nearest to it.

A passage is long beside a sentence, and the mean of all that it says is near to nothing in particular. So it is cut
into sentences, and each of them and each two that follow one another are parts.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mainspring.retrieval.vectors import Vectors

__all__ = ["MAX_PARTS", "Aligning", "windows"]

MAX_PARTS = 128
"""Of one passage, from its beginning: what a chunk of 800 tokens has at most, about."""
MAX_SENTENCE = 1000
MAX_KEPT = 64
"""Passages whose vectors are kept, since answers cite the same one again: at 384 dimensions some megabytes."""
_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+")


def windows(passage: str) -> list[str]:
    """A passage's sentences, and its pairs of sentences."""
    said = [each[:MAX_SENTENCE] for piece in _END.split(passage) if (each := " ".join(piece.split()))]
    pairs = [f"{one} {two}" for one, two in pairwise(said)]
    both = [each for pair in zip(said, pairs, strict=False) for each in pair]
    return [*both, *said[-1:]][:MAX_PARTS]


class Aligning:
    """The seam `core.seams.Align`, over a project's embedding model."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._kept: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()

    async def __call__(self, pairs: Sequence[tuple[str, str]], *, project: str, tenant: str) -> Sequence[float] | None:
        """See the seam."""
        model = self._vectors.choose(project)
        if not model:
            return None
        held = {passage: self._kept.get((model, passage)) for _, passage in pairs}
        cut = {passage: windows(passage) for passage, rows in held.items() if rows is None}
        texts = [sentence for sentence, _ in pairs] + [part for each in cut.values() for part in each]
        rows = await self._vectors.of_parts(texts, project=project, model=model, tenant=tenant)
        at = len(pairs)
        for passage, each in cut.items():
            held[passage] = rows[at : at + len(each)]
            at += len(each)
        self._keep(model, held)
        return [_nearest(vector, held[passage]) for vector, (_, passage) in zip(rows, pairs, strict=False)]

    def _keep(self, model: str, held: Mapping[str, NDArray[np.float32] | None]) -> None:
        for passage, rows in held.items():
            if rows is not None:
                self._kept[model, passage] = rows
                self._kept.move_to_end((model, passage))
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def _nearest(vector: NDArray[np.float32], parts: NDArray[np.float32] | None) -> float:
    return float((parts @ vector).max()) if parts is not None and len(parts) else 0.0
