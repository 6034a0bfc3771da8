"""What is told of training data before anything runs, and what "auto" chooses and why."""

import json

import msgspec
import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.train import auto
from mainspring.train.check import Report, check, recall
from mainspring.train.dataset import Dataset, tokenise
from mainspring.train.examples import ExampleFile
from mainspring.train.packing import Packer
from mainspring.train.plan import Hyperparameters
from mainspring.train.render import Renderer
from mainspring.train.similar import normalise, shared, sketch
from tests.unit.train.templates import FAMILIES, GreedyVocabulary

SHAPE = auto.Shape(135_000_000, 576, 30, 49_152, rank=16, positions_per_s=100.0)


@pytest.fixture
def renderer():
    return Renderer(GreedyVocabulary(FAMILIES["chatml"], []))


def chat(question, answer, **more):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]}


def write(tmp_path, examples, name="training"):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in examples))
    return path


def look(tmp_path, renderer, training, validation=None, method="supervised", **more):
    files = [
        ExampleFile(write(tmp_path, given, name), method, name=f"{name} file") if given is not None else None
        for given, name in ((training, "training"), (validation, "validation"))
    ]
    return check(*files, renderer, tmp_path / "tokens", **{"max_tokens": 512} | more)


TEN = [chat(f"question number {at}", f"the answer {at * at}") for at in range(10)]


def test_a_file_is_counted_as_the_model_reads_it(tmp_path, renderer):
    found = look(tmp_path, renderer, TEN, shape=SHAPE)
    one = found.report.training
    wanted = [renderer.samples(example)[0][0] for example in map(found.training.example, range(10))]
    sizes = [len(sample.ids) for sample in wanted]
    assert (one.examples, one.items, one.roles) == (10, 10, {"user": 10, "assistant": 10})
    assert (one.tokens, one.lengths.max, one.lengths.min) == (sum(sizes), max(sizes), min(sizes))
    assert one.trained_tokens == sum(int(sample.weights.sum()) for sample in wanted)
    assert (one.cut, one.left_out, one.duplicates) == (0, 0, 0)
    assert found.report.problems == []
    assert found.report.positions == 10 * 10 * 256, "ten epochs of ten steps of one row"
    assert found.report.time_s == pytest.approx(256)
    text = "\n".join(found.report.messages())
    assert "10 training examples" in text
    assert "n_epochs = 10 (auto): 10 examples are few" in text
    assert "about 4 minutes" in text
    assert msgspec.json.decode(msgspec.json.encode(found.report), type=Report) == found.report


def test_tokens_are_found_again(tmp_path, renderer):
    found = look(tmp_path, renderer, TEN, TEN[:2])
    again = recall(tmp_path / "tokens")
    assert again.report == found.report
    for one, other in ((found.training, again.training), (found.validation, again.validation)):
        assert len(one) == len(other)
        for number in range(len(one)):
            assert one.item(number)[0].ids.tolist() == other.item(number)[0].ids.tolist()
            assert one.line(number) == number + 1
    (tmp_path / "tokens" / "report.json").unlink()
    assert recall(tmp_path / "tokens") is None


def test_what_is_given_is_not_chosen(tmp_path, renderer):
    found = look(tmp_path, renderer, TEN, given=Hyperparameters(n_epochs=2, batch_size=5)).report
    assert found.steps == 4
    assert not found.hyperparameters["n_epochs"].is_auto
    assert "n_epochs" not in "\n".join(found.messages())


def test_what_a_person_should_look_at(tmp_path, renderer):
    training = [
        *TEN,
        TEN[3],
        chat("question  NUMBER 4", "the answer 16"),
        chat("what is cut", "x" * 400),
        chat("y" * 400, "lost"),
        chat("not learnt", "", weight=0),
    ]
    validation = [
        TEN[0],
        chat("question number 1", "something else altogether"),
        chat("a wholly different thing is asked here", "yes"),
    ]
    found = look(tmp_path, renderer, training, validation, max_tokens=200)
    one = found.report.training
    assert (one.examples, one.items, one.cut, one.left_out, one.duplicates) == (15, 13, 2, 1, 2)
    assert max(len(found.training.item(number)[0].ids) for number in range(13)) == 200
    leak = found.report.leak
    assert (leak.same, leak.same_question, leak.nearly) == (1, 1, 0)
    for text in ("longer than 200", "beyond the cut", "weight 0", "repeat an earlier", "in the training file too"):
        assert any(text in problem for problem in found.report.problems), text


def test_answers_that_are_nearly_all_one(tmp_path, renderer):
    found = look(tmp_path, renderer, [chat(f"q{at}", "no" if at else "yes") for at in range(20)]).report
    assert found.training.labels == {"no": 19, "yes": 1}
    assert "19 of 20 training examples are answered 'no'." in found.problems
    assert look(tmp_path, renderer, [chat("q", "x" * 80)] * 20).report.training.labels is None


def test_preferences_stay_together(tmp_path, renderer):
    line = {
        "input": {"messages": [{"role": "user", "content": "x"}]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "worse than that"}],
    }
    found = look(tmp_path, renderer, [line] * 12, method="dpo")
    first, second = found.training.item(0)
    assert found.training.lengths[0] == len(first.ids) + len(second.ids)
    batch = Packer(found.training, length=found.report.length, rows=2, batch_size=4).batch(0)
    assert batch.micro[0].parts.reshape(-1, 2, 4)[:, :, 1].tolist() == [[0, 1]] * 4


def test_reinforcement_keeps_what_graders_read(tmp_path, renderer):
    lines = [{"messages": [{"role": "user", "content": f"{at} + 1"}], "answer": at + 1} for at in range(10)]
    found = look(tmp_path, renderer, lines, method="reinforcement")
    assert len(found.training) == 10
    assert found.report.training.trained_tokens == 0
    assert found.training.example(7).item["answer"] == 8


def test_conversations_that_are_rewritten_are_more_items(tmp_path):
    two = chat("a", "b")["messages"] + chat("c", "d")["messages"]
    found = look(tmp_path, Renderer(GreedyVocabulary(FAMILIES["qwen-thinks"], [])), [{"messages": two}] * 10)
    assert (found.report.training.examples, found.report.training.items) == (10, 20)
    assert found.report.training.rewritten == 10
    assert found.training.line(19) == 10


def test_faults_of_templates_are_told_with_their_lines(tmp_path):
    bad = {"messages": [{"role": "system", "content": "s"}, *TEN[0]["messages"]]}
    with pytest.raises(InvalidRequest, match=r"line 3, messages: .*no system messages"):
        look(tmp_path, Renderer(GreedyVocabulary(FAMILIES["gemma"])), [*TEN[:2], bad, *TEN])


def test_a_file_that_teaches_nothing_is_refused(tmp_path, renderer):
    with pytest.raises(InvalidRequest, match="has weight 0"):
        look(tmp_path, renderer, [chat("x", "y", weight=0)] * 10)
    with pytest.raises(InvalidRequest, match="beyond the first 16 tokens"):
        look(tmp_path, renderer, TEN, max_tokens=16)
    with pytest.raises(InvalidRequest, match="validation file has 0"):
        look(tmp_path, renderer, TEN, [])


def test_a_folder_is_whole_or_not_there(tmp_path, renderer):
    folder = tmp_path / "one"
    with pytest.raises(InvalidRequest):
        tokenise(ExampleFile(write(tmp_path, [*TEN, {}]), "supervised"), renderer, folder)
    assert not folder.exists()
    tokenise(ExampleFile(write(tmp_path, TEN), "supervised"), renderer, folder)
    assert len(Dataset(folder)) == 10


def test_nearly_the_same():
    words = [f"word{at}" for at in range(100)]
    text = " ".join(words)
    changed = " ".join([*words[:50], "other", *words[51:]])
    half = " ".join([*words[:40], *(f"new{at}" for at in range(60))])
    found = shared(np.stack([sketch(text)]), np.stack([sketch(one) for one in (text, changed, half, "short", "")]))
    assert found.tolist() == [True, True, False, False, False]
    assert normalise("  \uff21b\n c\u00df ") == "ab css"


@pytest.mark.parametrize(
    ("examples", "epochs"), [(10, 10), (4, 25), (33, 3), (100, 3), (8_333, 3), (10_000, 2), (90_000, 1)]
)
def test_epochs(examples, epochs):
    assert auto.choose_epochs(examples)[0] == epochs


@pytest.mark.parametrize(
    ("examples", "epochs", "more", "size", "why"),
    [
        (10, 10, {}, 1, "fewer than 100 steps"),
        (100, 3, {}, 3, "fewer than 100 steps"),
        (1_000, 3, {}, 8, "small batches"),
        (1_000, 3, {"mean_tokens": 200, "positions": 512}, 2, "0.2 %"),
        (2_000, 3, {"mean_tokens": 200, "positions": 256}, 4, "0.2 %"),
        (10_000, 2, {}, 20, "0.2 %"),
        (1_000_000, 1, {}, 256, "0.2 %"),
        (1_000, 3, {"mean_tokens": 200, "positions": 256, "method": "reinforcement"}, 8, "small batches"),
    ],
)
def test_batch_sizes(examples, epochs, more, size, why):
    value, reason = auto.choose_batch_size(examples, epochs, **more)
    assert value == size
    assert why in reason


def test_learning_rates():
    small, large = auto.choose_learning_rate(576, "supervised")[0], auto.choose_learning_rate(4096, "supervised")[0]
    assert 2e-4 < large < 5e-4 < small < 1e-3
    assert auto.choose_learning_rate(576, "supervised", full=True)[0] == pytest.approx(small / 10)
    assert auto.choose_learning_rate(576, "dpo")[0] < small


def test_ranks():
    assert auto.choose_rank(1_000, 300_000)[0] == 16
    assert auto.choose_rank(15_000_000, 300_000)[0] == 32
    assert "more than any rank" in auto.choose_rank(10**12, 300_000)[1]


def test_estimates():
    one = auto.estimate(SHAPE, positions=10_000, micro_positions=1024)
    assert one.time_s == 100
    assert auto.estimate(SHAPE._replace(positions_per_s=None), positions=1, micro_positions=1).time_s is None
    assert auto.estimate(SHAPE._replace(rank=None), positions=1, micro_positions=1024)[1] > one.memory_bytes
    assert 1e9 < one.memory_bytes < 3e9
    assert auto.guess_rate(135_000_000, 185e9) == pytest.approx(171, rel=0.01)
