"""A version of the catalog as files for other programs: GGUF for llama.cpp's, a folder for transformers and vLLM.

What comes out has its name once it is whole, and nothing that is there already is written over.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from mainspring.core.errors import UserMistake
from mainspring.core.types import ModelVersion
from mainspring.models import adapters, folder, safetensors
from mainspring.models.adapters import Pair
from mainspring.models.catalog import Catalog
from mainspring.models.safetensors import TensorEntry
from mainspring.models.sources import Progress, check_space, silent, sync
from mainspring.train import weights
from mainspring.train.base import pairs_of, root_of
from mainspring.train.export import BESIDE, peft_name
from mainspring.train.tokenizer import write_tokenizer
from mainspring.train.weights import Dtype, Floats
from mainspring.train.whole import Storage, write_gguf

__all__ = ["Exported", "Form", "export"]

Form = Literal["gguf", "safetensors"]
NO_TOKENIZER = (
    "The vocabulary was left out: transformers is not installed, or reads it in another way than the model was trained "
    "with. Add the tokenizer files of the original model."
)
DTYPES: Mapping[Storage, Dtype] = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


class Exported(NamedTuple):
    """What was written, and a sentence on what could not be; empty if nothing is missing."""

    path: Path
    remark: str = ""


def export(
    catalog: Catalog,
    version: ModelVersion,
    out: Path,
    *,
    form: Form,
    merge: bool = False,
    storage: Storage | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write a version to `out`: a file if it is GGUF, otherwise a folder.

    Args:
        merge: an adapter as the whole model that it makes of its base.
        storage: of the weights of a whole model; None keeps those of a model that is not changed, and is f16 of others.

    Raises:
        UserMistake: the form does not fit the model, `out` exists, or the disk has not the room.
    """
    if out.exists():
        raise UserMistake(f"{out} exists: choose another --outfile, or remove it.")
    if version.kind == "embedding":
        raise UserMistake(f"{version.name} is an embedding model, which is not converted.")
    if merge and not version.is_adapter:
        raise UserMistake(f"{version.name} is a whole model: there is nothing to merge, leave out --merge.")
    if storage is not None and version.is_adapter and not merge:
        raise UserMistake("An adapter is written as it is kept: --type is for whole models, or with --merge.")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    _remove(part)
    remark = ""
    try:
        if version.is_adapter and not merge:
            _adapter(catalog, version, part, form)
        else:
            remark = _whole(catalog, version, part, form, storage, progress)
        part.rename(out)
    finally:
        _remove(part)
    return Exported(out, remark)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _adapter(catalog: Catalog, version: ModelVersion, part: Path, form: Form) -> None:
    kept = {file.path for file in version.files}
    if form == "gguf":
        if version.format != "gguf":
            raise UserMistake(f"The base of {version.name} is in safetensors, and so are its adapters: export those.")
        shutil.copyfile(catalog.path(version), part)
        return
    part.mkdir()
    if set(folder.ADAPTER) <= kept:
        for name in folder.ADAPTER:
            shutil.copyfile(catalog.folder(version) / name, part / name)
        return
    adapters.write_peft(part, pairs_of(catalog, version), peft_name(root_of(catalog, version)))


def _whole(  # noqa: PLR0917 - `export`'s own
    catalog: Catalog, version: ModelVersion, part: Path, form: Form, storage: Storage | None, progress: Progress
) -> str:
    root, pairs = root_of(catalog, version), pairs_of(catalog, version) if version.is_adapter else {}
    if root.format == "safetensors":
        if form == "gguf":
            raise UserMistake(
                f"{root.name} is in safetensors: export it so, and convert it with llama.cpp's convert_hf_to_gguf.py."
            )
        _folder_from_folder(catalog.folder(root), root, part, pairs, _dtype(storage), progress)
        return ""
    model = weights.described(catalog, root)
    if form == "safetensors":
        part.mkdir()
        dtype = _dtype(storage) or "float16"
        weights.write_folder(model, part, dtype, progress, lambda name, found: adapters.changed(name, found, pairs))
        return "" if write_tokenizer(catalog.path(root), part) else NO_TOKENIZER
    if storage is None and not pairs:
        if len(root.files) > 1:
            raise UserMistake(f"{root.name} is in {len(root.files)} parts: say with --type what one file is to hold.")
        shutil.copyfile(catalog.path(root), part)
        return ""

    def values(name: str, before: Callable[[], Floats]) -> Floats:
        return adapters.changed(name, before(), pairs)

    write_gguf(model, part, storage or "f16", values, progress)
    return ""


def _dtype(storage: Storage | None) -> Dtype | None:
    if storage is not None and storage not in DTYPES:
        raise UserMistake(f"Weights in safetensors are {', '.join(DTYPES)}; {storage} is for GGUF.")
    return None if storage is None else DTYPES[storage]


def _folder_from_folder(  # noqa: PLR0917 - the same
    source: Path, root: ModelVersion, part: Path, pairs: Mapping[str, Pair], dtype: Dtype | None, progress: Progress
) -> None:
    """A folder of transformers' with an adapter merged into its weights, in one file."""
    shards = [source / file.path for file in root.files if file.path.endswith(".safetensors")]
    entries = {name: (path, entry) for path in shards for name, entry in safetensors.read_tensors(path).items()}
    kept = {entry.dtype for _, entry in entries.values()}
    code = weights.CODES[dtype] if dtype else kept.pop() if len(kept) == 1 else "F32"
    total = sum(math.prod(entry.shape) for _, entry in entries.values()) * safetensors.DTYPE_BYTES[code]
    check_space(part.parent, total)
    part.mkdir()
    for name in ("config.json", *BESIDE):
        if (source / name).exists():
            shutil.copyfile(source / name, part / name)
    with (part / safetensors.WEIGHTS).open("wb") as file:
        shapes = {name: entry.shape for name, (_, entry) in entries.items()}
        safetensors.write(file, shapes, code, _merged(entries, pairs, code, total, progress))
        sync(file)


def _merged(
    entries: Mapping[str, tuple[Path, TensorEntry]],
    pairs: Mapping[str, Pair],
    code: str,
    total: int,
    progress: Progress,
) -> Iterator[memoryview]:
    done = 0
    for name, (path, entry) in entries.items():
        data = safetensors.encode(adapters.changed(name, safetensors.floats(path, entry), pairs), code)
        done += data.nbytes
        progress("writing", done, total)
        yield data
