"""The vocabulary of a GGUF file, as llama.cpp reads it: with its weights in a backend, or alone."""

import ctypes as c
import functools
import os
from pathlib import Path

from mainspring.core.errors import EngineUnavailable
from mainspring.engine.llama import binding
from mainspring.engine.vocabulary import InfillTokens

__all__ = ["LlamaVocabulary"]


class LlamaVocabulary:
    """See `Vocabulary`.

    Args:
        library: what `binding.load` returned.
        path: a GGUF file.
        context_length: most tokens of one sequence; a file that is loaded for its vocabulary alone does not say it.
        only: read nothing but the vocabulary: no weights, and a tenth of a second.

    Raises:
        EngineUnavailable: llama.cpp does not load it.
    """

    def __init__(self, library: binding.Library, path: Path, *, context_length: int = 0, only: bool = False) -> None:
        self._lib = library
        params: binding.ModelParams = library.model_default_params()
        params.vocab_only = only
        self._model = library.model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise EngineUnavailable(f"{path.name} is not a model that this build of llama.cpp can load.")
        self._vocab = library.model_get_vocab(self._model)
        self.context_length = context_length
        self.num_tokens: int = library.vocab_n_tokens(self._vocab)
        self.eos: int = library.vocab_eos(self._vocab)
        self.bos: int | None = library.vocab_bos(self._vocab) if library.vocab_get_add_bos(self._vocab) else None
        template: bytes | None = library.model_chat_template(self._model, None)
        self.chat_template = template.decode(errors="replace") if template else None

    @property
    def special_ids(self) -> list[int]:
        """See `Vocabulary`. Takes 30 ms for a vocabulary of 49,152."""
        is_control = self._lib.vocab_is_control
        return [token for token in range(self.num_tokens) if is_control(self._vocab, token)]

    @property
    def infill(self) -> InfillTokens | None:
        """See `FillsIn`."""
        names = ("pre", "suf", "mid", "rep", "sep")
        ids: list[int | None] = [getattr(self._lib, f"vocab_fim_{name}")(self._vocab) for name in names]
        prefix, suffix, middle, repository, file = (id_ if id_ is not None and id_ >= 0 else None for id_ in ids)
        if prefix is None or suffix is None or middle is None:
            return None
        return InfillTokens(prefix, suffix, middle, repository, file)

    @functools.cache  # noqa: B019  one lives as long as its process
    def is_end(self, token: int) -> bool:
        """See `Vocabulary`."""
        return bool(self._lib.vocab_is_eog(self._vocab, token))

    @functools.cache  # noqa: B019
    def piece(self, token: int) -> bytes:
        """See `Vocabulary`."""
        if not 0 <= token < self.num_tokens:
            raise IndexError(token)
        for size in (64, 4096):
            buffer = c.create_string_buffer(size)
            length: int = self._lib.token_to_piece(self._vocab, token, buffer, size, 0, True)
            if length >= 0:
                return buffer.raw[:length]
        return b""

    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]:
        """See `Vocabulary`."""
        size = len(text) + 8
        buffer = (c.c_int32 * size)()
        count: int = self._lib.tokenize(self._vocab, text, len(text), buffer, size, False, special)
        if count < 0:
            buffer = (c.c_int32 * -count)()
            count = self._lib.tokenize(self._vocab, text, len(text), buffer, -count, False, special)
        return buffer[:count]

    def close(self) -> None:
        """Give its memory back; nothing may be asked of it afterwards."""
        self._lib.model_free(self._model)
