"""Makes openai-spec.json from OpenAI's published openapi.yaml: the schemas that the tests need, as plain JSON Schema.

    python tests/data/extract_spec.py path/to/openapi.yaml

Only what validation needs is kept: no prose, no examples, no vendor extensions. The events of webhooks are among them.

Beside it, openai-properties.json has the names of all properties of every operation and nothing else about them: what
the coverage in docs/API.md is measured on. OpenAI's licence is beside both in openai-spec.LICENSE.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

ROOTS = (
    "CompleteUploadRequest",
    "ChatCompletionDeleted",
    "ChatCompletionList",
    "ChatCompletionMessageList",
    "Batch",
    "CreateBatchRequest",
    "ContainerFileListResource",
    "ContainerFileResource",
    "ContainerListResource",
    "ContainerResource",
    "CreateContainerBody",
    "CompactResource",
    "CompactResponseMethodPublicBody",
    "ConversationItem",
    "ConversationItemList",
    "ConversationResource",
    "CreateChatCompletionRequest",
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionRequest",
    "CreateCompletionResponse",
    "CreateEvalRequest",
    "CreateEvalRunRequest",
    "CreateEmbeddingResponse",
    "CreateFineTuningJobRequest",
    "CreateUploadRequest",
    "CreateModerationRequest",
    "CreateModerationResponse",
    "CreateVectorStoreFileBatchRequest",
    "CreateVectorStoreFileRequest",
    "CreateVectorStoreRequest",
    "CreateConversationBody",
    "CreateResponse",
    "DeleteFileResponse",
    "DeletedConversationResource",
    "DeleteFineTuningCheckpointPermissionResponse",
    "DeleteVectorStoreFileResponse",
    "DeleteVectorStoreResponse",
    "ErrorResponse",
    "Eval",
    "EvalList",
    "EvalRun",
    "EvalRunList",
    "EvalRunOutputItem",
    "EvalRunOutputItemList",
    "FineTuningJob",
    "FineTuningJobCheckpoint",
    "FineTuningJobEvent",
    "ListBatchesResponse",
    "ListFilesResponse",
    "MCPApprovalRequest",
    "MCPListTools",
    "MCPToolCall",
    "WebSearchToolCall",
    "FileSearchToolCall",
    "CodeInterpreterToolCall",
    "ListFineTuningCheckpointPermissionResponse",
    "ListFineTuningJobCheckpointsResponse",
    "ListFineTuningJobEventsResponse",
    "ListModelsResponse",
    "ListPaginatedFineTuningJobsResponse",
    "ListVectorStoreFilesResponse",
    "ListVectorStoresResponse",
    "Model",
    "OpenAIFile",
    "Response",
    "ResponseItemList",
    "ResponseStreamEvent",
    "RunGraderRequest",
    "RunGraderResponse",
    "Upload",
    "UploadPart",
    "TokenCountsBody",
    "TokenCountsResource",
    "ValidateGraderRequest",
    "ValidateGraderResponse",
    "VectorStoreFileBatchObject",
    "VectorStoreFileContentResponse",
    "VectorStoreFileObject",
    "VectorStoreObject",
    "VectorStoreSearchRequest",
    "VectorStoreSearchResultsPage",
    "AdminApiKey",
    "AdminApiKeyCreateResponse",
    "ApiKeyList",
    "ListAuditLogsResponse",
    "Project",
    "ProjectListResponse",
    "ProjectCreateRequest",
    "ProjectUpdateRequest",
    "ProjectApiKey",
    "ProjectApiKeyListResponse",
    "ProjectApiKeyDeleteResponse",
    "ProjectServiceAccount",
    "ProjectServiceAccountListResponse",
    "ProjectServiceAccountCreateResponse",
    "ProjectServiceAccountDeleteResponse",
    "ServiceAccountApiKeyBody",
    "ProjectRateLimit",
    "ProjectRateLimitListResponse",
    "ProjectSpendLimitResource",
    "ProjectSpendLimitDeletedResource",
    "PublicRoleListResource",
    "Role",
    "UsageResponse",
)
DEPTH = 3
"""Levels of properties that coverage is measured on."""
METHODS = ("get", "post", "put", "patch", "delete")
PREFIX = "#/components/schemas/"
# Keywords that validation uses. Everything else (description, example, format, discriminator, x-...) is dropped.
KEPT = (
    "type", "enum", "const", "required", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength",
    "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
NESTED = ("items", "additionalProperties", "not")
LISTS = ("anyOf", "oneOf", "allOf")
NULL = {"type": "null"}


def convert(node: Any) -> Any:
    """One OpenAPI schema as JSON Schema 2020-12; `nullable` (gone from 3.1, still used) becomes anyOf."""
    if not isinstance(node, dict):
        return node  # additionalProperties: true or false
    made: dict[str, Any] = {key: node[key] for key in KEPT if key in node}
    if "required" in made:
        made["required"] = list(dict.fromkeys(made["required"]))  # some names are there twice
    for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if made.get(exclusive) is True:  # as OpenAPI 3.0 wrote it
            made[exclusive] = made.pop(limit)
    if "$ref" in node:
        made["$ref"] = "#/$defs/" + node["$ref"].removeprefix(PREFIX)
    for key in NESTED:
        if key in node:
            made[key] = convert(node[key])
    for key in LISTS:
        if key in node:
            made[key] = [convert(part) for part in node[key]]
    if "properties" in node:
        made["properties"] = {name: convert(schema) for name, schema in node["properties"].items()}
    return {"anyOf": [made, NULL]} if node.get("nullable") else made


def properties(node: Any, schemas: dict[str, Any], found: dict[str, Any]) -> Any:
    """The names of the properties of an OpenAPI schema: an object for an object, "[]" in the place of the name for what
    an array holds, and in "$" the names of other schemas, which go into `found`; 0 if it has none. Where there are
    several ways to write something, those of all."""
    if not isinstance(node, dict):
        return 0
    made: dict[str, Any] = {
        name: properties(inner, schemas, found) for name, inner in (node.get("properties") or {}).items()
    }
    if "items" in node and (inside := properties(node["items"], schemas, found)):
        made["[]"] = inside
    if "$ref" in node:
        name = node["$ref"].removeprefix(PREFIX)
        if name not in found:
            found[name] = 0  # against going round in circles
            found[name] = properties(schemas[name], schemas, found)
        made["$"] = [name]
    for part in (part for key in LISTS for part in node.get(key, ())):
        merge(made, properties(part, schemas, found))
    return made or 0


def merge(made: dict[str, Any], other: Any) -> None:
    """Add the properties of another schema."""
    for name, inner in (other or {}).items():
        if name == "$":
            made["$"] = sorted({*made.get("$", ()), *inner})
        elif not made.get(name):
            made[name] = inner
        elif inner:
            made[name] = {**made[name]}
            merge(made[name], inner)


def operation_properties(document: dict[str, Any]) -> dict[str, Any]:
    """Of every operation what may be in its query, its body, its answer, and the events of its stream."""
    schemas, found = document["components"]["schemas"], dict[str, Any]()
    shared = document["components"].get("parameters", {})
    operations: dict[str, Any] = {}
    for path, entry in document["paths"].items():
        for method in (method for method in METHODS if method in entry):
            given = (*entry.get("parameters", ()), *entry[method].get("parameters", ()))
            given = (shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in given)
            body = (entry[method].get("requestBody") or {}).get("content", {})
            answers = [each for status, each in entry[method]["responses"].items() if status.startswith("2")]
            contents = [(kind, inner) for each in answers for kind, inner in each.get("content", {}).items()]
            operations[f"{method.upper()} {path}"] = {
                "query": dict.fromkeys(sorted(each["name"] for each in given if each["in"] == "query"), 0),
                "request": together((inner for inner in body.values()), schemas, found),
                "reply": together((inner for kind, inner in contents if "json" in kind), schemas, found),
                "event": together((inner for kind, inner in contents if "event-stream" in kind), schemas, found),
            }
    shown = {
        name: {part: short(each, found) for part, each in parts.items() if each} for name, parts in operations.items()
    }
    return {
        "$comment": f"From OpenAI's openapi.yaml, version {document['info']['version']}, by extract_spec.py",
        "operations": dict(sorted(shown.items(), key=lambda item: item[0].split()[::-1])),
        "schemas": {
            name: short(found[name], found) for name in sorted(near(operations, found)) if holds_any(name, found, set())
        },
    }


def near(operations: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """Names of the schemas whose properties lie within `DEPTH` levels of an operation."""
    levels: dict[str, int] = {}

    def look(node: Any, level: int) -> None:
        for name, inner in (node or {}).items():
            if name != "$":
                look(inner, level - (name != "[]"))
        for name in (node or {}).get("$", ()):
            if levels.get(name, 0) < level:
                levels[name] = level
                look(schemas[name], level)

    for each in operations.values():
        for part in ("request", "reply", "event"):
            look(each[part], DEPTH)
    return set(levels)


def together(contents: Iterable[dict[str, Any]], schemas: dict[str, Any], found: dict[str, Any]) -> Any:
    """The properties of a body that may be written in several ways."""
    made: dict[str, Any] = {}
    for each in contents:
        merge(made, properties(each.get("schema"), schemas, found))
    return made or 0


def references(node: Any) -> set[str]:
    """Names of the definitions that a converted schema refers to."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    named = {node["$ref"].removeprefix("#/$defs/")} if isinstance(node.get("$ref"), str) else set()
    return named.union(*map(references, node.values()))


def webhook_roots(document: dict[str, Any]) -> Iterator[str]:
    """Names of the schemas of all events that webhooks tell."""
    for entry in document["webhooks"].values():
        for content in entry["post"]["requestBody"]["content"].values():
            yield content["schema"]["$ref"].removeprefix(PREFIX)


def reachable(document: dict[str, Any]) -> dict[str, Any]:
    """The roots and everything they refer to, converted, by name."""
    schemas, found = document["components"]["schemas"], dict[str, Any]()
    waiting = [*ROOTS, *webhook_roots(document)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = convert(schemas[name])
            waiting.extend(references(found[name]))
    return dict(sorted(found.items()))


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or null."""
    return {"anyOf": [schema, NULL]}


def correct(defs: dict[str, Any]) -> None:
    """Where OpenAI's own server answers otherwise than its document says, follow the server.

    - An echoed prompt's first token has no probability: null in `token_logprobs` and `top_logprobs`.
    - A response that is not over has `usage: null`.
    - A fine-tuning job that was paused is "paused", as the document's own example has it; its enumeration lacks that.
    - The document describes a streamed completion with the schema of a whole one. The stream's chunks carry
      `finish_reason: null` until the last, and `usage: null` when `include_usage` is on: a schema of their own.
    - Nothing went wrong with a run, or with its sample: `error` is null, as in the document's own examples.
    - What a stored chat was asked with has other roles than the assistant's, and no refusals: its example again.
    """
    defs["EvalRun"]["properties"]["error"] = nullable(defs["EvalRun"]["properties"]["error"])
    sample = defs["EvalRunOutputItem"]["properties"]["sample"]["properties"]
    sample["error"] = nullable(sample["error"])
    # A message with a role and a text fits two of the alternatives, of which "oneOf" allows but one.
    prompt = defs["CreateEvalCompletionsRunDataSource"]["properties"]["input_messages"]["oneOf"][0]
    items = prompt["properties"]["template"]["items"]
    items["anyOf"] = items.pop("oneOf")
    message, more = defs["ChatCompletionMessageList"]["properties"]["data"]["items"]["allOf"]
    said = deepcopy(defs["ChatCompletionResponseMessage"])
    said["properties"]["role"] = {
        "type": "string",
        "enum": ["system", "developer", "user", "assistant", "tool", "function"],
    }
    said["required"].remove("refusal")
    assert message == {"$ref": "#/$defs/ChatCompletionResponseMessage"}
    defs["ChatCompletionMessageList"]["properties"]["data"]["items"]["allOf"] = [said, more]
    response = defs["Response"]["allOf"][-1]["properties"]
    response["usage"] = nullable(response["usage"])
    defs["FineTuningJob"]["properties"]["status"]["enum"].append("paused")
    whole = defs["CreateCompletionResponse"]
    logprobs = whole["properties"]["choices"]["items"]["properties"]["logprobs"]["anyOf"][0]["properties"]
    for name in ("token_logprobs", "top_logprobs"):
        logprobs[name]["items"] = nullable(logprobs[name]["items"])
    chunk = deepcopy(whole)
    choice = chunk["properties"]["choices"]["items"]["properties"]
    choice["finish_reason"] = nullable(choice["finish_reason"])
    chunk["properties"]["usage"] = nullable(chunk["properties"]["usage"])
    defs["CreateCompletionStreamResponse"] = chunk


def extract(document: dict[str, Any]) -> dict[str, Any]:
    """Schemas of the whole OpenAPI document."""
    defs = reachable(document)
    correct(defs)
    return {
        "$comment": f"From OpenAI's openapi.yaml, version {document['info']['version']}, by extract_spec.py",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": dict(sorted(defs.items())),
    }


def dump(spec: dict[str, Any]) -> str:
    """JSON with a line for each schema and each path: small, and a change shows where it is."""
    parts: list[str] = []
    for key, value in spec.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(inner)}" for name, inner in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def short(node: Any, schemas: dict[str, Any]) -> Any:
    """The properties of a schema with those that have none of their own in one text, and without the names of schemas
    that have none: the file is half as long."""
    made: dict[str, Any] = {}
    for name, inner in (node or {}).items():
        if name == "$":
            if names := [each for each in inner if holds_any(each, schemas, set())]:
                made["$"] = names
        elif inside := short(inner, schemas):
            made[name] = inside
    if plain := " ".join(name for name in (node or {}) if name not in made and name not in {"$", "[]"}):
        made = {"": plain, **made}
    return made or 0


def holds_any(name: str, schemas: dict[str, Any], seen: set[str]) -> bool:
    """Whether a schema has properties, or one that it stands for has."""
    seen.add(name)
    node = schemas[name] or {}
    while "[]" in node:
        node = node["[]"]
    names = node.get("$", ())
    return any(each not in {"$", "[]"} for each in node) or any(
        holds_any(each, schemas, seen) for each in names if each not in seen
    )


def main() -> None:
    """Read the document named on the command line, write both files beside this one."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(Path(sys.argv[1]).read_text(encoding="utf-8"), Loader=loader)
    for name, made in (("spec", extract(document)), ("properties", operation_properties(document))):
        Path(__file__).with_name(f"openai-{name}.json").write_text(dump(made), encoding="utf-8")


if __name__ == "__main__":
    main()
