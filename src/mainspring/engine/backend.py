"""The small protocol under the scheduler: what computes.

A backend owns the weights, the vocabulary and the memory of the KV cache; which tokens are in it is `kv.py`'s business.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mainspring.engine.scheduler import Batch
from mainspring.engine.vocabulary import Vocabulary

__all__ = ["Backend"]


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
