"""Whole jobs on a tiny model with the real engine: a reward model, then reinforcement that it grades."""

import asyncio
import json

import msgspec
import pytest

torch = pytest.importorskip("torch")

from mainspring.core.errors import InvalidRequest  # noqa: E402
from mainspring.core.types import Finished, Message, Token, Usage  # noqa: E402
from mainspring.models.catalog import Catalog  # noqa: E402
from mainspring.train import graded  # noqa: E402
from mainspring.train.asking import Operator, Who  # noqa: E402
from mainspring.train.export import register  # noqa: E402
from mainspring.train.plan import Data, Hyperparameters, Plan  # noqa: E402
from mainspring.train.reward import RewardModel  # noqa: E402
from mainspring.train.run import train, validate  # noqa: E402
from tests.unit.train import tiny, toy  # noqa: E402
from tests.unit.train.test_loop import Killed  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setattr("mainspring.train.graded.physical_cores", lambda: 1)
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def catalog(tmp_path):
    catalog = Catalog(tmp_path / "models")
    catalog.pull(f"file:{tiny.write(tmp_path / 'tiny.gguf', 'llama')}")
    return catalog


def question(at):
    return {"messages": [{"role": "user", "content": f"Say {at}."}], "wanted": "a"}


def preference(at):
    ways = {name: [{"role": "assistant", "content": text}] for name, text in (("yes", f"aa{at}a"), ("no", f"z{at}zz"))}
    return {"input": {"messages": question(at)["messages"]}, "preferred_output": ways["yes"],
            "non_preferred_output": ways["no"]}  # fmt: skip


def plan(tmp_path, method, lines, **more):
    path = tmp_path / f"{method}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = Data(path=str(path), sha256="12" * 32)
    given = {"n_epochs": 1, "batch_size": 4, **more.pop("hyperparameters", {})}
    return Plan(
        job=f"ftjob-{method}", base="tiny", name=f"ft:tiny:acme:{method}:a1b2c3", method=method, training=data,
        hyperparameters=Hyperparameters(**given), rank=4, **more,
    )  # fmt: skip


LETTER = {"type": "string_check", "name": "letter", "input": "{{sample.output_text}}", "reference": "{{item.wanted}}",
          "operation": "like"}  # fmt: skip


def reinforcement(tmp_path, grader, **more):
    lines = [question(at) for at in range(12)]
    told = {"compute_multiplier": 0.5, "beta": 0.01, **more.pop("hyperparameters", {})}
    return plan(
        tmp_path, "reinforcement", lines, grader=grader, max_answer_tokens=6, hyperparameters=told, **more
    )  # fmt: skip


def run(catalog, plan, folder, ask=lambda times: "run"):
    told = toy.Remembers(ask)
    return train(catalog, plan, folder, told), told


def test_a_reward_model_is_trained_listed_and_grades_reinforcement(tmp_path, catalog):
    asked = plan(tmp_path, "reward", [preference(at) for at in range(16)], hyperparameters={"n_epochs": 2})
    _, told = run(catalog, asked, tmp_path / "reward")
    version = register(catalog, asked, told.delivered[-1])
    assert (version.kind, version.is_adapter, version.format) == ("reward", True, "safetensors")
    assert version.base == catalog.get("tiny").id
    model = RewardModel.load(catalog, version.name)
    values = model.score([(asked_of("Say 3."), "aa3a"), (asked_of("Say 3."), "z3zz"), (asked_of("Say 3."), "")])
    assert values[0] > values[1]
    assert len(values) == 3
    with pytest.raises(InvalidRequest, match="no reward model"):
        RewardModel.load(catalog, "tiny")

    judge = {"type": "reward_model", "name": "judge", "model": version.name}
    both = {"type": "multi", "name": "both", "graders": {"judge": judge, "letter": LETTER},
            "calculate_output": "judge + 10 * letter"}  # fmt: skip
    policy = reinforcement(tmp_path, both)
    folder = tmp_path / "policy"
    outcome, told = run(catalog, policy, folder)
    assert (outcome.end, outcome.steps) == ("done", 3)
    assert told.steps[1]["train_grader_failures"] == 0
    assert told.steps[1]["train_groups_with_variance"] == 1
    assert told.steps[1]["train_mismatch"] < 0.2
    assert any("4 times" in said for said in told.said)
    made = register(catalog, policy, told.delivered[-1])
    assert made.kind == catalog.get("tiny").kind

    again = tmp_path / "again"  # with the real engine, killed and resumed, it ends in the same bits

    def killed(times):
        if times == 3:
            raise Killed
        return "run"

    with pytest.raises(Killed):
        run(catalog, policy, again, killed)
    for path in (again / "samples").iterdir():
        path.unlink()
    run(catalog, policy, again)
    kept = "adapter_model.safetensors"
    assert (again / "out" / "step-3" / kept).read_bytes() == (folder / "out" / "step-3" / kept).read_bytes()


def asked_of(text):
    return (Message(role="user", content=text),)


def test_on_top_of_an_adapter_the_engine_answers_with_both(tmp_path, catalog):
    first = reinforcement(tmp_path, LETTER, max_steps=1)
    _, told = run(catalog, first, tmp_path / "first")
    below = register(catalog, first, told.delivered[-1])
    second = reinforcement(tmp_path, LETTER, max_steps=1)
    second = msgspec.structs.replace(second, base=below.id, job="ftjob-2", name="ft:tiny:acme:second:a1b2c3")
    _, told = run(catalog, second, tmp_path / "second")
    assert told.steps[1].get("train_mismatch", 0.0) < 0.2
    made = register(catalog, second, told.delivered[-1])
    assert made.is_adapter


def test_a_model_of_the_server_grades(tmp_path, catalog):
    """In the server's loop, while the job computes in another thread: as its own process does."""
    asked = []

    async def generate(request):
        asked.append(request)
        yield Token(0, '{"steps": [], "result": 0.25}')
        yield Finished(0, "stop", Usage(1, 1))

    async def work():
        operator = Operator(generate, None)
        await operator.start()
        try:
            grader = {
                "type": "score_model", "name": "judge", "model": "judge", "range": [0, 1],
                "input": [{"role": "user", "content": "Is {{sample.output_text}} about {{item.wanted}}?"}],
            }  # fmt: skip
            given = reinforcement(tmp_path, grader, max_steps=2)
            told = toy.Remembers()
            asks = operator.admit(Who("key-1", "acme"))
            validate(catalog, given, tmp_path / "job", told, asks=asks)
            await asyncio.to_thread(train, catalog, given, tmp_path / "job", told, asks=asks)
            return told
        finally:
            await operator.stop()

    told = asyncio.run(work())
    assert told.steps[1]["train_reward"] == 0.25
    assert told.steps[1]["train_grader_failures"] == 0
    assert {each.project for each in asked} == {"acme"}
    assert all(each.prompt.messages[0].content.endswith("about a?") for each in asked)


@pytest.mark.parametrize(
    ("grader", "more", "param"),
    [
        (None, {}, "method.reinforcement.grader"),
        ({"type": "score_model", "name": "a", "model": "b", "input": [{"role": "user", "content": "x"}]}, {}, "grader"),
        (
            {"type": "text_similarity", "name": "a", "input": "a", "reference": "b", "evaluation_metric": "cosine"}, {},
            "grader",
        ),
        ({"type": "reward_model", "name": "a", "model": "tiny"}, {}, "grader.model"),
        (LETTER, {"full": True}, "full"),
        (LETTER, {"response_format": {"type": "json_schema"}}, "method.reinforcement.response_format"),
    ],
)  # fmt: skip
def test_what_a_job_cannot_do_is_said_before_it_starts(tmp_path, catalog, grader, more, param):
    with pytest.raises(InvalidRequest) as error:
        validate(catalog, reinforcement(tmp_path, grader, **more), tmp_path / "job", toy.Remembers())
    assert error.value.param == param


def test_answers_are_bound_by_the_response_format():
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    bound = graded._constraint({"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})
    assert (bound.kind, json.loads(bound.schema)) == ("json_schema", schema)
    assert graded._constraint({"type": "json_object"}).kind == "json_object"
    assert graded._constraint({"type": "text"}) is None
    assert graded._constraint(None) is None


def test_how_many_answers():
    assert graded._group(None).value == 8
    assert [graded._group(each).value for each in (0.01, 0.5, 2, 100)] == [2, 4, 16, 64]
