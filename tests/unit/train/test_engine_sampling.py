"""The engine samples what PyTorch trains: with and without an adapter, and again alike."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mainspring.core.types import ChatPrompt, Constraint, Message  # noqa: E402
from mainspring.models.catalog import Catalog  # noqa: E402
from mainspring.train.base import load_base  # noqa: E402
from mainspring.train.model import Trainee  # noqa: E402
from mainspring.train.reinforcement import answer_logps  # noqa: E402
from mainspring.train.sampling import Ask, EngineSampler  # noqa: E402

pytestmark = pytest.mark.model
SCHEMA = (
    '{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"],"additionalProperties":false}'
)


def _asks(**more):
    return [
        Ask(prompt=ChatPrompt((Message(role="user", content=text),)), **{"n": 3, "seed": at, "max_tokens": 10, **more})
        for at, text in enumerate(("What is the capital of France?", "Name a colour."))
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory, model_file):
    home = tmp_path_factory.mktemp("home")
    catalog = Catalog(home / "models")
    version = catalog.ensure(f"file:{model_file.resolve()}")
    sampler = EngineSampler(catalog, version, home / "engine")
    model = load_base(catalog, version).model
    yield sampler, Trainee(model, rank=8, precision=torch.float32, length=256), home
    sampler.close()


def _apart(trainee, asked):
    """Differences of log probabilities, token by token."""
    found = answer_logps(trainee, asked, 256)
    return np.array([
        here - there
        for each, scores in zip(asked, found, strict=True)
        for answer, given in zip(each.answers, scores, strict=True)
        for here, there in zip(given, answer.logps, strict=True)
    ])  # fmt: skip


def test_log_probabilities_are_pytorchs_with_and_without_an_adapter(both):
    sampler, trainee, home = both
    plain = sampler.sample(_asks())
    assert sampler.sample(_asks()) == plain
    apart = _apart(trainee, plain)
    assert np.abs(apart).mean() < 0.1  # the engine rounds activations to 8 bits
    assert len({answer.text for each in plain for answer in each.answers}) > 2

    with torch.no_grad():
        for number, (name, each) in enumerate(trainee.trained.items()):
            if name.endswith(".b"):
                each.normal_(std=0.02, generator=torch.Generator().manual_seed(number))
    assert np.abs(_apart(trainee, plain)).mean() > 0.3  # another model now
    trainee.save(home / "adapter", "base")
    sampler.use(home / "adapter")
    changed = sampler.sample(_asks())
    assert changed != plain
    assert np.abs(_apart(trainee, changed)).mean() < 0.1
    # One that was used before, and what else was computed meanwhile, leave no trace.
    sampler.use(None)
    assert sampler.sample(_asks()) == plain
    sampler.use(home / "adapter")
    assert sampler.sample(_asks()) == changed


def test_an_answer_is_all_of_its_tokens_up_to_its_end(both):
    sampler = both[0]
    sampler.use(None)
    found = sampler.sample(_asks(n=6, max_tokens=40))
    ended = [answer for each in found for answer in each.answers if answer.reason == "stop"]
    assert ended
    for answer in ended:
        assert len(answer.ids) == len(answer.logps) == len(answer.free) <= 41
        assert b"".join(map(sampler._backend.piece, answer.ids[:-1])).decode() == answer.text
        assert sampler._backend.is_end(answer.ids[-1])


def test_a_bound_answer_matches_and_forced_tokens_are_told_apart(both):
    sampler = both[0]
    sampler.use(None)
    found = sampler.sample(_asks(n=2, max_tokens=40, constraint=Constraint("json_schema", SCHEMA)))
    for each in found:
        for answer in each.answers:
            assert answer.text.startswith('{"answer":')
            assert not all(answer.free)
            assert any(answer.free)
