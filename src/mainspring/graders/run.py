"""Grading: one grader, one item, one answer.

    grade(grader, item, sample, seams) -> Graded

It never raises for what a grader, an item or an answer does: that is a `Failure` in what it returns.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest, MainspringError
from mainspring.core.types import EmbedRequest, FinishReason, Usage
from mainspring.graders import formula, judge, template
from mainspring.graders.definitions import (
    Grader,
    LabelModel,
    Multi,
    Python,
    RewardModel,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from mainspring.graders.python import check_source, grade_python
from mainspring.graders.result import Failure, Graded, GraderFailed
from mainspring.graders.seams import Seams
from mainspring.graders.similarity import METRICS, cosine

__all__ = ["check", "grade", "sample_of"]

LONG = 20_000
"""Characters from which on a comparison leaves the event loop: it takes milliseconds."""
MAX_COMPARED = 200_000

Json = Mapping[str, Any]


def sample_of(text: str, *, tools: Sequence[Json] = (), finish_reason: FinishReason = "stop") -> dict[str, Any]:
    """What templates and python graders see of an answer, as OpenAI's guide has it.

    Args:
        tools: its tool calls, as in a chat completion.
        finish_reason: "length" if it was cut.
    """
    try:
        parsed = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        parsed = None
    message = {"role": "assistant", "content": text, **({"tool_calls": list(tools)} if tools else {})}
    return {
        "output_text": text,
        "output_json": parsed,
        "output_tools": list(tools),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "truncated": finish_reason == "length",
    }


async def grade(grader: Grader, item: Json, sample: Json, seams: Seams) -> Graded:
    """How good an answer is.

    Args:
        item: the example that was answered.
        sample: the answer, from `sample_of`.
    """
    started = time.perf_counter()
    if isinstance(grader, Multi):
        graded = await _multi(grader, item, sample, seams)
    else:
        graded = await _single(grader, {"item": item, "sample": sample}, seams)
    return msgspec.structs.replace(graded, seconds=time.perf_counter() - started)


async def check(grader: Grader, seams: Seams, where: str = "grader") -> None:
    """What `definitions.validate` cannot see: whether the source of python graders runs.

    Raises:
        InvalidRequest: it does not.
    """
    for place, each in _all(grader, where):
        if isinstance(each, Python) and seams.run is not None:
            try:
                await check_source(each, f"{place}.source", seams.run)
            except GraderFailed:  # no sandbox: nothing is known against the source
                return


def _all(grader: Grader, where: str) -> list[tuple[str, Grader]]:
    if isinstance(grader, Multi):
        return [(f"{where}.graders.{name}", each) for name, each in grader.graders.items()]
    return [(where, grader)]


async def _single(grader: Grader, scope: Json, seams: Seams) -> Graded:
    asked = grader.model if isinstance(grader, ScoreModel | LabelModel) else None
    failures: tuple[Failure, ...] = ()
    try:
        score, usage = await _score(grader, scope, seams)
    except GraderFailed as error:
        score, usage, failures = 0.0, error.usage, (error.failure,)
    passed = None if failures and asked is None else _passed(grader, score)
    return Graded(
        name=grader.name, type=grader.type, score=score, passed=False if failures else passed, failures=failures,
        usage=usage, model=asked,
    )  # fmt: skip


def _passed(grader: Grader, score: float) -> bool | None:
    if isinstance(grader, StringCheck | LabelModel):
        return score == 1.0
    least = grader.pass_threshold if isinstance(grader, TextSimilarity | Python | ScoreModel | RewardModel) else None
    return None if least is None else score >= least


async def _score(grader: Grader, scope: Json, seams: Seams) -> tuple[float, dict[str, Usage]]:
    match grader:
        case StringCheck():
            return float(_string_check(grader, scope)), {}
        case TextSimilarity():
            return await _similarity(grader, scope, seams), {}
        case Python():
            return await grade_python(grader, scope, seams.run), {}
        case ScoreModel():
            return await judge.score(grader, scope, seams)
        case LabelModel():
            found, usage = await judge.label(grader, scope, seams)
            return float(found in grader.passing_labels), usage
        case RewardModel():
            return await _reward(grader, scope, seams), {}
        case Multi():
            raise AssertionError("multi graders do not nest")


async def _reward(grader: RewardModel, scope: Json, seams: Seams) -> float:
    if seams.reward is None:
        raise GraderFailed("other_error", "Reward models grade the answers of reinforcement jobs, nothing else.")
    try:
        return await seams.reward(grader.model, scope["item"], scope["sample"])
    except MainspringError as error:
        raise GraderFailed("other_error", error.message, error.code) from None


def _texts(grader: StringCheck | TextSimilarity, scope: Json) -> tuple[str, str]:
    given = template.parse(grader.input, "input").render(scope)
    return given, template.parse(grader.reference, "reference").render(scope)


def _string_check(grader: StringCheck, scope: Json) -> bool:
    given, reference = _texts(grader, scope)
    match grader.operation:
        case "eq":
            return given == reference
        case "ne":
            return given != reference
        case "like":
            return reference in given
        case "ilike":
            return reference.casefold() in given.casefold()


async def _similarity(grader: TextSimilarity, scope: Json, seams: Seams) -> float:
    given, reference = _texts(grader, scope)
    if len(given) + len(reference) > MAX_COMPARED:
        raise GraderFailed("other_error", f"Texts of more than {MAX_COMPARED} characters are not compared.")
    if grader.evaluation_metric == "cosine":
        return await _cosine(given, reference, seams)
    metric = METRICS[grader.evaluation_metric]
    if len(given) + len(reference) > LONG:
        return await asyncio.to_thread(metric, given, reference)
    return metric(given, reference)


async def _cosine(given: str, reference: str, seams: Seams) -> float:
    if seams.embed is None or seams.embedding is None:
        raise GraderFailed("other_error", "The cosine needs a deployment of an embedding model.", "model_not_found")
    request = EmbedRequest(
        id=f"grader-{uuid.uuid4().hex}", model=seams.embedding, inputs=(given or " ", reference or " "),
        tenant=seams.tenant, project=seams.project, deadline_s=seams.deadline_s,
    )  # fmt: skip
    try:
        return cosine(await seams.embed(request))
    except MainspringError as error:
        raise GraderFailed("other_error", error.message, error.code) from None


async def _multi(grader: Multi, item: Json, sample: Json, seams: Seams) -> Graded:
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(grade(each, item, sample, seams)) for name, each in grader.graders.items()}
    parts = {name: task.result() for name, task in tasks.items()}
    failures = [failure for part in parts.values() for failure in part.failures]
    score = 0.0
    try:
        known = formula.parse(grader.calculate_output, "calculate_output", frozenset(parts))
        score = known({name: part.score for name, part in parts.items()})
    except InvalidRequest as error:
        failures.append(Failure("formula_parse_error", error.message))
    except GraderFailed as error:
        failures.append(error.failure)
    usage: dict[str, Usage] = {}
    for part in parts.values():
        for model, used in part.usage.items():
            usage[model] = _sum(usage[model], used) if model in usage else used
    # A part that failed must not pay: in a formula such as 1 - x its 0 would.
    return Graded(
        name=grader.name, type=grader.type, score=0.0 if failures else score, failures=tuple(failures), parts=parts,
        usage=usage,
    )  # fmt: skip


def _sum(first: Usage, second: Usage) -> Usage:
    return Usage(*(a + b for a, b in zip(msgspec.structs.astuple(first), msgspec.structs.astuple(second), strict=True)))
