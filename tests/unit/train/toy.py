"""A llama of some thousand weights, data for it, and a reporter that remembers."""

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mainspring.train.packing import Packer, Sample

VOCABULARY = 64


def model(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True,
        )
    ).float()  # fmt: skip


class Items:
    """Examples by number."""

    def __init__(self, items: list[list[Sample]]) -> None:
        self._items = items
        self.lengths = np.array([sum(len(part.ids) for part in item) for item in items], np.int64)

    def item(self, number: int) -> list[Sample]:
        return self._items[number]


def sample(rng: np.random.Generator, length: int, prompt: int = 2) -> Sample:
    weights = np.ones(length, np.float32)
    weights[:prompt] = 0
    return Sample(rng.integers(0, VOCABULARY, length).astype(np.int32), weights)


def examples(num: int, parts: int = 1, seed: int = 0) -> Items:
    rng = np.random.default_rng(seed)
    return Items([[sample(rng, int(rng.integers(4, 14))) for _ in range(parts)] for _ in range(num)])


def packer(source: Items, **more) -> Packer:
    return Packer(source, **{"length": 32, "rows": 2, "batch_size": 6, "seed": 1, **more})


class Remembers:
    """A reporter. `ask` says what is wanted before each step, by how often it was asked."""

    def __init__(self, ask=lambda times: "run") -> None:
        self.said, self.steps, self.delivered, self._ask, self._times = [], {}, [], ask, 0

    def say(self, message, *, level="info", data=None):
        self.said.append(message)

    def metrics(self, step, values):
        self.steps.setdefault(step, {}).update(values)

    def progress(self, progress):
        self.last = progress

    def made(self, made):
        self.delivered.append(made)

    def wanted(self):
        self._times += 1
        return self._ask(self._times)
