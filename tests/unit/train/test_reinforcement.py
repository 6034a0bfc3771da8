"""Reinforcement on a toy: it learns what is rewarded, goes on to the bit, and computes what the paper says."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mainspring.core.errors import InvalidRequest  # noqa: E402
from mainspring.core.types import TokenPrompt  # noqa: E402
from mainspring.graders.result import Failure, Graded  # noqa: E402
from mainspring.train.loop import Fit  # noqa: E402
from mainspring.train.model import Trainee  # noqa: E402
from mainspring.train.packing import NO_LABEL  # noqa: E402
from mainspring.train.reinforcement import (  # noqa: E402
    MAX_WEIGHT,
    Question,
    Recipe,
    Reinforcement,
    advantages,
    answer_logps,
    k3,
    surrogate,
)
from mainspring.train.rows import ADVANTAGE, NOTES, Given, Group, lay  # noqa: E402
from mainspring.train.sampling import Answer, Answered  # noqa: E402
from tests.unit.train import toy  # noqa: E402
from tests.unit.train.fake_sampler import ToySampler, sharp  # noqa: E402
from tests.unit.train.test_loop import Killed, _equal  # noqa: E402

LOW = 32
"""Tokens below it are what is wanted."""


@pytest.fixture(autouse=True)
def _one_thread():
    """A toy is slower on several threads, much slower on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def questions(num, seed=0):
    rng = np.random.default_rng(seed)
    return [Question(TokenPrompt(tuple(map(int, rng.integers(1, 64, 3)))), {"number": at}) for at in range(num)]


def share_of_low(pairs):
    """The share of an answer's tokens that are low."""
    found = []
    for _, sample in pairs:
        ids = list(map(int, sample["output_text"].split()))
        found.append(Graded(name="low", type="python", score=sum(token < LOW for token in ids) / len(ids)))
    return found


def start(folder, grade=share_of_low, sampler=None, num=12, **more):
    epochs = more.pop("epochs", 3)
    recipe = Recipe(**{"batch_size": 4, "group": 6, "max_tokens": 4, "length": 64, **more})
    trainee = Trainee(sharp(), rank=4, precision=torch.float32, length=64, seed=5)
    sampler = sampler or ToySampler()
    method = Reinforcement(
        trainee, questions(num), questions(5, seed=9), recipe, sampler, grade, folder, epochs=epochs, seed=3, base="b"
    )
    return trainee, method


def run(folder, ask=lambda times: "run", checkpoint_s=0.0, rate=3e-2, **more):
    trainee, method = start(folder, **more)
    reporter = toy.Remembers(ask)
    outcome = Fit(rate, 2, "base@1", checkpoint_s).run(trainee, method, folder, reporter)
    return outcome, trainee.state(), reporter


@pytest.mark.parametrize("every", [1, 2])
def test_learns_what_is_rewarded(tmp_path, every):
    outcome, _, told = run(tmp_path, epochs=8, fresh_every=every, batch_size=6, group=8)
    assert (outcome.end, outcome.steps) == ("done", 16)
    first, last = told.steps[1]["train_reward"], told.steps[16]["train_reward"]
    assert last > first + 0.25
    assert told.delivered[-1].metrics["full_valid_reward"] > 0.75
    assert {"valid_reward", "train_groups_with_variance", "train_answer_tokens"} <= told.steps[2].keys()
    assert (told.delivered[-1].folder / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("more", [{}, {"fresh_every": 3, "beta": 0.1}])
def test_killed_and_paused_anywhere_it_ends_in_the_same_bits(tmp_path, more):
    whole, weights, told = run(tmp_path / "whole", **more)
    folder = tmp_path / "broken"

    def killed_at(when):
        def ask(times):
            if times == when:
                raise Killed
            return "run"

        return ask

    pause = lambda times: "pause" if times == 3 else "run"  # noqa: E731
    for ask, checkpoint_s in ((killed_at(2), 1e9), (pause, 1e9), (killed_at(3), 0.0), (killed_at(2), 0.0)):
        try:
            outcome, _, _ = run(folder, ask, checkpoint_s, **more)
        except Killed:
            # What was sampled may be lost too, with what was not written to the disk.
            if checkpoint_s:
                for path in (folder / "samples").iterdir():
                    path.unlink()
            continue
        assert outcome.end == "pause"
    outcome, state, again = run(folder, **more)
    assert outcome == whole
    assert _equal(state, weights)
    assert again.delivered[-1].metrics == told.delivered[-1].metrics
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_what_was_graded_counts_after_a_resumption_even_if_the_grader_would_say_otherwise(tmp_path):
    def killed(times):
        if times == 3:
            raise Killed
        return "run"

    whole = run(tmp_path / "whole")[1]
    with pytest.raises(Killed):
        run(tmp_path / "broken", killed, 1e9)
    seen = []

    def later(pairs):
        seen.append(len(pairs))
        return share_of_low(pairs)

    state = run(tmp_path / "broken", grade=later)[1]
    assert _equal(state, whole)
    assert seen.count(24) == 7  # of nine steps, the first two were sampled and graded before


def test_groups_without_variance_teach_nothing(tmp_path):
    def same(pairs):
        return [Graded(name="same", type="python", score=0.5) for _ in pairs]

    _, state, told = run(tmp_path, grade=same)
    assert all(not value.any() for name, value in state.items() if name.endswith(".b"))
    assert told.steps[1]["train_groups_with_variance"] == 0
    assert told.steps[1]["train_reward"] == 0.5
    assert advantages([0.1, 0.1]) is None
    np.testing.assert_allclose(advantages([1, 0, 0, 0]), [0.75, -0.25, -0.25, -0.25])


def test_a_grader_that_fails_on_everything_ends_the_job(tmp_path):
    def broken(pairs):
        failure = Failure("python_grader_runtime_error", "NameError: x")
        return [Graded(name="broken", type="python", score=0.0, failures=(failure,)) for _ in pairs]

    with pytest.raises(InvalidRequest, match="NameError: x"):
        run(tmp_path, grade=broken)


def test_an_answer_whose_grader_fails_or_overflows_is_worth_nothing(tmp_path):
    def some(pairs):
        found = share_of_low(pairs)
        found[0] = Graded(name="low", type="python", score=0.0, failures=(Failure("other_error", "no"),))
        found[1] = Graded(name="low", type="python", score=float("inf"))
        return found

    _, state, told = run(tmp_path, grade=some)
    assert told.steps[1]["train_grader_failures"] == pytest.approx(1 / 24)
    assert all(torch.isfinite(value).all() for value in state.values())


def naive(logp, old, sampled, advantage):
    """PPO's objective with a wider upper bound, token by token, in the order of the definitions."""
    total = 0.0
    for now, before, engine, worth in zip(logp, old, sampled, advantage, strict=True):
        ratio = np.exp(now - before)
        clipped = min(max(ratio, 0.8), 1.28)
        total += min(np.exp(before - engine), MAX_WEIGHT) * min(ratio * worth, clipped * worth)
    return total


def test_the_surrogate_is_the_clipped_one_with_truncated_weights():
    rng = np.random.default_rng(0)
    logp, old, sampled = (rng.normal(-2, 0.5, 200) for _ in range(3))
    advantage = rng.normal(0, 1, 200)
    now = torch.tensor(logp, requires_grad=True)
    gain, clipped = surrogate(now, *map(torch.tensor, (old, sampled, advantage)))
    assert float(gain.sum().detach()) == pytest.approx(naive(logp, old, sampled, advantage))
    gain.sum().backward()
    ratio = np.exp(logp - old)
    beyond = ((ratio > 1.28) & (advantage > 0)) | ((ratio < 0.8) & (advantage < 0))
    assert beyond.any()
    np.testing.assert_array_equal(clipped.numpy(), beyond)
    np.testing.assert_array_equal(now.grad.numpy() == 0, beyond)
    for at in (0, 50, 150):  # the gradient against differences
        up, down = logp.copy(), logp.copy()
        up[at] += 1e-6
        down[at] -= 1e-6
        slope = (naive(up, old, sampled, advantage) - naive(down, old, sampled, advantage)) / 2e-6
        assert float(now.grad[at]) == pytest.approx(slope, abs=1e-4)


def test_the_estimate_of_the_divergence_is_right_on_average_and_never_negative():
    rng = np.random.default_rng(1)
    p, q = (torch.tensor(rng.normal(0, 0.5, 10)).log_softmax(0) for _ in range(2))
    exact = float((p.exp() * (p - q)).sum())
    estimate = k3(p, q)
    assert (estimate >= 0).all()
    assert float((p.exp() * estimate).sum()) == pytest.approx(exact)


def test_the_larger_beta_is_the_nearer_it_stays_to_the_base(tmp_path):
    def divergence(beta):
        told = run(tmp_path / str(beta), beta=beta, epochs=8, rate=5e-3)[2]
        return [values["train_kl"] for values in told.steps.values() if "train_kl" in values]

    free, kept = divergence(1e-6), divergence(1.0)
    assert free[0] == kept[0] == 0  # the policy still is the base
    assert max(kept) < free[-1] / 3


def test_the_engines_rounding_is_corrected_up_to_a_bound(tmp_path):
    told = run(tmp_path / "exact", epochs=1, batch_size=12)[2]
    off = run(tmp_path / "off", sampler=ToySampler(off=-0.2), epochs=1, batch_size=12)[2]
    assert told.steps[1]["train_mismatch"] < 1e-4
    assert off.steps[1]["train_mismatch"] == pytest.approx(0.2, abs=1e-4)
    assert off.steps[1]["train_loss"] == pytest.approx(told.steps[1]["train_loss"] * np.exp(0.2), rel=1e-3, abs=1e-6)


def _asked(rng, num_answers, prompt=5):
    ids = lambda size: list(map(int, rng.integers(1, 64, size)))  # noqa: E731
    answers = [
        Answer(ids=found, logps=[0.0] * len(found), free=[True] * len(found), text="", reason="stop")
        for found in (ids(int(rng.integers(1, 9))) for _ in range(num_answers))
    ]
    return Answered(prompt=ids(prompt), answers=answers)


@pytest.mark.parametrize("length", [32, 64, 1024])
def test_answers_that_share_their_question_are_scored_as_alone(length):
    rng = np.random.default_rng(4)
    asked = [_asked(rng, 7), _asked(rng, 1), _asked(rng, 4, prompt=1), _asked(rng, 5)]
    trainee = Trainee(toy.model(), rank=2, precision=torch.float32, length=length)
    found = answer_logps(trainee, asked, length)
    base = toy.model()
    for question, scores in zip(asked, found, strict=True):
        for answer, given in zip(question.answers, scores, strict=True):
            ids = torch.tensor([[*question.prompt, *answer.ids]])
            rows = base(input_ids=ids).logits[0].detach().log_softmax(-1)
            start = len(question.prompt) - 1
            wanted = [float(rows[start + at, token]) for at, token in enumerate(answer.ids)]
            np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)


def test_rows_keep_the_order_and_leave_out_what_is_not_learnt():
    rng = np.random.default_rng(6)
    groups = []
    for number in range(5):
        answers = []
        for place in range(6):
            size = int(rng.integers(1, 8))
            notes = np.zeros((NOTES, size), np.float32)
            notes[ADVANTAGE] = 100 * number + place
            answers.append(Given(list(range(size)), [True] + [bool(at % 2) for at in range(1, size)], notes))
        groups.append(Group(list(range(1, 7)), answers))
    rows = list(lay(groups, 40))
    assert len(rows) > 5
    assert all(row.ids.shape == (1, 64) for row in rows)  # rounded up
    assert all(np.count_nonzero(row.segments) <= 40 for row in rows)
    seen = [value for row in rows for value in row.notes[ADVANTAGE].tolist()]
    assert seen == sorted(seen)
    assert sum(len(row.parts) for row in rows) == 30
    assert sum(int((row.labels != NO_LABEL).sum()) for row in rows) == sum(
        sum(each.trained) for group in groups for each in group.answers
    )


def test_without_its_adapter_the_model_is_the_base():
    rng = np.random.default_rng(2)
    asked = [_asked(rng, 3)]
    trainee = Trainee(toy.model(), rank=2, precision=torch.float32, length=64)
    before = answer_logps(trainee, asked, 64)
    with torch.no_grad():
        for name, each in trainee.trained.items():
            if name.endswith(".b"):
                each.normal_(std=0.5)
    assert answer_logps(trainee, asked, 64) != before
    with trainee.as_base():
        assert answer_logps(trainee, asked, 64) == before
    assert answer_logps(trainee, asked, 64) != before
