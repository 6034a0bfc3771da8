"""How much memory a replica will take, from its model's files and the settings, before it is loaded.

An estimate: it decides whether there is room. Once a replica runs, what it really takes is measured.
"""

from collections.abc import Sequence
from pathlib import Path

from mainspring.core.config import EngineSettings
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ModelVersion
from mainspring.models.gguf import Header, read_header

__all__ = ["footprint"]

PROCESS_BYTES = 128 * 2**20
"""The interpreter, the library and its buffers. Measured: 80 to 105 MiB beside weights and KV cache."""
VLLM_BYTES = 3 * 2**30
"""The processes of vLLM without a GPU. Measured: 2.6 GiB beside weights and KV cache."""
VLLM_KV_BYTES = 2 * 2**30
"""vLLM's KV cache without a GPU, unless the settings say how large it is."""
KV_BYTES = 2
"""Of a number in the KV cache (16 bits)."""


def footprint(version: ModelVersion, files: Sequence[Path], settings: EngineSettings) -> int:
    """Bytes of a replica that serves `files` of a version, the main one first. What vLLM takes of a GPU is not counted:
    `engine.vllm.memory_fraction` decides that."""
    if version.format == "safetensors" and version.kind != "embedding":
        return VLLM_BYTES + sum(path.stat().st_size for path in files) + (settings.vllm.kv_bytes or VLLM_KV_BYTES)
    draft = [settings.draft_model] if settings.draft_model and settings.speculation == "auto" else []
    return PROCESS_BYTES + _model(files, settings) + (_model(draft, settings) if draft else 0)


def _model(files: Sequence[Path], settings: EngineSettings) -> int:
    try:
        weights = sum(path.stat().st_size for path in files)
        header = read_header(files[0]) if files[0].suffix == ".gguf" else None
    except (OSError, InvalidRequest):  # the replica will say what is wrong with it
        return 0
    if header is None or (header.of_architecture("pooling_type") or 0) > 0:
        return 2 * weights  # embeddings: no cache of any size, buffers that grow with the batch
    return weights + _num_cells(header, settings) * _bytes_per_token(header)


def _num_cells(header: Header, settings: EngineSettings) -> int:
    if settings.kv == "unified":
        return settings.kv_tokens
    return settings.max_running * (settings.context_tokens or header.of_architecture("context_length") or 4096)


def _bytes_per_token(header: Header) -> int:
    """Keys and values of all layers. Models whose layers differ (their counts are arrays) are taken for full ones."""
    heads = header.of_architecture("attention.head_count") or 1
    kv_heads = header.of_architecture("attention.head_count_kv") or heads
    width = (header.of_architecture("embedding_length") or 0) // heads
    keys = header.of_architecture("attention.key_length") or width
    values = header.of_architecture("attention.value_length") or width
    return (header.of_architecture("block_count") or 0) * kv_heads * (keys + values) * KV_BYTES
