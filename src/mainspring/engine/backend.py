"""The small protocol under the scheduler: what computes.

A backend owns the weights, the vocabulary and the memory of the KV cache; which tokens are in it is `kv.py`'s business.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mainspring.core.types import Adapter
from mainspring.engine.scheduler import Batch
from mainspring.engine.vocabulary import Vocabulary

__all__ = ["Adapts", "Backend"]


class Backend(Vocabulary, Protocol):
    """One model on one machine. Not thread-safe, except `tokenize` and `piece`."""

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

    def decode(self, batch: Batch) -> NDArray[np.float32]:
        """Run the cache operations, then the tokens. Logits: (sum of num_rows, vocabulary), in the order of
        `batch.work`, valid until the next call."""
        ...

    def close(self) -> None:
        """Free everything."""
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
