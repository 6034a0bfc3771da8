from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.graders.definitions import Multi, validate

CHECK: dict[str, Any] = {"type": "string_check", "name": "c", "input": "{{sample.output_text}}",
                         "reference": "{{item.a}}", "operation": "eq"}  # fmt: skip
SIMILAR: dict[str, Any] = {
    "type": "text_similarity",
    "name": "s",
    "input": "a",
    "reference": "b",
    "evaluation_metric": "bleu",
}
PYTHON: dict[str, Any] = {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1.0"}
SCORE: dict[str, Any] = {
    "type": "score_model", "name": "m", "model": "fake",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Score {{sample.output_text}}"}]}],
    "sampling_params": {"temperature": 1, "top_p": 1, "seed": 42, "max_completions_tokens": 100,
                        "reasoning_effort": "low"},
}  # fmt: skip
LABEL: dict[str, Any] = {
    "type": "label_model", "name": "l", "model": "fake", "labels": ["good", "bad"], "passing_labels": ["good"],
    "input": [{"type": "message", "role": "system", "content": {"type": "input_text", "text": "Judge."}},
              {"role": "user", "content": "{{item.a}}"}],
}  # fmt: skip
MULTI: dict[str, Any] = {"type": "multi", "name": "all", "graders": {"one": CHECK, "two": SIMILAR},
                         "calculate_output": "(one + two) / 2"}  # fmt: skip
ALL = [CHECK, SIMILAR, PYTHON, SCORE, LABEL, MULTI]


@pytest.mark.parametrize("given", ALL, ids=lambda each: each["type"])
def test_each_kind_is_taken_and_kept(given: dict[str, Any]) -> None:
    grader = validate(given)
    assert grader.type == given["type"]
    kept = msgspec.to_builtins(grader)
    assert validate(kept) == grader
    if given is not LABEL and given is not SCORE:
        assert kept == given


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"type": "other"}, "grader.type", "invalid_value"),
        ({"type": None}, "grader.type", "invalid_value"),
        ({"operation": "like%"}, "grader.operation", "invalid_value"),
        ({"input": 3}, "grader.input", "invalid_value"),
        ({"input": "{{ item. }}"}, "grader.input", "invalid_value"),
        ({"reference": "{{ other.x }}"}, "grader.reference", "invalid_value"),
        ({"more": 1}, "grader.more", "unknown_parameter"),
        ({"name": "x" * 300}, "grader.name", "invalid_value"),
    ],
)
def test_errors_name_the_place(change: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate({**CHECK, **change})
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize("given", ALL, ids=lambda each: each["type"])
def test_whatever_is_missing_is_named(given: dict[str, Any]) -> None:
    for key in given.keys() - {"sampling_params", "type"}:
        with pytest.raises(InvalidRequest) as caught:
            validate({name: value for name, value in given.items() if name != key})
        assert (caught.value.param, caught.value.code) == (f"grader.{key}", "missing_required_parameter")


@pytest.mark.parametrize("given", [None, [], "string_check", 3, {}, {"type": []}, {"type": {}}, {"name": "x"}])
def test_what_is_no_grader(given: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(given)
    assert caught.value.param.startswith("grader")


@pytest.mark.parametrize(
    ("given", "change", "param"),
    [
        (SIMILAR, {"evaluation_metric": "rouge_6"}, "grader.evaluation_metric"),
        (PYTHON, {"source": "x" * 300_000}, "grader.source"),
        (PYTHON, {"source": "x = 1"}, "grader.source"),
        (SCORE, {"range": [1, 0]}, "grader.range"),
        (SCORE, {"range": [1]}, "grader.range"),
        (SCORE, {"model": ""}, "grader.model"),
        (SCORE, {"input": []}, "grader.input"),
        (SCORE, {"input": [{"role": "tool", "content": "x"}]}, "grader.input[0].role"),
        (SCORE, {"input": [{"role": "user", "content": "{{ x }}"}]}, "grader.input[0].content"),
        (SCORE, {"input": [{"role": "user", "content": {"type": "input_image"}}]}, "grader.input[0].content"),
        (SCORE, {"sampling_params": {"temperature": 3}}, "grader.sampling_params.temperature"),
        (LABEL, {"passing_labels": ["other"]}, "grader.passing_labels"),
        (LABEL, {"labels": ["good", "good"]}, "grader.labels"),
        (MULTI, {"calculate_output": "one + three"}, "grader.calculate_output"),
        (MULTI, {"graders": {}}, "grader.graders"),
        (MULTI, {"graders": {"one": {**CHECK, "operation": "x"}, "two": SIMILAR}}, "grader.graders.one.operation"),
        (MULTI, {"graders": {"one": MULTI, "two": SIMILAR}}, "grader.graders.one.type"),
        (MULTI, {"graders": {"a b": CHECK}}, "grader.graders.a b"),
        (MULTI, {"graders": {"min": CHECK}}, "grader.graders.min"),
        (MULTI, {"graders": [CHECK, CHECK]}, "grader.graders"),
        (MULTI, {"graders": {f"g{n}": CHECK for n in range(65)}}, "grader.graders"),
        (MULTI, {"graders": 3}, "grader.graders"),
        (MULTI, {"more": 3}, "grader.more"),
    ],
)  # fmt: skip
def test_what_the_shape_does_not_say(given: dict[str, Any], change: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate({**given, **change})
    assert caught.value.param == param


def test_the_graders_of_a_multi_grader_as_the_document_has_them() -> None:
    """A list as in its example, by `<type>_score` or by name, and a single one as in its schema."""
    two = {**MULTI, "graders": [{**SIMILAR, "name": "my similarity"}, CHECK]}
    grader = validate({**two, "calculate_output": "0.5 * text_similarity_score + 0.5 * string_check_score"})
    assert isinstance(grader, Multi)
    assert (list(grader.graders), grader.calculate_output) == (["my_similarity", "c"], "0.5 * my_similarity + 0.5 * c")
    assert validate(msgspec.to_builtins(grader)) == grader
    assert validate({**two, "calculate_output": "my_similarity"}).graders == grader.graders
    assert list(validate({**MULTI, "graders": CHECK, "calculate_output": "c"}).graders) == ["c"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["string_check", "multi", "score_model", "python", "{{", "eq", "user", "c", "input_text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "name", "input", "graders", "role", "content", "model", "range", "labels", "x"]),
        inner,
        max_size=5),
    max_leaves=15,
)  # fmt: skip


@given(
    st.sampled_from(ALL),
    st.dictionaries(st.sampled_from(sorted({key for each in ALL for key in each})), VALUES, max_size=3),
)
def test_no_json_raises_anything_but_ours(valid: dict[str, Any], changes: dict[str, Any]) -> None:
    try:
        validate({**valid, **changes})
    except InvalidRequest as error:
        assert error.param.startswith("grader")  # noqa: PT017 - it need not be raised
