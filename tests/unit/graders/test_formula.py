import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.graders import formula
from mainspring.graders.result import GraderFailed

VALUES = {"a": 0.25, "b": 0.5, "name_2": 1.0}


def value(text: str, values=VALUES) -> float:
    return formula.parse(text, "grader.calculate_output", frozenset(values))(values)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", 1), (" 1.5e1 ", 15), (".5", 0.5), ("1.", 1), ("a + b", 0.75), ("(a + b) / 2", 0.375),
        ("1 - 2 - 3", -4), ("8 / 4 / 2", 1), ("2 + 3 * 4", 14), ("2 * 3 ^ 2", 18), ("2 ^ 3 ^ 2", 512), ("2 ** 3", 8),
        ("-2 ^ 2", -4), ("(-2) ^ 2", 4), ("2 ^ -1", 0.5), ("--1", 1), ("-a + b", 0.25), ("+b", 0.5), ("2 - -2", 4),
        ("min(a, b, 0.1)", 0.1), ("max(a, b)", 0.5), ("min(a)", 0.25), ("abs(-b)", 0.5), ("floor(1.7) + ceil(1.2)", 3),
        ("exp(0)", 1), ("sqrt(4)", 2), ("log(exp(2))", 2), ("0.5*a + 0.5*name_2", 0.625), ("max(0, (1-a)*(b))", 0.375),
    ],
)  # fmt: skip
def test_arithmetic(text: str, wanted: float) -> None:
    assert value(text) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "missing at the end"), ("1 +", "missing at the end"), ("(1", "missing at the end"), ("1)", "not expected"),
        ("1 2", "not expected"), ("c", "the variables are: a, b, name_2"), ("a b", "not expected"),
        ("eval(1)", "no function 'eval'"), ("__import__('os')", "not understood"), ("a.b", "not understood"),
        ("a[0]", "not understood"), ("sqrt(1, 2)", "takes 1 value"), ("min()", "not expected"), ("min", "not expected"),
        ("1 // 2", "not expected"), ("a = 1", "not understood"), ("1 if a else 2", "not expected"), ("é", "not under"),
        ("*1", "not expected"), ("min(a,)", "not expected"), ("1" * 5000, "at most"), ("((((" * 20 + "1", "nested"),
        ("-" * 100 + "1", "nested"), ("2^" * 100 + "2", "nested"), ("1" * 41, "not expected"),
    ],
)  # fmt: skip
def test_what_is_no_formula(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as caught:
        value(text)
    assert caught.value.param == "grader.calculate_output"


@pytest.mark.parametrize(
    "text",
    ["1 / 0", "a / (b - b)", "sqrt(-1)", "log(0)", "(-8) ^ 0.5", "9 ^ 9 ^ 9", "exp(1e9)", "1e300 * 1e300", "0 ^ -1",
     "1e999", "floor(1e999)"],
)  # fmt: skip
def test_what_has_no_value(text: str) -> None:
    with pytest.raises(GraderFailed) as caught:
        value(text)
    assert caught.value.failure.kind == "formula_parse_error"


def test_a_long_formula_needs_no_depth() -> None:
    assert value("1" + "+1" * 2000) == 2001


TOKENS = st.sampled_from(
    ["a", "b", "1", "2.5", "0", "1e9", "+", "-", "*", "/", "^", "(", ")", ",", "min", "log", " ", "sqrt"]
)


@given(st.lists(TOKENS, max_size=60).map(" ".join) | st.text(max_size=60))
def test_no_text_raises_anything_but_ours(text: str) -> None:
    try:
        found = value(text)
    except (InvalidRequest, GraderFailed):
        return
    assert isinstance(found, float)
    assert math.isfinite(found)


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "3", "0.5"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda each: f"({each[0]} {each[1]} {each[2]})")
        | inner.map(lambda each: f"-{each}")
        | st.tuples(inner, inner).map(lambda each: f"max({each[0]}, {each[1]})")
    ),
    max_leaves=12,
)


@given(EXPRESSIONS, st.floats(-10, 10), st.floats(-10, 10))
def test_it_agrees_with_python(text: str, a: float, b: float) -> None:
    try:
        wanted = float(eval(text, {"max": max}, {"a": a, "b": b}))
    except ZeroDivisionError:
        with pytest.raises(GraderFailed):
            value(text, {"a": a, "b": b})
        return
    if math.isfinite(wanted):
        assert value(text, {"a": a, "b": b}) == pytest.approx(wanted, nan_ok=True)
