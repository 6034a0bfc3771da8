"""Makes openai-spec.json from OpenAI's published openapi.yaml: the schemas that the tests need, as plain JSON Schema.

    python tests/data/extract_spec.py path/to/openapi.yaml

Only what validation needs is kept: no prose, no examples, no vendor extensions. The file also lists every path with its
methods, for the coverage table in docs/API.md. OpenAI's licence is beside it in openai-spec.LICENSE.
"""

import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

ROOTS = (
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
    "CreateConversationBody",
    "CreateFineTuningJobRequest",
    "CreateVectorStoreFileBatchRequest",
    "CreateVectorStoreFileRequest",
    "CreateVectorStoreRequest",
    "CreateResponse",
    "DeleteFileResponse",
    "DeletedConversationResource",
    "DeleteFineTuningCheckpointPermissionResponse",
    "DeleteVectorStoreFileResponse",
    "DeleteVectorStoreResponse",
    "ErrorResponse",
    "FineTuningJob",
    "FineTuningJobCheckpoint",
    "FineTuningJobEvent",
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
)
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


def references(node: Any) -> set[str]:
    """Names of the definitions that a converted schema refers to."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    named = {node["$ref"].removeprefix("#/$defs/")} if isinstance(node.get("$ref"), str) else set()
    return named.union(*map(references, node.values()))


def reachable(schemas: dict[str, Any]) -> dict[str, Any]:
    """The roots and everything they refer to, converted, by name."""
    found: dict[str, Any] = {}
    waiting = list(ROOTS)
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
    """
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
    """Schemas and paths of the whole OpenAPI document."""
    defs = reachable(document["components"]["schemas"])
    correct(defs)
    paths = {path: [m for m in METHODS if m in entry] for path, entry in document["paths"].items()}
    return {
        "$comment": f"From OpenAI's openapi.yaml, version {document['info']['version']}, by extract_spec.py",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": dict(sorted(defs.items())),
        "paths": dict(sorted(paths.items())),
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


def main() -> None:
    """Read the document named on the command line, write the JSON beside this file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(Path(sys.argv[1]).read_text(encoding="utf-8"), Loader=loader)
    target = Path(__file__).with_name("openai-spec.json")
    target.write_text(dump(extract(document)), encoding="utf-8")


if __name__ == "__main__":
    main()
