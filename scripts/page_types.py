"""Writes web/src/api/schemas.ts: TypeScript's types of what the pages read, from the server's own OpenAPI document.

    python scripts/page_types.py [--check]

No server is started. With --check nothing is written, and a file that has drifted is an error;
tests/unit/api/test_page_types.py does the same. openapi-typescript would do this, too: it needs the JavaScript API of
TypeScript, which TypeScript 7, that the pages are checked with, does not have.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.coverage import app

PAGE = Path(__file__).parents[1] / "web" / "src" / "api" / "schemas.ts"
READ = (
    "AdminApiKey", "Batch", "Chat", "ChatChangeList", "ChatShare", "ChatTurn", "EvalObject", "EvalRun",
    "FineTuningCheckpoint", "FineTuningEvent", "FineTuningJob", "Model", "OrganizationProject", "OrganizationRole",
    "OutputItem", "ProjectApiKey", "ProjectServiceAccount", "Response", "SessionState", "SharedChat",
)  # fmt: skip
"""What the pages read. Whatever these name comes along."""
HEAD = "/** What the server says, from its own description: `scripts/page_types.py` writes this file. */\n"
WIDTH = 120

Json = dict[str, Any]


def name_of(reference: str) -> str:
    """What a schema is called here: a few have their module's name before their own."""
    return reference.rpartition("/")[2].rpartition(".")[2].rpartition("__")[2]


def references(schema: Any) -> Iterator[str]:
    """The names, in the document, of all schemas that one names."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def wanted(schemas: Json) -> dict[str, Json]:
    """By its name here, each schema that the file has. Two of one name would be an error."""
    found: dict[str, str] = {}
    left = list(READ)
    while left:
        name = left.pop()
        if found.setdefault(name_of(name), name) != name:
            raise SystemExit(f"{name} and {found[name_of(name)]} would have the same name")
        left += [each for each in references(schemas[name]) if found.get(name_of(each)) != each]
    return {here: schemas[name] for here, name in sorted(found.items())}


def union(types: list[str]) -> str:
    return " | ".join(dict.fromkeys(types))


def type_of(schema: Json) -> str:
    """A schema as a type."""
    match schema:
        case {"$ref": reference}:
            said = name_of(reference)
        case {"anyOf": choices} | {"oneOf": choices}:
            said = union([type_of(each) for each in choices])
        case {"enum": values}:
            said = union([json.dumps(each) for each in values])
        case {"type": "integer" | "number"}:
            said = "number"
        case {"type": "string" | "boolean" | "null" as kind}:
            said = kind
        case {"type": "array"}:
            items = type_of(schema.get("items", {}))
            said = f"({items})[]" if "|" in items else f"{items}[]"
        case {"type": "object"}:
            rest = schema.get("additionalProperties")
            said = f"Record<string, {type_of(rest) if isinstance(rest, dict) else 'unknown'}>"
        case _:
            said = "unknown"
    return said


def comment(text: str, indent: str) -> str:
    """What a schema or a field says of itself, without what its arguments are: their own comments say that."""
    lines = " ".join(text.partition("\n\n")[0].split()).replace("*/", "* /")
    if not lines:
        return ""
    if len(one := f"{indent}/** {lines} */") <= WIDTH:
        return f"{one}\n"
    wrapped: list[str] = []
    for word in lines.split(" "):
        if wrapped and len(f"{indent} * {wrapped[-1]} {word}") <= WIDTH:
            wrapped[-1] += f" {word}"
        else:
            wrapped.append(word)
    return "".join([f"{indent}/**\n", *(f"{indent} * {each}\n" for each in wrapped), f"{indent} */\n"])


def interface(name: str, schema: Json) -> str:
    """One object. What has a default is always there: the server writes it."""
    said = comment(schema.get("description", ""), "")
    fields = schema.get("properties")
    if fields is None:
        return f"{said}export type {name} = {type_of(schema)};\n"
    lines = []
    for field, each in fields.items():
        optional = "" if field in schema.get("required", ()) or "default" in each else "?"
        key = field if re.fullmatch(r"[A-Za-z_]\w*", field) else json.dumps(field)
        lines.append(f"{comment(each.get('description', ''), '  ')}  {key}{optional}: {type_of(each)};\n")
    return f"{said}export interface {name} {{\n{''.join(lines)}}}\n"


def page() -> str:
    """The whole file."""
    found = wanted(app().openapi["components"]["schemas"])
    return "\n".join([HEAD, *(interface(name, schema) for name, schema in found.items())])


def main() -> int:
    """See the module's docstring; the exit status."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        sys.stderr.write("web/src/api/schemas.ts has drifted from the server: run scripts/page_types.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
