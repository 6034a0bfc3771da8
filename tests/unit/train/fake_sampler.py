"""A sampler without an engine: the toy model itself, token by token."""

import numpy as np
import torch

from mainspring.core.types import TokenPrompt
from mainspring.train.model import Trainee, load_adapter
from mainspring.train.sampling import Answer, Answered
from tests.unit.train import toy

END = 0
"""The token that ends an answer."""


def sharp():
    """The toy with larger embeddings: with its own ones, all tokens stay about as likely whatever its layers do."""
    model = toy.model()
    with torch.no_grad():
        model.model.embed_tokens.weight *= 8
    return model


class ToySampler:
    """Answers with a copy of the toy model, whose adapter is the one in the folder that it was told to use. `off` is
    added to what it says of log probabilities, as an engine's rounding would be."""

    def __init__(self, off: float = 0.0, rank: int = 4) -> None:
        self._trainee = Trainee(sharp(), rank=rank, precision=torch.float32, length=1024)
        self._off = off
        self.calls = 0

    def use(self, folder) -> None:
        load_adapter(self._trainee, folder)

    def sample(self, asks):
        self.calls += 1
        return [Answered(prompt=list(ask.prompt.ids), answers=self._answers(ask)) for ask in asks]

    def _answers(self, ask):
        """All answers to a question together; what follows an end is cut off."""
        assert isinstance(ask.prompt, TokenPrompt)
        rngs = [np.random.default_rng((ask.seed, choice)) for choice in range(ask.n)]
        ids, logps = [[] for _ in rngs], [[] for _ in rngs]
        for _ in range(ask.max_tokens):
            with torch.no_grad():
                read = torch.tensor([[*ask.prompt.ids, *each] for each in ids])
                rows = self._trainee.model(input_ids=read).logits[:, -1].log_softmax(-1).double().numpy()
            for row, rng, mine, scores in zip(rows, rngs, ids, logps, strict=True):
                drawn = int(rng.choice(len(row), p=np.exp(row) / np.exp(row).sum()))
                mine.append(int(row.argmax()) if ask.temperature == 0 else drawn)
                scores.append(float(row[mine[-1]]) + self._off)
        return [self._answer(mine, scores) for mine, scores in zip(ids, logps, strict=True)]

    @staticmethod
    def _answer(ids, logps):
        num = ids.index(END) + 1 if END in ids else len(ids)
        return Answer(
            ids=ids[:num], logps=logps[:num], free=[True] * num, text=" ".join(map(str, ids[:num])),
            reason="stop" if END in ids else "length",
        )  # fmt: skip

    def close(self) -> None:
        pass
