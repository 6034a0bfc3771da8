"""Two orders made one, and a score that says something. Pure.

**Order**: reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a chunk gets 1 / (K + rank) from each
order that it is in. Ranks are compared, and not scores, since those of BM25 and of vectors mean different things.

**Score**: ranks say nothing about whether anything fits at all, and a threshold needs that. So each chunk's own
relevance (its cosine, or the share that it has of the highest BM25 possible for the query) is fitted along the fused
order: the nearest sequence that never rises (pool adjacent violators). Sorted by score is then sorted by fusion.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

__all__ = ["K", "falling", "fused"]

K = 5
"""How little the first ranks differ. The paper's is 60, for many orders; of two, 5 was better (docs/LOG.md)."""

Key = TypeVar("Key", bound=Hashable)


def fused(orders: Sequence[tuple[float, Sequence[Key]]], k: int = K) -> list[Key]:
    """One order of several.

    Args:
        orders: with the weight of each, best first.
    """
    sums: dict[Key, float] = {}
    for weight, order in orders:
        for rank, key in enumerate(order, 1):
            sums[key] = sums.get(key, 0.0) + weight / (k + rank)
    return sorted(sums, key=lambda key: -sums[key])  # stable: of equals, the first order's goes first


def falling(keys: Sequence[Key], relevance: Mapping[Key, float]) -> list[float]:
    """For each key the value of the sequence that never rises and is nearest, by squares, to the relevances."""
    pools: list[tuple[float, int]] = []
    for key in keys:
        mean, count = relevance[key], 1
        while pools and pools[-1][0] < mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]
