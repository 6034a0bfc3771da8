"""The whole product on the real vLLM, with the official client.

Optional, since it takes an environment of gigabytes: `scripts/vllm_environment` makes it and says what to set. vLLM
runs on this machine's processor here; nothing of this has run on a GPU.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from statistics import fmean

import psutil
import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI

from tests.e2e.server import running

PYTHON = os.environ.get("MAINSPRING_VLLM_PYTHON")
MODEL = Path(os.environ.get("MAINSPRING_VLLM_MODEL") or ".cache/vllm/smollm2-135m-instruct").resolve()

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        not PYTHON or not (MODEL / "model.safetensors").exists(),
        reason="vLLM is not tested: run scripts/vllm_environment and set MAINSPRING_VLLM_PYTHON as it says",
    ),
]

LOAD_S = 400.0
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
TEXT = (
    "The Moon is the only natural satellite of the Earth. It orbits at an average distance of 384,400 kilometres, "
    "about thirty times the diameter of the Earth. Its gravity causes the tides of the ocean, and the same side "
    "always faces us."
)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def server():
    began = time.monotonic()
    with running(MODEL, python=PYTHON, start_s=LOAD_S, MAINSPRING_ENGINE__VLLM__KV_BYTES=str(2**30)) as started:
        print(f"vLLM was ready after {time.monotonic() - began:.0f} s")
        yield started


@pytest.fixture(scope="module")
def client(server):
    return OpenAI(base_url=server.base_url + "/v1", api_key=server.key, max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def chat(client, model, **fields):
    fields = {"messages": QUESTION, "temperature": 0, "max_tokens": 60, **fields}
    return client.chat.completions.create(model=model, **fields)


def test_a_chat_and_the_same_as_a_stream(client, model):
    whole = chat(client, model)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens > 3
    stream = chat(client, model, stream=True)
    parts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert len(parts) > 3
    assert "".join(filter(None, parts)) == whole.choices[0].message.content


def test_a_schema_is_kept(client, model):
    form = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
    answer = json.loads(chat(client, model, temperature=1, seed=5, response_format=form).choices[0].message.content)
    assert isinstance(answer["people"], int)
    assert set(answer) == {"city", "people"}
    broken = {"type": "object", "properties": {"city": {"type": "string", "pattern": "("}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": broken}}
    with pytest.raises(BadRequestError, match=r"schema\.properties\.city"):
        chat(client, model, response_format=form)


def test_a_required_tool_is_called(client, model):
    reply = chat(client, model, tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)
    assert reply.choices[0].finish_reason == "tool_calls"


def test_a_stop_string_ends_the_answer(client, model):
    text = chat(client, model).choices[0].message.content
    stop = text[5:12]
    choice = chat(client, model, stop=[stop]).choices[0]
    assert choice.message.content == text[: text.index(stop)]
    assert choice.finish_reason == "stop"


def test_log_probabilities(client, model):
    tokens = chat(client, model, logprobs=True, top_logprobs=3, max_tokens=4).choices[0].logprobs.content
    assert len(tokens) == 4
    for token in tokens:
        best = [one.logprob for one in token.top_logprobs]
        assert best == sorted(best, reverse=True)
        assert token.logprob == best[0], "greedy takes the likeliest"


def test_an_echo_brings_log_probabilities_of_the_prompt(client, model):
    reply = client.completions.create(model=model, prompt="The sky is blue", echo=True, logprobs=1, max_tokens=0)
    assert reply.choices[0].text == "The sky is blue"
    assert len(reply.choices[0].logprobs.tokens) == 4


def test_the_model_is_the_one_that_llama_cpp_runs(client, model, model_file):
    """The same weights, template and tokens: the log probabilities of a text differ by rounding only."""

    def scores(of, name):
        reply = of.completions.create(model=name, prompt=TEXT, echo=True, logprobs=0, max_tokens=0)
        return reply.choices[0].logprobs

    here = scores(client, model)
    with running(model_file) as other:
        peer = OpenAI(base_url=other.base_url + "/v1", api_key=other.key, max_retries=0, timeout=120)
        there = scores(peer, peer.models.list().data[0].id)
    assert here.tokens == there.tokens
    pairs = list(zip(here.token_logprobs[1:], there.token_logprobs[1:], strict=True))
    apart = [abs(ours - theirs) for ours, theirs in pairs]
    means = [fmean(column) for column in zip(*pairs, strict=True)]
    print(f"mean log probability {means[0]:.3f} (vLLM), {means[1]:.3f} (llama.cpp); apart {fmean(apart):.3f}")
    assert abs(means[0] - means[1]) < 0.05
    assert fmean(apart) < 0.25


def test_a_prefix_is_computed_once(client, model):
    prompt = "Tell me about the sea. " * 40
    usage = [client.completions.create(model=model, prompt=prompt, max_tokens=2).usage for _ in range(2)]
    assert usage[1].prompt_tokens_details.cached_tokens > usage[1].prompt_tokens / 2


async def test_sixteen_at_once_get_their_own_answers(server, model):
    client = AsyncOpenAI(base_url=server.base_url + "/v1", api_key=server.key, max_retries=0, timeout=120)
    names = [f"number-{at}" for at in range(16)]

    async def one(name):
        schema = {"type": "object", "properties": {"name": {"const": name}}, "required": ["name"]}
        form = {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {**schema, "additionalProperties": False}},
        }
        reply = await client.chat.completions.create(
            model=model, messages=QUESTION, max_tokens=40, response_format=form
        )
        return json.loads(reply.choices[0].message.content)["name"]

    async with client:
        assert await asyncio.gather(*map(one, names)) == names


def test_nothing_is_left_behind(server, client, model):
    """Last: a client that leaves frees its place, and no process outlives its replica."""
    stream = client.completions.create(
        model=model, prompt="x", max_tokens=4000, stream=True, logit_bias={"0": -100, "2": -100}
    )
    next(iter(stream))
    stream.close()
    limit = time.monotonic() + 20
    while server.metric("mainspring_requests_running"):
        assert time.monotonic() < limit, "a request is left behind"
        time.sleep(0.1)
    children = psutil.Process(server.process.pid).children(recursive=True)
    (replica,) = [child for child in children if "mainspring.engine.vllm" in child.cmdline()]
    workers = replica.children(recursive=True)
    assert workers
    replica.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
