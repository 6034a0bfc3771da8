"""Writes a GGUF model of the llama architecture as safetensors, for engines that read nothing else.

    python scripts/dequantise.py MODEL.gguf FOLDER

For tests and benchmarks: it knows the default model's family (RMS norms, rotary positions, a byte-level BPE vocabulary)
and refuses others. Weights are stored in 16 bits.
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.engine.llama import binding
from mainspring.engine.llama.quantise import Quantiser
from mainspring.models.gguf import Layout, Tensor, num_bytes, read_layout

NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3
"""GGUF's type of control tokens."""
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


class Metadata:
    """Values of a GGUF file's metadata, arrays included."""

    def __init__(self, layout: Layout) -> None:
        self._entries = layout.metadata

    def __getitem__(self, key: str) -> Any:
        data = self._entries[key][8 + len(key.encode()) :]
        kind = struct.unpack_from("<I", data)[0]
        return self._value(data, 4, kind)[0]

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self._entries else default

    def _value(self, data: bytes, at: int, kind: int) -> tuple[Any, int]:
        if kind == STRING:
            size = struct.unpack_from("<Q", data, at)[0]
            return data[at + 8 : at + 8 + size].decode(), at + 8 + size
        if kind == ARRAY:
            inner, count = struct.unpack_from("<IQ", data, at)
            at += 12
            found: list[Any] = []
            for _ in range(count):
                value, at = self._value(data, at, inner)
                found.append(value)
            return found, at
        return struct.unpack_from(SCALARS[kind], data, at)[0], at + struct.calcsize(SCALARS[kind])


def hf_name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def unpermuted(weights: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """llama.cpp keeps the two halves of a rotary pair side by side; Hugging Face keeps them half a head apart."""
    rows, columns = weights.shape
    pairs = weights.reshape(num_heads, rows // num_heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def config(meta: Metadata, *, tied: bool) -> dict[str, Any]:
    about = {key: meta[f"llama.{key}"] for key in ("block_count", "context_length", "embedding_length")}
    heads = meta["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": about["embedding_length"],
        "num_hidden_layers": about["block_count"],
        "max_position_embeddings": about["context_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "head_dim": about["embedding_length"] // heads,
        "rope_theta": meta["llama.rope.freq_base"],
        "rms_norm_eps": meta["llama.attention.layer_norm_rms_epsilon"],
        "vocab_size": len(meta["tokenizer.ggml.tokens"]),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "float16",
    }


def tokenizer(meta: Metadata) -> dict[str, Any]:
    """`tokenizer.json`: what llama.cpp calls gpt2 with the pre-tokeniser smollm splits digits, then as GPT-2 does."""
    if (meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"]) != ("gpt2", "smollm"):
        raise SystemExit("Only SmolLM's vocabulary is known here.")
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    digits = {"type": "Digits", "individual_digits": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": at, "content": token, **plain}
            for at, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind == CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: at for at, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in meta["tokenizer.ggml.merges"]],
        },
    }  # fmt: skip


def tokenizer_config(meta: Metadata) -> dict[str, Any]:
    tokens = meta["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]],
        "model_max_length": meta["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": meta["tokenizer.chat_template"],
    }


def weights(path: Path, tensor: Tensor, meta: Metadata, quantiser: Quantiser) -> NDArray[np.float16]:
    raw = np.array(np.memmap(path, np.uint8, "r", tensor.offset, num_bytes(tensor)))
    values = quantiser.to_float(raw, tensor.kind).reshape(tensor.shape[::-1])
    for part, heads in (("attn_q", "head_count"), ("attn_k", "head_count_kv")):
        if f".{part}." in tensor.name:
            values = unpermuted(values, meta[f"llama.attention.{heads}"])
    return np.ascontiguousarray(values, np.float16)


def write_safetensors(path: Path, source: Path, layout: Layout, meta: Metadata) -> None:
    """Format: github.com/huggingface/safetensors, "Format"."""
    quantiser = Quantiser(binding.find(), 2)
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in layout.tensors:
        size = 2 * int(np.prod(tensor.shape))
        head[hf_name(tensor.name)] = {"dtype": "F16", "shape": tensor.shape[::-1], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in layout.tensors:
            file.write(weights(source, tensor, meta, quantiser).data)


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    layout = read_layout(source)
    meta = Metadata(layout)
    if meta["general.architecture"] != "llama":
        raise SystemExit("Only the llama architecture is known here.")
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    tied = all(tensor.name != "output.weight" for tensor in layout.tensors)
    for name, content in (
        ("config.json", config(meta, tied=tied)),
        ("tokenizer.json", tokenizer(meta)),
        ("tokenizer_config.json", tokenizer_config(meta)),
        ("generation_config.json", {"eos_token_id": meta["tokenizer.ggml.eos_token_id"]}),
    ):
        (part / name).write_text(json.dumps(content, ensure_ascii=False, indent=1))
    write_safetensors(part / "model.safetensors", source, layout, meta)
    part.rename(folder)  # at the end: an interrupted run leaves no half model that looks whole


if __name__ == "__main__":
    main()
