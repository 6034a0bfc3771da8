"""The seam over vLLM, with a stand-in for its `AsyncLLM`: what is asked of it, and what becomes of what it says.

`tests/e2e/test_vllm.py` asks the real one.
"""

import asyncio
import contextlib
import json
import sys

import pytest
import zmq
import zmq.asyncio

from mainspring.core.config import EngineSettings
from mainspring.core.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    MainspringError,
    Unavailable,
)
from mainspring.core.types import (
    ChatPrompt,
    Constraint,
    Finished,
    GenerateRequest,
    Message,
    Sampling,
    TextPrompt,
    Token,
    TokenPrompt,
    Tool,
    ToolCallDelta,
    ToolUse,
)
from mainspring.engine import frames
from mainspring.engine.huggingface import HfVocabulary
from mainspring.engine.relay import Relay
from mainspring.engine.vllm import VllmEngine, engine_fields, load_library
from tests.contract.fake_vllm import Dead, FakeAsyncLLM, Refused, library, write_vocabulary

CONTEXT = 1024
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "sky"}}\n</tool_call>'
SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}'
LOOK = Tool(name="look", parameters='{"type": "object", "properties": {"at": {"type": "string"}}}')


@pytest.fixture
def vocabulary(tmp_path):
    return HfVocabulary(write_vocabulary(tmp_path), CONTEXT)


@pytest.fixture
def ids(vocabulary):
    """A text as the model's tokens."""
    return lambda text: vocabulary.tokenize(text.encode(), special=True)


def engine(vocabulary, core, on_death=lambda: None):
    return VllmEngine(core, vocabulary, library(), EngineSettings(), on_death=on_death, num_cells=4096)


def ask(prompt="hello", **fields):
    prompt = TextPrompt(prompt) if isinstance(prompt, str) else prompt
    return GenerateRequest(id="r", model="m", prompt=prompt, **{"max_tokens": 60, **fields})


def chat(text="hello", **fields):
    return ChatPrompt((Message(role="user", content=text),), **fields)


async def collect(replica, request):
    return [event async for event in replica.generate(request)]


def said(events, choice=0):
    return "".join(one.text for one in events if isinstance(one, Token) and one.choice == choice and not one.echo)


async def test_tokens_become_text(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello w\u00f6rld<|im_end|>")], cached=2)
    events = await collect(engine(vocabulary, core), ask(chat("<|im_start|>hello")))
    assert said(events) == "hello w\u00f6rld"
    assert events[-1].reason == "stop"
    usage = events[-1].usage
    (call,) = core.calls
    assert call.prompt["prompt_token_ids"] == [
        *ids("<|im_start|>user\n"), *vocabulary.tokenize(b"<|im_start|>hello"),
        *ids("<|im_end|>\n<|im_start|>assistant\n"),
    ]  # fmt: skip
    assert (usage.prompt, usage.cached) == (len(call.prompt["prompt_token_ids"]), 2)
    assert usage.completion == len(ids("hello w\u00f6rld"))
    assert core.num_open == 0


async def test_parameters_are_passed_on(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello<|im_end|>")])
    sampling = Sampling(
        temperature=0.5, top_p=0.9, seed=-3, frequency_penalty=1, presence_penalty=-1, logit_bias={3: 5}
    )
    await collect(engine(vocabulary, core), ask(sampling=sampling, n=2, tier="flex", max_tokens=7))
    one, two = (call.params for call in core.calls)
    assert (one.temperature, one.top_p, one.max_tokens) == (0.5, 0.9, 7)
    assert (one.frequency_penalty, one.presence_penalty, one.logit_bias) == (1, -1, {3: 5})
    assert 0 <= one.seed < 2**63
    assert one.seed != two.seed
    assert set(one.stop_token_ids) == {vocabulary.eos, vocabulary.eos + 1}
    assert [call.priority for call in core.calls] == [2, 2]
    await collect(engine(vocabulary, core), ask(sampling=Sampling(temperature=0.7, top_p=1e-9)))
    assert core.calls[-1].params.temperature == 0
    assert core.calls[-1].priority == 1


async def test_choices_are_requests_of_their_own(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello<|im_end|>"), ids(" wor<|im_end|>")])
    events = await collect(engine(vocabulary, core), ask(n=2))
    assert {said(events, 0), said(events, 1)} == {"hello", " wor"}
    assert sum(isinstance(one, Finished) for one in events) == 2
    assert len({call.id for call in core.calls}) == 2


async def test_a_stop_string_ends_the_request_in_the_engine(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello wor")], hang=True)
    events = await collect(engine(vocabulary, core), ask(stop=("lo w",)))
    assert (said(events), events[-1].reason) == ("hel", "stop")
    assert core.aborted == ["r/0"]


async def test_the_length_is_bounded_by_the_context(vocabulary, ids):
    core = FakeAsyncLLM([ids("a" * (CONTEXT + 1))])
    events = await collect(engine(vocabulary, core), ask(max_tokens=None))
    assert events[-1].reason == "length"
    assert events[-1].usage.completion == CONTEXT - len(ids("hello"))
    with pytest.raises(ContextLengthExceeded):
        await collect(engine(vocabulary, core), ask("a" * (CONTEXT + 1)))
    assert len(core.calls) == 1


async def test_log_probabilities(vocabulary, ids):
    core = FakeAsyncLLM([[5, vocabulary.eos]])
    events = await collect(engine(vocabulary, core), ask(sampling=Sampling(logprobs=2)))
    (logprob,) = [one for event in events if isinstance(event, Token) for one in event.logprobs]
    assert (logprob.id, logprob.logprob) == (5, -2.5)
    assert logprob.top == ((1, b"\x01", -2.0), (5, b"\x05", -2.5))


@pytest.mark.parametrize("max_tokens", [0, 3])
@pytest.mark.parametrize("logprobs", [None, 1])
async def test_an_echo_comes_first(vocabulary, ids, logprobs, max_tokens):
    core = FakeAsyncLLM([ids("hello<|im_end|>")])
    request = ask(" wor", echo=True, max_tokens=max_tokens, stop=("or",), sampling=Sampling(logprobs=logprobs))
    events = await collect(engine(vocabulary, core), request)
    echoed = [event for event in events if isinstance(event, Token) and event.echo]
    assert "".join(event.text for event in echoed) == " wor"
    assert events[: len(echoed)] == echoed
    found = [one.logprob for event in echoed for one in event.logprobs]
    assert found == ([] if logprobs is None else [None] + [-0.5] * (len(ids(" wor")) - 1))
    assert said(events) == ("hello" if max_tokens else "")
    assert bool(core.calls) == (max_tokens > 0 or logprobs is not None)
    assert events[-1].usage.completion == (1 if max_tokens else 0)


async def test_a_schema_becomes_a_lark_grammar(vocabulary, ids):
    core = FakeAsyncLLM([ids('{"a":12}<|im_end|>')])
    constraint = Constraint("json_schema", SCHEMA)
    events = await collect(engine(vocabulary, core), ask(chat(), constraint=constraint))
    assert said(events) == '{"a":12}'
    grammar = core.calls[0].params.grammar
    assert grammar.startswith("%llguidance")
    assert "%json" in grammar
    await collect(engine(vocabulary, core), ask(chat()))
    assert core.calls[-1].params.grammar is None


async def test_what_breaks_the_grammar_is_an_error(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello")])
    with pytest.raises(InvalidRequest):
        await collect(engine(vocabulary, core), ask(chat(), constraint=Constraint("json_schema", SCHEMA)))


@pytest.mark.parametrize(
    ("constraint", "param"),
    [
        (Constraint("json_schema", '{"type": "object", "properties": {"a": {"pattern": "("}}}'), "properties.a"),
        (Constraint("regex", "("), "response_format"),
        (Constraint("lark", "start: missing"), "response_format"),
    ],
)
async def test_a_grammar_that_cannot_be_enforced_never_reaches_the_engine(vocabulary, constraint, param):
    core = FakeAsyncLLM([])
    with pytest.raises(InvalidRequest) as caught:
        await collect(engine(vocabulary, core), ask(chat(), constraint=constraint))
    assert param in caught.value.param
    assert not core.calls


async def test_tools_are_called(vocabulary, ids):
    core = FakeAsyncLLM([ids(CALL + "<|im_end|>")])
    tools = ToolUse(tools=(LOOK,), choice="required", parallel=False)
    events = await collect(engine(vocabulary, core), ask(chat(tools=tools), max_tokens=200))
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert calls[0].name == "look"
    assert json.loads("".join(call.arguments for call in calls)) == {"at": "sky"}
    assert events[-1].reason == "tool_calls"
    assert "part_t0: %json" in core.calls[0].params.grammar


async def test_closing_the_iterator_aborts_every_choice(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello")], hang=True)
    replica = engine(vocabulary, core)
    events = replica.generate(ask(n=2))
    await anext(events)
    assert replica.load.running == 2
    assert core.num_open == 2
    await events.aclose()
    assert sorted(core.aborted) == ["r/0", "r/1"]
    assert (core.num_open, replica.load.running, replica.load.kv_used) == (0, 0, 0)


async def test_a_deadline_ends_the_request(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello")], hang=True)
    with pytest.raises(DeadlineExceeded):
        await collect(engine(vocabulary, core), ask(deadline_s=0.01))
    assert core.aborted == ["r/0"]


async def test_refusals_and_failures_are_told(vocabulary):
    with pytest.raises(InvalidRequest) as caught:
        await collect(engine(vocabulary, FakeAsyncLLM([Refused("too hot")])), ask())
    assert caught.value.param == "temperature"
    with pytest.raises(MainspringError) as failed:
        await collect(engine(vocabulary, FakeAsyncLLM([RuntimeError("/secret/path")])), ask())
    assert "/secret" not in failed.value.message


@pytest.mark.parametrize(("fields", "param"), [({"prediction": "hello"}, "prediction"), ({"adapter": "mine"}, "model")])
async def test_what_cannot_be_done_is_refused_by_name(vocabulary, fields, param):
    core = FakeAsyncLLM([])
    with pytest.raises(InvalidRequest) as caught:
        await collect(engine(vocabulary, core), ask(**fields))
    assert caught.value.param == param
    assert not core.calls


async def test_an_answer_that_breaks_off_is_told(vocabulary, ids):
    core = FakeAsyncLLM([ids("hello wor")], breaks_off=True)
    with pytest.raises(Unavailable, match="given the request up"):
        await asyncio.wait_for(collect(engine(vocabulary, core), ask()), 5)


async def test_a_token_that_does_not_exist_is_refused(vocabulary):
    with pytest.raises(InvalidRequest):
        await collect(engine(vocabulary, FakeAsyncLLM([])), ask(TokenPrompt((1, 99999))))


async def test_the_death_of_the_engine_is_noticed(vocabulary):
    deaths = []
    core = FakeAsyncLLM([Dead()])
    replica = engine(vocabulary, core, lambda: deaths.append(1))
    with pytest.raises(Unavailable):
        await collect(replica, ask())
    assert deaths == [1]
    core.dead = True
    await replica.watch()
    assert deaths == [1, 1]


@contextlib.asynccontextmanager
async def relayed(vocabulary, core, tmp_path):
    """A relay in this loop, and the server's end of its socket."""
    context = zmq.asyncio.Context()
    server = context.socket(zmq.PAIR)
    endpoint = f"ipc://{tmp_path}/s"
    server.bind(endpoint)
    task = asyncio.create_task(Relay(engine(vocabulary, core), endpoint).serve())
    try:
        async with asyncio.timeout(120):
            yield server, lambda frame: server.send(frames.encode(frame))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close(linger=0)
        context.term()


async def receive(server):
    return frames.decode_from_replica(await server.recv())


async def test_one_frame_carries_what_a_turn_of_the_loop_brings(vocabulary, ids, tmp_path):
    core = FakeAsyncLLM([ids("hello wor hello wor<|im_end|>")], together=3)
    async with relayed(vocabulary, core, tmp_path) as (server, send):
        assert await receive(server) == frames.Hello(CONTEXT, 4096)
        for name in ("a", "b", "c"):
            send(frames.Submit(GenerateRequest(id=name, model="m", prompt=TextPrompt("hello"), max_tokens=50)))
        steps, done = [], 0
        while done < 3:
            steps.append(await receive(server))
            done += sum(isinstance(event, Finished) for _, event in steps[-1].events)
        while steps[-1].load.running:
            steps.append(await receive(server))
    events = [event for step in steps for _, event in step.events]
    assert len(steps) < len(events) / 2, "a frame carries the events of all three requests"
    for name in ("a", "b", "c"):
        assert said([event for step in steps for id_, event in step.events if id_ == name]) == "hello wor hello wor"


async def test_a_cancelled_request_is_aborted(vocabulary, ids, tmp_path):
    core = FakeAsyncLLM([ids("hello")], hang=True)
    async with relayed(vocabulary, core, tmp_path) as (server, send):
        await receive(server)
        send(frames.Submit(GenerateRequest(id="a", model="m", prompt=TextPrompt("hello"))))
        assert (await receive(server)).events
        send(frames.Cancel("a"))
        while (await receive(server)).load.running:
            pass
    assert core.aborted == ["a/0"]


async def test_errors_go_over_the_socket(vocabulary, tmp_path):
    async with relayed(vocabulary, FakeAsyncLLM([]), tmp_path) as (server, send):
        await receive(server)
        send(frames.Submit(GenerateRequest(id="a", model="m", prompt=TextPrompt("hello"), prediction="x")))
        step = await receive(server)
    assert [failure.param for failure in step.failures] == ["prediction"]


def test_without_vllm_the_error_names_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'mainspring\[vllm\]'"):
        load_library()


def test_the_engine_is_told_to_trust_nobody(tmp_path):
    fields = engine_fields(tmp_path, EngineSettings(context_tokens=77), on_cpu=True)
    assert (fields["load_format"], fields["trust_remote_code"]) == ("safetensors", False)
    assert fields["scheduling_policy"] == "priority"
    assert fields["max_model_len"] == 77
    assert fields["dtype"] == "bfloat16"
    assert fields["kv_cache_memory_bytes"] > 0
    assert engine_fields(tmp_path, EngineSettings(), on_cpu=False)["kv_cache_memory_bytes"] is None
