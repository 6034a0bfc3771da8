"""Embedding models in GGUF on llama.cpp: each input is a sequence, pooled as the file says."""

import ctypes as c
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainspring.core.config import EngineSettings
from mainspring.core.errors import EngineUnavailable
from mainspring.engine.llama import binding
from mainspring.engine.llama.backend import physical_cores
from mainspring.engine.pool import Frame

__all__ = ["LlamaEmbedder"]

POOLING_OF_FILE, POOLING_NONE, POOLING_MEAN, POOLING_RANK = -1, 0, 1, 4
MAX_SEQUENCES = 64


class LlamaEmbedder:
    """See `pool.Embedder`.

    Args:
        pooling: one of llama.cpp's pooling types instead of the file's own.

    Raises:
        EngineUnavailable: the file is no embedding model, or does not fit in memory.
    """

    resizable: bool | tuple[int, ...] = (
        False  # GGUF has no field that says whether a model was trained for shorter vectors
    )

    def __init__(self, path: Path, settings: EngineSettings, pooling: int = POOLING_OF_FILE) -> None:
        lib = self._lib = binding.load(settings.library)
        self._model = lib.model_load_from_file(os.fsencode(path), lib.model_default_params())
        if not self._model:
            raise EngineUnavailable(f"{path.name} is not a model that this build of llama.cpp can load.")
        self._vocab = lib.model_get_vocab(self._model)
        self.num_tokens: int = lib.vocab_n_tokens(self._vocab)
        self.dimensions: int = lib.model_n_embd_out(self._model)
        trained: int = lib.model_n_ctx_train(self._model)
        self.context_length = min(settings.context_tokens or trained, trained)
        # Attention that looks both ways sees a whole input at once, so the longest one must fit in a batch.
        self._size = max(self.context_length, settings.prefill_tokens)
        params: binding.ContextParams = lib.context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self._size
        params.n_seq_max = MAX_SEQUENCES
        params.n_threads = params.n_threads_batch = settings.threads or physical_cores()
        params.pooling_type = pooling
        params.embeddings = True
        params.kv_unified = True
        self._context = lib.init_from_model(self._model, params)
        if not self._context:
            raise EngineUnavailable(
                f"A context of {self._size} tokens does not fit in memory: lower engine.context_tokens."
            )
        if lib.pooling_type(self._context) in (POOLING_NONE, POOLING_RANK):
            raise EngineUnavailable(f"{path.name} is not an embedding model: the file names no way of pooling.")
        self._memory = lib.get_memory(self._context)
        self._frame = Frame(self._encode("a", special=False), self._encode("a"))

    def _encode(self, text: str, *, special: bool = True) -> list[int]:
        raw = text.encode()
        buffer = (c.c_int32 * (len(raw) + 8))()
        count: int = self._lib.tokenize(self._vocab, raw, len(raw), buffer, len(buffer), special, False)
        if count < 0:
            buffer = (c.c_int32 * -count)()
            count = self._lib.tokenize(self._vocab, raw, len(raw), buffer, -count, special, False)
        return buffer[:count]

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """See `Embedder`."""
        return [self._encode(text) for text in texts]

    def framed(self, ids: tuple[int, ...]) -> list[int]:
        """See `Embedder`."""
        return self._frame.around(ids)

    def embed(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """See `Embedder`."""
        vectors = np.empty((len(rows), self.dimensions), np.float32)
        start = 0
        while start < len(rows):
            end, size = start, 0
            while end < len(rows) and end - start < MAX_SEQUENCES and size + len(rows[end]) <= self._size:
                size += len(rows[end])
                end += 1
            self._decode(rows[start:end], vectors[start:end])
            start = end
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _decode(self, rows: list[list[int]], out: NDArray[np.float32]) -> None:
        lengths = [len(row) for row in rows]
        tokens = np.concatenate(rows).astype(np.int32)
        positions = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
        sequences = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
        pointers = sequences.ctypes.data + 4 * np.arange(len(tokens), dtype=np.uint64)
        ones, outputs = np.ones(len(tokens), np.int32), np.ones(len(tokens), np.int8)
        if self._memory:  # encoders have none
            self._lib.memory_clear(self._memory, True)
        batch = binding.Batch(
            len(tokens),
            tokens.ctypes.data,
            None,
            positions.ctypes.data,
            ones.ctypes.data,
            pointers.ctypes.data,
            outputs.ctypes.data,
        )
        status: int = self._lib.decode(self._context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status} for {len(tokens)} tokens")
        for at, row in enumerate(out):
            pointer = c.cast(self._lib.get_embeddings_seq(self._context, at), c.POINTER(c.c_float))
            row[:] = np.ctypeslib.as_array(pointer, (self.dimensions,))
