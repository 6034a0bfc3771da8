import asyncio
import json
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.compute.sandbox import Sandbox, SandboxLimits
from mainspring.core.errors import EngineUnavailable, InvalidRequest
from mainspring.core.types import (
    Embeddings,
    EmbedRequest,
    Event,
    Finished,
    GenerateRequest,
    Ran,
    Token,
    Usage,
)
from mainspring.engine.fake import FakeEngine
from mainspring.graders.definitions import validate
from mainspring.graders.result import Graded
from mainspring.graders.reward import Rewards, rewards
from mainspring.graders.run import check, grade, sample_of
from mainspring.graders.seams import Seams
from tests.unit.graders.test_definitions import CHECK, LABEL, MULTI, PYTHON, SCORE, SIMILAR

NOTHING = Seams()


class Judge:
    """Answers with what it is given, and remembers what it was asked."""

    def __init__(self, text: str, reason: Any = "stop") -> None:
        self.text, self.reason = text, reason
        self.requests: list[GenerateRequest] = []

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        self.requests.append(request)
        yield Token(0, "hmm", thought=True)
        yield Token(0, self.text)
        yield Finished(0, self.reason, Usage(10, 5, 2))


def run(grader: dict[str, Any], answer: str, item: dict[str, Any] | None = None, seams: Seams = NOTHING) -> Graded:
    return asyncio.run(grade(validate(grader), item or {}, sample_of(answer), seams))


@pytest.mark.parametrize(
    ("operation", "answer", "reference", "wanted"),
    [
        ("eq", "a", "a", 1), ("eq", "a", "A", 0), ("ne", "a", "A", 1), ("ne", "a", "a", 0),
        ("like", "the cat", "cat", 1),
        ("like", "the Cat", "cat", 0), ("like", "cat", "the cat", 0), ("ilike", "the CAT", "cat", 1),
        ("ilike", "STRASSE", "straße", 1), ("like", "axb", "a%b", 0), ("like", "anything", "", 1), ("eq", "a ", "a", 0),
    ],
)  # fmt: skip
def test_string_check(operation: str, answer: str, reference: str, wanted: float) -> None:
    graded = run({**CHECK, "operation": operation}, answer, {"a": reference})
    assert (graded.score, graded.passed, graded.failures) == (wanted, bool(wanted), ())
    assert (graded.name, graded.type) == ("c", "string_check")
    assert graded.seconds > 0


@given(st.text(), st.text())
def test_string_checks_hold_together(answer: str, reference: str) -> None:
    score = {
        op: run({**CHECK, "operation": op}, answer, {"a": reference}).score for op in ("eq", "ne", "like", "ilike")
    }
    assert score["eq"] + score["ne"] == 1
    assert score["eq"] <= score["like"] <= score["ilike"]
    assert run({**CHECK, "operation": "like"}, answer + reference, {"a": reference}).score == 1


def test_a_path_that_leads_nowhere_scores_nothing() -> None:
    graded = run({**CHECK, "operation": "ne"}, "x", {})
    assert (graded.score, graded.passed, graded.failed) == (0.0, False, True)
    assert graded.failures[0].kind == "invalid_variable_error"


def test_text_similarity_and_its_threshold() -> None:
    graded = run(
        {**SIMILAR, "input": "{{sample.output_text}}", "reference": "a b c d", "evaluation_metric": "rouge_1"}, "a b"
    )
    assert graded.score == pytest.approx(2 / 3)
    assert graded.passed is None
    for threshold, passed in ((0.6, True), (0.7, False)):
        changed = {**SIMILAR, "input": "a b", "reference": "a b c d", "evaluation_metric": "rouge_1"}
        assert run({**changed, "pass_threshold": threshold}, "").passed is passed


def test_long_texts_are_compared_elsewhere_and_too_long_ones_not() -> None:
    grader = {**SIMILAR, "input": "{{sample.output_text}}", "reference": "a b", "evaluation_metric": "rouge_l"}
    assert run(grader, "a b " * 10_000).failures == ()
    assert run(grader, "a b " * 100_000).failures[0].kind == "other_error"


def test_the_cosine_asks_for_embeddings() -> None:
    asked: list[EmbedRequest] = []

    async def embed(request: EmbedRequest) -> Embeddings:
        asked.append(request)
        return Embeddings(struct.pack("<4f", 1, 0, 1, 1), 2, 2)

    grader = {**SIMILAR, "evaluation_metric": "cosine", "input": "{{sample.output_text}}", "reference": "other"}
    graded = run(grader, "one", seams=Seams(embed=embed, embedding="minilm", tenant="key", project="p"))
    assert graded.score == pytest.approx(0.5**0.5)
    assert (asked[0].model, asked[0].inputs, asked[0].tenant, asked[0].project) == (
        "minilm",
        ("one", "other"),
        "key",
        "p",
    )
    assert run(grader, "one").failures[0].kind == "other_error"


def test_a_model_scores_within_its_range() -> None:
    judge = Judge(json.dumps({"steps": [], "result": 7}))
    graded = run(
        {**SCORE, "range": [-1, 5], "pass_threshold": 4},
        "the answer",
        seams=Seams(generate=judge.generate, tenant="key"),
    )
    assert (graded.score, graded.passed, graded.model, graded.usage) == (5, True, "fake", {"fake": Usage(10, 5, 2)})
    (request,) = judge.requests
    assert request.prompt.messages[0].content == "Score the answer"
    assert (request.sampling.seed, request.max_tokens, request.tenant, request.streams) == (42, 100, "key", False)
    schema = json.loads(request.constraint.schema)
    assert (schema["properties"]["result"]["minimum"], schema["properties"]["result"]["maximum"]) == (-1, 5)
    assert list(schema["properties"]) == ["steps", "result"]


def test_the_fake_engine_can_be_the_judge() -> None:
    engine = FakeEngine()
    for grader in (SCORE, LABEL):
        graded = run(grader, "x", {"a": "y"}, Seams(generate=engine.generate))
        assert graded.failures == ()
        assert graded.usage["fake"].completion > 0


@pytest.mark.parametrize(
    ("text", "reason", "kind"),
    [
        ("7", "stop", "model_grader_parse_error"),
        ('{"steps": [], "res', "length", "model_grader_parse_error"),
        ('{"result": "high"}', "stop", "model_grader_parse_error"),
        ('{"result": NaN}', "stop", "model_grader_parse_error"),
        ("", "content_filter", "model_grader_refusal_error"),
    ],
)
def test_a_model_that_does_not_score(text: str, reason: str, kind: str) -> None:
    graded = run(SCORE, "x", seams=Seams(generate=Judge(text, reason).generate))
    assert (graded.score, graded.failures[0].kind, graded.usage) == (0, kind, {"fake": Usage(10, 5, 2)})


@pytest.mark.parametrize(
    ("spell", "kind"),
    [("!raise Unavailable", "model_grader_server_error"), ("!raise ContentFiltered", "model_grader_refusal_error"),
     ("!raise Overloaded after 2", "model_grader_server_error")],
)  # fmt: skip
def test_a_model_that_fails(spell: str, kind: str) -> None:
    graded = run(SCORE, spell, seams=Seams(generate=FakeEngine().generate))
    assert (graded.score, graded.failures[0].kind) == (0, kind)
    assert "The spell said" in graded.failures[0].detail


def test_a_model_that_never_answers() -> None:
    graded = run(SCORE, "!hang", seams=Seams(generate=FakeEngine().generate, deadline_s=0.01))
    assert graded.failures[0].code == "deadline_exceeded"


def test_labels() -> None:
    for label, score in (("good", 1), ("bad", 0)):
        seams = Seams(generate=Judge(json.dumps({"steps": [], "result": label})).generate)
        assert run(LABEL, "x", {"a": "y"}, seams).score == score
    graded = run(LABEL, "x", {"a": "y"}, Seams(generate=Judge('{"result": "other"}').generate))
    assert graded.failures[0].kind == "model_grader_parse_error"


def test_multi() -> None:
    same = {**SIMILAR, "input": "a b", "reference": "a b", "evaluation_metric": "rouge_1"}
    graded = run({**MULTI, "graders": {"one": CHECK, "two": same}}, "x", {"a": "y"})
    assert graded.score == 0.5
    assert {name: part.score for name, part in graded.parts.items()} == {"one": 0, "two": 1}


def test_a_part_that_fails_never_pays() -> None:
    graded = run({**MULTI, "graders": {"one": CHECK}, "calculate_output": "1 - one"}, "x", {})
    assert (graded.score, graded.failures[0].kind) == (0, "invalid_variable_error")
    graded = run({**MULTI, "graders": {"one": CHECK}, "calculate_output": "1 / one"}, "x", {"a": "y"})
    assert (graded.score, graded.failures[0].kind) == (0, "formula_parse_error")


def test_usage_of_several_models_is_added_up() -> None:
    seams = Seams(generate=Judge('{"steps": [], "result": 1}').generate)
    graded = run({**MULTI, "graders": {"one": SCORE, "two": SCORE}, "calculate_output": "one + two"}, "x", seams=seams)
    assert (graded.score, graded.usage) == (2, {"fake": Usage(20, 10, 4)})


@pytest.mark.parametrize(
    ("ran", "detail"),
    [
        (Ran(stdout=b"", stderr=b"", exit_code=0), "no finite number"),
        (Ran(stdout=b"", stderr=b"", exit_code=0, files={"score.json": b"Infinity"}), "no finite number"),
        (Ran(stdout=b"", stderr=b"", exit_code=0, files={"score.json": b'"1"'}), "no finite number"),
        (Ran(stdout=b"", stderr=b"", exit_code=-9, ended="timeout"), "took too long"),
        (Ran(stdout=b"", stderr=b"", exit_code=-11), "signal 11"),
        (Ran(stdout=b"", stderr=b"\xff why", exit_code=1), "why"),
        (Ran(stdout=b"", stderr=b"", exit_code=4), "exit code 4"),
    ],
)
def test_python_that_gives_no_score(ran: Ran, detail: str) -> None:
    async def runs(_code: str, **_: Any) -> Ran:
        return ran

    graded = run(PYTHON, "x", seams=Seams(run=runs))
    assert (graded.score, graded.failures[0].kind) == (0, "python_grader_runtime_error")
    assert detail in graded.failures[0].detail


def test_python_without_a_sandbox() -> None:
    async def runs(_code: str, **_: Any) -> Ran:
        raise EngineUnavailable("no sandbox", code="sandbox_unavailable")

    for seams in (Seams(), Seams(run=runs)):
        failure = run(PYTHON, "x", seams=seams).failures[0]
        assert (failure.kind, failure.code) == ("python_grader_server_error", "sandbox_unavailable")


@asynccontextmanager
async def in_sandbox() -> AsyncGenerator[Seams]:
    async with Sandbox(limits=SandboxLimits(wall_s=30, output_bytes=2**16)) as sandbox:
        try:
            await sandbox.start()
        except EngineUnavailable as error:
            pytest.skip(error.message)
        yield Seams(run=sandbox.run)


def python(source: str) -> dict[str, Any]:
    return {**PYTHON, "source": source}


def test_python_in_the_sandbox() -> None:
    source = "def grade(sample, item):\n    print('noise')\n    return sample['output_json']['n'] / item['of']"
    with Rewards(validate(python(source)), in_sandbox) as graded:
        found = graded([({"of": 4}, sample_of('{"n": 1}')), ({"of": 0}, sample_of('{"n": 1}'))])
        again = graded([({"of": 2}, sample_of('{"n": 1}'))])
    assert [each.score for each in (*found, *again)] == [0.25, 0, 0.5]
    assert found[1].failures[0].detail.splitlines() == [
        "Traceback (most recent call last):", '  File "grader.py", line 3, in grade',
        "ZeroDivisionError: division by zero",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def grade(:", "SyntaxError"),
        ("grade = 3", "defines no function grade"),
        ("import no_such_module\ndef grade(sample, item): return 1", "No module named 'no_such_module'"),
        ("raise ValueError('early')\ndef grade(sample, item): return 1", "ValueError: early"),
    ],
)
async def test_source_is_checked_by_running_it(source: str, why: str) -> None:
    async with in_sandbox() as seams:
        with pytest.raises(InvalidRequest, match=why) as caught:
            await check(validate(python(source)), seams)
        assert caught.value.param == "grader.source"
        nested = {**MULTI, "graders": {"one": python(source)}, "calculate_output": "one"}
        with pytest.raises(InvalidRequest) as caught:
            await check(validate(nested), seams)
        assert caught.value.param == "grader.graders.one.source"
        await check(validate(PYTHON), seams)
        assert (await grade(validate(python(source)), {}, sample_of("x"), seams)).failures


async def test_rewards_keep_their_order_and_their_number() -> None:
    running = most = 0

    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(hash(request.id) % 5):
            await asyncio.sleep(0)
        text = request.prompt.messages[0].content.removeprefix("Score ")
        yield Token(0, json.dumps({"steps": [], "result": float(text)}))
        yield Finished(0, "stop", Usage(1, 1))
        running -= 1

    pairs = [({}, sample_of(str(number / 50))) for number in range(50)]
    found = await rewards(validate(SCORE), pairs, Seams(generate=generate), concurrency=3)
    assert [each.score for each in found] == [number / 50 for number in range(50)]
    assert most == 3
    assert await rewards(validate(SCORE), [], Seams()) == []


def test_a_sample_is_what_the_guide_says() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    sample = sample_of('{"a": [1]}', tools=calls)
    assert sample["output_text"] == '{"a": [1]}'
    assert sample["output_json"] == {"a": [1]}
    assert sample["output_tools"] == calls
    assert sample["choices"][0]["message"] == {"role": "assistant", "content": '{"a": [1]}', "tool_calls": calls}
    assert sample_of("no json")["output_json"] is None
    msgspec.json.encode(sample)
