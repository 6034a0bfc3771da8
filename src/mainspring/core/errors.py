"""Every error that Mainspring raises on purpose, as one tree.

    MainspringError                      500  internal_error
    |- InvalidRequest                    400  (a code of its own per case)
    |  |- ContextLengthExceeded          400  context_length_exceeded
    |  |- ContentFiltered                400  content_filter             (with what was found)
    |  `- OperationNotSupported          400  operation_not_supported
    |- Unauthorized                      401  invalid_api_key            (of tokens: invalid_token, token_expired)
    |- Forbidden                         403  permission_denied
    |  `- DeploymentPaused               403  deployment_paused
    |- NotFound                          404  not_found
    |  `- ModelNotFound                  404  model_not_found
    |- MethodNotAllowed                  405  method_not_allowed
    |- Conflict                          409  conflict
    |- DeadlineExceeded                  408  deadline_exceeded
    |- PayloadTooLarge                   413  payload_too_large
    |- UnsupportedMediaType              415  unsupported_media_type
    |- Overloaded                        429  queue_full                 (says when to come back)
    |  `- RateLimited                    429  rate_limit_exceeded        (so does this)
    |- BudgetSpent                       429  insufficient_quota         (not for a long time)
    |- Unavailable                       503  replica_unavailable        (retryable: nothing was wrong with the request)
    |- EngineUnavailable                 503  engine_unavailable         (the inference library does not fit)
    |- StorageFull                       507  storage_full               (until somebody makes room)
    `- UserMistake                       (command line only: one sentence that names the fix)

A message is shown to the caller as it stands: it names the cause and the fix and never holds a path, a secret or a
stack trace. How an error is written in a dialect (OpenAI, Azure) is the business of `api.errors`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BudgetSpent",
    "Conflict",
    "ContentFiltered",
    "ContextLengthExceeded",
    "DeadlineExceeded",
    "DeploymentPaused",
    "EngineUnavailable",
    "Forbidden",
    "InvalidRequest",
    "MainspringError",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotFound",
    "OperationNotSupported",
    "Overloaded",
    "PayloadTooLarge",
    "RateLimited",
    "StorageFull",
    "Unauthorized",
    "Unavailable",
    "UnsupportedMediaType",
    "UserMistake",
    "from_wire",
]


class MainspringError(Exception):
    """The root. `status` is the HTTP status, `kind` OpenAI's `error.type`, `code` a stable machine-readable name."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequest(MainspringError):
    """The request can never succeed as it stands; `param` names the field."""

    status, kind, default_code = 400, "invalid_request_error", "invalid_value"


class ContextLengthExceeded(InvalidRequest):
    """The prompt, or the prompt and the answer asked for, do not fit in the model's context."""

    default_code = "context_length_exceeded"


class ContentFiltered(InvalidRequest):
    """The prompt was blocked by the content policy; `results` says what was found, as Azure writes it, and `reasons`
    why, for the ledger."""

    default_code = "content_filter"

    def __init__(
        self, message: str, *, results: Mapping[str, Any] | None = None, reasons: str = "", **more: Any
    ) -> None:
        super().__init__(message, param=more.pop("param", None) or "prompt", **more)
        self.results, self.reasons = dict(results or {}), reasons


class OperationNotSupported(InvalidRequest):
    """The model is of another kind: embeddings of a chat model, or the other way round."""

    default_code = "operation_not_supported"


class Unauthorized(MainspringError):
    """No key or token, or one that is unknown, revoked or expired."""

    status, kind, default_code = 401, "invalid_request_error", "invalid_api_key"


class Forbidden(MainspringError):
    """The key is good, and not for this."""

    status, kind, default_code = 403, "invalid_request_error", "permission_denied"


class DeploymentPaused(Forbidden):
    """An administrator has paused it."""

    default_code = "deployment_paused"


class NotFound(MainspringError):
    """No such route or object."""

    status, kind, default_code = 404, "invalid_request_error", "not_found"


class ModelNotFound(NotFound):
    """No deployment of that name."""

    default_code = "model_not_found"


class MethodNotAllowed(MainspringError):
    """The route exists, the method does not."""

    status, kind, default_code = 405, "invalid_request_error", "method_not_allowed"


class Conflict(MainspringError):
    """What is there stands in the way: something else depends on it, or the quota is used."""

    status, kind, default_code = 409, "invalid_request_error", "conflict"


class DeadlineExceeded(MainspringError):
    """The request's own deadline passed before it was finished."""

    status, kind, default_code = 408, "timeout_error", "deadline_exceeded"


class PayloadTooLarge(MainspringError):
    """The body is larger than the server reads."""

    status, kind, default_code = 413, "invalid_request_error", "payload_too_large"


class UnsupportedMediaType(MainspringError):
    """The body is not of the type that the route takes."""

    status, kind, default_code = 415, "invalid_request_error", "unsupported_media_type"


class Overloaded(MainspringError):
    """Every place in the queue is taken; `retry_after_s` says when one may be free."""

    status, kind, default_code = 429, "rate_limit_error", "queue_full"


class RateLimited(Overloaded):
    """More requests or tokens a minute than were agreed."""

    default_code = "rate_limit_exceeded"


class BudgetSpent(MainspringError):
    """What may be used in a day or a month is used: trying again soon is of no use."""

    status, kind, default_code = 429, "insufficient_quota", "insufficient_quota"


class Unavailable(MainspringError):
    """The replica died or is starting. The same request may succeed in a moment."""

    status, kind, default_code = 503, "service_unavailable_error", "replica_unavailable"


class EngineUnavailable(MainspringError):
    """The inference library is missing or is another build than the one Mainspring was written for."""

    status, kind, default_code = 503, "service_unavailable_error", "engine_unavailable"


class StorageFull(MainspringError):
    """There is no room for what would be written, and none will come by itself."""

    status, kind, default_code = 507, "server_error", "storage_full"


class UserMistake(MainspringError):
    """Raised for the command line: the message is one sentence that says what to do."""

    status, kind, default_code = 400, "invalid_request_error", "user_mistake"


def _tree(root: type[MainspringError]) -> dict[str, type[MainspringError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def from_wire(
    name: str, message: str, code: str, param: str | None, retry_after_s: float | None = None
) -> MainspringError:
    """The error that another process raised, from its class name and fields; unknown names become the root."""
    kind = _tree(MainspringError).get(name, MainspringError)
    return kind(message, code=code, param=param, retry_after_s=retry_after_s)
