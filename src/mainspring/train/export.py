"""From what training has made to a version of the catalog that can be served.

A version is immutable, and is listed once it is whole. Registering the same checkpoint again finds it there, so whoever
was killed in the middle just does it again.
"""

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mainspring.core.errors import UserMistake
from mainspring.core.types import FileRef, Lineage, ModelVersion
from mainspring.models import adapters, folder, gguf, lora, safetensors
from mainspring.models.catalog import Catalog
from mainspring.models.describe import MADE
from mainspring.models.sources import Progress, silent, version_of
from mainspring.train import weights, whole
from mainspring.train.base import pairs_of, root_of
from mainspring.train.plan import Made, Plan
from mainspring.train.weights import Floats
from mainspring.train.whole import Storage

__all__ = ["checkpoint_name", "lineage_of", "register"]

WHOLE = "model.gguf"
BESIDE = ("tokenizer.json", *folder.CAUSAL)
"""What a whole model in safetensors takes over from its base."""


def checkpoint_name(plan: Plan, made: Made) -> str:
    """What a checkpoint is called: the last one has the name that was asked for."""
    return plan.name if made.is_last else f"{plan.name}:ckpt-step-{made.step}"


def lineage_of(plan: Plan, made: Made, base: ModelVersion) -> Lineage:
    """Where the weights come from; paths of this machine are left out."""
    known = {"job", "base", "name", "method", "training", "validation", "seed"}
    settings = {key: value for key, value in msgspec.to_builtins(plan).items() if key not in known and value}
    return Lineage(
        base=base.id,
        method=plan.method,
        training=plan.training.sha256,
        validation=plan.validation.sha256 if plan.validation else None,
        seed=plan.seed,
        step=made.step,
        settings=settings,
        scores=dict(made.metrics),
    )


def register(
    catalog: Catalog,
    plan: Plan,
    made: Made,
    *,
    project: str | None = None,
    storage: Storage = "f16",
    progress: Progress = silent,
) -> ModelVersion:
    """List a checkpoint in the catalog, where a server that runs finds it within a second.

    Args:
        made: its folder holds a PEFT adapter (`adapter_model.safetensors`, `adapter_config.json`) or whole weights
            (`model.safetensors`, `config.json`), by transformers' names.
        project: whose the model is; None makes it everybody's.
        storage: of whole weights over a base in GGUF.

    Raises:
        ModelNotFound: the base has gone from the catalog.
        UserMistake: no such adapter can be served, or the disk has not the room.
        InvalidRequest: the weights are damaged.
    """
    name = checkpoint_name(plan, made)
    for each in catalog.list():
        if (each.name, each.made_by) == (name, plan.job) and each.lineage and each.lineage.step == made.step:
            return each
    base = catalog.get(plan.base)
    root = root_of(catalog, base)
    with catalog.work(progress) as work:
        parts = _Parts(catalog, base, root, made.folder, work)
        if plan.method == "reward":
            return _reward(parts, plan, made, project)
        is_adapter = (made.folder / folder.ADAPTER[0]).exists()
        names = _adapter(parts) if is_adapter else _whole(parts, storage, progress)
        files = tuple(_file(work / each) for each in names)
        version = msgspec.structs.replace(
            base,
            name=name,
            version=version_of(files),
            format=root.format,
            files=files,
            source=f"job:{plan.job}/step-{made.step}",
            created=int(time.time()),
            num_params=_num_params(work / names[0]),
            base=root.id if is_adapter else base.id,
            is_adapter=is_adapter,
            made_by=plan.job,
            project=project,
            lineage=lineage_of(plan, made, base),
        )
        return catalog.add(work, version)


class _Parts(NamedTuple):
    """What a version is put together from. `source` is training's folder, `work` the one that becomes the version's."""

    catalog: Catalog
    base: ModelVersion
    root: ModelVersion
    source: Path
    work: Path


def _reward(parts: _Parts, plan: Plan, made: Made, project: str | None) -> ModelVersion:
    """A reward model as PEFT keeps it: its matrices with the head beside them. It is read by `reward.load` alone, which
    merges whatever adapter it was trained on top of; so its base is just that."""
    catalog, base, _, source, work = parts
    for name in folder.ADAPTER:
        shutil.copyfile(source / name, work / name)
    files = tuple(_file(work / name) for name in folder.ADAPTER)
    version = ModelVersion(
        name=checkpoint_name(plan, made), version=version_of(files), kind="reward", format="safetensors", files=files,
        source=f"job:{plan.job}/step-{made.step}", created=int(time.time()), context_length=base.context_length,
        num_params=_num_params(work / folder.ADAPTER[0]), licence=base.licence, base=base.id, is_adapter=True,
        made_by=plan.job, project=project, lineage=lineage_of(plan, made, base),
    )  # fmt: skip
    return catalog.add(work, version)


def _adapter(parts: _Parts) -> list[str]:
    """Write the adapter, and its GGUF form if the base is GGUF; names of the files, the one that is served first."""
    catalog, base, root, source, work = parts
    if base.is_adapter:
        pairs = adapters.joined(pairs_of(catalog, base), adapters.read_peft(source))
        adapters.write_peft(work, pairs, peft_name(root))
    else:
        shutil.copyfile(source / folder.ADAPTER[0], work / folder.ADAPTER[0])
        config = lora.read_config(source / folder.ADAPTER[1])
        modules = [
            found[0] for name in safetensors.read_tensors(work / folder.ADAPTER[0]) if (found := lora.matrix(name))
        ]
        adapters.write_config(work, config, modules, peft_name(root))
    if root.format != "gguf":
        return list(folder.ADAPTER)
    layouts = [gguf.read_layout(catalog.path(root, file)) for file in root.files]
    lora.write_peft(work, layouts, work / MADE)
    lora.check_adapter(work / MADE, layouts)
    return [MADE, *folder.ADAPTER]


def peft_name(root: ModelVersion) -> str:
    """What an adapter calls its base: the repository, or the catalog's name."""
    kind, _, rest = root.source.partition(":")
    return "/".join(rest.split("/")[:2]) if kind == "hf" else root.name


def _whole(parts: _Parts, storage: Storage, progress: Progress) -> list[str]:
    catalog, _, root, source, work = parts
    path = source / safetensors.WEIGHTS
    if not path.exists():
        raise UserMistake(f"Training has left neither {folder.ADAPTER[0]} nor {safetensors.WEIGHTS}.")
    if root.format == "gguf":
        trained = _Trained(path)
        whole.write_gguf(weights.described(catalog, root), work / WHOLE, storage, trained.values, progress)
        return [WHOLE]
    shutil.copyfile(path, work / safetensors.WEIGHTS)
    shutil.copyfile(source / "config.json", work / "config.json")
    beside = [name for name in BESIDE if (catalog.folder(root) / name).exists()]
    for name in beside:
        shutil.copyfile(catalog.folder(root) / name, work / name)
    return [safetensors.WEIGHTS, "config.json", *beside]


class _Trained:
    """The tensors of a file by transformers' names."""

    def __init__(self, path: Path) -> None:
        self._path, self._entries = path, safetensors.read_tensors(path)

    def values(self, name: str, _: Any) -> Floats:
        entry = self._entries.get(name)
        if entry is None:
            raise UserMistake(f"Training has left no {name[:80]!r}: whole weights need every tensor of the base.")
        return safetensors.floats(self._path, entry)


def _file(path: Path) -> FileRef:
    with path.open("rb") as file:
        return FileRef(
            path=path.name, bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest()
        )


def _num_params(path: Path) -> int:
    if path.suffix == ".gguf":
        return gguf.read_header(path).num_params
    return sum(entry.num_items for entry in safetensors.read_tensors(path).values())
