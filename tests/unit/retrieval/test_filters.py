"""Filters over attributes: what passes, and what is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.core.search import Comparison, Compound, Filter
from mainspring.retrieval.filters import MAX_COMPARISONS, MAX_DEPTH, check_filter, fits

VALUES = st.one_of(st.booleans(), st.floats(-3, 3), st.integers(-3, 3), st.sampled_from(["", "a", "b"]))
ATTRIBUTES = st.dictionaries(st.sampled_from("xyz"), VALUES)


def compares(kind: Any, value: Any, key: str = "x") -> Comparison:
    return Comparison(type=kind, key=key, value=value)


@pytest.mark.parametrize(
    ("kind", "value", "passing"),
    [
        ("eq", 1, [1, 1.0]),
        ("eq", True, [True]),
        ("eq", "1", ["1"]),
        ("ne", 1, [True, "1", 2, None]),
        ("gt", 1, [2]),
        ("gte", 1, [1, 1.0, 2]),
        ("lt", 2, [1, 1.0]),
        ("lt", "2", ["1"]),
        ("in", (1, "1"), [1, 1.0, "1"]),
        ("nin", (1, "1"), [True, 2, None]),
    ],
)
def test_comparisons(kind: str, value: Any, passing: list[Any]) -> None:
    for found in (1, 1.0, True, "1", 2, None):
        attributes = {} if found is None else {"x": found}
        is_among = any(type(each) is type(found) and each == found for each in passing)
        assert fits(compares(kind, value), attributes) == is_among, found


@settings(deadline=None)
@given(ATTRIBUTES, VALUES, st.sampled_from("xyz"))
def test_opposites_are_opposite(attributes: dict[str, Any], value: Any, key: str) -> None:
    assert fits(compares("eq", value, key), attributes) != fits(compares("ne", value, key), attributes)
    assert fits(compares("in", (value,), key), attributes) == fits(compares("eq", value, key), attributes)
    assert fits(compares("nin", (value,), key), attributes) == fits(compares("ne", value, key), attributes)
    both = [fits(compares(kind, value, key), attributes) for kind in ("lt", "eq", "gt")]
    assert sum(both) <= 1


@settings(deadline=None)
@given(ATTRIBUTES, st.lists(VALUES, min_size=1, max_size=4))
def test_joined(attributes: dict[str, Any], values: list[Any]) -> None:
    each: tuple[Filter, ...] = tuple(compares("eq", value) for value in values)
    verdicts = [fits(one, attributes) for one in each]
    assert fits(Compound(type="and", filters=each), attributes) == all(verdicts)
    assert fits(Compound(type="or", filters=each), attributes) == any(verdicts)


def test_limits() -> None:
    deep: Filter = compares("eq", 1)
    for _ in range(MAX_DEPTH):
        deep = Compound(type="and", filters=(deep,))
    check_filter(deep)
    wide = Compound(type="or", filters=(compares("in", (1,) * 100),) * (MAX_COMPARISONS // 100))
    check_filter(wide)
    for wrong, param in (
        (Compound(type="and", filters=(deep,)), "filters" + ".filters[0]" * MAX_DEPTH),
        (Compound(type="or", filters=(*wide.filters, compares("eq", 1))), "filters"),
        (compares("gt", True), "filters.value"),
        (compares("eq", (1,)), "filters.value"),
        (Compound(type="or", filters=(compares("nin", 1),)), "filters.filters[0].value"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            check_filter(wrong)
        assert caught.value.param == param
