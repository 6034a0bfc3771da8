"""Guessing ahead changes how fast a text comes, never what it says."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import EngineUnavailable
from mainspring.core.types import Constraint, GenerateRequest, Sampling, TextPrompt
from mainspring.engine.draft import Drafter
from mainspring.engine.speculation import UNMEASURED, Lookup, Pace
from mainspring.engine.toy import ToyBackend
from tests.unit.engine.test_engine import Bench


class Forgetful(ToyBackend):
    """Sees only the last two tokens, so it soon repeats itself: much to guess."""

    def __init__(self, sharp=10.0, **sizes):
        super().__init__(**sizes)
        self.sharp = sharp

    def logits(self, tokens):
        row = super().logits(tokens[-2:])
        row[0] = -10  # no end
        return row * (self.sharp / 10)


def bench(backend=None, *, speculate=True, **config):
    backend = backend or Forgetful(num_cells=1000, context_length=200)
    made = Bench(backend, **{"max_outputs": 64, **config})
    made.preparer._speculate = speculate
    if speculate:
        made.engine._scheduler.pace.threshold = lambda num_tokens: 0.3
    return made


def test_a_repetitive_text_is_the_same_and_takes_fewer_steps():
    steps = {}
    texts = {}
    for speculate in (False, True):
        one = bench(speculate=speculate)
        one.add("a", "hello", max_tokens=120)
        steps[speculate] = 0
        while one.engine.busy:
            one.step()
            steps[speculate] += 1
        texts[speculate] = one.text("a")
        assert one.finish("a").usage.completion == 120
    assert texts[True] == texts[False]
    assert steps[True] < steps[False] / 2


@given(
    prompts=st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=6),
    temperature=st.sampled_from([0.0, 0.7, 1.0]),
    penalty=st.sampled_from([0.0, 1.5]),
    threshold=st.sampled_from([0.01, 0.3, 0.9]),
    max_outputs=st.sampled_from([8, 64]),
    stop=st.sampled_from([(), ("ab",)]),
)
def test_drafts_never_change_what_is_said(prompts, temperature, penalty, threshold, max_outputs, stop):
    """With the same random numbers, sampled text is equal too: so its distribution is."""
    said = []
    for speculate in (False, True):
        backend = Forgetful(sharp=3.0, num_cells=600, context_length=100)
        one = bench(backend, speculate=speculate, max_outputs=max_outputs)
        one.engine._scheduler.pace.threshold = lambda num_tokens: threshold
        for at, prompt in enumerate(prompts):
            sampling = Sampling(temperature=temperature, seed=at, frequency_penalty=penalty)
            request = GenerateRequest(
                id=str(at), model="toy", prompt=TextPrompt(prompt), max_tokens=60, sampling=sampling, stop=stop
            )
            sequences = one.preparer.prepare(request, one.clock.monotonic)
            for sequence in sequences:
                sequence.lookup = Lookup(list(sequence.tokens)) if speculate else None
            one.engine.add(sequences)
            one.outputs[str(at)] = []
        one.run()
        said.append([(one.text(str(at)), one.finish(str(at)).reason) for at in range(len(prompts))])
    assert said[0] == said[1]


class Dice(ToyBackend):
    """Rolls the same die whatever came before."""

    chances = np.array([0.4, 0.3, 0.2, 0.1])

    def logits(self, tokens):
        row = np.full(self.num_tokens, -np.inf, np.float32)
        row[99:103] = np.log(self.chances)
        return row


def test_sampled_tokens_have_the_models_distribution():
    """Thousands of rolls, many of them guessed ahead: no face comes more often than its chance."""
    counts, steps = np.zeros(4), 0
    for seed in range(40):
        one = bench(Dice(num_cells=1000, context_length=200), max_running=1)
        one.engine._scheduler.pace.threshold = lambda num_tokens: 0.05
        one.add("a", "abcd", max_tokens=150, sampling=Sampling(seed=seed), prediction="abab" * 30)
        while one.engine.busy:
            one.step()
            steps += 1
        counts += [one.text("a").count(face) for face in "abcd"]
    expected = counts.sum() * Dice.chances
    assert counts.sum() == 40 * 150
    assert steps < 0.9 * 40 * 150
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001


def test_a_prediction_is_followed_and_counted():
    plain = bench(speculate=False)
    plain.add("a", "hello", max_tokens=60)
    text = plain.run().text("a")
    guided = bench(max_running=1)
    guided.preparer._speculate = False  # nothing but the prediction guesses
    wrong = text[:30] + "#" + text[31:60] + "tail"
    guided.add("a", "hello", max_tokens=60, prediction=wrong)
    before = guided.backend.num_decoded
    steps = 0
    while guided.engine.busy:
        guided.step()
        steps += 1
    usage = guided.finish("a").usage
    assert guided.text("a") == text
    assert usage.completion == 60
    assert usage.accepted >= 50
    assert usage.accepted + usage.rejected == len(wrong)
    assert steps < 30
    assert guided.backend.num_decoded - before < 120


def test_rejected_drafts_leave_the_cache():
    one = bench()
    one.add("a", "hello", max_tokens=40, prediction="nothing like the answer at all")
    one.run()
    (slot,) = [held for held in one.backend.slots.values() if held]
    sequence = one.backend.tokenize(b"hello" + one.text("a").encode())
    assert slot == sequence[: len(slot)]


def test_drafts_work_under_a_grammar_with_forced_tokens():
    properties = {"aaaa": {"type": "integer"}, "aaab": {"const": "abcabc"}}
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    constraint = Constraint("json_schema", json.dumps(schema))
    said = []
    for speculate in (False, True):
        one = bench(speculate=speculate)
        one.add(
            "a",
            "hello",
            max_tokens=80,
            constraint=constraint,
            prediction='{"aaaa":1,"aaab":"abcabc"}' if speculate else None,
        )
        one.run()
        said.append(one.text("a"))
    assert said[0] == said[1]


def test_sequences_with_a_seed_are_left_alone():
    one = bench()
    one.add("a", "abcabcabc", sampling=Sampling(temperature=0, seed=1))
    assert one.engine._open["a"][0].lookup is None
    one.add("b", "abcabcabc")
    assert one.engine._open["b"][0].lookup is not None
    one.run()


@given(st.lists(st.integers(0, 3), max_size=80), st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3)))
def test_a_lookup_takes_any_tokens(prompt, prediction, answer):
    lookup = Lookup(prompt, prediction)
    for token in answer:
        guess = lookup.guess(0.2, 8)
        assert len(guess) <= 8
        assert all(isinstance(one, int) for one in guess)
        lookup.push(token)
    assert 0 <= lookup.accepted <= len(answer)
    assert lookup.rejected >= 0


def test_long_runs_of_right_guesses_make_longer_drafts():
    text = list(range(100))
    lookup = Lookup([*text, 7, 8, 9])
    sizes = []
    for token in range(10, 40):
        sizes.append(len(lookup.guess(0.5, 32)))
        lookup.push(token)
    assert sizes[0] == 1
    assert sizes[5] > 4
    assert sizes[-1] == 30
    lookup.push(999)
    assert lookup.guess(0.5, 32) == []


def test_useless_guesses_stop_being_made():
    lookup = Lookup([])
    made = 0
    for at in range(300):
        made += bool(lookup.guess(0.45, 8))
        # 1 2 3 comes again and again, each time followed by something else
        lookup.push([1, 2, 3, 1000 + at][at % 4])
    before = made
    for at in range(300, 400):
        made += bool(lookup.guess(0.45, 8)) if at % 4 == 3 else 0
        lookup.push([1, 2, 3, 1000 + at][at % 4])
    assert made == before


def test_the_threshold_is_the_marginal_cost():
    pace = Pace()
    assert pace.threshold(1) == UNMEASURED
    for _ in range(50):
        for num in (1, 2, 4, 8, 16):
            pace.note(num, 0.006 + 0.004 * num)
    assert pace.threshold(1) == pytest.approx(0.4, abs=0.05)
    assert pace.threshold(8) == pytest.approx(0.84, abs=0.05)
    free = Pace()
    for num in (1, 2, 4, 8, 16):
        free.note(num, 0.01)
    assert free.threshold(1) == 0


class Noisy(Forgetful):
    """A draft model that is right most of the time."""

    def logits(self, tokens):
        row = super().logits(tokens)
        if sum(tokens) % 5 == 0:
            row[50] = 100
        return row


def test_a_draft_model_guesses_and_what_is_said_stays_the_same():
    steps, texts = {}, {}
    for drafts in (False, True):
        one = bench(Forgetful(num_cells=2000, context_length=200), speculate=True, max_running=3)
        small = Noisy(num_cells=300, num_slots=2, context_length=200)
        if drafts:
            one.engine._drafter = Drafter(small, one.backend, one.clock.monotonic)
        for name in "abcd":
            one.add(name, name * 3 + "hello", max_tokens=60)
            # No guesses from the text: only the draft model's.
            for sequence in one.engine._open[name]:
                sequence.lookup._find = lambda: None
                sequence.lookup._cursor = None
        steps[drafts] = 0
        while one.engine.busy:
            one.step()
            steps[drafts] += 1
        texts[drafts] = [one.text(name) for name in "abcd"]
        assert bool(small.num_decoded) == drafts
    assert texts[True] == texts[False]
    assert steps[True] < 0.8 * steps[False]


def test_a_bad_draft_model_is_hardly_asked():
    one = bench(Forgetful(num_cells=1000, context_length=200))
    small = Dice(num_cells=500, context_length=200)
    one.engine._drafter = Drafter(small, one.backend, one.clock.monotonic)
    one.add("a", "hello", max_tokens=150)
    for sequence in one.engine._open["a"]:
        sequence.lookup._find = lambda: None
        sequence.lookup._cursor = None
    one.run()
    assert small.num_decoded < 5 + 150 + 80


def test_a_draft_model_of_another_vocabulary_is_refused():
    class Other(ToyBackend):
        num_tokens = 300

        def piece(self, token):
            return b"?"

    with pytest.raises(EngineUnavailable, match="vocabulary"):
        Drafter(Other(), ToyBackend(), lambda: 0.0)
