"""Scheduler, KV bookkeeping and loop together, on a backend that notices every mistake.

`ToyBackend` hashes the whole history of a slot, so the same request gives the same text whatever ran beside it and
whatever was forked, evicted, saved or preempted, or something is wrong.
"""

import itertools
import re
import string

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mainspring.core.clock import FakeClock
from mainspring.core.errors import ContextLengthExceeded, DeadlineExceeded, InvalidRequest
from mainspring.core.types import (
    Adapter,
    ChatPrompt,
    Finished,
    GenerateRequest,
    Message,
    Sampling,
    TextPrompt,
    Token,
    TokenPrompt,
)
from mainspring.engine.loop import Engine
from mainspring.engine.prepare import Preparer
from mainspring.engine.scheduler import SchedulerConfig
from mainspring.engine.toy import FIRST_BYTE, ToyBackend

GREEDY = Sampling(temperature=0)


class Bench:
    """An engine, and what came out of it."""

    def __init__(self, backend=None, *, hot_tokens=64, save_bytes=1200, **config):
        self.backend = backend or ToyBackend()
        self.clock = FakeClock()
        self.engine = Engine(
            self.backend,
            SchedulerConfig(**{"max_running": 4, "prefill_tokens": 32, "mixed_tokens": 16, "max_outputs": 8, **config}),
            self.clock.monotonic,
            hot_tokens=hot_tokens,
            save_bytes=save_bytes,
        )
        self.preparer = Preparer(self.backend)
        self.outputs: dict[str, list] = {}

    def add(self, name, prompt, **fields):
        fields = {"max_tokens": 8, "sampling": GREEDY, **fields}
        if isinstance(prompt, str):
            prompt = TextPrompt(prompt)
        request = GenerateRequest(id=name, model="toy", prompt=prompt, **fields)
        self.engine.add(self.preparer.prepare(request, self.clock.monotonic))
        self.outputs[name] = []

    def step(self):
        for name, event in self.engine.step():
            self.outputs[name].append(event)
        self.engine.check_integrity()

    def run(self):
        for _ in range(2000):
            if not self.engine.busy:
                return self
            self.step()
        raise AssertionError("the engine does not come to an end")

    def text(self, name, choice=0):
        return "".join(e.text for e in self.outputs[name] if isinstance(e, Token) and e.choice == choice)

    def finish(self, name, choice=0):
        (event,) = [e for e in self.outputs[name] if isinstance(e, Finished) and e.choice == choice]
        return event


def reference(prompt: str, max_tokens: int, adapter: str | None = None) -> str:
    """What the toy model says, computed without any engine."""
    backend = ToyBackend()

    def cell(token):
        return (token, adapter) if adapter else token

    tokens = [cell(token) for token in backend.tokenize(prompt.encode())]
    text = b""
    for _ in range(max_tokens):
        token = int(backend.logits(tokens).argmax())
        if backend.is_end(token):
            break
        tokens.append(cell(token))
        text += backend.piece(token)
    return text.decode()


def test_one_request_gives_the_models_text():
    bench = Bench()
    bench.add("a", "hello")
    bench.run()
    assert bench.text("a") == reference("hello", 8)
    assert bench.finish("a").usage.prompt == 5


def test_the_load_tells_how_long_the_first_in_the_queue_has_waited():
    bench = Bench(max_running=1)
    bench.add("running", "hello", max_tokens=4)
    bench.clock.advance(1)
    bench.step()
    assert bench.engine.load.queue_s == 0.0
    bench.add("flex", "low", tier="flex")
    bench.clock.advance(10)
    bench.add("first", "other")
    bench.clock.advance(2)
    bench.add("second", "third")
    bench.clock.advance(3)
    assert bench.engine.load.waiting == 3
    assert bench.engine.load.queue_s == 5.0, "a flex request is made to wait"
    while bench.engine.load.queue_s == 5.0:
        bench.step()
    assert bench.engine.load.queue_s == 3.0
    bench.run()
    assert bench.engine.load.queue_s == 0.0


def test_one_that_gave_way_does_not_count_as_queued():
    bench = Bench(max_running=1)
    bench.add("flex", "low", tier="flex", max_tokens=20)
    bench.step()
    bench.add("first", "other", max_tokens=20)
    bench.step()
    bench.clock.advance(9)
    load = bench.engine.load
    assert (load.running, load.waiting, load.queue_s) == (1, 1, 0.0)


def test_one_that_was_put_back_for_lack_of_cells_does_not_count_as_queued():
    bench = Bench(ToyBackend(num_cells=60), save_bytes=0)
    for name in "ab":
        bench.add(name, name * 20, max_tokens=30, sampling=Sampling(temperature=0, logit_bias={0: -100}))
    bench.step()
    bench.step()
    assert bench.engine.load.running == 2
    while bench.engine.load.running == 2:
        bench.step()
    assert bench.engine.load.waiting == 1, "the cells should not suffice for both"
    bench.clock.advance(9)
    assert bench.engine.load.queue_s == 0.0


def test_sharers_are_parked_while_one_computes_their_prefix():
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=16)
    prefix = "x" * 100
    for i in range(8):
        bench.add(str(i), prefix + str(i))
    bench.run()
    # One computes the prefix; each of the others computes its last token and its answer.
    answers = sum(bench.finish(str(i)).usage.completion for i in range(8))
    assert bench.backend.num_decoded <= 101 + 7 * 2 + answers
    assert [bench.text(str(i)) for i in range(8)] == [reference(prefix + str(i), 8) for i in range(8)]
    assert bench.finish("7").usage.cached == 100


def test_a_conversation_continues_from_its_last_turn():
    bench = Bench()
    bench.add("1", "a" * 40)
    bench.run()
    turn = "a" * 40 + bench.text("1") + "b" * 5
    before = bench.backend.num_decoded
    bench.add("2", turn, max_tokens=1)
    bench.run()
    assert bench.backend.num_decoded - before <= 7
    assert bench.finish("2").usage.cached >= 40


def test_what_left_the_cache_comes_back_from_memory():
    bench = Bench(ToyBackend(num_cells=400, context_length=200), hot_tokens=0, save_bytes=10_000)
    bench.add("1", "m" * 90, max_tokens=2)
    bench.run()
    bench.add("2", "n" * 90, max_tokens=2)
    bench.run()
    assert bench.backend.saved, "nothing was saved"
    (left,) = [slot for slot in bench.backend.slots.values() if slot]
    assert left[0] == bench.backend.tokenize(b"n")[0], "the first request's tokens are still in the cache"
    bench.add("3", "m" * 90 + "!", max_tokens=2)
    bench.run()
    assert bench.finish("3").usage.cached >= 90
    assert bench.text("3") == reference("m" * 90 + "!", 2)


def test_a_long_prompt_does_not_stall_those_who_decode():
    bench = Bench(ToyBackend(num_cells=1000, context_length=600))
    bench.add("short", "s", max_tokens=100, sampling=Sampling(temperature=0, logit_bias={0: -100}))
    bench.step()
    bench.step()
    bench.add("long", "l" * 400)
    while bench.engine.busy and not bench.outputs["long"]:
        before = len(bench.outputs["short"])
        bench.step()
        if bench.outputs["short"] and not isinstance(bench.outputs["short"][-1], Finished):
            assert len(bench.outputs["short"]) > before


def test_a_short_prompt_does_not_wait_behind_a_long_one():
    bench = Bench(ToyBackend(num_cells=1000, context_length=600))
    bench.add("long", "l" * 400, max_tokens=1)
    bench.step()
    bench.add("short", "s" * 10, max_tokens=1)
    for _ in range(3):
        bench.step()
    assert bench.outputs["short"]
    assert not bench.outputs["long"]


def test_tenants_share_places_whatever_their_numbers():
    bench = Bench(max_running=2)
    for i in range(6):
        bench.add(f"many{i}", f"{i}" * 4, tenant="many", max_tokens=4)
    bench.add("one", "zzz", tenant="one", max_tokens=4)
    done: list[str] = []
    while bench.engine.busy:
        bench.step()
        done += [n for n, o in bench.outputs.items() if o and isinstance(o[-1], Finished) and n not in done]
    assert done.index("one") <= 3  # two of the others were running when it came


def test_cancelling_frees_everything_within_a_step():
    bench = Bench()
    bench.add("a", "x" * 60, max_tokens=50)
    bench.step()
    bench.engine.cancel("a")
    assert not bench.engine.busy
    bench.engine.check_integrity()
    assert bench.engine.load.running == bench.engine.load.waiting == 0


def test_a_deadline_ends_a_request_wherever_it_is():
    bench = Bench(max_running=1)
    bench.add("runs", "x", max_tokens=60, deadline_s=10, sampling=Sampling(temperature=0, logit_bias={0: -100}))
    bench.add("waits", "y", deadline_s=10)
    bench.step()
    bench.clock.advance(11)
    bench.step()
    assert isinstance(bench.outputs["runs"][-1], DeadlineExceeded)
    assert isinstance(bench.outputs["waits"][-1], DeadlineExceeded)
    assert not bench.engine.busy


def test_preempted_sequences_lose_nothing():
    bench = Bench(ToyBackend(num_cells=64, context_length=60), hot_tokens=0, save_bytes=0)
    bias = Sampling(temperature=0, logit_bias={0: -100})
    for name in "abc":
        bench.add(name, name * 15, max_tokens=25, sampling=bias)
    bench.run()
    for name in "abc":
        alone = Bench()
        alone.add(name, name * 15, max_tokens=25, sampling=bias)
        alone.run()
        assert bench.text(name) == alone.text(name)
        assert bench.finish(name).usage.completion == 25


def test_choices_differ_and_repeat_with_their_seed():
    texts = []
    for _ in range(2):
        bench = Bench()
        bench.add("n", "hello", n=3, sampling=Sampling(temperature=2, seed=7))
        bench.run()
        texts.append([bench.text("n", choice) for choice in range(3)])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


def test_stop_strings_end_a_choice_and_are_not_part_of_it():
    whole = reference("stop here", 8)
    bench = Bench()
    bench.add("s", "stop here", stop=(whole[3:5],))
    bench.run()
    assert bench.text("s") == whole[: whole.find(whole[3:5])]
    assert bench.finish("s").reason == "stop"


def test_echo_shows_the_prompt_with_its_log_probabilities():
    bench = Bench()
    bench.add("e", "abcdefghijklmnopqrst", echo=True, max_tokens=2, sampling=Sampling(temperature=0, logprobs=2))
    bench.run()
    echoed = [e for e in bench.outputs["e"] if isinstance(e, Token) and e.echo]
    assert "".join(e.text for e in echoed) == "abcdefghijklmnopqrst"
    logprobs = [one for e in echoed for one in e.logprobs]
    assert logprobs[0].logprob is None
    assert all(one.logprob <= 0 and len(one.top) == 2 for one in logprobs[1:])
    row = bench.backend.logits(bench.backend.tokenize(b"abc"))
    expected = row[FIRST_BYTE + ord("d")] - (row.max() + np.log(np.exp(row - row.max()).sum()))
    assert logprobs[3].logprob == pytest.approx(expected, abs=1e-4)


def test_echo_alone_needs_no_answer():
    bench = Bench()
    bench.add("e", "abc", echo=True, max_tokens=0)
    bench.run()
    assert bench.text("e") == "abc"
    assert bench.finish("e").usage.completion == 0


@pytest.mark.parametrize("max_tokens", [None, 1, 120])
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(max_tokens):
    with pytest.raises(ContextLengthExceeded, match=r"128.*129"):
        Bench().add("x", "x" * 129 if max_tokens != 120 else "x" * 9, max_tokens=max_tokens)


def test_a_token_that_does_not_exist_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        Bench().add("x", TokenPrompt((5, 999)))
    assert caught.value.param == "prompt"
    with pytest.raises(InvalidRequest) as caught:
        Bench().add("x", "x", sampling=Sampling(logit_bias={999: 1.0}))
    assert caught.value.param == "logit_bias"


def test_names_of_control_tokens_in_messages_stay_text():
    bench = Bench()
    bench.preparer._prompts.template._names = re.compile("<mark>")
    request = GenerateRequest(id="c", model="toy", prompt=ChatPrompt((Message(role="user", content="a<mark>b"),)))
    (sequence,) = bench.preparer.prepare(request, bench.clock.monotonic)
    assert 1 not in sequence.tokens
    assert b"a<mark>b" in b"".join(map(bench.backend.piece, sequence.tokens))


def test_flex_gives_way_and_is_resumed():
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=2)
    bench.add("flex1", "a" * 30, tier="flex", max_tokens=30)
    bench.add("flex2", "b" * 30, tier="flex", max_tokens=30)
    for _ in range(6):
        bench.step()
    bench.add("now", "c" * 30, max_tokens=5)
    bench.step()
    running = {one.request.id for one in bench.engine._scheduler._running}
    assert running == {"flex1", "now"}  # who came last gave way
    bench.run()
    for name, letter, count in [("flex1", "a", 30), ("flex2", "b", 30), ("now", "c", 5)]:
        assert bench.text(name) == reference(letter * 30, count)


def test_a_batch_gives_way_to_everybody_at_once_and_is_resumed():
    """Whoever comes is running after one step, however many of a batch run and wait; flex goes before a batch too."""
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=2)
    for at in range(6):
        bench.add(f"batch{at}", string.ascii_lowercase[at] * 30, tier="batch", max_tokens=20)
    for _ in range(6):
        bench.step()
    assert running(bench) == ["batch0", "batch1"]
    bench.add("flex", "y" * 30, tier="flex", max_tokens=12)
    bench.step()
    assert set(running(bench)) == {"batch0", "flex"}
    bench.add("now", "z" * 30, max_tokens=5)
    bench.step()
    assert set(running(bench)) == {"now", "flex"}
    bench.add("next", "w" * 30, max_tokens=5)
    bench.step()
    assert set(running(bench)) == {"now", "next"}, "then flex gives way as well"
    assert bench.engine.load.queue_s == 0.0, "nobody minds that a batch waits"
    bench.run()
    for at in range(6):
        assert bench.text(f"batch{at}") == reference(string.ascii_lowercase[at] * 30, 20)
    for name, letter, count in [("flex", "y", 12), ("now", "z", 5), ("next", "w", 5)]:
        assert bench.text(name) == reference(letter * 30, count)


def test_a_default_request_gives_way_to_nobody():
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=1)
    bench.add("first", "a" * 30, max_tokens=20)
    bench.step()
    bench.add("urgent", "b" * 30, tier="priority")
    bench.add("later", "c" * 30)
    bench.step()
    assert [one.request.id for one in bench.engine._scheduler._running] == ["first"]
    while any(one.request.id == "first" for one in bench.engine._scheduler.sequences()):
        bench.step()
    bench.step()
    assert [one.request.id for one in bench.engine._scheduler._running] == ["urgent"]
    bench.run()


def test_the_queue_is_ordered_by_tier():
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=1)
    bench.add("running", "x" * 5, max_tokens=3)
    bench.step()
    for name, tier in [("b", "batch"), ("f", "flex"), ("d", "default"), ("p", "priority")]:
        bench.add(name, name * 10, tier=tier, max_tokens=2)
    order = []
    for _ in range(200):
        if not bench.engine.busy:
            break
        bench.step()
        order += [one.request.id for one in bench.engine._scheduler._running if one.request.id not in order]
    assert order == ["running", "p", "d", "f", "b"]


def running(bench):
    return [one.request.id for one in bench.engine._scheduler._running]


def test_questions_about_one_document_are_answered_together():
    bench = Bench(ToyBackend(num_cells=4000, context_length=300, num_slots=20), hot_tokens=0, max_running=8,
                  prefill_tokens=64, mixed_tokens=32)  # fmt: skip
    documents = {name: name * 200 for name in "abcdef"}
    for number in range(6):
        for name, text in documents.items():
            bench.add(
                f"{name}{number}",
                f"{text}{number}",
                max_tokens=6,
                sampling=Sampling(temperature=0, logit_bias={0: -100}),
            )
    most = 0
    while bench.engine.busy:
        bench.step()
        most = max(most, len({name[0] for name in running(bench)}))
    assert most <= 3, "documents in use at once: each costs every stream attention"
    assert bench.backend.num_decoded <= 6 * 200 + 36 * 8
    for name in documents:
        assert bench.finish(f"{name}3").usage.completion == 6


def test_nobody_is_overtaken_for_ever():
    bench = Bench(ToyBackend(num_cells=4000, context_length=300, num_slots=20), hot_tokens=500, max_running=1)
    bench.add("first", "x" * 100, max_tokens=1)
    bench.run()
    bench.add("running", "x" * 100 + "-", max_tokens=1)
    bench.step()
    bench.add("cold", "y" * 100, max_tokens=1)
    for at in range(40):
        bench.add(f"warm{at}", "x" * 100 + chr(65 + at), max_tokens=1)
    order: list[str] = []
    while bench.engine.busy:
        bench.step()
        order += [name for name, events in bench.outputs.items() if events and name not in order]
    assert order.index("cold") <= 20
    assert order.index("cold") > 10, "those that are cached do not go first"


def test_long_prompts_of_one_tenant_are_computed_one_after_the_other_and_another_tenants_beside_them():
    bench = Bench(ToyBackend(num_cells=4000, context_length=600, num_slots=20), max_running=8)
    for at in range(3):
        bench.add(f"mine{at}", chr(97 + at) * 400, tenant="mine", max_tokens=1)
    bench.add("other", "z" * 400, tenant="other", max_tokens=1)
    bench.add("short", "s" * 10, tenant="mine", max_tokens=1)
    bench.step()
    assert sorted(running(bench)) == ["mine0", "other"]
    assert bench.outputs["short"], "a short prompt need not wait for that"
    bench.run()


def adapter(name):
    return Adapter(name, f"/{name}.gguf")


def test_adapters_never_share_a_prefix():
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), hot_tokens=500, max_running=8)
    for round_ in "12":
        for name in ("a", "b"):
            bench.add(name + round_, "x" * 50, adapter=adapter(name))
        bench.add("none" + round_, "x" * 50)
        bench.run()
    for round_, cached in (("1", 0), ("2", 49)):
        for name in ("a", "b", "none"):
            said = bench.text(name + round_)
            assert said == reference("x" * 50, 8, None if name == "none" else name)
            assert bench.finish(name + round_).usage.cached == cached


def test_adapters_share_the_steps_fairly():
    endless = {"max_tokens": 60, "sampling": Sampling(temperature=0, logit_bias={0: -100})}
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=8)
    for at in range(5):
        bench.add(f"none{at}", f"{at}x", **endless)
    bench.add("a", "hello", adapter=adapter("a"), **endless)
    bench.add("b", "hello", adapter=adapter("b"), **endless)
    for _ in range(30):
        bench.step()
    said = {name: len(bench.text(name)) for name in bench.outputs}
    assert max(said.values()) - min(said.values()) <= 5  # one turn
    switches = sum(one != other for one, other in itertools.pairwise(bench.backend.used))
    assert switches <= 30 / 3
    bench.run()


def test_a_long_prompt_of_one_adapter_does_not_stall_another():
    bench = Bench(ToyBackend(num_cells=1000, context_length=600), prefill_tokens=200)
    bench.add("short", "s", max_tokens=100, sampling=Sampling(temperature=0, logit_bias={0: -100}))
    bench.step()
    bench.add("long", "l" * 400, adapter=adapter("a"), max_tokens=1)
    bench.step()
    before = len(bench.outputs["short"])
    for _ in range(16):
        bench.step()
    assert len(bench.outputs["short"]) - before >= 6
    assert not bench.outputs["long"]
    bench.run()


def test_an_adapter_that_came_back_does_not_overtake_one_that_waits():
    bench = Bench(ToyBackend(num_cells=1000, context_length=200), max_running=8)
    endless = {"max_tokens": 60, "sampling": Sampling(temperature=0, logit_bias={0: -100})}
    bench.add("none", "x", **endless)
    bench.add("patient", "x", adapter=adapter("a"), **endless)
    for at in range(12):  # somebody asks for short answers, each with another adapter
        bench.add(f"short{at}", "y", adapter=adapter(f"s{at}"), max_tokens=2)
        bench.step()
        bench.step()
    assert bench.text("patient")
    bench.run()


class EngineMachine(RuleBasedStateMachine):
    """Random arrivals, cancellations and steps in a cache that is always too small."""

    @initialize(cells=st.integers(64, 160), slots=st.integers(4, 7), hot=st.integers(0, 80), saved=st.integers(0, 900))
    def start(self, cells, slots, hot, saved):
        backend = ToyBackend(num_cells=cells, num_slots=slots, context_length=60)
        self.bench = Bench(backend, hot_tokens=hot, save_bytes=saved)
        self.asked: dict[str, tuple[str, int, int, str | None]] = {}
        self.cancelled: set[str] = set()

    @rule(
        stem=st.sampled_from(["", "a" * 20, "a" * 20 + "b" * 15, "a" * 36]),
        rest=st.text(string.ascii_lowercase[:3], min_size=1, max_size=6),
        max_tokens=st.integers(1, 14),
        n=st.integers(1, 2),
        tenant=st.sampled_from("pq"),
        tier=st.sampled_from(["priority", "default", "flex", "batch"]),
        guess=st.sampled_from([None, "right", "wrong in the middle", "wrong"]),
        name_of_adapter=st.sampled_from([None, None, "a", "b"]),
    )
    def arrive(self, stem, rest, max_tokens, n, tenant, tier, guess, name_of_adapter):
        name = str(len(self.asked))
        prediction = None
        if guess:
            right = reference(stem + rest, max_tokens, name_of_adapter)
            prediction = {"right": right, "wrong": "zzz"}.get(guess, right[:3] + "-" + right[4:])
        fields = {"n": n, "tenant": tenant, "tier": tier, "prediction": prediction}
        fields["adapter"] = adapter(name_of_adapter) if name_of_adapter else None
        self.bench.add(name, stem + rest, max_tokens=max_tokens, **fields)
        self.asked[name] = (stem + rest, max_tokens, n, name_of_adapter)

    @rule(pick=st.integers(0, 30))
    def cancel(self, pick):
        name = str(pick)
        self.bench.engine.cancel(name)
        self.cancelled.add(name)

    @rule(count=st.integers(1, 6))
    def steps(self, count):
        for _ in range(count):
            if self.bench.engine.busy:
                self.bench.step()

    @invariant()
    def holds(self):
        if hasattr(self, "bench"):
            self.bench.engine.check_integrity()

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        self.bench.run()
        for name, (prompt, max_tokens, n, with_adapter) in self.asked.items():
            if name not in self.cancelled:
                for choice in range(n):
                    assert self.bench.text(name, choice) == reference(prompt, max_tokens, with_adapter)
                    self.bench.finish(name, choice)


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
