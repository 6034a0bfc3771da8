"""Whole weights in GGUF: a base's metadata and vocabulary with other values in its tensors."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.engine.llama.quantise import Quantiser
from mainspring.models import gguf
from mainspring.models.architectures import Described
from mainspring.models.gguf import TYPES, Tensor, num_bytes
from mainspring.models.sources import Progress, check_space, sync
from mainspring.train.weights import as_float, quantiser

__all__ = ["Storage", "write_gguf"]

Storage = Literal["f32", "f16", "bf16", "q8_0"]
F32, F16, Q8_0, BF16 = 0, 1, 8, 30
KINDS: Mapping[Storage, tuple[int, int]] = {"f32": (F32, 0), "f16": (F16, 1), "bf16": (BF16, 32), "q8_0": (Q8_0, 7)}
"""The type of matrices, and llama.cpp's number for a file that is mostly so."""
LARGEST_F16 = 65504.0

Floats = NDArray[np.float32]
Values = Callable[[str, Callable[[], Floats]], Floats]
"""From a weight's name in transformers, and what gives the base's values of it, to the values that are written."""


def write_gguf(model: Described, target: Path, storage: Storage, values: Values, progress: Progress) -> None:
    """Write a model like `model` with other weights.

    Args:
        storage: of matrices; everything else is kept in 32 bits.
        values: in transformers' order, as `architectures` has it.

    Raises:
        UserMistake: the disk has not the room.
        InvalidRequest: weights are not finite, or too large for 16 bits.
    """
    library = quantiser()
    names = {tensor.name: name for name, (_, tensor) in model.tensors.items()}
    paths = {tensor.name: path for path, tensor in model.tensors.values()}
    kind, file_type = KINDS[storage]
    kept = [tensor for layout in model.layouts for tensor in layout.tensors if tensor.name in names]
    planned = [msgspec.structs.replace(tensor, kind=_kind(tensor, kind)) for tensor in kept]
    metadata = {key: entry for key, entry in model.layouts[0].metadata.items() if not key.startswith("split.")}
    metadata["general.file_type"] = gguf.u32("general.file_type", file_type)
    metadata["general.quantization_version"] = gguf.u32("general.quantization_version", 2)
    total = sum(num_bytes(tensor) for tensor in planned)
    check_space(target.parent, total)

    def encoded() -> Iterator[memoryview]:
        done = 0
        for old, new in zip(kept, planned, strict=True):
            name = names[old.name]

            def before(old: Tensor = old) -> Floats:
                return model.to_transformers(old.name, as_float(paths[old.name], old, library))

            found = np.ascontiguousarray(model.to_gguf(old.name, values(name, before)), np.float32)
            yield _encode(found, new, library).data
            done += num_bytes(new)
            progress("writing", done, total)

    with target.open("wb") as file:
        gguf.write(file, metadata, planned, encoded())
        sync(file)


def _kind(tensor: Tensor, kind: int) -> int:
    if len(tensor.shape) < 2:
        return F32
    return kind if tensor.shape[0] % TYPES[kind][1] == 0 else F16


def _encode(values: Floats, tensor: Tensor, library: Quantiser) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise InvalidRequest(f"Some weights of {tensor.name} are not finite numbers: training went wrong.")
    if tensor.kind in (F16, Q8_0) and np.abs(values).max() > LARGEST_F16:
        raise InvalidRequest(f"Some weights of {tensor.name} are too large for 16 bits: keep them as f32.")
    raw = values.reshape(-1).view(np.uint8)
    return library.convert_all(raw, F32, tensor.kind, tensor.shape[0])
