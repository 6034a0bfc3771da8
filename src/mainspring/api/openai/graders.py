"""fine_tuning/alpha/graders: try a grader on one answer before training with it, or have it checked."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import Context, context_of
from mainspring.api.edge import ClientGone
from mainspring.api.openai import replies
from mainspring.api.openai.wire_base import Wire
from mainspring.api.services import Services
from mainspring.core.errors import DeadlineExceeded, InvalidRequest, OperationNotSupported
from mainspring.core.types import Usage
from mainspring.graders.definitions import (
    Grader,
    LabelModel,
    Multi,
    Python,
    ScoreModel,
    StringCheck,
    TextSimilarity,
    validate,
)
from mainspring.graders.result import ErrorKind, Graded
from mainspring.graders.run import check, grade, sample_of
from mainspring.graders.seams import Seams, embedding_of

__all__ = ["GraderRoutes", "RunGraderRequest", "RunGraderResponse", "ValidateGraderRequest", "ValidateGraderResponse"]

T = TypeVar("T")

RUNNABLE = StringCheck | TextSimilarity | Python | ScoreModel | Multi
_REFERENCES = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in RUNNABLE.__args__]
GraderBody = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "anyOf": _REFERENCES})]
"""Kept as it came, since it is sent back so; `graders.definitions` knows the shapes."""


class RunGraderRequest(Wire):
    """The body of graders/run."""

    grader: GraderBody
    item: dict[str, Any] | None = Field(None, description="What templates see as `item`.")
    model_sample: str = Field(description="The answer, which templates see as `sample`.")


class ValidateGraderRequest(Wire):
    """The body of graders/validate."""

    grader: GraderBody


class GraderErrors(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, by kind."""

    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_server_error_details: str | None = None


class GraderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """How the reward came about. `token_usage` is a total; the parts are in model_grader_token_usage_per_model."""

    name: str
    type: str
    errors: GraderErrors
    execution_time: float
    scores: dict[str, float]
    token_usage: int | None
    sampled_model_name: str | None


class GraderTokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one model that graded."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    cached_tokens: int


class RunGraderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of graders/run."""

    reward: float
    metadata: GraderMetadata
    sub_rewards: dict[str, float]
    model_grader_token_usage_per_model: dict[str, GraderTokens]


class ValidateGraderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of graders/validate: the grader as it was sent."""

    grader: StringCheck | TextSimilarity | Python | ScoreModel | Multi


class GraderRoutes:
    """The handlers of both routes in every dialect."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, http: Request) -> Response:
        """Parse, grade, render."""
        context = context_of(http)
        body = await read_body(http, RunGraderRequest, self._services.max_body_bytes)
        grader = self._grader(body.grader, context.project)
        graded = await self._awaited(
            http, grade(grader, body.item or {}, sample_of(body.model_sample), self._seams(context))
        )
        return replies.json(_answer(graded))

    async def validate(self, http: Request) -> Response:
        """Parse, check, send back."""
        context = context_of(http)
        body = await read_body(http, ValidateGraderRequest, self._services.max_body_bytes)
        grader = self._grader(body.grader, context.project)
        await self._awaited(http, check(grader, self._seams(context)))
        return replies.json({"grader": body.grader})

    def _grader(self, given: dict[str, Any], project: str) -> Grader:
        grader = validate(given)
        if isinstance(grader, LabelModel):
            raise InvalidRequest(
                "Invalid 'grader.type': label_model is for evaluations. Use score_model, or make it part of a multi "
                "grader.",
                param="grader.type",
            )
        for each in grader.graders.values() if isinstance(grader, Multi) else (grader,):
            if isinstance(each, ScoreModel | LabelModel):
                found = self._services.models.find(each.model, project)
                if found.kind == "embedding":
                    raise OperationNotSupported(
                        f"The model {each.model!r} makes embeddings and cannot grade: choose one that generates text.",
                        param="grader.model",
                    )
        return grader

    def _seams(self, context: Context) -> Seams:
        services, project = self._services, context.project
        return Seams(
            generate=services.generate, embed=services.embed, embedding=embedding_of(services.models, project),
            run=services.run_code,
            tenant=context.principal.id if context.principal else "", project=project,
            deadline_s=services.request_timeout_s,
        )  # fmt: skip

    async def _awaited(self, http: Request, work: Awaitable[T]) -> T:
        """What the work comes to, unless the client leaves or time runs out first: both end it."""
        limit_s = self._services.request_timeout_s
        task, left = asyncio.ensure_future(work), asyncio.create_task(_disconnected(http))
        try:
            await asyncio.wait([task, left], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if left.done():
                raise ClientGone
            raise DeadlineExceeded(f"The grader took longer than {limit_s:.0f} seconds.")
        finally:
            task.cancel()
            left.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(task, left, return_exceptions=True)


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _answer(graded: Graded) -> RunGraderResponse:
    scores = {name: part.score for name, part in graded.parts.items()}
    usage = {model: _tokens(used) for model, used in graded.usage.items()}
    metadata = GraderMetadata(
        name=graded.name, type=graded.type, errors=_errors(graded), execution_time=graded.seconds, scores=scores,
        token_usage=sum(used.total_tokens for used in usage.values()) if usage else None,
        sampled_model_name=graded.model,
    )  # fmt: skip
    return RunGraderResponse(
        reward=graded.score, metadata=metadata, sub_rewards=scores, model_grader_token_usage_per_model=usage
    )


def _errors(graded: Graded) -> GraderErrors:
    def detail(kind: ErrorKind) -> str | None:
        return "\n".join(each.detail for each in graded.failures if each.kind == kind) or None

    server = next((each for each in graded.failures if each.kind == "python_grader_server_error"), None)
    return GraderErrors(
        **{each.kind: True for each in graded.failures},
        python_grader_server_error_type=server and (server.code or "server_error"),
        python_grader_runtime_error_details=detail("python_grader_runtime_error"),
        model_grader_server_error_details=detail("model_grader_server_error"),
    )


def _tokens(used: Usage) -> GraderTokens:
    return GraderTokens(
        prompt_tokens=used.prompt,
        completion_tokens=used.completion,
        total_tokens=used.prompt + used.completion,
        cached_tokens=used.cached,
    )
