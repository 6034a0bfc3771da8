"""A reinforcement job from its plan to what comes out: `run.train` hands it over once the data was looked at.

Beside the model that is trained there are the engine, which answers, and what grades: a sandbox for python, a reward
model. All of them are in this process and compute in turns.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import torch

from mainspring.compute.sandbox import Sandbox
from mainspring.core.config import EngineSettings
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ChatPrompt, Constraint
from mainspring.engine.llama.backend import physical_cores
from mainspring.graders.definitions import (
    Grader,
    LabelModel,
    Multi,
    RewardModel,
    ScoreModel,
    Single,
    TextSimilarity,
    validate,
)
from mainspring.graders.reward import Rewards
from mainspring.graders.seams import Seams
from mainspring.models import prepared
from mainspring.models.catalog import Catalog
from mainspring.train import auto
from mainspring.train import choices as kept
from mainspring.train.asking import PATIENCE_S, Asking
from mainspring.train.base import load_base, root_of
from mainspring.train.check import Checked
from mainspring.train.dataset import Dataset
from mainspring.train.examples import Reinforcement as Example
from mainspring.train.loop import CHECKPOINT_S, Fit
from mainspring.train.model import Trainee, choose_precision
from mainspring.train.packing import LENGTH_STEP
from mainspring.train.plan import Outcome, Plan, Reporter
from mainspring.train.reinforcement import Question, Recipe, Reinforcement
from mainspring.train.reward import Rewarding
from mainspring.train.sampling import EngineSampler

__all__ = ["Choices", "check_plan", "train"]

GROUP, MIN_GROUP, MAX_GROUP = 8, 2, 64
ANSWER_TOKENS, LEAST_ROOM = 256, 16
RANK = 16
EVALUATIONS = 10
ROW = 512
"""Tokens of a row, unless a question with one answer takes more: attention costs more the longer it is."""
SWAP_SHARE_S = 0.5
"""A change of the adapter that takes longer than this is worth doing less often."""
GRADED_AT_ONCE = 32


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is computed; written down before the first step.

    Args:
        length: tokens of a row.
        group: answers to a question.
        max_tokens: of an answer.
        weights: the base's file that answers are sampled from: its name below the version's folder.
    """

    precision: str
    rank: int
    rate: float
    threads: int
    batch_size: int
    n_epochs: int
    length: int
    group: int
    max_tokens: int
    beta: float
    fresh_every: int
    evaluate_every: int
    eval_samples: int
    weights: str


class _Questions:
    """A file of examples as questions."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, number: int) -> Question:
        example = self._data.example(number)
        assert isinstance(example, Example)
        return Question(ChatPrompt(example.messages, example.tools), example.item)


def check_plan(catalog: Catalog, plan: Plan, asks: Asking | None = None) -> Grader:
    """The grader of a plan.

    Raises:
        InvalidRequest: it is missing or wrong, it needs what a job has not, or all weights are to be trained.
        ModelNotFound: its reward model, or the base, is not in the catalog.
    """
    if plan.grader is None:
        raise InvalidRequest("Reinforcement needs a grader.", param="method.reinforcement.grader")
    if plan.full:
        raise InvalidRequest(
            "Reinforcement trains adapters, which the engine takes over at each step: leave out 'full'.", param="full"
        )
    grader = validate(plan.grader)
    for place, each in _parts(grader):
        if isinstance(each, ScoreModel | LabelModel) and asks is None:
            raise InvalidRequest(f"A {each.type} grader asks a deployment, and no server is here to ask.", param=place)
        if (
            isinstance(each, TextSimilarity)
            and each.evaluation_metric == "cosine"
            and (asks is None or not asks.embedding)
        ):
            raise InvalidRequest(
                "The cosine needs a deployment of an embedding model in the project: deploy one, or choose another "
                "evaluation_metric, such as fuzzy_match.",
                param=place,
            )
        if isinstance(each, RewardModel) and catalog.get(each.model).kind != "reward":
            raise InvalidRequest(f"{each.model!r} is no reward model.", param=f"{place}.model")
    if (root := root_of(catalog, catalog.get(plan.base))).format != "gguf":
        raise InvalidRequest(
            f"Reinforcement samples with this server's own engine, which reads GGUF, and {root.name} is in "
            f"{root.format}: pull the model as GGUF.",
            param="model",
        )
    _constraint(plan.response_format)
    return grader


def _parts(grader: Grader) -> list[tuple[str, Single]]:
    if isinstance(grader, Multi):
        return [(f"grader.graders.{name}", each) for name, each in grader.graders.items()]
    return [("grader", grader)]


class _Schema(msgspec.Struct):
    schema: dict[str, Any]


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: _Schema | None = None


def _constraint(given: Mapping[str, Any] | None) -> Constraint | None:
    """What a response_format binds answers to."""
    try:
        found = msgspec.convert(given or {}, _Format)
    except msgspec.ValidationError:
        found = None
    if found is None or (found.type == "json_schema" and found.json_schema is None):
        raise InvalidRequest(
            'The response_format must be {"type": "json_schema", "json_schema": {"name", "schema"}}.',
            param="method.reinforcement.response_format",
        )
    if found.json_schema is not None:
        return Constraint("json_schema", msgspec.json.encode(found.json_schema.schema).decode())
    return Constraint("json_object") if found.type == "json_object" else None


def train(  # noqa: PLR0917 - as `plan.Train`, with what is known of the data
    catalog: Catalog,
    plan: Plan,
    folder: Path,
    checked: Checked,
    reporter: Reporter,
    asks: Asking | None = None,
    *,
    checkpoint_s: float = CHECKPOINT_S,
) -> Outcome:
    """See `plan.Train`.

    Args:
        asks: where graders ask a model.

    Raises:
        InvalidRequest: as `check_plan`; or the grader fails on all answers of a step.
    """
    grader = check_plan(catalog, plan, asks)
    choices = kept.recall(folder, Choices)
    torch.set_num_threads(choices.threads if choices else physical_cores())
    base = catalog.get(plan.base)
    model = load_base(catalog, base).model
    if torch.cuda.is_available():
        model = model.to("cuda")
    decided = choices or _decide(catalog, plan, checked, model.config.hidden_size, reporter)
    trainee = Trainee(
        model, rank=decided.rank, precision=getattr(torch, decided.precision), length=decided.length, seed=plan.seed
    )
    weights = catalog.folder(root_of(catalog, base)) / decided.weights
    longest = int(checked.training.lengths.max())
    with contextlib.ExitStack() as stack:
        sampler = EngineSampler(
            catalog, base, folder / "engine", weights=weights if weights.exists() else None,
            tokens=_cells(decided, longest), threads=decided.threads,
        )  # fmt: skip
        stack.callback(sampler.close)
        rewards = stack.enter_context(_rewards(catalog, grader, decided.precision, asks))
        if choices is None:
            decided = _swapping(trainee, sampler, folder, decided, reporter)
            kept.keep(folder, decided)
        method = Reinforcement(
            trainee, _Questions(checked.training), _Questions(checked.validation) if checked.validation else None,
            _recipe(decided, plan), sampler, rewards, folder, epochs=decided.n_epochs, seed=plan.seed,
            max_steps=plan.max_steps, base=plan.base,
        )  # fmt: skip
        every = (decided.evaluate_every or max(1, method.steps // EVALUATIONS)) if checked.validation else 0
        return Fit(decided.rate, every, plan.base, checkpoint_s).run(trainee, method, folder, reporter)


def _recipe(choices: Choices, plan: Plan) -> Recipe:
    return Recipe(
        batch_size=choices.batch_size, group=choices.group, max_tokens=choices.max_tokens, beta=choices.beta,
        fresh_every=choices.fresh_every, length=choices.length, eval_samples=choices.eval_samples,
        constraint=_constraint(plan.response_format),
    )  # fmt: skip


def _cells(choices: Choices, longest: int) -> int:
    """Of the engine's cache: every answer of a step, and every question once."""
    return choices.batch_size * choices.fresh_every * (longest + choices.group * choices.max_tokens)


def _rewards(catalog: Catalog, grader: Grader, precision: str, asks: Asking | None) -> Rewards:
    rewarding = Rewarding(catalog, getattr(torch, precision))
    for _, each in _parts(grader):
        if isinstance(each, RewardModel):
            rewarding.load(each.model)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncGenerator[Seams]:
        async with Sandbox(hidden=(catalog.root.parent,)) as sandbox:
            yield Seams(
                run=sandbox.run, reward=rewarding, generate=asks and asks.generate, embed=asks and asks.embed,
                embedding=asks and asks.embedding, deadline_s=PATIENCE_S,
            )  # fmt: skip

    return Rewards(grader, opened, GRADED_AT_ONCE)


class _Said(NamedTuple):
    value: Any
    reason: str


def _decide(catalog: Catalog, plan: Plan, checked: Checked, hidden: int, reporter: Reporter) -> Choices:
    """What is left to decide, each with its reason in the job's events."""
    given, report = plan.hyperparameters, checked.report
    precision, why_precision = choose_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"), hidden)
    rate, why_rate = auto.choose_learning_rate(hidden, plan.method)
    multiplier, epochs, batch = (
        report.hyperparameters[name].value for name in ("learning_rate_multiplier", "n_epochs", "batch_size")
    )
    longest = max(int(each.lengths.max()) for each in (checked.training, checked.validation) if each is not None)
    answer = _answer_tokens(catalog, plan, longest)
    group = _group(given.compute_multiplier)
    beta = _Said(0.0, "a grader says what is wanted, so nothing but it is followed") if given.beta is None else _Said(
        given.beta, "given"
    )  # fmt: skip
    rank = _Said(RANK, "rewards teach a few bits an answer") if plan.rank is None else _Said(plan.rank, "given")
    root = root_of(catalog, catalog.get(plan.base))
    weights, why_weights = prepared.weights(catalog, root, EngineSettings())  # pyright: ignore[reportCallIssue]
    length = -(-max(ROW, longest + answer.value + 1) // LENGTH_STEP) * LENGTH_STEP
    for said in (
        f"Products are computed in {str(precision).removeprefix('torch.')}: {why_precision}.",
        f"LoRA has rank {rank.value}: {rank.reason}.",
        f"The learning rate is at most {rate * multiplier:.2e}: {why_rate}, times {multiplier:g}.",
        f"Each question is answered {group.value} times: {group.reason}.",
        f"An answer has at most {answer.value} tokens: {answer.reason}.",
        "The temperature is 1: what is learnt is the model's own distribution.",
        f"beta = {beta.value:g}: {beta.reason}.",
        f"Answers are sampled from {weights.name}: {why_weights}.",
    ):
        reporter.say(said)
    return Choices(
        precision=str(precision).removeprefix("torch."), rank=rank.value, rate=rate * multiplier,
        threads=torch.get_num_threads(), batch_size=int(batch), n_epochs=int(epochs), length=length,
        group=group.value, max_tokens=answer.value, beta=beta.value, fresh_every=1,
        evaluate_every=given.eval_interval or 0, eval_samples=given.eval_samples or 1,
        weights=str(weights.relative_to(catalog.folder(root))),
    )  # fmt: skip


def _group(multiplier: float | None) -> _Said:
    if multiplier is None:
        return _Said(GROUP, "enough to tell better answers from worse ones")
    return _Said(min(MAX_GROUP, max(MIN_GROUP, round(GROUP * multiplier))), f"{GROUP} times {multiplier:g}")


def _answer_tokens(catalog: Catalog, plan: Plan, longest: int) -> _Said:
    base = root_of(catalog, catalog.get(plan.base))
    room = (base.context_length or plan.max_tokens or 2048) - longest
    if room < LEAST_ROOM:
        raise InvalidRequest(
            f"The longest question has {longest} tokens, which leaves no room for an answer: shorten it.",
            param="training_file",
        )
    if plan.max_answer_tokens is not None:
        return _Said(min(plan.max_answer_tokens, room), "given")
    if room < ANSWER_TOKENS:
        return _Said(room, f"the longest question has {longest} tokens and leaves no more room")
    return _Said(ANSWER_TOKENS, "longer ones cost the most time and are seldom better; they count as they are")


def _swapping(trainee: Trainee, sampler: EngineSampler, folder: Path, choices: Choices, reporter: Reporter) -> Choices:
    """How often the engine gets the new adapter, by how long that takes."""
    took = min(_timed(lambda: _swap(trainee, sampler, folder)) for _ in range(2))
    every = 1 if took <= SWAP_SHARE_S else 4
    often = "step" if every == 1 else f"{every} steps"
    reporter.say(f"The engine answers with the weights of every {often}: changing them takes {took:.2f} s.")
    return msgspec.structs.replace(choices, fresh_every=every)


def _swap(trainee: Trainee, sampler: EngineSampler, folder: Path) -> None:
    trainee.save(folder / "adapter", "")
    sampler.use(folder / "adapter")


def _timed(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
