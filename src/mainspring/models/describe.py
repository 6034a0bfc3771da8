"""What has been fetched: its kind, its numbers and its name, from what the files say of themselves."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from mainspring.core.errors import UserMistake
from mainspring.core.types import FileRef, ModelVersion
from mainspring.models import folder, gguf, sources
from mainspring.models.safetensors import read_tensors

__all__ = ["Base", "describe"]

MADE = "adapter.gguf"
"""The GGUF form of an adapter in safetensors, which is what is served."""


class Base(NamedTuple):
    """The model that an adapter belongs to, and its files."""

    version: ModelVersion
    paths: tuple[Path, ...]


FindBase = Callable[[str | None], Base]
"""The base model of an adapter that calls it so, or gives it no name; raises UserMistake if it is not here."""


def describe(root: Path, fetched: sources.Fetched, source: str, base: FindBase) -> ModelVersion:
    """The version that the files in `root` make, under the name that they give it.

    Raises:
        UserMistake, InvalidRequest: they are no model that can be served.
    """
    first = fetched.files[0].path
    if first == folder.ADAPTER[0]:
        return _adapter(root, fetched, source, base)
    if first.endswith(".safetensors"):
        about = folder.read_about(root)
        return _embedding(root, fetched, source) if about is None else _causal(root, about, fetched, source)
    if gguf.read_header(root / first).text("general.type") == "adapter":
        return _adapter(root, fetched, source, base)
    return _gguf(root, fetched, source)


def _folder_name(source: str) -> str:
    """Files are called alike in every such model, so the folder, the repository or the package gives the name."""
    kind, _, rest = source.partition(":")
    return sources.model_name(rest.partition("==")[0] if kind == "pypi" else Path(rest).name)


def _gguf(root: Path, fetched: sources.Fetched, source: str) -> ModelVersion:
    header = gguf.read_header(root / fetched.files[0].path)
    # The shards of one model share its metadata; each has tensors of its own.
    others = sum(gguf.read_header(root / file.path).num_params for file in fetched.files[1:])
    template = header.text("tokenizer.chat_template")
    embeds = (header.of_architecture("pooling_type") or 0) > 0
    context_length = header.of_architecture("context_length")
    return ModelVersion(
        name=sources.model_name(fetched.files[0].path),
        version=sources.version_of(fetched.files),
        kind="embedding" if embeds else "chat" if template else "completion",
        format="gguf",
        files=fetched.files,
        source=source,
        created=int(time.time()),
        context_length=context_length if context_length and context_length > 0 else None,
        num_params=header.num_params + others or None,
        licence=header.text("general.license") or fetched.licence,
        chat_template=template,
    )


def _adapter(root: Path, fetched: sources.Fetched, source: str, base: FindBase) -> ModelVersion:
    """Check the adapter against its base; PEFT's files get their GGUF form."""
    from mainspring.models import lora  # here, so that a server that lists models does without numpy

    files = fetched.files
    is_peft = files[0].path == folder.ADAPTER[0]
    of = base(lora.base_name(root / (folder.ADAPTER[1] if is_peft else files[0].path)))
    layouts = [gguf.read_layout(path) for path in of.paths]
    if is_peft:
        lora.write_peft(root, layouts, root / MADE)
        with (root / MADE).open("rb") as made:
            digest = hashlib.file_digest(made, "sha256").hexdigest()
            files = (FileRef(path=MADE, bytes=made.tell(), sha256=digest), *files)
    lora.check_adapter(root / files[0].path, layouts)
    return ModelVersion(
        name=_folder_name(source) if is_peft else sources.model_name(files[0].path),
        version=sources.version_of(files),
        kind=of.version.kind,
        format="gguf",
        files=files,
        source=source,
        created=int(time.time()),
        context_length=of.version.context_length,
        num_params=gguf.read_header(root / files[0].path).num_params,
        licence=fetched.licence,
        chat_template=of.version.chat_template,
        base=of.version.id,
        is_adapter=True,
    )


def _causal(root: Path, about: folder.About, fetched: sources.Fetched, source: str) -> ModelVersion:
    shards = [file for file in fetched.files if file.path.endswith(".safetensors")]
    return ModelVersion(
        name=_folder_name(source),
        version=sources.version_of(fetched.files),
        kind="chat" if about.chat_template else "completion",
        format="safetensors",
        files=fetched.files,
        source=source,
        created=int(time.time()),
        context_length=about.context_length,
        num_params=sum(entry.num_items for file in shards for entry in read_tensors(root / file.path).values()),
        licence=fetched.licence,
        chat_template=about.chat_template,
    )


class _Config(msgspec.Struct):
    """What is read of an embedding model's `config.json`."""

    max_position_embeddings: int | None = None


class _Limits(msgspec.Struct):
    max_seq_length: int | None = None


def _embedding(root: Path, fetched: sources.Fetched, source: str) -> ModelVersion:
    tensors = read_tensors(root / fetched.files[0].path)
    limits = root / "sentence_bert_config.json"
    try:
        config = msgspec.json.decode((root / "config.json").read_bytes(), type=_Config)
        longest = msgspec.json.decode(limits.read_bytes(), type=_Limits) if limits.exists() else _Limits()
    except msgspec.MsgspecError as error:
        raise UserMistake(f"The model's configuration is not what it should be ({error}).") from error
    return ModelVersion(
        name=_folder_name(source),
        version=sources.version_of(fetched.files),
        kind="embedding",
        format="safetensors",
        files=fetched.files,
        source=source,
        created=int(time.time()),
        context_length=longest.max_seq_length or config.max_position_embeddings,
        num_params=sum(entry.num_items for entry in tensors.values() if entry.dtype in ("F32", "F16", "BF16")),
        licence=fetched.licence,
    )
