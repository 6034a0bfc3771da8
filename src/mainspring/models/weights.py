"""Which files a model is served from, as the catalog knows them, and whether they are those still."""

import functools
import hashlib
from pathlib import Path

from mainspring.core.config import EngineSettings
from mainspring.core.errors import ModelNotFound
from mainspring.core.receipt import Weights, WeightsFile
from mainspring.core.types import ModelVersion
from mainspring.models import prepared
from mainspring.models.catalog import Catalog

__all__ = ["changed", "weights_of", "whole", "why_not"]


def whole(version: ModelVersion) -> Weights:
    """A version as it was shipped, or an adapter."""
    files = tuple(WeightsFile(each.path, each.bytes, each.sha256) for each in version.files)
    return Weights(
        model=version.id, format="shipped", files=files, base=version.base or _trained_from(version),
        made_by=version.made_by,
    )  # fmt: skip


def _trained_from(version: ModelVersion) -> str | None:
    return version.lineage.base if version.lineage is not None else None


def weights_of(catalog: Catalog, version: ModelVersion, settings: EngineSettings) -> Weights:
    """What a replica that is started now would load."""
    shipped = whole(version)
    path, _ = prepared.weights(catalog, version, settings)
    if path == catalog.path(version):
        return shipped
    choice = prepared.find(catalog, version, settings)
    if choice is None or choice.file is None or Path(choice.file.path).name != path.name:
        ref, name = WeightsFile(path.name, path.stat().st_size, ""), path.name.partition(".")[0]  # nobody hashed it
    else:
        ref, name = WeightsFile(path.name, choice.file.bytes, choice.file.sha256), choice.format
    return Weights(model=shipped.model, format=name, files=(ref,), base=shipped.base, made_by=shipped.made_by)


def changed(catalog: Catalog, version: ModelVersion, weights: Weights) -> str | None:
    """The first of the files that is no longer what it was, read anew if it may have changed since it was read last;
    None if all are."""
    for each in weights.files:
        place = catalog.folder(version)
        path = place / each.path if weights.format == "shipped" else prepared.folder(catalog, version) / each.path
        try:
            facts = path.stat()
            if facts.st_size != each.bytes or _hash(path, facts.st_size, facts.st_ctime_ns) != each.sha256:
                return each.path
        except OSError:
            return each.path
    return None


def why_not(catalog: Catalog, weights: Weights) -> str | None:
    """Why what was computed with `weights` cannot be computed with them now; None if it can."""
    try:
        version = catalog.get(weights.model)
    except ModelNotFound:
        return f"The model {weights.model} is gone."
    path = changed(catalog, version, weights)
    return None if path is None else f"The file {path} of {weights.model} is no longer what it was."


@functools.lru_cache(maxsize=256)
def _hash(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001 - what the hash is remembered by
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
