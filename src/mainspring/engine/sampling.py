"""Choosing the next token from a row of logits.

In numpy rather than in llama.cpp's sampler chain, because the same code then serves every backend, reports log
probabilities, and takes masks from a grammar; a row of 49,152 costs 5 us greedy and 0.1 ms sampled (docs/LOG.md).
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mainspring.core.types import Sampling, TokenLogprob

__all__ = ["Sampler", "log_softmax", "logprob_of"]

Row = NDArray[np.float32]
BLOCK = 256


def log_softmax(row: Row) -> Row:
    """Natural log probabilities of a row of logits."""
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())


def logprob_of(row: Row, token: int, num_top: int, piece: Callable[[int], bytes]) -> TokenLogprob:
    """A token's log probability and the `num_top` likeliest, from the model's own distribution (temperature 1, before
    penalties and masks)."""
    scores = log_softmax(row)
    if num_top:
        best = np.argpartition(scores, -num_top)[-num_top:]
        best = best[np.lexsort((best, -scores[best]))]
    else:
        best = np.empty(0, np.int64)
    top = tuple((int(i), piece(int(i)), float(scores[i])) for i in best)
    return TokenLogprob(token, piece(token), float(scores[token]), top)


def _find(cumulative: NDArray[np.float64], mass: float) -> int:
    """The first index at which the cumulative mass exceeds `mass`."""
    return min(int(cumulative.searchsorted(mass, side="right")), cumulative.size - 1)


class Sampler:
    """The random state and the penalties of one choice.

    Args:
        params: see `Sampling`.
        choice: index of the choice: choices of one request with one seed differ.
    """

    def __init__(self, params: Sampling, choice: int) -> None:
        self._params = params
        seed = np.random.SeedSequence(params.seed % 2**64 if params.seed is not None else None, spawn_key=(choice,))
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._counts: Counter[int] = Counter()
        self._has_penalty = bool(params.frequency_penalty or params.presence_penalty)
        self._greedy = params.temperature < 1e-4 or params.top_p < 1e-6
        self._bias_ids = np.fromiter(params.logit_bias, np.int64)
        self._bias = np.fromiter(params.logit_bias.values(), np.float32)
        self._row: Row | None = None  # that the last token was drawn from, penalties and mask included
        self._mass = 0.0  # where in it the draw fell, as a share of all

    def pick(self, row: Row, mask: NDArray[np.bool_] | None = None) -> int:
        """The next token; `row` (shape: vocabulary) is not changed. `mask` is True where a token is allowed."""
        if mask is not None or self._has_penalty or self._bias.size:
            row = self._adjusted(row, mask)
        self._row = row
        token = int(row.argmax()) if self._greedy else self._draw(row)
        if self._has_penalty:
            self._counts[token] += 1
        return token

    def observe(self, token: int) -> None:
        """A token was appended without being drawn (a grammar forced it): penalties count it."""
        if self._has_penalty:
            self._counts[token] += 1

    def distance(self, token: int) -> float:
        """How much probability lies between where the last draw fell and `token`: 0 if that was drawn. Of a greedy
        choice, how much likelier the chosen one was."""
        assert self._row is not None, "something was drawn"
        row = self._row.astype(np.float64)
        weights = np.exp((row - row.max()) / (1.0 if self._greedy else self._params.temperature))
        weights /= weights.sum()
        if self._greedy:
            return float(weights.max() - weights[token])
        if self._params.top_p < 1.0:
            order = np.argsort(-weights, kind="stable")
            weights, token = weights[order], int(np.flatnonzero(order == token)[0])
        cumulative = np.cumsum(weights)
        total = float(cumulative[-1])
        if self._params.top_p < 1.0:
            total = float(cumulative[min(int(cumulative.searchsorted(self._params.top_p)), cumulative.size - 1)])
        end = float(cumulative[token]) / total
        start = end - float(weights[token]) / total
        return max(start - self._mass, self._mass - end, 0.0)

    def correct(self, drawn: int, instead: int) -> None:
        """Another token than the one that was drawn last is appended: penalties count that one."""
        if self._has_penalty:
            self._counts[drawn] -= 1
            self._counts[instead] += 1
            self._counts += Counter()  # of those that are left

    def _adjusted(self, row: Row, mask: NDArray[np.bool_] | None) -> Row:
        row = row.copy()
        if self._counts:
            ids = np.fromiter(self._counts, np.int64)
            counts = np.fromiter(self._counts.values(), np.float32)
            row[ids] -= counts * self._params.frequency_penalty + self._params.presence_penalty
        if self._bias.size:
            row[self._bias_ids] += self._bias
        if mask is not None:
            row[~mask[: row.size]] = -np.inf
        return row

    def _draw(self, row: Row) -> int:
        scaled = row * np.float32(1.0 / self._params.temperature)
        scaled -= scaled.max()
        weights = np.exp(scaled, out=scaled)
        if self._params.top_p < 1.0:
            return self._draw_nucleus(weights)
        # In two levels, because a cumulative sum of the whole row would cost more than everything else here.
        blocks = np.cumsum(np.add.reduceat(weights, range(0, weights.size, BLOCK)), dtype=np.float64)
        self._mass = self._random.random()
        mass = self._mass * float(blocks[-1])
        block = _find(blocks, mass)
        before = float(blocks[block - 1]) if block else 0.0
        start = block * BLOCK
        inside = np.cumsum(weights[start : start + BLOCK], dtype=np.float64)
        return start + _find(inside, mass - before)

    def _draw_nucleus(self, weights: Row) -> int:
        """From the smallest set of likeliest tokens that holds `top_p` of the mass (Holtzman et al., 2020)."""
        total = float(weights.sum(dtype=np.float64))
        # Tokens below this weight hold less than 1 - top_p of the mass all together: none is in the set.
        least = (1.0 - self._params.top_p) * total / weights.size
        candidates = np.flatnonzero(weights > least)
        candidates = candidates[np.argsort(-weights[candidates], kind="stable")]
        cumulative: NDArray[np.float64] = np.cumsum(weights[candidates], dtype=np.float64)
        last = min(int(cumulative.searchsorted(self._params.top_p * total)), cumulative.size - 1)
        self._mass = self._random.random()
        drawn = _find(cumulative[: last + 1], self._mass * float(cumulative[last]))
        return int(candidates[drawn])
