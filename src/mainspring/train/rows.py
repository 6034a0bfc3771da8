"""Answers to questions in rows for one pass: a question is there once, however many answers to it share the row.

    row        q q q q a a a a b b b c c c c      q: the question but for its last token
    segment    1 1 1 1 2 2 2 2 3 3 3 4 4 4 4      a, b, c: that last token, then an answer
    sees       0 0 0 0 1 1 1 1 1 1 1 1 1 1 1

The last token of the question is repeated, since in each answer another token follows it. With eight short answers to
a question of some dozen tokens this is a quarter of the positions that eight whole sequences take.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.train.packing import LENGTH_STEP, NO_LABEL, MicroBatch

__all__ = ["ADVANTAGE", "BASE", "NOTES", "OLD", "SAMPLED", "Given", "Group", "Rollouts", "lay"]

ADVANTAGE, SAMPLED, OLD, BASE = range(4)
NOTES = 4
"""What is known of each token: the advantage of its answer, and its log probability under what sampled it, under the
weights at that time as training computes them, and under the base."""


class Given(NamedTuple):
    """An answer.

    Args:
        ids: its tokens.
        trained: of each whether it is learnt.
        notes: float32 (NOTES, tokens).
    """

    ids: Sequence[int]
    trained: Sequence[bool]
    notes: NDArray[np.float32]


class Group(NamedTuple):
    """A question's tokens and answers to it."""

    prompt: Sequence[int]
    answers: Sequence[Given]

    def tokens(self, answers: int | None = None) -> int:
        """Positions that it takes."""
        return len(self.prompt) - 1 + sum(1 + len(each.ids) for each in self.answers[:answers])


@dataclass(frozen=True, slots=True)
class Rollouts(MicroBatch):
    """A micro-batch of answers; `notes` are of its labels, in their order: (NOTES, labels)."""

    notes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((NOTES, 0), np.float32))

    def __post_init__(self) -> None:
        assert self.notes.shape[1] == np.count_nonzero(self.labels != NO_LABEL)


def lay(groups: Sequence[Group], length: int) -> Iterator[Rollouts]:
    """Micro-batches of a row each, in the order of groups and answers.

    Args:
        length: tokens of a row, at most; a question with one answer always has one. Rows end where their tokens do,
            rounded up: what is not compiled need not have one shape.
    """
    row: list[Group] = []
    room = length
    for group in groups:
        left = list(group.answers)
        while left:
            fits = sum(Group(group.prompt, left).tokens(num) <= room for num in range(1, len(left) + 1))
            if not fits and row:
                yield _fill(row)
                row, room = [], length
                continue
            part = Group(group.prompt, left[: max(1, fits)])
            row.append(part)
            room -= part.tokens()
            del left[: len(part.answers)]
    if row:
        yield _fill(row)


def _fill(groups: Sequence[Group]) -> Rollouts:
    used = sum(group.tokens() for group in groups)
    length = -(-used // LENGTH_STEP) * LENGTH_STEP
    ids, positions, labels = (np.zeros(length, np.int64) for _ in range(3))
    segments, sees = np.zeros(length, np.int32), np.zeros(length, np.int32)
    labels[:] = NO_LABEL
    parts: list[tuple[int, int, int, int]] = []
    notes: list[NDArray[np.float32]] = []
    at = segment = 0
    for number, (prompt, answers) in enumerate(groups):
        shared = len(prompt) - 1
        segment += 1
        question = segment
        ids[at : at + shared] = prompt[:-1]
        positions[at : at + shared] = range(shared)
        segments[at : at + shared] = question
        at += shared
        for place, given in enumerate(answers):
            segment += 1
            end = at + 1 + len(given.ids)
            ids[at:end] = [prompt[-1], *given.ids]
            positions[at:end] = range(shared, shared + end - at)
            segments[at:end] = segment
            sees[at:end] = question
            trained = np.array(given.trained, bool)
            labels[at : end - 1] = np.where(trained, np.array(given.ids, np.int64), NO_LABEL)
            notes.append(given.notes[:, trained])
            parts.append((number, place, 0, segment))
            at = end
    weights = (labels != NO_LABEL).astype(np.float32)
    return Rollouts(
        ids[None], positions[None], segments[None], labels[None], weights[None],
        np.array(parts, np.int32), sees[None], np.concatenate(notes, axis=1),
    )  # fmt: skip
