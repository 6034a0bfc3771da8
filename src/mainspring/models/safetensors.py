"""Reads and writes safetensors files: which tensors one holds and where, and the values of those that are numbers.

A file is downloaded, so nothing in it is believed before it was checked against the file's size.
Format: github.com/huggingface/safetensors, "Format".
"""

import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from mainspring.core.errors import InvalidRequest

if TYPE_CHECKING:  # the server reads headers, and does without numpy
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DTYPE_BYTES", "WEIGHTS", "TensorEntry", "encode", "floats", "read_tensors", "write"]

WEIGHTS = "model.safetensors"
"""What a whole model's file is called."""

MAX_HEADER_BYTES = 100 * 2**20
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class TensorEntry(msgspec.Struct, frozen=True):
    """A tensor: its element type (a key of `DTYPE_BYTES`), its shape, and its place in the file in bytes."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def num_items(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_tensors(path: Path) -> dict[str, TensorEntry]:
    """Every tensor by name.

    Raises:
        InvalidRequest: this is no safetensors file, it is cut short, or a tensor lies outside of it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else MAX_HEADER_BYTES + 1
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise _damaged("its header is longer than the file, or than any model's")
        try:
            raw = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
            raw.pop("__metadata__", None)
            entries = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
        except msgspec.MsgspecError:
            raise _damaged("its header is not what the format says") from None
    start = 8 + length
    return {name: _checked(name, entry, start, size) for name, entry in entries.items()}


def _checked(name: str, entry: _Entry, start: int, size: int) -> TensorEntry:
    begin, end = entry.data_offsets
    fits = 0 <= begin <= end <= size - start and all(extent >= 0 for extent in entry.shape)
    if not fits or entry.dtype not in DTYPE_BYTES or end - begin != math.prod(entry.shape) * DTYPE_BYTES[entry.dtype]:
        raise _damaged(f"the tensor {name[:80]!r} does not lie where it says")
    return TensorEntry(entry.dtype, entry.shape, start + begin, start + end)


def floats(path: Path, entry: TensorEntry) -> "NDArray[np.float32]":
    """The values of a tensor, in its shape.

    Raises:
        InvalidRequest: it is stored as something else than F32, F16 or BF16, or some values are not finite.
    """
    import numpy as np

    if entry.dtype not in ("F32", "F16", "BF16"):
        raise InvalidRequest(f"Weights are stored as {entry.dtype} here: save them in 32 or 16 bits.")
    raw = np.fromfile(path, np.uint8, entry.end - entry.begin, offset=entry.begin)
    if entry.dtype == "F32":
        values = raw.view(np.float32)
    elif entry.dtype == "F16":
        values = raw.view(np.float16).astype(np.float32)
    else:
        values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if not np.isfinite(values).all():
        raise InvalidRequest("Some of the weights are not finite numbers: the file is damaged.")
    return values.reshape(entry.shape)


def encode(values: "NDArray[np.float32]", dtype: str) -> memoryview:
    """Values as F32, F16 or BF16 (rounded to the nearest, ties to even)."""
    import numpy as np

    values = np.ascontiguousarray(values, np.float32)
    if dtype == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).data
    return values.astype({"F32": np.float32, "F16": np.float16}[dtype]).data


def write(file: BinaryIO, shapes: Mapping[str, tuple[int, ...]], dtype: str, weights: Iterable[memoryview]) -> None:
    """Write a file.

    Args:
        shapes: of the tensors, by name.
        dtype: of all of them.
        weights: the bytes of each, in the same order: what `encode` gives.
    """
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * DTYPE_BYTES[dtype]
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": (at, at + size)}
        at += size
    text = msgspec.json.encode(head)
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for (name, shape), data in zip(shapes.items(), weights, strict=True):
        assert data.nbytes == math.prod(shape) * DTYPE_BYTES[dtype], f"{name} has not the bytes that its shape takes"
        file.write(data)


def _damaged(why: str) -> InvalidRequest:
    return InvalidRequest(f"This is not a whole safetensors file: {why}. Fetch it again.")
