"""A LoRA adapter of random matrices for any GGUF model: enough to see that it is used, and when."""

from pathlib import Path

import numpy as np

from mainspring.models import gguf
from mainspring.models.gguf import Tensor


def write_adapter(path: Path, model: Path, seed: int, *, rank: int = 8, strength: float = 0.1) -> Path:
    """All projections of all layers of `model`; `strength` is the standard deviation of B's components."""
    rng = np.random.default_rng(seed)
    layout = gguf.read_layout(model)
    tensors: list[Tensor] = []
    weights: list[bytes] = []
    for tensor in layout.tensors:
        if len(tensor.shape) == 2 and tensor.name.startswith("blk."):
            columns, rows = tensor.shape
            a = rng.normal(0, 1 / np.sqrt(columns), (rank, columns))
            b = rng.normal(0, strength, (rows, rank))
            for half, values in (("a", a), ("b", b)):
                tensors.append(Tensor(name=f"{tensor.name}.lora_{half}", shape=values.shape[::-1], kind=0))
                weights.append(values.astype(np.float32).tobytes())
    metadata = {
        "general.architecture": layout.metadata["general.architecture"],
        "general.type": gguf.text("general.type", "adapter"),
        "adapter.type": gguf.text("adapter.type", "lora"),
        "adapter.lora.alpha": gguf.f32("adapter.lora.alpha", float(rank)),
    }
    with path.open("wb") as file:
        gguf.write(file, metadata, tensors, weights)
    return path
