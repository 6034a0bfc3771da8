"""Quotas: how many tokens and requests a minute, and how much a day or a month. Arithmetic on a clock, nothing else.

Time is cut into windows of the clock (the current second, ten seconds, minute; the day and the month in UTC). A request
is admitted if its estimate fits into what is left of every window, and is charged with that estimate; when it has
ended, the charge is corrected. If the window has passed by then, what was estimated too high is forgotten with it, and
what was estimated too low is charged to the current one, so that nobody gains by long answers. A request that fails is
charged for what it used; one that is refused is not charged at all.

Nothing here waits, so the numbers are exact however many requests are in flight.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from mainspring.core.clock import Clock
from mainspring.core.errors import BudgetSpent, RateLimited
from mainspring.core.types import Limits, Rate, Room

__all__ = ["Amount", "Charge", "Period", "Quota", "start_of"]

Period = Literal["second", "ten_seconds", "minute", "day", "month"]

LENGTH_S: dict[Period, int] = {"second": 1, "ten_seconds": 10, "minute": 60, "day": 86_400}
EVENLY: tuple[Period, ...] = ("second", "ten_seconds")
"""Windows over which requests must be spread: a minute's requests may not all come in its first second."""
FORGET_AFTER = 4096
"""Subjects that are remembered before those without a current window are forgotten."""


class Amount(NamedTuple):
    """What a request takes: tokens, and money in millionths of the installation's currency."""

    tokens: int
    cost: int = 0


class Charge(NamedTuple):
    """What has been charged to whom, and when; what `settle` corrects."""

    subject: str
    amount: Amount
    at_s: float


class _Window:
    """What was used of a period that started at `start`."""

    __slots__ = ("cost", "requests", "start", "tokens")

    def __init__(self, start: int) -> None:
        self.start, self.requests, self.tokens, self.cost = start, 0, 0, 0


class _Bound(NamedTuple):
    """One limit: of a period's requests, tokens or cost."""

    what: Literal["requests", "tokens", "cost"]
    period: Period
    most: int


def start_of(period: Period, now_s: float) -> int:
    """When the period that `now_s` lies in started, in Unix seconds."""
    if period == "month":
        return int(datetime.fromtimestamp(now_s, UTC).replace(day=1, hour=0, minute=0, second=0).timestamp())
    return int(now_s // LENGTH_S[period]) * LENGTH_S[period]


def end_of(period: Period, now_s: float) -> int:
    """When the period that `now_s` lies in ends."""
    start = start_of(period, now_s)
    return start_of("month", start + 32 * 86_400) if period == "month" else start + LENGTH_S[period]


def bounds(limits: Limits) -> Iterator[_Bound]:
    """Every limit, the shortest period first."""
    if limits.requests_per_minute is not None:
        for period in EVENLY:
            share = limits.requests_per_minute * LENGTH_S[period] / 60
            # Less than one in that time would refuse two requests that are a moment apart, which is no rate.
            if share >= 1:
                yield _Bound("requests", period, math.ceil(share))
        yield _Bound("requests", "minute", limits.requests_per_minute)
    if limits.tokens_per_minute is not None:
        yield _Bound("tokens", "minute", limits.tokens_per_minute)
    budgets: tuple[tuple[Period, int | None, int | None], ...] = (
        ("day", limits.tokens_per_day, limits.cost_per_day),
        ("month", limits.tokens_per_month, limits.cost_per_month),
    )
    for period, tokens, cost in budgets:
        if tokens is not None:
            yield _Bound("tokens", period, tokens)
        if cost is not None:
            yield _Bound("cost", period, cost)


class Quota:
    """What everyone has used of the current periods. A subject is whoever has limits: a key, for instance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[str, dict[Period, _Window]] = {}

    def admit(self, subject: str, name: str, limits: Limits, estimate: Amount) -> Charge:
        """Charge a request with what it is estimated to use.

        Args:
            name: what the subject is called in messages, in the middle of a sentence.

        Raises:
            RateLimited: a second's, ten seconds' or minute's limit is reached; says when to come back.
            BudgetSpent: a day's or month's is.
        """
        now_s = self._clock.now()
        for bound in bounds(limits):
            window = self._window(subject, bound.period, now_s)
            asked = {"requests": 1, "tokens": estimate.tokens, "cost": estimate.cost}[bound.what]
            used = getattr(window, bound.what)
            # One that alone is more than the limit would otherwise never be answered: the rest of the window is its.
            if used + asked > bound.most and (used or not bound.most or bound.what == "requests"):
                raise _refusal(bound, name, max(bound.most - used, 0), now_s)
        self._add(subject, now_s, 1, estimate)
        return Charge(subject, estimate, now_s)

    def settle(self, charge: Charge, used: Amount) -> None:
        """Correct a charge: this is what the request has used."""
        now_s = self._clock.now()
        for period in ("minute", "day", "month"):
            window = self._window(charge.subject, period, now_s)
            tokens, cost = used.tokens - charge.amount.tokens, used.cost - charge.amount.cost
            if start_of(period, charge.at_s) != window.start:
                tokens, cost = max(tokens, 0), max(cost, 0)
            window.tokens = max(window.tokens + tokens, 0)
            window.cost = max(window.cost + cost, 0)

    def restore(self, subject: str, period: Period, requests: int, used: Amount) -> None:
        """Add what was used of the current period before this process started."""
        window = self._window(subject, period, self._clock.now())
        window.requests += requests
        window.tokens += used.tokens
        window.cost += used.cost

    def rate(self, subject: str, limits: Limits) -> Rate:
        """What is left of the current minute, for the headers of an answer."""
        now_s = self._clock.now()
        window = self._window(subject, "minute", now_s)
        left_s = end_of("minute", now_s) - now_s

        def room(most: int | None, used: int) -> Room | None:
            return None if most is None else Room(most, max(most - used, 0), left_s if used else 0.0)

        return Rate(room(limits.requests_per_minute, window.requests), room(limits.tokens_per_minute, window.tokens))

    def _add(self, subject: str, now_s: float, requests: int, amount: Amount) -> None:
        for period in ("second", "ten_seconds", "minute", "day", "month"):
            window = self._window(subject, period, now_s)
            window.requests += requests
            window.tokens += amount.tokens
            window.cost += amount.cost

    def _window(self, subject: str, period: Period, now_s: float) -> _Window:
        windows = self._windows.get(subject)
        if windows is None:
            if len(self._windows) >= FORGET_AFTER:
                self._forget(now_s)
            windows = self._windows[subject] = {}
        start, window = start_of(period, now_s), windows.get(period)
        # A clock that was set back stays in the window that it was in: nobody gets a second one for that.
        if window is None or window.start < start:
            window = windows[period] = _Window(start)
        return window

    def _forget(self, now_s: float) -> None:
        month = start_of("month", now_s)
        self._windows = {
            subject: windows
            for subject, windows in self._windows.items()
            if (window := windows.get("month")) is not None and window.start >= month and window.requests
        }


def _refusal(bound: _Bound, name: str, left: int, now_s: float) -> RateLimited | BudgetSpent:
    end_s = end_of(bound.period, now_s)
    if bound.period in ("day", "month"):
        scale, unit = (1e6, "in cost") if bound.what == "cost" else (1, "tokens")
        name, most = name[0].upper() + name[1:], f"{bound.most / scale:,.15g} {unit} a {bound.period}"
        return BudgetSpent(
            f"{name} has {left / scale:,.15g} left of its budget of {most}, which does not suffice. "
            f"It starts anew on {datetime.fromtimestamp(end_s, UTC):%Y-%m-%d} (UTC); an administrator can raise it."
        )
    length = LENGTH_S[bound.period]
    over = "a minute" if length == 60 else f"in {length} seconds" if length > 1 else "a second"
    wait_s = max(end_s - now_s, 0.001)
    return RateLimited(
        f"Requests of {name} have exceeded the {bound.what.removesuffix('s')} rate limit of {bound.most:,} "
        f"{bound.what} {over}. Please retry after {math.ceil(wait_s)} seconds.",
        retry_after_s=wait_s,
    )
