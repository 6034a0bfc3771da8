"""Reinforcement: answers are sampled, graded, and made likelier the better they are than others to the same question.

    A = r - mean of r over the group's answers
    loss = -1/(answers * T) sum over answers and tokens of  w min(ratio A, clip(ratio, 1 - 0.2, 1 + 0.28) A) - beta KL

Group-relative policy optimisation (GRPO; Shao et al., "DeepSeekMath", 2024), without two of its terms: dividing by the
group's standard deviation gives the most weight to questions that are nearly always or nearly never answered, and
dividing by each answer's length makes long wrong answers cheap (Liu et al., "Understanding R1-Zero-Like Training",
2025). T is the most tokens an answer may have, a constant. Groups whose answers are all worth the same teach nothing
and are left out. The upper bound of the ratio is the wider one, so that what is unlikely can become likely (DAPO; Yu et
al., 2025).

    ratio = p / p_old           p_old: when the answers were sampled, as PyTorch computes it
    w = min(p_old / q, 2)       q: what the engine sampled from

The engine computes with quantised weights and activations, PyTorch with neither: the two distributions differ a
little, and w corrects for it without letting single tokens weigh more than twice (truncated importance sampling;
Ionides 2008; Yao et al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training", 2025).

    KL ~ exp(log p_base - log p) - (log p_base - log p) - 1        never negative (k3; Schulman, 2020)

What was sampled and graded for a step is written down before it is learnt: whoever goes on after an interruption learns
from the same answers, even where a grader would now give another grade.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Constraint, Prompt
from mainspring.graders.result import Graded
from mainspring.graders.run import sample_of
from mainspring.train.loop import Sums
from mainspring.train.model import Scored, Trainee
from mainspring.train.packing import Batch, MicroBatch, order
from mainspring.train.rows import ADVANTAGE, BASE, NOTES, OLD, SAMPLED, Given, Group, Rollouts, lay
from mainspring.train.sampling import Answer, Answered, Ask, Sampler

__all__ = [
    "Grade",
    "Played",
    "Question",
    "Questions",
    "Recipe",
    "Reinforcement",
    "advantages",
    "answer_logps",
    "kept",
    "surrogate",
]

CLIP_LOW, CLIP_HIGH = 0.2, 0.28
MAX_WEIGHT = 2.0
SERVED = 3
SAMPLES = "samples"
GLIMPSE = 64
"""Validation questions that are looked at between epochs."""
KEPT = 64
"""Steps whose answers stay on the disk: more than lie between two checkpoints."""
SPREAD = 1e-9
"""Rewards closer than this are the same."""


class Question(NamedTuple):
    """What is asked, and the example as graders see it."""

    prompt: Prompt
    item: Mapping[str, Any]


class Questions(Protocol):
    """Questions by number."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, number: int, /) -> Question:
        """One of them."""
        ...


Grade = Callable[[Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]], Sequence[Graded]]
"""What each answer is worth: `graders.reward.Rewards` is the real one."""


class Recipe(NamedTuple):
    """How it is learnt.

    Args:
        batch_size: questions of a step.
        group: answers to each.
        max_tokens: of an answer.
        beta: how strongly it is kept to the base.
        fresh_every: steps between two samplings; the steps between learn from what was sampled for all of them.
        length: tokens of a row.
        eval_samples: answers to each validation question; a single one is greedy.
    """

    batch_size: int
    group: int
    max_tokens: int
    beta: float = 0.0
    fresh_every: int = 1
    length: int = 512
    eval_samples: int = 1
    temperature: float = 1.0
    constraint: Constraint | None = None


class Played(msgspec.Struct, frozen=True):
    """A question of a step with its answers, what each is worth, and `rows.OLD` of their tokens if it is needed; `item`
    is its number in the file."""

    item: int
    asked: Answered
    rewards: list[float]
    failures: list[str]
    old: list[list[float]] | None = None


class _Round(msgspec.Struct, frozen=True):
    """What was sampled at once: of each step, its questions."""

    steps: list[list[Played]]


def kept(folder: Path) -> Iterator[tuple[int, list[Played]]]:
    """What was learnt from in the last steps of the job in `folder`: the step, counted from 0, and its questions."""
    for path in sorted((folder / SAMPLES).glob("step-*.msgpack")):
        found = msgspec.msgpack.decode(path.read_bytes(), type=_Round)
        yield from enumerate(found.steps, int(path.stem.removeprefix("step-")))


class Reinforcement:
    """See `loop.Method`.

    Args:
        valid: questions that are never learnt from; None has none.
        folder: where answers are kept.
        epochs: over the questions.
        base: what adapters say they belong to.
    """

    def __init__(  # noqa: PLR0917 - all of them are parts, and none has a default
        self, trainee: Trainee, questions: Questions, valid: Questions | None, recipe: Recipe, sampler: Sampler,
        grade: Grade, folder: Path, *, epochs: int, seed: int = 0, max_steps: int | None = None, base: str = "",
    ) -> None:  # fmt: skip
        self._trainee, self._questions, self._valid, self._recipe = trainee, questions, valid, recipe
        self._sampler, self._grade, self._seed, self._base = sampler, grade, seed, base
        self._samples, self._adapter = folder / SAMPLES, folder / "adapter"
        self._samples.mkdir(parents=True, exist_ok=True)
        self._per_epoch = -(-len(questions) // recipe.batch_size)
        whole = self._per_epoch * epochs
        self.steps = min(whole, max_steps or whole)
        ends = {min(self._per_epoch * (epoch + 1), self.steps) for epoch in range(epochs)}
        self.epoch_ends = tuple(sorted(ends))[-SERVED:]
        self._noted: dict[str, float] = {}

    # -- learning ------------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> Batch:
        """See `loop.Method`: what is sampled is a function of seed, step and weights."""
        played = self._round(step).steps[step % self._recipe.fresh_every]
        groups = [group for each in played if (group := _group(each)) is not None]
        self._noted = self._note(played, len(groups))
        micro = tuple(lay(groups, self._recipe.length))
        if self._recipe.beta:
            with torch.no_grad(), self._trainee.as_base():
                for each in micro:
                    each.notes[BASE] = self._trainee.score(each).logp_N.cpu().numpy()
        items = np.array([each.item for each in played], np.int64)
        return Batch(step, step // self._per_epoch, items, micro, float(len(played) * self._recipe.group))

    def loss(self, scored: Scored, micro: MicroBatch, batch: Batch) -> tuple[Tensor, Sums]:
        """See `loop.Method`."""
        assert isinstance(micro, Rollouts)
        notes = torch.from_numpy(micro.notes).to(scored.logp_N)  # pyright: ignore[reportUnknownMemberType]
        logp_N = scored.logp_N
        old_N = notes[OLD] if self._recipe.fresh_every > 1 else logp_N.detach()
        gain_N, clipped_N = surrogate(logp_N, old_N, notes[SAMPLED], notes[ADVANTAGE])
        loss, num = -gain_N.sum(), float(len(logp_N))
        answers = float(len(micro.parts))
        apart = float((old_N - notes[SAMPLED]).abs().sum())
        sums = {"train_mismatch": (apart, num), "train_clipped": (float(clipped_N.sum()), num)}
        if self._recipe.beta:
            kl = k3(logp_N, notes[BASE]).sum()
            loss = loss + self._recipe.beta * kl
            sums["train_kl"] = (float(kl.detach()), answers)
        loss = loss / (batch.weight * self._recipe.max_tokens)
        sums["train_loss"] = (float(loss.detach()), 1.0 / len(batch.micro))  # summed over them
        return loss, sums

    def notes(self) -> dict[str, float]:
        """See `loop.Notes`."""
        return self._noted

    # -- sampling ------------------------------------------------------------------------------------------------------

    def _round(self, step: int) -> _Round:
        every = self._recipe.fresh_every
        first = step - step % every
        kept = self._samples / f"step-{first:08}.msgpack"
        if kept.exists():
            return msgspec.msgpack.decode(kept.read_bytes(), type=_Round)
        steps = range(first, min(first + every, self.steps))
        asked = [self._items(each) for each in steps]
        flat = [(each, item) for each, items in zip(steps, asked, strict=True) for item in items]
        asks = [self._ask(self._questions[item], _seed(self._seed, each, item)) for each, item in flat]
        played = iter(self._play([item for _, item in flat], self._questions, asks))
        made = _Round([[next(played) for _ in items] for items in asked])
        if every > 1:
            made = self._with_old(made)
        part = kept.with_suffix(".part")
        part.write_bytes(msgspec.msgpack.encode(made))
        part.replace(kept)
        (self._samples / f"step-{first - KEPT * every:08}.msgpack").unlink(missing_ok=True)
        return made

    def _items(self, step: int) -> list[int]:
        epoch, at = divmod(step, self._per_epoch)
        num = len(self._questions)
        begin, end = (each * num // self._per_epoch for each in (at, at + 1))
        return list(map(int, order(num, self._seed, epoch)[begin:end]))

    def _ask(self, question: Question, seed: int) -> Ask:
        recipe = self._recipe
        return Ask(
            prompt=question.prompt, n=recipe.group, seed=seed, max_tokens=recipe.max_tokens,
            temperature=recipe.temperature, constraint=recipe.constraint,
        )  # fmt: skip

    def _play(self, items: Sequence[int], of: Questions, asks: Sequence[Ask]) -> list[Played]:
        """Answers of the model as it is now, and what they are worth."""
        self._trainee.save(self._adapter, self._base)
        self._sampler.use(self._adapter)
        found = self._sampler.sample(asks)
        pairs = [
            (of[item].item, sample_of(each.text, tools=each.calls, finish_reason=each.reason))
            for item, asked in zip(items, found, strict=True)
            for each in asked.answers
        ]
        graded = self._grade(pairs)
        if graded and all(each.failed for each in graded):
            raise InvalidRequest(
                f"The grader failed on all of {len(graded)} answers: {_why(graded[0])[:500]}", param="grader"
            )
        left = iter(graded)
        played: list[Played] = []
        for item, asked in zip(items, found, strict=True):
            grades = [next(left) for _ in asked.answers]
            rewards = [each.score if math.isfinite(each.score) else 0.0 for each in grades]
            played.append(Played(item, asked, rewards, [_why(each) for each in grades if each.failed]))
        return played

    def _with_old(self, made: _Round) -> _Round:
        flat = [each for step in made.steps for each in step]
        logps = iter(answer_logps(self._trainee, [each.asked for each in flat], self._recipe.length))
        return _Round([[msgspec.structs.replace(each, old=next(logps)) for each in step] for step in made.steps])

    def _note(self, played: Sequence[Played], num_groups: int) -> dict[str, float]:
        answers = [answer for each in played for answer in each.asked.answers]
        return {
            "train_reward": float(np.mean([value for each in played for value in each.rewards])),
            "train_groups_with_variance": num_groups / len(played),
            "train_answer_tokens": float(np.mean([len(answer.ids) for answer in answers])),
            "train_cut": float(np.mean([answer.reason == "length" for answer in answers])),
            "train_grader_failures": sum(len(each.failures) for each in played) / len(answers),
        }

    # -- looking -------------------------------------------------------------------------------------------------------

    def evaluate(self, *, whole: bool) -> dict[str, float]:
        """See `loop.Method`: what answers to the validation questions are worth, valid_reward between epochs and
        full_valid_reward of all."""
        if self._valid is None:
            return {}
        recipe, numbers = self._recipe, range(len(self._valid) if whole else min(GLIMPSE, len(self._valid)))
        single = recipe.eval_samples == 1
        asks = [
            msgspec.structs.replace(
                self._ask(self._valid[number], _seed(self._seed, -1, number)), n=recipe.eval_samples,
                temperature=0.0 if single else recipe.temperature,
            )
            for number in numbers
        ]  # fmt: skip
        played = self._play(list(numbers), self._valid, asks)
        kind = "full_valid" if whole else "valid"
        answers = [answer for each in played for answer in each.asked.answers]
        return {
            f"{kind}_reward": float(np.mean([value for each in played for value in each.rewards])),
            f"{kind}_answer_tokens": float(np.mean([len(answer.ids) for answer in answers])),
        }


def advantages(rewards: Sequence[float]) -> NDArray[np.float64] | None:
    """How much better each answer is than the group's mean; None if all are worth the same."""
    values = np.array(rewards, np.float64)
    return None if np.ptp(values) < SPREAD else values - values.mean()


def surrogate(logp_N: Tensor, old_N: Tensor, sampled_N: Tensor, advantage_N: Tensor) -> tuple[Tensor, Tensor]:
    """What each token gains, with its weight, and which are clipped: they have no gradient.

    Args:
        logp_N: now, with a gradient.
        old_N: when it was sampled.
        sampled_N: as the engine had it.
    """
    ratio_N = (logp_N - old_N).exp()
    free_N, bound_N = ratio_N * advantage_N, ratio_N.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * advantage_N
    weight_N = (old_N - sampled_N).exp().clamp(max=MAX_WEIGHT)
    return weight_N * torch.minimum(free_N, bound_N), bound_N < free_N


def k3(logp_N: Tensor, base_N: Tensor) -> Tensor:
    """Of each token that the policy sampled, what it says of the divergence of the policy from the base, in nats."""
    apart_N = base_N - logp_N
    return apart_N.exp() - apart_N - 1


def answer_logps(trainee: Trainee, asked: Sequence[Answered], length: int) -> list[list[list[float]]]:
    """The log probability of every token of every answer, as PyTorch computes it."""
    groups = [
        Group(
            each.prompt,
            [
                Given(answer.ids, [True] * len(answer.ids), np.zeros((NOTES, len(answer.ids)), np.float32))
                for answer in each.answers
            ],
        )
        for each in asked
    ]
    found: list[float] = []
    with torch.no_grad():
        for micro in lay(groups, length):
            found.extend(map(float, trainee.score(micro).logp_N.cpu().numpy()))
    left = iter(found)
    return [[[next(left) for _ in answer.ids] for answer in each.answers] for each in asked]


def _group(played: Played) -> Group | None:
    """What is learnt of a question."""
    worth = advantages(played.rewards)
    if worth is None:
        return None
    answers: list[Given] = []
    for place, answer in enumerate(played.asked.answers):
        if any(answer.free):
            old = played.old[place] if played.old else None
            answers.append(Given(answer.ids, answer.free, _notes(answer, worth[place], old)))
    return Group(played.asked.prompt, answers) if answers else None


def _notes(answer: Answer, advantage: float, old: list[float] | None) -> NDArray[np.float32]:
    notes = np.zeros((NOTES, len(answer.ids)), np.float32)
    notes[ADVANTAGE], notes[SAMPLED] = advantage, answer.logps
    if old is not None:
        notes[OLD] = old
    return notes


def _seed(seed: int, step: int, item: int) -> int:
    """Of a question's draws in a step (-1: of validation)."""
    key = (seed % 2**64, step + 1, item)
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _why(graded: Graded) -> str:
    failures = graded.failures or tuple(failure for part in graded.parts.values() for failure in part.failures)
    return f"{failures[0].kind}: {failures[0].detail}" if failures else ""
