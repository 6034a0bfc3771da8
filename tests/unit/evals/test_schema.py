"""Schemas of items: the same verdicts as the reference library, mistakes by their place, and a bounded price."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mainspring.core.errors import InvalidRequest
from mainspring.evals.schema import MAX_STEPS, Mismatch, Schema

NAMES = st.sampled_from(["a", "b", "ab", ""])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.0]) | NAMES
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
TYPES = st.sampled_from(["object", "array", "string", "boolean", "null", "integer", "number"])


def _plain() -> st.SearchStrategy[dict[str, Any]]:
    counts = {name: st.integers(0, 3) for name in ("minLength", "maxLength", "minItems", "maxItems", "minProperties")}
    numbers = {name: st.integers(-2, 2) for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")}
    return st.fixed_dictionaries(
        {},
        optional={
            **counts, **numbers, "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(VALUES, max_size=3), "const": VALUES, "required": st.lists(NAMES, max_size=2, unique=True),
            "pattern": st.sampled_from(["a", "^b$", "[ab]{2}"]), "uniqueItems": st.booleans(),
            "title": st.text(max_size=3), "format": st.just("date"),
        },
    )  # fmt: skip


def _with(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several, named = st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, max_size=2)
    of = st.fixed_dictionaries(
        {},
        optional={
            "properties": named, "patternProperties": st.dictionaries(st.sampled_from(["a", "^b"]), inner, max_size=2),
            "additionalProperties": inner, "propertyNames": inner, "items": inner, "prefixItems": several,
            "contains": inner, "anyOf": several, "allOf": several, "oneOf": several, "not": inner,
        },
    )  # fmt: skip
    return st.tuples(_plain(), of).map(lambda both: {**both[0], **both[1]})


SCHEMAS = st.recursive(st.booleans() | _plain(), _with, max_leaves=6)


@settings(max_examples=400, deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_verdicts_are_those_of_the_reference(schema: Any, value: Any) -> None:
    expected = Draft202012Validator(schema).is_valid(value)
    try:
        Schema(schema).check(value)
    except Mismatch:
        assert not expected
    else:
        assert expected


TREE = {
    "$defs": {"tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "n": {"type": "integer"}}}},
    "$ref": "#/$defs/tree",
}


@pytest.mark.parametrize(("value", "fits"), [({"left": {"left": {"n": 1}}}, True), ({"left": {"n": "x"}}, False)])
def test_references_into_the_schema_are_followed(value: Any, fits: bool) -> None:
    assert Draft202012Validator(TREE).is_valid(value) is fits
    if fits:
        Schema(TREE).check(value)
    else:
        with pytest.raises(Mismatch, match=r"left\.n: integer is expected"):
            Schema(TREE).check(value)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ([], "item_schema"),
        ({"type": "text"}, "item_schema.type"),
        ({"properties": {"a": {"minLength": -1}}}, "item_schema.properties.a.minLength"),
        ({"properties": []}, "item_schema.properties"),
        ({"anyOf": [True, 3]}, "item_schema.anyOf[1]"),
        ({"anyOf": []}, "item_schema.anyOf"),
        ({"items": {"pattern": "(?=a)"}}, "item_schema.items.pattern"),
        ({"patternProperties": {"(": True}}, "item_schema.patternProperties"),
        ({"pattern": "a" * 2000}, "item_schema.pattern"),
        ({"dependentRequired": {}}, "item_schema.dependentRequired"),
        ({"if": True}, "item_schema.if"),
        ({"$ref": "http://example.org/schema"}, "item_schema.$ref"),
        ({"$ref": "#/$defs/none"}, "item_schema.$ref"),
        ({"required": "a"}, "item_schema.required"),
        ({"$ref": "#/properties/a", "properties": {"a": {"minimum": "1"}}}, "item_schema.properties.a.minimum"),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_named_by_its_place(schema: Any, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Schema(schema)
    assert (caught.value.param, caught.value.code) == (place, "invalid_schema")
    assert place in caught.value.message


def test_what_a_reference_leads_to_is_a_schema_too() -> None:
    with pytest.raises(InvalidRequest, match=r"no schema|not enforced"):
        Schema({"$ref": "#/properties", "properties": {"items": {"type": "string"}, "nonsense": True}})


def _doubling(depth: int) -> dict[str, Any]:
    """Each level asks for the next one twice: 2^depth comparisons."""
    twice = {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(depth)}
    return {"$defs": {**twice, f"a{depth}": {"type": "object"}}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, {}),
        (_doubling(40), {}),
        ({"uniqueItems": True}, list(range(5000))),
        ({"not": {"$ref": "#"}}, {}),
        ({"anyOf": [_doubling(40)["$defs"]["a40"], {"$ref": "#"}], "not": True}, "x"),
    ],
)  # fmt: skip
def test_what_costs_too_much_ends(schema: Any, value: Any) -> None:
    with pytest.raises(Mismatch):
        Schema(schema).check(value)


def test_a_schema_has_a_size() -> None:
    deep: Any = True
    for _ in range(100):
        deep = {"items": deep}
    for schema in (deep, {"properties": {str(at): {} for at in range(5000)}}):
        with pytest.raises(InvalidRequest, match="at most"):
            Schema(schema)
    assert MAX_STEPS < 100_000, "a tenth of a second"


def test_large_numbers_are_numbers() -> None:
    Schema({"type": "integer"}).check(10**400)
    Schema({"type": "number", "minimum": 1}).check(2.5)
