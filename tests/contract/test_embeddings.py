"""embeddings: checklist items 22, 23 and 24, limits, errors, cancellation."""

import array
import asyncio
import base64
import contextlib
import json
import math
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.target import Target, fake_embedding_target
from tests.e2e.server import running

CASES = json.loads((Path(__file__).parents[1] / "data" / "minilm_vectors.json").read_text("utf-8"))
# The clients validate before they decode the base64 that they ask for, so their strict mode refuses every embedding,
# OpenAI's own too.
LENIENT = {"_strict_response_validation": False}


@contextlib.contextmanager
def minilm_target(folder: Path) -> Generator[Target]:
    """The whole product on all-MiniLM-L6-v2."""
    with running(folder) as server, server.http() as client:
        model = client.get("/v1/models").json()["data"][0]
        yield Target(
            base_url=server.base_url, key=server.key, model=model["id"], context_length=model["context_length"]
        )


@pytest.fixture(scope="module", params=["fake", pytest.param("minilm", marks=pytest.mark.model)])
def target(request: pytest.FixtureRequest) -> Generator[Target]:
    fake = request.param == "fake"
    with fake_embedding_target() if fake else minilm_target(request.getfixturevalue("embedding_folder")) as ready:
        yield ready


@pytest.fixture(scope="module")
def fake() -> Generator[Target]:
    with fake_embedding_target() as ready:
        yield ready


def embed(target: Target, given: Any, dialect: str = "openai", **fields: Any) -> dict[str, Any]:
    response = target.post({"input": given, **fields}, "embeddings", dialect)
    assert response.status_code == 200, response.text
    return response.json()


def refused(target: Target, given: Any, dialect: str = "openai", **fields: Any) -> dict[str, Any]:
    response = target.post({"input": given, **fields}, "embeddings", dialect)
    assert response.status_code == 400, response.text
    return response.json()["error"]


def vectors(answer: dict[str, Any]) -> list[list[float]]:
    return [item["embedding"] for item in answer["data"]]


def test_the_official_client(target: Target, dialect: str) -> None:
    raw = target.sdk(dialect, **LENIENT).embeddings.with_raw_response.create(
        model=target.model, input="hello", user="me"
    )
    body = json.loads(raw.text)
    assert body.keys() == {"object", "data", "model", "usage"}
    assert body["object"] == "list"
    assert body["data"][0].keys() == {"object", "index", "embedding"}
    assert body["model"] == target.model
    answer = raw.parse()
    assert answer.data[0].object == "embedding"
    assert math.isclose(sum(value * value for value in answer.data[0].embedding), 1.0, abs_tol=1e-4)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


async def test_the_official_asynchronous_client(target: Target, dialect: str) -> None:
    async with target.async_sdk(dialect, **LENIENT) as client:
        answer = await client.embeddings.create(model=target.model, input=["a b", "c"])
    assert [item.index for item in answer.data] == [0, 1]


def test_item_22_base64_decodes_to_the_same_vector_as_float(target: Target, dialect: str) -> None:
    client = target.sdk(dialect, **LENIENT)
    by_default = client.embeddings.create(model=target.model, input="hello").data[0].embedding  # asks for base64
    as_float = client.embeddings.create(model=target.model, input="hello", encoding_format="float").data[0].embedding
    assert list(by_default) == as_float
    assert vectors(embed(target, "hello", dialect)) == [as_float], "float is the API's own default"
    encoded = vectors(embed(target, "hello", dialect, encoding_format="base64"))[0]
    assert isinstance(encoded, str)
    assert array.array("f", base64.b64decode(encoded, validate=True)).tolist() == as_float


def test_item_23_dimensions_of_a_model_that_was_not_trained_for_it(target: Target, dialect: str) -> None:
    error = refused(target, "hello", dialect, dimensions=4)
    assert error["param"] == "dimensions"
    whole = vectors(embed(target, "hello"))[0]
    assert vectors(embed(target, "hello", dialect, dimensions=len(whole))) == [whole]


def test_item_23_dimensions_cut_and_renormalise(dialect: str) -> None:
    with fake_embedding_target(dimensions=8, resizable=True) as target:
        client = target.sdk(dialect, **LENIENT)
        whole = client.embeddings.create(model=target.model, input="hello").data[0].embedding
        cut = client.embeddings.create(model=target.model, input="hello", dimensions=3).data[0].embedding
        length = math.sqrt(sum(value * value for value in whole[:3]))
        assert cut == pytest.approx([value / length for value in whole[:3]], abs=1e-6)
        assert refused(target, "hello", dialect, dimensions=9)["param"] == "dimensions"


def test_item_24_batches_keep_their_order(target: Target, dialect: str) -> None:
    texts = ["one", "a much longer text of several more words", "two", "three four five", "one"]
    answer = target.sdk(dialect, **LENIENT).embeddings.create(model=target.model, input=texts)
    assert [item.index for item in answer.data] == list(range(len(texts)))
    for text, item in zip(texts, answer.data, strict=True):
        alone = vectors(embed(target, text))[0]
        assert item.embedding == pytest.approx(alone, abs=1e-4)
    assert answer.data[0].embedding == pytest.approx(answer.data[4].embedding, abs=1e-6)
    assert answer.usage.prompt_tokens == sum(embed(target, text)["usage"]["prompt_tokens"] for text in texts)


def test_item_24_token_arrays_keep_their_order(target: Target, dialect: str) -> None:
    client = target.sdk(dialect, **LENIENT)
    one = client.embeddings.create(model=target.model, input=[72, 105, 33]).data
    assert len(one) == 1
    several = client.embeddings.create(model=target.model, input=[[99], [72, 105, 33], [100, 101]]).data
    assert [item.index for item in several] == [0, 1, 2]
    assert several[1].embedding == pytest.approx(one[0].embedding, abs=1e-5)
    assert several[0].embedding != pytest.approx(several[2].embedding, abs=1e-3)


def test_2048_inputs_and_no_more(fake: Target, dialect: str) -> None:
    answer = embed(fake, [f"text {i}" for i in range(2048)], dialect)
    assert [item["index"] for item in answer["data"]] == list(range(2048))
    assert vectors(answer)[2047] == vectors(embed(fake, "text 2047"))[0]
    encoded = embed(fake, [f"text {i}" for i in range(2048)], dialect, encoding_format="base64")
    assert len(encoded["data"]) == 2048
    error = refused(fake, ["x"] * 2049, dialect)
    assert (error["param"], error["code"]) == ("input", "array_above_max_length")
    assert refused(fake, [[1]] * 2049, dialect)["code"] == "array_above_max_length"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        ([], "input"),
        (["a", ""], "input[1]"),
        ([[]], "input[0]"),
        ([[1], []], "input[1]"),
        ([1, "a"], "input[1]"),
        (["a", 1], "input[1]"),
        ([-1], "input[0]"),
        ([1.5], "input[0]"),
        ([True], "input[0]"),
        (7, "input"),
        (None, "input"),
    ],
)
def test_what_is_no_input(target: Target, given: Any, param: str) -> None:
    assert refused(target, given)["param"] == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 1.5}, "dimensions"),
        ({"input_type": "query"}, "input_type"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_what_is_no_field(target: Target, fields: dict[str, Any], param: str) -> None:
    assert refused(target, "a", **fields)["param"] == param


def test_null_is_absent(target: Target, dialect: str) -> None:
    answer = embed(target, "a", dialect, encoding_format=None, dimensions=None, user=None)
    assert vectors(answer) == vectors(embed(target, "a"))


def test_too_long_is_refused_and_not_cut(target: Target, dialect: str) -> None:
    error = refused(target, ["short", "word " * 300], dialect)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")


def test_a_token_that_does_not_exist(target: Target) -> None:
    if target.engine is None:
        assert refused(target, [10**6])["param"] == "input"


@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
def test_text_from_an_embedding_model(target: Target, dialect: str, operation: str) -> None:
    prompt = {"messages": [{"role": "user", "content": "hi"}]} if operation[1] == "h" else {"prompt": "hi"}
    response = target.post(prompt, operation, dialect)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["code"] == ("operation_not_supported" if dialect == "openai" else "OperationNotSupported")
    assert "makes embeddings" in error["message"]


def test_embeddings_of_a_chat_model(fake: Target, dialect: str) -> None:
    path = fake.path(dialect, "embeddings").replace(fake.model, "fake")
    with fake.http() as client:
        response = client.post(path, json={"model": "fake", "input": "hi"})
    assert response.status_code == 400
    expected = "operation_not_supported" if dialect == "openai" else "OperationNotSupported"
    assert response.json()["error"]["code"] == expected


@pytest.mark.parametrize(("name", "status"), [("Unavailable", 503), ("Overloaded", 429), ("DeadlineExceeded", 408)])
def test_failures_keep_their_status(fake: Target, dialect: str, name: str, status: int) -> None:
    assert fake.post({"input": f"!raise {name}"}, "embeddings", dialect).status_code == status


async def test_leaving_cancels(fake: Target) -> None:
    assert fake.embedder is not None
    async with fake.async_sdk("openai") as client:
        waiting = asyncio.create_task(client.embeddings.create(model=fake.model, input="!hang"))
        await until(lambda: fake.embedder.running == 1)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    await until(lambda: fake.embedder.running == 0)


async def until(true: Any) -> None:
    ends = time.monotonic() + 10
    while not true():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


def test_tokens_are_counted(target: Target) -> None:
    def counted() -> float:
        with target.http() as client:
            lines = client.get("/metrics").text.splitlines()
        wanted = f'mainspring_tokens_total{{kind="prompt",model="{target.model}"}}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))

    before = counted()
    used = embed(target, "hello there")["usage"]["prompt_tokens"]
    assert counted() - before == used


def test_azure_says_what_the_model_can(target: Target) -> None:
    with target.http() as client:
        said = client.get(f"/openai/models/{target.model}?api-version=2024-10-21").json()["capabilities"]
    assert (said["embeddings"], said["chat_completion"], said["completion"]) == (True, False, False)


@pytest.mark.model
def test_the_vectors_of_sentence_transformers(embedding_folder: Path, dialect: str, target: Target) -> None:
    if target.engine is not None:
        pytest.skip("the fake has other vectors")
    answer = target.sdk(dialect, **LENIENT).embeddings.create(
        model=target.model, input=[case["text"] for case in CASES]
    )
    for case, item in zip(CASES, answer.data, strict=True):
        expected = np.frombuffer(base64.b64decode(case["vector"]), "<f4")
        assert np.abs(np.array(item.embedding) - expected).max() < 1e-4
    assert answer.usage.prompt_tokens == sum(case["num_tokens"] for case in CASES)
