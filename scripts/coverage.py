"""Writes docs/API.md: which operations of OpenAI's and of Azure's APIs are served, and which of their properties are
taken and returned, from OpenAI's document and our own code.

    python scripts/coverage.py [--check]

It knows no family of operations: what `create_app` serves is measured. The floor (tests/data/coverage-floor.json) is
what was reached once; a run raises it and never lowers it. With --check nothing is written, and a page that has
drifted, a floor that could be raised, and anything that has fallen below it are errors. tests/contract/test_coverage.py
does the same.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

sys.path.insert(0, str(Path(__file__).parents[1]))

from mainspring.api.app import App, Services, create_app
from mainspring.api.openapi import Operation
from mainspring.core.clock import SystemClock
from mainspring.core.types import Principal
from mainspring.engine.fake import FakeEngine
from scripts.coverage_operations import PACKAGES, azure_operations
from scripts.coverage_properties import Measure, measure, names_of, share

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "API.md"
FLOOR = ROOT / "tests" / "data" / "coverage-floor.json"
SPEC: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "openai-properties.json").read_text("utf-8"))
DIALECTS = ("OpenAI", "Azure v1", "Azure classic")
UNLISTED = "OpenAI's packages"
"""What these ask for beyond OpenAI's document: counted apart."""
NAMES = {"integer": "whole number", "boolean": "true or false", "null": ""}
LEFT_OUT = frozenset({"lifespan", "tracing"})
"""Parts of the server that have no routes."""
MAX_TEXT = 100
"""Characters of a cell."""


@dataclass(frozen=True)
class Row:
    """An operation of theirs.

    Args:
        name: such as "GET /files".
        paths: dialect -> where it is there.
        served: dialect -> our operation.
        taken, returned: of the first dialect that serves it; None if none does, or OpenAI's document does not have it.
    """

    name: str
    paths: Mapping[str, str]
    served: Mapping[str, Operation]
    taken: Measure | None = None
    returned: Measure | None = None

    @property
    def family(self) -> str:
        return self.name.split("/")[1].partition("?")[0]


@cache
def app() -> App:
    """A server that has everything, and behind it nothing."""
    fake = FakeEngine(("model",))

    async def nobody(_key: str) -> Principal:
        raise NotImplementedError

    optional = {
        each.name: MagicMock() for each in fields(Services) if each.default is None and each.name not in LEFT_OUT
    }
    services = Services(
        generate=fake.generate, models=fake, replicas=fake, authenticate=nobody, ready=lambda: True,
        clock=SystemClock(), **optional,
    )  # fmt: skip
    return create_app(services)


@cache
def operations() -> dict[tuple[str, str], Operation]:
    """(method, path) of every operation of ours, parameters written as {}."""
    return {(each.method, _bare(each.path)): each for each in app().operations}


def components() -> dict[str, Any]:
    """The schemas of our own document, by name."""
    return app().openapi["components"]["schemas"]


def _bare(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


@cache
def rows() -> tuple[Row, ...]:
    """Every operation of their documents, by path."""
    theirs: dict[str, Any] = SPEC["operations"]
    paths = {
        "OpenAI": {name: f"/v1{name.partition(' ')[2]}" for name in theirs},
        **azure_operations(theirs),
        UNLISTED: {name: f"/v1{name.partition(' ')[2]}" for name in PACKAGES},
    }
    found: list[Row] = []
    for name in dict.fromkeys(name for names in paths.values() for name in names):
        where = {dialect: names[name] for dialect, names in paths.items() if name in names}
        method = name.partition(" ")[0]
        served = {
            dialect: operations()[method, _bare(path)]
            for dialect, path in where.items()
            if (method, _bare(path)) in operations()
        }
        first = next(iter(served.values()), None)
        if first is None or name not in theirs:
            found.append(Row(name, where, served))
        else:
            found.append(Row(name, where, served, *measure(theirs[name], SPEC["schemas"], first, components())))
    return tuple(sorted(found, key=lambda row: row.name.split()[::-1]))


# -- the page ----------------------------------------------------------------------------------------------------------


def totals() -> Iterator[str]:
    """What is served of each document, and of what is served how many properties."""
    yield "| | operations | served | request properties | reply properties |"
    yield "|---|---|---|---|---|"
    for dialect in (*DIALECTS, UNLISTED):
        theirs = [row for row in rows() if dialect in row.paths]
        served = [row for row in theirs if dialect in row.served]
        percent = len(served) * 100 // len(theirs)
        taken, returned = (_sum(served, name) for name in ("taken", "returned"))
        yield f"| {dialect} | {len(theirs)} | **{len(served)}** ({percent} %) | {taken} | {returned} |"
    known = {id(each) for row in rows() for each in row.served.values()}
    ours = [each for each in operations().values() if id(each) not in known]
    control = sum(each.dialect == "arm" for each in ours)
    yield ""
    yield f"This server has {len(operations())} operations, of which {len(operations()) - len(ours)} are those above."
    yield f"The others are Azure's control plane ({control}) and our own ({len(ours) - control}): /openapi.json."


def _sum(served: list[Row], name: str) -> str:
    found: list[Measure] = [each for row in served if (each := getattr(row, name)) is not None]
    have, known = sum(each.have for each in found), sum(each.known for each in found)
    left = sum(len(each.open) for each in found)
    return f"{have:,} of {known:,} ({have * 100 // known} %)" + (f", {left:,} open" if left else "") if known else ""


def family_table(family: str, found: list[Row]) -> Iterator[str]:
    """A family's operations that are served, what is missing of them, and those that are not."""
    served = [row for row in found if row.served]
    yield f"## {family}: {len(served)} of {len(found)}"
    yield ""
    yield f"| operation | {' | '.join(DIALECTS)} | request | reply |"
    yield "|---|" + "---|" * (len(DIALECTS) + 2)
    for row in served:
        marks = ["yes" if each in row.served else "no" if each in row.paths else "" for each in DIALECTS]
        marks[0] = marks[0] or ("yes, unlisted" if UNLISTED in row.served else "")
        yield f"| `{row.name}` | {' | '.join(marks)} | {_shown(row.taken)} | {_shown(row.returned)} |"
    yield ""
    for row in served:
        yield from details(row)
    if missing := [row for row in found if not row.served]:
        yield from listed("not served", missing)


def listed(title: str, found: list[Row]) -> Iterator[str]:
    """Operations that are not served, folded up."""
    yield f"<details><summary>{title}: {len(found)}</summary>"
    yield ""
    yield ", ".join(f"`{row.name}`" for row in found)
    yield ""
    yield "</details>"
    yield ""


def _shown(found: Measure | None) -> str:
    if found is None or not (found.known or found.open):
        return ""
    left = f", {len(found.open)} open" if found.open else ""
    return (f"{found.have} of {found.known}" if found.known else "") + left


def details(row: Row) -> Iterator[str]:
    """What a request's fields take, and which properties are missing."""
    assert row.served, "there is something to tell"
    lines = [*fields_table(row), *_missing("Not taken", row.taken), *_missing("Not returned", row.returned)]
    if lines:
        yield f"<details><summary><code>{row.name}</code></summary>"
        yield ""
        yield from lines
        yield "</details>"
        yield ""


def _missing(title: str, found: Measure | None) -> Iterator[str]:
    if found is not None and found.missing:
        yield f"{title}: {', '.join(f'`{_dotted(path)}`' for path in found.missing)}."
        yield ""
    if found is not None and found.open:
        tops = dict.fromkeys(path[0] for path in found.open)
        names = ", ".join(f"`{each}`" for each in tops)
        yield f"{title.removeprefix('Not ').capitalize()} as they are, within: {names}."
        yield ""


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


def fields_table(row: Row) -> Iterator[str]:
    """One request body: a row for each field of OpenAI's and of ours."""
    operation = next(iter(row.served.values()))
    if operation.body is None or row.taken is None:
        return
    ours: dict[str, Any] = components()[operation.body.__name__].get("properties", {})
    theirs = set(top_names(row.name))
    yield "| field | taken | |"
    yield "|---|---|---|"
    for name in sorted(theirs | ours.keys()):
        taken = takes(ours[name], components()) if name in ours else None
        status = taken or ("no: 400 `unknown_parameter`" if taken is None else "not yet: 400 that names it")
        yield f"| `{name}` | {_cut(status)} | {'' if name in theirs else 'not OpenAI'} |"
    yield ""


def top_names(name: str) -> list[str]:
    """The properties of a request's body in OpenAI's document, of the first level."""
    return sorted({path[0] for path in names_of(SPEC["operations"][name].get("request"), SPEC["schemas"], 1)})


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3].rpartition(' ')[0]} ..."


def takes(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """What a field of ours takes, in a few words; empty if it takes nothing but null."""
    if "$ref" in schema:
        return takes(defs[schema["$ref"].rpartition("/")[2]], defs)
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(filter(None, (takes(choice, defs) for choice in choices))))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        inside = takes(schema.get("items", {}), defs)
        return f"array of {inside}" + (f", up to {schema['maxItems']}" if "maxItems" in schema else "")
    if "type" in schema.get("properties", {}):  # an object that says in `type` which one of several it is
        return takes(schema["properties"]["type"], defs)
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    limits = f" {low:g} to {high:g}" if low is not None and high is not None and high < 2**31 - 1 else ""
    return NAMES.get(schema.get("type", "anything"), schema.get("type", "anything")) + limits


def page() -> str:
    """The whole of docs/API.md."""
    families: dict[str, list[Row]] = {}
    for row in rows():
        families.setdefault(row.family, []).append(row)
    lines = [
        "# What of the APIs is served",
        "",
        "Generated by `scripts/coverage.py`; a test fails when it has drifted, and when anything served is served no",
        "longer. Null always counts as absent. Nothing is ignored in silence: a field that is not taken is a 400 whose",
        "`param` names it.",
        "",
        *totals(),
        "",
        "Properties are those of the query, the body and the answer with its events, by name, down to the third level;",
        '"open" are those within objects whose names we do not describe: checked by hand, or passed on as they are.',
        "Azure's operations, and those that only OpenAI's packages know, are listed with their sources in",
        "`scripts/coverage_operations.py`; the properties of Azure's are held against OpenAI's.",
        "",
        f"{SPEC['$comment']}.",
        "",
    ]
    whole = {family: found for family, found in families.items() if any(row.served for row in found)}
    for family in sorted(whole):
        lines += family_table(family, whole[family])
    lines += ["## Not served", "", "404; 405 where another method of the same path is served.", ""]
    for family in sorted(families.keys() - whole.keys()):
        lines += listed(family, families[family])
    return "\n".join(lines).rstrip() + "\n"


# -- the floor ---------------------------------------------------------------------------------------------------------


def reached() -> dict[str, Any]:
    """What is served now: operations by dialect, and of each of them the shares in percent (null: nothing to have)."""
    return {
        "operations": {dialect: sum(dialect in row.served for row in rows()) for dialect in (*DIALECTS, UNLISTED)},
        "shares": {
            row.name: [share(row.taken), share(row.returned)] for row in rows() if row.taken and row.returned
        },
    }  # fmt: skip


def raised(floor: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The floor with whatever is higher now; nothing in it is lowered or removed."""
    counts = {name: max(floor["operations"].get(name, 0), count) for name, count in now["operations"].items()}
    shares = dict(floor["shares"])
    for name, both in now["shares"].items():
        before = shares.get(name, [None, None])
        shares[name] = [
            max((each for each in pair if each is not None), default=None) for pair in zip(before, both, strict=True)
        ]
    return {"operations": counts, "shares": dict(sorted(shares.items(), key=lambda item: item[0].split()[::-1]))}


def fallen(floor: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is less than it was, a sentence each."""
    found = [
        f"{name}: {now['operations'].get(name, 0)} operations are served; {count} were"
        for name, count in floor["operations"].items()
        if now["operations"].get(name, 0) < count
    ]
    for name, before in floor["shares"].items():
        both = now["shares"].get(name)
        if both is None:
            found.append(f"{name} is served no longer")
            continue
        for what, old, new in zip(("taken", "returned"), before, both, strict=True):
            if old is not None and (new is None or new < old):
                found.append(f"{name}: {new or 0:g} % of its properties are {what}; {old:g} % were")
    return found


def read_floor() -> dict[str, Any]:
    """What was reached; nothing if there is no file."""
    return json.loads(FLOOR.read_text("utf-8")) if FLOOR.exists() else {"operations": {}, "shares": {}}


def dump(floor: dict[str, Any]) -> str:
    """JSON with a line for each operation."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(both)}" for name, both in floor["shares"].items())
    return f'{{"operations": {json.dumps(floor["operations"])},\n"shares": {{\n{lines}\n}}}}\n'


def main() -> None:
    """Write the page and raise the floor, or check both."""
    floor, now = read_floor(), reached()
    if less := fallen(floor, now):
        sys.exit("\n".join(less) + "\nIf that is meant, change tests/data/coverage-floor.json by hand.")
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        FLOOR.write_text(dump(raised(floor, now)), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page() or raised(floor, now) != floor:
        sys.exit("docs/API.md has drifted from the code: run python scripts/coverage.py")


if __name__ == "__main__":
    main()
