"""Reads the header of a safetensors file: which tensors it holds and where. The weights themselves are the engine's.

The file is downloaded, so nothing in it is believed before it was checked against the file's size.
Format: github.com/huggingface/safetensors, "Format".
"""

import math
import struct
from pathlib import Path

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = ["DTYPE_BYTES", "TensorEntry", "read_tensors"]

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


def _damaged(why: str) -> InvalidRequest:
    return InvalidRequest(f"This is not a whole safetensors file: {why}. Fetch it again.")
