"""Writes a model's weights again in another format, with the conversions of the inference library (ggml).

llama.cpp's own tool for this is not in the library. What differs from it: tensors are read, converted and written piece
by piece, so that a model need not fit in memory twice, and 4 and 5 bit weights become Q8_0 without being rounded anew.
"""

import ctypes as c
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.engine.formats import Format, plan
from mainspring.models.gguf import TYPES, Layout, Tensor, num_bytes, read_layout, u32, write

__all__ = ["Quantiser", "rewrite"]

F32 = 0
Q8_0 = 8
PIECE = 1 << 17
"""Weights that one thread converts at a time: 512 KiB as 32-bit numbers, what a core's own cache holds."""

AFFINE: dict[int, tuple[bool, int]] = {2: (False, -8), 3: (True, 0), 6: (False, -16), 7: (True, 0)}
"""Types whose weights are d q + m in each block of 32, with a whole number q: whether the block stores m (else it is a
multiple of d), and that multiple. d and m are the first fields of the block, in 16 bits."""
FINEST = 16
"""How much finer a Q8_0 step than one of the shipped file is tried."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Done = Callable[[int, int], None]
"""Called with the bytes of the source that are done, and all of them."""


class _Traits(c.Structure):
    """`ggml_type_traits`, as far as it is used."""

    _fields_: ClassVar = [
        ("type_name", c.c_char_p),
        ("blck_size", c.c_int64),
        ("blck_size_interleave", c.c_int64),
        ("type_size", c.c_size_t),
        ("is_quantized", c.c_bool),
        ("to_float", c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_int64)),
    ]


class Quantiser:
    """Conversions between the types of tensors.

    Args:
        path: the inference library.
        threads: how many convert at once; ctypes lets go of the interpreter while ggml computes.
    """

    def __init__(self, path: Path, threads: int) -> None:
        dll = c.CDLL(str(path))
        self._quantise = dll.ggml_quantize_chunk
        self._quantise.restype = c.c_size_t
        self._quantise.argtypes = [c.c_int, c.c_void_p, c.c_void_p, c.c_int64, c.c_int64, c.c_int64, c.c_void_p]
        self._traits = dll.ggml_get_type_traits
        self._traits.restype, self._traits.argtypes = c.POINTER(_Traits), [c.c_int]
        self._pool = ThreadPoolExecutor(threads, "quantise")

    def traits(self, kind: int) -> tuple[str, int, int]:
        """The library's own entry of `gguf.TYPES`."""
        traits = self._traits(kind).contents
        return bytes(traits.type_name).decode(), traits.blck_size, traits.type_size

    def to_float(self, raw: Bytes, kind: int) -> Floats:
        """Weights as numbers. `raw` is a whole number of blocks."""
        if kind == F32:
            return raw.view(np.float32)
        name, block, size = TYPES[kind]
        convert = self._traits(kind).contents.to_float
        if not convert:
            raise InvalidRequest(f"Weights of type {name} cannot be converted: set engine.format = 'shipped'.")
        values = np.empty(raw.size // size * block, np.float32)
        convert(raw.ctypes.data, values.ctypes.data, values.size)
        return values

    def from_float(self, values: Floats, kind: int, row: int) -> Bytes:
        """Numbers as weights; `row` is how many make a row, a whole number of blocks."""
        if kind == F32:
            return values.view(np.uint8)
        _, block, size = TYPES[kind]
        raw = np.empty(values.size // block * size, np.uint8)
        self._quantise(kind, values.ctypes.data, raw.ctypes.data, 0, values.size // row, row, None)
        return raw

    def convert(self, raw: Bytes, kind: int, into: int, row: int) -> Bytes:
        """Rows of weights in another type.

        Raises:
            InvalidRequest: some are not finite numbers, or their type cannot be read.
        """
        values = self.to_float(raw, kind)
        if not np.isfinite(values).all():
            raise InvalidRequest("Some of the weights are not finite numbers: the file is damaged.")
        converted = self.from_float(values, into, row)
        if into == Q8_0 and kind in AFFINE:
            _keep_steps(raw.reshape(-1, TYPES[kind][2]), values.reshape(-1, 32), converted.reshape(-1, 34), kind)
        return converted

    def convert_all(self, raw: Bytes, kind: int, into: int, row: int) -> Bytes:
        """The same for a whole tensor, on all threads."""
        _, block, size = TYPES[kind]
        stride = row // block * size
        rows = max(1, PIECE // row)

        def piece(at: int) -> Bytes:
            return self.convert(raw[at : at + rows * stride], kind, into, row)

        return np.concatenate(list(self._pool.map(piece, range(0, raw.size, rows * stride))))


def _keep_steps(raw: Bytes, values: Floats, into: Bytes, kind: int) -> None:
    """Make Q8_0 blocks from blocks d q + m, where that is exacter than rounding the weights.

    A step of d / a, for a whole number a, meets every multiple of d, and what remains is the distance of m from the
    nearest step. So a is chosen to make that small, and to make d / a a number of 16 bits. Measured on SmolLM2-135M in
    Q4_1: half the error of plain rounding.

    Args:
        raw: (blocks, bytes of a block of `kind`).
        values: (blocks, 32), the weights of `raw`.
        into: (blocks, 34), filled in Q8_0 and improved in place.
    """
    stored, multiple = AFFINE[kind]
    step = raw[:, :2].copy().view(np.float16)[:, 0].astype(np.float32)
    divisor = np.where(step == 0, np.float32(1), step)
    shift = np.full_like(step, multiple)
    if stored:
        shift = raw[:, 2:4].copy().view(np.float16)[:, 0].astype(np.float32) / divisor
    steps = np.rint(values / divisor[:, None] - shift[:, None])
    largest = np.maximum(np.abs(steps.max(1) + shift), np.abs(steps.min(1) + shift))

    finer = np.zeros_like(step)
    least = np.full_like(step, np.inf)
    for a in range(1, FINEST + 1):
        scale = (step / a).astype(np.float16).astype(np.float32)
        # The constant part of the error and, for a middling weight of half the largest, that of rounding the scale.
        error = np.abs(shift * a - np.rint(shift * a)) * np.abs(scale) + np.abs(scale * a - step) * largest / 2
        better = (largest * a <= 127) & (error < least)
        least = np.where(better, error, least)
        finer = np.where(better, a, finer)

    finer = np.maximum(finer, 1)
    scale = (step / finer).astype(np.float16)
    counts = np.clip(steps * finer[:, None] + np.rint(shift * finer)[:, None], -127, 127)
    plain = into[:, 2:].view(np.int8) * into[:, :2].copy().view(np.float16).astype(np.float32)
    # Plain rounding is the better one in a few blocks, where its step happens to divide ours.
    better = _square(counts * scale.astype(np.float32)[:, None] - values) < _square(plain - values)
    into[better, :2] = scale[better, None].view(np.uint8)
    into[better, 2:] = counts[better].astype(np.int8).view(np.uint8)


def _square(errors: Floats) -> Floats:
    """The squared length of each row."""
    return np.einsum("ij,ij->i", errors, errors)


def rewrite(shards: Sequence[Path], into: Format, file: BinaryIO, quantiser: Quantiser, done: Done) -> None:
    """Write the model whose files are `shards` to `file`, in the format `into`.

    Raises:
        InvalidRequest: a shard is damaged.
    """
    layouts = [read_layout(path) for path in shards]
    planned = plan(layouts, into)
    written = [msgspec.structs.replace(tensor, kind=kind) for tensor, kind in planned]
    # The parts of a model are one file from here on.
    metadata = {key: entry for key, entry in layouts[0].metadata.items() if not key.startswith("split.")}
    metadata["general.file_type"] = u32("general.file_type", into.file_type)
    metadata["general.quantization_version"] = u32("general.quantization_version", 2)
    total = sum(num_bytes(tensor) for tensor, _ in planned)
    write(file, metadata, written, _converted(_read(shards, layouts), planned, quantiser, lambda at: done(at, total)))


def _read(shards: Sequence[Path], layouts: Sequence[Layout]) -> Iterator[Bytes]:
    """The bytes of each tensor, mapped and not read yet."""
    for path, layout in zip(shards, layouts, strict=True):
        mapped: Bytes = np.memmap(path, np.uint8, "r")
        for tensor in layout.tensors:
            yield mapped[tensor.offset : tensor.offset + num_bytes(tensor)]


def _converted(
    weights: Iterable[Bytes], planned: Sequence[tuple[Tensor, int]], quantiser: Quantiser, done: Callable[[int], None]
) -> Iterator[memoryview]:
    read = 0
    for raw, (tensor, kind) in zip(weights, planned, strict=True):
        same = kind == tensor.kind
        yield (raw if same else quantiser.convert_all(raw, tensor.kind, kind, tensor.shape[0])).data
        read += raw.size
        done(read)
