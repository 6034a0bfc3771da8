"""The weights of a GGUF model as numbers: as safetensors for transformers, kept in the version's folder.

    models/<name>/<version>/trainable/<dtype>.<recipe>/    config.json, model.safetensors; whole once it has its name
    models/<name>/<version>/trainable/.lock                held by whoever writes

Weights are converted tensor by tensor with the inference library's own functions, so nothing has to fit in memory
twice. Removed with the version. Takes 2 or 4 bytes a weight on the disk.
"""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.types import ModelVersion
from mainspring.engine.llama import binding
from mainspring.engine.llama.quantise import Quantiser
from mainspring.models import architectures, safetensors
from mainspring.models.architectures import Described
from mainspring.models.catalog import Catalog, locked
from mainspring.models.gguf import Tensor, num_bytes
from mainspring.models.sources import Progress, check_space, sync

__all__ = ["Dtype", "as_float", "as_folder", "described", "quantiser", "values", "write_folder"]

Dtype = Literal["float32", "bfloat16", "float16"]
CODES: Mapping[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
RECIPE = 1
"""Counted up when the same weights would come out as other bytes, or under other names."""

Floats = NDArray[np.float32]
Change = Callable[[str, Floats], Floats]
"""From a tensor's name in transformers and its values to other values."""


def quantiser() -> Quantiser:
    """The library's conversions, on all processors."""
    return Quantiser(binding.find(), os.cpu_count() or 1)


def described(catalog: Catalog, version: ModelVersion) -> Described:
    """A GGUF version of the catalog, as transformers has to know it.

    Raises:
        UserMistake, InvalidRequest: it cannot be trained; the message says why.
    """
    return architectures.read([catalog.path(version, file) for file in version.files])


def as_float(path: Path, tensor: Tensor, library: Quantiser) -> Floats:
    """The values of a tensor, as GGUF has them, in numpy's shape (a row last)."""
    raw = np.fromfile(path, np.uint8, num_bytes(tensor), offset=tensor.offset)
    return library.to_float(raw, tensor.kind).reshape(tensor.shape[::-1])


def values(model: Described, change: Change | None = None) -> Iterator[tuple[str, Floats]]:
    """Every weight by transformers' name, as transformers keeps it."""
    library = quantiser()
    for name, (path, tensor) in model.tensors.items():
        found = model.to_transformers(tensor.name, as_float(path, tensor, library))
        yield name, found if change is None else change(name, found)


def write_folder(
    model: Described, folder: Path, dtype: Dtype, progress: Progress, change: Change | None = None
) -> None:
    """Write `config.json` and `model.safetensors` into `folder`, which exists.

    Raises:
        UserMistake: the disk has not the room.
    """
    shapes = {name: tensor.shape[::-1] for name, (_, tensor) in model.tensors.items()}
    code, done = CODES[dtype], 0
    total = sum(math.prod(shape) for shape in shapes.values()) * safetensors.DTYPE_BYTES[code]
    check_space(folder, total)

    def encoded() -> Iterator[memoryview]:
        nonlocal done
        for _, found in values(model, change):
            data = safetensors.encode(found, code)
            done += data.nbytes
            progress("converting", done, total)
            yield data

    with (folder / safetensors.WEIGHTS).open("wb") as file:
        safetensors.write(file, shapes, code, encoded())
        sync(file)
    with (folder / "config.json").open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode({**model.config, "dtype": dtype})))
        sync(file)


def as_folder(catalog: Catalog, version: ModelVersion, dtype: Dtype, progress: Progress) -> Path:
    """The folder that transformers loads the whole model `version` from; of a GGUF file it is made once.

    Args:
        dtype: of the weights, if they have to be written; a folder in float32 serves for all.

    Raises:
        UserMistake: the disk has not the room, or the architecture is not known.
    """
    if version.format == "safetensors":
        return catalog.folder(version)
    place = catalog.folder(version) / "trainable"
    folders = [place / f"{each}.{RECIPE}" for each in dict.fromkeys((dtype, "float32"))]
    if (found := _present(folders)) is not None:
        return found
    model = described(catalog, version)
    place.mkdir(exist_ok=True)
    with locked(place / ".lock", progress):
        if (found := _present(folders)) is not None:  # another process was faster
            return found
        for old in place.iterdir():  # of earlier recipes, or what a process that was killed has left
            if old.is_dir() and not old.name.endswith(f".{RECIPE}"):
                shutil.rmtree(old, ignore_errors=True)
        part = place / f"{folders[0].name}.part"
        part.mkdir()
        try:
            write_folder(model, part, dtype, progress)
            part.rename(folders[0])
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folders[0]


def _present(folders: list[Path]) -> Path | None:
    return next((folder for folder in folders if folder.is_dir()), None)
