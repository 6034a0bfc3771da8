"""Which examples make up which step, and how they lie in rows of one fixed length.

Everything is a pure function of (seed, step): nothing is kept between steps, so training resumes at any step and sees
exactly the batches that it would have seen. A batch is counted in examples, as the API counts it; its examples are laid
into as many rows as they take, and the rows into micro-batches of one shape, because a compiled step is compiled for a
shape.

An item is what stays together: one segment of a supervised example, or the two of a preference (chosen, then rejected).
All segments of an item lie in one row. Segments of a row must not see one another: `MicroBatch.segments` says which
position belongs to which, and attention is causal within a segment only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest

__all__ = [
    "NO_LABEL",
    "Batch",
    "MicroBatch",
    "Packer",
    "Packing",
    "Sample",
    "Source",
    "choose_length",
    "choose_rows",
    "order",
]

NO_LABEL = -100
"""The label of a position whose next token is not trained: what PyTorch's losses ignore by default."""

LENGTH_STEP = 64
MIN_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Sample:
    """A tokenised segment.

    Args:
        ids: int32 [tokens].
        weights: float32 [tokens]: how much it counts that the model predicts this token; 0 in prompts. The first
            token is never predicted, whatever its weight.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]


class Source(Protocol):
    """Items by number, in the order of their file."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each item, all of its segments together: [items]."""
        ...

    def item(self, number: int) -> Sequence[Sample]:
        """The segments of an item; at most as many tokens as a row has."""
        ...


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward and backward pass: always of the same shape.

    Args:
        ids: int64 [rows, T]; 0 where nothing is.
        position_ids: int64 [rows, T]: from 0 in each segment.
        segments: int32 [rows, T]: 0 where nothing is, else 1, 2, ... from the left of each row.
        labels: int64 [rows, T]: the token that follows this position, `NO_LABEL` where it is not trained: already
            shifted, so logits[t] is compared with labels[t].
        weights: float32 [rows, T]: of those labels.
        parts: int32 [segments, 4]: item, part, row, segment of every segment, in the order of items and parts. Of
            preferences, `parts.reshape(-1, 2, 4)` has chosen and rejected of one prompt side by side.
        sees: int32 [rows, T]: another segment of the row that a position sees besides its own, 0 for none: answers to
            one prompt, which is there once. None if no position does.
    """

    ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    segments: NDArray[np.int32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    parts: NDArray[np.int32]
    sees: NDArray[np.int32] | None = None

    @property
    def num_tokens(self) -> int:
        """Positions that hold a token."""
        return int(np.count_nonzero(self.segments))


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step of the optimiser learns from.

    Args:
        step: counted from 0 over the whole run.
        epoch: counted from 0.
        items: their numbers, in the order of training.
        micro: to be accumulated.
        weight: the sum of all weights: what the summed loss is divided by.
    """

    step: int
    epoch: int
    items: NDArray[np.int64]
    micro: tuple[MicroBatch, ...]
    weight: float

    @property
    def num_tokens(self) -> int:
        """Tokens that are read."""
        return sum(one.num_tokens for one in self.micro)

    @property
    def num_trained(self) -> int:
        """Tokens that are learnt."""
        return sum(int(np.count_nonzero(one.labels != NO_LABEL)) for one in self.micro)


@dataclass(frozen=True, slots=True)
class Packing:
    """How full the rows of an epoch are: tokens of so many positions, in so many micro-batches."""

    tokens: int
    positions: int
    micro_batches: int

    @property
    def efficiency(self) -> float:
        """The share of positions that hold a token."""
        return self.tokens / self.positions if self.positions else 0.0


class Packer:
    """The batches of a run.

    Args:
        source: what is trained on; at least one item.
        length: T, the tokens of a row.
        rows: of a micro-batch.
        batch_size: items of a step, at most. An epoch is cut into steps of nearly the same size, so that no step at
            its end learns from one or two items only.
        seed: of the order.
        shuffle: False goes through the items as they are, for validation.
    """

    def __init__(
        self, source: Source, *, length: int, rows: int, batch_size: int, seed: int = 0, shuffle: bool = True
    ) -> None:
        assert length > 0
        assert rows > 0
        assert batch_size > 0
        self._source = source
        self._lengths = source.lengths
        self.num_items = len(self._lengths)
        assert self.num_items > 0
        longest = int(self._lengths.max())
        if longest > length:
            raise InvalidRequest(f"An example of {longest} tokens does not fit into rows of {length}.")
        self.length = length
        self.rows = rows
        self.batch_size = min(batch_size, self.num_items)
        self.steps_per_epoch = -(-self.num_items // self.batch_size)
        self._seed = seed
        self._shuffle = shuffle
        self._epoch: tuple[int, NDArray[np.int64]] | None = None  # the last order: epochs last many steps

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        epoch, items = self._items(step)
        rows = self._place(items)
        groups = [rows[at : at + self.rows] for at in range(0, len(rows), self.rows)]
        micro = tuple(self._fill(group) for group in groups)
        weight = float(sum(float(one.weights.sum(dtype=np.float64)) for one in micro))
        return Batch(step, epoch, items, micro, weight)

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches from step `start` to before `stop`."""
        for step in range(start, stop):
            yield self.batch(step)

    def packing(self, epoch: int = 0) -> Packing:
        """How full the rows of an epoch are; reads lengths only."""
        first = epoch * self.steps_per_epoch
        micro = sum(
            -(-len(self._place(self._items(step)[1])) // self.rows)
            for step in range(first, first + self.steps_per_epoch)
        )
        return Packing(int(self._lengths.sum()), micro * self.rows * self.length, micro)

    def _items(self, step: int) -> tuple[int, NDArray[np.int64]]:
        epoch, at = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            whole = order(self.num_items, self._seed, epoch) if self._shuffle else np.arange(self.num_items)
            self._epoch = epoch, whole
        begin, end = (each * self.num_items // self.steps_per_epoch for each in (at, at + 1))
        return epoch, self._epoch[1][begin:end]

    def _place(self, items: NDArray[np.int64]) -> list[list[int]]:
        """Items laid into rows: the longest first, each into the fullest row that still has room (best fit
        decreasing: at most 11/9 of the fewest possible rows; Johnson 1973). The batch is all that is looked at."""
        longest_first = sorted(map(int, items), key=lambda item: (-self._lengths[item], item))
        rows: list[list[int]] = []
        rooms: list[int] = []
        for item in longest_first:
            size = int(self._lengths[item])
            fits = [(room, row) for row, room in enumerate(rooms) if room >= size]
            if fits:
                _, row = min(fits)
            else:
                row = len(rows)
                rows.append([])
                rooms.append(self.length)
            rows[row].append(item)
            rooms[row] -= size
        return rows

    def _fill(self, group: list[list[int]]) -> MicroBatch:
        shape = self.rows, self.length
        ids = np.zeros(shape, np.int64)
        positions = np.zeros(shape, np.int64)
        segments = np.zeros(shape, np.int32)
        labels = np.full(shape, NO_LABEL, np.int64)
        weights = np.zeros(shape, np.float32)
        parts: list[tuple[int, int, int, int]] = []
        for row, items in enumerate(group):
            at = segment = 0
            for item in items:
                for part, sample in enumerate(self._source.item(item)):
                    segment += 1
                    end = at + len(sample.ids)
                    ids[row, at:end] = sample.ids
                    positions[row, at:end] = np.arange(end - at)
                    segments[row, at:end] = segment
                    counts = sample.weights[1:]
                    weights[row, at : end - 1] = counts
                    labels[row, at : end - 1] = np.where(counts > 0, sample.ids[1:], NO_LABEL)
                    parts.append((item, part, row, segment))
                    at = end
        table = np.array(sorted(parts), np.int32).reshape(-1, 4)
        return MicroBatch(ids, positions, segments, labels, weights, table)


def order(num_items: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch: the same on every machine and with every NumPy.

    A counter-based generator (Philox 4x64-10; Salmon et al. 2011) is keyed with seed and epoch. Only its raw numbers
    are used, which NumPy promises never to change; it makes no such promise for `permutation`.
    """
    key = np.array([seed % 2**64, epoch], np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(num_items), kind="stable")


def choose_length(lengths: NDArray[np.int64], max_tokens: int) -> tuple[int, str]:
    """Tokens of a row, and why: enough for the longest item.

    Args:
        lengths: tokens of each item, before any is cut.
        max_tokens: most tokens of an item; longer ones are cut to it.
    """
    longest = int(lengths.max()) if len(lengths) else 0
    length = min(max(MIN_LENGTH, -(-longest // LENGTH_STEP) * LENGTH_STEP), max_tokens)
    if longest > max_tokens:
        cut = int(np.count_nonzero(lengths > max_tokens))
        return length, f"{cut} of {len(lengths)} examples are longer than {max_tokens} tokens and are cut"
    if length == MIN_LENGTH:
        return length, f"the longest example has {longest} tokens, and shorter rows than {MIN_LENGTH} are slower"
    return length, f"the longest example has {longest} tokens"


PASS_POSITIONS = 64
"""What a pass costs by itself: about as much as so many positions."""


def choose_rows(source: Source, *, length: int, batch_size: int, most: int, seed: int = 0) -> tuple[int, Packing]:
    """Rows of a micro-batch, and how full they then are: of the numbers up to `most`, the one with the least to
    compute. More rows make fewer passes; rows that a batch does not fill are computed all the same."""
    tried: list[tuple[int, int, Packing]] = []
    for rows in range(1, max(1, most) + 1):
        packing = Packer(source, length=length, rows=rows, batch_size=batch_size, seed=seed).packing()
        tried.append((packing.positions + PASS_POSITIONS * packing.micro_batches, -rows, packing))
    _, rows, packing = min(tried, key=lambda each: each[:2])
    return -rows, packing
