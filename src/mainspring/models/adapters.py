"""What LoRA adapters do to the weights of their base, whichever form they are kept in; and two made one.

An adapter that was trained on top of another is served as one: side by side their matrices make the same sum.

    B1 A1 + B2 A2 = [B1 B2] [A1; A2]

Matrices are named after the modules that transformers has, and lie as it keeps them. `lora.py` has the formats.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import UserMistake
from mainspring.models import folder, gguf, lora, safetensors
from mainspring.models.architectures import Described

__all__ = [
    "CONFIG",
    "EMBEDDINGS",
    "Pair",
    "Pairs",
    "changed",
    "joined",
    "read_gguf",
    "read_peft",
    "write_config",
    "write_peft",
]

Floats = NDArray[np.float32]
CONFIG = folder.ADAPTER[1]
EMBEDDINGS = "model.embed_tokens"
"""The one module whose weights are looked up: its change is transposed."""


class Pair(NamedTuple):
    """The matrices of one module: A (rank, in) and B (out, rank), scaled so that the change is B A."""

    a: Floats
    b: Floats


Pairs = Mapping[str, Pair]


def read_peft(place: Path) -> dict[str, Pair]:
    """Of an adapter as PEFT keeps it.

    Raises:
        UserMistake, InvalidRequest: it is no plain LoRA adapter, or damaged.
    """
    config, path = lora.read_config(place / folder.ADAPTER[1]), place / folder.ADAPTER[0]
    halves: dict[tuple[str, str], Floats] = {}
    for name, entry in safetensors.read_tensors(path).items():
        found = lora.matrix(name)
        if found is None or found in halves or len(entry.shape) != 2:
            raise UserMistake(f"The adapter's tensor {name[:100]!r} is not half of one pair of matrices.")
        halves[found] = safetensors.floats(path, entry)
    pairs: dict[str, Pair] = {}
    for module in dict.fromkeys(module for module, _ in halves):
        a, b = halves.get((module, "A")), halves.get((module, "B"))
        if a is None or b is None or a.shape[0] != b.shape[1]:
            raise UserMistake(f"The adapter's matrices for {module[:100]!r} are no pair.")
        pairs[module] = Pair(a, b * np.float32(lora.scales(config, module, a.shape[0])))
    return pairs


def read_gguf(path: Path, base: Described) -> dict[str, Pair]:
    """Of an adapter in GGUF, which has been checked against its base (`lora.check_adapter`)."""
    layout = gguf.read_layout(path)
    alpha = np.frombuffer(layout.metadata["adapter.lora.alpha"][-4:], "<f4")[0]
    halves = {tensor.name: _values(path, tensor) for tensor in layout.tensors}
    pairs: dict[str, Pair] = {}
    for name, a in halves.items():
        target, _, which = name.rpartition(".")
        module = base.architecture.name(target)
        if which != "lora_a" or module is None:
            continue
        b = halves[f"{target}.lora_b"]
        if target == "token_embd.weight":
            a = a.T  # noqa: PLW2901 - kept as rows of the vocabulary there
        b = base.to_transformers(target, b)
        pairs[module.removesuffix(".weight")] = Pair(np.ascontiguousarray(a), b * (alpha / np.float32(a.shape[0])))
    return pairs


def _values(path: Path, tensor: gguf.Tensor) -> Floats:
    kinds = {0: "F32", 1: "F16", 30: "BF16"}
    if tensor.kind not in kinds:
        raise UserMistake(f"The adapter's {tensor.name[:80]!r} is stored in fewer than 16 bits: convert it again.")
    shape = tensor.shape[::-1]
    begin = tensor.offset
    entry = safetensors.TensorEntry(kinds[tensor.kind], shape, begin, begin + gguf.num_bytes(tensor))
    return safetensors.floats(path, entry)


def joined(first: Pairs, second: Pairs) -> dict[str, Pair]:
    """One adapter that does what both do."""
    made = {**first, **second}
    for module in first.keys() & second.keys():
        (a1, b1), (a2, b2) = first[module], second[module]
        made[module] = Pair(np.concatenate((a1, a2)), np.concatenate((b1, b2), axis=1))
    return made


def changed(name: str, values: Floats, pairs: Pairs) -> Floats:
    """The weight `name` with an adapter merged into it."""
    pair = pairs.get(name.removesuffix(".weight"))
    if pair is None:
        return values
    change = (pair.b @ pair.a).astype(np.float32, copy=False)
    return values + (change.T if name == f"{EMBEDDINGS}.weight" else change)


def write_peft(place: Path, pairs: Pairs, base: str) -> None:
    """Write an adapter as PEFT keeps it, in 32 bits; `base` is what it calls its base model."""
    tensors: dict[str, Floats] = {}
    for module, (a, b) in sorted(pairs.items()):
        kind = "embedding_" if module == EMBEDDINGS else ""
        last = "" if kind else ".weight"
        tensors[f"base_model.model.{module}.lora_{kind}A{last}"] = a
        tensors[f"base_model.model.{module}.lora_{kind}B{last}"] = b
    with (place / folder.ADAPTER[0]).open("wb") as file:
        shapes = {name: values.shape for name, values in tensors.items()}
        safetensors.write(file, shapes, "F32", (safetensors.encode(each, "F32") for each in tensors.values()))
    ranks = {module: pair.a.shape[0] for module, pair in pairs.items()}
    rank = max(ranks.values())
    others = {module: each for module, each in sorted(ranks.items()) if each != rank}
    config = lora.PeftConfig(r=rank, lora_alpha=rank, rank_pattern=others, alpha_pattern=dict(others))
    write_config(place, config, list(pairs), base)


def write_config(place: Path, config: lora.PeftConfig, modules: list[str], base: str) -> None:
    """Write `adapter_config.json`, the same bytes for the same adapter: PEFT writes sets in any order, and paths."""
    layer = re.compile(r"model\.layers\.\d+\.")
    targets = sorted({layer.sub("", module).rsplit(".", 1)[-1] for module in modules})
    said = {
        **msgspec.to_builtins(config),
        "base_model_name_or_path": base,
        "task_type": "CAUSAL_LM",
        "target_modules": targets,
        "lora_dropout": 0.0,
        "inference_mode": True,
    }
    text = msgspec.json.format(msgspec.json.encode(dict(sorted(said.items()))))
    (place / folder.ADAPTER[1]).write_bytes(text)
