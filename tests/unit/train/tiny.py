"""Small models of each architecture that training knows: as GGUF files, which llama.cpp loads, with random weights.

Names and metadata are written out here as llama.cpp wants them, so that what is tested does not test itself.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mainspring.models import gguf
from mainspring.models.gguf import Tensor
from tests.unit.engine.tiny_llama import METADATA, TOKENS, entry

HIDDEN, HEADS, KEYS, HEAD, LAYERS, WIDE = 64, 4, 2, 32, 2, 96
VOCABULARY = {key: value for key, value in METADATA.items() if key.startswith(("tokenizer.", "general.license"))}
COMMON: dict[str, Any] = {
    "block_count": LAYERS,
    "context_length": 512,
    "embedding_length": HIDDEN,
    "feed_forward_length": WIDE,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KEYS,
    "attention.key_length": HEAD,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 5000.0,
}
OWN: dict[str, dict[str, Any]] = {
    "llama": {"rope.dimension_count": HEAD},
    "qwen2": {"attention.key_length": HIDDEN // HEADS},
    "qwen3": {},
    "phi3": {
        "attention.key_length": HIDDEN // HEADS,
        "rope.dimension_count": HIDDEN // HEADS,
        "attention.sliding_window": 8,
        "attention.head_count_kv": HEADS,
    },
    "gemma3": {"attention.sliding_window": 8, "block_count": 7},
}
ARCHITECTURES = tuple(OWN)


def shapes(architecture: str, own: dict[str, Any], *, tied: bool) -> dict[str, tuple[int, ...]]:
    """Of every tensor, the rows first."""
    head, keys = own["attention.key_length"], own["attention.head_count_kv"]
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), HIDDEN), "output_norm.weight": (HIDDEN,)}
    if not tied:
        found["output.weight"] = (len(TOKENS), HIDDEN)
    queries, values = HEADS * head, keys * head
    for layer in range(own["block_count"]):
        at = f"blk.{layer}."
        found |= {f"{at}attn_norm.weight": (HIDDEN,), f"{at}ffn_norm.weight": (HIDDEN,)}
        if architecture == "phi3":
            found[f"{at}attn_qkv.weight"] = (queries + 2 * values, HIDDEN)
            found[f"{at}ffn_up.weight"] = (2 * WIDE, HIDDEN)
        else:
            found |= {f"{at}attn_{part}.weight": (values, HIDDEN) for part in "kv"}
            found |= {f"{at}attn_q.weight": (queries, HIDDEN)}
            found |= {f"{at}ffn_{part}.weight": (WIDE, HIDDEN) for part in ("gate", "up")}
        if architecture == "qwen2":
            found |= {f"{at}attn_q.bias": (queries,), f"{at}attn_k.bias": (values,), f"{at}attn_v.bias": (values,)}
        if architecture in ("qwen3", "gemma3"):
            found |= {f"{at}attn_{part}_norm.weight": (head,) for part in "qk"}
        if architecture == "gemma3":
            found |= {f"{at}post_attention_norm.weight": (HIDDEN,), f"{at}post_ffw_norm.weight": (HIDDEN,)}
        found |= {f"{at}attn_output.weight": (HIDDEN, queries), f"{at}ffn_down.weight": (HIDDEN, WIDE)}
    return found


def draw(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = 1 + rng.normal(0, 0.2, shape) if len(shape) == 1 else rng.normal(0, 1.5, shape) / np.sqrt(shape[-1])
    return values.astype(np.float32)


def write(path: Path, architecture: str, *, tied: bool = True, rotary: np.ndarray | None = None, **facts: Any) -> Path:
    """A model in 32 bits; `facts` are metadata behind the architecture's name, with __ for a dot."""
    rng = np.random.default_rng(3)
    own = COMMON | OWN[architecture] | {key.replace("__", "."): value for key, value in facts.items()}
    own["attention.value_length"] = own["attention.key_length"]
    made = {name: draw(shape, rng) for name, shape in shapes(architecture, own, tied=tied).items()}
    if rotary is not None:
        made["rope_freqs.weight"] = rotary.astype(np.float32)
    metadata = {"general.architecture": architecture, **VOCABULARY}
    if architecture == "phi3":  # transformers' own loader pads with token 32000 otherwise
        metadata["tokenizer.ggml.padding_token_id"] = 2
    metadata |= {f"{architecture}.{key}": value for key, value in own.items()}
    tensors = [Tensor(name=name, shape=values.shape[::-1], kind=0) for name, values in made.items()]
    with path.open("wb") as file:
        entries = {key: entry(key, value) for key, value in metadata.items()}
        gguf.write(file, entries, tensors, [values.tobytes() for values in made.values()])
    return path
