"""What limits are counted in: windows of the clock, and buckets that leak. Arithmetic; whose they are is `quota`'s.

A window is the current second, ten seconds, minute, day or month (UTC). A bucket is one number, the time at which it
will have run empty: what is poured in puts that off, and waiting brings it nearer.
"""

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from mainspring.core.types import Limits

__all__ = ["LENGTH_S", "Bound", "Bucket", "Period", "Tally", "What", "bounds", "end_of", "start_of"]

Period = Literal["second", "ten_seconds", "minute", "day", "month"]
What = Literal["requests", "tokens", "cost"]

LENGTH_S: dict[Period, int] = {"second": 1, "ten_seconds": 10, "minute": 60, "day": 86_400}
EVENLY: tuple[Period, ...] = ("second", "ten_seconds")
"""Windows over which requests must be spread: a minute's requests may not all come in its first second."""
FULL_S = 60.0
"""A bucket is full with what leaks out of it in this time."""


class Tally:
    """What one subject has used of one thing in one period, as far as this process knows.

    Args:
        start: of the period, in Unix seconds.
    """

    __slots__ = ("open", "period", "start", "subject", "used", "what")
    what: What
    period: Period

    def __init__(self, subject: str, what: What, period: Period, start: int) -> None:
        self.subject, self.what, self.period, self.start = subject, what, period, start
        self.used = 0
        self.open = 0  # of it, the estimates of requests that still run


class Bound(NamedTuple):
    """One limit: of a period's requests, tokens or cost."""

    what: What
    period: Period
    most: int


class Bucket:
    """How far a provisioned capacity is used.

    Args:
        empty_s: when it will have run empty; in the past if it has.
        unsaid_s: how far this process has moved that since it last told others.
    """

    __slots__ = ("empty_s", "subject", "unsaid_s")

    def __init__(self, subject: str) -> None:
        self.subject, self.empty_s, self.unsaid_s = subject, 0.0, 0.0

    def pour(self, tokens: int, capacity: int, now_s: float) -> None:
        """Add tokens, of which `capacity` leak out in a minute; or take some back, down to nothing."""
        before_s = max(self.empty_s, now_s)
        self.empty_s = max(before_s + tokens * FULL_S / capacity, now_s)
        self.unsaid_s += self.empty_s - before_s

    def utilisation(self, now_s: float) -> float:
        """0 is empty, 1 is full; it can be more."""
        return max(self.empty_s - now_s, 0.0) / FULL_S

    def over_s(self, now_s: float) -> float:
        """How long it will be more than full."""
        return max(self.empty_s - now_s - FULL_S, 0.0)


@lru_cache(256)
def start_of(period: Period, now_s: float) -> int:
    """When the period that `now_s` lies in started, in Unix seconds."""
    if period == "month":
        return int(datetime.fromtimestamp(now_s, UTC).replace(day=1, hour=0, minute=0, second=0).timestamp())
    return int(now_s // LENGTH_S[period]) * LENGTH_S[period]


def end_of(period: Period, now_s: float) -> int:
    """When the period that `now_s` lies in ends."""
    start = start_of(period, now_s)
    return start_of("month", start + 32 * 86_400) if period == "month" else start + LENGTH_S[period]


@lru_cache(4096)
def bounds(limits: Limits) -> tuple[Bound, ...]:
    """Every limit that is counted in windows, the shortest period first."""
    found: list[Bound] = []
    if limits.requests_per_minute is not None:
        for period in EVENLY:
            share = limits.requests_per_minute * LENGTH_S[period] / 60
            # Less than one in that time would refuse two requests that are a moment apart, which is no rate.
            if share >= 1:
                found.append(Bound("requests", period, math.ceil(share)))
        found.append(Bound("requests", "minute", limits.requests_per_minute))
    rest: tuple[tuple[What, Period, int | None], ...] = (
        ("tokens", "minute", limits.tokens_per_minute),
        ("tokens", "day", limits.tokens_per_day),
        ("cost", "day", limits.cost_per_day),
        ("tokens", "month", limits.tokens_per_month),
        ("cost", "month", limits.cost_per_month),
    )
    return (*found, *(Bound(what, period, most) for what, period, most in rest if most is not None))
