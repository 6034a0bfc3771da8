"""What a model's vocabulary can do: the part of a backend that prompts, grammars and answers need."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["FillsIn", "InfillTokens", "Vocabulary"]


class Vocabulary(Protocol):
    """The tokens of one model, how it wants a conversation written, and how much it can read. Thread-safe."""

    @property
    def context_length(self) -> int:
        """Most tokens of one sequence, prompt and answer together."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The Jinja template inside the model file."""
        ...

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary."""
        ...

    @property
    def bos(self) -> int | None:
        """The token that begins a text, if the model wants one."""
        ...

    @property
    def eos(self) -> int:
        """The token that ends a text."""
        ...

    @property
    def special_ids(self) -> Sequence[int]:
        """Control tokens: never written as text."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether generation stops at this token."""
        ...

    def piece(self, token: int) -> bytes:
        """A token's bytes; a control token's are its name."""
        ...

    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]:
        """UTF-8 text as tokens; with `special`, names of control tokens become those tokens."""
        ...


class InfillTokens(NamedTuple):
    """Control tokens of a model that was trained to fill in: before what precedes the gap, before what follows it,
    where the model writes; and, if it knows several files, before their repository and before each."""

    prefix: int
    suffix: int
    middle: int
    repository: int | None = None
    file: int | None = None


@runtime_checkable
class FillsIn(Protocol):
    """A vocabulary that may belong to a model which fills in."""

    @property
    def infill(self) -> InfillTokens | None:
        """Its tokens; None if the model has none."""
        ...
