"""A file of examples as tokens on the disk: made once, then read item by item in whatever order.

    <folder>/ids.bin, weights.bin    tokens of all segments, one after the other, and whether each is learnt (0 or 1)
    <folder>/segments.npy            where each segment begins, and the end of the last
    <folder>/first.npy               of each segment, its first token that is learnt (-1: none)
    <folder>/lines.npy               of each item, the number and the offset of its line
    <folder>/about.json              written last

A job that goes on after an interruption reads the same tokens even if the template would now write another date.
"""

import os
import shutil
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.train.examples import MIN_EXAMPLES, Example, ExampleFile, parse
from mainspring.train.lines import Fault, Index, Line, Wrong
from mainspring.train.packing import Sample
from mainspring.train.plan import Method
from mainspring.train.render import Renderer

__all__ = ["Dataset", "tokenise"]

ABOUT = "about.json"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder was made of.

    Args:
        path, method: the file of examples.
        num_examples: lines of it.
        parts: segments of an item: 2 of preferences, else 1.
        num_rewritten: conversations that became more than one item.
        notes: of the renderer.
    """

    path: str
    method: Method
    num_examples: int
    parts: int
    num_rewritten: int
    notes: list[str]


class Dataset:
    """A folder that `tokenise` made. A `packing.Source`: items that teach nothing are left out, and numbers count what
    remains.

    Args:
        folder: which.
        max_tokens: every segment is cut to so many tokens; None cuts nothing.
    """

    def __init__(self, folder: Path, max_tokens: int | None = None) -> None:
        self.about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
        starts: NDArray[np.int64] = np.load(folder / "segments.npy")
        first: NDArray[np.int64] = np.load(folder / "first.npy")
        self._lines: NDArray[np.int64] = np.load(folder / "lines.npy")
        self._ids = np.memmap(folder / "ids.bin", np.int32, "r")
        self._weights = np.memmap(folder / "weights.bin", np.uint8, "r")
        self._starts = starts
        whole = np.diff(starts)
        self._cut = np.minimum(whole, max_tokens) if max_tokens is not None else whole
        parts = self.about.parts
        self.whole_lengths: NDArray[np.int64] = whole.reshape(-1, parts)
        """Tokens of every segment before any was cut: [items, parts]; also of items that are left out."""
        self.num_cut = int((whole > self._cut).reshape(-1, parts).any(axis=1).sum())
        # The first token of a sequence is never predicted.
        teaches: NDArray[np.bool_] = np.all(((first >= 1) & (first < self._cut)).reshape(-1, parts), axis=1)
        if self.about.method == "reinforcement":
            teaches = np.ones_like(teaches)
        self._numbers = np.flatnonzero(teaches)
        self.num_left_out = teaches.size - self._numbers.size
        self._lengths = self._cut.reshape(-1, parts).sum(axis=1)[self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """See `packing.Source`."""
        return self._lengths

    def item(self, number: int) -> Sequence[Sample]:
        """See `packing.Source`."""
        parts = self.about.parts
        first = int(self._numbers[number]) * parts
        return [self._segment(segment) for segment in range(first, first + parts)]

    def line(self, number: int) -> int:
        """The line of an item in its file, counted from 1."""
        return int(self._lines[self._numbers[number], 0])

    def example(self, number: int) -> Example:
        """The example that an item was made of; read from its file."""
        index = Index()
        line, offset = map(int, self._lines[self._numbers[number]])
        index.add(Line(line, offset, b""))
        return parse(index.read(Path(self.about.path), 0).data, self.about.method)

    def num_trained(self) -> int:
        """Tokens that are learnt in an epoch; reads all weights."""
        total = 0
        for number in range(len(self)):
            total += sum(int(np.count_nonzero(sample.weights[1:])) for sample in self.item(number))
        return total

    def _segment(self, segment: int) -> Sample:
        start = int(self._starts[segment])
        end = start + int(self._cut[segment])
        return Sample(np.array(self._ids[start:end]), self._weights[start:end].astype(np.float32))


def tokenise(
    file: ExampleFile,
    renderer: Renderer,
    folder: Path,
    *,
    least: int = MIN_EXAMPLES,
    watch: Callable[[Line, Example], None] | None = None,
) -> Path:
    """Make `folder` of a file, in the place of whatever was there.

    Args:
        least: fewer examples are an error.
        watch: is shown every example that is right.

    Returns:
        The folder, for `Dataset`.

    Raises:
        InvalidRequest: lines are wrong (all are looked at first), there are too few, or none teaches anything.
    """
    work = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _write(file, renderer, work, least=least, watch=watch)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)
    return folder


def _write(
    file: ExampleFile,
    renderer: Renderer,
    work: Path,
    *,
    least: int,
    watch: Callable[[Line, Example], None] | None,
) -> None:
    rewritten = renderer.num_rewritten
    starts, first, lines = array("q", [0]), array("q"), array("q")
    parts = 2 if file.method in ("dpo", "reward") else 1
    with (work / "ids.bin").open("wb") as ids, (work / "weights.bin").open("wb") as weights:
        for line, example in file.scan():
            try:
                items = renderer.samples(example)
            except Wrong as wrong:
                file.faults.add(Fault(line.number, wrong.path, wrong.message))
                continue
            if watch is not None:
                watch(line, example)
            for item in items:
                lines.extend((line.number, line.offset))
                for sample in item:
                    ids.write(sample.ids.tobytes())
                    weights.write((sample.weights > 0).astype(np.uint8).tobytes())
                    starts.append(starts[-1] + len(sample.ids))
                    learnt = np.flatnonzero(sample.weights)
                    first.append(int(learnt[0]) if len(learnt) else -1)
    file.check(least)
    if not len(first):
        raise InvalidRequest(
            f"The {file.name} teaches nothing: every message of the assistant has weight 0.",
            code="invalid_training_file",
            param=file.param,
        )
    np.save(work / "segments.npy", np.array(starts, np.int64))
    np.save(work / "first.npy", np.array(first, np.int64))
    np.save(work / "lines.npy", np.array(lines, np.int64).reshape(-1, 2))
    about = About(
        path=os.fspath(file.path),
        method=file.method,
        num_examples=len(file),
        parts=parts,
        num_rewritten=renderer.num_rewritten - rewritten,
        notes=renderer.notes,
    )
    (work / ABOUT).write_bytes(msgspec.json.encode(about))
