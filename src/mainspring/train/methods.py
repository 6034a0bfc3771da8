"""Ways of training that learn from examples: supervised, from preferences (DPO), and a model of preferences.

What a method adds to the loop is small: which batches, what the loss of a micro-batch is, and what to measure.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from mainspring.train.loop import Sums
from mainspring.train.model import Scored, Trainee
from mainspring.train.packing import Batch, MicroBatch, Packer

__all__ = ["Comparisons", "Preferences", "Supervised"]

CENTRED = 0.01
"""How strongly rewards are kept around 0, which preferences leave open (Eisenstein et al., 2023)."""
GLIMPSE = 16
"""Batches of validation data that are looked at between epochs."""
SERVED = 3
"""Epochs, the last ones, after which what there is can be served; OpenAI keeps as many."""


class _FromExamples:
    """What methods with a file of examples have in common.

    Args:
        valid: goes through its examples in their order; None has none.
        max_steps: end earlier than the epochs do.
    """

    def __init__(
        self, trainee: Trainee, train: Packer, valid: Packer | None, *, epochs: int, max_steps: int | None = None
    ) -> None:
        self._trainee, self._train, self._valid = trainee, train, valid
        whole = train.steps_per_epoch * epochs
        self.steps = min(whole, max_steps or whole)
        ends = {min(train.steps_per_epoch * (epoch + 1), self.steps) for epoch in range(epochs)}
        self.epoch_ends = tuple(sorted(ends))[-SERVED:]

    def batch(self, step: int) -> Batch:
        """See `loop.Method`."""
        return self._train.batch(step)

    def loss(self, scored: Scored, micro: MicroBatch, batch: Batch) -> tuple[Tensor, Sums]:
        """See `loop.Method`."""
        return self._loss(scored, micro, batch, self._train)

    def _loss(self, scored: Scored, micro: MicroBatch, batch: Batch, data: Packer) -> tuple[Tensor, Sums]:
        raise NotImplementedError

    def evaluate(self, *, whole: bool) -> dict[str, float]:
        """See `loop.Method`. The names are OpenAI's: valid_loss, and full_valid_loss of all of the data."""
        if self._valid is None:
            return {}
        sums: dict[str, tuple[float, float]] = {}
        steps = self._valid.steps_per_epoch
        for batch in self._valid.batches(0, steps if whole else min(steps, GLIMPSE)):
            for micro in batch.micro:
                found = self._loss(self._trainee.score(micro), micro, batch, self._valid)[1]
                for name, (value, weight) in found.items():
                    old = sums.get(name, (0.0, 0.0))
                    sums[name] = (old[0] + value, old[1] + weight)
        kind = "full_valid" if whole else "valid"
        return {name.replace("train", kind): value / max(weight, 1e-9) for name, (value, weight) in sums.items()}


class Supervised(_FromExamples):
    """Make the answers of the examples likelier: the mean cross-entropy of their tokens, each with its weight."""

    def _loss(self, scored: Scored, micro: MicroBatch, batch: Batch, data: Packer) -> tuple[Tensor, Sums]:  # noqa: ARG002 - others need them
        weighed = -(scored.logp_N * scored.weights_N).sum()
        total = float(scored.weights_N.sum())
        hits = float((scored.hit_N * scored.weights_N).sum())
        sums = {"train_loss": (float(weighed.detach()), total), "train_mean_token_accuracy": (hits, total)}
        return weighed / max(batch.weight, 1e-9), sums


class Preferences(_FromExamples):
    """Direct preference optimisation: make the preferred answer likelier than the other one, relative to the base.

        -log sigmoid(beta ((log p(chosen) - log p_base(chosen)) - (log p(rejected) - log p_base(rejected))))

    (Rafailov et al., 2023). What the base gives each answer never changes, so it is computed once, before the first
    step: a new adapter is zero, and the model that is to be trained still is the base.

    Args:
        beta: how strongly it is kept to the base.
        cache: a folder for what the base gives.
    """

    def __init__(
        self, trainee: Trainee, train: Packer, valid: Packer | None, *, epochs: int, beta: float, cache: Path,
        max_steps: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(trainee, train, valid, epochs=epochs, max_steps=max_steps)
        self._beta = beta
        self._base = {train: self._look(train, cache / "base_train.npy")}
        if valid is not None:
            self._base[valid] = self._look(valid, cache / "base_valid.npy")

    def _look(self, data: Packer, kept: Path) -> NDArray[np.float64]:
        """(pairs, 2) by number in the file: the log probability of the chosen and of the rejected answer."""
        if kept.exists():
            return np.load(kept)
        found = np.zeros((data.num_items, 2), np.float64)
        with torch.no_grad():
            for batch in data.batches(0, data.steps_per_epoch):
                for micro in batch.micro:
                    sums = _by_segment(self._trainee.score(micro), micro).double().cpu().numpy()
                    pairs, flat = _pairs(micro)
                    found[pairs] = sums[flat]
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npy")
        np.save(part, found)
        part.replace(kept)
        return found

    def _loss(self, scored: Scored, micro: MicroBatch, batch: Batch, data: Packer) -> tuple[Tensor, Sums]:
        pairs, flat = _pairs(micro)
        now_P2 = _by_segment(scored, micro)[torch.from_numpy(flat).to(scored.logp_N.device)]
        gain_P2 = now_P2 - torch.from_numpy(self._base[data][pairs]).to(now_P2)
        margin_P = self._beta * (gain_P2[:, 0] - gain_P2[:, 1])
        losses_P = -logsigmoid(margin_P)
        told, count = margin_P.detach(), float(len(pairs))
        sums = {
            "train_loss": (float(losses_P.detach().sum()), count),
            "train_accuracy": (float((told > 0).sum()), count),
            "train_margin": (float(told.sum()), count),
        }
        return losses_P.sum() / len(batch.items), sums


class Comparisons(_FromExamples):
    """A reward model: what people prefer gets the higher reward.

        -log sigmoid(r(chosen) - r(rejected)) + 0.01 (r(chosen) + r(rejected))^2

    (Bradley & Terry, 1952; Christiano et al., 2017.) The trainee is a `reward.Judge`, whose scores are of segments.
    """

    def _loss(self, scored: Scored, micro: MicroBatch, batch: Batch, data: Packer) -> tuple[Tensor, Sums]:  # noqa: ARG002 - others need it
        _, flat = _pairs(micro)
        rewards_P2 = _by_segment(scored, micro)[torch.from_numpy(flat).to(scored.logp_N.device)]  # pyright: ignore[reportUnknownMemberType]
        margin_P = rewards_P2[:, 0] - rewards_P2[:, 1]
        losses_P = -logsigmoid(margin_P) + CENTRED * rewards_P2.sum(dim=1).square()
        told, count = margin_P.detach(), float(len(flat))
        sums = {
            "train_loss": (float(losses_P.detach().sum()), count),
            "train_accuracy": (float((told > 0).sum()), count),
            "train_margin": (float(told.sum()), count),
        }
        return losses_P.sum() / len(batch.items), sums


def _pairs(micro: MicroBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each pair its number in the file, and where the sums of its chosen and rejected answer are: [pairs, 2]."""
    parts = micro.parts.reshape(-1, 2, 4).astype(np.int64)
    return parts[:, 0, 0], parts[:, :, 2] * (micro.ids.shape[1] + 1) + parts[:, :, 3]


def _by_segment(scored: Scored, micro: MicroBatch) -> Tensor:
    """The log probability of each segment's trained tokens, by `Scored.segment_N`."""
    rows, length = micro.ids.shape
    sums = torch.zeros(rows * (length + 1), device=scored.logp_N.device)
    return sums.index_add(0, scored.segment_N, scored.logp_N * scored.weights_N)
