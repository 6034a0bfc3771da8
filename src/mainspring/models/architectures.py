"""What GGUF and transformers call the same weights, how each keeps them, and a model's configuration in either's words.

A GGUF file says what a model is in its metadata, transformers says it in `config.json`. Here is the way from the first
to the second, and for weights the way back. Five architectures are known; each was compared with llama.cpp's results.

Not covered: mixtures of experts, rotary scaling of other kinds than linear, YaRN and Llama 3's, attention that differs
from layer to layer; they are refused by name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import UserMistake
from mainspring.models import gguf
from mainspring.models.gguf import Layout, Scalar, Tensor

__all__ = ["Architecture", "Described", "read"]

Floats = NDArray[np.float32]

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER = {
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
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_ROTARY = "rope_freqs.weight"
"""Llama 3's scaling of rotary frequencies: a table in GGUF, four numbers in transformers."""
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""The other three of these numbers, which all models of Llama 3 share."""


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """Of one architecture, by GGUF's name: what differs between the two.

    Args:
        kind: what transformers calls it (`model_type`), and its class.
        names: of a layer's modules, GGUF's and transformers'.
        is_permuted: GGUF holds the rows of query and key projections in pairs of rotary components side by side,
            transformers half a head apart.
        norm_offset: what GGUF adds to the weights of norms.
    """

    gguf: str
    kind: str
    model: str
    names: Mapping[str, str]
    is_permuted: bool = False
    norm_offset: float = 0.0

    def name(self, of: str) -> str | None:
        """What transformers calls the tensor; None if it is not a weight of this architecture."""
        if of in _TOP:
            return _TOP[of]
        block, _, rest = of.partition(".")
        layer, _, rest = rest.partition(".")
        part, _, last = rest.rpartition(".")
        if block != "blk" or not layer.isdecimal() or part not in self.names or last not in ("weight", "bias"):
            return None
        return f"model.layers.{int(layer)}.{self.names[part]}.{last}"


_LLAMA = Architecture(gguf="llama", kind="llama", model="LlamaForCausalLM", names=_LAYER, is_permuted=True)
ARCHITECTURES: Mapping[str, Architecture] = {
    each.gguf: each
    for each in (
        _LLAMA,
        Architecture(gguf="qwen2", kind="qwen2", model="Qwen2ForCausalLM", names=_LAYER),
        Architecture(gguf="qwen3", kind="qwen3", model="Qwen3ForCausalLM", names=_LAYER | _HEAD_NORMS),
        Architecture(
            gguf="phi3", kind="phi3", model="Phi3ForCausalLM",
            names=_LAYER | {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"},
        ),
        Architecture(
            gguf="gemma3", kind="gemma3_text", model="Gemma3ForCausalLM", norm_offset=1.0,
            names=_LAYER | _HEAD_NORMS | {
                "post_attention_norm": "post_attention_layernorm",
                "ffn_norm": "pre_feedforward_layernorm",
                "post_ffw_norm": "post_feedforward_layernorm",
            },
        ),
    )
}  # fmt: skip


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A model in GGUF, and what transformers has to know of it.

    Args:
        config: as `config.json` has it.
        tensors: every weight by transformers' name, with the shard that holds it.
        layouts: of the shards.
    """

    architecture: Architecture
    config: dict[str, Any]
    tensors: Mapping[str, tuple[Path, Tensor]]
    layouts: tuple[Layout, ...]

    def to_transformers(self, name: str, values: Floats) -> Floats:
        """The values of the GGUF tensor `name` as transformers keeps them."""
        if self.architecture.norm_offset and _is_norm(name):
            return values - np.float32(self.architecture.norm_offset)
        heads = self._heads(name)
        return values if heads is None else _regrouped(values, heads, (-1, 2), name)

    def to_gguf(self, name: str, values: Floats) -> Floats:
        """The way back."""
        if self.architecture.norm_offset and _is_norm(name):
            return values + np.float32(self.architecture.norm_offset)
        heads = self._heads(name)
        return values if heads is None else _regrouped(values, heads, (2, -1), name)

    def _heads(self, name: str) -> int | None:
        """How many heads the rows of a projection make, if they are permuted."""
        if not self.architecture.is_permuted or not name.startswith("blk."):
            return None
        part = name.split(".")[2]
        keys = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
        return self.config[keys[part]] if part in keys else None


def _is_norm(name: str) -> bool:
    return name.endswith("_norm.weight")


def _regrouped(values: Floats, heads: int, inner: tuple[int, int], name: str) -> Floats:
    """Rows of each head as a table of that shape, read column by column."""
    rows = values.shape[0]
    if heads <= 0 or rows % (2 * heads):
        raise UserMistake(f"{name} has {rows} rows, which are not {heads} heads: the file is damaged.")
    table = values.reshape(heads, *inner, *values.shape[1:])
    return np.ascontiguousarray(table.swapaxes(1, 2).reshape(values.shape))


def read(paths: Sequence[Path]) -> Described:
    """The model whose GGUF files are `paths`.

    Raises:
        InvalidRequest: they are no GGUF files that can be used.
        UserMistake: transformers' form of the model is not known here; the message names what is in the way.
    """
    facts = _Facts(gguf.read_header(paths[0]).metadata)
    architecture = ARCHITECTURES.get(facts.architecture)
    if architecture is None:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UserMistake(
            f"Models of the architecture {facts.architecture!r} cannot be trained from GGUF, only those of {known}: "
            "pull the model as safetensors (hf:org/repo/)."
        )
    layouts = tuple(gguf.read_layout(path) for path in paths)
    tensors: dict[str, tuple[Path, Tensor]] = {}
    rotary: Floats | None = None
    for path, layout in zip(paths, layouts, strict=True):
        for tensor in layout.tensors:
            if tensor.name == _ROTARY and tensor.kind == 0:
                rotary = np.fromfile(path, np.float32, math.prod(tensor.shape), offset=tensor.offset)
                continue
            name = architecture.name(tensor.name)
            if name is None:
                raise UserMistake(f"The model has {tensor.name[:80]!r}, which training does not know: pull another.")
            tensors[name] = path, tensor
    config = _CONFIGS.get(architecture.gguf, _config)(facts, architecture, tensors)
    config["rope_parameters"] = _rotary(facts, config, rotary)
    return Described(architecture=architecture, config=config, tensors=tensors, layouts=layouts)


class _Facts:
    """Numbers of the metadata, by what stands behind the architecture's name."""

    def __init__(self, metadata: Mapping[str, Scalar]) -> None:
        self._metadata = metadata
        found = metadata.get("general.architecture")
        self.architecture = found if isinstance(found, str) else "unknown"

    def __getitem__(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise UserMistake(
                f"The model has no single {self.architecture}.{key} in its metadata, which training would need: "
                "pull it as safetensors (hf:org/repo/)."
            )
        return value

    def get(self, key: str, default: Any = None) -> Any:
        return self._metadata.get(f"{self.architecture}.{key}", default)

    def token(self, which: str) -> int | None:
        value = self._metadata.get(f"tokenizer.ggml.{which}_token_id")
        return value if isinstance(value, int) else None


Tensors = Mapping[str, tuple[Path, Tensor]]


def _config(facts: _Facts, architecture: Architecture, tensors: Tensors) -> dict[str, Any]:
    """What all have in common."""
    heads = facts["attention.head_count"]
    if "model.embed_tokens.weight" not in tensors:
        raise UserMistake("The model has no token_embd.weight: the file is damaged.")
    return {
        "architectures": [architecture.model],
        "model_type": architecture.kind,
        "hidden_size": facts["embedding_length"],
        "num_hidden_layers": facts["block_count"],
        "intermediate_size": facts["feed_forward_length"],
        "num_attention_heads": heads,
        "num_key_value_heads": facts.get("attention.head_count_kv", heads),
        "head_dim": facts.get("attention.key_length") or facts["embedding_length"] // heads,
        "max_position_embeddings": facts["context_length"],
        "rms_norm_eps": facts["attention.layer_norm_rms_epsilon"],
        # Not what the metadata calls vocab_size: some files leave that out, and the embeddings cannot be wrong.
        "vocab_size": tensors["model.embed_tokens.weight"][1].shape[1],
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "attention_bias": "model.layers.0.self_attn.q_proj.bias" in tensors,
        "mlp_bias": "model.layers.0.mlp.down_proj.bias" in tensors,
        "bos_token_id": facts.token("bos"),
        "eos_token_id": facts.token("eos"),
        "pad_token_id": facts.token("padding"),
    }


def _phi3(facts: _Facts, architecture: Architecture, tensors: Tensors) -> dict[str, Any]:
    config = _config(facts, architecture, tensors)
    return config | {
        "sliding_window": None,  # llama.cpp, which serves the model, lets it attend to everything
        "original_max_position_embeddings": facts.get(
            "rope.scaling.original_context_length", config["max_position_embeddings"]
        ),
    }


def _gemma3(facts: _Facts, architecture: Architecture, tensors: Tensors) -> dict[str, Any]:
    config = _config(facts, architecture, tensors)
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    # llama.cpp knows the largest one by its number of layers, and scales its attention in another way.
    scalar = config["hidden_size"] // heads if layers == 62 else config["head_dim"]
    return config | {"sliding_window": facts["attention.sliding_window"], "query_pre_attn_scalar": scalar}


_CONFIGS: Mapping[str, Callable[[_Facts, Architecture, Tensors], dict[str, Any]]] = {
    "phi3": _phi3,
    "gemma3": _gemma3,
}


def _rotary(facts: _Facts, config: Mapping[str, Any], table: Floats | None) -> dict[str, Any]:
    """transformers' `rope_parameters`."""
    theta = float(facts.get("rope.freq_base", 10_000.0))
    found = {"rope_theta": theta, **_scaling(facts, config, table, theta)}
    share = facts.get("rope.dimension_count", config["head_dim"]) / config["head_dim"]
    if share != 1 and facts.architecture == "phi3":
        found["partial_rotary_factor"] = share
    elif share != 1:
        raise UserMistake("The model rotates a part of each head only, which training knows of phi3 alone.")
    if facts.architecture == "gemma3":
        local = {"rope_type": "default", "rope_theta": float(facts.get("rope.freq_base_swa", 10_000.0))}
        return {"full_attention": found, "sliding_attention": local}
    return found


def _scaling(facts: _Facts, config: Mapping[str, Any], table: Floats | None, theta: float) -> dict[str, Any]:
    kind, factor = facts.get("rope.scaling.type", "none"), facts.get("rope.scaling.factor", 1.0)
    if table is not None:
        found = {"rope_type": "llama3", "factor": float(table.max()), **LLAMA3}
        if not np.allclose(_llama3(found, config["head_dim"], theta), table, rtol=1e-3):
            raise UserMistake(
                "The model scales its rotary positions in a way of its own, which training does not know."
            )
        return found
    if kind == "none" or factor in (0, 1):
        return {"rope_type": "default"}
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        original = facts["rope.scaling.original_context_length"]
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    raise UserMistake(f"The model scales its rotary positions by {kind!r}, which training does not know.")


def _llama3(parameters: Mapping[str, Any], head_dim: int, theta: float) -> NDArray[np.float64]:
    """By what Llama 3 divides each rotary frequency: nothing for short waves, the factor for long ones."""
    original, low, high = (parameters[key] for key in ("original_max_position_embeddings", *list(LLAMA3)[:2]))
    waves = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((original / waves - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / parameters["factor"] + smooth)
