"""Quotas: arithmetic on a clock that moves when it is told to."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.clock import FakeClock
from mainspring.core.errors import BudgetSpent, RateLimited
from mainspring.core.types import Limits, Room
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
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


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
