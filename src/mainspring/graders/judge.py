"""Graders that ask a model: any deployment can be the judge.

The answer is held to a JSON schema while it is generated: a few steps of reasoning, then the result. OpenAI's guide
names the same two fields, `steps` and `result`, so prompts may speak of them. The steps come first here, so that a
small model thinks before it judges, and are bounded, so that it comes to an end.
"""

import asyncio
import json
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from mainspring.core.errors import ContentFiltered, MainspringError
from mainspring.core.types import (
    ChatPrompt,
    Constraint,
    Finished,
    FinishReason,
    GenerateRequest,
    Message,
    Sampling,
    Token,
    Usage,
)
from mainspring.graders import template
from mainspring.graders.definitions import LabelModel, SamplingParams, ScoreModel
from mainspring.graders.result import GraderFailed
from mainspring.graders.seams import Seams

__all__ = ["label", "score"]

MAX_STEPS = 4
MAX_STEP_CHARACTERS = 300
MANY_TOKENS = 4096
"""From here on a limit is left out: the schema ends the answer before it, and a prompt and so much may not fit into the
model's context. OpenAI's own example has 32,768."""
_STEP = {
    "type": "object",
    "properties": {
        "description": {"type": "string", "maxLength": MAX_STEP_CHARACTERS},
        "conclusion": {"type": "string", "maxLength": MAX_STEP_CHARACTERS},
    },
    "required": ["description", "conclusion"],
    "additionalProperties": False,
}


class _Score(msgspec.Struct):
    result: float


class _Label(msgspec.Struct):
    result: str


async def score(grader: ScoreModel, scope: Mapping[str, Any], seams: Seams) -> tuple[float, dict[str, Usage]]:
    """The model's score, cut to the grader's range, and the tokens it took.

    Raises:
        GraderFailed: the model did not answer, or not with a number.
    """
    low, high = grader.range or (0.0, 1.0)
    result = {"type": "number", "minimum": low, "maximum": high}
    text, usage = await _ask(grader, grader.sampling_params, result, scope, seams)
    try:
        found = msgspec.json.decode(text, type=_Score).result
    except (msgspec.DecodeError, ValueError):
        raise GraderFailed("model_grader_parse_error", f"No number: {text[:200]!r}", usage=usage) from None
    return min(max(found, low), high), usage


async def label(grader: LabelModel, scope: Mapping[str, Any], seams: Seams) -> tuple[str, dict[str, Usage]]:
    """The label that the model gives, and the tokens it took.

    Raises:
        GraderFailed: the model did not answer, or not with a label.
    """
    result = {"type": "string", "enum": list(grader.labels)}
    text, usage = await _ask(grader, SamplingParams(temperature=0.0), result, scope, seams)
    try:
        found = msgspec.json.decode(text, type=_Label).result
    except (msgspec.DecodeError, ValueError):
        found = ""
    if found not in grader.labels:
        raise GraderFailed("model_grader_parse_error", f"No label: {text[:200]!r}", usage=usage)
    return found, usage


def _schema(result: dict[str, Any]) -> str:
    steps = {"type": "array", "items": _STEP, "maxItems": MAX_STEPS}
    return json.dumps(
        {
            "type": "object",
            "properties": {"steps": steps, "result": result},
            "required": ["steps", "result"],
            "additionalProperties": False,
        }
    )


async def _ask(
    grader: ScoreModel | LabelModel, given: SamplingParams, result: dict[str, Any], scope: Mapping[str, Any],
    seams: Seams,
) -> tuple[str, dict[str, Usage]]:  # fmt: skip
    if seams.generate is None:
        raise GraderFailed("model_grader_server_error", "No model can be asked here.", "engine_unavailable")
    request = GenerateRequest(
        id=f"grader-{uuid.uuid4().hex}", model=grader.model, prompt=_prompt(grader, given, scope),
        tenant=seams.tenant, project=seams.project, streams=False,
        max_tokens=wanted if (wanted := given.max_completions_tokens or MANY_TOKENS) < MANY_TOKENS else None,
        sampling=Sampling(
            temperature=0.0 if given.top_p == 0 else 1.0 if given.temperature is None else given.temperature,
            top_p=given.top_p or 1.0, seed=given.seed,
        ),
        constraint=Constraint("json_schema", _schema(result)), deadline_s=seams.deadline_s, tier=seams.tier,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seams.deadline_s):
            text, reason, used = await _collect(request, seams)
    except ContentFiltered as error:
        raise GraderFailed("model_grader_refusal_error", error.message, error.code) from None
    except MainspringError as error:
        raise GraderFailed("model_grader_server_error", error.message, error.code) from None
    except TimeoutError:
        raise GraderFailed("model_grader_server_error", "The model took too long.", "deadline_exceeded") from None
    usage = {grader.model: used}
    if reason == "content_filter":
        raise GraderFailed("model_grader_refusal_error", "A content filter stopped the model.", usage=usage)
    return text, usage


def _prompt(grader: ScoreModel | LabelModel, given: SamplingParams, scope: Mapping[str, Any]) -> ChatPrompt:
    messages = tuple(
        Message(role=each.role, content="\n".join(template.parse(text, "input").render(scope) for text in each.texts))
        for each in grader.input
    )
    thinks = None if given.reasoning_effort not in ("none", "minimal") else False
    return ChatPrompt(messages, thinking=thinks)


async def _collect(request: GenerateRequest, seams: Seams) -> tuple[str, FinishReason, Usage]:
    assert seams.generate is not None
    pieces: list[str] = []
    reason: FinishReason = "stop"
    usage = Usage(0, 0)
    async with aclosing(seams.generate(request)) as events:
        async for event in events:
            if isinstance(event, Token) and not event.thought:
                pieces.append(event.text)
            elif isinstance(event, Finished):
                reason, usage = event.reason, event.usage
    return "".join(pieces), reason, usage
