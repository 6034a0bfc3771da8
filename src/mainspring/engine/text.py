"""From tokens' bytes to text that can be shown: whole characters only, and nothing that may turn out to be a stop."""

import codecs

from mainspring.core.types import Token, TokenLogprob

__all__ = ["TextStream"]


class TextStream:
    """The text of one choice.

    A token may end inside a UTF-8 character, and the end of the text may be the beginning of a stop string: both are
    held back until they are decided. Invalid UTF-8 becomes U+FFFD.
    """

    def __init__(self, choice: int, stop: tuple[str, ...] = ()) -> None:
        self._choice = choice
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._num_shown = 0  # characters
        self._waiting: list[tuple[int, TokenLogprob | None]] = []  # (where the token starts, what it was)
        self.stopped = False

    def push(self, piece: bytes, logprob: TokenLogprob | None = None) -> Token | None:
        """Add a token; returns what can be shown now, or None. Sets `stopped` when a stop string is complete."""
        self._waiting.append((self._num_shown + len(self._held), logprob))
        self._held += self._decoder.decode(piece)
        at = min((found for found in (self._held.find(stop) for stop in self._stop) if found >= 0), default=-1)
        if at >= 0:
            self.stopped = True
            self._held = self._held[:at]
            return self._show(len(self._held), everything=True)
        return self._show(len(self._held) - self._num_undecided())

    def finish(self) -> Token | None:
        """The end of the text: show what was held back."""
        if self.stopped:
            return None
        self._held += self._decoder.decode(b"", final=True)
        return self._show(len(self._held), everything=True)

    def _num_undecided(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = max(map(len, self._stop), default=0)
        for size in range(min(longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0

    def _show(self, num_chars: int, *, everything: bool = False) -> Token | None:
        text, self._held = self._held[:num_chars], self._held[num_chars:]
        self._num_shown += num_chars
        if not text and not everything:
            return None
        if everything and not self.stopped:
            ready, self._waiting = self._waiting, []
        else:
            ready = [item for item in self._waiting if item[0] < self._num_shown]
            self._waiting = self._waiting[len(ready) :]
        if not text and not ready:
            return None
        logprobs = tuple(logprob for _, logprob in ready if logprob is not None)
        return Token(self._choice, text, len(ready), logprobs)
