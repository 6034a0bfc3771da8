"""Reciprocal rank fusion, and scores that never rise."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.retrieval.fusion import falling, fused

SCORES = st.lists(st.floats(0, 1), max_size=12)


def test_what_both_find_goes_first() -> None:
    assert fused([(1, ["a", "b", "c"]), (1, ["d", "b", "e"])]) == ["b", "a", "d", "c", "e"]
    assert fused([(1, ["a", "b"]), (2, ["b", "a"])]) == ["b", "a"]
    assert fused([(1, ["a"]), (0, ["b"])]) == ["a", "b"]
    assert fused([]) == []


@settings(deadline=None)
@given(SCORES)
def test_scores_fall_and_keep_their_mean(relevance: list[float]) -> None:
    keys = list(range(len(relevance)))
    scores = falling(keys, dict(enumerate(relevance)))
    assert all(one >= other for one, other in itertools.pairwise(scores))
    assert sum(scores) == pytest.approx(sum(relevance))
    assert all(min(relevance) - 1e-9 <= score <= max(relevance) + 1e-9 for score in scores)


@settings(deadline=None)
@given(SCORES)
def test_what_falls_already_stays(relevance: list[float]) -> None:
    ordered = sorted(relevance, reverse=True)
    assert falling(list(range(len(ordered))), dict(enumerate(ordered))) == pytest.approx(ordered)


def test_neighbours_that_rise_are_one() -> None:
    assert falling(["a", "b", "c"], {"a": 0.2, "b": 0.6, "c": 0.1}) == pytest.approx([0.4, 0.4, 0.1])
