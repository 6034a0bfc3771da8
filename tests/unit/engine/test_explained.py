"""What an engine tells of its prompts and draws, over a backend whose next token is a hash of all before it."""

import time
from typing import Any

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.core.receipt import Computed, Prompted
from mainspring.core.types import Event, Finished, GenerateRequest, Sampling, TextPrompt, TokenPrompt
from mainspring.engine.loop import Engine
from mainspring.engine.positions import digest, packed, unpacked
from mainspring.engine.prepare import Preparer
from mainspring.engine.sampling import Sampler
from mainspring.engine.scheduler import SchedulerConfig
from mainspring.engine.toy import ToyBackend

IDS = (3, 1, 4, 1, 5)


def run(backend: ToyBackend, engine: Engine, **fields: Any) -> list[Event]:
    usual = {"id": "r", "model": "m", "prompt": TokenPrompt(IDS), "max_tokens": 12, "explains": True}
    request = GenerateRequest(**{**usual, **fields})
    engine.add(Preparer(backend).prepare(request, time.monotonic))
    events: list[Event] = []
    while engine.busy:
        for _, event in engine.step():
            assert not isinstance(event, Exception), event
            events.append(event)
        engine.check_integrity()
    return events


def made() -> tuple[ToyBackend, Engine]:
    backend = ToyBackend()
    return backend, Engine(backend, SchedulerConfig(), time.monotonic)


def of(events: list[Event], kind: type) -> Any:
    [found] = [event for event in events if isinstance(event, kind)]
    return found


def test_what_it_was_shown_comes_first_and_how_it_was_computed_before_the_end() -> None:
    backend, engine = made()
    events = run(backend, engine)
    assert isinstance(events[0], Prompted)
    assert isinstance(events[-2], Computed)
    assert isinstance(events[-1], Finished)
    assert (events[0].num_tokens, events[0].sha256, events[0].cached) == (5, digest(IDS), 0)
    assert len(unpacked(events[-2].ids)) == events[-1].usage.completion
    assert events[-2].together == 1
    again = run(backend, engine)
    assert of(again, Prompted).cached == of(again, Finished).usage.cached == 4
    assert not any(isinstance(event, Prompted | Computed) for event in run(backend, engine, explains=False))


def test_a_seed_that_was_drawn_is_told_and_draws_the_same_again() -> None:
    backend, engine = made()
    first = run(backend, engine, sampling=Sampling(temperature=2.0))
    seed = of(first, Prompted).seed
    assert 0 <= seed < 2**53
    again = run(backend, engine, sampling=Sampling(temperature=2.0, seed=seed))
    assert of(again, Prompted).seed == seed
    assert of(again, Computed).ids == of(first, Computed).ids


@pytest.mark.parametrize("penalty", [0.0, 1.5])
def test_an_answer_that_follows_another_says_where_something_else_was_drawn(penalty: float) -> None:
    backend, engine = made()
    sampling = Sampling(temperature=1.0, seed=7, frequency_penalty=penalty, presence_penalty=penalty)
    original = of(run(backend, engine, sampling=sampling), Computed)
    same = of(run(backend, engine, sampling=sampling, follows=original.ids), Computed)
    assert (same.ids, same.parted) == (original.ids, ())
    ids = list(unpacked(original.ids))
    ids[2] = (ids[2] + 1) % backend.num_tokens
    while backend.is_end(ids[2]):
        ids[2] = (ids[2] + 1) % backend.num_tokens
    other = of(run(backend, engine, sampling=sampling, follows=packed(ids)), Computed)
    assert other.ids == packed(ids)
    assert other.parted[0][0] == 2
    assert all(0 < far <= 1 for _, far in other.parted)
    shorter = of(run(backend, engine, sampling=sampling, follows=original.ids[:-8]), Computed)
    assert shorter.ids == original.ids[:-8]
    assert [at for at, _ in shorter.parted] == [len(unpacked(shorter.ids))]


def test_tokens_that_the_model_has_not_are_refused() -> None:
    backend, engine = made()
    with pytest.raises(InvalidRequest, match="no such tokens"):
        run(backend, engine, follows=packed([backend.num_tokens]))


def test_what_was_left_out_is_counted() -> None:
    backend, engine = made()
    events = run(backend, engine, prompt=TextPrompt("ab"), beside=("abc", ""))
    assert of(events, Prompted).beside == (len(backend.tokenize(b"abc")), 0)


def test_a_token_that_was_not_drawn_is_penalised_in_its_place() -> None:
    corrected, drawn = (Sampler(Sampling(temperature=0.0, presence_penalty=1.0), 0) for _ in range(2))
    import numpy as np

    row = np.array([2.0, 1.9, 1.8], np.float32)
    assert corrected.pick(row) == drawn.pick(row) == 0
    corrected.correct(0, 1)
    assert (corrected.pick(row), drawn.pick(row)) == (0, 1)


@pytest.mark.parametrize("fields", [{}, {"top_p": 0.7}, {"temperature": 0.5}, {"temperature": 0.0}])
def test_how_far_a_draw_was_from_a_token(fields: dict[str, float]) -> None:
    import numpy as np

    row = np.log(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    for seed in range(50):
        sampler = Sampler(Sampling(seed=seed, **fields), 0)
        drawn = sampler.pick(row)
        distances = [sampler.distance(token) for token in range(4)]
        assert distances[drawn] == pytest.approx(0, abs=1e-6)
        assert all(far > 1e-6 for token, far in enumerate(distances) if token != drawn)
        assert max(distances) <= 1.5
    if not fields:  # by the order of ids: a draw that fell on the first is 0.1 and what was left from the third
        found = next(s for s in (Sampler(Sampling(seed=seed), 0) for seed in range(99)) if s.pick(row) == 0)
        assert found.distance(2) == pytest.approx(found.distance(1) + 0.2, abs=1e-6)
