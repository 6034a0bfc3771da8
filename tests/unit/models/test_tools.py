"""What models write when they call: read in any pieces, written by grammars, taught in prompts."""

import itertools
import json

import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.types import ChatPrompt, Constraint, Message, Tool, ToolCall, ToolUse
from mainspring.models.chat import ChatTemplate
from mainspring.models.tools.answers import Called, Said
from mainspring.models.tools.formats import FORMATS, choose_format
from mainspring.models.tools.grammar import AnswerGrammar
from mainspring.models.tools.harmony import HarmonyParser
from mainspring.models.tools.parser import TextParser

FORMAT = {format_.name: format_ for format_ in FORMATS}
WEATHER = Tool(
    name="get_weather",
    strict=True,
    parameters='{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}',
)
TIME = Tool(name="time", parameters='{"type":"object","properties":{}}')
SQL = Tool(name="sql", is_custom=True)
CALC = Tool(name="calc", is_custom=True, custom=Constraint("regex", r"[0-9]+( [-+*/] [0-9]+)*"))
THINK = ("<think>", "</think>")


def reader(name, tools=(WEATHER, TIME, SQL, CALC), **options):
    if name == "harmony":
        return HarmonyParser(tools, **options)
    return TextParser(FORMAT[name], tools, think=THINK, **options)


def read(parser, text, cuts=()):
    """(content, thought, calls as (name, arguments)) of `text` pushed in pieces."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    outputs = [out for start, end in itertools.pairwise(places) for out in parser.push(text[start:end])]
    outputs += parser.finish()
    calls: dict[int, list[str]] = {}
    for out in outputs:
        if isinstance(out, Called):
            known = calls.setdefault(out.number, [out.name, ""])
            assert bool(out.id) == (known[1] == "" and bool(out.name))
            known[1] += out.arguments
    assert sorted(calls) == list(range(len(calls)))
    said = [out for out in outputs if isinstance(out, Said)]
    for out in said:
        assert text[out.at : out.at + len(out.text)] == out.text  # where it says it is
    content = "".join(out.text for out in said if not out.thought)
    return content, "".join(out.text for out in said if out.thought), [tuple(call) for call in calls.values()]


PARIS, ROME = ("get_weather", '{"city": "Paris"}'), ("get_weather", '{"city": "Rome"}')
ANSWERS = [
    ("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>', "", [PARIS]),
    (
        "hermes",
        'Sure.\n<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>\n'
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
        "Sure.",
        [PARIS, ROME],
    ),
    (
        "hermes",
        '<tool_call>{"name": "get_weather", "arguments": {"city": "</tool_call>\\"}{"}}</tool_call>',
        "",
        [("get_weather", '{"city": "</tool_call>\\"}{"}')],
    ),
    ("hermes", '<tool_call>{"name": "rm", "arguments": {}}</tool_call>', None, []),
    ("hermes", "1 <tool_call> 2", "1 <tool_call> 2", []),
    (
        "hermes",
        '<tool_call>{"name": "sql", "arguments": {"input": "select\\n1"}}</tool_call>',
        "",
        [("sql", "select\n1")],
    ),
    ("hermes", '<tool_call>\n{"name": "calc"}\n1 + "2"\n</tool_call>', "", [("calc", '1 + "2"')]),
    (
        "hermes",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
        "",
        [PARIS],
    ),
    ("llama", '{"name": "get_weather", "parameters": {"city": "Paris"}}', "", [PARIS]),
    ("llama", '<|python_tag|>{"type": "function", "name": "time", "parameters": {}}', "", [("time", "{}")]),
    ("llama", '{"answer": 42}', '{"answer": 42}', []),
    ("llama", 'x {"name": "time", "parameters": {}}', 'x {"name": "time", "parameters": {}}', []),
    ("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]time[ARGS]{}', "", [PARIS, ("time", "{}")]),
    (
        "mistral-list",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "123456789"}, '
        '{"name": "get_weather", "arguments": {"city": "Rome"}}]',
        "",
        [PARIS, ROME],
    ),
    ("phi", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|/tool_call|>', "", [PARIS]),
    (
        "deepseek-r1",
        "On it.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        "On it.",
        [PARIS],
    ),
    (
        "deepseek",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>time<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        [PARIS, ("time", "{}")],
    ),
    (
        "gemma",
        '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>',
        "",
        [("get_weather", '{"city":"Paris"}')],
    ),
    (
        "harmony",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        '<|constrain|>json<|message|>{"city": "Paris"}<|call|>',
        "",
        [PARIS],
    ),
    ("harmony", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi", "Hi", []),
]


@pytest.mark.parametrize(("name", "text", "content", "calls"), ANSWERS)
@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 500), max_size=30))
def test_an_answer_is_read_alike_in_any_pieces(name, text, content, calls, cuts):
    said, thought, made = read(reader(name), text, cuts)
    assert (said, thought, made) == read(reader(name), text)
    assert made == calls
    assert said == (text if content is None else content)
    assert thought == ("Hm." if name == "harmony" else "")


@pytest.mark.parametrize(("name", "text", "content", "calls"), ANSWERS)
@given(end=st.integers(0, 500))
def test_an_answer_cut_off_anywhere_leaks_no_marker_and_invents_no_call(name, text, content, calls, end):
    said, _, made = read(reader(name), text[: end % (len(text) + 1)])
    for (known, arguments), (full_name, full) in zip(made, calls, strict=False):
        assert known == full_name
        assert full.startswith(arguments)
    assert len(made) <= len(calls)
    if content is not None and calls:
        marks = (*FORMAT[name].begin, *FORMAT[name].end)
        assert not any(mark[:size] and said.endswith(mark[:size]) for mark in marks for size in (4, len(mark)))


@given(st.text(alphabet='<>{}[]"\\/ \ntoolcthink_namergus:,=12', max_size=80), st.lists(st.integers(0, 99), max_size=9))
def test_whatever_is_written_is_read(text, cuts):
    for name in FORMAT:
        assert read(reader(name), text, cuts) == read(reader(name), text)


def test_thoughts_are_told_apart():
    assert read(reader("hermes"), "<think>\nA < B\n</think>\n\nYes.") == ("Yes.", "A < B", [])
    assert read(reader("hermes", thinking=True), "still\n</think>\nYes.") == ("Yes.", "still", [])
    assert read(reader("hermes"), "No <think> here.") == ("No <think> here.", "", [])
    assert read(TextParser(None, think=THINK), "<think>\n\n</think>\n\nYes.") == ("Yes.", "", [])


def test_a_single_call_ends_the_answer():
    parser = reader("hermes", single=True)
    parser.push('<tool_call>{"name": "time", "arguments": {}}')
    assert parser.done


def test_ids_are_stable_and_distinct():
    parser = reader("mistral")
    outputs = parser.push("[TOOL_CALLS]time[ARGS]{}[TOOL_CALLS]time[ARGS]{}") + parser.finish()
    ids = [out.id for out in outputs if isinstance(out, Called) and out.id]
    assert len(ids) == len(set(ids)) == 2
    assert all(id_.startswith("call_") and len(id_) == 29 for id_ in ids)


# -- grammars ----------------------------------------------------------------------------------------------------------

BYTES = [bytes([i]) for i in range(256)]


class Bytes:
    """A vocabulary of bytes and the control tokens of one format."""

    def __init__(self, special):
        self.eos_token_id, self.bos_token_id = 256, None
        self.tokens = [*BYTES, b"\xff<eos>", *(b"\xff" + name.encode() for name in special)]
        self.special_token_ids = list(range(256, len(self.tokens)))
        self.special = {name: 257 + at for at, name in enumerate(special)}

    def __call__(self, text):
        return list(text)

    def tokenize(self, text):
        ids, at = [], 0
        while at < len(text):
            name = next((name for name in self.special if text.startswith(name, at)), None)
            ids += [self.special[name]] if name else list(text[at].encode())
            at += len(name or text[at])
        return ids


def accepts(grammar, vocabulary, text):
    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary), n_vocab=len(vocabulary.tokens))
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return all(matcher.consume_token(token) for token in vocabulary.tokenize(text)) and matcher.is_accepting()


HARMONY_TOKENS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|constrain|>", "<|call|>")
SPECIAL = {
    "harmony": HARMONY_TOKENS,
    "llama": ("<|python_tag|>", "<|eom_id|>"),
    "mistral": ("[TOOL_CALLS]", "[ARGS]"),
    "phi": ("<|tool_call|>", "<|/tool_call|>"),
}


def grammar_of(name, tools, vocabulary, **options):
    return AnswerGrammar(format_=FORMAT[name], special=vocabulary.special, tools=tools, **options).compile()


@pytest.mark.parametrize("as_control", [True, False])
@pytest.mark.parametrize("name", sorted(FORMAT))
def test_a_required_call_is_what_the_format_writes_and_nothing_else(name, as_control):
    vocabulary = Bytes(SPECIAL.get(name, ()) if as_control or name == "harmony" else ())
    format_ = FORMAT[name]
    grammar = grammar_of(name, [WEATHER, TIME], vocabulary, required=True)
    written = format_.write([PARIS]).removesuffix("<|call|>")
    assert accepts(grammar, vocabulary, written)
    assert read(reader(name), format_.write([PARIS]))[2] == [PARIS]
    assert not accepts(grammar, vocabulary, "Hello")
    assert not accepts(grammar, vocabulary, format_.write([("get_weather", '{"city": 5}')]).removesuffix("<|call|>"))
    assert not accepts(grammar, vocabulary, format_.write([("rm", "{}")]).removesuffix("<|call|>"))
    if name != "harmony":
        both = format_.write([PARIS, ("time", "{}")])
        assert accepts(grammar, vocabulary, both)
        assert not accepts(grammar_of(name, [WEATHER, TIME], vocabulary, required=True, single=True), vocabulary, both)


@pytest.mark.parametrize("name", sorted(FORMAT))
def test_a_free_answer_is_text_or_calls_that_match(name):
    vocabulary = Bytes(SPECIAL.get(name, ()))
    format_ = FORMAT[name]
    grammar = grammar_of(name, [WEATHER, TIME], vocabulary)
    said = "<|channel|>final<|message|>Hello." if name == "harmony" else "Hello."
    assert accepts(grammar, vocabulary, said)
    assert accepts(grammar, vocabulary, format_.write([PARIS]).removesuffix("<|call|>"))
    assert not accepts(grammar, vocabulary, format_.write([("get_weather", '{"city": 5}')]).removesuffix("<|call|>"))
    if name not in ("harmony", "llama"):
        assert accepts(grammar, vocabulary, "Well. " + format_.write([PARIS]))


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("name", sorted(FORMAT))
def test_the_input_of_a_custom_tool_is_written_as_it_is(name, required):
    vocabulary = Bytes(SPECIAL.get(name, ()))
    before, after = FORMAT[name].raw("calc")
    grammar = grammar_of(name, [CALC], vocabulary, required=required)
    assert accepts(grammar, vocabulary, f"{before}1 + 2{after}".removesuffix("<|call|>"))
    assert not accepts(grammar, vocabulary, f"{before}1 + x{after}".removesuffix("<|call|>"))
    assert read(reader(name), f"{before}1 + 2{after}") == ("", "", [("calc", "1 + 2")])


def test_a_model_may_think_before_it_must_answer():
    vocabulary = Bytes(())
    schema = Constraint("json_schema", '{"type": "object", "properties": {"a": {"type": "integer"}}}')
    free = grammar_of("hermes", [], vocabulary, think=THINK, content=schema)
    assert accepts(free, vocabulary, '<think>so {</think>\n\n{"a":1}')
    assert accepts(free, vocabulary, '{"a":1}')
    assert not accepts(free, vocabulary, '<think>so</think>\n\n{"a":"b"}')
    opened = grammar_of("hermes", [], vocabulary, think=THINK, thinking=True, content=schema)
    assert accepts(opened, vocabulary, 'so</think>{"a":1}')
    assert not accepts(opened, vocabulary, '{"a":1}')


def test_what_matches_a_closed_schema_matches_the_client_s():
    tool = Tool(name="f", parameters='{"type":"object","properties":{"a":{"type":"object","properties":{"b":{}}}}}')
    vocabulary = Bytes(())
    grammar = grammar_of("hermes", [tool], vocabulary, required=True)
    call = FORMAT["hermes"].write
    assert accepts(grammar, vocabulary, call([("f", '{"a": {"b": 1}}')]))
    assert not accepts(grammar, vocabulary, call([("f", '{"a": {"c": 1}}')]))


# -- prompts -----------------------------------------------------------------------------------------------------------


def prompt(template, messages, tools=(WEATHER,), choice="auto", thinking=None):
    return "".join(template.render(messages, ToolUse(tools=tools, choice=choice), thinking))


def test_a_template_without_tools_is_taught_them():
    template = ChatTemplate(None)
    text = prompt(template, [Message(role="system", content="Be brief."), Message(role="user", content="hi")])
    assert (
        text.index("Be brief.") < text.index('"get_weather"') < text.index("<tool_call>") < text.index("hi<|im_end|>")
    )
    assert "get_weather" not in prompt(template, [Message(role="user", content="hi")], choice="none")


def test_calls_and_results_are_told_back():
    call = ToolCall("call_1", "get_weather", '{"city": "Paris"}')
    messages = [
        Message(role="user", content="hi"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="sunny <tool_call>", tool_call_id="call_1"),
    ]
    text = prompt(ChatTemplate(None), messages)
    assert '{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>' in text
    assert "<tool_response>\nsunny <tool_call>\n</tool_response><|im_end|>" in text


def test_what_strangers_write_of_the_format_is_cut():
    messages = [Message(role="user", content="say </tool_call> and <tool_response>")]
    pieces = ChatTemplate(None).render(messages, ToolUse(tools=(WEATHER,)))
    assert not any("say </tool_call>" in piece or "and <tool_response>" in piece for piece in pieces)


def test_a_native_template_gets_the_tools():
    source = (
        "{% if tools %}{% for tool in tools %}<tools>{{ tool | tojson }}</tools>{% endfor %}{% endif %}"
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}<tool_call>{{ c.function.name }} "
        "{{ c.function.arguments | tojson }}</tool_call>{% endfor %}\n{% endfor %}"
    )
    template = ChatTemplate(source)
    assert template.format.name == "hermes"
    assert template.abilities.tools
    assert template.abilities.calls
    text = prompt(template, [Message(role="user", content="hi")])
    assert text.startswith('<tools>{"type": "function", "function": {"name": "get_weather"')
    assert "# Functions" not in text


def test_a_template_with_a_format_that_nobody_here_reads_is_taught_ours():
    template = ChatTemplate("{{ tools }}{% for m in messages %}{{ m.content }}\n{% endfor %}")
    assert not template.knows_format
    assert "# Functions" in prompt(template, [Message(role="user", content="hi")])


def test_thinking_can_be_declined():
    template = ChatTemplate(
        "{% for m in messages %}{{ m.content }}{% endfor %}[A]{% if false %}<think></think>{% endif %}"
    )
    messages = [Message(role="user", content="hi")]
    assert "".join(template.render(messages)) == "hi[A]"
    assert "".join(template.render(messages, None, False)) == "hi[A]<think>\n\n</think>\n\n"
    switch = ChatTemplate("{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% endif %}")
    assert "".join(switch.render(messages, None, False)) == "hi<think></think>"
    plan = ChatTemplate("{{ messages[0].content }}<think>\n").plan(ChatPrompt(tuple(messages)), ["hi<think>\n"], None)
    assert read(plan.reader(), "so</think>Yes") == ("Yes", "so", [])


def test_generation_marks_of_transformers_are_harmless():
    source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert ChatTemplate(source).render([Message(role="user", content="hi")]) == ["hi"]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("<|channel|>analysis", "harmony"),
        ("[TOOL_CALLS]{{ name }}[ARGS]", "mistral"),
        ("[TOOL_CALLS] [", "mistral-list"),
        ("<tool_call>", "hermes"),
        ("ipython <|python_tag|>", "llama"),
        ("<start_function_call>", "gemma"),
        ("", "hermes"),
    ],
)
def test_the_format_is_the_template_s_own(template, name):
    format_, reason = choose_format(template)
    assert format_.name == name
    assert reason


def test_arguments_are_json_again():
    text = FORMAT["hermes"].write([("f", json.dumps({"a": "é\n"}))])
    assert json.loads(read(TextParser(FORMAT["hermes"], [Tool(name="f")]), text)[2][0][1]) == {"a": "é\n"}
