"""A job asks the server's models: everything arrives, in the job's name, and nobody waits for what nobody wants."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest, RateLimited, Unavailable
from mainspring.core.types import (
    ChatPrompt,
    Embeddings,
    EmbedRequest,
    Event,
    Finished,
    GenerateRequest,
    Message,
    Token,
    Usage,
)
from mainspring.train import asking
from mainspring.train.asking import Asking, Operator, Who

WHO = Who("key-1", "acme")


class Models:
    """What the server has: `says` is raised, or said."""

    def __init__(self, *says: Exception | str) -> None:
        self.says, self.asked = list(says), []
        self.hangs, self.cancelled = asyncio.Event(), asyncio.Event()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        self.asked.append(request)
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        if said == "!hang":
            self.hangs.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        for letter in said:
            yield Token(0, letter)
        yield Finished(0, "stop", Usage(3, len(said)))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.asked.append(request)
        return Embeddings(np.eye(2, dtype="<f4").tobytes(), 2, 7)


@contextlib.asynccontextmanager
async def connected(models: Models) -> AsyncGenerator[Asking]:
    operator = Operator(models.generate, models.embed, lambda project: f"vectors of {project}")
    await operator.start()
    try:
        yield operator.admit(WHO)
    finally:
        await operator.stop()


def question(**more) -> GenerateRequest:
    prompt = ChatPrompt((Message(role="user", content="How good is it? 数"),))
    return GenerateRequest(id="r1", model="judge", prompt=prompt, tenant="somebody", project="else", **more)


async def heard(asks: Asking, request: GenerateRequest) -> str:
    return "".join([event.text async for event in asks.generate(request) if isinstance(event, Token)])


async def test_an_answer_comes_whole_and_was_asked_for_in_the_job_s_name():
    models = Models("good")
    async with connected(models) as asks:
        events = [event async for event in asks.generate(question())]
    assert [event.text for event in events[:-1]] == list("good")
    assert events[-1] == Finished(0, "stop", Usage(3, 4))
    (asked,) = models.asked
    assert (asked.tenant, asked.project, asked.tier, asked.streams) == ("key-1", "acme", "flex", False)
    assert asked.prompt == question().prompt


async def test_many_ask_at_once():
    models = Models(*["yes"] * 40)
    async with connected(models) as asks:
        assert await asyncio.gather(*(heard(asks, question()) for _ in range(40))) == ["yes"] * 40


async def test_vectors_come_from_the_project_s_deployment():
    models = Models()
    async with connected(models) as asks:
        assert asks.embedding == "vectors of acme"
        found = await asks.embed(EmbedRequest(id="r", model=asks.embedding, inputs=("a", "b"), project="else"))
    assert found.num_tokens == 7
    assert models.asked[0].project == "acme"


async def test_an_error_is_the_same_error():
    async with connected(Models(InvalidRequest("No.", code="no_good", param="model"))) as asks:
        with pytest.raises(InvalidRequest, match=r"No\.") as caught:
            await heard(asks, question())
    assert (caught.value.code, caught.value.param) == ("no_good", "model")


async def test_who_is_busy_is_asked_again_until_patience_ends(monkeypatch):
    monkeypatch.setattr(asking, "LEAST_WAIT_S", 0.001)
    models = Models(RateLimited("Busy."), Unavailable("Away."), "good", *[RateLimited("Busy.")] * 10_000)
    async with connected(models) as asks:
        assert await heard(asks, question()) == "good"
        monkeypatch.setattr(asking, "PATIENCE_S", 0.01)
        with pytest.raises(RateLimited):
            await heard(asks, question())


async def test_what_nobody_waits_for_is_cancelled():
    models = Models("!hang")
    async with connected(models) as asks:
        task = asyncio.create_task(heard(asks, question()))
        await models.hangs.wait()
        task.cancel()
        async with asyncio.timeout(120):
            await models.cancelled.wait()


async def test_a_job_that_was_dismissed_asks_nothing(monkeypatch):
    models = Models("good")
    operator = Operator(models.generate, models.embed)
    await operator.start()
    asks = operator.admit(WHO)
    operator.dismiss(asks)
    with pytest.raises(InvalidRequest):
        await heard(asks, question())
    await operator.stop()
    monkeypatch.setattr(asking, "PATIENCE_S", 0.0)
    with pytest.raises(Unavailable):
        await heard(asks, question())
    assert models.asked == []


async def test_noise_harms_nobody():
    models = Models("good")
    async with connected(models) as asks:
        for noise in (b"", b"\0\0", b"\xff\xff\xff\xff" + b"x" * 100, b"\0\0\0\3abc"):
            reader, writer = await asyncio.open_unix_connection(asks.path)
            writer.write(noise)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        assert await heard(asks, question()) == "good"
