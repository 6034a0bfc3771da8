"""A job from its plan to what comes out: look at the data, decide what is left to decide, load the model, train.

Whatever is decided by measuring is written into `choices.json` before the first step: a job that goes on after an
interruption computes exactly as it began.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import torch

from mainspring.core.errors import InvalidRequest
from mainspring.engine.llama.backend import physical_cores
from mainspring.models.catalog import Catalog
from mainspring.train import auto, graded
from mainspring.train import choices as kept
from mainspring.train.asking import Asking
from mainspring.train.base import load_base, root_of
from mainspring.train.check import MICRO_TOKENS, Checked, check, duration, recall
from mainspring.train.examples import ExampleFile
from mainspring.train.loop import CHECKPOINT_S, Fit, Method
from mainspring.train.methods import Comparisons, Preferences, Supervised
from mainspring.train.model import Trainee, choose_compile, choose_precision, saved_bytes
from mainspring.train.packing import Packer, choose_rows
from mainspring.train.plan import Outcome, Plan, Reporter
from mainspring.train.render import Renderer
from mainspring.train.reward import Judge
from mainspring.train.tokens import open_vocabulary, read_shape, with_weights
from mainspring.train.weights import described

__all__ = ["Choices", "train", "validate"]

DATA = "data"
MAX_TOKENS = 4096
"""Longest example unless the plan says otherwise: beyond it, attention takes more than all else."""
MEMORY_SHARE = 0.5
"""Of the memory that is free: what the backward pass may keep."""
MATRICES = 14
"""Of LoRA in a layer: two for each of seven products, each about as wide as the model."""
EVALUATIONS = 10
BETA = 0.1
"""Of preferences, as in the paper."""


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is computed.

    Args:
        length, rows: of a micro-batch.
        recompute: keep less for the backward pass, and compute it again.
        threads: another number of them would round sums differently.
    """

    precision: str
    length: int
    rows: int
    rank: int | None
    batch_size: int
    n_epochs: int
    rate: float
    recompute: bool
    compile: bool
    threads: int


def validate(
    catalog: Catalog, plan: Plan, folder: Path, reporter: Reporter, *, asks: Asking | None = None
) -> None:  # fmt: skip
    """Look at all of the data and say what was found. `train` goes on with it.

    Raises:
        InvalidRequest: the data cannot be trained on; every fault is listed.
        ModelNotFound, UserMistake: the base is not here, or cannot be trained.
    """
    _check_plan(catalog, plan, asks)
    checked = _look(catalog, plan, folder)
    report = msgspec.to_builtins(checked.report)
    chosen = {name: choice.value for name, choice in checked.report.hyperparameters.items()}
    for at, message in enumerate(checked.report.messages()):
        reporter.say(message, data={"report": report, "hyperparameters": chosen} if at == 0 else None)


def train(
    catalog: Catalog, plan: Plan, folder: Path, reporter: Reporter, *, checkpoint_s: float = CHECKPOINT_S,
    asks: Asking | None = None,
) -> Outcome:  # fmt: skip
    """See `plan.Train`.

    Args:
        catalog: where the base is.
        checkpoint_s: between two checkpoints to resume from.
        asks: where graders ask a model.

    Raises:
        InvalidRequest: as `validate`.
    """
    _check_plan(catalog, plan, asks)
    torch.use_deterministic_algorithms(True)
    checked = recall(folder / DATA) or _look(catalog, plan, folder)
    if plan.method == "reinforcement":
        return graded.train(catalog, plan, folder, checked, reporter, asks, checkpoint_s=checkpoint_s)
    choices = kept.recall(folder, Choices)
    torch.set_num_threads(choices.threads if choices else physical_cores())
    base = catalog.get(plan.base)
    model = load_base(catalog, base).model
    if choices is None:
        choices, trainee = _decide(model, plan, checked, reporter)
        kept.keep(folder, choices)
    else:
        trainee = _trainee(model, plan, choices)
        if choices.recompute:
            trainee.recompute()
        if choices.compile:
            trainee.compile()
    method = _method(trainee, plan, checked, choices, folder)
    every = max(1, method.steps // EVALUATIONS) if checked.validation else 0
    return Fit(choices.rate, every, plan.base, checkpoint_s).run(trainee, method, folder, reporter)


def _check_plan(catalog: Catalog, plan: Plan, asks: Asking | None) -> None:
    if plan.method == "reinforcement":
        graded.check_plan(catalog, plan, asks)
    if plan.method == "reward" and plan.full:
        raise InvalidRequest("Reward models are adapters with a head: leave out 'full'.", param="full")
    root = root_of(catalog, catalog.get(plan.base))
    if root.format == "gguf":
        described(catalog, root)  # says what stands against it before anything else is done


def _look(catalog: Catalog, plan: Plan, folder: Path) -> Checked:
    version = catalog.get(plan.base)
    vocabulary = open_vocabulary(catalog, version)
    context = with_weights(catalog, version).context_length or MAX_TOKENS
    (folder / DATA).mkdir(parents=True, exist_ok=True)
    valid = plan.validation
    return check(
        ExampleFile(Path(plan.training.path), plan.method),
        ExampleFile(Path(valid.path), plan.method, name="validation file", param="validation_file") if valid else None,
        Renderer(vocabulary), folder / DATA, max_tokens=min(plan.max_tokens or MAX_TOKENS, context),
        given=plan.hyperparameters, shape=read_shape(catalog, version, vocabulary.num_tokens), seed=plan.seed,
    )  # fmt: skip


def _trainee(model: torch.nn.Module, plan: Plan, choices: Choices) -> Trainee:
    precision: torch.dtype = getattr(torch, choices.precision)
    if torch.cuda.is_available():
        model = model.to("cuda")
    if plan.method == "reward":
        assert choices.rank is not None
        return Judge(model, rank=choices.rank, precision=precision, length=choices.length, seed=plan.seed)
    return Trainee(model, rank=choices.rank, precision=precision, length=choices.length, seed=plan.seed)


def _packer(checked: Checked, plan: Plan, choices: Choices) -> Packer:
    length, rows = choices.length, choices.rows
    return Packer(checked.training, length=length, rows=rows, batch_size=choices.batch_size, seed=plan.seed)


def _method(trainee: Trainee, plan: Plan, checked: Checked, choices: Choices, folder: Path) -> Method:
    train, valid = _packer(checked, plan, choices), None
    if (data := checked.validation) is not None:
        length = max(choices.length, int(data.lengths.max()))
        size = max(1, choices.rows * length * len(data) // max(1, int(data.lengths.sum())))
        valid = Packer(data, length=length, rows=choices.rows, batch_size=size, shuffle=False)
    if plan.method == "dpo":
        beta = plan.hyperparameters.beta
        return Preferences(
            trainee, train, valid, epochs=choices.n_epochs, max_steps=plan.max_steps, cache=folder / "cache",
            beta=BETA if beta is None else beta,
        )  # fmt: skip
    if plan.method == "reward":
        return Comparisons(trainee, train, valid, epochs=choices.n_epochs, max_steps=plan.max_steps)
    return Supervised(trainee, train, valid, epochs=choices.n_epochs, max_steps=plan.max_steps)


def _decide(model: torch.nn.Module, plan: Plan, checked: Checked, reporter: Reporter) -> tuple[Choices, Trainee]:
    """What is left to decide, each with its reason in the job's events."""
    config: Any = model.config
    report, hidden = checked.report, int(config.hidden_size)
    precision, why_precision = choose_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"), hidden)
    rank, why_rank = None, "all weights are trained"
    if not plan.full:
        found = auto.choose_rank(report.training.trained_tokens, MATRICES * hidden * config.num_hidden_layers)
        rank, why_rank = (plan.rank, "given") if plan.rank else found
    rate, why_rate = auto.choose_learning_rate(hidden, plan.method, full=plan.full)
    multiplier, epochs, batch = (
        report.hyperparameters[name].value for name in ("learning_rate_multiplier", "n_epochs", "batch_size")
    )
    choices = Choices(
        precision=str(precision).removeprefix("torch."), length=report.length, rows=1, rank=rank,
        rate=rate * multiplier, batch_size=int(batch), n_epochs=int(epochs), recompute=False, compile=False,
        threads=torch.get_num_threads(),
    )  # fmt: skip
    trainee = _trainee(model, plan, choices)
    measured = _measure(trainee, _packer(checked, plan, choices))
    rows, recompute, why_rows = _rows(checked, plan, choices, measured)
    choices = msgspec.structs.replace(choices, rows=rows, recompute=recompute)
    positions = _packer(checked, plan, choices).packing().positions * choices.n_epochs
    left_s = positions / choices.length * measured.row_s
    if recompute:
        trainee.recompute()
    compiles, why_compile = choose_compile(trainee.device, left_s=left_s)
    if compiles and (trouble := _compile(trainee, _packer(checked, plan, choices))):
        compiles, why_compile = False, trouble
    for said in (
        f"Products are computed in {choices.precision}: {why_precision}.",
        f"LoRA has rank {rank}: {why_rank}." if rank else "All weights are trained.",
        f"The learning rate is at most {choices.rate:.2e}: {why_rate}, times {multiplier:g}.",
        f"{rows} rows of {choices.length} tokens are computed together: {why_rows}.",
        f"The model is {'' if compiles else 'not '}compiled: {why_compile}.",
        f"It will take about {duration(left_s)}.",
    ):
        reporter.say(said)
    return msgspec.structs.replace(choices, compile=compiles), trainee


def _compile(trainee: Trainee, packer: Packer) -> str:
    """Compile, and what stands against it: it takes a C++ compiler, Python's headers, and a model that can be."""
    trainee.compile()
    try:
        (-trainee.score(packer.batch(0).micro[0]).logp_N.sum()).backward()
    except Exception as error:  # noqa: BLE001 - whatever it is, the model trains without
        trainee.uncompile()
        return f"it cannot be here ({type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]})"
    finally:
        trainee.forget_gradients()
    return ""


class _Measured(NamedTuple):
    """What a row takes: seconds forward and backward, bytes kept for the backward pass, bytes free meanwhile."""

    row_s: float
    saved: int
    free: int


def _measure(trainee: Trainee, packer: Packer) -> _Measured:
    micro = packer.batch(0).micro[0]
    saved = saved_bytes(trainee, micro)
    started = time.perf_counter()
    (-trainee.score(micro).logp_N.sum()).backward()
    row_s = time.perf_counter() - started
    trainee.forget_gradients()
    free = psutil.virtual_memory().available
    if trainee.device.type == "cuda":
        free = torch.cuda.mem_get_info()[0]
    return _Measured(row_s, saved, free)


def _rows(checked: Checked, plan: Plan, choices: Choices, measured: _Measured) -> tuple[int, bool, str]:
    """How many rows are computed together, whether less is kept, and why: as many as fit into memory and into about
    a thousand tokens, and of these the number that leaves the fewest positions empty."""
    fit = int(measured.free * MEMORY_SHARE // max(1, measured.saved))
    if fit < 1:
        told = (
            f"a row keeps {measured.saved / 2**30:.1f} GiB for its backward pass, which is too much: it computes again"
        )
        return 1, True, told
    rows, packing = choose_rows(
        checked.training, length=choices.length, batch_size=choices.batch_size, seed=plan.seed,
        most=min(fit, MICRO_TOKENS // choices.length),
    )  # fmt: skip
    return rows, False, f"so they are {packing.efficiency:.0%} full, and keep {rows * measured.saved / 2**20:.0f} MiB"
