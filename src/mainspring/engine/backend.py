"""The small protocol under the scheduler: what computes.

A backend owns the weights, the vocabulary and the memory of the KV cache; which tokens are in it is `kv.py`'s business.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mainspring.core.types import Adapter
from mainspring.engine.scheduler import Batch

__all__ = ["Adapts", "Backend", "FillsIn", "InfillTokens"]


class Backend(Protocol):
    """One model on one machine. Not thread-safe, except `tokenize` and `piece`."""

    @property
    def context_length(self) -> int:
        """Most tokens of one sequence."""
        ...

    @property
    def num_cells(self) -> int:
        """Tokens that the KV cache holds."""
        ...

    @property
    def num_slots(self) -> int:
        """Sequences that the KV cache tells apart."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """What a token weighs in the KV cache."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The Jinja template inside the model file."""
        ...

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary."""
        ...

    @property
    def bos(self) -> int | None:
        """The token that begins a text, if the model wants one."""
        ...

    @property
    def eos(self) -> int:
        """The token that ends a text."""
        ...

    @property
    def special_ids(self) -> Sequence[int]:
        """Control tokens: never written as text."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether generation stops at this token."""
        ...

    def piece(self, token: int) -> bytes:
        """A token's bytes; a control token's are its name."""
        ...

    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]:
        """UTF-8 text as tokens; with `special`, names of control tokens become those tokens."""
        ...

    def decode(self, batch: Batch) -> NDArray[np.float32]:
        """Run the cache operations, then the tokens. Logits: (sum of num_rows, vocabulary), in the order of
        `batch.work`, valid until the next call."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class InfillTokens(NamedTuple):
    """Control tokens of a model that was trained to fill in: before what precedes the gap, before what follows it,
    where the model writes; and, if it knows several files, before their repository and before each."""

    prefix: int
    suffix: int
    middle: int
    repository: int | None = None
    file: int | None = None


@runtime_checkable
class FillsIn(Protocol):
    """A backend that may know a model which fills in."""

    @property
    def infill(self) -> InfillTokens | None:
        """Its tokens; None if the model has none."""
        ...


@runtime_checkable
class Adapts(Protocol):
    """A backend that can compute with LoRA adapters. A batch names one that was loaded."""

    def load_adapter(self, adapter: Adapter) -> None:
        """Load it unless it is loaded, from any thread but one at a time; raises `EngineUnavailable`."""
        ...

    def drop_adapters(self, keep: set[str]) -> None:
        """Free those used least recently until few enough are left, none of `keep`. Between two steps only."""
        ...
