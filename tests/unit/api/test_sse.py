"""What is sent when: everything that is ready together goes out in one piece, and nothing is left behind."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from mainspring.api.app import create_app
from mainspring.core.errors import Unavailable
from mainspring.core.types import Event, Finished, GenerateRequest, Screened, Token, Usage
from mainspring.engine.fake import FakeEngine
from tests.contract.target import KEY, services

Message = dict[str, Any]
Source = Callable[[GenerateRequest], AsyncGenerator[Event]]
WAIT_S = 120  # only a broken edge takes longer than a moment


class Client:
    """The other side of ASGI: sends one request, keeps every message, leaves when told to."""

    def __init__(self, generate: Source, operation: str = "chat/completions", **fields: Any) -> None:
        self.sent: list[Message] = []
        self.leave = asyncio.Event()
        engine = FakeEngine()
        self.app = create_app(services(engine, generate=generate))
        asked = {"messages": [{"role": "user", "content": "x"}]} if "chat" in operation else {"prompt": "x"}
        body = {"model": "fake", **asked, **fields}
        self._inbox: list[Message] = [{"type": "http.request", "body": json.dumps(body).encode()}]
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": f"/v1/{operation}",
            "raw_path": b"",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"api-key", KEY.encode()), (b"content-type", b"application/json")],
            "client": None,
            "server": None,
        }

    async def run(self) -> list[Message]:
        async def receive() -> Message:
            if self._inbox:
                return self._inbox.pop()
            await self.leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self.app(self._scope, receive, send)
        return self.sent

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")


async def test_events_that_are_ready_together_are_sent_together() -> None:
    gate = asyncio.Event()

    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        for word in ("a", "b", "c"):
            yield Token(0, word)
        await gate.wait()
        for word in ("d", "e"):
            yield Token(0, word)
        yield Finished(0, "stop", Usage(1, 5))

    client = Client(generate, stream=True)
    running = asyncio.create_task(client.run())
    await until(lambda: bool(client.bodies))
    assert client.bodies[0].count(b"data: ") == 4  # the role and three tokens
    gate.set()
    await asyncio.wait_for(running, WAIT_S)
    _, second, last = client.bodies
    assert second.count(b"data: ") == 3
    assert last == b"data: [DONE]\n\n"
    assert client.sent[-1].get("more_body", False) is False
    assert [message["type"] for message in client.sent].count("http.response.start") == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_sent_before_the_first_event(*, stream: bool) -> None:
    gate = asyncio.Event()

    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        await gate.wait()
        raise Unavailable("Gone.")
        yield

    client = Client(generate, stream=stream)
    running = asyncio.create_task(client.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert client.sent == []
    gate.set()
    await asyncio.wait_for(running, WAIT_S)
    assert client.sent[0]["status"] == 503


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("num_before", [0, 2])
async def test_a_client_that_leaves_closes_the_iterator(num_before: int, *, stream: bool) -> None:
    closed = waiting = False

    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        nonlocal closed, waiting
        try:
            for _ in range(num_before):
                yield Token(0, "a")
            waiting = True
            await asyncio.Event().wait()
        finally:
            closed = True

    client = Client(generate, stream=stream)
    running = asyncio.create_task(client.run())
    await until(lambda: waiting)
    client.leave.set()
    await asyncio.wait_for(running, WAIT_S)
    assert closed
    assert not any(message.get("more_body") is False for message in client.sent)
    assert len(asyncio.all_tasks()) == 1


async def test_an_iterator_that_is_done_leaves_no_task_behind() -> None:
    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Token(0, "a")
        yield Finished(0, "stop", Usage(1, 1))

    await Client(generate).run()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_choice_without_an_end_is_a_failure(operation: str, *, stream: bool) -> None:
    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Token(0, "a")
        yield Finished(0, "stop", Usage(1, 1))

    client = Client(generate, operation, stream=stream, n=2)
    await client.run()
    assert client.sent[0]["status"] == (200 if stream else 500)
    assert b'"internal_error"' in client.bodies[-1]


async def test_usage_counts_a_prompt_once_and_what_was_cached_before() -> None:
    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Finished(1, "stop", Usage(10, 3, 9))  # forked from its sibling
        yield Finished(0, "stop", Usage(10, 4, 2))

    client = Client(generate, n=2)
    await client.run()
    usage = json.loads(client.bodies[0])["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (10, 7, 17)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 2


async def test_tokens_inside_of_a_character_send_no_empty_chunk() -> None:
    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Token(0, "")
        yield Token(0, "é")
        yield Finished(0, "stop", Usage(1, 2))

    client = Client(generate, stream=True)
    await client.run()
    assert b"".join(client.bodies).count(b"data: ") == 4  # role, é, finish, [DONE]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_filters_found_is_counted(*, stream: bool) -> None:
    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Token(0, "a")
        await asyncio.sleep(0)
        yield Screened(0, {}, reasons="[]", blocked=True)
        yield Finished(0, "content_filter", Usage(1, 1))

    client = Client(generate, stream=stream)
    await asyncio.wait_for(client.run(), WAIT_S)
    text = TestClient(client.app).get("/metrics", headers={"api-key": KEY}).text
    for name in ("rejected", "harmful"):
        assert re.search(rf"^rai_{name}_requests_total{{.*}} 1.0$", text, re.MULTILINE)


async def test_a_whole_answer_that_fails_at_its_end_has_the_status_of_the_failure() -> None:
    async def generate(request: GenerateRequest) -> AsyncGenerator[Event]:
        yield Token(0, "a")
        await asyncio.sleep(0)
        yield Token(0, "b")
        raise Unavailable("Gone.")

    sent = await asyncio.wait_for(Client(generate).run(), WAIT_S)
    assert sent[0]["status"] == 503
