"""A `Backend` without weights, for tests: the next token is a hash of all tokens before it.

An adapter changes the hash, so a prefix that was computed with another one shows as well.

It keeps the tokens of each slot as a real cache keeps keys and values, so a fork, trim or restore that is wrong by one
token changes what is generated; and it refuses whatever a real backend could not do.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mainspring.core.types import Adapter
from mainspring.engine.kv import Drop, Fork, Op, Restore, Save, Trim
from mainspring.engine.scheduler import Batch

__all__ = ["ToyBackend"]

END = 0
FIRST_BYTE = 2
"""Token 0 ends a text, token 1 is a control token, the other 256 are the bytes."""

Cell = int | tuple[int, str]
"""What is kept of a token: itself, and the adapter that it was computed with."""


class ToyBackend:
    """See `Backend`. Token `b + 2` is byte `b`."""

    chat_template: str | None = None
    num_tokens = 258
    bos: int | None = None
    eos = END
    bytes_per_token = 4

    def __init__(self, *, num_slots: int = 8, num_cells: int = 256, context_length: int = 128) -> None:
        self.num_slots, self.num_cells, self.context_length = num_slots, num_cells, context_length
        self.slots: dict[int, list[Cell]] = {}
        self.saved: dict[int, list[Cell]] = {}
        self.adapters: set[str] = set()
        self.used: list[str | None] = []
        self.num_decoded = 0

    @property
    def special_ids(self) -> list[int]:
        """See `Backend`."""
        return [0, 1]

    def is_end(self, token: int) -> bool:
        """See `Backend`."""
        return token == END

    def piece(self, token: int) -> bytes:
        """See `Backend`."""
        return bytes([token - FIRST_BYTE]) if token >= FIRST_BYTE else (b"<end>", b"<mark>")[token]

    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]:
        """See `Backend`."""
        if special and b"<mark>" in text:
            before, _, after = text.partition(b"<mark>")
            return [*self.tokenize(before), 1, *self.tokenize(after, special=True)]
        return [byte + FIRST_BYTE for byte in text]

    def decode(self, batch: Batch) -> NDArray[np.float32]:
        """See `Backend`; also checks that every token comes right after those in its slot."""
        for op in batch.ops:
            self._apply(op)
        assert batch.adapter is None or batch.adapter in self.adapters, "an adapter that is not loaded"
        self.used.append(batch.adapter)
        rows: list[NDArray[np.float32]] = []
        for work in batch.work:
            slot = self.slots.setdefault(work.slot, [])
            assert len(slot) == work.start, (
                f"slot {work.slot} holds {len(slot)} tokens, the step begins at {work.start}"
            )
            assert work.sequence.adapter == batch.adapter, "a sequence computed with another adapter"
            for at, token in enumerate(work.tokens):
                slot.append((token, batch.adapter) if batch.adapter else token)
                if at >= work.count - work.num_rows:
                    rows.append(self.logits(slot))
            self.num_decoded += work.count
        return np.array(rows, np.float32).reshape(len(rows), self.num_tokens)

    def load_adapter(self, adapter: Adapter) -> None:
        """See `Adapts`."""
        self.adapters.add(adapter.id)

    def drop_adapters(self, keep: set[str]) -> None:
        """See `Adapts`."""
        self.adapters &= keep

    def logits(self, tokens: Sequence[Cell]) -> NDArray[np.float32]:
        """The row after `tokens`: a letter or, one time in fifty, the end."""
        digest = hashlib.sha256(repr(list(tokens)).encode()).digest()
        row: NDArray[np.float32] = np.frombuffer((digest * 9)[: self.num_tokens], np.uint8).astype(np.float32)
        row /= 64
        best = END if digest[0] < 5 else FIRST_BYTE + 97 + digest[1] % 26
        row[best] += 10
        return row

    def _apply(self, op: Op) -> None:
        match op:
            case Fork(src, dst, upto):
                assert not self.slots.get(dst), "a fork into a slot that is not empty"
                assert len(self.slots[src]) >= upto, "a fork of more than there is"
                self.slots[dst] = self.slots[src][:upto]
            case Trim(slot, upto):
                del self.slots.setdefault(slot, [])[upto:]
            case Save(slot, handle):
                self.saved[handle] = list(self.slots[slot])
            case Restore(handle, slot):
                assert not self.slots.get(slot), "a restore into a slot that is not empty"
                self.slots[slot] = list(self.saved[handle])
            case Drop(handle):
                del self.saved[handle]

    def close(self) -> None:
        """See `Backend`."""
