"""Responses that are kept, in the foreground and in the background, on both databases."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from mainspring.core import log
from mainspring.core.errors import Conflict, InvalidRequest, NotFound, Overloaded, Unavailable
from mainspring.core.types import Constraint
from mainspring.engine.fake import encode
from mainspring.responses.conversations import Conversations
from mainspring.responses.events import Told
from mainspring.responses.fold import fold
from mainspring.store import worker
from mainspring.store.conversations import remove_conversations
from mainspring.store.jobs import find_job
from mainspring.store.responses import remove_all
from mainspring.store.tables import outbox, response_events, response_items, responses
from tests.unit.responses.installation import MADE, OWNER, Installation, ask_of, blank, installed

SEARCH = {"type": "file_search", "vector_store_ids": ["vs_1"]}


@pytest.fixture(autouse=True)
def hurry(monkeypatch) -> None:
    monkeypatch.setattr(worker, "BACKOFF_S", 0.0)
    log.configure("critical", terminal=False)
    MADE.clear()


@pytest.fixture
async def here(tmp_path: Path, database_url: str) -> AsyncGenerator[Installation]:
    async with installed(tmp_path, database_url) as found:
        yield found


async def count(here: Installation, table: Any) -> int:
    async with here.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def announced(here: Installation) -> list[tuple[str, str]]:
    async with here.database.read() as connection:
        rows = await connection.execute(select(outbox.c.type, outbox.c.object).order_by(outbox.c.object))
        return [(row.type, row.object) for row in rows]


async def enqueue(here: Installation, name: str, text: str = "Hello", **fields: Any) -> None:
    ask = ask_of(name, text, background=True, **fields)
    await here.responses.enqueue(ask, blank(ask))


def text_of(body: dict[str, Any]) -> str:
    return "".join(p["text"] for item in body["output"] if item["type"] == "message" for p in item["content"])


def check_log(told: list[Told], body: dict[str, Any]) -> None:
    """Nothing is missing or there twice, and a fold over it is the response."""
    assert [each.seq for each in told] == list(range(len(told)))
    folded = fold([each.body for each in told])
    assert folded.output == body["output"]
    if body["status"] != "cancelled":
        assert folded.response == body


async def test_what_is_kept_is_what_was_told(here: Installation) -> None:
    told, body = await here.make(ask_of("resp_1", include=("message.output_text.logprobs",)))
    check_log(told, body)
    assert await here.responses.get("default", "resp_1", OWNER) == body
    assert await here.log("resp_1") == told
    before = await count(here, response_items)
    await here.make(ask_of("resp_2", stores=False))
    assert (await count(here, responses), await count(here, response_items)) == (1, before)
    assert await announced(here) == []  # whoever waits needs no telling


async def test_a_chain_is_remembered_whole_and_kept_as_long_as_its_last(here: Installation) -> None:
    await here.make(ask_of("resp_1", "One"))
    await here.make(ask_of("resp_2", "Two", previous="resp_1", instructions="Not for later."))
    here.clock.advance(900)
    _, third = await here.make(ask_of("resp_3", "Three", previous="resp_2"))
    asked = [message.content for message in here.engine.requests[-1].prompt.messages]  # type: ignore[union-attr]
    assert asked[::2] == ["One", "Two", "Three"]
    assert "Not for later." not in asked
    here.clock.advance(900)  # the first two would have expired by themselves
    await here.responses.sweep()
    await here.make(ask_of("resp_4", "Four", previous="resp_3"))
    await here.responses.remove("default", "resp_2", OWNER)
    with pytest.raises(InvalidRequest, match="resp_2"):
        await here.make(ask_of("resp_5", previous="resp_3"))
    assert third["status"] == "completed"


async def test_what_has_expired_is_gone_and_swept(here: Installation) -> None:
    await here.make(ask_of("resp_1"))
    await enqueue(here, "resp_2", "Hello !hang after 2")
    await here.wait_for("resp_2", "response.output_text.delta")
    here.clock.advance(1001)
    with pytest.raises(NotFound):
        await here.responses.get("default", "resp_1", OWNER)
    assert await here.responses.sweep() == 1  # what is not over stays
    assert await count(here, responses) == 1


async def test_in_the_background_the_log_is_the_response_and_others_are_told(here: Installation) -> None:
    await enqueue(here, "resp_1")
    body = await here.over("resp_1")
    check_log(await here.log("resp_1"), body)
    assert (body["status"], body["usage"]["output_tokens"]) == ("completed", 24)
    assert await announced(here) == [("response.completed", "resp_1")]
    _, same = await here.make(ask_of("resp_2"))
    assert text_of(same) == text_of(body)


@pytest.mark.parametrize("text", ["Hello !hang after 5", "!think Hello !hang after 5"])
async def test_broken_off_it_goes_on_from_what_was_told(here: Installation, text: str) -> None:
    await enqueue(here, "resp_1", text)
    log: list[Told] = []
    for _ in range(10):
        before = len(log)
        while len(log) < before + 5 and (not log or log[-1].type != "response.completed"):
            log = await here.log("resp_1")
            await asyncio.sleep(0.01)
        if log[-1].type == "response.completed":
            break
        await here.stop()
        here.start()
    body = await here.over("resp_1")
    told = await here.log("resp_1")
    assert told[: len(log)] == log
    check_log(told, body)
    _, whole = await here.make(ask_of("resp_2", text.replace(" !hang after 5", " !hang after 90")))
    assert len(text_of(body).split()) == 24
    assert [item["type"] for item in body["output"]] == [item["type"] for item in whole["output"]]
    assert body["usage"]["output_tokens"] == 24 + 3 * text.startswith("!think")
    assert body["usage"]["input_tokens"] == len(encode(f"<user>{text}\n"))


async def test_what_cannot_be_continued_is_told_whole(here: Installation) -> None:
    schema = Constraint("json_schema", '{"type":"object","properties":{"a":{"const":"long enough"}},"required":["a"]}')
    await enqueue(here, "resp_1", "Hello !hang after 6", constraint=schema)
    for _ in range(3):
        told = await here.wait_for("resp_1", "response.in_progress")
        assert not any(each.type.endswith("delta") for each in told)
        await here.stop()
        here.start()
    await here.responses.cancel("default", "resp_1", OWNER)
    await enqueue(here, "resp_2", constraint=schema)
    assert text_of(await here.over("resp_2")) == '{"a": "long enough"}'


async def test_cancelled_it_ends_at_once_and_stays_so(here: Installation) -> None:
    await enqueue(here, "resp_1", "Hello !hang after 5")
    await here.wait_for("resp_1", "response.output_text.delta")
    first = await here.responses.cancel("default", "resp_1", OWNER)
    assert await here.responses.cancel("default", "resp_1", OWNER) == first
    check_log(await here.log("resp_1"), first)
    assert (first["status"], first["output"][0]["status"]) == ("cancelled", "incomplete")
    assert await asyncio.to_thread(here.engine.wait_idle, 10)
    assert await announced(here) == [("response.cancelled", "resp_1")]
    async with here.database.read() as connection:
        job = await find_job(connection, "resp_1")
    assert job is not None
    assert (job.status, job.until) == ("cancelled", 0.0)
    await here.stop()
    await enqueue(here, "resp_2")  # nobody takes it up
    assert (await here.responses.cancel("default", "resp_2", OWNER))["output"] == []
    here.start()
    await here.make(ask_of("resp_3"))
    with pytest.raises(InvalidRequest, match="not created with 'background'"):
        await here.responses.cancel("default", "resp_3", OWNER)


async def test_deleted_in_the_middle_it_is_given_up(here: Installation) -> None:
    await enqueue(here, "resp_1", "Hello !hang after 5")
    await here.wait_for("resp_1", "response.output_text.delta")
    await here.responses.remove("default", "resp_1", OWNER)
    assert await asyncio.to_thread(here.engine.wait_idle, 10)
    assert [await count(here, table) for table in (responses, response_items, response_events)] == [0, 0, 0]


async def test_what_may_succeed_later_is_tried_again_and_given_up_at_last(here: Installation) -> None:
    await enqueue(here, "resp_1", "!raise Overloaded")
    body = await here.over("resp_1")
    assert (body["status"], body["error"]["code"]) == ("failed", "rate_limit_exceeded")
    assert len(here.engine.requests) == worker.MAX_ATTEMPTS
    assert len({request.id for request in here.engine.requests}) == worker.MAX_ATTEMPTS
    await enqueue(here, "resp_2", "!raise InvalidRequest")
    body = await here.over("resp_2")
    assert (body["status"], body["error"]["code"]) == ("failed", "invalid_prompt")
    check_log(await here.log("resp_2"), body)
    assert await announced(here) == [("response.failed", "resp_1"), ("response.failed", "resp_2")]
    assert len(here.engine.requests) == worker.MAX_ATTEMPTS + 1


async def test_there_is_a_limit_to_what_waits(tmp_path: Path) -> None:
    async with installed(tmp_path, "", per_project=1) as here:
        await enqueue(here, "resp_1", "!hang after 1")
        with pytest.raises(Overloaded):
            await enqueue(here, "resp_2")
        await here.responses.cancel("default", "resp_1", OWNER)
        await enqueue(here, "resp_2")
        await here.over("resp_2")


async def test_a_conversation_is_one_response_s_at_a_time_and_freed_with_its_server(here: Installation) -> None:
    conversations = Conversations(here.database, here.clock)
    found = await conversations.create("default", {}, [])
    held = here.responses.make(
        ask := ask_of("resp_1", "!hang after 2", conversation=found.id), blank(ask), here.engine.generate
    )
    await anext(held)
    with pytest.raises(Conflict):
        await here.make(ask_of("resp_2", conversation=found.id))
    await held.aclose()
    await here.make(ask_of("resp_3", conversation=found.id))
    again = here.responses.make(
        ask := ask_of("resp_4", "!hang after 2", conversation=found.id), blank(ask), here.engine.generate
    )
    await anext(again)
    here.clock.advance(61)  # as if its server had died
    await here.make(ask_of("resp_5", conversation=found.id))
    await again.aclose()
    items, _ = await conversations.list("default", found.id, after=None, limit=100, descending=False)
    assert [entry.item["role"] for entry in items] == ["user", "assistant"] * 2
    ask = ask_of("resp_6", "!raise Unavailable", conversation=found.id)
    with pytest.raises(Unavailable):
        await here.make(ask)
    await here.make(ask_of("resp_7", conversation=found.id))


async def test_a_project_goes_with_all_that_it_has(here: Installation) -> None:
    await here.make(ask_of("resp_1"))
    await here.make(ask_of("resp_2", project="other"))
    await Conversations(here.database, here.clock).create("default", {}, [])
    async with here.database.write() as connection:
        await remove_all(connection, "default")
        await remove_conversations(connection, "default")
    assert await count(here, responses) == 1
    with pytest.raises(NotFound):
        await here.responses.get("default", "resp_1", OWNER)
    with pytest.raises(NotFound):
        await here.responses.get("default", "resp_2", OWNER)
    assert (await here.responses.get("other", "resp_2", OWNER))["id"] == "resp_2"


# -- tools of the server -----------------------------------------------------------------------------------------------


async def test_a_tool_is_run_and_told_and_known_later(here: Installation) -> None:
    use = {"definitions": ((0, SEARCH),)}
    told, body = await here.make(ask_of("resp_1", "!call", **use))
    check_log(told, body)
    call, message = body["output"]
    assert (call["type"], call["status"], call["results"]) == ("file_search_call", "completed", None)
    assert [each.type for each in told if "file_search" in each.type] == [
        f"response.file_search_call.{step}" for step in ("in_progress", "searching", "completed")
    ]
    assert message["role"] == "assistant"
    first, second = here.engine.requests
    assert first.prompt.tools.tools[0].name == "search"  # type: ignore[union-attr]
    assert [m.role for m in second.prompt.messages] == ["user", "assistant", "tool"]  # type: ignore[union-attr]
    assert second.prompt.messages[2].content == "Cats purr."  # type: ignore[union-attr]
    assert body["usage"]["input_tokens"] > 2 * 7
    _, third = await here.make(ask_of("resp_2", "And?", previous="resp_1", **use))
    assert [m.role for m in here.engine.requests[-1].prompt.messages] == [  # type: ignore[union-attr]
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    item, kept = MADE[-1].recalled[0]
    assert (item["results"], kept) == ([{"file_id": "file-1", "text": "Cats purr."}], {"passages": [1]})
    assert third["status"] == "completed"
    sent = ask_of("resp_3", "And?", input=(call, *ask_of("x", "And?").input), **use)
    await here.make(sent)
    assert "not known" in here.engine.requests[-1].prompt.messages[1].content  # type: ignore[union-attr]


async def test_calls_have_a_limit_and_demands_are_made_once(here: Installation) -> None:
    _, body = await here.make(ask_of("resp_1", "!call", definitions=((0, SEARCH),), choice="required"))
    assert [item["type"] for item in body["output"]] == ["file_search_call", "message"]
    choices = [request.prompt.tools.choice for request in here.engine.requests]  # type: ignore[union-attr]
    assert choices == ["required", "auto"]
    here.engine.requests.clear()
    await here.make(ask_of("resp_2", "!call", definitions=((0, SEARCH),), max_tool_calls=1))
    choices = [request.prompt.tools.choice for request in here.engine.requests]  # type: ignore[union-attr]
    assert choices == ["auto", "none"]


async def test_what_is_cited_lies_in_the_text(here: Installation) -> None:
    told, body = await here.make(ask_of("resp_1", "!call", definitions=((0, {**SEARCH, "cites": True}),)))
    check_log(told, body)
    part = body["output"][-1]["content"][0]
    assert part["annotations"]
    assert part["text"].endswith(".")
    places = [each["index"] for each in part["annotations"]]
    assert places == sorted(places)
    assert all(0 <= place <= len(part["text"]) for place in places)


async def test_text_does_not_wait_for_whether_it_is_borne_out_and_annotations_do(
    tmp_path: Path, database_url: str
) -> None:
    said, gate = list[Any](), asyncio.Event()

    async def align(pairs: Any, *, project: str, tenant: str) -> list[float]:
        said.extend((*each, project, tenant) for each in pairs)
        await gate.wait()
        return [0.25 for _ in pairs]

    async with installed(tmp_path, database_url, align=align) as here:
        ask, told = ask_of("resp_1", "!call", definitions=((0, {**SEARCH, "cites": True}),)), list[Told]()
        async with asyncio.timeout(60):
            async for step in here.responses.make(ask, blank(ask), here.engine.generate):
                told += step
                text = "".join(json.loads(each.body).get("delta", "") for each in told if "text.delta" in each.type)
                if not gate.is_set() and len(text.split()) == 24:  # all but what is held back to the end
                    assert not [each for each in told if "annotation" in each.type]
                    gate.set()
        kinds = [each.type for each in told]
        assert kinds.index("response.output_text.annotation.added") < kinds.index("response.output_text.done")
        body = json.loads(told[-1].body)["response"]
        check_log(told, body)
        annotations = body["output"][-1]["content"][0]["annotations"]
        assert [(each["supported"], each["support_score"]) for each in annotations] == [(False, 0.25)] * len(said)
        assert said[0][1:] == ("Cats purr.", "default", "key")
        await enqueue(here, "resp_2", "!call", definitions=ask.definitions)
        assert (await here.over("resp_2"))["output"][-1]["content"][0]["annotations"] == annotations


async def test_a_tool_that_is_not_there_or_wrong_is_named(here: Installation) -> None:
    for definition, param in (
        ({"type": "teleport"}, "tools[3].type"),
        ({"type": "file_search", "vector_store_ids": []}, "tools[3].vector_store_ids"),
    ):
        for background in (False, True):
            ask = ask_of("resp_1", definitions=((3, definition),), background=background)
            with pytest.raises(InvalidRequest) as error:
                await (enqueue(here, "resp_1", definitions=ask.definitions) if background else here.make(ask))
            assert error.value.param == param


async def test_broken_off_in_a_tool_it_is_run_again_and_told_once(here: Installation) -> None:
    await enqueue(here, "resp_1", "!call", definitions=((0, {**SEARCH, "hangs": 1}),))
    before = await here.wait_for("resp_1", "response.file_search_call.searching")
    await here.stop()
    here.start()
    body = await here.over("resp_1")
    told = await here.log("resp_1")
    assert told[: len(before)] == before
    check_log(told, body)
    kinds = [each.type for each in told]
    assert kinds.count("response.file_search_call.searching") == 1
    assert [item["type"] for item in body["output"]] == ["file_search_call", "message"]
    assert MADE[-1].calls[0].attempt == 2
    assert body["usage"]["input_tokens"] > 0


async def test_a_call_waits_for_approval(here: Installation) -> None:
    use = {"definitions": ((0, {"type": "mcp", "server_label": "cats"}),)}
    told, first = await here.make(ask_of("resp_1", "!call", **use))
    check_log(told, first)
    assert [item["type"] for item in first["output"]] == ["mcp_list_tools", "mcp_approval_request"]
    request = first["output"][1]
    for name, approve in (("resp_2", True), ("resp_3", False)):
        answer = {"type": "mcp_approval_response", "id": f"mcpa_{name}", "approve": approve,
                  "approval_request_id": request["id"]}  # fmt: skip
        told, body = await here.make(ask_of(name, input=(answer,), previous="resp_1", **use))
        check_log(told, body)
        kinds = [item["type"] for item in body["output"]]
        said = here.engine.requests[-1].prompt.messages[-1]  # type: ignore[union-attr]
        if approve:
            assert kinds == ["mcp_call", "message"]
            assert (body["output"][0]["approval_request_id"], said.content) == (request["id"], "Purr.")
        else:
            assert kinds == ["message"]
            assert "declined" in said.content
    _, later = await here.make(ask_of("resp_4", "And?", previous="resp_2", **use))
    assert [item["type"] for item in later["output"]] == ["message"]  # it is not run again, nor are tools listed again
    answer = {"type": "mcp_approval_response", "id": "a", "approve": True, "approval_request_id": "none"}
    with pytest.raises(InvalidRequest):
        await here.make(ask_of("resp_5", input=(answer,), **use))


async def test_a_client_that_has_calls_too_answers_them_first(here: Installation) -> None:
    from mainspring.core.types import Tool

    _, body = await here.make(ask_of("resp_1", "!call", definitions=((0, SEARCH),), functions=(Tool(name="mine"),)))
    assert [item["type"] for item in body["output"]] == ["function_call", "file_search_call"]
    call = body["output"][0]
    output = {"type": "function_call_output", "id": "fco_1", "call_id": call["call_id"], "output": "Yes."}
    _, after = await here.make(ask_of("resp_2", input=(output,), previous="resp_1", definitions=((0, SEARCH),)))
    assert [item["type"] for item in after["output"]] == ["message"]
    messages = here.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool"]


def test_bodies_are_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(blank(ask_of("resp_1"))))["object"] == "response"
