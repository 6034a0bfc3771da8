"""Reads the header of a GGUF file (metadata, where which weights lie, never the weights), and writes such files.

A GGUF file is downloaded, so it is not trusted: every count and length is checked before it is believed, nothing is
allocated that the file does not contain, and whatever is wrong becomes `InvalidRequest`. Arrays (vocabularies of a
hundred thousand strings) are checked and skipped, since the catalog needs none of them.
Format: docs/gguf.md of ggml, versions 2 and 3, little-endian.
"""

import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = [
    "TYPES",
    "Header",
    "Layout",
    "Scalar",
    "Tensor",
    "f32",
    "num_bytes",
    "read_header",
    "read_layout",
    "text",
    "u32",
    "value_type",
    "write",
]

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

TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}
"""Of a tensor, by ggml's number: the name, how many weights a block holds, and how many bytes it takes."""

ALIGNMENT = 32
"""Of tensors in a file that does not say otherwise, and in those that are written here (bytes)."""
MAX_ALIGNMENT = 2**16

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


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of a file: `shape` begins with the length of a row, `kind` is a key of `TYPES`, `offset` counts from the
    start of the file (bytes)."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int = 0


class Layout(msgspec.Struct, frozen=True):
    """All that a file holds but its weights: metadata as it is stored, key and value, and where the tensors lie."""

    metadata: Mapping[str, bytes]
    tensors: tuple[Tensor, ...]


class _Reader:
    """Reads forward and never beyond the file's end or `MAX_HEADER_BYTES`, whichever is first."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file, self._left = file, min(end, MAX_HEADER_BYTES)
        self.position = 0

    def _take(self, num_bytes: int) -> None:
        if num_bytes > self._left:
            raise _malformed("it ends in the middle of its header")
        self._left -= num_bytes
        self.position += num_bytes

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


def _read_metadata(reader: _Reader, num_keys: int, ends: dict[str, tuple[int, int]] | None = None) -> dict[str, Scalar]:
    """Scalars by key; `ends` is filled with where each key and its value begin and end."""
    metadata: dict[str, Scalar] = {}
    for _ in range(num_keys):
        begin = reader.position
        key = reader.string(MAX_KEY_BYTES, "a key")
        kind = reader.count(_U32, 12, "a value's type")
        if kind == _STRING:
            metadata[key] = reader.string(MAX_STRING_BYTES, "a string")
        elif kind == _ARRAY:
            _skip_array(reader, 1)
        else:
            metadata[key] = reader.scalar(_SCALARS[kind])
        if ends is not None:
            ends[key] = begin, reader.position
    return metadata


def _read_tensors(reader: _Reader, num_tensors: int) -> Iterator[Tensor]:
    """As they are listed: `offset` still counts from the start of the weights."""
    for _ in range(num_tensors):
        name = reader.string(MAX_TENSOR_NAME_BYTES, "a tensor's name")
        num_dimensions = reader.count(_U32, MAX_DIMENSIONS, "a tensor's number of dimensions")
        shape = tuple(reader.count(_U64, MAX_PARAMS, "a dimension") for _ in range(num_dimensions))
        kind = int(reader.scalar(_U32))
        yield Tensor(name=name, shape=shape, kind=kind, offset=int(reader.scalar(_U64)))


def _count_params(reader: _Reader, num_tensors: int) -> int:
    total = sum(math.prod(tensor.shape) for tensor in _read_tensors(reader, num_tensors))
    if total > MAX_PARAMS:
        raise _malformed("its tensors are larger than any file")
    return total


def _begin(file: BinaryIO, path: Path) -> tuple[_Reader, int, int]:
    """Read what is before the metadata: how many tensors and keys follow."""
    reader = _Reader(file, path.stat().st_size)
    if reader.read(4) != b"GGUF":
        raise _malformed("it does not start with GGUF")
    version = int(reader.scalar(_U32))
    if version not in {2, 3}:
        raise _malformed(f"its version is {version}, and 2 and 3 are read (big-endian files are not)")
    num_tensors = reader.count(_U64, MAX_TENSORS, "the number of tensors")
    return reader, num_tensors, reader.count(_U64, MAX_KEYS, "the number of keys")


def read_header(path: Path) -> Header:
    """The header of the GGUF file at `path`.

    Raises:
        InvalidRequest: not GGUF, another version or byte order, truncated, or a count beyond its limit.
    """
    with path.open("rb", buffering=1 << 20) as file:
        reader, num_tensors, num_keys = _begin(file, path)
        metadata = _read_metadata(reader, num_keys)
        return Header(metadata, _count_params(reader, num_tensors))


def num_bytes(tensor: Tensor) -> int:
    """What a tensor takes in a file.

    Raises:
        InvalidRequest: a type that is not in `TYPES`, or rows that are no whole number of its blocks.
    """
    if tensor.kind not in TYPES:
        raise _malformed(f"{tensor.name} is of type {tensor.kind}, which is not known")
    name, block, block_bytes = TYPES[tensor.kind]
    if not tensor.shape or tensor.shape[0] % block:
        raise _malformed(f"{tensor.name} has the shape {tensor.shape}, which is not possible in {name}")
    return math.prod(tensor.shape) // block * block_bytes


def read_layout(path: Path) -> Layout:
    """Everything but the weights of the GGUF file at `path`.

    Raises:
        InvalidRequest: what `read_header` refuses, a tensor of an unknown type, or one that the file does not contain.
    """
    with path.open("rb", buffering=1 << 20) as file:
        reader, num_tensors, num_keys = _begin(file, path)
        ends: dict[str, tuple[int, int]] = {}
        alignment = _read_metadata(reader, num_keys, ends).get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            raise _malformed(f"its alignment is {alignment}")
        listed = list(_read_tensors(reader, num_tensors))
        start = -(-reader.position // alignment) * alignment
        tensors = tuple(msgspec.structs.replace(each, offset=start + each.offset) for each in listed)
        for tensor in tensors:
            if tensor.offset % alignment or tensor.offset + num_bytes(tensor) > path.stat().st_size:
                raise _malformed(f"{tensor.name} ends beyond the end of the file")
        metadata: dict[str, bytes] = {}
        for key, (begin, end) in ends.items():
            file.seek(begin)
            metadata[key] = file.read(end - begin)
    return Layout(metadata, tensors)


def u32(key: str, value: int) -> bytes:
    """An entry of the metadata, as it is stored."""
    return _string(key) + struct.pack("<II", 4, value)


def f32(key: str, value: float) -> bytes:
    """The same of a 32-bit number."""
    return _string(key) + struct.pack("<If", 6, value)


def text(key: str, value: str) -> bytes:
    """The same of a string."""
    return _string(key) + struct.pack("<I", _STRING) + _string(value)


def value_type(key: str, entry: bytes) -> int:
    """The type of a stored entry's value: 6 is a 32-bit number, 8 a string (docs/gguf.md has the others)."""
    return _U32.unpack_from(entry, _U64.size + len(key.encode()))[0]


def _string(value: str) -> bytes:
    data = value.encode()
    return _U64.pack(len(data)) + data


def write(
    file: BinaryIO, metadata: Mapping[str, bytes], tensors: Sequence[Tensor], weights: Iterable[bytes | memoryview]
) -> None:
    """Write a GGUF file of version 3.

    Args:
        metadata: entries as `Layout` and `u32` give them; an alignment among them is left out, it is `ALIGNMENT`.
        tensors: their offsets are ignored: they lie one behind the other.
        weights: the bytes of each tensor, in the same order.
    """
    entries = [entry for key, entry in metadata.items() if key != "general.alignment"]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) + b"".join(entries)
    offset = 0
    for tensor in tensors:
        head += _string(tensor.name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        head += struct.pack("<IQ", tensor.kind, offset)
        offset += -(-num_bytes(tensor) // ALIGNMENT) * ALIGNMENT
    file.write(head + bytes(-len(head) % ALIGNMENT))
    for tensor, data in zip(tensors, weights, strict=True):
        assert len(data) == num_bytes(tensor), f"{tensor.name} has not the bytes that its type takes"
        file.write(data)
        file.write(bytes(-len(data) % ALIGNMENT))
