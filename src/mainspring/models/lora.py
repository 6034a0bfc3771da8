"""LoRA adapters: checks those in GGUF against their base, and writes PEFT's (safetensors) as GGUF.

An adapter is downloaded like a model and trusted as little. The inference library aborts the process on some files that
are wrong, so whatever it takes for granted is checked here, before the file is in the catalog: types of metadata, pairs
of matrices, their shapes against the base model's.

    y = W x + (alpha / rank) B (A x)        A: (rank, in), B: (out, rank)        Hu et al., 2021

Not covered: DoRA, biases, whole modules saved beside the matrices, activated LoRA; they are refused by name.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import UserMistake
from mainspring.models import gguf
from mainspring.models.gguf import Layout, Tensor
from mainspring.models.safetensors import TensorEntry, floats, read_tensors

__all__ = ["PeftConfig", "base_name", "check_adapter", "matrix", "read_config", "scales", "write_peft"]

Floats = NDArray[np.float32]

STRING, FLOAT32 = 8, 6
TYPES = {0, 1, 8, 30}
"""Of matrices, by ggml's number: F32, F16, Q8_0 and BF16."""
MAX_RANK = 4096

PERMUTED = {"llama", "smollm3", "granite"}
"""Architectures whose GGUF files hold the rows of the query and key projections in another order than safetensors
do: pairs of rotary components side by side instead of half a head apart."""
PLAIN = {"gemma", "gemma2", "gemma3", "olmo2", "phi3", "qwen2", "qwen3"}

MODULES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
}
_LAYER = re.compile(r"model\.layers\.(\d{1,5})\.(.+)")
_MATRIX = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<which>[AB])(?:\.default)?(?:\.weight)?"
)


class PeftConfig(msgspec.Struct):
    """What is read of `adapter_config.json`."""

    r: int
    lora_alpha: float
    peft_type: str = "LORA"
    base_model_name_or_path: str | None = None
    use_rslora: bool = False
    use_dora: bool = False
    bias: str = "none"
    modules_to_save: list[str] | None = None
    fan_in_fan_out: bool = False
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}


def read_config(path: Path) -> PeftConfig:
    """`adapter_config.json`, if it describes an adapter that can be served.

    Raises:
        UserMistake: it is not what PEFT writes, or of a kind that is not served.
    """
    try:
        config = msgspec.json.decode(path.read_bytes(), type=PeftConfig)
    except msgspec.MsgspecError as error:
        raise UserMistake(f"{path.name} is not what PEFT writes ({error}).") from error
    refused = {
        f"peft_type {config.peft_type}": config.peft_type != "LORA",
        "use_dora": config.use_dora,
        f"bias {config.bias!r}": config.bias != "none",
        "modules_to_save": bool(config.modules_to_save),
        "fan_in_fan_out": config.fan_in_fan_out,
    }
    for what, is_so in refused.items():
        if is_so:
            raise UserMistake(
                f"This adapter cannot be served: {path.name} has {what}. Plain LoRA is served; merge the adapter into "
                "its base model, and pull that as GGUF."
            )
    if not (0 < config.r <= MAX_RANK and config.lora_alpha and math.isfinite(config.lora_alpha)):
        raise UserMistake(f"{path.name} has r {config.r} and lora_alpha {config.lora_alpha}, which is no LoRA.")
    return config


def base_name(path: Path) -> str | None:
    """What an adapter calls its base model, in its GGUF file or in PEFT's `adapter_config.json`."""
    if path.suffix == ".json":
        return read_config(path).base_model_name_or_path
    return gguf.read_header(path).text("general.base_model.0.name")


def check_adapter(path: Path, base: Sequence[Layout]) -> None:
    """Whether the GGUF file at `path` is an adapter of the model whose files are `base`.

    Raises:
        InvalidRequest: it is no GGUF file that can be used.
        UserMistake: it is no LoRA adapter, or one of another model; the message says what differs.
    """
    layout = gguf.read_layout(path)
    _expect(layout, "general.type", gguf.text("general.type", "adapter"))
    _expect(layout, "adapter.type", gguf.text("adapter.type", "lora"))
    architecture = base[0].metadata.get("general.architecture", b"")
    _expect(layout, "general.architecture", architecture)
    alpha = layout.metadata.get("adapter.lora.alpha")
    if alpha is None or gguf.value_type("adapter.lora.alpha", alpha) != FLOAT32:
        raise UserMistake(f"{path.name} has no adapter.lora.alpha: convert the adapter again.")
    if "adapter.alora.invocation_tokens" in layout.metadata:
        raise UserMistake(f"{path.name} is an activated LoRA adapter, which is not served: use a plain one.")
    matrices = {tensor.name: tensor for tensor in layout.tensors}
    if len(matrices) < len(layout.tensors):
        raise UserMistake(f"{path.name} holds a tensor twice: convert the adapter again.")
    _check_matrices(matrices, base)


def _expect(layout: Layout, key: str, entry: bytes) -> None:
    found = layout.metadata.get(key, b"")
    if found != entry:
        raise UserMistake(
            f"This is no adapter of that model: it has {key} {_shown(key, found)}, not {_shown(key, entry)}."
        )


def _shown(key: str, entry: bytes) -> str:
    if not entry or gguf.value_type(key, entry) != STRING:
        return "of another type" if entry else "missing"
    return repr(entry[8 + len(key.encode()) + 12 :].decode(errors="replace")[:64])


def _check_matrices(found: Mapping[str, Tensor], base: Sequence[Layout]) -> None:
    weights = {tensor.name: tensor for layout in base for tensor in layout.tensors}
    if not found:
        raise UserMistake("This adapter holds no matrices.")
    for name, tensor in found.items():
        target, _, which = name.rpartition(".")
        other = found.get(f"{target}.{'lora_b' if which == 'lora_a' else 'lora_a'}")
        if which not in ("lora_a", "lora_b") or other is None or tensor.kind not in TYPES:
            raise UserMistake(f"The adapter's tensor {name[:80]!r} is not half of a pair of plain matrices.")
        weight = weights.get(target)
        if weight is None:
            raise UserMistake(f"The adapter changes {target[:80]!r}, which its base model does not have.")
        if which == "lora_a" and not _fits(tensor.shape, other.shape, weight):
            raise UserMistake(
                f"The adapter's matrices for {target[:80]!r} have shapes {tensor.shape} and {other.shape}, which do "
                f"not fit {weight.shape} of its base model: is it an adapter of another model?"
            )


def _fits(a: tuple[int, ...], b: tuple[int, ...], weight: Tensor) -> bool:
    """Whether the shapes (length of a row first) make a low-rank change of the weight; every other dimension, such as
    that of experts, must be equal."""
    if len(a) != len(weight.shape) or len(b) != len(a) or len(a) < 2 or not a[2:] == b[2:] == weight.shape[2:]:
        return False
    if weight.name == "token_embd.weight":  # looked up, not multiplied: both halves have the rank first
        return 0 < a[0] == b[0] <= MAX_RANK and (b[1], a[1]) == weight.shape[:2]
    return 0 < a[1] == b[0] <= MAX_RANK and (a[0], b[1]) == weight.shape[:2]


def scales(config: PeftConfig, module: str, rank: int) -> float:
    """What PEFT multiplies the product of a module's matrices with."""
    return _rescale(config, module, rank=rank) * config.lora_alpha / rank


def write_peft(folder: Path, base: Sequence[Layout], target: Path) -> None:
    """Write the adapter in `folder` (`adapter_model.safetensors`, `adapter_config.json`) to `target` as GGUF, in 32
    bits.

    Scales that differ between modules (rank-stabilised LoRA, `alpha_pattern`) are multiplied into B, since GGUF knows
    one alpha for all.

    Raises:
        UserMistake: an adapter of a kind or of modules that cannot be served, or of a model of unknown architecture.
        InvalidRequest: its matrices are damaged.
    """
    config = read_config(folder / "adapter_config.json")
    architecture = _text(base[0], "general.architecture")
    if architecture not in PERMUTED | PLAIN:
        known = ", ".join(sorted(PERMUTED | PLAIN))
        raise UserMistake(
            f"Adapters in safetensors are read for these architectures: {known}; not for {architecture!r}. Convert it "
            "with llama.cpp's convert_lora_to_gguf.py, and pull the GGUF file."
        )
    path = folder / "adapter_model.safetensors"
    entries = read_tensors(path)
    found = list(_matrices(config, path, entries, base[0], architecture))
    matrices = dict(found)
    if len(matrices) < len(found):
        raise UserMistake("The adapter holds the matrices of one module twice: save it again.")
    tensors = [Tensor(name=name, shape=values.shape[::-1], kind=0) for name, values in matrices.items()]
    metadata = {
        "general.architecture": gguf.text("general.architecture", architecture),
        "general.type": gguf.text("general.type", "adapter"),
        "adapter.type": gguf.text("adapter.type", "lora"),
        "adapter.lora.alpha": gguf.f32("adapter.lora.alpha", config.lora_alpha),
    }
    with target.open("wb") as file:
        weights = (np.ascontiguousarray(values, np.float32).tobytes() for values in matrices.values())
        gguf.write(file, metadata, tensors, weights)


def _matrices(
    config: PeftConfig, path: Path, entries: Mapping[str, TensorEntry], base: Layout, architecture: str
) -> Iterator[tuple[str, Floats]]:
    """GGUF names and values, B scaled and its rows in GGUF's order."""
    for name, entry in entries.items():
        match = _MATRIX.fullmatch(name)
        module = match["module"] if match else ""
        target = _target(module)
        if match is None or target is None or len(entry.shape) != 2:
            raise UserMistake(
                f"The adapter's tensor {name[:100]!r} is of a module that cannot be served: adapters of attention and "
                "feed-forward projections, of embeddings and of the output are."
            )
        values = floats(path, entry)
        embedding = match["embedding"] is not None
        if match["which"] == "A":
            yield f"{target}.lora_a", values.T if embedding else values
            continue
        values = values * _rescale(config, module, rank=entry.shape[1])
        if architecture in PERMUTED and target.endswith(("attn_q.weight", "attn_k.weight")):
            values = _permute(values, _num_heads(base, architecture, key="attn_k" in target), name)
        yield f"{target}.lora_b", values


def matrix(name: str) -> tuple[str, Literal["A", "B"]] | None:
    """The module that a tensor of PEFT's belongs to, and which half of the pair it is; None if it is neither."""
    match = _MATRIX.fullmatch(name)
    return (match["module"], "A" if match["which"] == "A" else "B") if match else None


def _target(module: str) -> str | None:
    """The weight that a module of transformers is called in GGUF."""
    if module in ("lm_head", "model.embed_tokens"):
        return "output.weight" if module == "lm_head" else "token_embd.weight"
    match = _LAYER.fullmatch(module)
    inner = MODULES.get(match[2]) if match else None
    return f"blk.{int(match[1])}.{inner}.weight" if match and inner else None


def _rescale(config: PeftConfig, module: str, *, rank: int) -> float:
    """What PEFT scales a module's B by, over `lora_alpha / rank`, which the engine applies to all."""
    alpha = next((value for key, value in config.alpha_pattern.items() if _covers(key, module)), config.lora_alpha)
    return alpha / config.lora_alpha * (math.sqrt(rank) if config.use_rslora else 1.0)


def _covers(pattern: str, module: str) -> bool:
    """PEFT takes keys of its patterns as regular expressions on the end of a module's name; here only plain names
    are taken, since a stranger's expression may take for ever."""
    if not re.fullmatch(r"[\w.]+", pattern):
        raise UserMistake(f"The adapter's pattern {pattern[:80]!r} is a regular expression: write plain module names.")
    return module == pattern or module.endswith(f".{pattern}")


def _permute(values: Floats, num_heads: int, name: str) -> Floats:
    """Rows of a query or key projection, from halves of each head to pairs."""
    rows, columns = values.shape
    if num_heads <= 0 or rows % (2 * num_heads):
        raise UserMistake(f"The adapter's tensor {name[:100]!r} has {rows} rows, which are not {num_heads} heads.")
    return values.reshape(num_heads, 2, rows // num_heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _num_heads(base: Layout, architecture: str, *, key: bool) -> int:
    heads = _whole(base, f"{architecture}.attention.head_count")
    of_keys = _whole(base, f"{architecture}.attention.head_count_kv")
    return (of_keys or heads or 0) if key else (heads or 0)


def _whole(layout: Layout, key: str) -> int | None:
    entry = layout.metadata.get(key)
    if entry is None or gguf.value_type(key, entry) != 4:
        return None
    return int.from_bytes(entry[-4:], "little")


def _text(layout: Layout, key: str) -> str:
    entry: Any = layout.metadata.get(key)
    if entry is None or gguf.value_type(key, entry) != STRING:
        return ""
    return entry[8 + len(key.encode()) + 12 :].decode(errors="replace")
