"""Conversations through the official package and plain HTTP, each body held against OpenAI's document."""

from collections.abc import Generator
from typing import Any

import httpx
import openai
import pytest

from tests.contract.spec import check
from tests.contract.target import DIALECTS, GovernedTarget, governed
from tests.contract.test_responses import make, stream, text_of, wait


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("conversations")) as found:
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http() as found:
        yield found


def begin(client: httpx.Client, *texts: str) -> str:
    items = [{"type": "message", "role": "user", "content": text} for text in texts]
    body = client.post("/v1/conversations", json={"items": items}).json()
    check("ConversationResource", body)
    return body["id"]


def items_of(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    body = client.get(f"/v1/conversations/{name}/items", params={"order": "asc", "limit": 100}).json()
    check("ConversationItemList", body)
    return body["data"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_create_retrieve_update_and_delete(target: GovernedTarget, dialect: str) -> None:
    conversations = target.sdk(dialect).conversations
    made = conversations.create(metadata={"a": "1"}, items=[{"type": "message", "role": "user", "content": "Hi"}])
    check("ConversationResource", made.model_dump())
    assert conversations.retrieve(made.id) == made
    changed = conversations.update(made.id, metadata={"b": "2"})
    assert (changed.metadata, changed.created_at) == ({"b": "2"}, made.created_at)
    item = conversations.items.list(made.id).data[0]
    check("ConversationItem", item.model_dump(exclude_unset=True))
    gone = conversations.delete(made.id)
    check("DeletedConversationResource", gone.model_dump())
    for call in (
        lambda: conversations.retrieve(made.id),
        lambda: conversations.delete(made.id),
        lambda: conversations.update(made.id, metadata={}),
        lambda: conversations.items.list(made.id),
        lambda: conversations.items.create(made.id, items=[]),
        lambda: conversations.items.retrieve(item.id or "", conversation_id=made.id),
        lambda: target.sdk(dialect).responses.create(model="fake", input="?", conversation=made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            call()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_53_items_in_pages_newest_first(target: GovernedTarget, dialect: str) -> None:
    conversations = target.sdk(dialect).conversations
    made = conversations.create()
    given: list[Any] = [{"type": "message", "role": "user", "content": str(at)} for at in range(5)]
    added = conversations.items.create(made.id, items=given)
    check("ConversationItemList", added.model_dump(exclude_unset=True))
    texts = [each.content[0].text for each in conversations.items.list(made.id, limit=2)]  # type: ignore[union-attr]
    assert texts == ["4", "3", "2", "1", "0"]
    ids = [each.id for each in conversations.items.list(made.id, limit=2, order="asc")]
    assert ids == [each.id for each in added.data]
    found = conversations.items.retrieve(str(ids[2]), conversation_id=made.id)
    assert found == added.data[2]
    conversations.items.delete(str(ids[2]), conversation_id=made.id)
    with pytest.raises(openai.NotFoundError):
        conversations.items.retrieve(str(ids[2]), conversation_id=made.id)
    assert len([*conversations.items.list(made.id)]) == 4
    with pytest.raises(openai.BadRequestError) as error:
        conversations.items.create(made.id, items=given * 5)
    assert error.value.param == "items"


@pytest.mark.parametrize("how", [{}, {"stream": True}, {"background": True}, {"store": False}])
def test_a_response_goes_on_from_it_and_adds_to_it(
    target: GovernedTarget, client: httpx.Client, how: dict[str, Any]
) -> None:
    name = begin(client, "I am Ada.")
    of = {"id": name} if how else name
    if how.get("stream"):
        body = stream(client, input="Who am I?", conversation=of, **how)[-1]["response"]
    else:
        body = make(client, input="Who am I?", conversation=of, **how)
        body = wait(client, body["id"]) if how.get("background") else body
    assert (body["status"], body["conversation"]) == ("completed", {"id": name})
    items = items_of(client, name)
    assert [item["content"][0]["text"] for item in items] == ["I am Ada.", "Who am I?", text_of(body)]
    assert items[-1] == body["output"][0]
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [message.content for message in asked] == ["I am Ada.", "Who am I?"]
    answer = make(client, input="?", previous_response_id=body["id"])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "previous_response_id")


def test_a_second_response_at_the_same_time_is_refused(target: GovernedTarget, client: httpx.Client) -> None:
    name = begin(client, "Hello")
    first = make(client, input="!hang after 12", conversation=name, background=True)
    for how in ({}, {"stream": True}, {"background": True}):
        answer = make(client, input="Me too", conversation=name, **how)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conversation_locked")
    client.post(f"/v1/responses/{first['id']}/cancel")
    assert len(items_of(client, name)) == 1  # what was given up is no part of it
    assert make(client, input="Me", conversation=name)["status"] == "completed"
    failed = make(client, input="!raise Unavailable after 12", conversation=name)
    assert failed.status_code == 503
    again = make(client, input="Thanks", conversation=name)
    assert again["status"] == "completed"
    assert len(items_of(client, name)) == 5


def test_calls_in_a_conversation(client: httpx.Client) -> None:
    name = begin(client)
    tool = {"type": "function", "name": "now", "parameters": None, "strict": False}
    called = make(client, input="!call", conversation=name, tools=[tool], tool_choice="required")
    call = called["output"][0]
    assert make(client, input="Hm?", conversation=name).status_code == 400
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "12:00"}
    assert make(client, input=[output], conversation=name)["status"] == "completed"
    assert [item["type"] for item in items_of(client, name)] == [
        "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip


def test_what_is_added_twice_has_two_ids(client: httpx.Client) -> None:
    name = begin(client, "Hello")
    (item,) = items_of(client, name)
    again = client.post(f"/v1/conversations/{name}/items", json={"items": [item]}).json()
    check("ConversationItemList", again)
    assert again["data"][0]["id"] != item["id"]
    answer = client.post(f"/v1/conversations/{name}/items", json={"items": [{"id": item["id"]}]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "items")


def test_no_project_sees_another_s(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("other"))
    mine, theirs = target.sdk("openai", target.make_key()), target.sdk("openai", target.make_key(project="other"))
    made = mine.conversations.create(items=[{"type": "message", "role": "user", "content": "Hi"}])
    (item,) = mine.conversations.items.list(made.id).data
    for call in (
        lambda: theirs.conversations.retrieve(made.id),
        lambda: theirs.conversations.update(made.id, metadata={}),
        lambda: theirs.conversations.delete(made.id),
        lambda: theirs.conversations.items.list(made.id),
        lambda: theirs.conversations.items.create(made.id, items=[]),
        lambda: theirs.conversations.items.retrieve(item.id or "", conversation_id=made.id),
        lambda: theirs.conversations.items.delete(item.id or "", conversation_id=made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert len(mine.conversations.items.list(made.id).data) == 1
