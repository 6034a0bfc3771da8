"""Who owns which part of the KV cache: slots, cells, cached prefixes, and what to evict.

Pure bookkeeping over integers. It never touches the cache itself: what the backend has to do (fork, trim, save,
restore, drop) is appended to `ops`, and the loop runs those in order before the next decode.

- A *slot* is a sequence id of the backend. It is free, running (owned by a sequence) or idle (a finished sequence kept
  because its prefix may be asked for again).
- A *cell* holds the keys and values of one token. A fork shares cells; a cell is free when its last slot lets go.
- Idle slots slow every decode step, because attention scans all cells in use (measured: 8,000 idle tokens cost one
  stream 35 %). So only `hot_tokens` of them stay; older ones are saved to memory, from where they come back in
  milliseconds.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainspring.engine.prefix import PrefixTree

__all__ = ["Drop", "Fork", "KvCache", "KvConfig", "Op", "Restore", "Save", "Trim"]

MIN_KEEP_TOKENS = 16
"""Shorter remains of a sequence are not worth a slot."""
MIN_SAVE_TOKENS = 64
"""Fewer tokens of its own than this, and an evicted slot is dropped rather than saved."""


@dataclass(frozen=True, slots=True)
class Fork:
    """`dst` becomes the first `upto` tokens of `src`."""

    src: int
    dst: int
    upto: int


@dataclass(frozen=True, slots=True)
class Trim:
    """Keep the first `upto` tokens of `slot`."""

    slot: int
    upto: int


@dataclass(frozen=True, slots=True)
class Save:
    """Copy `slot` to memory under `handle`."""

    slot: int
    handle: int


@dataclass(frozen=True, slots=True)
class Restore:
    """Copy `handle` back into the empty `slot`."""

    handle: int
    slot: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the copy `handle`."""

    handle: int


Op = Fork | Trim | Save | Restore | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class KvConfig:
    """Sizes. `bytes_per_token` is what a saved token weighs; 0 saved bytes turns saving off."""

    num_slots: int
    num_cells: int
    hot_tokens: int = 256
    save_bytes: int = 0
    bytes_per_token: int = 1


class KvCache:
    """Owner of all slots and cells. Invariants are in `check_integrity`."""

    def __init__(self, config: KvConfig) -> None:
        self._config = config
        self.ops: list[Op] = []
        self._tree = PrefixTree()
        self._free_slots = list(range(config.num_slots - 1, -1, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._saved: OrderedDict[int, int] = OrderedDict()  # handle -> tokens, least recently used first
        self._next_handle = config.num_slots  # handles and slots are both holders in the tree: never the same number
        self._computed: dict[int, int] = {}  # holder -> tokens that are really in the cache
        self._cells: dict[int, list[int]] = {}  # slot -> its cells, in order
        self._free_cells = list(range(config.num_cells - 1, -1, -1))
        self._refs: NDArray[np.int32] = np.zeros(config.num_cells, np.int32)

    @property
    def num_used(self) -> int:
        """Cells in use."""
        return self._config.num_cells - len(self._free_cells)

    @property
    def num_free(self) -> int:
        """Cells that nobody uses."""
        return len(self._free_cells)

    # -- finding -------------------------------------------------------------------------------------------------------

    def match(self, tokens: Sequence[int], space: str | None = None) -> tuple[int, int | None, int, int | None]:
        """What of `tokens` is cached in `space` (see `PrefixTree`): (ready tokens, their holder, tokens that a running
        sequence is still computing beyond those, that sequence's slot). At least one token is always left to compute:
        logits come from it."""
        most = len(tokens) - 1
        ready, holder, pending, owner = 0, None, 0, None
        for depth, holders in self._tree.match(tokens, space):
            for name in holders:
                upto = min(depth, self._computed[name], most)
                if upto > ready or (upto == ready and upto and self._prefer(name, holder)):
                    ready, holder = upto, name
                if self._is_running(name) and min(depth, most) > max(pending, upto):
                    pending, owner = min(depth, most), name
        return (ready, holder, pending, owner) if pending > ready else (ready, holder, 0, None)

    def _prefer(self, name: int, holder: int | None) -> bool:
        """Slots before saved copies; among slots one that ends here, since it can be taken over without a fork."""
        if holder is None or name >= self._config.num_slots:
            return False
        if holder >= self._config.num_slots:
            return True
        return name in self._idle and self._tree.length(name) < self._tree.length(holder)

    def computed(self, slot: int) -> int:
        """Tokens of `slot` that are in the cache; 0 for a slot that is free."""
        return self._computed.get(slot, 0)

    def planned(self, slot: int) -> int:
        """Tokens that `slot` has cells for."""
        return self._tree.length(slot)

    def running_slots(self) -> set[int]:
        """Slots that a sequence owns."""
        return set(self._cells) - set(self._idle)

    def _is_running(self, name: int) -> bool:
        return name < self._config.num_slots and name not in self._idle

    # -- taking and growing --------------------------------------------------------------------------------------------

    def acquire(self, tokens: Sequence[int], space: str | None = None, *, reuse: bool = True) -> tuple[int, int] | None:
        """A running slot whose planned content is `tokens`: (slot, how many are cached already), or None when slots or
        cells do not suffice now. Cells for all of `tokens` are taken at once, so a prefill never runs out."""
        ready, holder = self.match(tokens, space)[:2] if reuse else (0, None)
        if holder is not None and holder in self._idle and self._tree.length(holder) == ready:
            return self._take_over(holder, tokens, ready)
        saved = self._saved.get(holder, 0) if holder is not None else 0
        needed = max(len(tokens), saved) if saved else len(tokens) - ready
        if not self._make_room(needed, keep=holder) or not self._free_a_slot(holder):
            return self._take_over(holder, tokens, ready) if holder is not None and holder in self._idle else None
        slot = self._free_slots.pop()
        self._cells[slot] = []
        if holder is not None and saved:
            self._restore(holder, slot, ready)
        elif holder is not None:
            self._fork(holder, slot, ready)
        self._tree.insert(slot, tokens, space)
        self._computed[slot] = ready
        self._take_cells(slot, len(tokens) - len(self._cells[slot]))
        return slot, ready

    def _take_over(self, slot: int, tokens: Sequence[int], ready: int) -> tuple[int, int] | None:
        """An idle slot continues in place, losing what it holds beyond `ready`."""
        if self._tree.length(slot) > ready:
            self.shorten(slot, ready)
        if not self._make_room(len(tokens) - ready, keep=slot):
            return None
        del self._idle[slot]
        self._tree.extend(slot, tokens[ready:])
        self._take_cells(slot, len(tokens) - ready)
        return slot, ready

    def _fork(self, src: int, dst: int, upto: int) -> None:
        self.ops.append(Fork(src, dst, upto))
        shared = self._cells[src][:upto]
        self._refs[shared] += 1
        self._cells[dst] = shared
        if src in self._idle:
            self._idle.move_to_end(src)

    def _restore(self, handle: int, slot: int, upto: int) -> None:
        self.ops.append(Restore(handle, slot))
        if upto < self._saved[handle]:
            self.ops.append(Trim(slot, upto))
            self._saved.move_to_end(handle)
        else:
            self._drop(handle)  # the slot will be saved again, longer

    def grow(self, slot: int, tokens: Sequence[int]) -> bool:
        """Append tokens to a running slot's plan; False (and nothing changed) when there is no cell for them."""
        if not self._make_room(len(tokens), keep=slot):
            return False
        self._tree.extend(slot, tokens)
        self._take_cells(slot, len(tokens))
        return True

    def advance(self, slot: int, num_tokens: int) -> None:
        """`num_tokens` more of the slot's plan are now in the cache."""
        self._computed[slot] += num_tokens
        assert self._computed[slot] <= self._tree.length(slot), "computed more than was planned"

    def shorten(self, slot: int, length: int) -> None:
        """Take back what a slot holds beyond `length` tokens."""
        self.ops.append(Trim(slot, length))
        self._tree.truncate(slot, length)
        self._let_cells_go(slot, length)
        self._computed[slot] = length

    def _take_cells(self, slot: int, count: int) -> None:
        if count <= 0:
            return
        taken = self._free_cells[-count:]
        del self._free_cells[-count:]
        self._refs[taken] = 1
        self._cells[slot].extend(taken)

    def _let_cells_go(self, slot: int, upto: int) -> None:
        gone = self._cells[slot][upto:]
        del self._cells[slot][upto:]
        self._refs[gone] -= 1
        self._free_cells.extend(cell for cell in gone if self._refs[cell] == 0)

    # -- letting go ----------------------------------------------------------------------------------------------------

    def release(self, slot: int) -> None:
        """A running slot's sequence is over: keep what was computed as an idle prefix if it is worth it."""
        computed = self._computed[slot]
        self._tree.truncate(slot, computed)
        self._let_cells_go(slot, computed)
        self._idle[slot] = None
        if computed < MIN_KEEP_TOKENS or self._own_tokens(slot) == 0:
            self._forget(slot)

    def cool(self) -> None:
        """Move the oldest idle slots out until `hot_tokens` are left. Called when others compute: while nobody does,
        idle slots cost nothing, and the next turn of a conversation finds its slot in place."""
        while self._idle and self._num_idle_cells() > self._config.hot_tokens:
            self._evict(next(iter(self._idle)))

    def _own_tokens(self, slot: int) -> int:
        """Cells that no other slot shares."""
        return int(np.count_nonzero(self._refs[self._cells[slot]] == 1))

    def _num_idle_cells(self) -> int:
        """Cells that no running slot uses."""
        if self.num_used <= self._config.hot_tokens:
            return 0  # cannot be over the limit: spare the count
        running = np.zeros(self._config.num_cells, np.bool_)
        for slot, cells in self._cells.items():
            if slot not in self._idle:
                running[cells] = True
        return self.num_used - int(running.sum())

    def _make_room(self, num_cells: int, keep: int | None) -> bool:
        """Evict idle slots, oldest first, until so many cells are free."""
        while len(self._free_cells) < num_cells:
            victim = next((slot for slot in self._idle if slot != keep), None)
            if victim is None:
                return False
            self._evict(victim)
        return True

    def _free_a_slot(self, keep: int | None) -> bool:
        if not self._free_slots:
            victim = next((slot for slot in self._idle if slot != keep), None)
            if victim is None:
                return False
            self._evict(victim)
        return True

    def _evict(self, slot: int) -> None:
        tokens = self._computed[slot]
        size = tokens * self._config.bytes_per_token
        if self._own_tokens(slot) >= MIN_SAVE_TOKENS and size <= self._config.save_bytes:
            handle, self._next_handle = self._next_handle, self._next_handle + 1
            self.ops.append(Save(slot, handle))
            self._tree.insert(handle, self._tree.path(slot), self._tree.space(slot))
            self._computed[handle] = self._saved[handle] = tokens
            while sum(self._saved.values()) * self._config.bytes_per_token > self._config.save_bytes:
                self._drop(next(iter(self._saved)))
        self._forget(slot)

    def _forget(self, slot: int) -> None:
        del self._idle[slot]
        self.ops.append(Trim(slot, 0))
        self._let_cells_go(slot, 0)
        self._tree.remove(slot)
        del self._computed[slot], self._cells[slot]
        self._free_slots.append(slot)

    def _drop(self, handle: int) -> None:
        self.ops.append(Drop(handle))
        del self._saved[handle], self._computed[handle]
        self._tree.remove(handle)

    def check_integrity(self) -> None:
        """Raise AssertionError unless every invariant holds. For tests."""
        self._tree.check_integrity()
        slots = set(self._cells)
        assert slots.isdisjoint(self._free_slots), "a slot both free and used"
        assert slots | set(self._free_slots) == set(range(self._config.num_slots)), "a slot lost"
        assert set(self._idle) <= slots, "an idle slot without cells"
        assert set(self._computed) == slots | set(self._saved), "computed tokens of nobody"
        refs = np.zeros_like(self._refs)
        for slot, cells in self._cells.items():
            assert len(cells) == self._tree.length(slot), "a slot's cells differ from its tokens"
            assert self._computed[slot] <= len(cells), "more computed than there are cells"
            assert slot not in self._idle or self._computed[slot] == len(cells), "an idle slot with a plan"
            refs[cells] += 1
        assert (refs == self._refs).all(), "reference counts differ from the slots' cells"
        assert set(np.flatnonzero(refs == 0).tolist()) == set(self._free_cells), "free cells differ from counts"
        assert len(self._free_cells) == len(set(self._free_cells)), "a cell free twice"
        saved_bytes = sum(self._saved.values()) * self._config.bytes_per_token
        assert saved_bytes <= max(self._config.save_bytes, 0), "more saved than allowed"
