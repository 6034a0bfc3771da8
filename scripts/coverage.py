"""Writes docs/API.md: which of OpenAI's fields and paths this server takes, from OpenAI's document and our own code.

    python scripts/coverage.py [--check]

With --check nothing is written and a page that has drifted is an error. tests/contract/test_coverage.py does the same.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from mainspring.api.app import Services, create_app
from mainspring.api.openai import containers, wire, wire_finetuning, wire_responses, wire_vector_stores
from mainspring.api.services import Stateful, Training, VectorStores
from mainspring.core.clock import SystemClock
from mainspring.core.types import Principal
from mainspring.engine.fake import FakeEngine
from mainspring.store.files import Files

if TYPE_CHECKING:
    from mainspring.core.seams import Search
    from mainspring.responses.conversations import Conversations
    from mainspring.responses.service import Responses
    from mainspring.retrieval.attaching import Attaching
    from mainspring.retrieval.stores import Stores
    from mainspring.store.blobs import Blobs
    from mainspring.store.containers import Containers
    from mainspring.store.db import Database
    from mainspring.train.jobs import FineTuning
    from mainspring.train.sharing import Sharing

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "API.md"
SPEC: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "openai-spec.json").read_text("utf-8"))
REQUESTS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("chat/completions", "CreateChatCompletionRequest", wire.ChatRequest),
    ("completions", "CreateCompletionRequest", wire.CompletionRequest),
    ("fine_tuning/jobs", "CreateFineTuningJobRequest", wire_finetuning.CreateFineTuningJobRequest),
    ("containers", "CreateContainerBody", containers.CreateContainerRequest),
    ("vector_stores", "CreateVectorStoreRequest", wire_vector_stores.CreateVectorStoreRequest),
    ("vector_stores/search", "VectorStoreSearchRequest", wire_vector_stores.VectorStoreSearchRequest),
    ("responses", "CreateResponse", wire_responses.CreateResponseRequest),
)
DIALECTS = {"OpenAI": ("/v1",), "Azure v1": ("/openai/v1",), "Azure classic": ("/openai/deployments/{}", "/openai")}
OTHERS = dict.fromkeys(("priority", "options"), "not OpenAI: Mainspring")
NAMES = {"integer": "whole number", "boolean": "true or false", "null": ""}


def spec_fields(schema: dict[str, Any]) -> Iterator[str]:
    """Names of the fields of a request in OpenAI's document, through its allOf and $ref."""
    if "$ref" in schema:
        yield from spec_fields(SPEC["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    for part in schema.get("allOf", ()):
        yield from spec_fields(part)
    yield from schema.get("properties", ())


def takes(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """What a field of ours takes, in a few words; empty if it takes nothing but null."""
    if "$ref" in schema:
        return takes(defs[schema["$ref"].removeprefix("#/$defs/")], defs)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(filter(None, (takes(choice, defs) for choice in choices))))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        inside = takes(schema["items"], defs)
        return f"array of {inside}" + (f", up to {schema['maxItems']}" if "maxItems" in schema else "")
    if "type" in schema.get("properties", {}):  # an object that says in `type` which one of several it is
        return takes(schema["properties"]["type"], defs)
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    limits = f" {low:g} to {high:g}" if low is not None and high is not None and high < 2**31 - 1 else ""
    return NAMES.get(schema["type"], schema["type"]) + limits


def request_table(name: str, schema_name: str, model: type[BaseModel]) -> Iterator[str]:
    """One request body: a row for each field of OpenAI's and of ours."""
    ours = model.model_json_schema(by_alias=True)
    theirs = set(spec_fields(SPEC["$defs"][schema_name]))
    rows = {
        field: takes(ours["properties"][field], ours.get("$defs", {})) if field in ours["properties"] else None
        for field in sorted(theirs | set(ours["properties"]))
    }
    supported = sum(1 for field in theirs if rows[field])
    named = sum(1 for field in theirs if rows[field] == "")
    yield f"## `{name}`: {supported} of OpenAI's {len(theirs)} fields"
    yield ""
    yield f"{named} more are known and refused by name; {len(theirs) - supported - named} are refused as unknown."
    yield ""
    yield "| field | taken | |"
    yield "|---|---|---|"
    for field, taken in rows.items():
        status = taken or ("no: 400 `unknown_parameter`" if taken is None else "not yet: 400 that names it")
        yield f"| `{field}` | {status} | {'' if field in theirs else OTHERS.get(field, 'not OpenAI: Azure')} |"
    yield ""


def routes() -> set[tuple[str, str]]:
    """(method, path) of every route, parameters written as {}."""
    fake = FakeEngine(("model",))

    async def nobody(_key: str) -> Principal:
        raise NotImplementedError

    services = Services(
        generate=fake.generate,
        models=fake,
        replicas=fake,
        authenticate=nobody,
        ready=lambda: True,
        clock=SystemClock(),
        files=Files(cast("Database", None), cast("Blobs", None), SystemClock()),
        training=Training(jobs=cast("FineTuning", None), sharing=cast("Sharing", None)),
        containers=cast("Containers", None),
        vector_stores=VectorStores(
            stores=cast("Stores", None), attaching=cast("Attaching", None), search=cast("Search", None)
        ),
        responses=Stateful(responses=cast("Responses", None), conversations=cast("Conversations", None)),
    )
    return {(each.method.lower(), re.sub(r"\{[^}]*\}", "{}", each.path)) for each in create_app(services).operations}


def path_tables() -> Iterator[str]:
    """Every operation of OpenAI's document: those served, by dialect, then the others, by family."""
    have = routes()
    operations = [(method, path) for path, methods in SPEC["paths"].items() for method in methods]
    served: dict[tuple[str, str], list[str]] = {}
    for method, path in operations:
        bare = re.sub(r"\{[^}]*\}", "{}", path)
        served[method, path] = [
            "yes" if any((method, prefix + bare) in have for prefix in prefixes) else ""
            for prefixes in DIALECTS.values()
        ]
    done = {operation: marks for operation, marks in served.items() if any(marks)}
    yield f"## Paths: {len(done)} of OpenAI's {len(operations)} operations"
    yield ""
    yield f"| operation | {' | '.join(DIALECTS)} |"
    yield "|---|" + "---|" * len(DIALECTS)
    for (method, path), marks in done.items():
        yield f"| `{method.upper()} {path}` | {' | '.join(marks)} |"
    yield ""
    yield "Not served yet, by family (404; 405 where another method of the same path is served):"
    yield ""
    families: dict[str, list[str]] = {}
    for method, path in operations:
        if (method, path) not in done:
            families.setdefault(path.split("/")[1], []).append(f"`{method.upper()} {path}`")
    for family, missing in sorted(families.items()):
        yield f"<details><summary>{family}: {len(missing)}</summary>"
        yield ""
        yield ", ".join(missing)
        yield ""
        yield "</details>"
    yield ""


def page() -> str:
    """The whole of docs/API.md."""
    lines = [
        "# What of OpenAI's API is served",
        "",
        "Generated by `scripts/coverage.py`; a test fails when it has drifted. Null always counts as absent. Nothing",
        "is ignored in silence: a field that is not taken is a 400 whose `param` names it.",
        "",
        f"{SPEC['$comment']}.",
        "",
    ]
    for request in REQUESTS:
        lines += request_table(*request)
    lines += path_tables()
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page, or check it."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page():
        sys.exit("docs/API.md has drifted from the code: run python scripts/coverage.py")


if __name__ == "__main__":
    main()
