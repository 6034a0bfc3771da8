"""Constrained decoding on the toy model, which left alone would write random letters."""

import json
import random

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ChatPrompt, Constraint, Message, Sampling, Tool, ToolUse
from mainspring.engine.constraint import Grammars, as_lark, constraint_grammar
from mainspring.engine.toy import ToyBackend
from mainspring.models.chat import ChatTemplate
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


TRICKY = json.dumps({"type": "object", "properties": {"at": {"enum": ['a } " @t1 {', "b"]}}, "required": ["at"]})
TOOLS = (
    Tool(name="look", parameters=TRICKY),
    Tool(name="match", is_custom=True, custom=Constraint("regex", r"a{2,3}/b\}")),
    Tool(name="lark", is_custom=True, custom=Constraint("lark", 'start: "}" X "{"\nX: /[a-z}]+/')),
)


def call_grammar(*tools):
    prompt = ChatPrompt((Message(role="user", content="x"),), ToolUse(tools=tools, choice="required"))
    return ChatTemplate(None).plan(prompt, ["x"], None).grammar({})


@pytest.mark.parametrize(
    "grammar",
    [
        *(call_grammar(tool) for tool in TOOLS),
        call_grammar(*TOOLS),
        constraint_grammar(Constraint("json_schema", json.dumps(SCHEMA))),
        constraint_grammar(Constraint("json_object")),
        constraint_grammar(Constraint("regex", r"[ab]{3}/x")),
        constraint_grammar(Constraint("lark", 'start: "a" B\nB: /b+/')),
        constraint_grammar(Constraint("lark", '?start: "a" B\nB: /b+/')),
    ],
)
def test_one_lark_text_allows_what_the_grammar_allows(grammar):
    backend = ToyBackend()
    grammars, rng = Grammars(backend), random.Random(5)
    text, parts = grammar
    assert as_lark(text).startswith("%llguidance")
    for _ in range(5):
        first, second = grammars.compile(text, parts), grammars.compile(as_lark(text), parts)
        for _ in range(80):
            allowed = first.mask()
            assert (allowed == second.mask()).all()
            token = int(rng.choice(allowed.nonzero()[0]))
            if backend.is_end(token):
                break
            first.accept(token)
            second.accept(token)
            assert first.done == second.done
            if first.done:
                break


@pytest.mark.parametrize("choice", ["required", "auto"])
@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "look", "arguments": {"at": "b"}}\n</tool_call>',
        '<tool_call>\n{"name": "match"}\naaa/b}\n</tool_call>',
    ],
)
def test_functions_and_custom_tools_of_one_request_can_both_be_called(text, choice):
    """Their calls begin alike."""
    backend = ToyBackend()
    prompt = ChatPrompt((Message(role="user", content="x"),), ToolUse(tools=TOOLS, choice=choice))
    matcher = Grammars(backend).compile(*ChatTemplate(None).plan(prompt, ["x"], None).grammar({}))
    for at, token in enumerate(backend.tokenize(text.encode())):
        assert matcher.mask()[token], f"stopped after {text[:at]!r}"
        matcher.accept(token)
    assert matcher.done or matcher.mask()[backend.eos]
