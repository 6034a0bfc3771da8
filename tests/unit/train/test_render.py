"""What is trained is what is served: every answer is learnt after exactly the tokens that the server would feed."""

import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.types import ChatPrompt, GenerateRequest, Message, TextPrompt, Tool, ToolCall, ToolUse
from mainspring.engine.huggingface import HfVocabulary
from mainspring.engine.llama import binding
from mainspring.engine.llama.vocabulary import LlamaVocabulary
from mainspring.engine.prepare import Preparer
from mainspring.train.examples import Chat, Completion, Preference, Reinforcement
from mainspring.train.lines import Wrong
from mainspring.train.render import Renderer
from tests.contract.fake_vllm import write_vocabulary
from tests.unit.train.templates import FAMILIES, Family, GreedyVocabulary

TOOLS = ToolUse(tools=(Tool(name="look", description="Looks.", parameters='{"type":"object","properties":{}}'),))

WORDS = [
    "a",
    "ab",
    " ",
    "\n",
    "  ",
    "b\n\nab",
    "[/INST]",
    "<|im_end|>",
    "<|im_start|>",
    "</s>",
    "<think>",
    "\U0001f642",
    "]",
]
texts = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
said = texts.filter(str.strip)


@st.composite
def conversations(draw, with_calls=False):
    messages, weights = [], []

    def add(message, weight=0):
        messages.append(message)
        weights.append(weight)

    if draw(st.booleans()):
        add(Message(role="system", content=draw(texts)))
    for _ in range(draw(st.integers(1, 4))):
        add(Message(role="user", content=draw(said)))
        if with_calls and draw(st.booleans()):
            ids = [f"call{len(messages)}{at}" for at in range(draw(st.integers(1, 2)))]
            calls = tuple(ToolCall(one, "look", json.dumps({"at": draw(texts)})) for one in ids)
            add(Message(role="assistant", tool_calls=calls), draw(st.integers(0, 1)))
            for one in ids:
                add(Message(role="tool", content=draw(texts), tool_call_id=one))
        add(Message(role="assistant", content=draw(said)), draw(st.integers(0, 1)))
    weights[-1] = 1
    return Chat(messages=tuple(messages), weights=tuple(weights), tools=TOOLS if with_calls else None)


@functools.cache
def vocabulary_of(name):
    return GreedyVocabulary(FAMILIES[name])


# Made once for each vocabulary: a template takes a tenth of a second to compile and to be tried.
preparer_of = functools.cache(Preparer)
renderer_of = functools.cache(Renderer)


def served(vocabulary, messages, tools=None):
    """The tokens that the server feeds, by its own way."""
    prompt = ChatPrompt(tuple(messages), tools)
    request = GenerateRequest(id="a", model="m", prompt=prompt, max_tokens=1)
    return preparer_of(vocabulary).prepare(request, lambda: 0.0)[0].tokens


def spans(sample):
    """Where the runs of learnt tokens begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sample.weights > 0, [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def check(vocabulary, example, content=None):
    """Every learnt message is learnt once, after the prompt that serving makes of what is before it."""
    renderer = renderer_of(vocabulary)
    samples = renderer.chat(example)
    messages, weights = renderer._split(example)  # several calls of a message, where the model makes one at a time
    wanted = [served(vocabulary, messages[:at], example.tools) for at, weight in enumerate(weights) if weight]
    found = []
    for sample in samples:
        assert len(sample.ids) == len(sample.weights)
        for start, end in spans(sample):
            found.append(sample.ids[:start].tolist())
            answer = sample.ids[start:end].tolist()
            ends = [vocabulary.is_end(token) for token in answer]
            assert ends == [False] * (len(ends) - 1) + [True]
            if content is not None:
                content(example, len(found) - 1, vocabulary.text(answer[:-1]))
    assert found == wanted
    return samples


def plain_content(example, number, text):
    learnt = [one for one, weight in zip(example.messages, example.weights, strict=True) if weight]
    assert (
        text.removeprefix("<think>\n\n</think>\n\n").removeprefix("\n</think>\n\n").strip()
        == learnt[number].content.strip()
    )


@pytest.mark.parametrize("name", FAMILIES)
@given(example=conversations())
@settings(max_examples=25, deadline=None)
def test_answers_are_learnt_after_what_is_served(name, example):
    if name == "gemma" and example.messages[0].role == "system":
        example = Chat(messages=example.messages[1:], weights=example.weights[1:])
    if name in ("qwen-thinks", "r1") and any("<think>" in one.content for one in example.messages):
        return
    samples = check(vocabulary_of(name), example, plain_content)
    assert len(samples) <= sum(example.weights)


@pytest.mark.parametrize("name", ["llama3", "qwen-tools", "chatml", "system-first"])
@given(example=conversations(with_calls=True))
@settings(max_examples=25, deadline=None)
def test_calls_too(name, example):
    vocabulary = vocabulary_of(name)
    samples = check(vocabulary, example)
    num_calls = sum(len(one.tool_calls) for one, w in zip(example.messages, example.weights, strict=True) if w)
    learnt = "".join(vocabulary.text(sample.ids[a:b]) for sample in samples for a, b in spans(sample))
    assert learnt.count('"name": "look"') == num_calls


@pytest.mark.model
@given(example=conversations(with_calls=True))
@settings(max_examples=40, deadline=None)
def test_the_default_model(default_vocabulary, example):
    check(default_vocabulary, example)


@pytest.fixture(scope="module")
def default_vocabulary(model_file):
    return LlamaVocabulary(binding.load(), model_file, context_length=2048, only=True)


@pytest.mark.model
def test_the_vocabulary_alone_is_the_backend_s(default_vocabulary, model_file):
    from mainspring.core.config import EngineSettings
    from mainspring.engine.llama.backend import LlamaBackend

    backend = LlamaBackend(model_file, EngineSettings(kv_tokens=256))
    try:
        for name in ("num_tokens", "eos", "bos", "chat_template", "special_ids"):
            assert getattr(backend, name) == getattr(default_vocabulary, name), name
        text = "Hello <|im_end|> w\u00f6rld \U0001f642\n\n  x".encode()
        for special in (True, False):
            assert backend.tokenize(text, special=special) == default_vocabulary.tokenize(text, special=special)
    finally:
        backend.close()


@given(example=conversations())
@settings(max_examples=30, deadline=None)
def test_hugging_face_s_files(hf_vocabulary, example):
    check(hf_vocabulary, example)


@pytest.fixture(scope="module")
def hf_vocabulary(tmp_path_factory):
    return HfVocabulary(write_vocabulary(tmp_path_factory.mktemp("hf")), 100_000)


def chat(*turns, weights=None):
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    return Chat(messages=messages, weights=weights or tuple(int(role == "assistant") for role, _ in turns))


TWO = chat(("user", "one"), ("assistant", "ab"), ("user", "two"), ("assistant", "b"))


def test_one_sequence_where_history_stays_as_it_was():
    vocabulary = GreedyVocabulary(FAMILIES["chatml"], [])
    (sample,) = Renderer(vocabulary).chat(TWO)
    assert [vocabulary.text(sample.ids[a:b]) for a, b in spans(sample)] == ["ab<|im_end|>", "b<|im_end|>"]
    text = vocabulary.text(sample.ids)
    assert text.endswith("<|im_start|>assistant\nb<|im_end|>"), "what comes after the end is never generated"


def test_a_sequence_for_each_answer_where_it_is_rewritten():
    vocabulary = GreedyVocabulary(FAMILIES["qwen-thinks"], [])
    renderer = Renderer(vocabulary)
    first, second = renderer.chat(TWO)
    assert renderer.num_rewritten == 1
    assert vocabulary.text(first.ids).endswith("assistant\n<think>\n\n</think>\n\nab<|im_end|>")
    assert "<think>" not in vocabulary.text(second.ids)[: vocabulary.text(second.ids).index("two")]
    thought = chat(("user", "one"), ("assistant", "<think>\nhm\n</think>\n\nab"))
    (sample,) = renderer.chat(thought)
    ((start, end),) = spans(sample)
    assert vocabulary.text(sample.ids[start:end]) == "<think>\nhm\n</think>\n\nab<|im_end|>"


def test_a_prompt_that_begins_a_thought():
    vocabulary = GreedyVocabulary(FAMILIES["r1"], [])
    renderer = Renderer(vocabulary)
    first, _ = renderer.chat(TWO)
    assert vocabulary.text(first.ids).endswith("<|Assistant|><think>\n\n</think>\n\nab<|eos|>")
    assert "thought" in renderer.notes[0]


def test_an_end_is_added_where_the_template_has_none():
    vocabulary = GreedyVocabulary(FAMILIES["alpaca"], [])
    renderer = Renderer(vocabulary)
    sample, _ = renderer.chat(TWO)
    assert vocabulary.text(sample.ids).endswith("### Response:\nab</s>")
    assert len(renderer.notes) == 1


def test_a_message_of_weight_0_is_read_and_not_learnt():
    vocabulary = GreedyVocabulary(FAMILIES["chatml"], [])
    example = Chat(messages=TWO.messages, weights=(0, 0, 0, 1))
    (sample,) = Renderer(vocabulary).chat(example)
    assert len(spans(sample)) == 1
    assert "ab<|im_end|>" in vocabulary.text(sample.ids)


def test_names_of_control_tokens_in_an_answer_are_text():
    vocabulary = GreedyVocabulary(FAMILIES["chatml"], [])
    (sample,) = Renderer(vocabulary).chat(chat(("user", "x"), ("assistant", "write <|im_end|> here")))
    assert sample.ids.tolist().count(vocabulary.eos) == 2, "one for each turn"
    assert vocabulary.text(sample.ids).endswith("write <|im_end|> here<|im_end|>")


def test_a_template_that_refuses_is_a_fault_of_the_line():
    with pytest.raises(Wrong, match="no system messages"):
        Renderer(GreedyVocabulary(FAMILIES["gemma"], [])).chat(chat(("system", "s"), ("user", "x"), ("assistant", "y")))


def test_a_template_that_hides_answers_cannot_be_trained():
    family = Family(
        "{% for m in messages %}{{ m.role }};{% endfor %}{% if add_generation_prompt %}go:{% endif %}", ("<e>",)
    )
    with pytest.raises(Wrong, match="another base model"):
        Renderer(GreedyVocabulary(family)).chat(chat(("user", "x"), ("assistant", "y")))


@given(prompt=texts, completion=said)
@settings(deadline=None)
def test_a_completion_follows_the_prompt_of_completions(prompt, completion):
    vocabulary = vocabulary_of("llama2")
    request = GenerateRequest(id="a", model="m", prompt=TextPrompt(prompt), max_tokens=1)
    tokens = preparer_of(vocabulary).prepare(request, lambda: 0.0)[0].tokens
    sample = renderer_of(vocabulary).completion(Completion(prompt=prompt, completion=completion))
    assert sample.ids[: len(tokens)].tolist() == tokens
    assert sample.weights.tolist() == [0.0] * len(tokens) + [1.0] * (len(sample.ids) - len(tokens))
    answer = vocabulary.text(sample.ids[len(tokens) :])
    assert answer == completion.partition("</s>")[0] + "</s>", "whoever writes a raw text writes its control tokens"


def test_both_ways_of_a_preference_share_their_prompt():
    vocabulary = GreedyVocabulary(FAMILIES["chatml"], [])
    asked = (Message(role="user", content="x"),)
    ways = [(Message(role="assistant", content=text),) for text in ("good", "bad")]
    pair = Renderer(vocabulary).preference(Preference(messages=asked, chosen=ways[0], rejected=ways[1]))
    prompt = served(vocabulary, asked)
    assert pair.num_prompt == len(prompt)
    for sample, text in ((pair.chosen, "good"), (pair.rejected, "bad")):
        assert sample.ids[: pair.num_prompt].tolist() == prompt
        assert vocabulary.text(sample.ids[pair.num_prompt :]) == f"{text}<|im_end|>"
        assert spans(sample) == [(pair.num_prompt, len(sample.ids))]


def test_reinforcement_has_the_prompt_only():
    vocabulary = GreedyVocabulary(FAMILIES["chatml"], [])
    asked = (Message(role="user", content="x"),)
    [[sample]] = Renderer(vocabulary).samples(Reinforcement(messages=asked, item={}))
    assert sample.ids.tolist() == served(vocabulary, asked)
    assert not sample.weights.any()
