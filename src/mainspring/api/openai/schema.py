"""The strict subset of JSON schema: what `strict` promises of answers and functions, checked before the engine.

Strict means that the schema says exactly which keys there are: every object forbids other properties and requires all
of its own, and the root is an object. What the engine can enforce beyond that is its own business.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = ["Place", "check_schema"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64

Node = dict[str, Any]


class Place(NamedTuple):
    """Where a schema is: its parameter, what it is called in sentences, and the code of its errors."""

    root: str
    what: str
    code: str

    @classmethod
    def response_format(cls, name: str) -> "Place":
        """The schema of an answer."""
        return cls("response_format.json_schema.schema", f"response_format '{name}'", "invalid_json_schema")

    @classmethod
    def function(cls, root: str, name: str) -> "Place":
        """The schema of a function's arguments."""
        return cls(root, f"function '{name}'", "invalid_function_parameters")


def check_schema(schema: Node, place: Place, *, strict: bool) -> str:
    """The schema's text, once it is known to be of bounded size and, if `strict`, to conform.

    Raises:
        InvalidRequest: with the path of the first place that does not conform.
    """
    _check_depth(schema, place)
    text = msgspec.json.encode(schema)
    if len(text) > MAX_BYTES:
        raise _invalid(place, (), f"the schema has more than {MAX_BYTES} bytes")
    if strict:
        _check_root(schema, place)
        for path, node in _nodes(schema, place):
            _check_object(node, place, path)
    return text.decode()


def _invalid(place: Place, path: tuple[str, ...], what: str) -> InvalidRequest:
    param = ".".join((place.root, *path))[:512]
    return InvalidRequest(f"Invalid schema for {place.what}: in {param}, {what}.", code=place.code, param=param)


def _check_depth(schema: Node, place: Place) -> None:
    level: list[Any] = [schema]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            for child in (
                cast("Node", value).values() if isinstance(value, dict)
                else cast("list[Any]", value) if isinstance(value, list) else ()
            )
        ]  # fmt: skip
        if not level:
            return
    raise _invalid(place, (), f"the schema is nested more than {MAX_DEPTH} levels deep")


def _check_root(schema: Node, place: Place) -> None:
    root, seen = schema, 0
    while "$ref" in root and "type" not in root and seen < MAX_DEPTH:
        root, seen = _resolve(schema, place, (), root["$ref"]), seen + 1
    if "anyOf" in root or "oneOf" in root:
        raise _invalid(place, (), "the root must be an object, not 'anyOf'")
    if root.get("type") != "object":
        raise _invalid(place, (), f"the root must have type 'object', not {root.get('type')!r}")


def _nodes(schema: Node, place: Place) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every schema inside of `schema` with its path, definitions included; references must lead somewhere."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), schema)]
    while todo:
        path, found = todo.pop()
        if not isinstance(found, dict):
            continue  # true and false are schemas too
        node = cast("Node", found)
        if "$ref" in node:
            _resolve(schema, place, path, node["$ref"])
        yield path, node
        children = list(_children(node, place, path))
        todo.extend(reversed(children))  # so that the first place in the client's own order is the one reported


def _children(node: Node, place: Place, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key in ("properties", "patternProperties", "$defs", "definitions"):
        group = node.get(key, {})
        if not isinstance(group, dict):
            raise _invalid(place, (*path, key), "an object is expected")
        for child, value in cast("Node", group).items():
            yield (*path, key, child), value
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        group = node.get(key, [])
        if not isinstance(group, list):
            raise _invalid(place, (*path, key), "an array is expected")
        for index, value in enumerate(cast("list[Any]", group)):
            yield (*path, key, str(index)), value
    if "items" in node:
        yield (*path, "items"), node["items"]


def _check_object(node: Node, place: Place, path: tuple[str, ...]) -> None:
    kind = node.get("type")
    is_object = kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in node
    if not is_object:
        return
    if node.get("additionalProperties") is not False:
        raise _invalid(place, path, "'additionalProperties' is required to be supplied and to be false")
    properties = cast("Node", node.get("properties", {}))
    required = node.get("required", [])
    if not isinstance(required, list):
        raise _invalid(place, (*path, "required"), "an array of property names is expected")
    listed = cast("list[Any]", required)
    for key in properties:
        if key not in listed:
            raise _invalid(
                place, (*path, "properties", key), f"'required' must list every property, and {key!r} is missing"
            )
    for key in listed:
        if key not in properties:
            raise _invalid(place, (*path, "required"), f"{key!r} is required but is no property")


def _resolve(schema: Node, place: Place, path: tuple[str, ...], reference: Any) -> Node:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise _invalid(place, (*path, "$ref"), "only references within the schema ('#/$defs/...') are followed")
    here: Any = schema
    for part in reference[1:].strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        here = cast("Node", here).get(key) if key and isinstance(here, dict) else (here if not key else None)
    if not isinstance(here, dict):
        raise _invalid(place, (*path, "$ref"), f"{reference[:80]!r} leads nowhere")
    return cast("Node", here)
