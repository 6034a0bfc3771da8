"""Quotas: how many tokens and requests a minute, how much a day or a month, how full a provisioned deployment is.

A request is charged to several subjects at once (its key, its project, its deployment), to all or to none. It is
admitted if its estimate fits into what is left of every window of each, and is charged with that estimate; when it has
ended, the charge is corrected. If the window has passed by then, what was estimated too high is forgotten with it, and
what was estimated too low is charged to the current one, so that nobody gains by long answers. A request that fails is
charged for what it used; one that is refused is not charged at all. A provisioned deployment has a bucket instead of
windows: it is refused while that is more than full, and what came from a cache does not count.

Between the look and the charge nothing waits, so the numbers are exact however many requests are in flight. How much
of a limit this process may use at all is its `Allowance`: everything, if it is `Alone`; what it has leased, if several
servers share the limits (`allowance.Leases`). Only a request that its allowance does not cover waits for more.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from mainspring.core.clock import Clock
from mainspring.core.errors import BudgetSpent, RateLimited
from mainspring.core.types import Limits, Rate, Room
from mainspring.governance.windows import LENGTH_S, Bound, Bucket, Period, Tally, What, bounds, end_of, start_of

__all__ = ["Allowance", "Alone", "Amount", "Charge", "Quota", "Share", "Want"]

ARRIVALS: tuple[tuple[What, Period], ...] = (
    ("requests", "second"), ("requests", "ten_seconds"), ("requests", "minute"),
)  # fmt: skip
USE: tuple[tuple[What, Period], ...] = (
    ("tokens", "minute"), ("tokens", "day"), ("tokens", "month"), ("cost", "day"), ("cost", "month"),
)  # fmt: skip
"""What is estimated and corrected. It is counted whether it is limited or not: a new limit knows what was used."""
BUDGETS: tuple[Period, ...] = ("day", "month")
FORGET_AFTER = 4096
"""Subjects that are remembered before those that have used nothing this month are forgotten."""


class Amount(NamedTuple):
    """What a request takes: tokens, money in millionths of the installation's currency; `cached` tokens among them."""

    tokens: int
    cost: int = 0
    cached: int = 0


class Share(NamedTuple):
    """Whom a request is charged to, and what is agreed with them.

    Args:
        name: what the subject is called in messages, in the middle of a sentence.
        soft: there is capacity to spare: what a minute or less is limited to is counted and not held against anyone.
    """

    subject: str
    name: str
    limits: Limits
    soft: bool = False


class Charge(NamedTuple):
    """What has been charged to whom, and where; what `settle` corrects."""

    shares: tuple[Share, ...]
    amount: Amount
    tallies: tuple[Tally, ...]


class Want(NamedTuple):
    """What a request needs of one limit and has not got."""

    tally: Tally
    bound: Bound
    need: int
    name: str


class Allowance(Protocol):
    """How much of what is limited this process may use."""

    def granted(self, tally: Tally, most: int) -> int:
        """Of the limit `most`, what may be used here, what was used included. Does not wait."""
        ...

    def left(self, tally: Tally, most: int) -> int:
        """Of the limit, what nobody has used yet, as far as is known here."""
        ...

    def restore(self, tally: Tally, used: int) -> None:
        """At least so much was used, by everybody together."""
        ...

    def watch(self, bucket: Bucket) -> None:
        """The bucket will be used; called once."""
        ...

    async def more(self, wants: Sequence[Want]) -> Want | None:
        """Try to be granted what is wanted: the first that cannot be had, or None if it is worth another look.

        Raises:
            Unavailable: nobody can say.
        """
        ...


class Alone:
    """The allowance of the only server: everything."""

    def granted(self, tally: Tally, most: int) -> int:  # noqa: ARG002 - an `Allowance`
        """See `Allowance`."""
        return most

    def left(self, tally: Tally, most: int) -> int:
        """See `Allowance`."""
        return max(most - tally.used, 0)

    def restore(self, tally: Tally, used: int) -> None:
        """See `Allowance`."""
        tally.used = max(tally.used, used)

    def watch(self, bucket: Bucket) -> None:
        """See `Allowance`."""

    async def more(self, wants: Sequence[Want]) -> Want | None:
        """See `Allowance`."""
        return wants[0]


class Quota:
    """What every subject has used of the current periods."""

    def __init__(self, clock: Clock, allowance: Allowance | None = None) -> None:
        self._clock, self._allowance = clock, allowance or Alone()
        self._tallies: dict[str, dict[tuple[What, Period], Tally]] = {}
        self._buckets: dict[str, Bucket] = {}
        self._forget_at = FORGET_AFTER

    async def admit(self, shares: Sequence[Share], estimate: Amount) -> Charge:
        """Charge a request, to all of these or to none, with what it is estimated to use.

        Args:
            shares: each of another subject.

        Raises:
            RateLimited: a second's, ten seconds' or minute's limit is reached, or a provisioned deployment is full;
                says when to come back.
            BudgetSpent: a day's or month's is.
            Unavailable: as `Allowance.more`.
        """
        while wants := list(self._wants(shares, estimate, now_s := self._clock.now())):
            if (refused := await self._allowance.more(wants)) is not None:
                left = self._allowance.left(refused.tally, refused.bound.most)
                raise _refusal(refused.bound, refused.name, left, now_s)
        tallies: list[Tally] = []
        for share in shares:
            for what, period in ARRIVALS:
                self._tally(share.subject, what, period, now_s).used += 1
            for what, period in USE:
                tally = self._tally(share.subject, what, period, now_s)
                tally.used += getattr(estimate, what)
                tally.open += getattr(estimate, what)
                tallies.append(tally)
        self._pour(shares, estimate.tokens - estimate.cached, now_s)
        return Charge(tuple(shares), estimate, tuple(tallies))

    def settle(self, charge: Charge, used: Amount) -> None:
        """Correct a charge, once: this is what the request has used."""
        now_s = self._clock.now()
        for tally in charge.tallies:
            estimate: int = getattr(charge.amount, tally.what)
            more: int = getattr(used, tally.what) - estimate
            tally.open -= estimate
            current = self._tally(tally.subject, tally.what, tally.period, now_s)
            current.used += more if current is tally else max(more, 0)
        more = used.tokens - used.cached - charge.amount.tokens + charge.amount.cached
        self._pour(charge.shares, more, now_s)

    def restore(self, subject: str, period: Period, requests: int, used: Amount) -> None:
        """At least so much was used of the current period, as the ledger says. May be told again and again."""
        now_s = self._clock.now()
        for what, counted in (*ARRIVALS, *USE):
            if counted == period:
                amount = requests if what == "requests" else getattr(used, what)
                self._allowance.restore(self._tally(subject, what, period, now_s), amount)

    def rate(self, shares: Sequence[Share]) -> Rate:
        """What is left of the current minute for the one with the smallest part left, for the headers of an answer."""
        now_s = self._clock.now()

        def tightest(what: What) -> Room | None:
            rooms = [room for share in shares for room in self._rooms(share, what, now_s)]
            return min(rooms, key=lambda room: room.remaining / max(room.limit, 1), default=None)

        return Rate(tightest("requests"), tightest("tokens"))

    def utilisation(self, subject: str, limits: Limits) -> float:
        """How full the bucket of a provisioned deployment is: 1 is full, and more is refused. 0 if it is none."""
        bucket = self._buckets.get(subject)
        provisioned = limits.provisioned_tokens_per_minute is not None
        return bucket.utilisation(self._clock.now()) if bucket is not None and provisioned else 0.0

    def _wants(self, shares: Sequence[Share], estimate: Amount, now_s: float) -> Iterator[Want]:
        """What the allowance does not cover. Raises `RateLimited` if a bucket is too full."""
        for share in shares:
            capacity = share.limits.provisioned_tokens_per_minute
            if capacity is not None and (over_s := self._over_s(share.subject, capacity, now_s)):
                raise _full(share.name, capacity, over_s)
        for share in shares:
            for bound in bounds(share.limits):
                tally = self._tally(share.subject, bound.what, bound.period, now_s)
                asked = 1 if bound.what == "requests" else getattr(estimate, bound.what)
                # One that alone is more than the limit would otherwise never be answered: it needs the whole window.
                need = min(asked, max(bound.most, 1))
                short = tally.used + need > self._allowance.granted(tally, bound.most)
                if short and (bound.period in BUDGETS or not share.soft):
                    yield Want(tally, bound, need, share.name)

    def _rooms(self, share: Share, what: What, now_s: float) -> Iterator[Room]:
        limits = share.limits
        most = limits.requests_per_minute if what == "requests" else limits.tokens_per_minute
        if most is not None:
            left = self._allowance.left(self._tally(share.subject, what, "minute", now_s), most)
            yield Room(most, left, end_of("minute", now_s) - now_s if left < most else 0.0)
        capacity = limits.provisioned_tokens_per_minute
        if what == "tokens" and capacity is not None:
            used = self._bucket(share.subject).utilisation(now_s)
            yield Room(capacity, max(math.floor(capacity * (1 - used)), 0), used * 60)

    def _tally(self, subject: str, what: What, period: Period, now_s: float) -> Tally:
        tallies = self._tallies.get(subject)
        if tallies is None:
            if len(self._tallies) >= self._forget_at:
                self._forget(now_s)
            tallies = self._tallies[subject] = {}
        start, tally = start_of(period, int(now_s)), tallies.get((what, period))
        # A clock that was set back stays in the window that it was in: nobody gets a second one for that.
        if tally is None or tally.start < start:
            tally = tallies[what, period] = Tally(subject, what, period, start)
        return tally

    def _forget(self, now_s: float) -> None:
        def is_used(tally: Tally) -> bool:
            return tally.used > 0 and end_of(tally.period, tally.start) > now_s

        self._tallies = {name: found for name, found in self._tallies.items() if any(map(is_used, found.values()))}
        self._forget_at = max(FORGET_AFTER, 2 * len(self._tallies))

    def _bucket(self, subject: str) -> Bucket:
        bucket = self._buckets.get(subject)
        if bucket is None:
            bucket = self._buckets[subject] = Bucket(subject)
            self._allowance.watch(bucket)
        return bucket

    def _over_s(self, subject: str, capacity: int, now_s: float) -> float:
        return self._bucket(subject).over_s(now_s) if capacity else 60.0

    def _pour(self, shares: Sequence[Share], tokens: int, now_s: float) -> None:
        for share in shares:
            if capacity := share.limits.provisioned_tokens_per_minute:
                self._bucket(share.subject).pour(tokens, capacity, now_s)


def _full(name: str, capacity: int, over_s: float) -> RateLimited:
    return RateLimited(
        f"Requests of {name} have exceeded its provisioned capacity of {capacity:,} tokens a minute: it is used to "
        f"more than 100%. Please retry after {math.ceil(over_s)} seconds.",
        retry_after_s=math.ceil(over_s * 1000) / 1000,  # a moment later it is not above any more
    )


def _refusal(bound: Bound, name: str, left: int, now_s: float) -> RateLimited | BudgetSpent:
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
