"""Inputs of embedding requests: tokenised, checked, and put together into batches. Pure: no clock, device or socket.

Inputs of all requests wait in one pool. Each step computes a batch of inputs of nearly one length, whoever they belong
to, so small requests are computed together and little is spent on padding; requests take turns in saying what the next
batch is made around, so that a large one does not hold up the others.
"""

import bisect
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import ContextLengthExceeded, InvalidRequest
from mainspring.core.types import Embeddings, EmbedRequest

__all__ = ["Embedder", "Frame", "Job", "Pool", "prepare"]

MAX_CHARS_PER_TOKEN = 64
"""A text of more characters than this for each token of context is refused before it is tokenised."""


class Frame:
    """The special tokens that a model wants around every text, found by looking at one."""

    def __init__(self, plain: Sequence[int], framed: Sequence[int]) -> None:
        at = next(i for i in range(len(framed)) if list(framed[i : i + len(plain)]) == list(plain))
        self._before, self._after = list(framed[:at]), list(framed[at + len(plain) :])

    def around(self, ids: Sequence[int]) -> list[int]:
        """`ids` with them, once: a client may have put them there itself."""
        inner, before, after = list(ids), self._before, self._after
        if inner[: len(before)] != before:
            inner = before + inner
        return inner if inner[len(inner) - len(after) :] == after else inner + after


class Embedder(Protocol):
    """A loaded embedding model.

    Attributes:
        context_length: most tokens of one input, special tokens included.
        dimensions: components of a vector.
        num_tokens: size of the vocabulary.
        resizable: whether vectors may be cut: to any length, to none, or to the lengths listed.
    """

    context_length: int
    dimensions: int
    num_tokens: int
    resizable: bool | tuple[int, ...]

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, with the special tokens that the model wants around it."""
        ...

    def framed(self, ids: tuple[int, ...]) -> list[int]:
        """Token ids that a client made, with those special tokens around them unless they are there."""
        ...

    def embed(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """One vector of length 1 for each row: (rows, dimensions)."""
        ...


@dataclass(eq=False, kw_only=True)
class Job:
    """A request on its way: its inputs as tokens, when it came, the vectors that are there, and how many are missing;
    `waiting` is the pool's; one that is patient waits until no other does."""

    id: str
    rows: list[list[int]]
    deadline: float
    dimensions: int
    arrived: float = 0.0
    is_patient: bool = False
    vectors: NDArray[np.float32] = field(init=False)
    missing: int = field(init=False)
    waiting: int = 0

    def __post_init__(self) -> None:
        self.vectors = np.empty((len(self.rows), self.dimensions), np.float32)
        self.missing = len(self.rows)

    @property
    def untouched(self) -> bool:
        """Whether nothing of it is being computed yet, nor has been."""
        return self.waiting == len(self.rows)

    def put(self, row: int, vector: NDArray[np.float32]) -> None:
        """Keep a vector; one that is cut is brought back to length 1."""
        cut = vector[: self.dimensions]
        self.vectors[row] = cut if len(cut) == len(vector) else cut / max(float(np.linalg.norm(cut)), 1e-12)
        self.missing -= 1

    def result(self) -> Embeddings:
        """What the request is answered with."""
        return Embeddings(self.vectors.astype("<f4").tobytes(), self.dimensions, sum(map(len, self.rows)))


Item = tuple[int, int, Job, int]
"""An input that waits: its length, a number that makes the order total, its request, and its place there."""


def _order(item: Item) -> tuple[int, int]:
    return item[:2]


class Pool:
    """The inputs that wait, by length, and the requests that they belong to, in turn.

    Invariant: a job is in `jobs` exactly as long as an item of it waits.

    Args:
        budget: most tokens of a batch, padding included; a single longer input is a batch of its own.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._items: list[Item] = []
        self._turns: deque[Job] = deque()
        self._number = 0

    @property
    def jobs(self) -> list[Job]:
        """Requests with inputs that wait."""
        return list(self._turns)

    def add(self, job: Job) -> None:
        """Let the inputs of a request wait."""
        for row, tokens in enumerate(job.rows):
            self._number += 1
            self._items.append((len(tokens), self._number, job, row))
        self._items.sort(key=_order)
        job.waiting = len(job.rows)
        self._turns.append(job)

    def remove(self, job: Job) -> None:
        """Forget a request."""
        self._items = [item for item in self._items if item[2] is not job]
        self._turns.remove(job)

    def take(self) -> list[tuple[Job, int]]:
        """The next batch: the longest input of the request whose turn it is, and those nearest below in length."""
        turn = next((job for job in self._turns if not job.is_patient), self._turns[0])
        self._turns.remove(turn)
        self._turns.append(turn)
        last = next(at for at in range(len(self._items) - 1, -1, -1) if self._items[at][2] is turn)
        length = self._items[last][0]
        # Equal lengths cost no padding: those above count as near too.
        end = bisect.bisect_right(self._items, length, key=lambda item: item[0])
        start = max(0, end - max(1, self._budget // length))
        if start > last:
            start, end = last, last + end - start
        batch = self._items[start:end]
        del self._items[start:end]
        for _, _, job, _ in batch:
            job.waiting -= 1
            if not job.waiting:
                self._turns.remove(job)
        return [(job, row) for _, _, job, row in batch]

    def check_integrity(self) -> None:
        """Raise AssertionError unless the invariant holds."""
        assert self._items == sorted(self._items, key=_order)
        waiting = Counter(id(item[2]) for item in self._items)
        assert waiting == {id(job): job.waiting for job in self._turns}
        assert len(waiting) == len(self._turns)


def prepare(request: EmbedRequest, model: Embedder, now: float) -> Job:
    """Tokenise and check.

    Raises:
        InvalidRequest: a token that does not exist, or dimensions that the model has not.
        ContextLengthExceeded: an input is too long. It is not cut in silence: a vector of half a text looks like any
            other, and the search that it spoils tells nobody.
    """
    dimensions = _dimensions(request, model)
    rows: list[list[int]] = []
    texts = [text for text in request.inputs if isinstance(text, str)]
    for text in texts:
        if len(text) > model.context_length * MAX_CHARS_PER_TOKEN:
            _too_long(model, f"at least {len(text) // MAX_CHARS_PER_TOKEN}", request.inputs.index(text))
    # A lone surrogate, which JSON can write, is no character that a tokenizer takes.
    encoded = iter(model.tokenize([text.encode("utf-8", "replace").decode() for text in texts]))
    for at, given in enumerate(request.inputs):
        if isinstance(given, str):
            row = next(encoded)
        else:
            for token in given:
                if not 0 <= token < model.num_tokens:
                    raise InvalidRequest(
                        f"Token {token} does not exist: this model's vocabulary has {model.num_tokens} tokens. Token "
                        "arrays must come from the model's own tokenizer; send text if in doubt.",
                        param="input",
                    )
            row = model.framed(given)
        if len(row) > model.context_length:
            _too_long(model, str(len(row)), at)
        rows.append(row)
    deadline = now + request.deadline_s if request.deadline_s is not None else float("inf")
    return Job(
        id=request.id, rows=rows, deadline=deadline, dimensions=dimensions, arrived=now,
        is_patient=request.tier in ("flex", "batch"),
    )  # fmt: skip


def _dimensions(request: EmbedRequest, model: Embedder) -> int:
    wanted, able = request.dimensions, model.resizable
    if wanted is None or wanted == model.dimensions:
        return model.dimensions
    if isinstance(able, tuple) and able and wanted not in able:
        lengths = ", ".join(map(str, able))
        raise InvalidRequest(
            f"Invalid 'dimensions': vectors of {request.model} have {model.dimensions} dimensions and may be cut to "
            f"{lengths}, not to {wanted}.",
            param="dimensions",
        )
    if not able:
        raise InvalidRequest(
            f"Invalid 'dimensions': {request.model} gives vectors of {model.dimensions} dimensions, and was not "
            "trained for shorter ones (its config.json declares no Matryoshka dimensions). Leave 'dimensions' out.",
            param="dimensions",
        )
    if wanted > model.dimensions:
        raise InvalidRequest(
            f"Invalid 'dimensions': {request.model} has {model.dimensions}, which is less than {wanted}.",
            param="dimensions",
        )
    return wanted


def _too_long(model: Embedder, length: str, at: int) -> None:
    raise ContextLengthExceeded(
        f"This model's maximum context length is {model.context_length} tokens. However, input number {at} has "
        f"{length} tokens. Please split it into shorter pieces.",
        param="input",
    )
