"""How an error of `core.errors` is written on the wire: the same four keys in every dialect of the data plane, the
codes of each; and Azure Resource Manager's three on the control plane.

OpenAI's codes are those of the error itself. Azure differs where its clients look: 401, unknown routes, unknown
deployments and refused versions (reference, section 1.3).
"""

import math
from typing import Literal

import msgspec

from mainspring.core.errors import (
    BudgetSpent,
    Conflict,
    ContentFiltered,
    DeadlineExceeded,
    DeploymentPaused,
    Forbidden,
    InvalidRequest,
    MainspringError,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    OperationNotSupported,
    Overloaded,
    PayloadTooLarge,
    StorageFull,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

__all__ = [
    "ArmErrorResponse",
    "Dialect",
    "ErrorDetail",
    "ErrorResponse",
    "dialect_of",
    "error_body",
    "error_headers",
    "error_status",
    "from_status",
]

Dialect = Literal["openai", "azure", "azure_v1", "arm"]

TOKEN_CODES = frozenset({"invalid_token", "token_expired"})
"""Of a refused token, not a refused key. Azure's own body for these lacks `error`, so that its clients show nothing of
it; ours has the one shape of all errors."""

DENIED_TOKEN = "Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired."  # noqa: S105
DENIED_KEY = "Access denied due to invalid subscription key or wrong API endpoint."

MAX_RETRY_AFTER_S = 60.0  # the official clients ignore a longer wait and fall back to their own


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong, for people (`message`) and for programs (the others). Azure's has no type where a content filter
    has blocked a prompt."""

    message: str
    type: str | None
    param: str | None
    code: str | None


class ErrorResponse(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success, and the last event of a stream that failed."""

    error: ErrorDetail


class ArmErrorDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, and with which part of the request."""

    code: str
    message: str
    target: str | None = None


class ArmErrorResponse(msgspec.Struct, frozen=True):
    """The body of every answer of the control plane that is not a success."""

    error: ArmErrorDetail


def dialect_of(path: str) -> Dialect:
    """Which API a path belongs to; what is outside of Azure's prefix is OpenAI's."""
    if path.startswith("/openai/v1/") or path == "/openai/v1":
        return "azure_v1"
    if path.startswith(("/subscriptions/", "/providers/")):
        return "arm"
    return "azure" if path.startswith("/openai/") or path == "/openai" else "openai"


def _in_azure(error: MainspringError) -> tuple[str, str]:
    """Azure's (message, code)."""
    match error:
        case Unauthorized():
            return f"{DENIED_TOKEN if error.code in TOKEN_CODES else DENIED_KEY} {error.message}", "401"
        case ModelNotFound():
            return f"The API deployment for this resource does not exist. {error.message}", "DeploymentNotFound"
        case NotFound():
            return f"Resource not found. {error.message}", "404"
        case OperationNotSupported() | DeploymentPaused():
            return error.message, type(error).__name__
        case Overloaded():
            return error.message, "429"
        case _:
            return error.message, error.code


def _in_arm(error: MainspringError) -> tuple[int, str]:
    """Azure Resource Manager's (status, code)."""
    if error.code[:1].isupper():  # it has one of these already
        return 400 if error.code == "InsufficientQuota" else error.status, error.code
    if isinstance(error, ModelNotFound):  # what is to be deployed: no resource of that name was asked for
        return 400, "DeploymentModelNotSupported"
    if isinstance(error, InvalidRequest):
        if error.param == "name":
            return 400, "InvalidResourceName"
        is_content = error.code.startswith(("invalid_json", "invalid_type", "missing_"))
        return 400, "InvalidRequestContent" if is_content else "InvalidResourceProperties"
    return error.status, next((code for kind, code in _ARM_CODES.items() if isinstance(error, kind)), "InternalError")


_ARM_CODES: dict[type[MainspringError], str] = {
    Unauthorized: "AuthenticationFailed",
    Forbidden: "AuthorizationFailed",
    NotFound: "ResourceNotFound",
    Conflict: "Conflict",
    MethodNotAllowed: "MethodNotAllowed",
    PayloadTooLarge: "RequestEntityTooLarge",
    UnsupportedMediaType: "UnsupportedMediaType",
    DeadlineExceeded: "RequestTimeout",
    Overloaded: "TooManyRequests",
    Unavailable: "ServiceUnavailable",
}
_ARM_TARGETS = {
    "sku": "sku.name",
    "capacity": "sku.capacity",
    "policy": "properties.raiPolicyName",
    "spillover": "properties.spilloverDeploymentName",
    "group": "resourceGroupName",
}
"""Where the body has what governance calls so."""


def error_status(error: MainspringError, dialect: Dialect) -> int:
    """The HTTP status: the error's own, but for two that Azure Resource Manager answers with 400."""
    return _in_arm(error)[0] if dialect == "arm" else error.status


def error_body(error: MainspringError, dialect: Dialect) -> bytes:
    """The JSON object with `error.{message,type,param,code}`, or of the control plane `error.{code,message,target}`."""
    if dialect == "arm":
        target = _ARM_TARGETS.get(error.param or "", error.param)
        return msgspec.json.encode(ArmErrorResponse(ArmErrorDetail(_in_arm(error)[1], error.message, target)))
    if isinstance(error, ContentFiltered) and dialect != "openai":
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": error.results}
        detail = {"message": error.message, "type": None, "param": error.param, "code": error.code}
        return msgspec.json.encode({"error": {**detail, "status": error.status, "innererror": inner}})
    message, code = (error.message, error.code) if dialect == "openai" else _in_azure(error)
    return msgspec.json.encode(ErrorResponse(ErrorDetail(message, error.kind, error.param, code)))


def error_headers(error: MainspringError) -> list[tuple[bytes, bytes]]:
    """When to come back, and whether at all: what the official clients' retries read."""
    if isinstance(error, BudgetSpent):
        # The clients retry 429 by themselves; a budget is not there again in a minute.
        return [(b"x-should-retry", b"false")]
    if error.status in (429, 503):
        wait_s = min(max(error.retry_after_s or 1.0, 0.001), MAX_RETRY_AFTER_S)
        return [
            (b"retry-after-ms", b"%d" % math.ceil(wait_s * 1000)),
            (b"retry-after", b"%d" % math.ceil(wait_s)),
        ]
    if isinstance(error, Unauthorized):
        return [(b"www-authenticate", b'Bearer error="invalid_token"' if error.code in TOKEN_CODES else b"Bearer")]
    if isinstance(error, DeadlineExceeded | StorageFull):
        # The clients retry 408 by themselves; a request that took all of its time would only take it again. Nor is a
        # disk emptied by trying.
        return [(b"x-should-retry", b"false")]
    return []


def from_status(status: int, method: str, path: str) -> MainspringError:
    """The error for what the router itself refuses."""
    if status == 404:
        return NotFound(f"There is no {method} {path}. /docs lists what there is.")
    if status == 405:
        return MethodNotAllowed(f"{method} is not allowed on {path}; the 'allow' header says what is.")
    return MainspringError("The server failed. The log has the details under this request's id.")
