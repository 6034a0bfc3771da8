"""The vocabulary of a model in Hugging Face's files: `tokenizer.json`, its configuration and the chat template.

A token's bytes are what `tokenizers` does not tell (its decoders make text, and half a character has none), so they are
worked out from the two ways in which vocabularies write bytes: GPT-2's, where each byte is a printable character, and
SentencePiece's, where a space is U+2581 and bytes without a token of their own are named `<0xNN>`.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any, cast

import tokenizers

from mainspring.core.errors import EngineUnavailable
from mainspring.engine.vocabulary import InfillTokens

__all__ = ["HfVocabulary", "byte_characters"]

SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")

END_NAMES = frozenset(
    [
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<end_of_turn>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
    ]
)
"""Control tokens that end an answer whatever the configuration says: many models name only one of theirs."""

INFILL_NAMES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<repo_name>", "<file_sep>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<reponame>", "<filename>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "", ""),
    ("▁<PRE>", "▁<SUF>", "▁<MID>", "", ""),
)
"""What families of models call the tokens of `InfillTokens`, in its order."""


def byte_characters() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (GPT-2's `bytes_to_unicode`, reversed)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


class HfVocabulary:
    """See `Vocabulary`.

    Args:
        folder: the model's files.
        context_length: most tokens of one sequence.

    Raises:
        EngineUnavailable: the files are not what they should be.
    """

    def __init__(self, folder: Path, context_length: int) -> None:
        self.context_length = context_length
        config = _read(folder / "config.json")
        settings = _read(folder / "tokenizer_config.json")
        try:
            whole = folder / "tokenizer.json"
            layout: dict[str, Any] = json.loads(whole.read_bytes())
            self._special: Any = cast("Any", tokenizers).Tokenizer.from_file(str(whole))
            self._plain: Any = cast("Any", tokenizers).Tokenizer.from_file(str(whole))
        except Exception as error:  # tokenizers raises nothing more special than Exception
            raise EngineUnavailable("The model's tokenizer.json cannot be read: pull the model again.") from error
        for each in (self._special, self._plain):
            each.no_truncation()
            each.no_padding()
        self._plain.encode_special_tokens = True
        self._ids: dict[str, int] = self._special.get_vocab(with_added_tokens=True)
        self.num_tokens = max(self._ids.values()) + 1
        added: dict[int, Any] = self._special.get_added_tokens_decoder()
        self.special_ids = sorted(token for token, about in added.items() if about.special)
        self._pieces = self._all_pieces(layout, {token: about.content for token, about in added.items()})
        self.chat_template = _template(folder, settings)
        self.eos = self._eos(config, settings)
        self.bos = self._bos(config, settings)
        self._ends = self._all_ends(config, _read(folder / "generation_config.json"))

    @property
    def ends(self) -> list[int]:
        """Every token that `is_end`."""
        return sorted(self._ends)

    def is_end(self, token: int) -> bool:
        """See `Vocabulary`."""
        return token in self._ends

    def piece(self, token: int) -> bytes:
        """See `Vocabulary`. Ids that only fill up the model's matrices have no bytes."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else b""

    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]:
        """See `Vocabulary`. A SentencePiece vocabulary that begins texts with a space begins every piece so, also where
        a prompt was cut at the name of a control token that a user wrote."""
        tokenizer = self._special if special else self._plain
        return tokenizer.encode(text.decode("utf-8", "replace"), add_special_tokens=False).ids

    @functools.cached_property
    def infill(self) -> InfillTokens | None:
        """See `FillsIn`."""
        for names in INFILL_NAMES:
            prefix, suffix, middle, repository, file = map(self._ids.get, names)
            if prefix is not None and suffix is not None and middle is not None:
                return InfillTokens(prefix, suffix, middle, repository, file)
        return None

    def _all_pieces(self, layout: dict[str, Any], added: dict[int, str]) -> list[bytes]:
        steps = json.dumps([layout.get("pre_tokenizer"), layout.get("decoder")])
        bytes_of = byte_characters() if "ByteLevel" in steps else None
        pieces = [b""] * self.num_tokens
        for text, token in self._ids.items():
            if token in added:
                pieces[token] = added[token].encode()
            elif bytes_of is not None and all(character in bytes_of for character in text):
                pieces[token] = bytes(bytes_of[character] for character in text)
            elif match := _BYTE.fullmatch(text):
                pieces[token] = bytes([int(match[1], 16)])
            else:
                pieces[token] = text.replace(SPACE, " ").encode()
        return pieces

    def _eos(self, config: dict[str, Any], settings: dict[str, Any]) -> int:
        named = self._named(settings.get("eos_token"))
        found = [named] if named is not None else _ids(config.get("eos_token_id"))
        if not found:
            raise EngineUnavailable("The model's configuration names no token that ends a text (eos_token).")
        return found[0]

    def _bos(self, config: dict[str, Any], settings: dict[str, Any]) -> int | None:
        """The token that the tokenizer itself begins a text with, or the one that the chat template asks for."""
        first = self._special.encode("a").ids[:1]
        if first and first[0] in self.special_ids:
            return first[0]
        if "bos_token" not in (self.chat_template or "") and not settings.get("add_bos_token"):
            return None
        named = self._named(settings.get("bos_token"))
        return named if named is not None else next(iter(_ids(config.get("bos_token_id"))), None)

    def _all_ends(self, *configs: dict[str, Any]) -> frozenset[int]:
        stated = {token for config in configs for token in _ids(config.get("eos_token_id"))}
        known = {self._ids[name] for name in END_NAMES if self._ids.get(name) in self.special_ids}
        return frozenset(token for token in {self.eos} | stated | known if token < self.num_tokens)

    def _named(self, name: Any) -> int | None:
        """A token that the configuration names, as a string or as a dictionary with its content."""
        text = cast("dict[str, Any]", name).get("content") if isinstance(name, dict) else name
        return self._ids.get(text) if isinstance(text, str) else None


def _ids(value: Any) -> list[int]:
    """Token ids from a configuration: one, several, or none."""
    found = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [token for token in found if isinstance(token, int) and token >= 0]


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise EngineUnavailable(f"The model's {path.name} cannot be read: pull the model again.") from error
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    """The chat template: a file of its own, or in the configuration, where it may be one of several by name."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(errors="replace")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in cast("list[dict[str, Any]]", template)}
        template = named.get("default")
    return template if isinstance(template, str) else None
