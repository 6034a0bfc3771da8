"""What becomes of a request's answer: whether it is made again, and the line that it is in a file. Pure."""

import hashlib

import msgspec

from mainspring.batches.spec import Outcome, Tokens
from mainspring.core.seams import Answered
from mainspring.store.jobs import Job

__all__ = ["Tries", "failure_line", "request_id", "result_line", "tokens_of", "unfinished_line"]

MAX_WAIT_S = 60.0
"""Between two tries of what is refused for now."""
MAX_FAILURES = 4
"""Tries of what fails by a fault of the server's (500)."""
MAX_TIMEOUTS = 12
"""Tries of what takes too long (408), which at the lowest priority may be the fault of others. With the pauses between
them these are several hours."""
FIRST_FAILURE_S = 1.0
FIRST_TIMEOUT_S, MAX_TIMEOUT_S = 30.0, 3600.0
PAUSED = frozenset({"deployment_paused", "DeploymentPaused"})
"""Codes of a 403 that somebody will take back."""
UNFINISHED: dict[Outcome, tuple[str, str]] = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "The batch was cancelled before this request was executed."),
    "failed": ("batch_failed", "The batch failed before this request was executed."),
}


class _Details(msgspec.Struct):
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class _Usage(msgspec.Struct):
    """Of any endpoint: some count prompts and completions, others input and output."""

    prompt_tokens: int = 0
    input_tokens: int = 0
    completion_tokens: int = 0
    output_tokens: int = 0
    prompt_tokens_details: _Details = msgspec.field(default_factory=_Details)
    input_tokens_details: _Details = msgspec.field(default_factory=_Details)
    completion_tokens_details: _Details = msgspec.field(default_factory=_Details)
    output_tokens_details: _Details = msgspec.field(default_factory=_Details)


class _Used(msgspec.Struct):
    usage: _Usage | None = None


class _Code(msgspec.Struct):
    code: str | None = None


class _Error(msgspec.Struct):
    error: _Code = msgspec.field(default_factory=_Code)


class Tries:
    """How often a request was made, and how that went."""

    def __init__(self) -> None:
        self._refused = self._failed = self._timed_out = 0

    def wait_s(self, answered: Answered) -> float | None:
        """Seconds after which it is made again; None if this is its answer.

        What is refused for now (429, 503, a paused deployment) is tried for as long as the batch has time.
        """
        status = answered.status
        if status in (429, 503) or (status == 403 and _code(answered.body) in PAUSED):
            self._refused += 1
            own_s = min(0.05 * 2 ** min(self._refused, 12), MAX_WAIT_S)
            return max(own_s, min(answered.retry_after_s or 0.0, MAX_WAIT_S))
        if status == 408:
            self._timed_out += 1
            again_s = min(FIRST_TIMEOUT_S * 2 ** (self._timed_out - 1), MAX_TIMEOUT_S)
            return again_s if self._timed_out < MAX_TIMEOUTS else None
        if status >= 500 and status != 507:
            self._failed += 1
            return FIRST_FAILURE_S * 4 ** (self._failed - 1) if self._failed < MAX_FAILURES else None
        return None


def _code(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Error).error.code
    except msgspec.MsgspecError:
        return None


def request_id(job: Job, line: int) -> str:
    """The id of the request on a line, always the same: what is made twice, because a server was killed before it wrote
    the answer down, is accounted for once. It begins with a time as other ids do, see `context`."""
    digest = hashlib.sha256(f"{job.id}/{line}".encode()).hexdigest()
    return f"{int(job.created * 1000):012x}{digest[:20]}"


def result_line(name: str, custom_id: bytes, answered: Answered) -> bytes:
    """A request with its answer, whatever that is."""
    body = answered.body.strip().replace(b"\n", b" ") or b"null"  # in JSON a line's end stands only between its parts
    return (
        b'{"id":"batch_req_%b","custom_id":%b,"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null}'
        % (name.encode(), custom_id, answered.status, msgspec.json.encode(answered.request_id), body)
    )


def failure_line(name: str, custom_id: bytes, code: str, message: str) -> bytes:
    """A request that has no answer."""
    error = msgspec.json.encode({"code": code, "message": message})
    return b'{"id":"batch_req_%b","custom_id":%b,"response":null,"error":%b}' % (name.encode(), custom_id, error)


def unfinished_line(name: str, custom_id: bytes, outcome: Outcome) -> bytes:
    """A request that was not made to its end."""
    return failure_line(name, custom_id, *UNFINISHED.get(outcome, UNFINISHED["failed"]))


def tokens_of(body: bytes) -> Tokens:
    """What an answer says that it has used."""
    try:
        usage = msgspec.json.decode(body, type=_Used).usage
    except msgspec.MsgspecError:
        usage = None
    if usage is None:
        return Tokens()
    return Tokens(
        input=usage.prompt_tokens or usage.input_tokens,
        cached=usage.prompt_tokens_details.cached_tokens or usage.input_tokens_details.cached_tokens,
        output=usage.completion_tokens or usage.output_tokens,
        reasoning=usage.completion_tokens_details.reasoning_tokens or usage.output_tokens_details.reasoning_tokens,
    )
