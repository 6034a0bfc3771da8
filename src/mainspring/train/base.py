"""A version of the catalog as a PyTorch model, whichever form it is kept in.

Whole models in safetensors are loaded as they are, GGUF files through `weights.as_folder`, and an adapter is merged
into its base: what was fine-tuned can be fine-tuned again. Nothing is looked up on the network and no code comes out of
a model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring.core.errors import UserMistake
from mainspring.core.types import ModelVersion
from mainspring.models import adapters
from mainspring.models.adapters import Pair
from mainspring.models.catalog import Catalog
from mainspring.models.sources import Progress, silent
from mainspring.train import weights
from mainspring.train.weights import Dtype

__all__ = ["LoadedBase", "load_base", "pairs_of", "root_of"]


@dataclass(frozen=True, kw_only=True)
class LoadedBase:
    """A causal language model of transformers, in evaluation mode, on the processor.

    Args:
        model: `transformers.PreTrainedModel`; its weights are nobody else's.
        version: what was asked for.
        root: the whole model at its bottom: `version` itself, or what the adapter `version` is applied to.
    """

    model: Any
    version: ModelVersion
    root: ModelVersion


def root_of(catalog: Catalog, version: ModelVersion) -> ModelVersion:
    """The whole model that `version` is, or is an adapter of.

    Raises:
        ModelNotFound: the adapter's base has gone from the catalog.
    """
    return catalog.get(version.base) if version.is_adapter and version.base else version


def pairs_of(catalog: Catalog, version: ModelVersion) -> dict[str, Pair]:
    """The matrices of an adapter of the catalog."""
    if version.format == "safetensors":
        return adapters.read_peft(catalog.folder(version))
    if any(file.path == adapters.CONFIG for file in version.files):  # exactly what was trained, before any conversion
        return adapters.read_peft(catalog.folder(version))
    return adapters.read_gguf(catalog.path(version), weights.described(catalog, root_of(catalog, version)))


def load_base(
    catalog: Catalog,
    base: ModelVersion,
    *,
    dtype: Dtype = "float32",
    attention: str = "sdpa",
    progress: Progress = silent,
) -> LoadedBase:
    """Load a model to train it.

    Args:
        dtype: of the weights in memory.
        attention: transformers' name of the implementation.
        progress: told while the weights of a GGUF file are converted, which happens once for a version.

    Raises:
        UserMistake: it generates no text, its architecture is not known, or the disk has not the room.
        ModelNotFound: it is an adapter whose base is not here.
    """
    root = root_of(catalog, base)
    if root.kind not in ("chat", "completion"):
        raise UserMistake(f"{base.name} generates no text and cannot be fine-tuned: choose another model.")
    pairs = pairs_of(catalog, base) if base.is_adapter else {}
    folder = weights.as_folder(catalog, root, dtype, progress)
    model = _load(folder, dtype, attention)
    if pairs:
        _merge(model, pairs)
    return LoadedBase(model=model, version=base, root=root)


def _load(folder: Path, dtype: Dtype, attention: str) -> Any:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserMistake("Training needs PyTorch and more: pip install 'mainspring[train]'.") from error
    causal: Any = transformers.AutoModelForCausalLM
    try:
        model, report = causal.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise UserMistake(f"transformers cannot load this model: {str(error).splitlines()[0][:300]}") from error
    if report["missing_keys"]:  # they would be random
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise UserMistake(f"The model's files hold no weights for {some}: pull it again.")
    return model.eval()


def _merge(model: Any, pairs: dict[str, Pair]) -> None:
    import torch

    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            module = modules.get(name)
            if module is None:
                raise UserMistake(f"The adapter changes {name[:80]!r}, which its base model does not have.")
            change: Any = torch.as_tensor(b @ a)
            if name == adapters.EMBEDDINGS:
                change = change.T
            module.weight += change.to(module.weight.dtype)
