"""Reads the header of a GGUF file: metadata and the number of parameters, never the weights.

A GGUF file is downloaded, so it is not trusted: every count and length is checked before it is believed, nothing is
allocated that the file does not contain, and whatever is wrong becomes `InvalidRequest`. Arrays (vocabularies of a
hundred thousand strings) are checked and skipped, since the catalog needs none of them.
Format: docs/gguf.md of ggml, versions 2 and 3, little-endian.
"""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = ["Header", "Scalar", "read_header"]

Scalar = str | int | float | bool

MAX_KEYS = 65_536
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 4 * 2**20
MAX_ARRAY_ITEMS = 16 * 2**20
MAX_HEADER_BYTES = 128 * 2**20
MAX_TENSORS = 1_000_000
MAX_TENSOR_NAME_BYTES = 1024
MAX_DIMENSIONS = 8
MAX_NESTING = 2
MAX_PARAMS = 2**50

_STRING, _ARRAY = 8, 9
_SCALARS: dict[int, struct.Struct] = {
    kind: struct.Struct(f"<{code}")
    for kind, code in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_U32, _U64 = _SCALARS[4], _SCALARS[10]


class Header(msgspec.Struct, frozen=True):
    """What a GGUF file says about itself: its metadata without arrays, and how many weights its tensors hold."""

    metadata: Mapping[str, Scalar]
    num_params: int

    def text(self, key: str) -> str | None:
        """The string at `key`, or None if it is absent, empty or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) and value else None

    def of_architecture(self, key: str) -> int | None:
        """The integer at `{architecture}.{key}`, such as `context_length` (tokens)."""
        value = self.metadata.get(f"{self.text('general.architecture')}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Reader:
    """Reads forward and never beyond the file's end or `MAX_HEADER_BYTES`, whichever is first."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._left = file, min(end, MAX_HEADER_BYTES)

    def _take(self, num_bytes: int) -> None:
        if num_bytes > self._left:
            raise _malformed("it ends in the middle of its header")
        self._left -= num_bytes

    def read(self, num_bytes: int) -> bytes:
        self._take(num_bytes)
        data = self._file.read(num_bytes)
        if len(data) != num_bytes:
            raise _malformed("it ends in the middle of its header")
        return data

    def skip(self, num_bytes: int) -> None:
        self._take(num_bytes)
        self._file.seek(num_bytes, os.SEEK_CUR)

    def scalar(self, form: struct.Struct) -> int | float | bool:
        return form.unpack(self.read(form.size))[0]

    def count(self, form: struct.Struct, most: int, what: str) -> int:
        value = int(self.scalar(form))
        if value > most:
            raise _malformed(f"{what} is {value}, and {most} is the limit")
        return value

    def string(self, most: int, what: str) -> str:
        data = self.read(self.count(_U64, most, f"the length of {what}"))
        return data.decode(errors="replace")


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"This is not a GGUF file that can be used: {why}.", code="malformed_model")


def _skip_array(reader: _Reader, depth: int) -> None:
    kind, items = reader.count(_U32, 12, "an array's type"), reader.count(_U64, MAX_ARRAY_ITEMS, "an array's length")
    if kind in _SCALARS:
        reader.skip(items * _SCALARS[kind].size)
    elif kind == _STRING:
        for _ in range(items):
            reader.skip(reader.count(_U64, MAX_STRING_BYTES, "the length of a string"))
    else:
        if depth >= MAX_NESTING:
            raise _malformed("its arrays are nested too deeply")
        for _ in range(items):
            _skip_array(reader, depth + 1)


def _read_metadata(reader: _Reader, num_keys: int) -> dict[str, Scalar]:
    metadata: dict[str, Scalar] = {}
    for _ in range(num_keys):
        key = reader.string(MAX_KEY_BYTES, "a key")
        kind = reader.count(_U32, 12, "a value's type")
        if kind == _STRING:
            metadata[key] = reader.string(MAX_STRING_BYTES, "a string")
        elif kind == _ARRAY:
            _skip_array(reader, 1)
        else:
            metadata[key] = reader.scalar(_SCALARS[kind])
    return metadata


def _count_params(reader: _Reader, num_tensors: int) -> int:
    total = 0
    for _ in range(num_tensors):
        reader.skip(reader.count(_U64, MAX_TENSOR_NAME_BYTES, "the length of a tensor's name"))
        num_dimensions = reader.count(_U32, MAX_DIMENSIONS, "a tensor's number of dimensions")
        total += math.prod(reader.count(_U64, MAX_PARAMS, "a dimension") for _ in range(num_dimensions))
        reader.skip(_U32.size + _U64.size)
    if total > MAX_PARAMS:
        raise _malformed("its tensors are larger than any file")
    return total


def read_header(path: Path) -> Header:
    """The header of the GGUF file at `path`.

    Raises:
        InvalidRequest: not GGUF, another version or byte order, truncated, or a count beyond its limit.
    """
    with path.open("rb", buffering=1 << 20) as file:
        reader = _Reader(file, path.stat().st_size)
        if reader.read(4) != b"GGUF":
            raise _malformed("it does not start with GGUF")
        version = int(reader.scalar(_U32))
        if version not in {2, 3}:
            raise _malformed(f"its version is {version}, and 2 and 3 are read (big-endian files are not)")
        num_tensors = reader.count(_U64, MAX_TENSORS, "the number of tensors")
        num_keys = reader.count(_U64, MAX_KEYS, "the number of keys")
        metadata = _read_metadata(reader, num_keys)
        return Header(metadata, _count_params(reader, num_tensors))
