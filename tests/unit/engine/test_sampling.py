"""The sampler draws from the distribution that it says it does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.types import Sampling
from mainspring.engine.sampling import Sampler, log_softmax, logprob_of

ROW = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05], np.float32))
N = 4000


def frequencies(params: Sampling, row=ROW, n=N) -> np.ndarray:
    sampler = Sampler(params, 0)
    return np.bincount([sampler.pick(row) for _ in range(n)], minlength=row.size) / n


def test_draws_follow_the_softmax():
    assert frequencies(Sampling(seed=1)) == pytest.approx([0.4, 0.3, 0.15, 0.1, 0.05], abs=0.03)


def test_temperature_sharpens():
    weights = np.exp(ROW / 0.5)
    assert frequencies(Sampling(seed=1, temperature=0.5)) == pytest.approx(weights / weights.sum(), abs=0.03)


def test_top_p_keeps_the_smallest_set_with_that_mass():
    found = frequencies(Sampling(seed=1, top_p=0.65))
    assert found[2:].sum() == 0
    assert found[:2] == pytest.approx([4 / 7, 3 / 7], abs=0.03)


@given(st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=700), st.floats(0.01, 0.999), st.integers(0, 99))
@settings(deadline=None)
def test_nucleus_never_leaves_its_set(logits, top_p, seed):
    row = np.array(logits, np.float32)
    order = np.argsort(-row, kind="stable")
    mass = np.cumsum(np.exp(log_softmax(row)[order].astype(np.float64)))
    allowed = row[order[: int(np.searchsorted(mass, top_p)) + 1]].min() if mass[-1] > top_p else row.min()
    assert row[Sampler(Sampling(top_p=top_p, seed=seed), 0).pick(row)] >= allowed - 1e-3


def test_greedy_takes_the_best_and_bias_and_mask_move_it():
    assert Sampler(Sampling(temperature=0), 0).pick(ROW) == 0
    assert Sampler(Sampling(temperature=0, logit_bias={0: -100.0}), 0).pick(ROW) == 1
    assert Sampler(Sampling(temperature=0), 0).pick(ROW, np.array([False, False, True, True, True])) == 2
    assert ROW[0] == np.log(np.float32(0.4)), "the caller's row was changed"


def test_penalties_follow_openai_s_formula():
    sampler = Sampler(Sampling(temperature=0, frequency_penalty=0.2, presence_penalty=0.1), 0)
    # 0 leads 1 by ln .4 - ln .3 = 0.288; the first use costs 0.3, each further one 0.2.
    assert [sampler.pick(ROW) for _ in range(5)] == [0, 1, 0, 0, 1]


def test_one_seed_repeats_and_choices_differ():
    row = np.zeros(1000, np.float32)
    draws = [[Sampler(Sampling(seed=5), choice).pick(row) for _ in range(1)] for choice in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert Sampler(Sampling(seed=-(2**63)), 0).pick(row) >= 0


def test_log_probabilities_are_the_model_s_own():
    found = logprob_of(ROW, 2, 3, lambda token: bytes([65 + token]))
    assert found.logprob == pytest.approx(np.log(0.15), abs=1e-5)
    assert [(top[0], top[1]) for top in found.top] == [(0, b"A"), (1, b"B"), (2, b"C")]
    assert logprob_of(ROW, 2, 0, lambda token: b"").top == ()
