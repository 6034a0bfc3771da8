"""Writes an ONNX model: tensors, nodes, and the bytes that ONNX Runtime loads.

Only what a graph of ours needs of the format (onnx.proto3, IR version 8): writing these few messages takes less than
the `onnx` package with its compiler-made classes would cost every installation.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph"]

_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
IR_VERSION = 8
OPSET = 17
CONTRIB = "com.microsoft"
"""ONNX Runtime's own operators: the fused ones."""

Attribute = int | float | tuple[int, ...]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _value(name: str, dtype: str, shape: Sequence[str | int]) -> bytes:
    """ValueInfoProto: a name in the shape is an extent that is only known when the graph runs."""
    extents = b"".join(_bytes(1, _int(1, dim) if isinstance(dim, int) else _bytes(2, dim)) for dim in shape)
    tensor = _int(1, _TYPES[dtype]) + _bytes(2, extents)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _attribute(value: Attribute) -> bytes:
    """The value and the type of an AttributeProto."""
    match value:
        case float():
            return _varint(2 << 3 | 5) + struct.pack("<f", value) + _int(20, 1)
        case int():
            return _int(3, value) + _int(20, 2)
        case _:
            return b"".join(_int(8, each) for each in value) + _int(20, 7)


class Graph:
    """A graph that is being written. Every value has a name; nodes are added in the order they run in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._num_nodes = 0

    def tensor(self, name: str, value: NDArray[np.generic]) -> str:
        """Add weights; their name."""
        dims = b"".join(_int(1, extent) for extent in value.shape)
        raw = np.ascontiguousarray(value).tobytes()
        self._parts.append(_bytes(5, dims + _int(2, _TYPES[value.dtype.name]) + _bytes(8, name) + _bytes(9, raw)))
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        *,
        outputs: int = 1,
        names: Sequence[str] = (),
        domain: str = CONTRIB,
        **attributes: Attribute,
    ) -> Sequence[str]:
        """Add a node; the names of its outputs, made up unless given. An empty input is an optional one, left out."""
        self._num_nodes += 1
        names = names or [f"{operator}_{self._num_nodes}_{at}" for at in range(outputs)]
        body = b"".join(_bytes(1, name) for name in inputs) + b"".join(_bytes(2, name) for name in names)
        body += _bytes(3, f"{operator}_{self._num_nodes}") + _bytes(4, operator)
        for key, value in attributes.items():
            body += _bytes(5, _bytes(1, key) + _attribute(value))
        self._parts.append(_bytes(1, body + _bytes(7, domain)))
        return names

    def input(self, name: str, dtype: str, shape: Sequence[str | int]) -> str:
        """Declare an input; its name."""
        self._parts.append(_bytes(11, _value(name, dtype, shape)))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[str | int]) -> None:
        """Declare a value as an output."""
        self._parts.append(_bytes(12, _value(name, dtype, shape)))

    def encode(self) -> bytes:
        """The ModelProto."""
        opsets = b"".join(
            _bytes(8, _bytes(1, domain) + _int(2, version)) for domain, version in (("", OPSET), (CONTRIB, 1))
        )
        return _int(1, IR_VERSION) + opsets + _bytes(7, b"".join((*self._parts, _bytes(2, "mainspring"))))
