"""A language model small enough to make in a test, as a GGUF file that llama.cpp loads: bytes are its tokens."""

import struct
from pathlib import Path

import numpy as np

from mainspring.models import gguf
from mainspring.models.gguf import Tensor

HIDDEN, HEADS, LAYERS, WIDE, CONTEXT = 64, 2, 2, 96, 1024
TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
TOKEN_TYPES = [2, 3, 3, *[6] * 256]  # unknown, control, control, bytes


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def entry(key: str, value: object) -> bytes:
    match value:
        case int():
            return gguf.u32(key, value)
        case float():
            return string(key) + struct.pack("<If", 6, value)
        case str():
            return string(key) + struct.pack("<I", 8) + string(value)
        case [str(), *_]:
            return string(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(string, value))
        case [float(), *_]:
            return string(key) + struct.pack(f"<IIQ{len(value)}f", 9, 6, len(value), *value)
        case [int(), *_]:
            return string(key) + struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    raise TypeError(value)


METADATA = {
    "general.architecture": "llama",
    "general.license": "apache-2.0",
    "general.file_type": 0,
    "llama.block_count": LAYERS,
    "llama.context_length": CONTEXT,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": WIDE,
    "llama.attention.head_count": HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.scores": [0.0] * len(TOKENS),
    "tokenizer.ggml.token_type": TOKEN_TYPES,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """By name; (rows, length of a row) or (length)."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(0, 1, shape) / np.sqrt(shape[-1])).astype(np.float32)

    made = {"token_embd.weight": draw(len(TOKENS), HIDDEN), "output_norm.weight": np.ones(HIDDEN, np.float32)}
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        made |= {f"{at}{name}_norm.weight": np.ones(HIDDEN, np.float32) for name in ("attn", "ffn")}
        made |= {f"{at}attn_{name}.weight": draw(HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")}
        made |= {f"{at}ffn_{name}.weight": draw(WIDE, HIDDEN) for name in ("gate", "up")}
        made[f"{at}ffn_down.weight"] = draw(HIDDEN, WIDE)
    return made


def write_tiny(path: Path, seed: int = 0, **metadata: object) -> Path:
    """The model in 32 bits."""
    made = weights(seed)
    tensors = [Tensor(name=name, shape=values.shape[::-1], kind=0) for name, values in made.items()]
    entries = {key: entry(key, value) for key, value in {**METADATA, **metadata}.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        gguf.write(file, entries, tensors, [values.tobytes() for values in made.values()])
    return path
