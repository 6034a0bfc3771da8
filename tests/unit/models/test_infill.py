"""Where an infill ends, whatever pieces its text comes in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import InfillPrompt
from mainspring.models.infill import InfillReader, fit


def read(prefix, suffix, text, cuts=(), *, dedent=False, knows_suffix=False, max_s=None, clock=lambda: 0.0):
    reader = InfillReader(InfillPrompt(prefix, suffix, dedent=dedent, max_s=max_s), clock, knows_suffix=knows_suffix)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    said = [out for start, end in itertools.pairwise(places) for out in reader.push(text[start:end])]
    ended = reader.done
    said += reader.finish()
    assert [out.at for out in said] == list(itertools.accumulate([len(out.text) for out in said], initial=0))[:-1]
    return "".join(out.text for out in said), ended


@pytest.mark.parametrize(
    ("prefix", "suffix", "text", "filled", "ended"),
    [
        ("def f(", "):\n    return 1\n", "a, b):\n    return 1\n", "a, b", True),
        ("x = [", "]\nprint(x)\n", "1, 2]\nprint(x)\nmore", "1, 2", True),
        ("a\n", "b\n", "c\nd", "c\nd", False),
        ("a(", ")", "b)", "b", False),
        ("", "", "abc", "abc", False),
        ("def f():\n", "\ndef g():\n    pass\n", "    return 1\n\ndef g():\n    pass\n", "    return 1\n", True),
    ],
)
def test_what_follows_is_not_written_again(prefix, suffix, text, filled, ended):
    assert read(prefix, suffix, text, range(len(text))) == (filled, ended)


def test_a_model_that_knows_what_follows_may_end_with_the_same_bracket():
    assert read("f(g(", ")\n", "x)", knows_suffix=True) == ("x)", False)
    assert read("f(", ")\nreturn 1\n", "x)\nreturn 1\n", knows_suffix=True) == ("x", True)


@pytest.mark.parametrize(
    ("prefix", "text", "filled"),
    [
        ("def f():\n", "    a = 1\n    return a\n\nprint(f())\n", "    a = 1\n    return a\n"),
        ("def f():\n    a = ", "1\n    return a\nprint()", "1\n    return a"),
        ("if x {", "\n  y();\n}\nz();", "\n  y();"),
        ("a = 1\n", "b = 2\nc = 3\n", "b = 2\nc = 3\n"),
        ("\tif x:\n", "\t\ty\n\tz\n", "\t\ty"),
    ],
)
def test_a_block_of_code_ends_where_its_indentation_does(prefix, text, filled):
    assert read(prefix, "", text, range(len(text)), dedent=True)[0] == filled


def test_time_ends_it_after_a_line():
    now = iter(range(100))
    assert read("", "", "a\nb\nc\nd", range(8), max_s=3, clock=lambda: next(now)) == ("a\nb\n"[:3], True)


@given(
    st.text("ab)\n ", max_size=12),
    st.text("ab)\n ", max_size=12),
    st.text("ab)\n ", max_size=40),
    st.lists(st.integers(0, 60), max_size=10),
    st.booleans(),
    st.booleans(),
)
def test_pieces_do_not_matter_and_nothing_is_invented(prefix, suffix, text, cuts, dedent, knows):
    filled, _ = read(prefix, suffix, text, cuts, dedent=dedent, knows_suffix=knows)
    assert text.startswith(filled)
    assert filled == read(prefix, suffix, text, dedent=dedent, knows_suffix=knows)[0]


@given(
    st.lists(st.integers(), max_size=30),
    st.lists(st.integers(), max_size=30),
    st.lists(st.lists(st.integers(), max_size=9), max_size=4),
    st.integers(0, 80),
)
def test_what_is_near_the_gap_is_kept(prefix, suffix, extra, room):
    before, after, files = fit(prefix, suffix, extra, room)
    assert len(before) + len(after) + sum(map(len, files)) <= room
    assert prefix[len(prefix) - len(before) :] == before
    assert suffix[: len(after)] == after
    assert extra[len(extra) - len(files) :] == files
    if len(prefix) + len(suffix) + sum(map(len, extra)) <= room:
        assert (before, after, files) == (prefix, suffix, extra)
