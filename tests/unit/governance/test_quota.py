"""Quotas: arithmetic on a clock that moves when it is told to."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from fractions import Fraction
from typing import Any, TypeVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from mainspring.core.clock import FakeClock
from mainspring.core.errors import BudgetSpent, RateLimited
from mainspring.core.types import Limits, Rate, Room
from mainspring.governance.quota import Amount, Charge, Quota, Share
from mainspring.governance.windows import end_of, start_of

T = TypeVar("T")
MIDNIGHT = 1_700_006_400.0  # 2023-11-15T00:00:00Z


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(MIDNIGHT)


@pytest.fixture
def quota(clock: FakeClock) -> Quota:
    return Quota(clock)


def key(limits: Limits, subject: str = "k") -> tuple[Share, ...]:
    return (Share(subject, f"the key {subject!r}", limits),)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns. The allowance of the only server never waits, and here is seen not to."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


def admit(quota: Quota, limits: Limits, tokens: int = 0, cost: int = 0) -> Charge:
    return at_once(quota.admit(key(limits), Amount(tokens, cost)))


def test_tokens_are_charged_on_arrival_and_corrected_at_the_end(quota: Quota, clock: FakeClock) -> None:
    limits = Limits(tokens_per_minute=1000)
    charge = admit(quota, limits, 900)
    told = r"^Requests of the key 'k' have exceeded the token rate limit of 1,000 tokens a minute.*after 60 seconds"
    with pytest.raises(RateLimited, match=told) as caught:
        admit(quota, limits, 200)
    assert caught.value.retry_after_s == 60
    quota.settle(charge, Amount(300))
    admit(quota, limits, 700)
    assert quota.rate(key(limits)).tokens == Room(1000, 0, 60.0)
    clock.advance(60)
    assert quota.rate(key(limits)).tokens == Room(1000, 1000, 0.0)


def test_what_was_estimated_too_low_is_charged_when_it_is_known(quota: Quota, clock: FakeClock) -> None:
    limits = Limits(tokens_per_minute=1000)
    high, low = admit(quota, limits, 500), admit(quota, limits, 100)
    clock.advance(61)
    quota.settle(high, Amount(100))  # its minute has passed: nothing to give back
    quota.settle(low, Amount(900))
    assert quota.rate(key(limits)).tokens.remaining == 200


def test_requests_are_spread_over_the_minute(quota: Quota, clock: FakeClock) -> None:
    limits = Limits(requests_per_minute=120)
    admit(quota, limits)
    admit(quota, limits)
    with pytest.raises(RateLimited, match="2 requests a second"):
        admit(quota, limits)
    admitted = 2
    for _ in range(9):
        clock.advance(1)
        admit(quota, limits)
        admit(quota, limits)
        admitted += 2
    assert quota.rate(key(limits)).requests.remaining == 120 - admitted


def test_few_requests_a_minute_may_come_together(quota: Quota) -> None:
    limits = Limits(requests_per_minute=5)
    for _ in range(5):
        admit(quota, limits)
    with pytest.raises(RateLimited, match="5 requests a minute"):
        admit(quota, limits)


def test_budgets_end_with_the_day_and_the_month(quota: Quota, clock: FakeClock) -> None:
    limits = Limits(tokens_per_day=100, cost_per_month=3_000_000)
    admit(quota, limits, 100, 1_000_000)
    with pytest.raises(
        BudgetSpent, match=r"^The key 'k' has 0 left of its budget of 100 tokens a day.*2023-11-16"
    ) as caught:
        admit(quota, limits, 1)
    assert caught.value.code == "insufficient_quota"
    clock.advance(86_400)
    admit(quota, limits, 10, 1_500_000)
    with pytest.raises(BudgetSpent, match=r"0.5 left of its budget of 3 in cost a month.*2023-12-01"):
        admit(quota, limits, 10, 1_000_000)


def test_a_request_that_is_larger_than_the_limit_is_answered_when_nothing_else_is(
    quota: Quota, clock: FakeClock
) -> None:
    limits = Limits(tokens_per_minute=100)
    admit(quota, limits, 5000)
    with pytest.raises(RateLimited):
        admit(quota, limits, 1)
    clock.advance(60)
    admit(quota, limits, 1)
    with pytest.raises(RateLimited):
        admit(quota, limits, 5000)
    for none in (Limits(tokens_per_minute=0), Limits(requests_per_minute=0)):
        with pytest.raises(RateLimited):
            at_once(quota.admit(key(none, "other"), Amount(1)))


def test_one_cannot_use_what_is_another_s(quota: Quota) -> None:
    limits = Limits(tokens_per_minute=100)
    admit(quota, limits, 100)
    at_once(quota.admit(key(limits, "other"), Amount(100)))


def test_a_clock_that_is_set_back_opens_no_second_window(quota: Quota, clock: FakeClock) -> None:
    limits = Limits(tokens_per_minute=100)
    admit(quota, limits, 100)
    clock.advance(-120)
    with pytest.raises(RateLimited):
        admit(quota, limits, 1)


def test_what_was_used_before_the_start_counts(quota: Quota) -> None:
    quota.restore("k", "day", 3, Amount(90))
    with pytest.raises(BudgetSpent):
        admit(quota, Limits(tokens_per_day=100), 11)
    admit(quota, Limits(tokens_per_day=100), 10)


@given(st.floats(0, 4e9))
def test_a_time_lies_in_its_period(now_s: float) -> None:
    for period in ("second", "ten_seconds", "minute", "day", "month"):
        assert start_of(period, now_s) <= now_s < end_of(period, now_s)
        assert start_of(period, end_of(period, now_s)) == end_of(period, now_s)


KEY, PROJECT = Limits(tokens_per_minute=1000), Limits(tokens_per_minute=1500, cost_per_day=5_000_000)


def both(subject: str, **changes: bool) -> tuple[Share, Share]:
    return Share(subject, f"the key {subject!r}", KEY), Share("p", "the project 'p'", PROJECT, **changes)


def test_a_request_is_charged_to_all_or_to_none(quota: Quota) -> None:
    at_once(quota.admit(both("a"), Amount(1000)))
    with pytest.raises(RateLimited, match="project 'p' have exceeded the token rate limit of 1,500"):
        at_once(quota.admit(both("b"), Amount(600)))
    assert quota.rate(both("b")[:1]).tokens == Room(1000, 1000, 0.0)
    at_once(quota.admit(both("b"), Amount(500)))
    assert quota.rate(both("b")[:1]).tokens.remaining == 500
    assert quota.rate(both("b")).tokens == Room(1500, 0, 60.0)
    with pytest.raises(RateLimited, match="key 'a'"):
        at_once(quota.admit(both("a"), Amount(1)))


def test_the_tightest_of_the_shares_is_told(quota: Quota) -> None:
    at_once(quota.admit(both("a"), Amount(700)))
    assert quota.rate(both("a")).tokens == Room(1000, 300, 60.0)  # 30 %, of the project 53 %
    assert quota.rate(both("b")).tokens == Room(1500, 800, 60.0)
    assert quota.rate(both("a")).requests is None


def test_what_is_to_spare_may_be_used_and_is_counted(quota: Quota, clock: FakeClock) -> None:
    for _ in range(3):
        at_once(quota.admit(both("a", soft=True)[1:], Amount(1000, 1_000_000)))
    assert quota.rate(both("a")[1:]).tokens.remaining == 0
    with pytest.raises(RateLimited, match="project 'p'"):
        at_once(quota.admit(both("a"), Amount(1)))
    with pytest.raises(BudgetSpent, match="2 left of its budget of 5 in cost a day"):
        at_once(quota.admit(both("a", soft=True)[1:], Amount(1, 2_500_000)))


def test_a_settled_amount_is_corrected_for_every_subject(quota: Quota) -> None:
    charge = at_once(quota.admit(both("a"), Amount(900, 4_000_000)))
    quota.settle(charge, Amount(100, 1_000_000))
    assert [quota.rate((share,)).tokens.remaining for share in both("a")] == [900, 1400]
    at_once(quota.admit(both("a"), Amount(900, 4_000_000)))


PTU = (Share("d", "the deployment 'd'", Limits(provisioned_tokens_per_minute=600)),)


def test_a_bucket_leaks_and_refuses_only_when_it_is_more_than_full(quota: Quota, clock: FakeClock) -> None:
    at_once(quota.admit(PTU, Amount(600)))
    assert quota.utilisation("d", PTU[0].limits) == 1.0
    at_once(quota.admit(PTU, Amount(300)))  # it is full, and not above
    with pytest.raises(
        RateLimited, match=r"capacity of 600 tokens a minute.*more than 100%.*after 30 seconds"
    ) as caught:
        at_once(quota.admit(PTU, Amount(1)))
    assert caught.value.retry_after_s == 30.0
    clock.advance(29.9)
    with pytest.raises(RateLimited) as caught:
        at_once(quota.admit(PTU, Amount(1)))
    assert caught.value.retry_after_s == pytest.approx(0.1, abs=0.001)
    clock.advance(caught.value.retry_after_s)
    at_once(quota.admit(PTU, Amount(1)))
    clock.advance(3600)
    assert quota.utilisation("d", PTU[0].limits) == 0.0
    assert quota.rate(PTU).tokens == Room(600, 600, 0.0)


def test_a_bucket_is_corrected_and_what_was_cached_does_not_count(quota: Quota, clock: FakeClock) -> None:
    charge = at_once(quota.admit(PTU, Amount(900)))
    quota.settle(charge, Amount(500, cached=350))
    assert quota.utilisation("d", PTU[0].limits) == pytest.approx(0.25)
    assert quota.rate(PTU).tokens.remaining == 450
    low = at_once(quota.admit(PTU, Amount(10)))
    quota.settle(low, Amount(610))
    assert quota.utilisation("d", PTU[0].limits) == pytest.approx(0.25 + 610 / 600)
    charge = at_once(quota.admit((Share("e", "e", PTU[0].limits),), Amount(500)))
    clock.advance(59)
    quota.settle(charge, Amount(0))  # most of it has leaked out already: there is no credit
    assert quota.utilisation("e", PTU[0].limits) == 0.0


def test_a_bucket_of_nothing_and_none(quota: Quota) -> None:
    nothing = (Share("n", "n", Limits(provisioned_tokens_per_minute=0)),)
    with pytest.raises(RateLimited) as caught:
        at_once(quota.admit(nothing, Amount(0)))
    assert caught.value.retry_after_s == 60
    assert quota.utilisation("k", Limits()) == quota.utilisation("k", PTU[0].limits) == 0.0


def test_a_refusal_by_a_bucket_charges_no_one(quota: Quota) -> None:
    at_once(quota.admit(PTU, Amount(601)))
    with pytest.raises(RateLimited):
        at_once(quota.admit((*both("a"), *PTU), Amount(10)))
    assert quota.rate(both("a")).tokens.remaining == 1000


async def test_64_clients_at_once_get_exactly_what_one_would(quota: Quota, clock: FakeClock) -> None:
    """Of tokens: to the last one. Of requests: so many in every second."""
    tokens = (*key(Limits(tokens_per_minute=50_003), "all"), Share("k", "k", Limits(tokens_per_day=80_000)))
    requests = key(Limits(requests_per_minute=60 * 50), "quick")
    used, answered = [], []

    async def client(number: int) -> None:
        draw = random.Random(number)
        for most in (90, 60, 30, 10, 1, 1):
            with contextlib.suppress(RateLimited):
                while True:
                    amount = Amount(draw.randint(1, most))
                    charge = await quota.admit(tokens, amount)
                    await asyncio.sleep(0)
                    quota.settle(charge, amount._replace(tokens=draw.randint(0, amount.tokens)))
                    used.append(charge.amount.tokens)
                    await asyncio.sleep(0)
        for _ in range(3):
            with contextlib.suppress(RateLimited):
                await quota.admit(requests, Amount(0))
                answered.append(number)
            await asyncio.sleep(0)

    for second in range(3):
        await asyncio.gather(*map(client, range(64)))
        assert quota.rate(tokens[:1]).tokens.remaining == 0
        assert quota._tallies["k"]["tokens", "day"].used == 50_003
        assert len(answered) == 50 * (second + 1)
        clock.advance(1)
    assert sum(used) > 50_003  # what was estimated too high was used by others


def test_a_restart_changes_nothing(clock: FakeClock) -> None:
    limits = Limits(tokens_per_minute=1000, tokens_per_day=1500, requests_per_minute=5, cost_per_month=9)
    before, used = Quota(clock), Amount(0)
    for tokens in (100, 250, 300):
        before.settle(admit(before, limits, tokens + 50, 2), Amount(tokens, 2))
        used = Amount(used.tokens + tokens, used.cost + 2)
    after = Quota(clock)
    for _ in range(2):  # being told twice is being told once
        for period in ("minute", "day", "month"):
            after.restore("k", period, 3, used)
    assert after.rate(key(limits)) == before.rate(key(limits)) == Rate(Room(5, 2, 60.0), Room(1000, 350, 60.0))
    for quota in (before, after):
        with pytest.raises(BudgetSpent, match="month"):
            admit(quota, limits, 1, 4)
        admit(quota, limits, 350, 3)
        with pytest.raises(RateLimited):
            admit(quota, limits, 1)


def test_those_that_used_nothing_are_forgotten(quota: Quota, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_forget_at", 3)
    limits = Limits(tokens_per_day=10)
    admit(quota, limits, 10)
    for number in range(8000):
        quota.rate(key(limits, f"other{number}"))
    assert len(quota._tallies) < 5000
    with pytest.raises(BudgetSpent):
        admit(quota, limits, 1)


AGREED = {
    "a": Limits(tokens_per_minute=1000, requests_per_minute=90, tokens_per_day=9000),
    "b": Limits(tokens_per_minute=700, cost_per_month=4000),
    "p": Limits(tokens_per_minute=1500, requests_per_minute=100, cost_per_day=3000),
    "d": Limits(provisioned_tokens_per_minute=900),
}
BOUNDS = {
    "a": [("requests", "second", 2), ("requests", "ten_seconds", 15), ("requests", "minute", 90),
          ("tokens", "minute", 1000), ("tokens", "day", 9000)],
    "b": [("tokens", "minute", 700), ("cost", "month", 4000)],
    "p": [("requests", "second", 2), ("requests", "ten_seconds", 17), ("requests", "minute", 100),
          ("tokens", "minute", 1500), ("cost", "day", 3000)],
    "d": [],
}  # fmt: skip


class Books(RuleBasedStateMachine):
    """Whatever is admitted, settled and restored when, every subject's windows hold what a simple account of them says,
    nobody gets more than is agreed, and a refusal leaves no trace."""

    charges = Bundle("charges")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(MIDNIGHT)
        self.quota = Quota(self.clock)
        self.windows: dict[tuple[str, str, str], list[int]] = {}
        self.empty_s = Fraction(0)

    def window(self, subject: str, what: str, period: str) -> list[int]:
        start = start_of(period, self.clock.now())
        window = self.windows.setdefault((subject, what, period), [start, 0])
        if window[0] < start:
            window[:] = [start, 0]
        return window

    def pour(self, tokens: int) -> None:
        now_s = Fraction(self.clock.now())
        self.empty_s = max(max(self.empty_s, now_s) + Fraction(tokens, 15), now_s)

    @rule(
        target=charges, who=st.sampled_from("ab"), provisioned=st.booleans(), tokens=st.integers(0, 1200),
        cost=st.integers(0, 500),
    )  # fmt: skip
    def admit(self, who: str, provisioned: bool, tokens: int, cost: int):
        names = [who, "p", *("d" if provisioned else "")]
        asked = {"requests": 1, "tokens": tokens, "cost": cost}
        over_s = self.empty_s - Fraction(self.clock.now()) - 60
        assume(not provisioned or not 0 < abs(over_s) < 1e-3)  # beyond what a clock's floats can tell
        fits = not provisioned or over_s <= 0
        for name in names:
            for what, period, most in BOUNDS[name]:
                used = self.window(name, what, period)[1]
                fits &= used + asked[what] <= most or (used == 0 and what != "requests")
        shares = [Share(name, f"the {name}", AGREED[name]) for name in names]
        try:
            charge = at_once(self.quota.admit(shares, Amount(tokens, cost)))
        except (RateLimited, BudgetSpent):
            assert not fits
            return multiple()
        assert fits
        opened = []
        for name in names:
            for what, period in {bound[:2] for each in BOUNDS.values() for bound in each} | {("tokens", "month")}:
                window = self.window(name, what, period)
                window[1] += asked[what]
                opened.append((name, what, period, window[0]))
        if provisioned:
            self.pour(tokens)
        return charge, opened, Amount(tokens, cost)

    @rule(charge=consumes(charges), tokens=st.integers(0, 1300), cached=st.integers(0, 1300), cost=st.integers(0, 500))
    def settle(self, charge, tokens: int, cached: int, cost: int) -> None:
        charge, opened, estimate = charge
        cached = min(cached, tokens)
        for name, what, period, start in opened:
            if what != "requests":
                window = self.window(name, what, period)
                more = tokens - estimate.tokens if what == "tokens" else cost - estimate.cost
                window[1] += more if window[0] == start else max(more, 0)
        if any(opened[0] == "d" for opened in opened):
            self.pour(tokens - cached - estimate.tokens)
        self.quota.settle(charge, Amount(tokens, cost, cached))

    @rule(who=st.sampled_from("abp"), share=st.floats(0, 1.5))
    def restore(self, who: str, share: float) -> None:
        for period in ("minute", "day", "month"):
            least = {}
            for what in ("requests", "tokens", "cost"):
                window = self.window(who, what, period)
                least[what] = int(window[1] * share)
                window[1] = max(window[1], least[what])
            self.quota.restore(who, period, least["requests"], Amount(least["tokens"], least["cost"]))

    @rule(seconds=st.sampled_from([0.25, 0.75, 1, 3, 10, 59, 61, 3600, 86_400, -0.5, -30]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def agrees(self) -> None:
        for name in "abp":
            limits, rate = AGREED[name], self.quota.rate([Share(name, name, AGREED[name])])
            for what, room, most in (
                ("tokens", rate.tokens, limits.tokens_per_minute),
                ("requests", rate.requests, limits.requests_per_minute),
            ):
                if most is None:
                    assert room is None
                else:
                    assert room.remaining == max(most - self.window(name, what, "minute")[1], 0)
        full = max(self.empty_s - Fraction(self.clock.now()), Fraction(0)) / 60
        assert self.quota.utilisation("d", AGREED["d"]) == pytest.approx(float(full), abs=1e-4)
        assert all(window[1] >= 0 for window in self.windows.values())
        assert all(tally.used >= tally.open >= 0 for of in self.quota._tallies.values() for tally in of.values())


TestBooks = Books.TestCase
