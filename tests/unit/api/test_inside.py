"""Requests from within: as somebody, through everything that others pass, and by nobody from outside."""

import asyncio
import json
from typing import Any

import pytest

from mainspring.api.app import App, create_app
from mainspring.api.context import CALLER, Caller
from mainspring.api.inside import Inside
from mainspring.core.types import Grant, Principal
from mainspring.engine.fake import FakeEmbedder, FakeEngine
from tests.contract.target import services

WHO = Principal(id="key-7", name="somebody", grants=(Grant("user", "default"),))
READER = Principal(id="key-8", name="a reader", grants=(Grant("reader", "default"),))


def make(engine: FakeEngine, **more: Any) -> tuple[Inside, App]:
    inside = Inside()
    return inside, create_app(services(engine, inside=inside, **more))


def chat(text: str = "hi", **more: Any) -> bytes:
    return json.dumps({"model": "fake", "messages": [{"role": "user", "content": text}], **more}).encode()


async def test_a_request_is_answered_as_from_outside() -> None:
    engine = FakeEngine()
    inside, _ = make(engine)
    id_ = "0" * 32
    found = await inside(
        "/v1/chat/completions", chat(service_tier="priority"), principal=WHO, project="default", tier="batch", id=id_
    )
    assert (found.status, found.request_id) == (200, id_)
    body = json.loads(found.body)
    assert (body["id"], body["service_tier"]) == (f"chatcmpl-{id_}", "flex")
    [asked] = engine.requests
    assert (asked.tenant, asked.project, asked.tier) == ("key-7", "default", "batch")
    assert inside.serves("/v1/chat/completions")
    assert not inside.serves("/v1/chat")


async def test_without_a_tier_it_is_the_bodys_to_say() -> None:
    engine = FakeEngine()
    inside, _ = make(engine)
    for tier in ("priority", "default", "flex"):
        found = await inside("/v1/chat/completions", chat(service_tier=tier), principal=WHO, project="default")
        assert (json.loads(found.body)["service_tier"], engine.requests[-1].tier) == (tier, tier)


async def test_completions_and_embeddings_have_the_tier_too() -> None:
    embedder = FakeEmbedder()
    engine = FakeEngine(others=(embedder.model,))
    inside, _ = make(engine, embed=embedder.embed)
    for path, body in (
        ("/v1/completions", {"model": "fake", "prompt": "x"}),
        ("/v1/embeddings", {"model": "fake-embed", "input": "x"}),
    ):  # fmt: skip
        found = await inside(path, json.dumps(body).encode(), principal=WHO, project="default", tier="batch")
        assert found.status == 200
    assert (engine.requests[-1].tier, embedder.requests[-1].tier) == ("batch", "batch")


@pytest.mark.parametrize(
    ("path", "body", "who", "status"),
    [
        ("/v1/chat/completions", chat("!raise Overloaded"), WHO, 429), ("/v1/chat/completions", b"{", WHO, 400),
        ("/v1/chat/completions", chat("!crash"), WHO, 500), ("/v1/chat/completions", chat(), READER, 403),
        ("/v1/nothing", b"{}", WHO, 404), ("/v1/organization/costs", b"{}", WHO, 405),
    ],
)  # fmt: skip
async def test_failures_are_answers(path: str, body: bytes, who: Principal, status: int) -> None:
    inside, _ = make(FakeEngine())
    found = await inside(path, body, principal=who, project="default")
    assert found.status == status
    assert json.loads(found.body)["error"]["message"]
    assert found.retry_after_s == (1.5 if status == 429 else None)


async def test_who_asks_in_a_project_without_a_role_there_is_refused() -> None:
    inside, _ = make(FakeEngine())
    found = await inside("/v1/chat/completions", chat(), principal=WHO, project="another")
    assert found.status == 403


async def test_cancelling_frees_the_engine() -> None:
    engine = FakeEngine()
    inside, _ = make(engine)
    task = asyncio.create_task(inside("/v1/chat/completions", chat("!hang after 2"), principal=WHO, project="default"))
    while not engine.load("fake").running:  # noqa: ASYNC110 - a number
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not engine.load("fake").running


async def test_who_comes_before_the_application_waits() -> None:
    inside = Inside()
    task = asyncio.create_task(inside("/v1/chat/completions", chat(), principal=WHO, project="default"))
    await asyncio.sleep(0)
    create_app(services(FakeEngine(), inside=inside))
    assert (await task).status == 200


@pytest.mark.parametrize(
    "claim", ["admin", b"admin", {"principal": "admin"}, (WHO, "default"), WHO, Caller, ["x"], True]
)
async def test_nothing_but_the_object_itself_says_who_asks(claim: Any) -> None:
    """Whatever a server were to put there of what a client sends: only an object that this process made counts."""
    _, app = make(FakeEngine())
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (CALLER.encode(), b"admin")], CALLER: claim,
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": chat(), "more_body": False}

    await app(scope, receive, send)
    assert sent[0]["status"] == 401
