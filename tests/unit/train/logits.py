"""What PyTorch and llama.cpp say of the same tokens, and how far they are apart."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mainspring.core.config import EngineSettings
from mainspring.engine.llama import binding
from mainspring.engine.llama.measure import ROWS, Probe


class Apart(NamedTuple):
    """Mean KL divergence in nats a token (of llama.cpp from PyTorch), and the largest difference of two logits."""

    kl: float
    logit: float


def of_pytorch(model: Any, ids: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].double().numpy()


def of_llama(path: Path, ids: list[int]) -> np.ndarray:
    probe = Probe(path, EngineSettings(threads=2, flash_attention=False), binding.load())
    probe.clear()
    rows = [
        probe.decode(part, at, [0], len(part)).copy()
        for at in range(0, len(ids), ROWS)
        if (part := ids[at : at + ROWS])
    ]
    probe.close()
    return np.concatenate(rows).astype(np.float64)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def apart(torch_logits: np.ndarray, llama_logits: np.ndarray) -> Apart:
    first, second = log_softmax(torch_logits), log_softmax(llama_logits)
    kl = (np.exp(first) * (first - second)).sum(1).mean()
    return Apart(float(kl), float(np.abs(torch_logits - llama_logits).max()))
