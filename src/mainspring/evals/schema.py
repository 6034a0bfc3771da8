"""JSON schemas of items, from strangers: which of them are taken, and whether an item is what one says.

The part of JSON Schema 2020-12 that has a bounded price: no references to anywhere but the schema itself, regular
expressions by RE2, and so many steps for an item. A keyword that is not enforced is an error that names its place, and
never passed over. Notes (title, description, format, ...) mean nothing here, as the standard has it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import re2

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_STEPS", "Mismatch", "Schema"]

MAX_NODES = 2000
MAX_DEPTH = 64
MAX_PATTERN = 1000
MAX_PATTERN_BYTES = 2**20
MAX_STEPS = 50_000
"""Comparisons of a part of an item with a part of the schema: a tenth of a second."""

Json = Mapping[str, Any]
_RE2_ERROR: Any = cast("Any", re2).error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_NOTES = frozenset(
    (
        "$schema", "$id", "$comment", "title", "description", "default", "examples", "example", "format", "deprecated",
        "readOnly", "writeOnly", "contentMediaType", "contentEncoding",
    )
)  # fmt: skip
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
}
_ONE = frozenset(("items", "additionalProperties", "not", "contains", "propertyNames"))
_LIST = frozenset(("anyOf", "allOf", "oneOf", "prefixItems"))
_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions"))


class Mismatch(Exception):
    """An item is not what the schema says; `where` is the place in the item."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)


def _is_type(value: Any) -> bool:
    names = cast("list[Any]", value) if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in cast("list[Any]", value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_PLAIN: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_COUNTS, (_is_count, "a whole number from 0")),
    **dict.fromkeys(_NUMBERS, (_is_number, "a number")),
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or an array of them,"),
    "enum": (lambda value: isinstance(value, list), "an array"),
    "required": (_is_names, "an array of names"),
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
    "const": (lambda _: True, ""),
}
"""Keywords without schemas in them: what their value must be."""


class Schema:
    """A schema that is taken.

    Args:
        given: what JSON holds.
        where: its place in the request, for errors.

    Raises:
        InvalidRequest: it is none, or has what is not enforced; `param` names the place.
    """

    def __init__(self, given: Any, where: str = "item_schema") -> None:
        self._root: Any = given
        self._num_nodes = 0
        self._references: dict[str, Any] = {}
        self._seen: set[int] = set()
        self._look(given, where, 0)
        looked = 0
        while looked < len(self._references):
            name, node = list(self._references.items())[looked]
            looked += 1
            # What a reference leads to is a schema, though it may lie where none is expected (`#/properties`).
            self._look(node, f"{where} {name}", 0)

    def check(self, value: Any) -> None:
        """Whether a value is what the schema says.

        Raises:
            Mismatch: it is not, or it takes too long to say.
        """
        _Check(self._references).match(self._root, value, "", 0)

    def _wrong(self, where: str, what: str) -> InvalidRequest:
        return InvalidRequest(f"Invalid '{where[:200]}': {what}.", code="invalid_schema", param=where[:256])

    def _look(self, node: Any, where: str, depth: int) -> None:
        if id(node) in self._seen:
            return
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self._wrong(where, f"a schema has at most {MAX_NODES} parts, {MAX_DEPTH} deep")
        if isinstance(node, bool):
            return
        if not isinstance(node, dict):
            raise self._wrong(where, "a JSON schema is an object, or true or false")
        self._seen.add(id(cast("object", node)))
        for key, value in cast("dict[str, Any]", node).items():
            self._keyword(key, value, f"{where}.{key}", depth)

    def _keyword(self, key: str, value: Any, where: str, depth: int) -> None:
        if key in _ONE:
            self._look(value, where, depth + 1)
        elif key in _LIST:
            if not isinstance(value, list) or not value:
                raise self._wrong(where, "an array of schemas is expected")
            for at, each in enumerate(cast("list[Any]", value)):
                self._look(each, f"{where}[{at}]", depth + 1)
        elif key in _NAMED:
            if not isinstance(value, dict):
                raise self._wrong(where, "an object of schemas is expected")
            for name, each in cast("dict[str, Any]", value).items():
                if key == "patternProperties":
                    self._pattern(name, where)
                self._look(each, f"{where}.{name}", depth + 1)
        elif key == "$ref":
            self._reference(value, where)
        elif key not in _NOTES:
            self._plain(key, value, where)

    def _plain(self, key: str, value: Any, where: str) -> None:
        if key == "pattern":
            self._pattern(value, where)
            return
        if key not in _PLAIN:
            raise self._wrong(where, f"the keyword {key[:40]!r} is not enforced here: leave it out")
        is_one, expected = _PLAIN[key]
        if not is_one(value):
            raise self._wrong(where, f"{expected} is expected")

    def _pattern(self, value: Any, where: str) -> None:
        if not isinstance(value, str) or len(value) > MAX_PATTERN:
            raise self._wrong(where, f"a pattern is text of at most {MAX_PATTERN} characters")
        try:
            _compiled(value)
        except _RE2_ERROR as error:
            raise self._wrong(where, f"RE2 does not take the pattern: {str(error)[:200]}") from None

    def _reference(self, value: Any, where: str) -> None:
        if not isinstance(value, str) or not (value == "#" or value.startswith("#/")):
            raise self._wrong(where, "only references into the schema itself are followed, such as #/$defs/name")
        here: Any = self._root
        for step in value[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(here, dict) or key not in here:
                raise self._wrong(where, f"there is no {value[:100]!r}")
            here = cast("dict[str, Any]", here)[key]
        self._references[value] = here


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    library: Any = re2  # it has no types
    options = library.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    return library.compile(pattern, options)


class _Check:
    """One comparison of a value with a schema."""

    def __init__(self, references: Mapping[str, Any]) -> None:
        self._references, self._left = references, MAX_STEPS

    def _spend(self, steps: int = 1) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooMuch("", "it takes too long to compare this with its schema: make either of them simpler")

    def match(self, node: Any, value: Any, where: str, depth: int) -> None:
        """Raises Mismatch unless `value` is what `node` says."""
        self._spend()
        if depth > 4 * MAX_DEPTH:
            raise _TooMuch("", "the schema refers to itself without end")
        if isinstance(node, bool):
            if not node:
                raise Mismatch(where, "nothing is allowed here")
            return
        if (name := node.get("$ref")) is not None:
            self.match(self._references[name], value, where, depth + 1)
        self._any_value(node, value, where)
        if isinstance(value, dict):
            self._object(node, cast("dict[str, Any]", value), where, depth)
        elif isinstance(value, list):
            self._array(node, cast("list[Any]", value), where, depth)
        elif isinstance(value, str):
            self._string(node, value, where)
        elif _is_number(value):
            _number(node, value, where)
        self._combined(node, value, where, depth)

    def _fits(self, node: Any, value: Any, where: str, depth: int) -> bool:
        try:
            self.match(node, value, where, depth + 1)
        except _TooMuch:
            raise
        except Mismatch:
            return False
        return True

    def _any_value(self, node: Json, value: Any, where: str) -> None:
        if (kinds := node.get("type")) is not None:
            names = cast("list[str]", kinds) if isinstance(kinds, list) else [cast("str", kinds)]
            if not any(_TYPES[name](value) for name in names):
                raise Mismatch(where, f"{' or '.join(names)} is expected")
        if "enum" in node and not any(self._same(value, each) for each in node["enum"]):
            raise Mismatch(where, f"it is none of the {len(node['enum'])} values that are allowed")
        if "const" in node and not self._same(value, node["const"]):
            raise Mismatch(where, "it is not the one value that is allowed")

    def _same(self, one: Any, other: Any) -> bool:
        """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
        self._spend()
        if isinstance(one, dict) and isinstance(other, dict):
            first, second = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
            return first.keys() == second.keys() and all(self._same(first[key], second[key]) for key in first)
        if isinstance(one, list) and isinstance(other, list):
            left, right = cast("list[Any]", one), cast("list[Any]", other)
            return len(left) == len(right) and all(map(self._same, left, right))
        return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)

    def _object(self, node: Json, value: dict[str, Any], where: str, depth: int) -> None:
        _size(node, "Properties", len(value), where)
        for name in node.get("required", ()):
            self._spend()
            if name not in value:
                raise Mismatch(where, f"{name[:100]!r} is missing")
        named, patterns = node.get("properties", {}), node.get("patternProperties", {})
        for name, each in value.items():
            inside = f"{where}.{name[:60]}" if where else name[:60]
            if "propertyNames" in node:
                self.match(node["propertyNames"], name, inside, depth + 1)
            is_known = name in named
            if is_known:
                self.match(named[name], each, inside, depth + 1)
            for pattern, of in patterns.items():
                self._spend(1 + len(name) // 100)
                if _compiled(pattern).search(name) is not None:
                    is_known = True
                    self.match(of, each, inside, depth + 1)
            if not is_known and "additionalProperties" in node:
                self.match(node["additionalProperties"], each, inside, depth + 1)

    def _array(self, node: Json, value: list[Any], where: str, depth: int) -> None:
        _size(node, "Items", len(value), where)
        first = node.get("prefixItems", ())
        for at, each in enumerate(value):
            of = first[at] if at < len(first) else node.get("items", True)
            if of is not True:
                self.match(of, each, f"{where}[{at}]", depth + 1)
        if "contains" in node and not any(self._fits(node["contains"], each, where, depth) for each in value):
            raise Mismatch(where, "it has no item of the kind that it must contain")
        if node.get("uniqueItems"):
            for at, each in enumerate(value):
                if any(self._same(each, value[before]) for before in range(at)):
                    raise Mismatch(f"{where}[{at}]", "this is there twice")

    def _string(self, node: Json, value: str, where: str) -> None:
        _size(node, "Length", len(value), where)
        if (pattern := node.get("pattern")) is not None:
            self._spend(1 + len(value) // 100)
            if _compiled(pattern).search(value) is None:
                raise Mismatch(where, f"it does not match the pattern {pattern[:100]!r}")

    def _combined(self, node: Json, value: Any, where: str, depth: int) -> None:
        for each in node.get("allOf", ()):
            self.match(each, value, where, depth + 1)
        if "anyOf" in node and not any(self._fits(each, value, where, depth) for each in node["anyOf"]):
            raise Mismatch(where, "it fits none of the alternatives")
        if "oneOf" in node and sum(self._fits(each, value, where, depth) for each in node["oneOf"]) != 1:
            raise Mismatch(where, "it must fit exactly one of the alternatives")
        if "not" in node and self._fits(node["not"], value, where, depth):
            raise Mismatch(where, "it is of the kind that is not allowed")


class _TooMuch(Mismatch):
    """Not to be taken for an alternative that does not fit."""


def _size(node: Json, of: str, size: int, where: str) -> None:
    if size < node.get(f"min{of}", 0):
        raise Mismatch(where, f"it has {size} {of.lower()}, fewer than {node[f'min{of}']}")
    if size > node.get(f"max{of}", size):
        raise Mismatch(where, f"it has {size} {of.lower()}, more than {node[f'max{of}']}")


def _number(node: Json, value: float, where: str) -> None:
    allowed = (
        value >= node.get("minimum", value), value <= node.get("maximum", value),
        "exclusiveMinimum" not in node or value > node["exclusiveMinimum"],
        "exclusiveMaximum" not in node or value < node["exclusiveMaximum"],
    )  # fmt: skip
    if not all(allowed):
        raise Mismatch(where, "the number is out of range")
