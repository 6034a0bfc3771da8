"""A reward model on a toy: it learns what is preferred, and is the same after it was saved."""

import asyncio

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mainspring.core.errors import InvalidRequest  # noqa: E402
from mainspring.graders.definitions import validate  # noqa: E402
from mainspring.graders.reward import rewards  # noqa: E402
from mainspring.graders.run import sample_of  # noqa: E402
from mainspring.graders.seams import Seams  # noqa: E402
from mainspring.train.loop import Fit  # noqa: E402
from mainspring.train.methods import Comparisons  # noqa: E402
from mainspring.train.packing import Sample  # noqa: E402
from mainspring.train.reward import Judge, Rewarding, open_judge, scores_of  # noqa: E402
from tests.unit.train import toy  # noqa: E402

# PEFT 0.21 asks transformers 5.24 by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _sample(rng, low):
    """A question, and an answer of tokens that are low or high, with an end that says nothing."""
    answer = rng.integers(1, 30, 4) if low else rng.integers(34, 64, 4)
    ids = np.concatenate((rng.integers(1, 64, 3), answer, [0])).astype(np.int32)
    return Sample(ids, np.array([0, 0, 0, 1, 1, 1, 1, 1], np.float32))


def _pairs(num, seed):
    rng = np.random.default_rng(seed)
    return toy.Items([[_sample(rng, True), _sample(rng, False)] for _ in range(num)])


def _learn(folder, epochs=5):
    judge = Judge(toy.model(), rank=4, precision=torch.float32, length=32, seed=5)
    train, valid = toy.packer(_pairs(40, 0)), toy.packer(_pairs(12, 9), shuffle=False)
    method = Comparisons(judge, train, valid, epochs=epochs)
    told = toy.Remembers()
    Fit(1e-2, 3, "base@1").run(judge, method, folder, told)
    return judge, told


def test_learns_what_is_preferred_and_keeps_it(tmp_path):
    judge, told = _learn(tmp_path)
    assert told.steps[1]["train_loss"] == pytest.approx(np.log(2), abs=1e-6)  # the head begins at zero
    assert told.delivered[-1].metrics["full_valid_accuracy"] > 0.9

    rng = np.random.default_rng(77)
    samples = [_sample(rng, at % 2 == 0) for at in range(20)]
    found = scores_of(judge, samples)
    assert np.mean(found[0::2]) > np.mean(found[1::2]) + 1
    again = open_judge(toy.model(), told.delivered[-1].folder)
    np.testing.assert_allclose(scores_of(again, samples), found, rtol=1e-4, atol=1e-5)
    for each, value in zip(samples[:3], found, strict=False):  # packed as alone
        assert scores_of(judge, [each])[0] == pytest.approx(value, abs=1e-5)


def test_peft_reads_it(tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import LlamaForSequenceClassification

    judge, told = _learn(tmp_path, epochs=1)
    whole = toy.model()
    config = whole.config
    config.num_labels, config.pad_token_id = 1, None
    theirs = LlamaForSequenceClassification(config)
    theirs.model.load_state_dict(whole.model.state_dict())
    theirs = peft.PeftModel.from_pretrained(theirs, str(told.delivered[-1].folder)).eval()
    sample = _sample(np.random.default_rng(3), True)
    wanted = float(theirs(input_ids=torch.tensor(sample.ids[None].astype(np.int64))).logits.detach())
    assert scores_of(judge, [sample])[0] == pytest.approx(wanted, abs=1e-4)


class _Counts:
    """A reward model that is worth an answer's length, and remembers how many it was asked at once."""

    def __init__(self):
        self.asked = []

    def score(self, conversations):
        self.asked.append(len(conversations))
        assert all(messages[-1].content == "Say something." for messages, _ in conversations)
        return [float(len(answer)) for _, answer in conversations]


def _pairs_of(*answers):
    item = {"messages": [{"role": "user", "content": "Say something."}], "topic": "any"}
    return [(item, sample_of(answer)) for answer in answers]


def test_as_a_grader_it_sees_answers_together(tmp_path):
    rewarding, model = Rewarding(None), _Counts()
    rewarding._models["ft:judge"] = model
    grader = validate({"type": "reward_model", "name": "judge", "model": "ft:judge"})
    pairs = _pairs_of("a", "bb", "", "dddd")
    graded = asyncio.run(rewards(grader, pairs, Seams(reward=rewarding)))
    assert [each.score for each in graded] == [1.0, 2.0, 0.0, 4.0]
    assert model.asked == [4]

    both = validate({
        "type": "multi", "name": "both", "calculate_output": "length - 2 * good",
        "graders": {
            "length": {"type": "reward_model", "name": "length", "model": "ft:judge"},
            "good": {
                "type": "string_check", "name": "good", "input": "{{sample.output_text}}", "reference": "b",
                "operation": "like",
            },
        },
    })  # fmt: skip
    graded = asyncio.run(rewards(both, pairs, Seams(reward=rewarding)))
    assert [each.score for each in graded] == [1.0, 0.0, 0.0, 4.0]


def test_nobody_else_can_ask_it():
    grader = validate({"type": "reward_model", "name": "judge", "model": "ft:judge"})
    graded = asyncio.run(rewards(grader, _pairs_of("a"), Seams()))
    assert graded[0].failed
    assert graded[0].score == 0
    with pytest.raises(InvalidRequest) as error:
        validate({"type": "reward_model", "name": "judge", "model": ""})
    assert error.value.param == "grader.model"
