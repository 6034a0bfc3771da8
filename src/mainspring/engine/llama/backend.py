"""llama.cpp as a `Backend`: one model, one context, one unified KV cache.

Unified, because a fork is then only a note that cells are shared, and capacity is one pool. Split KV decodes 16
distinct streams 8 % faster, but copies on every fork and reserves a full context for each slot (docs/ARCHITECTURE.md
has the measurements). Flash attention on: prefill is 25 % faster, and masked cells are skipped.
"""

import ctypes as c
import os
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from mainspring.core.config import EngineSettings
from mainspring.core.errors import EngineUnavailable
from mainspring.core.types import Adapter
from mainspring.engine.kv import Drop, Fork, Op, Restore, Save, Trim
from mainspring.engine.llama import binding
from mainspring.engine.llama.adapters import Adapters
from mainspring.engine.llama.vocabulary import LlamaVocabulary
from mainspring.engine.scheduler import Batch
from mainspring.engine.sequence import MAX_DECODE_TOKENS

__all__ = ["LlamaBackend"]

MAX_OUTPUTS = 64
"""Rows of logits in one step: bounds the output buffer (a row of 49,152 is 192 KiB)."""
NUM_IDLE_SLOTS = 32
"""Slots beyond the running ones, for finished sequences that are kept."""


class LlamaBackend(LlamaVocabulary):
    """Loads `path` (GGUF) and computes. See `Backend`."""

    def __init__(self, path: Path, settings: EngineSettings) -> None:
        lib = binding.load(settings.library)
        super().__init__(lib, path)
        if lib.model_is_recurrent(self._model) or lib.model_is_hybrid(self._model):
            raise EngineUnavailable("Recurrent and hybrid models are not supported yet: their state cannot be forked.")
        trained: int = lib.model_n_ctx_train(self._model)
        self._split = settings.kv == "split"
        self.context_length = settings.context_tokens or trained
        if self._split:
            self.num_slots = settings.max_running
            self.num_cells = self.num_slots * self.context_length
        else:
            self.num_slots = min(settings.max_running + NUM_IDLE_SLOTS, 256)
            self.num_cells = settings.kv_tokens
            self.context_length = min(self.context_length, self.num_cells)
        self._max_batch = max(settings.prefill_tokens, settings.mixed_tokens) + settings.max_running * MAX_DECODE_TOKENS
        self._max_batch += MAX_OUTPUTS  # drafts
        self._context = lib.init_from_model(self._model, self._context_params(settings))
        if not self._context:
            raise EngineUnavailable(
                f"A KV cache of {self.num_cells} tokens does not fit in memory: lower engine.kv_tokens, or with "
                "engine.kv = 'split' engine.max_running or engine.context_tokens."
            )
        self._memory = lib.get_memory(self._context)
        self._adapters = Adapters(lib, self._model, self._context, settings.max_adapters)
        self._saved: dict[int, NDArray[np.uint8]] = {}
        self._allocate_batch(self._max_batch)
        self.bytes_per_token = self._measure_token()

    def _context_params(self, settings: EngineSettings) -> binding.ContextParams:
        params: binding.ContextParams = self._lib.context_default_params()
        params.n_ctx = self.num_cells
        params.n_batch = self._max_batch
        params.n_ubatch = 512
        params.n_seq_max = self.num_slots
        params.n_outputs_max = max(MAX_OUTPUTS, self.num_slots)  # the library aborts if it is fewer than sequences
        params.n_threads = params.n_threads_batch = settings.threads or physical_cores()
        params.flash_attn_type = binding.FLASH_ON if settings.flash_attention else binding.FLASH_OFF
        params.kv_unified = not self._split
        return params

    def _allocate_batch(self, size: int) -> None:
        """Arrays that `llama_batch` points at; refilled in place at each step."""
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._slots = np.zeros(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        self._ones = np.ones(size, np.int32)
        # seq_id is an array of pointers, each to this token's only sequence id.
        self._slot_pointers = self._slots.ctypes.data + 4 * np.arange(size, dtype=np.uint64)

    def _measure_token(self) -> int:
        """Bytes that one token takes in the KV cache: the size of a saved sequence of one token and of two."""
        sizes: list[int] = []
        for position in (0, 1):
            self._fill(0, [self.eos], position, 0, 0)
            self._run(1)
            sizes.append(self._lib.state_seq_get_size(self._context, 0))
        self._lib.memory_seq_rm(self._memory, 0, -1, -1)
        return sizes[1] - sizes[0]

    # -- adapters ------------------------------------------------------------------------------------------------------

    def load_adapter(self, adapter: Adapter) -> None:
        """See `Adapts`."""
        self._adapters.load(adapter)

    def drop_adapters(self, keep: set[str]) -> None:
        """See `Adapts`."""
        self._adapters.drop(keep)

    # -- computing -----------------------------------------------------------------------------------------------------

    def decode(self, batch: Batch) -> NDArray[np.float32]:
        """See `Backend`."""
        for op in batch.ops:
            self._apply(op)
        self._adapters.use(batch.adapter)
        at = num_rows = 0
        for work in batch.work:
            self._fill(at, work.tokens, work.start, work.slot, work.num_rows)
            at += work.count
            num_rows += work.num_rows
        if at:
            self._run(at)
        if not num_rows:
            return np.empty((0, self.num_tokens), np.float32)
        pointer = c.cast(self._lib.get_logits(self._context), c.POINTER(c.c_float))
        return np.ctypeslib.as_array(pointer, (num_rows, self.num_tokens))

    def _fill(self, at: int, tokens: list[int], start: int, slot: int, num_rows: int) -> None:
        end = at + len(tokens)
        self._tokens[at:end] = tokens
        self._positions[at:end] = range(start, start + len(tokens))
        self._slots[at:end] = slot
        self._outputs[at:end] = 0
        self._outputs[end - num_rows : end] = 1

    def _run(self, count: int) -> None:
        batch = binding.Batch(
            count,
            self._tokens.ctypes.data,
            None,
            self._positions.ctypes.data,
            self._ones.ctypes.data,
            self._slot_pointers.ctypes.data,
            self._outputs.ctypes.data,
        )
        status: int = self._lib.decode(self._context, batch)
        if status != 0:
            # Bookkeeping and cache no longer agree: the process ends and is replaced.
            raise RuntimeError(f"llama_decode returned {status} for {count} tokens")

    def _apply(self, op: Op) -> None:
        lib, memory = self._lib, self._memory
        match op:
            case Fork(src, dst, upto) if self._split:
                # Not `seq_cp`, which copies a slot's whole buffer, and only at the next decode.
                self._write(dst, self._read(src))
                lib.memory_seq_rm(memory, dst, upto, -1)
            case Fork(src, dst, upto):
                lib.memory_seq_cp(memory, src, dst, 0, upto)
            case Trim(slot, upto):
                lib.memory_seq_rm(memory, slot, upto, -1)
            case Save(slot, handle):
                self._saved[handle] = self._read(slot)
            case Restore(handle, slot):
                self._write(slot, self._saved[handle])
            case Drop(handle):
                del self._saved[handle]

    def _read(self, slot: int) -> NDArray[np.uint8]:
        """A copy of a slot's keys and values."""
        blob = np.empty(self._lib.state_seq_get_size(self._context, slot), np.uint8)
        self._lib.state_seq_get_data(self._context, blob.ctypes.data, blob.size, slot)
        return blob

    def _write(self, slot: int, blob: NDArray[np.uint8]) -> None:
        if not self._lib.state_seq_set_data(self._context, blob.ctypes.data, blob.size, slot):
            raise RuntimeError("a saved sequence could not be restored")

    def clear(self) -> None:
        """Forget every sequence: what is computed next depends on nothing that was computed before. Whoever keeps the
        books of the cache begins new ones."""
        self._saved.clear()
        self._lib.memory_clear(self._memory, True)

    def close(self) -> None:
        """See `Backend`."""
        self._saved.clear()
        self._lib.free(self._context)
        self._adapters.close()
        self._lib.model_free(self._model)


def physical_cores() -> int:
    """Cores worth a compute thread: physical ones, no more than this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))
