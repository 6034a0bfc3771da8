"""Markers bound while decoding: whatever tokens are drawn, what the reader of citations finds resolves."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mainspring.core.config import EngineSettings
from mainspring.core.types import ChatPrompt, Constraint, GenerateRequest, Message, Sampling, Tool, ToolUse
from mainspring.engine.constraint import Grammars, as_lark
from mainspring.engine.llama import binding
from mainspring.engine.llama.backend import LlamaBackend
from mainspring.engine.llama.vocabulary import LlamaVocabulary
from mainspring.engine.prompts import Prompts
from mainspring.engine.toy import ToyBackend
from mainspring.models.chat import ChatTemplate
from mainspring.models.cited import MAX_LISTED, cited_grammar
from mainspring.responses.citations import MAX_MARKER, markers
from mainspring.responses.grounding import IN_SCOPE
from tests.unit.engine.test_engine import Bench

KNOWN = (1, 2, 3, 12)
PART = [("messages", Constraint("lark"))]
TOY = ToyBackend()
GRAMMARS = Grammars(TOY)


def allows(text: str, grammar: str = cited_grammar(KNOWN)) -> bool:
    """Whether a text can be written, and be all."""
    matcher = GRAMMARS.compile(grammar, PART)
    for token in TOY.tokenize(text.encode()):
        if not matcher.mask()[token]:
            return False
        matcher.accept(token)
    return bool(matcher.mask()[TOY.eos])


def numbers(text: str) -> set[int]:
    return {int(each) for marker in markers(text) for each in re.findall("[0-9]+", marker)}


@pytest.mark.parametrize(
    "text",
    [
        "It is so [1]. And [2, 3], [doc12], [Document 3] [source 2,1].", "[1, 2]", "a [1][2](x) [[1]", "",
        "x[i] = [a, [b]] [^4] (9) [see this](http://x/9) [-1] [.5] 10:30",
        '{"a": ["b", {"c": [], "d": [null]}], "e": 9}', "`a[9]` and ``b[`9] [8]``.",
        "```py\na = [7, 8, 9]\nb = `c[4]`\n```\nThen [1].", "`never closed [9] ", "```\n[9]", "````\n[1] `a`\n````",
        "a ` b [9]\nc [1]", "[docs] [doctor 9] [documents9", "é [1] 你好 [2]", "[", "[doc", "[doc [1]",
    ],
)  # fmt: skip
def test_text_code_json_and_markers_of_passages_can_be_written(text: str) -> None:
    assert allows(text)
    assert numbers(text) <= set(KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        "[4]", "It is so [9].", "[doc4", "[doc 9]", "[1, 4]", "[ 7 ]", "[SOURCE 5]", "[passage13", "[1", "[13]", "[0]",
        "[01]", "`a` [9]", "`a`` b` [9]", "``\n[9]", "```\na\n``` [9]", "````\n[9]\n````", "`a\n[9]", "[[9]",
        "[" + "1, " * MAX_LISTED + "1]",
    ],
)  # fmt: skip
def test_markers_of_nothing_cannot(text: str) -> None:
    assert not allows(text)


def test_a_marker_is_never_longer_than_the_reader_looks() -> None:
    longest = cited_grammar([9999])
    marker = "[ document 9999" + ", document 9999" * (MAX_LISTED - 1) + "]"
    assert allows(marker, longest)
    assert len(marker) <= MAX_MARKER
    assert markers(marker) == [marker]


PIECES = [
    "[",
    "]",
    "1",
    "2",
    "9",
    "12",
    "doc",
    "Source",
    ",",
    " ",
    "`",
    "``",
    "```",
    "````",
    "\n",
    ".",
    "a",
    "[1]",
    "[4]",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14))
@settings(max_examples=200, deadline=None)
@example(["`", "[4]", "``", "[4]", "`", "."])
def test_what_can_be_written_has_no_marker_of_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    if allows(text):
        assert numbers(text) <= set(KNOWN)
    elif not re.search(r"\[ ?(doc|source)? ?[0-9]", text, re.IGNORECASE):
        raise AssertionError("a text without the beginning of a marker is always possible")


@pytest.fixture(scope="module")
def vocabulary(model_file: Path) -> LlamaVocabulary:
    return LlamaVocabulary(binding.load(None), model_file)


@pytest.fixture(scope="module")
def write(vocabulary: LlamaVocabulary) -> Callable[[str, random.Random], str]:
    """Writes by chance what a grammar allows: often tokens that markers and code are made of."""
    grammars = Grammars(vocabulary)
    pieces = [vocabulary.piece(at) for at in range(vocabulary.num_tokens)]
    telling = [at for at, piece in enumerate(pieces) if re.fullmatch(rb"[\[\]`,0-9 \n]+| ?(?i:doc|source)s?", piece)]
    likely = [at for at in telling if pieces[at] in (b"[", b"]", b"1", b"2", b"9", b"doc", b",", b" ")]

    def draw(grammar: str, chance: random.Random) -> str:
        matcher, out = grammars.compile(grammar, PART), b""
        for _ in range(48):
            allowed = matcher.mask()
            kind = chance.random()
            among = likely if kind < 0.7 else telling if kind < 0.9 else np.flatnonzero(allowed)
            possible = [at for at in among if allowed[at] and not vocabulary.is_end(int(at))]
            if not possible:
                continue
            token = int(chance.choice(possible))
            matcher.accept(token)
            out += pieces[token]
        return out.decode("utf-8", "replace")

    return draw


@pytest.mark.model
@given(chance=st.randoms(use_true_random=False), known=st.sets(st.integers(1, 30), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_draw_of_the_default_models_tokens_writes_a_marker_of_nothing(
    write: Any, chance: random.Random, known: set[int]
) -> None:
    assert numbers(write(cited_grammar(known), chance)) <= known


@pytest.mark.model
def test_draws_do_write_markers(write: Any) -> None:
    """Or the property above would hold of anything."""
    texts = [write(cited_grammar(KNOWN), random.Random(seed)) for seed in range(30)]
    assert sum(map(len, map(markers, texts))) > 15
    free = [write("start: /(.|\\n)*/", random.Random(seed)) for seed in range(60)]
    assert any(numbers(text) - {12} for text in free)


HERMES = ChatTemplate("{{ messages[0].content }}<tool_call>")
THINKS = ChatTemplate("{{ messages[0].content }}{% if enable_thinking %}<think></think>{% endif %}")
TOOL = Tool(name="find", parameters='{"type": "object"}', strict=True)


def bound(template: ChatTemplate, tools: ToolUse | None = None, constraint: Constraint | None = None) -> str:
    """The grammar of a chat with passages, as an engine that takes Lark is given it."""
    prompt = ChatPrompt((Message(role="user", content="x"),), tools)
    plan = template.plan(prompt, ["x"], constraint, KNOWN)
    request = GenerateRequest(id="a", model="toy", prompt=prompt, constraint=constraint, cites=KNOWN)
    found = Prompts(TOY).grammar(request, plan)
    assert found is not None
    return as_lark(found[0])


def test_beside_tools_text_is_bound_and_calls_are_not() -> None:
    grammar = bound(HERMES, ToolUse(tools=(TOOL,)))
    call = '<tool_call>\n{"name": "find", "arguments": {"a": [9, 8]}}\n</tool_call>'
    for text in ("It is so [1].", call, f"See [2].\n{call}"):
        assert allows(text, grammar)
    for text in ("It is so [9].", f"See [doc9].\n{call}"):
        assert not allows(text, grammar)
    required = bound(HERMES, ToolUse(tools=(TOOL,), choice="required"))
    assert allows(call, required)
    assert not allows("It is so [1].", required)


def test_thoughts_are_free_and_what_follows_them_is_not() -> None:
    grammar = bound(THINKS)
    for text in ("<think>[9]? `</think>\nYes [1].", "<b>Yes</b> [1].", "Yes: <think>", ""):
        assert allows(text, grammar)
    assert not allows("<think>[9]?</think>\nYes [9].", grammar)


def test_where_calls_are_bare_objects_text_is_bound_too() -> None:
    template = ChatTemplate("{{ messages[0].content }}{# ipython #}")
    assert template.format.bare
    grammar = bound(template, ToolUse(tools=(TOOL,)))
    for text in ("It is so [1].", '{"name": "find", "parameters": {"a": [9]}}', ""):
        assert allows(text, grammar)
    for text in ("It is so [9].", "{ [1] }"):
        assert not allows(text, grammar)


def test_a_format_of_the_clients_goes_first() -> None:
    assert allows(
        "[9, 8]", bound(ChatTemplate("{{ messages[0].content }}"), constraint=Constraint("regex", r"\[9, 8\]"))
    )
    assert allows("[9, 8]", bound(HERMES, ToolUse(tools=(TOOL,)), Constraint("regex", r"\[9, 8\]")))


DOCUMENTS = (
    "Penguins are birds that cannot fly. They swim very well and eat krill.",
    "A steam engine turns heat into motion. Its boiler makes the steam.",
    "Bread is baked of flour, water, salt and yeast.",
)


@pytest.fixture(scope="module")
def answers(model_file: Path) -> Callable[..., list[str]]:
    """What the default model says of three documents, hot and eager for brackets."""
    backend = LlamaBackend(model_file, EngineSettings(context_tokens=1024, kv_tokens=8192, max_running=10))
    pieces = {at: backend.piece(at).strip() for at in range(backend.num_tokens)}
    eager = {at: 9.0 if piece == b"[" else 4.0 for at, piece in pieces.items() if re.fullmatch(rb"\[|[0-9]|doc", piece)}
    told = "\n\n".join([IN_SCOPE, *(f"[doc{at}] {text}" for at, text in enumerate(DOCUMENTS, 1))])

    def ask(cites: tuple[int, ...], count: int) -> list[str]:
        backend.clear()
        bench = Bench(backend, max_running=10, prefill_tokens=512, mixed_tokens=256, max_outputs=16)
        for at in range(0, count, 10):
            system, user = Message(role="system", content=told), Message(role="user", content=f"Tell {at} facts.")
            sampling = Sampling(temperature=1.5, seed=at, logit_bias=eager)
            bench.add(str(at), ChatPrompt((system, user)), n=10, max_tokens=24, sampling=sampling, cites=cites)
        bench.run()
        return [bench.text(str(at), choice) for at in range(0, count, 10) for choice in range(10)]

    return ask


@pytest.mark.model
def test_in_40_hot_answers_of_the_default_model_the_reader_has_nothing_to_drop(answers: Any) -> None:
    told = answers((1, 2, 3), 40)
    assert len(told) == 40
    assert set().union(*map(numbers, told)) == {1, 2, 3}
    assert sum(map(len, map(markers, told))) > 20
    assert any(numbers(text) - {1, 2, 3} for text in answers((), 20)), "or it would be so without the grammar"
