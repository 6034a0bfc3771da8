"""Constrained decoding on the toy model, which left alone would write random letters."""

import json

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Constraint, Sampling
from tests.unit.engine.test_engine import Bench

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["kind", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(5))
def test_the_answer_matches_the_schema(seed):
    bench = Bench()
    bench.add(
        "j",
        "animal",
        max_tokens=60,
        sampling=Sampling(temperature=1, seed=seed),
        constraint=Constraint("json_schema", json.dumps(SCHEMA)),
    )
    bench.run()
    found = json.loads(bench.text("j"))
    assert found["kind"] in {"cat", "dog"}
    assert found["count"] in range(1, 10)
    assert bench.finish("j").reason == "stop"


def test_forced_tokens_need_no_steps_of_their_own():
    bench = Bench()
    bench.add("j", "x", max_tokens=60, constraint=Constraint("json_schema", json.dumps({"const": {"a": "long text"}})))
    steps = 0
    while bench.engine.busy:
        bench.step()
        steps += 1
    assert json.loads(bench.text("j")) == {"a": "long text"}
    assert steps <= 4


def test_log_probabilities_are_there_for_every_token_of_a_constrained_answer():
    bench = Bench()
    schema = Constraint("json_schema", json.dumps({"const": "abc"}))
    bench.add("j", "x", max_tokens=60, constraint=schema, sampling=Sampling(temperature=0, logprobs=0))
    bench.run()
    logprobs = [one for event in bench.outputs["j"][:-1] for one in event.logprobs]
    assert b"".join(one.piece for one in logprobs) == b'"abc"'


@pytest.mark.parametrize("schema", ["{", "[]", '{"type": "nothing"}', '{"type": "string", "pattern": "("}'])
def test_a_schema_that_cannot_be_enforced_is_refused(schema):
    with pytest.raises(InvalidRequest) as caught:
        Bench().add("j", "x", constraint=Constraint("json_schema", schema))
    assert (caught.value.param or "").startswith("response_format")
