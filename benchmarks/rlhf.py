"""The three steps of InstructGPT on a small model: demonstrations, a reward model, and a policy trained against it.

    scripts/bench rlhf [--scale 1.0] [--steps 48] [--beta 0.001] [--home DIR] [--seed 0] [--model FILE] [--json FILE]

Nobody is asked what they prefer: a program, the gold scorer, stands for people, as in "Scaling Laws for Reward Model
Overoptimization" (Gao et al., 2022). Demonstrations are the best of several answers of the base by it, preferences are
pairs of answers of which it prefers one, with noise. The reward model sees nothing but the preferences. Then the policy
is trained against the reward model, and at every step the same answers are scored by both: where the reward still rises
and the gold score no longer does, the policy has learnt the reward model's mistakes. Printed by divergence from the
policy that reinforcement began with. docs/RLHF.md explains it.
"""

import argparse
import asyncio
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._jobs import Workshop, chat
from benchmarks._main import main
from mainspring.core.types import ModelVersion
from mainspring.train.reinforcement import kept

ANSWER_TOKENS = 48
DEMONSTRATIONS, COMPARED, HELD_OUT = 120, 200, 40
"""Questions; each that is compared gives two pairs of answers."""
BEST_OF = 4
PER_STEP, GROUP_MULTIPLIER = 4, 1.0
NOISE = 0.5
"""Gold points at which a preference is the wrong one with 27 %: people agree on three of four pairs (Ouyang et al.)."""
ROWS = 12

THINGS = (
    "apple bicycle candle desert eagle forest guitar hammer island jacket kitchen lantern mountain notebook ocean "
    "piano quilt river saddle teapot umbrella violin window yacht zebra bridge castle donkey engine feather garden "
    "harbour igloo jungle kettle ladder market needle orchard pencil quarry rabbit sailor tunnel valley wagon "
    "anchor barrel camera dragon"
).split()
ASKS = (
    "Describe a {}.", "What is a {} good for?", "Tell me about a {}.", "Why do people like a {}?",
    "Explain to a child what a {} is.", "Write two sentences about a {}.", "How would you draw a {}?",
    "Where would you look for a {}?", "What should I know about a {}?", "Who needs a {}?",
)  # fmt: skip


def gold(thing: str, text: str) -> float:
    """What an answer is worth, about -3 to 5: it speaks of what was asked, in whole sentences, does not repeat itself,
    says about 25 words and uses words of some variety. It cannot be told from a few words alone, so a reward model
    gets it nearly right and no more."""
    words = re.findall(r"[a-z']+", text.lower())
    if not words:
        return -3.0
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
    ended = sum(part[-1] in ".!?" for part in sentences) / len(sentences)
    variety = len(set(words)) / len(words)
    mentions = words.count(thing)
    long = np.mean([len(word) for word in words])
    return float(
        min(mentions, 2)  # the third mention is worth nothing,
        - 0.7 * max(0, mentions - 3)  # more are tiresome
        + 1.5 * ended
        + 2.0 * (variety - 0.6)
        - abs(math.log(len(words) / 25))
        - 0.4 * abs(long - 4.7)
        - 0.5 * sum(mark in text for mark in "*#:\n")
    )


def questions(seed: int) -> list[tuple[str, str]]:
    """Every thing with every way to ask, in some order: (thing, question)."""
    every = [(thing, ask.format(thing)) for thing in THINGS for ask in ASKS]
    np.random.default_rng(seed).shuffle(every)
    return [(str(thing), str(ask)) for thing, ask in every]


def demonstrations(workshop: Workshop, asked: Sequence[tuple[str, str]], seed: int) -> list[Mapping[str, Any]]:
    """Step 1: of several answers of the base, the best."""
    found = workshop.answer(
        workshop.base, [chat(ask) for _, ask in asked], n=BEST_OF, temperature=1.0, max_tokens=ANSWER_TOKENS, seed=seed
    )
    lines: list[Mapping[str, Any]] = []
    for (thing, ask), each in zip(asked, found, strict=True):
        best = max((answer.text.strip() for answer in each.answers), key=lambda text: gold(thing, text))
        if best:
            lines.append({"messages": chat(ask, best)})
    return lines


def preferences(
    workshop: Workshop, policy: ModelVersion, asked: Sequence[tuple[str, str]], seed: int
) -> list[Mapping[str, Any]]:
    """Step 2: pairs of answers of the policy, and which of the two the gold scorer prefers, with noise."""
    found = workshop.answer(
        policy, [chat(ask) for _, ask in asked], n=4, temperature=1.0, max_tokens=ANSWER_TOKENS, seed=seed + 1
    )
    rng = np.random.default_rng(seed)
    lines: list[Mapping[str, Any]] = []
    pairs = [
        (thing, ask, each.answers[at].text.strip(), each.answers[at + 1].text.strip())
        for (thing, ask), each in zip(asked, found, strict=True)
        for at in (0, 2)
    ]
    for thing, ask, one, other in pairs:
        if one and other and one != other:
            better = gold(thing, one) - gold(thing, other) + rng.logistic(0, NOISE) > 0
            chosen, rejected = (one, other) if better else (other, one)
            lines.append({
                "input": {"messages": chat(ask)},
                "preferred_output": [{"role": "assistant", "content": chosen}],
                "non_preferred_output": [{"role": "assistant", "content": rejected}],
            })  # fmt: skip
    return lines


def held_out(workshop: Workshop, policy: ModelVersion, asked: Sequence[tuple[str, str]], seed: int) -> float:
    """The mean gold score of a policy's answers to questions that nothing was trained on."""
    found = workshop.answer(
        policy, [chat(ask) for _, ask in asked], temperature=1.0, max_tokens=ANSWER_TOKENS, seed=seed + 2
    )
    return float(np.mean([gold(thing, each.answers[0].text) for (thing, _), each in zip(asked, found, strict=True)]))


def curve(job: Path, asked: Sequence[tuple[str, str]], steps: Mapping[int, Mapping[str, float]]) -> list[list[float]]:
    """Of every step: its number, KL in nats an answer, reward, gold score, tokens of an answer."""
    rows: list[list[float]] = []
    for step, played in kept(job):
        scores = [gold(asked[each.item][0], answer.text) for each in played for answer in each.asked.answers]
        rewards = [value for each in played for value in each.rewards]
        sizes = [len(answer.ids) for each in played for answer in each.asked.answers]
        kl = steps.get(step + 1, {}).get("train_kl", float("nan"))
        rows.append([step + 1, kl, *(float(np.mean(each)) for each in (rewards, scores, sizes))])
    return rows


def show(rows: Sequence[Sequence[float]]) -> None:
    """The curve in a dozen lines; stars mark gold scores."""
    size = max(1, -(-len(rows) // ROWS))
    parts = [np.nanmean(rows[at : at + size], axis=0) for at in range(0, len(rows), size)]
    golds = [part[3] for part in parts]
    low, high = min(golds), max(golds)
    print(f"\n{'steps':>10}{'KL':>8}{'reward':>9}{'gold':>8}{'tokens':>8}")
    for at, part in enumerate(parts):
        first, last = at * size + 1, min(len(rows), (at + 1) * size)
        stars = "*" * (1 + round(30 * (part[3] - low) / max(1e-9, high - low)))
        print(f"{first:>6}-{last:<3}{part[1]:>8.2f}{part[2]:>9.2f}{part[3]:>8.2f}{part[4]:>8.1f}  {stars}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """See `run`."""
    seed, scale = options.seed, options.scale
    sizes = [max(12, round(num * scale)) for num in (DEMONSTRATIONS, COMPARED, HELD_OUT)]
    with tempfile.TemporaryDirectory(prefix="mainspring-rlhf-") as scratch:
        workshop = Workshop(Path(options.home or scratch), options.model)
        every = questions(seed)
        tested, shown, compared, left = every[: sizes[2]], *_cut(every[sizes[2] :], sizes[:2])
        asked = [left[at % len(left)] for at in range(PER_STEP * options.steps)]
        base = held_out(workshop, workshop.base, tested, seed)
        print(f"1. Demonstrations: {len(shown)}; the base's gold score is {base:.2f}", flush=True)
        sft, _, sft_s = workshop.train(
            "sft", workshop.base, "supervised", demonstrations(workshop, shown, seed),
            hyperparameters={"n_epochs": 2}, seed=seed,
        )  # fmt: skip
        began = held_out(workshop, sft, tested, seed)
        print(f"2. Preferences: {len(compared)}; the demonstrations' gold score is {began:.2f}", flush=True)
        pairs = preferences(workshop, sft, compared, seed)
        num = max(1, len(pairs) // 8)
        reward, judged, reward_s = workshop.train(
            "reward", sft, "reward", pairs[num:], valid=pairs[:num], hyperparameters={"n_epochs": 2}, seed=seed
        )
        accuracy = judged[max(judged)]["full_valid_accuracy"]
        print(f"3. Reinforcement: the reward model agrees with {accuracy:.0%} of held-out preferences", flush=True)
        policy, steps, policy_s = workshop.train(
            "policy", sft, "reinforcement", [{"messages": chat(ask), "thing": thing} for thing, ask in asked],
            hyperparameters={
                "n_epochs": 1, "batch_size": PER_STEP, "beta": options.beta, "learning_rate_multiplier": 4.0,
                "compute_multiplier": GROUP_MULTIPLIER,
            },
            grader={"type": "reward_model", "name": "reward", "model": reward.id},
            max_answer_tokens=ANSWER_TOKENS, seed=seed,
        )  # fmt: skip
        ended = held_out(workshop, policy, tested, seed)
        rows = curve(workshop.home / "jobs" / "policy", asked, steps)
    show(rows)
    best = max(range(len(rows)), key=lambda at: np.mean([row[3] for row in rows[max(0, at - 2) : at + 3]]))
    print(
        f"\ngold score of held-out answers: base {base:.2f}, demonstrations {began:.2f}, policy {ended:.2f}; in "
        f"training it was best about step {best + 1} of {len(rows)}, at a KL of {rows[best][1]:.1f}"
    )
    return {
        "base": base, "demonstrations": began, "policy": ended, "reward_accuracy": accuracy, "curve": rows,
        "minutes": [each / 60 for each in (sft_s, reward_s, policy_s)],
    }  # fmt: skip


def _cut(items: list[tuple[str, str]], sizes: Sequence[int]) -> list[list[tuple[str, str]]]:
    """Parts of these sizes, and the rest."""
    parts: list[list[tuple[str, str]]] = []
    for size in sizes:
        parts.append(items[:size])
        items = items[size:] or items
    return [*parts, items]


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All three steps. Training has event loops of its own, so it is in another thread."""
    return await asyncio.to_thread(measure, options)


if __name__ == "__main__":
    main("rlhf", __doc__ or "", run, scale=1.0, steps=48, beta=0.001, home="", seed=0)
