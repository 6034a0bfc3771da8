"""The loop: learns, stops when asked, and goes on to the bit."""

import json

import pytest

torch = pytest.importorskip("torch")

from mainspring.train import checkpoint  # noqa: E402
from mainspring.train.checkpoint import Checkpoints, Saved  # noqa: E402
from mainspring.train.loop import Fit, learning_rate  # noqa: E402
from mainspring.train.methods import SERVED, Preferences, Supervised  # noqa: E402
from mainspring.train.model import Trainee  # noqa: E402
from tests.unit.train import toy  # noqa: E402


class Killed(BaseException):
    """Nothing in the loop may catch it."""


def _start(folder, kind, rank=4, **more):
    trainee = Trainee(toy.model(), rank=rank, precision=torch.float32, length=32, seed=5)
    parts = 2 if kind is Preferences else 1
    train, valid = toy.packer(toy.examples(20, parts)), toy.packer(toy.examples(7, parts, seed=9), shuffle=False)
    if kind is Preferences:
        more = {"beta": 0.1, "cache": folder / "cache", **more}
    return trainee, kind(trainee, train, valid, **{"epochs": 3, **more})


def _run(folder, kind=Supervised, ask=lambda times: "run", checkpoint_s=0.0, rank=4, **more):
    trainee, method = _start(folder, kind, rank, **more)
    reporter = toy.Remembers(ask)
    outcome = Fit(1e-2, 2, "base@1", checkpoint_s).run(trainee, method, folder, reporter)
    return outcome, trainee.state(), reporter


def _equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


@pytest.mark.parametrize("kind", [Supervised, Preferences])
def test_learns(tmp_path, kind):
    outcome, _, told = _run(tmp_path, kind, rank=None, epochs=12)
    assert (outcome.end, outcome.steps) == ("done", 48)
    assert told.steps[48]["train_loss"] < 0.7 * told.steps[1]["train_loss"]
    if kind is Preferences:
        assert told.steps[48]["train_accuracy"] > 0.9
        assert told.steps[1]["train_loss"] == pytest.approx(0.6931, abs=1e-3)  # the policy still is the base
    assert [made.step for made in told.delivered] == [40, 44, 48]
    assert told.delivered[-1].is_last
    assert {"full_valid_loss", "train_loss"} <= told.delivered[-1].metrics.keys()
    assert (told.delivered[-1].folder / "model.safetensors").exists()
    assert told.last.step == 48
    assert outcome.tokens == told.last.tokens


@pytest.mark.parametrize("kind", [Supervised, Preferences])
@pytest.mark.parametrize("rank", [4, None])
def test_killed_and_paused_anywhere_it_ends_in_the_same_bits(tmp_path, kind, rank):
    whole, weights, told = _run(tmp_path / "whole", kind, rank=rank)
    last = told.delivered[-1]

    def killed_at(when):
        def ask(times):
            if times == when:
                raise Killed
            return "run"

        return ask

    folder = tmp_path / "broken"
    pause = lambda times: "pause" if times == 3 else "run"  # noqa: E731
    # Every step is a checkpoint, or only a pause is one, and what was told after it is told again.
    for ask, checkpoint_s in ((killed_at(4), 0.0), (pause, 1e9), (killed_at(2), 1e9), (killed_at(5), 0.0)):
        try:
            outcome, _, _ = _run(folder, kind, ask, checkpoint_s, rank=rank)
        except Killed:
            continue
        assert outcome.end == "pause"
    outcome, state, again = _run(folder, kind, rank=rank)

    assert outcome == whole
    assert _equal(state, weights)
    assert again.delivered[-1].metrics == last.metrics
    for name in (path.name for path in last.folder.iterdir()):
        assert (folder / "out" / last.folder.name / name).read_bytes() == (last.folder / name).read_bytes()
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == list(
        range(1, 13)
    )


def test_with_other_data_or_another_seed_it_does_not(tmp_path):
    _, one, _ = _run(tmp_path / "one")
    _, other, _ = _run(tmp_path / "other", epochs=2)
    assert not _equal(one, other)


def test_killed_between_a_checkpoint_and_its_delivery_it_is_delivered(tmp_path):
    def ask(times):
        if times == 9:
            raise Killed
        return "run"

    with pytest.raises(Killed):
        _run(tmp_path, ask=ask)
    _, _, told = _run(tmp_path)
    assert [made.step for made in told.delivered] == [8, 12]  # 8 is where it stopped
    _, _, whole = _run(tmp_path / "whole")
    assert [made.metrics for made in told.delivered] == [made.metrics for made in whole.delivered[1:]]


def test_a_cancelled_run_ends_at_once(tmp_path):
    outcome, _, told = _run(tmp_path, ask=lambda times: "cancel" if times == 3 else "run")
    assert (outcome.end, outcome.steps) == ("cancel", 2)
    assert not told.delivered


def test_the_rate_rises_and_falls_to_nothing():
    rates = [learning_rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == 1.0
    assert rates[4] == 1.0
    assert rates[-1] == pytest.approx(1 / 95)
    assert all(learning_rate(step, 1) > 0 for step in range(1))


def test_served_are_the_last_epochs(tmp_path):
    _, method = _start(tmp_path, Supervised, epochs=9)
    assert len(method.epoch_ends) == SERVED
    assert method.epoch_ends[-1] == method.steps == 36
    _, method = _start(tmp_path, Supervised, epochs=9, max_steps=5)
    assert method.steps == 5
    assert method.epoch_ends[-1] == 5


def _saved(step):
    return Saved(step, {"w": torch.full((3,), float(step))}, {"w:exp_avg": torch.zeros(3)}, {"tokens": step})


def test_a_checkpoint_that_is_not_whole_is_passed_over(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(_saved(1))
    checkpoints.save(_saved(2))
    checkpoints.close()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    checkpoints = Checkpoints(tmp_path)
    for step in (7, 8):
        (tmp_path / f"step-{step:08}").mkdir()
    (tmp_path / "step-00000007" / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "step-00000009.part").mkdir()
    assert Checkpoints(tmp_path).latest().step == 2
    assert not (tmp_path / "step-00000009.part").exists()
    checkpoints.close()


def test_a_full_disk_costs_the_checkpoint_and_says_so(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(_saved(1))
    checkpoints.wait()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        checkpoints.save(_saved(2))
        with pytest.raises(OSError, match="No space"):
            checkpoints.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    checkpoints.save(_saved(3))
    checkpoints.close()
    assert checkpoints.latest().step == 3
