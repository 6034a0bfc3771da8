"""Guessing tokens ahead, so that one step can confirm several (Leviathan et al., 2023; prompt lookup: Saxena, 2023).

A guess is a *draft*: tokens that are computed after the last chosen one in the same step. The sampler then chooses from
each row as it always does, and a draft stands as long as it equals what was chosen. So what is said is what would have
been said without drafts, for any temperature, penalty or grammar: drafts only decide how much is computed at once.

Whether that pays is measured, not assumed. `Lookup` guesses for one sequence and notes at every token whether it would
have been right, drafted or not; `Pace` knows what one more token costs in a step; a draft is made as long as it is
likelier to stand than it must be to earn its cost.
"""

from bisect import bisect_right

__all__ = ["Lookup", "Pace"]

GRAM = 3
"""So many equal tokens in a row make an earlier place of the text the source of the next guess."""
MAX_PLACES = 64
"""Places remembered for one such run of tokens; of more, the latest."""
MEMORY = 0.8
"""How much of the past remains in the rate of right first guesses at each new one."""
OFFER_MEMORY = 0.95
"""The same for each token of a draft model."""
SMOOTHING = 0.2
"""Weight of a new measurement in the time of a step."""
UNMEASURED = 0.6
"""The threshold while nothing is known of this machine."""


class Lookup:
    """Guesses for one sequence: what followed when its latest tokens were last seen, or the client's prediction.

    Args:
        tokens: the prompt.
        prediction: tokens that the answer is expected to repeat in large parts.
    """

    def __init__(self, tokens: list[int], prediction: list[int] | None = None) -> None:
        prediction = prediction or []
        self._text = [*prediction, *tokens]
        self._num_predicted = len(prediction)
        self._places: dict[tuple[int, ...], list[int]] = {}  # a run of GRAM tokens -> where what followed it stands
        for at in range(GRAM, len(self._text)):
            if not 0 <= at - self._num_predicted < GRAM or not prediction:
                self._note(at)
        self._cursor: int | None = 0 if prediction else None  # where in `_text` the next token is expected
        self._last = 0
        self._streak = 0  # right guesses since the cursor was set
        self._first_rate = 0.8 if prediction else 0.5  # of the first guesses at new cursors
        self._offered: list[int] = []
        self.offer_rate = 0.6  # of offered tokens that were right
        self.accepted = 0
        if self._cursor is None:
            self._find()

    def _note(self, at: int) -> None:
        places = self._places.setdefault(tuple(self._text[at - GRAM : at]), [])
        if len(places) == MAX_PLACES:
            del places[0]
        places.append(at)

    def _find(self) -> None:
        """Point the cursor at what followed the latest tokens before: soon after where it was, else most recently."""
        self._streak = 0
        places = self._places.get(tuple(self._text[-GRAM:]))
        if not places:
            self._cursor = None
            return
        after = bisect_right(places, self._last)
        self._cursor = places[after] if after < len(places) and self._last else places[-1]

    @property
    def rejected(self) -> int:
        """Tokens of the prediction that were not in the answer."""
        return max(self._num_predicted - self.accepted, 0)

    def push(self, token: int) -> None:
        """The sequence has a new token: was it the guess?"""
        if self._offered:
            hit = self._offered[0] == token
            self.offer_rate = OFFER_MEMORY * self.offer_rate + (1 - OFFER_MEMORY) * hit
            self._offered = self._offered[1:] if hit else []
        cursor = self._cursor
        right = cursor is not None and self._text[cursor] == token
        if cursor is not None:
            if self._streak == 0:
                self._first_rate = MEMORY * self._first_rate + (1 - MEMORY) * right
            self._last = cursor
        self._text.append(token)
        self._note(len(self._text) - 1)
        if cursor is not None and right:
            self.accepted += cursor < self._num_predicted
            self._streak += 1
            self._cursor = cursor + 1
            if self._cursor == self._num_predicted:
                self._find()  # the prediction ends here
        else:
            self._find()

    def offer(self, tokens: list[int]) -> None:
        """A draft model's guess, for when there is none of our own."""
        self._offered = tokens

    def guess(self, threshold: float, limit: int) -> list[int]:
        """The next tokens, as many as are likelier than `threshold` to stand, at most `limit`.

        By the rule of succession, after `s` right guesses in a row the next `i` are all right with the probability
        (s + 1) / (s + i + 1). A new cursor's first guess is as good as first guesses have been in this sequence.
        """
        limit, threshold = max(limit, 0), max(threshold, 0.01)
        if self._cursor is None:
            return self._offered[:limit]
        worth = (self._streak + 1) * (1.0 / threshold - 1.0) if self._streak else self._first_rate / threshold
        end = self._num_predicted if self._cursor < self._num_predicted else len(self._text)
        guess = self._text[self._cursor : min(self._cursor + max(min(int(worth), limit), 0), end)]
        return guess or self._offered[:limit]


class Pace:
    """What a step costs by its number of tokens, as measured: one point for each power of two."""

    def __init__(self) -> None:
        self._points: dict[int, tuple[float, float]] = {}  # bit length of the number -> (tokens, seconds), smoothed

    def note(self, num_tokens: int, seconds: float) -> None:
        """A step was computed."""
        key = num_tokens.bit_length()
        tokens, before = self._points.get(key, (float(num_tokens), seconds))
        self._points[key] = (
            tokens + SMOOTHING * (num_tokens - tokens),
            before + SMOOTHING * (seconds - before),
        )

    def rate(self, num_tokens: int) -> float:
        """Tokens a second in steps of about so many; 0 if that is not known."""
        tokens, seconds = self._points.get(num_tokens.bit_length(), (0.0, 0.0))
        return tokens / seconds if seconds > 0 else 0.0

    def threshold(self, num_tokens: int) -> float:
        """How likely one more token must be to stand in a step of `num_tokens`, to be worth its time: what it costs,
        in shares of what a token of that step costs."""
        size = num_tokens.bit_length()
        tokens, seconds = self._points.get(size, (0.0, 0.0))
        # Up to eight times as many tokens: the nearest point alone would be noisy, and far ones are of long ago.
        larger = [self._points[key] for key in range(size + 1, size + 4) if key in self._points]
        if not larger or seconds <= 0:
            return UNMEASURED
        costs = [(more - seconds) / (count - tokens) for count, more in larger]
        return max(sorted(costs)[len(costs) // 2], 0.0) * tokens / seconds
