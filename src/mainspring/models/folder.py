"""Models that are a folder of files with weights in safetensors: which files are taken, and what they say.

Three kinds of folder: an embedding model as sentence-transformers keeps it, a causal language model as transformers
keeps it, whose weights may be in parts, and a LoRA adapter as PEFT keeps it (`lora.py` reads that). Names come from
outside: only those that stand here are ever taken, whatever else a folder holds (code, pickles), and each has a plain
name in the catalog.
"""

import re
from collections.abc import Set
from pathlib import Path
from typing import TypeVar

import msgspec

from mainspring.core.errors import UserMistake
from mainspring.models.safetensors import WEIGHTS

__all__ = ["ADAPTER", "NESTED", "About", "choose", "read_about"]

INDEX = "model.safetensors.index.json"
REQUIRED = ("config.json", "tokenizer.json")
EMBEDDING = {"sentence_bert_config.json": "sentence_bert_config.json", "1_Pooling/config.json": "pooling.json"}
"""What is taken of an embedding model besides, and its name in the catalog."""
CAUSAL = ("tokenizer_config.json", "generation_config.json", "chat_template.jinja")
"""The same of a causal language model; the first tells that it is one."""
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
"""What is taken of an adapter; the second tells that it is one."""
NESTED = ("1_Pooling/config.json",)
"""Files that do not lie directly in the folder."""

T = TypeVar("T")

MAX_SHARDS = 999
MAX_CONFIG_BYTES = 16 * 2**20
MAX_TEMPLATE_CHARS = 2**20
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


class About(msgspec.Struct, frozen=True):
    """What the configuration says of a causal language model.

    Args:
        context_length: tokens, if it is stated.
        chat_template: Jinja, if the model converses.
    """

    context_length: int | None
    chat_template: str | None


class _Config(msgspec.Struct):
    architectures: list[str] = []
    max_position_embeddings: int | None = None


class _Named(msgspec.Struct):
    name: str
    template: str


class _TokenizerConfig(msgspec.Struct):
    chat_template: str | list[_Named] | None = None


def choose(present: Set[str], where: str) -> dict[str, str]:
    """The files to take of those that a folder holds, weights first, each with its name in the catalog.

    Raises:
        UserMistake: one that is needed is missing; `where` names the folder.
    """
    if ADAPTER[1] in present:
        if ADAPTER[0] not in present:
            raise UserMistake(f"{where} has no {ADAPTER[0]}: adapters are taken as safetensors, never as pickles.")
        return {name: name for name in ADAPTER}
    weights = _weights(present, where)
    for name in REQUIRED:
        if name not in present:
            raise UserMistake(
                f"{where} has no {name}: a model's folder holds safetensors, config.json, tokenizer.json."
            )
    is_causal = CAUSAL[0] in present and not EMBEDDING.keys() & present
    extra = {name: name for name in CAUSAL} if is_causal else EMBEDDING
    chosen = {name: name for name in (*weights, *REQUIRED)} | extra
    return {inside: name for inside, name in chosen.items() if inside in present}


def _weights(present: Set[str], where: str) -> list[str]:
    if WEIGHTS in present:
        return [WEIGHTS]
    counts = {match[2] for name in present if (match := _SHARD.fullmatch(name))}
    if not counts:
        raise UserMistake(f"{where} has no {WEIGHTS}: models are taken as safetensors or GGUF, never as pickles.")
    count = max(counts)
    names = [f"model-{at:05d}-of-{count}.safetensors" for at in range(1, int(count) + 1)]
    if len(counts) > 1 or int(count) > MAX_SHARDS or INDEX not in present or any(each not in present for each in names):
        raise UserMistake(f"{where} has its weights in parts and not all of them (with {INDEX}) are there.")
    return [*names, INDEX]


def read_about(folder: Path) -> About | None:
    """What the files of a causal language model say; None if they are of another model.

    Raises:
        UserMistake: they are not what they should be.
    """
    config = _decode(folder / "config.json", _Config)
    if not any(name.endswith("ForCausalLM") for name in config.architectures):
        return None
    template = _decode(folder / "tokenizer_config.json", _TokenizerConfig).chat_template
    if isinstance(template, list):
        template = next((one.template for one in template if one.name == "default"), None)
    alone = folder / "chat_template.jinja"
    if alone.exists():
        template = _read(alone).decode(errors="replace")
    if template is not None and len(template) > MAX_TEMPLATE_CHARS:
        raise UserMistake("The model's chat template is larger than any real one.")
    longest = config.max_position_embeddings
    return About(longest if longest and longest > 0 else None, template or None)


def _decode(path: Path, kind: type[T]) -> T:
    if not path.exists():
        return kind()
    try:
        return msgspec.json.decode(_read(path), type=kind)
    except msgspec.MsgspecError as error:
        raise UserMistake(f"The model's {path.name} is not what it should be ({error}).") from error


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise UserMistake(f"The model's {path.name} is larger than any real one.")
    return path.read_bytes()
