"""The strict subset of JSON schema, and the bounds of any."""

from typing import Any

import pytest

from mainspring.api.openai.schema import Place, check_schema
from mainspring.core.errors import InvalidRequest

ROOT = "response_format.json_schema.schema"


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


OPEN = {"type": "object", "properties": {}, "required": []}
CONFORMING = [
    obj(),
    obj(a={"type": "string"}, b=obj(c={"type": ["integer", "null"]})),
    {**obj(next={"anyOf": [{"$ref": "#"}, {"type": "null"}]})},
    {**obj(a={"$ref": "#/$defs/x~1y"}), "$defs": {"x/y": obj()}},
    {"$ref": "#/$defs/root", "$defs": {"root": obj(a={"type": "array", "items": obj()})}},
    obj(a={"type": "string", "enum": ["properties"]}, properties={"type": "object", **obj()}),
]
BROKEN: list[tuple[dict[str, Any], str]] = [
    (OPEN, ""),
    ({**obj(), "additionalProperties": True}, ""),
    ({"type": "string"}, ""),
    ({}, ""),
    ({"anyOf": [obj()]}, ""),
    ({"type": "array", "items": obj()}, ""),
    ({**obj(a={}), "required": []}, ".properties.a"),
    ({**obj(a={}), "required": ["a", "b"]}, ".required"),
    ({**obj(a={}), "required": "a"}, ".required"),
    (obj(a=obj(b=OPEN)), ".properties.a.properties.b"),
    (obj(a={"type": "array", "items": OPEN}), ".properties.a.items"),
    (obj(a={"anyOf": [{"type": "null"}, OPEN]}), ".properties.a.anyOf.1"),
    (obj(a={"type": ["object", "null"]}), ".properties.a"),
    ({**obj(a={"$ref": "#/$defs/d"}), "$defs": {"d": OPEN}}, ".$defs.d"),
    (obj(a={"$ref": "#/$defs/gone"}), ".properties.a.$ref"),
    (obj(a={"$ref": "https://example.com/x"}), ".properties.a.$ref"),
    (obj(a={"$ref": 5}), ".properties.a.$ref"),
    ({**obj(), "properties": []}, ".properties"),
    ({**obj(a={"anyOf": {}})}, ".properties.a.anyOf"),
    ({"$ref": "#"}, ""),
]


@pytest.mark.parametrize("schema", CONFORMING)
def test_conforming_schemas_pass(schema: dict[str, Any]) -> None:
    assert check_schema(schema, Place.response_format("x"), strict=True).startswith("{")


@pytest.mark.parametrize(("schema", "place"), BROKEN)
def test_item_17_the_first_place_that_does_not_conform_is_named(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_schema(schema, Place.response_format("x"), strict=True)
    assert caught.value.param == ROOT + place
    assert caught.value.code == "invalid_json_schema"
    assert ROOT + place in caught.value.message


def test_what_is_not_strict_is_only_bounded() -> None:
    assert check_schema(OPEN, Place.response_format("x"), strict=False)
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"items": deep}
    for schema in (deep, {"const": "x" * 300_000}):
        with pytest.raises(InvalidRequest):
            check_schema(schema, Place.response_format("x"), strict=False)
