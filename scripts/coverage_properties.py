"""Which of an operation's properties we take and return: OpenAI's names against the schemas of our own wire types.

A property is told by its path of names, up to `DEPTH` of them, through arrays and whatever branch of a union. It
counts as taken or returned if our schema has it in any branch, and something else than null may be in it. What our
schema leaves open (an object of any properties) is counted apart: its names are checked by hand, or passed on, and
types cannot tell which.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mainspring.api.openapi import Operation

__all__ = ["DEPTH", "Measure", "Schema", "measure", "names_of", "share"]

DEPTH = 3
Json = dict[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """How many properties we have, do not have, and cannot tell of, in one direction."""

    have: int = 0
    missing: tuple[Path, ...] = ()
    open: tuple[Path, ...] = ()

    @property
    def known(self) -> int:
        return self.have + len(self.missing)


def share(measure: Measure) -> float | None:
    """In percent, rounded down to a tenth, so that 100 means all; None if there is nothing to have."""
    return None if not measure.known else measure.have * 1000 // measure.known / 10


# -- theirs ------------------------------------------------------------------------------------------------------------


def names_of(node: Any, schemas: Json, depth: int = DEPTH, seen: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The paths of the properties of a node of openai-properties.json; the same one may come twice."""
    for name, inner in (node or {}).items() if depth else ():
        if name == "$":
            for each in inner:
                if each not in seen:
                    yield from names_of(schemas.get(each), schemas, depth, seen | {each})
        elif name == "[]":
            yield from names_of(inner, schemas, depth, seen)
        elif name == "":
            yield from ((each,) for each in inner.split())
        else:
            yield (name,)
            yield from ((name, *rest) for rest in names_of(inner, schemas, depth - 1))


# -- ours --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schema:
    """A JSON schema of ours with what it refers to. `branches` are the alternatives; without any it has nothing."""

    branches: tuple[Json, ...] = ()
    defs: Json = field(default_factory=dict)

    def find(self, path: Path) -> str:
        """ "yes", "no" or "open"."""
        nodes = list(self.branches)
        for name in path:
            nodes = [each for node in nodes for each in self._flat(node)]
            below = [node["properties"][name] for node in nodes if name in node.get("properties", ())]
            if not below:
                return "open" if any(_is_open(node) for node in nodes) else "no"
            nodes = below
        flat = [each for node in nodes for each in self._flat(node)]
        return "yes" if any(each.get("type") != "null" for each in flat) else "no"

    def _flat(self, node: Json, depth: int = 0) -> Iterator[Json]:
        """What may stand in a place: through references, unions and arrays."""
        if depth > 32:
            return
        if "$ref" in node:
            yield from self._flat(self.defs[node["$ref"].rpartition("/")[2]], depth + 1)
        for part in (part for key in ("anyOf", "oneOf", "allOf") for part in node.get(key, ())):
            yield from self._flat(part, depth + 1)
        if node.get("type") == "array":
            for part in (*node.get("prefixItems", ()), *filter(None, (node.get("items"),))):
                yield from self._flat(part, depth + 1)
        elif not {"$ref", "anyOf", "oneOf", "allOf"} & node.keys():
            yield node


def _is_open(node: Json) -> bool:
    """Whether it does not say what the names of its properties are."""
    if "properties" in node or {"enum", "const"} & node.keys():
        return False
    return node.get("type", "object") == "object" and node.get("additionalProperties", True) is not False


def _taken(operation: Operation, defs: Json) -> Schema:
    """What an operation of ours takes: its query is among it."""
    query: Json = {"properties": {name.rpartition("/")[2]: {"type": "string"} for name in operation.query}}
    branches = [query]
    if operation.body is not None:
        branches.append({"$ref": operation.body.__name__})
    if operation.form is not None:
        branches.append({"properties": _unfolded(operation.form["properties"])})
    return Schema(tuple(branches), defs)


def _unfolded(fields: Json) -> Json:
    """A form writes what is inside of an object as name[inside], and an array's items as name[]."""
    made: Json = {}
    for name, inner in fields.items():
        first, *rest = [part for part in re.split(r"[\[\]]+", name) if part]
        place = made.setdefault(first, {"type": "object", "properties": {}} if rest else inner)
        for part in rest:
            place = place["properties"].setdefault(part, {"type": "object", "properties": {}})
    return made


def _returned(operation: Operation) -> Schema:
    """What an operation of ours returns: the events of its stream are among it."""
    kinds = [kind for kind in (operation.reply, operation.chunk) if kind is not None and not isinstance(kind, str)]
    schemas, defs = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return Schema(tuple(schemas), defs)


def measure(theirs: Json, schemas: Json, ours: Operation, components: Json) -> tuple[Measure, Measure]:
    """Of an operation of openai-properties.json: what we take, and what we return.

    Args:
        schemas: what `theirs` refers to.
        components: the schemas of our own document.
    """
    asked = {*names_of(theirs.get("query"), schemas), *names_of(theirs.get("request"), schemas)}
    answered = {*names_of(theirs.get("reply"), schemas), *names_of(theirs.get("event"), schemas)}
    return _held(asked, _taken(ours, components)), _held(answered, _returned(ours))


def _held(theirs: set[Path], ours: Schema) -> Measure:
    found: dict[str, list[Path]] = {"yes": [], "no": [], "open": []}
    for path in sorted(theirs):
        found[ours.find(path)].append(path)
    return Measure(len(found["yes"]), tuple(found["no"]), tuple(found["open"]))
