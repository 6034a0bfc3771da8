"""Draws benchmarks/schemas.json: 200 random JSON schemas, the keywords of each by hypothesis-jsonschema.

    pip install 'hypothesis<6.121' hypothesis-jsonschema && python benchmarks/make_schemas.py > benchmarks/schemas.json

(Newer hypothesis has taken away what hypothesis-jsonschema 0.23 is built on, hence a file and an environment of its
own.) They are of what people send (nested objects, arrays, enums, bounded strings and numbers, patterns, formats,
unions, references), with bounds that let a small model come to an end.
"""

import json
import warnings
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from hypothesis_jsonschema import from_schema

Schema = dict[str, Any]

WORDS = ["id", "name", "size", "tags", "note", "unit", "when", "kind", "parts", "price"]
COUNT = {"type": "integer", "minimum": 0, "maximum": 4}
VALUES = {"type": "array", "items": {"enum": [*WORDS, 1, 2.5, True, None]}, "minItems": 1, "maxItems": 5}


def _kind(**properties: Any) -> st.SearchStrategy[Any]:
    """Schemas with exactly these keys."""
    closed = {"required": list(properties), "additionalProperties": False}
    return from_schema({"type": "object", "properties": properties, **closed})


LEAVES = st.one_of(
    _kind(type={"const": "string"}, maxLength={"type": "integer", "minimum": 1, "maximum": 24}),
    _kind(type={"const": "string"}, minLength=COUNT, maxLength={"type": "integer", "minimum": 8, "maximum": 16}),
    _kind(type={"const": "string"}, pattern={"enum": ["^[a-z]{2,8}$", "^[A-Z][a-z]+ [0-9]{1,3}$", "^(yes|no|maybe)$"]}),
    _kind(type={"const": "string"}, format={"enum": ["date", "time", "ipv4", "uuid", "date-time"]}),
    _kind(type={"const": "integer"}, minimum={"type": "integer", "minimum": -99, "maximum": 0},
          maximum={"type": "integer", "minimum": 1, "maximum": 9999}),
    _kind(type={"const": "number"}, minimum={"type": "integer", "minimum": -9, "maximum": 0},
          exclusiveMaximum={"type": "integer", "minimum": 1, "maximum": 99}),
    _kind(type={"const": "integer"}, multipleOf={"enum": [2, 5, 10]}, minimum={"const": 0}, maximum={"const": 1000}),
    _kind(type={"enum": ["boolean", "null"]}),
    _kind(enum=VALUES),
    _kind(const={"enum": [*WORDS, 7, False, None]}),
)  # fmt: skip


@st.composite
def objects(draw: Any, depth: int) -> Schema:
    """A closed object; some of its properties are required."""
    names = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique=True))
    properties = {name: draw(anything(depth - 1)) for name in names}
    required = [name for name in names if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@st.composite
def arrays(draw: Any, depth: int) -> Schema:
    """A short array."""
    least = draw(st.integers(0, 1))
    return {"type": "array", "items": draw(anything(depth - 1)), "minItems": least, "maxItems": least + 2}


def anything(depth: int) -> st.SearchStrategy[Any]:
    """A schema of at most this depth."""
    if depth == 0:
        return LEAVES
    unions = st.lists(anything(depth - 1), min_size=1, max_size=3).map(lambda inner: {"anyOf": inner})
    return st.one_of(LEAVES, LEAVES, objects(depth), arrays(depth), unions)


def draw(count: int) -> list[Schema]:
    """So many different schemas, each of an object; with a reference in every third."""
    found: dict[str, Schema] = {}

    @seeded(1)
    @settings(max_examples=count * 4, database=None, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(objects(3))
    def collect(schema: Schema) -> None:
        if len(found) < count:
            if len(found) % 3 == 0:
                name, inner = next(iter(schema["properties"].items()))
                properties = {**schema["properties"], name: {"$ref": "#/$defs/part"}}
                schema = {**schema, "properties": properties, "$defs": {"part": inner}}
            found.setdefault(json.dumps(schema, sort_keys=True), schema)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)
        collect()
    return list(found.values())


if __name__ == "__main__":
    print("[\n" + ",\n".join(json.dumps(schema) for schema in draw(200)) + "\n]")
