"""Writes small GGUF files, valid unless asked otherwise."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(item: object) -> bytes:
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<IQ", 10, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + string(item)
    if isinstance(item, list):
        return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(string(each) for each in item)
    assert isinstance(item, bytes)
    return item


def gguf_bytes(
    metadata: Mapping[str, object] | None = None,
    tensors: Sequence[tuple[int, ...]] = ((4, 8), (16,)),
    *,
    weights: bytes = b"\0" * 100,
    version: int = 3,
) -> bytes:
    if metadata is None:
        metadata = {
            "general.architecture": "llama",
            "general.license": "apache-2.0",
            "llama.context_length": 2048,
            "tokenizer.ggml.tokens": ["<s>", "a", "b"],
            "tokenizer.chat_template": TEMPLATE,
        }
    data = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, item in metadata.items():
        data += string(key) + value(item)
    for index, shape in enumerate(tensors):
        data += string(f"blk.{index}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0)
    return data + weights


def write_gguf(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(**options))  # type: ignore[arg-type]
    return path
