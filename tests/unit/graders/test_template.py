import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.graders import template
from mainspring.graders.result import GraderFailed
from mainspring.graders.run import sample_of

ITEM = {"a": "text", "n": 1.5, "flag": True, "none": None, "list": [{"x": "deep"}, "é"], "a key": "spaced", "0": "zero",
        "hy-phen": "h"}  # fmt: skip
SCOPE = {"item": ITEM, "sample": sample_of('{"steps": [{"v": 3}], "s": "{{ item.a }}"}', tools=[{"id": "call_1"}])}


def render(text: str, scope=SCOPE) -> str:
    return template.parse(text, "grader.input").render(scope)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{item.a}}", "text"),
        ("{{ item.a }}", "text"),
        ("<{{ item.a }}|{{item.a}}>", "<text|text>"),
        ("{{ item.n }} {{ item.flag }} {{ item.none }}", "1.5 true null"),
        ("{{ item.list[0].x }} {{ item.list.0.x }} {{ item.list[1] }}", "deep deep é"),
        ("{{ item['a key'] }} {{ item[\"a key\"] }} {{ item.0 }} {{ item.hy-phen }}", "spaced spaced zero h"),
        ("{{ item.list }}", '[{"x":"deep"},"é"]'),
        ("{{ sample.output_json.steps[0].v }}", "3"),
        ("{{ sample.output_tools[0].id }}", "call_1"),
        ("{{ sample.choices[0].message.role }}", "assistant"),
        ("{{ sample.output_json.s }}", "{{ item.a }}"),  # what is filled in is not filled in again
        ("{ {item.a} } {% if x %} {# no #} }}", "{ {item.a} } {% if x %} {# no #} }}"),
    ],
)
def test_rendering(text: str, wanted: str) -> None:
    assert render(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "{{", "{{ item.a", "{{}}", "{{ }}", "{{ a }}", "{{ item.a | upper }}", "{{ item.a() }}", "{{ 1 + 1 }}",
        "{{ item.__class__.__mro__[1] + 1 }}", "{{ config }}", "{{ item..a }}", "{{ item.a. }}", "{{ item[a] }}",
        "{{ item[-1] }}", "{{ items.a }}", "{{ item.a }", "{{ item['a'}']}}", "{{{item.a}}}",
    ],
)  # fmt: skip
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"grader\.input") as caught:
        render(text)
    assert caught.value.param == "grader.input"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{{ item.missing }}", "invalid_variable_error"),
        ("{{ item.__class__ }}", "invalid_variable_error"),
        ("{{ item.a.upper }}", "invalid_variable_error"),
        ("{{ item.a[0] }}", "invalid_variable_error"),
        ("{{ item.list[2] }}", "invalid_variable_error"),
        ("{{ item.list.append }}", "invalid_variable_error"),
        ("{{ sample.output_audio }}", "invalid_variable_error"),
        ("{{ sample.output_json.missing }}", "invalid_variable_error"),
    ],
)
def test_what_leads_nowhere(text: str, kind: str) -> None:
    with pytest.raises(GraderFailed) as caught:
        render(text)
    assert caught.value.failure.kind == kind


def test_an_answer_that_is_not_json() -> None:
    for reason, kind in (("stop", "sample_parse_error"), ("length", "truncated_observation_error")):
        scope = {"item": {}, "sample": sample_of('{"a": 1', finish_reason=reason)}
        for text in ("{{ sample.output_json }}", "{{ sample.output_json.a }}"):
            with pytest.raises(GraderFailed) as caught:
                render(text, scope)
            assert caught.value.failure.kind == kind
        assert render("{{ sample.output_text }}", scope) == '{"a": 1'


def test_a_short_template_cannot_become_long() -> None:
    scope = {"item": {"a": "x" * 10_000}, "sample": {}}
    with pytest.raises(GraderFailed, match="longer than"):
        render("{{item.a}}" * 1000, scope)
    with pytest.raises(InvalidRequest, match="at most"):
        render("x" * (template.MAX_TEMPLATE + 1))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PIECES = st.sampled_from(
    ["{{", "}}", "{", "}", "item", "sample", ".", "[", "]", "'", '"', "0", "a", " ", "\n", "output_json"]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join), JSON, st.text())
def test_no_text_raises_anything_but_ours(text: str, value, answer: str) -> None:
    try:
        rendered = render(text, {"item": {"a": value, "0": value}, "sample": sample_of(answer)})
    except (InvalidRequest, GraderFailed):
        return
    assert isinstance(rendered, str)
    if "{{" not in text:
        assert rendered == text


@given(st.text(), JSON)
def test_what_is_filled_in_is_the_value(text: str, value) -> None:
    scope = {"item": {"s": text, "v": value}, "sample": sample_of(text)}
    assert render("{{ item.s }}", scope) == text
    assert render("{{ sample.output_text }}", scope) == text
    if not isinstance(value, str):
        assert json.loads(render("{{ item.v }}", scope)) == value
