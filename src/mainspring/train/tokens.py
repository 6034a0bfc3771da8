"""The vocabulary that a model is served with, for training on exactly the tokens that serving will feed it.

Without the model: llama.cpp reads the vocabulary of a GGUF file alone, `tokenizers` that of safetensors. Opening takes
a tenth of a second and some tens of megabytes.
"""

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ModelVersion
from mainspring.engine.vocabulary import Vocabulary
from mainspring.models.catalog import Catalog

__all__ = ["open_vocabulary", "with_weights"]

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
