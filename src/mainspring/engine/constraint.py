"""Grammar constraints: which tokens may come next, through llguidance.

A schema comes from a stranger: parsing it is bounded by llguidance's own limits, and whatever it cannot enforce is an
error here, never ignored.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Constraint

__all__ = ["Grammars", "Matcher"]

JSON_OBJECT = '{"type": "object"}'


class Vocabulary(Protocol):
    """What a grammar needs to know of a model's tokens."""

    @property
    def num_tokens(self) -> int: ...
    @property
    def eos(self) -> int: ...
    @property
    def special_ids(self) -> Sequence[int]: ...
    def piece(self, token: int) -> bytes: ...
    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]: ...


class _Tokenizer:
    """A vocabulary in the shape that llguidance asks for."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.eos
        self.bos_token_id = None
        # A special token must not be writable as text, so its bytes are marked as llguidance wants them (0xff first).
        special = set(vocabulary.special_ids)
        pieces = ((i, vocabulary.piece(i)) for i in range(vocabulary.num_tokens))
        self.tokens = [b"\xff" + piece if i in special else piece for i, piece in pieces]
        self.special_token_ids = list(special)
        self._tokenize = vocabulary.tokenize

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenize(text)


class Matcher:
    """Where one choice stands in its grammar."""

    def __init__(self, inner: Any, num_tokens: int, make_mask: Callable[[Any, NDArray[np.int32]], None]) -> None:
        self._inner = inner
        self._make_mask = make_mask
        self._bits = np.zeros((1, (num_tokens + 31) // 32), np.int32)

    def mask(self) -> NDArray[np.bool_]:
        """True for each token that may come next (shape: at least the vocabulary)."""
        self._make_mask(self._inner, self._bits)
        return np.unpackbits(self._bits.view(np.uint8), bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """The token was chosen."""
        if not self._inner.consume_token(token):
            raise InvalidRequest(f"The schema cannot be enforced: {self._inner.get_error()}.", param="response_format")

    def forced(self) -> list[int]:
        """Tokens that must come next whatever the model says; they need no decode step of their own."""
        return self._inner.compute_ff_tokens()

    @property
    def done(self) -> bool:
        """Nothing may follow."""
        return bool(self._inner.is_stopped())


class Grammars:
    """Compiles constraints for one vocabulary. The tokenizer table is built on first use (0.2 s)."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer: Any = None

    def matcher(self, constraint: Constraint) -> Matcher:
        """A new matcher at the start of its grammar; raises InvalidRequest for a schema that cannot be enforced."""
        import llguidance  # here, because most replicas never see a schema and the import costs memory
        import llguidance.numpy as masks

        if self._tokenizer is None:
            wrapper = llguidance.TokenizerWrapper(_Tokenizer(self._vocabulary))
            self._tokenizer = llguidance.LLTokenizer(wrapper, n_vocab=self._vocabulary.num_tokens)
        text = constraint.schema if constraint.kind == "json_schema" else JSON_OBJECT
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=_compact(text))
        except ValueError as error:
            raise InvalidRequest(f"The schema is not valid: {error}.", param="response_format") from error
        inner = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        if inner.is_error():
            reason = inner.get_error().splitlines()[0]
            raise InvalidRequest(f"The schema cannot be enforced: {reason}.", param="response_format")
        return Matcher(inner, self._vocabulary.num_tokens, masks.fill_next_token_bitmask)


def _compact(schema: str) -> Any:
    """Options that stop a small model from writing white space until its tokens run out."""
    json.loads(schema)
    return {"whitespace_flexible": False}
