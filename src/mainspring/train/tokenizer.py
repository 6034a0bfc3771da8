"""The vocabulary of a GGUF file as transformers keeps it: `tokenizer.json` and its configuration, if that can be had.

transformers has the conversion. It guesses where a file says too little, so the result is held against the inference
library on a text with what usually goes wrong in it, and is left out if a single token differs.
"""

import ctypes as c
import os
from pathlib import Path
from typing import Any

from mainspring.engine.llama import binding
from mainspring.engine.llama.measure import PASSAGE

__all__ = ["tokens_of", "write_tokenizer"]

ODD = (
    "  In 1984, 12 345 678 people's cats:\tx = 3.14159;\r\n\n\n    "
    "def f(): pass  # éü 你好 🙂 I'LL ŉ _snake_case HTTPServer2"
)


def write_tokenizer(model: Path, folder: Path) -> bool:
    """Write the vocabulary of the GGUF file `model` into `folder`; whether that was possible."""
    try:
        import transformers

        tokenizers: Any = transformers.AutoTokenizer
        found = tokenizers.from_pretrained(model.parent, gguf_file=model.name, local_files_only=True)
    except (ValueError, KeyError, OSError, ImportError, AttributeError):
        return False
    text = PASSAGE.read_text() + ODD
    if list(found(text, add_special_tokens=False)["input_ids"]) != tokens_of(model, text):
        return False
    found.save_pretrained(folder)
    return (folder / "tokenizer.json").exists()


def tokens_of(model: Path, text: str) -> list[int]:
    """What the inference library makes of a text, without loading any weights."""
    library = binding.load()
    params = library.model_default_params()
    params.vocab_only = True
    loaded = library.model_load_from_file(os.fsencode(model), params)
    if not loaded:
        return []
    data = text.encode()
    buffer = (c.c_int32 * (4 * len(data)))()
    count = library.tokenize(library.model_get_vocab(loaded), data, len(data), buffer, len(buffer), False, False)
    library.model_free(loaded)
    return list(buffer[: max(count, 0)])
