"""An embedding model behind the router: a real process, a real socket, a tiny model."""

import asyncio
import contextlib
import json

import numpy as np
import pytest

from mainspring.compute.local import launch_local
from mainspring.core.clock import SystemClock
from mainspring.core.config import EngineSettings, ServingSettings
from mainspring.core.errors import DeadlineExceeded, InvalidRequest, Overloaded, Unavailable
from mainspring.core.types import EmbedRequest, GenerateRequest, ModelVersion, TextPrompt
from mainspring.serving.fleet import Fleet
from mainspring.serving.keeper import Keeper, ModelSpec
from mainspring.serving.router import Offer, Router
from tests.unit.engine import tiny_bert

VERSION = ModelVersion(
    name="tiny", version="0", kind="embedding", format="safetensors", files=(), source="test", created=0
)
SETTINGS = EngineSettings(threads=1, prefill_tokens=64)


def spec_of(folder, num_places=64, module="mainspring.engine.embedding"):
    def command(endpoint):
        spec = {
            "model": str(folder / "model.safetensors"),
            "endpoint": endpoint,
            "settings": SETTINGS.model_dump(mode="json"),
        }
        return [module], json.dumps(spec).encode() + b"\n"

    return ModelSpec(version=VERSION, command=command, num_places=num_places)


@contextlib.asynccontextmanager
async def serving(one):
    offer, clock = Offer(models={"tiny": one}), SystemClock()
    settings = ServingSettings(idle_s=0.0)
    router = Router(lambda wanted: offer, launch_local, Fleet(2**40), clock, settings, preload=["tiny"])
    router.start()
    try:
        async with asyncio.timeout(120):
            await router.wait_ready()
            yield router
    finally:
        await router.stop()


def ask(name, *inputs, **fields):
    return EmbedRequest(id=name, model="tiny", inputs=inputs, **fields)


def vectors(result):
    return np.frombuffer(result.vectors, "<f4").reshape(-1, result.dimensions)


LARGE = ["a b c d e f g h i j k l m n"] * 20_000


async def test_vectors_cross_the_border_in_order(tmp_path):
    async with serving(spec_of(tiny_bert.write(tmp_path))) as router:
        assert router.find("tiny").kind == "embedding"
        assert router.find("tiny").context_length == 16
        texts = ["a", "b c d e f", "x y"]
        result = await router.embed(ask("r", *texts, (4, 5)))
        rows = [[2, 4, 3], [2, 5, 6, 7, 8, 9, 3], [2, 27, 28, 3], [2, 4, 5, 3]]
        assert result.num_tokens == sum(map(len, rows))
        for row, vector in zip(rows, vectors(result), strict=True):
            assert np.abs(vector - tiny_bert.expected(row)).max() < 1e-5
        many = await asyncio.gather(*(router.embed(ask(f"r{i}", "a " * (i % 10 + 1))) for i in range(50)))
        for i, one in enumerate(many):
            assert np.abs(vectors(one)[0] - tiny_bert.expected([2, *[4] * (i % 10 + 1), 3])).max() < 1e-5


async def test_errors_of_a_request_are_its_own(tmp_path):
    async with serving(spec_of(tiny_bert.write(tmp_path))) as router:
        with pytest.raises(InvalidRequest) as caught:
            await router.embed(ask("r", "a", dimensions=3))
        assert caught.value.param == "dimensions"
        prompt = GenerateRequest(id="g", model="tiny", prompt=TextPrompt("a"))
        with pytest.raises(InvalidRequest, match="generates no text"):
            await anext(router.generate(prompt))
        assert len(vectors(await router.embed(ask("r", "a")))) == 1


async def test_leaving_cancels_and_others_are_served_meanwhile(tmp_path):
    async with serving(spec_of(tiny_bert.write(tmp_path))) as router:
        one = router._set("tiny").keepers[0]
        large = asyncio.create_task(router.embed(ask("large", *LARGE)))
        await asyncio.sleep(0)
        await router.embed(ask("small", "a"))
        assert not large.done()
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large
        await router.embed(ask("after", "a"))
        assert one.load.running == 0, "the cancelled request must leave the pool"
        assert one._replica.num_open == 0


async def test_a_deadline_ends_a_request(tmp_path):
    async with serving(spec_of(tiny_bert.write(tmp_path))) as router:
        with pytest.raises(DeadlineExceeded):
            await router.embed(ask("r", *LARGE, deadline_s=0.2))


async def test_one_more_than_there_are_places_is_refused(tmp_path):
    async with serving(spec_of(tiny_bert.write(tmp_path), num_places=1)) as router:
        large = asyncio.create_task(router.embed(ask("large", *LARGE)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await router.embed(ask("small", "a"))
        large.cancel()


async def test_a_crash_is_tried_again_once(tmp_path):
    async with serving(spec_of(tiny_bert.write(tmp_path))) as router:
        one = router._set("tiny").keepers[0]
        large = asyncio.create_task(router.embed(ask("large", *LARGE[:3000])))
        await router.embed(ask("small", "a"))
        one._process.kill()
        assert len(vectors(await large)) == 3000


async def test_a_model_that_does_not_load_says_why(tmp_path):
    one = Keeper("tiny", spec_of(tiny_bert.write(tmp_path, model_type="roberta")), launch_local, SystemClock())
    one.start()
    try:
        async with asyncio.timeout(120):
            while "roberta" not in one.reason:  # noqa: ASYNC110 - it is told nobody
                await asyncio.sleep(0.05)
    finally:
        await one.stop()
    with pytest.raises(Unavailable):
        await one.serve().__aenter__()
