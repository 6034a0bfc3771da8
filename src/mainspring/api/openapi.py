"""The OpenAPI document, from the table of routes: requests from the pydantic models, replies from the structs.

What is not derived here is derived nowhere, so the document cannot say more than the code: tests drive every operation
from it.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.azure import API_VERSION_PATTERN, V1_VERSIONS
from mainspring.api.errors import ArmErrorResponse, Dialect, ErrorResponse
from mainspring.api.openai.usage import LAST_S
from mainspring.governance.roles import Permission
from mainspring.responses.shown import INCLUDABLE

__all__ = ["GUID_PATTERN", "Operation", "document"]

Json = dict[str, Any]
GUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
REF = "#/components/schemas/{name}"

ERRORS = {
    400: "The request can never succeed as it stands; `error.param` names the field.",
    401: "No key or token, or one that is unknown, revoked or expired.",
    403: "The key or token is good, and its role is not enough; the message says which would be.",
    404: "No such deployment, object or route.",
    409: "What is there stands in the way: something depends on it, or it is another one's.",
    408: "The body or the answer took longer than the server's limit.",
    413: "The body is larger than the server reads.",
    415: "The body is not of the type that is described.",
    422: "Reserved: validation errors are answered with 400, as OpenAI does.",
    429: "Every place in the queue is taken; `retry-after-ms` says when to come back.",
    500: "The server failed.",
    503: "The model is starting or restarting; the same request may succeed in a moment.",
    507: "The server's disk is full.",
}
QUERY: dict[str, Json] = {
    "start_time": {"type": "integer", "minimum": 0, "maximum": LAST_S},
    "end_time": {"type": "integer", "minimum": 0, "maximum": LAST_S},
    "bucket_width": {"type": "string", "enum": ["1m", "1h", "1d"]},
    "group_by": {
        "type": "array",
        "items": {"type": "string", "enum": ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"]},
    },
    "api_key_ids": {"type": "array", "items": {"type": "string"}},
    "user_ids": {"type": "array", "items": {"type": "string"}},
    "batch": {"type": "boolean"},
    "project_ids": {"type": "array", "items": {"type": "string"}},
    "models": {"type": "array", "items": {"type": "string"}},
    "limit": {"type": "integer", "minimum": 1, "maximum": 31},
    "page": {"type": "string", "pattern": "^page_[0-9]{1,10}$"},
    "newest": {"type": "integer", "minimum": 1, "maximum": 1000},
    "$skiptoken": {"type": "string", "maxLength": 256},
    "modelFormat": {"type": "string"},
    "modelName": {"type": "string"},
    "modelVersion": {"type": "string"},
    "files/limit": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "files/order": {"type": "string", "enum": ["asc", "desc"]},
    "files/after": {"type": "string"},
    "files/purpose": {"type": "string"},
    "batches/after": {"type": "string"},
    "batches/limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "vector_stores/after": {"type": "string"},
    "vector_stores/before": {"type": "string"},
    "vector_stores/filter": {"type": "string", "enum": ["in_progress", "completed", "failed", "cancelled"]},
    "vector_stores/limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "vector_stores/order": {"type": "string", "enum": ["asc", "desc"]},
    "fine_tuning/after": {"type": "string"},
    "fine_tuning/limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "fine_tuning/order": {"type": "string", "enum": ["ascending", "descending"]},
    "fine_tuning/project_id": {"type": "string"},
    "fine_tuning/metadata": {"type": "object"},  # of texts, as everything in a query is
    "webhooks/after": {"type": "string"},
    "webhooks/limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "webhooks/status": {"type": "string", "enum": ["pending", "delivered", "failed"]},
    "page/after": {"type": "string"},
    "page/limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "page/order": {"type": "string", "enum": ["asc", "desc"]},
    "page/before": {"type": "string"},
    "include_archived": {"type": "boolean"},
    "everywhere": {"type": "boolean"},
    "owner_project_access": {"type": "string", "enum": ["active", "inactive", "any"]},
    "effective_at": {
        "type": "object",
        "properties": {
            name: {"type": "integer", "minimum": 0, "maximum": LAST_S} for name in ("gt", "gte", "lt", "lte")
        },
        "additionalProperties": False,
    },
    "event_types[]": {"type": "array", "items": {"type": "string"}},
    "project_ids[]": {"type": "array", "items": {"type": "string"}},
    "actor_ids[]": {"type": "array", "items": {"type": "string"}},
    "resource_ids[]": {"type": "array", "items": {"type": "string"}},
    "page/metadata": {"type": "object"},
    "chats/model": {"type": "string"},
    "chats/query": {"type": "string"},
    "chats/folder": {"type": "string"},
    "chats/tag": {"type": "string"},
    "changes/after": {"type": "string", "pattern": "^[0-9]{1,19}$"},
    "wait": {"type": "integer", "minimum": 0, "maximum": 25},
    "evals/order_by": {"type": "string", "enum": ["created_at", "updated_at"]},
    "runs/status": {"type": "string", "enum": ["queued", "in_progress", "completed", "canceled", "failed"]},
    "output_items/status": {"type": "string", "enum": ["fail", "pass"]},
    "items/after": {"type": "string"},
    "items/limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "items/order": {"type": "string", "enum": ["asc", "desc"]},
    "containers/name": {"type": "string"},
    "include": {"type": "array", "items": {"type": "string", "enum": list(INCLUDABLE)}},
    "stream": {"type": "boolean"},
    "starting_after": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "include_obfuscation": {"type": "boolean"},
}
"""Parameters in the query, by name; before a slash stands whose, where one name means several things."""
REQUIRED = ("start_time", "modelName")
PATH: dict[str, Json] = {"subscriptionId": {"type": "string", "format": "uuid", "pattern": GUID_PATTERN}}
"""Parameters in the path that are not any text."""

READS = (401, 403, 404, 500)
INFERENCE = (400, 401, 403, 404, 408, 413, 415, 429, 500, 503)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route.

    Args:
        path: with parameters in braces; `{name:path}` lets a name hold slashes.
        body: the request's model, None for reads.
        form: the schema of a body that is multipart/form-data.
        reply: the struct of a JSON answer, the media type of another, or None if there is nothing to say.
        success: the statuses of an answer that is no error.
        chunk: the struct of a streamed answer's events.
        says_done: whether the last of these is [DONE].
        dialect: decides the parameters; None is for what belongs to no API.
        query: names of parameters in the query, all of them `QUERY`'s.
        needs: what whoever asks must be allowed in the request's project; None is for everybody, without a key.
        of: the parameter of the path that names the project whose rights count, whatever else the request names; "*" if
            only what is allowed in all projects does.
        anywhere: it is enough to be allowed that in some project: the handler shows no more than there is a right to.
    """

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    name: str
    summary: str
    reply: type[msgspec.Struct] | str | None
    needs: Permission | None
    dialect: Dialect | None = None
    body: type[BaseModel] | None = None
    form: Json | None = None
    chunk: type[msgspec.Struct] | None = None
    says_done: bool = True
    extra_status: tuple[int, ...] = ()
    query: tuple[str, ...] = ()
    success: tuple[int, ...] = (200,)
    anywhere: bool = False
    of: str = ""

    @property
    def public(self) -> bool:
        """Whether no key is asked for."""
        return self.needs is None


def document(operations: list[Operation], version: str) -> Json:
    """The whole document."""
    paths: dict[str, Json] = {}
    for operation in operations:
        path = operation.path.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mainspring",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "The OpenAI API and both dialects of Azure OpenAI, over the same models; its control plane.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def _operation(operation: Operation, path: str) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.dialect or "server"],
        "responses": {**_successes(operation), **_failures(operation)},
        "security": [] if operation.public else [{"bearer": []}, {"apiKey": []}],
    }
    if parameters := _parameters(operation, path):
        described["parameters"] = parameters
    if operation.body is not None:
        schema = {"$ref": REF.format(name=operation.body.__name__)}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.form is not None:
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": operation.form}}}
    return described


def _parameters(operation: Operation, path: str) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": PATH.get(name, {"type": "string", "minLength": 1})}
        for name in re.findall(r"{(\w+)}", path)
    ]
    if operation.dialect in ("azure", "arm"):
        schema: Json = {"type": "string", "pattern": API_VERSION_PATTERN}
        found.append(
            {"name": "api-version", "in": "query", "required": True, "schema": schema, "example": "2024-10-21"}
        )
    elif operation.dialect == "azure_v1":
        schema = {"type": "string", "enum": list(V1_VERSIONS)}
        found.append({"name": "api-version", "in": "query", "required": False, "schema": schema})
    for name in operation.query:
        shown = name.rpartition("/")[2]
        style = {"style": "deepObject", "explode": True} if QUERY[name]["type"] == "object" else {}
        found.append({"name": shown, "in": "query", "required": name in REQUIRED, "schema": QUERY[name], **style})
    return found


def _successes(operation: Operation) -> Json:
    full = _success(operation)
    return {str(status): {"description": "Success."} if status == 204 else full for status in operation.success}


def _success(operation: Operation) -> Json:
    if operation.reply is None:
        return {"description": "Success."}
    if isinstance(operation.reply, str):
        return {"description": "Success.", "content": {operation.reply: {"schema": {"type": "string"}}}}
    content: Json = {"application/json": {"schema": {"$ref": REF.format(name=operation.reply.__name__)}}}
    if operation.chunk is not None:
        chunk = REF.format(name=operation.chunk.__name__).rpartition("/")[2]
        said = f"Of each event: {chunk}, or the ErrorResponse that ends the stream."
        said += " The last is [DONE]." if operation.says_done else ""
        data: Json = {"type": "string", "description": said}
        content["text/event-stream"] = {
            "schema": {"type": "object", "required": ["data"], "properties": {"data": data}}
        }
    return {"description": "Success.", "content": content}


def _failures(operation: Operation) -> Json:
    if operation.public:
        statuses = operation.extra_status
    else:
        statuses = (*(INFERENCE if operation.body or operation.form else READS), *operation.extra_status)
    if operation.dialect in ("azure", "azure_v1", "arm"):
        statuses = (*statuses, 400)
    if operation.dialect == "arm":
        statuses = (*statuses, 409, 503)
    shape = ArmErrorResponse if operation.dialect == "arm" else ErrorResponse
    error: Json = {"application/json": {"schema": {"$ref": REF.format(name=shape.__name__)}}}
    return {str(status): {"description": ERRORS[status], "content": error} for status in sorted(set(statuses))}


def _schemas(operations: list[Operation]) -> Json:
    bodies = {operation.body for operation in operations if operation.body is not None}
    ordered = sorted(bodies, key=lambda model: model.__name__)
    _, described = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    requests: Json = described["$defs"]
    structs = {ErrorResponse, *({ArmErrorResponse} if any(each.dialect == "arm" for each in operations) else ())} | {
        kind for operation in operations for kind in (operation.reply, operation.chunk) if isinstance(kind, type)
    }
    _, replies = msgspec.json.schema_components(sorted(structs, key=lambda kind: kind.__name__), ref_template=REF)
    assert not requests.keys() & replies.keys(), "a request and a reply share a name"
    return dict(sorted({**requests, **replies}.items()))
