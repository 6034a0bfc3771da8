"""From the text of one choice to its events: what it says, what it thinks, what it calls."""

from collections import deque
from typing import NamedTuple

from mainspring.core.types import Event, Token, TokenLogprob, ToolCallDelta
from mainspring.engine.text import TextStream
from mainspring.models.tools.answers import Output, Reader, Said

__all__ = ["Answer"]


class _Piece(NamedTuple):
    """Text that has gone to the reader: where it began (in characters), and the tokens it came from."""

    start: int
    num: int
    logprobs: tuple[TokenLogprob, ...]


class Answer:
    """One choice's answer.

    Args:
        choice: its index.
        stop: strings that end it.
        reader: what tells thoughts and calls from content; None if everything is content.

    Attributes:
        num_thought: tokens that were thought and not said.
    """

    def __init__(self, choice: int, stop: tuple[str, ...] = (), reader: Reader | None = None) -> None:
        self._choice = choice
        self._text = TextStream(choice, stop)
        self._reader = reader
        self._num_chars = 0
        self._pieces: deque[_Piece] = deque()  # not told yet, in order
        self.num_thought = 0

    @property
    def ended(self) -> bool:
        """Nothing that follows matters: a stop string is complete, or the only call that was allowed."""
        return self._text.stopped or (self._reader is not None and self._reader.done)

    @property
    def has_calls(self) -> bool:
        """Whether it calls a tool."""
        return self._reader is not None and self._reader.num_calls > 0

    def push(self, piece: bytes, logprob: TokenLogprob | None = None) -> list[Event]:
        """A token's bytes; returns what can be told now."""
        return self._read(self._text.push(piece, logprob))

    def finish(self) -> list[Event]:
        """The end; returns what was held back."""
        events = self._read(self._text.finish())
        if self._reader is not None:
            events += self._tell(self._reader.finish())
        return events

    def _read(self, token: Token | None) -> list[Event]:
        if token is None:
            return []
        if self._reader is None:
            return [token]
        self._pieces.append(_Piece(self._num_chars, token.num, token.logprobs))
        self._num_chars += len(token.text)
        return self._tell(self._reader.push(token.text))

    def _tell(self, outputs: list[Output]) -> list[Event]:
        events: list[Event] = []
        for output in outputs:
            if isinstance(output, Said):
                events.append(self._said(output))
            else:
                number, arguments, id_, name, is_custom = output
                events.append(ToolCallDelta(self._choice, number, arguments, id_, name, is_custom))
        return events

    def _said(self, said: Said) -> Token:
        """The tokens of what is told are those that begin in it; those of markers and calls are never told."""
        end = said.at + len(said.text)
        num, logprobs = 0, ()
        while self._pieces and self._pieces[0].start < end:
            piece = self._pieces.popleft()
            if piece.start >= said.at:
                num += piece.num
                logprobs += piece.logprobs
        if said.thought:
            self.num_thought += num
            return Token(self._choice, said.text, num, thought=True)
        return Token(self._choice, said.text, num, logprobs)
