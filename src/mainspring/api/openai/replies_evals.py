"""What the server sends about evaluations: OpenAI's shapes, from the rows below the edge."""

from typing import Any

import msgspec

from mainspring.evals.evals import Run
from mainspring.evals.spec import spec_of, state_of
from mainspring.store.evals import Eval, Item

__all__ = [
    "EvalGone",
    "EvalList",
    "EvalObject",
    "EvalRun",
    "EvalRunGone",
    "EvalRunList",
    "OutputItem",
    "OutputItemList",
]


class EvalObject(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation."""

    object: str = "eval"
    id: str
    name: str
    data_source_config: dict[str, Any]
    testing_criteria: list[dict[str, Any]]
    created_at: int
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, found: Eval) -> "EvalObject":
        """From its row."""
        return cls(
            id=found.id, name=found.name, data_source_config=found.config, testing_criteria=found.criteria,
            created_at=int(found.created), metadata=found.labels,
        )  # fmt: skip


class EvalList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of evaluations; `first_id` and `last_id` are of this page, and empty if it is."""

    object: str = "list"
    data: list[EvalObject]
    first_id: str
    last_id: str
    has_more: bool


class EvalGone(msgspec.Struct, frozen=True, kw_only=True):
    """That an evaluation is deleted, with its runs."""

    object: str = "eval.deleted"
    deleted: bool = True
    eval_id: str


class EvalRunCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Items by what came of them."""

    total: int
    errored: int
    failed: int
    passed: int


class EvalModelUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one model was asked, to answer or to grade."""

    model_name: str
    invocation_count: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class EvalCriterionResults(msgspec.Struct, frozen=True, kw_only=True):
    """Items by what one grader made of them."""

    testing_criteria: str
    passed: int
    failed: int


class EvalError(msgspec.Struct, frozen=True):
    """Why a run failed."""

    code: str
    message: str


class EvalRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `report_url` is where its output items are; null is the `error` of one that has not failed."""

    object: str = "eval.run"
    id: str
    eval_id: str
    status: str
    model: str
    name: str
    created_at: int
    report_url: str
    result_counts: EvalRunCounts
    per_model_usage: list[EvalModelUsage]
    per_testing_criteria_results: list[EvalCriterionResults]
    data_source: msgspec.Raw
    metadata: dict[str, str] | None
    error: EvalError | None

    @classmethod
    def of(cls, run: Run, criteria: list[dict[str, Any]], report_url: str) -> "EvalRun":
        """From its job."""
        job, spec, state = run.job, spec_of(run.job), state_of(run.job)
        counts, names = state.counts, [str(each["name"]) for each in criteria]
        tallies = state.criteria or ((0, 0),) * len(names)
        return cls(
            id=job.id, eval_id=spec.eval, status=job.status,
            model=spec.sampler.model if spec.sampler else "", name=spec.name, created_at=int(job.created),
            report_url=report_url,
            result_counts=EvalRunCounts(
                total=counts.passed + counts.failed + counts.errored, errored=counts.errored, failed=counts.failed,
                passed=counts.passed,
            ),
            per_model_usage=[
                EvalModelUsage(
                    model_name=name, invocation_count=each.calls, prompt_tokens=each.prompt,
                    completion_tokens=each.completion, total_tokens=each.prompt + each.completion,
                    cached_tokens=each.cached,
                )
                for name, each in sorted(state.spent.items())
            ],
            per_testing_criteria_results=[
                EvalCriterionResults(testing_criteria=name, passed=passed, failed=failed)
                for name, (passed, failed) in zip(names, tallies, strict=True)
            ],
            data_source=msgspec.Raw(run.source), metadata=spec.labels,
            error=EvalError(job.error["code"], job.error["message"]) if job.error else None,
        )  # fmt: skip


class EvalRunList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, as of `EvalList`."""

    object: str = "list"
    data: list[EvalRun]
    first_id: str
    last_id: str
    has_more: bool


class EvalRunGone(msgspec.Struct, frozen=True, kw_only=True):
    """That a run is deleted."""

    object: str = "eval.run.deleted"
    deleted: bool = True
    run_id: str


class OutputItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a run: what it was, what was answered, and what the graders made of it. `status` is pass, fail, or
    error if it could not be answered or graded."""

    object: str = "eval.run.output_item"
    id: str
    run_id: str
    eval_id: str
    created_at: int
    status: str
    datasource_item_id: int
    datasource_item: dict[str, Any]
    results: list[dict[str, Any]]
    sample: dict[str, Any]

    @classmethod
    def of(cls, item: Item, eval_id: str) -> "OutputItem":
        """From its row, once something has come of it."""
        outcome = item.outcome or {}
        return cls(
            id=item.id, run_id=item.run, eval_id=eval_id, created_at=int(item.created or 0), status=item.status,
            datasource_item_id=item.place, datasource_item=item.item["item"], results=outcome["results"],
            sample=outcome["sample"],
        )  # fmt: skip


class OutputItemList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of output items, as of `EvalList`."""

    object: str = "list"
    data: list[OutputItem]
    first_id: str
    last_id: str
    has_more: bool
