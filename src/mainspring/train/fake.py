"""A `Train` that trains nothing: for tests of whatever keeps jobs. Its result depends on every step before it.

What it does may be ordered by the first message of the first example:

    !slow S        take S seconds a step
    !every N       write a checkpoint to resume from every N steps (2)
    !fail          refuse the data, as a trainer would
    !mistake       find that the base cannot be trained
    !crash N       end the process in step N, each time
    !full N        find the disk full in step N, until the file `room` is in the job's folder
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest, UserMistake
from mainspring.core.types import ModelVersion
from mainspring.graders.definitions import validate as validate_grader
from mainspring.graders.reward import Rewards
from mainspring.graders.run import sample_of
from mainspring.graders.seams import Seams
from mainspring.models.catalog import Catalog
from mainspring.train.asking import Asking
from mainspring.train.plan import Made, Outcome, Plan, Progress, Reporter, Wanted

__all__ = ["MADE", "register", "train", "validate"]

WIDTH = 8
MADE = "made"
WORD = "word"


class State(msgspec.Struct):
    """What it resumes from."""

    step: int
    tokens: int
    weights: list[float]


def validate(_catalog: Catalog, _plan: Plan, _folder: Path, _reporter: Reporter, *, asks: Any = None) -> None:
    """It takes everything."""


def register(catalog: Catalog, plan: Plan, made: Made, *, project: str | None = None) -> ModelVersion | None:  # noqa: ARG001
    """Nothing was made that could be served: it goes to a place of its own beside the catalog."""
    target = catalog.root.parent / MADE / plan.job / made.folder.name
    if not target.exists():
        shutil.copytree(made.folder, target)
    return None


def train(
    _catalog: Catalog, plan: Plan, folder: Path, reporter: Reporter, *, checkpoint_s: float = 0.0,  # noqa: ARG001
    asks: Asking | None = None,
) -> Outcome:  # fmt: skip
    """See `plan.Train`."""
    examples = Path(plan.training.path).read_bytes().splitlines()
    spells, examples[0] = _spells(examples), b""  # what is ordered does not change what comes out
    if "mistake" in spells:
        raise UserMistake("This base cannot be trained: choose another.")
    if "fail" in spells:
        raise InvalidRequest("Line 1: this file asks to be refused.", code="invalid_training_file", param="training")
    epochs, batch = plan.hyperparameters.n_epochs or 3, plan.hyperparameters.batch_size or 2
    each = -(-len(examples) // batch)
    steps = min(each * epochs, plan.max_steps or each * epochs)
    state = _resume(folder) or State(0, 0, [plan.seed / 1e9] * WIDTH)
    chosen = {"n_epochs": epochs, "batch_size": batch, "learning_rate_multiplier": 1.0}
    reporter.say(f"Chose {batch} examples a batch: there are {len(examples)}", data={"hyperparameters": chosen})
    if plan.grader is not None and asks is not None:
        reporter.say(f"The word {WORD!r} is worth {_worth(plan.grader, asks)}")
    while state.step < steps:
        wanted = reporter.wanted()
        if wanted != "run":
            _save(folder, state)
            return Outcome(end=_end(wanted), tokens=state.tokens, steps=state.step)
        at = state.step % each * batch
        _step(state, examples[at : at + batch], spells, folder)
        reporter.metrics(state.step, {"train_loss": state.weights[0], "train_mean_token_accuracy": state.weights[1]})
        left_s = (steps - state.step) * spells.get("slow", 0.0)
        reporter.progress(Progress(step=state.step, steps=steps, tokens=state.tokens, tokens_per_s=1.0, left_s=left_s))
        if state.step % each == 0 and state.step < steps:
            reporter.say(f"Epoch {state.step // each} of {epochs} done")
            reporter.made(_make(folder, state))
        if state.step % int(spells.get("every", 2)) == 0:  # last, or a resumption here would not tell of the above
            _save(folder, state)
    reporter.made(msgspec.structs.replace(_make(folder, state), is_last=True))
    _save(folder, state)
    return Outcome(end="done", tokens=state.tokens, steps=state.step)


def _worth(grader: dict[str, Any], asks: Asking) -> float:
    """What the job's grader makes of an answer, asking as a real job does."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncGenerator[Seams]:
        yield Seams(generate=asks.generate, embed=asks.embed, embedding=asks.embedding)

    with Rewards(validate_grader(grader), opened) as rewards:
        return rewards([({}, sample_of(WORD))])[0].score


def _end(wanted: Wanted) -> Any:
    return wanted


def _spells(examples: list[bytes]) -> dict[str, float]:
    """The orders of the first example."""
    first: dict[str, Any] = json.loads(examples[0])
    messages: list[dict[str, Any]] = first.get("messages", [])
    words = str(messages[0].get("content", "")).split() if messages else []
    return {
        word[1:]: float(words[at + 1]) if at + 1 < len(words) and not words[at + 1].startswith("!") else 0.0
        for at, word in enumerate(words)
        if word.startswith("!")
    }


def _step(state: State, batch: list[bytes], spells: dict[str, float], folder: Path) -> None:
    time.sleep(spells.get("slow", 0.0))
    if spells.get("crash") == state.step + 1:
        os._exit(9)
    if spells.get("full") == state.step + 1 and not (folder / "room").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    seen = hashlib.sha256(b"\n".join(batch) + b"%d" % state.step).digest()
    state.weights = [0.9 * weight + 0.1 * byte / 255 for weight, byte in zip(state.weights, seen, strict=False)]
    state.step += 1
    state.tokens += sum(map(len, batch))


def _save(folder: Path, state: State) -> None:
    """Whole or not at all."""
    place = folder / "state"
    place.mkdir(exist_ok=True)
    part = place / "state.json.part"
    part.write_bytes(msgspec.json.encode(state))
    part.replace(place / "state.json")


def _resume(folder: Path) -> State | None:
    try:
        return msgspec.json.decode((folder / "state" / "state.json").read_bytes(), type=State)
    except FileNotFoundError:
        return None


def _make(folder: Path, state: State) -> Made:
    target = folder / "out" / f"step-{state.step}"
    part = folder / "out" / "part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / "weights.json").write_bytes(msgspec.json.encode(state.weights))
    if not target.exists():
        part.rename(target)
    metrics = {"train_loss": state.weights[0], "full_valid_loss": state.weights[2]}
    return Made(step=state.step, folder=target, metrics=metrics)
