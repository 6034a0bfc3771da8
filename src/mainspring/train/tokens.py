"""The vocabulary that a model is served with, for training on exactly the tokens that serving will feed it.

Without the model: llama.cpp reads the vocabulary of a GGUF file alone, `tokenizers` that of safetensors. Opening takes
a tenth of a second and some tens of megabytes.
"""

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ModelVersion
from mainspring.engine.vocabulary import Vocabulary
from mainspring.models import gguf
from mainspring.models.catalog import Catalog
from mainspring.train.auto import Shape

__all__ = ["open_vocabulary", "read_shape", "with_weights"]

MAX_BASES = 8
"""Adapters of adapters of ...: longer chains are a mistake in the catalog."""


def with_weights(catalog: Catalog, version: ModelVersion) -> ModelVersion:
    """The version whose weights `version` needs: itself, or the base of an adapter.

    Raises:
        ModelNotFound: the base is not in the catalog.
        InvalidRequest: an adapter without a base.
    """
    for _ in range(MAX_BASES):
        if not version.is_adapter:
            return version
        if version.base is None:
            break
        version = catalog.get(version.base)
    raise InvalidRequest(f"The adapter {version.id} names no base model: pull it again with --base.", param="model")


def open_vocabulary(catalog: Catalog, version: ModelVersion) -> Vocabulary:
    """The tokens of a model of the catalog, and how it wants a conversation written.

    Raises:
        InvalidRequest: it does not generate text.
        EngineUnavailable: its files cannot be read.
    """
    version = with_weights(catalog, version)
    if version.kind not in ("chat", "completion"):
        raise InvalidRequest(f"The model {version.name!r} generates no text: choose one that does.", param="model")
    context = version.context_length or 0
    path = catalog.path(version)
    if version.format == "gguf":
        from mainspring.engine.llama import binding
        from mainspring.engine.llama.vocabulary import LlamaVocabulary

        return LlamaVocabulary(binding.load(), path, context_length=context, only=True)
    if version.format == "safetensors":
        from mainspring.engine.huggingface import HfVocabulary

        return HfVocabulary(path.parent, context)
    raise InvalidRequest(f"Models in the format {version.format} cannot be trained: choose GGUF or safetensors.")


class _Config(msgspec.Struct):
    hidden_size: int = 0
    num_hidden_layers: int = 0


def read_shape(catalog: Catalog, version: ModelVersion, vocab: int) -> Shape | None:
    """The sizes of a model of the catalog, from the headers of its files; None if they do not say."""
    version = with_weights(catalog, version)
    path = catalog.path(version)
    if version.format == "gguf":
        header = gguf.read_header(path)
        hidden, layers = header.of_architecture("embedding_length"), header.of_architecture("block_count")
    else:
        try:
            config = msgspec.json.decode((path.parent / "config.json").read_bytes(), type=_Config)
        except (OSError, msgspec.MsgspecError):
            return None
        hidden, layers = config.hidden_size, config.num_hidden_layers
    if not version.num_params or not hidden or not layers:
        return None
    return Shape(version.num_params, hidden, layers, vocab)
