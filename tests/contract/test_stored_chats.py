"""Stored chats with the official client in every dialect: kept when they were to be, found, labelled, deleted."""

import json
from collections.abc import Generator
from typing import Any

import openai
import pytest

from mainspring.governance.wanted import Deployment
from tests.contract.spec import check
from tests.contract.target import API_VERSION, KEY, GovernedTarget, fake_target, governed, in_catalog

FOLDERS = {"openai": "/v1", "azure": "/openai", "azure_v1": "/openai/v1"}
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How are you?"}]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("chats")
    in_catalog(home, "tiny", "1")
    with governed(home) as found:
        yield found


def create(target: GovernedTarget, dialect: str = "openai", **more: Any) -> Any:
    given = {"model": "fake", "messages": MESSAGES, "store": True, **more}
    return target.sdk(dialect).chat.completions.create(**given)


def raw(target: GovernedTarget, dialect: str, path: str = "", **params: Any) -> Any:
    query = {"api-version": API_VERSION} if dialect == "azure" else {}
    with target.http() as client:
        return client.get(f"{FOLDERS[dialect]}/chat/completions{path}", params={**query, **params})


def test_a_stored_answer_is_found_as_it_was(target: GovernedTarget, dialect: str) -> None:
    made = create(target, dialect, metadata={"use": "test"}, temperature=0.5, seed=7, user="me")
    found = target.sdk(dialect).chat.completions.retrieve(made.id)
    assert (found.id, found.model, found.usage) == (made.id, made.model, made.usage)
    assert found.choices[0].message.content == made.choices[0].message.content
    body = raw(target, dialect, f"/{made.id}").json()
    check("CreateChatCompletionResponse", body)
    assert body["metadata"] == {"use": "test"}
    assert (body["temperature"], body["seed"], body["input_user"], body["top_p"]) == (0.5, 7, "me", None)


def test_a_streamed_answer_is_stored_whole(target: GovernedTarget, dialect: str) -> None:
    with target.sdk(dialect).chat.completions.create(
        model="fake", messages=MESSAGES, store=True, stream=True, metadata={"streamed": "yes"}
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    name = next(chunk.id for chunk in chunks if chunk.id)
    found = target.sdk(dialect).chat.completions.retrieve(name)
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == (text, "stop")
    assert found.usage is not None


def test_several_choices_and_calls_are_stored(target: GovernedTarget) -> None:
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    made = create(target, n=2, tools=[tool], tool_choice="required")
    found = target.sdk("openai").chat.completions.retrieve(made.id)
    assert [each.message.tool_calls for each in found.choices] == [each.message.tool_calls for each in made.choices]
    assert found.choices[1].message.tool_calls


def test_what_was_not_to_be_stored_or_failed_is_not(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    before = len(list(client.chat.completions.list()))
    for store in (None, False):
        made = create(target, dialect, store=store)
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.retrieve(made.id)
        assert made.id in caught.value.message
    for text in ("!raise InvalidRequest", "!raise Unavailable after 3"):
        with pytest.raises(openai.APIError):
            create(target, dialect, messages=[{"role": "user", "content": text}])
    with (
        pytest.raises(openai.APIError),
        client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "!raise Unavailable after 3"}], store=True, stream=True
        ) as stream,
    ):
        list(stream)
    assert len(list(client.chat.completions.list())) == before


def test_item_53_lists_go_on_and_end(target: GovernedTarget, dialect: str) -> None:
    client, tag = target.sdk(dialect), f"list-{dialect}"
    made = [create(target, metadata={"tag": tag, "n": str(at % 2)}).id for at in range(5)]
    listed = client.chat.completions.list(metadata={"tag": tag}, limit=2)
    assert [each.id for each in listed] == made, "pages go on, the oldest first"
    newest = client.chat.completions.list(metadata={"tag": tag}, limit=2, order="desc")
    assert [each.id for each in newest] == made[::-1]
    assert [each.id for each in client.chat.completions.list(metadata={"tag": tag, "n": "1"})] == made[1::2]
    assert list(client.chat.completions.list(model="none")) == []
    assert made[0] in {each.id for each in client.chat.completions.list(model="fake", limit=100)}
    body = raw(target, dialect, limit=3, **{"metadata[tag]": tag}).json()
    check("ChatCompletionList", body)
    assert (body["first_id"], body["last_id"], body["has_more"]) == (made[0], made[2], True)
    rest = raw(target, dialect, limit=3, after=made[2], **{"metadata[tag]": tag}).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[3:], False)
    check("ChatCompletionList", raw(target, dialect, model="none").json())


@pytest.mark.parametrize(
    "params", [{"limit": "0"}, {"limit": "x"}, {"order": "up"}, {"after": "none"}, {"metadata": "a"}], ids=str
)
def test_what_a_list_does_not_take_is_named(target: GovernedTarget, params: dict[str, str]) -> None:
    answer = raw(target, "openai", **params)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(params)))


def test_labels_are_replaced(target: GovernedTarget, dialect: str) -> None:
    made, client = create(target, dialect, metadata={"a": "1", "b": "2"}), target.sdk(dialect)
    client.chat.completions.update(made.id, metadata={"c": "3"})
    assert raw(target, dialect, f"/{made.id}").json()["metadata"] == {"c": "3"}
    client.chat.completions.update(made.id, metadata=None)
    assert raw(target, dialect, f"/{made.id}").json()["metadata"] == {}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.update(made.id, metadata={"k" * 65: "v"})
    with target.http() as http:
        answer = http.post(f"/v1/chat/completions/{made.id}", json={})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")


def test_deleted_is_gone(target: GovernedTarget, dialect: str) -> None:
    made, client = create(target, dialect), target.sdk(dialect)
    gone = client.chat.completions.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "chat.completion.deleted")
    check("ChatCompletionDeleted", json.loads(gone.to_json()))
    for act in (
        client.chat.completions.retrieve,
        client.chat.completions.delete,
        client.chat.completions.messages.list,
    ):
        with pytest.raises(openai.NotFoundError):
            act(made.id)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.update(made.id, metadata={})


def test_messages_are_those_that_were_sent(target: GovernedTarget, dialect: str) -> None:
    sent: Any = [
        *MESSAGES,
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "ann"},
    ]
    made = create(target, dialect, messages=sent)
    body = raw(target, dialect, f"/{made.id}/messages").json()
    check("ChatCompletionMessageList", body)
    assert [each["role"] for each in body["data"]] == ["system", "user", "user"]
    assert [each["content"] for each in body["data"]] == ["Be brief.", "How are you?", "ab"]
    assert body["data"][2]["content_parts"] == sent[2]["content"]
    # The client's own type says that every message is the assistant's, so it is not asked to be strict here.
    messages = target.sdk(dialect, _strict_response_validation=False).chat.completions.messages
    assert [each.id for each in messages.list(made.id, limit=1)] == [f"{made.id}-{at}" for at in range(3)]
    assert [each.id for each in messages.list(made.id, limit=2, order="desc")] == [
        f"{made.id}-{at}" for at in (2, 1, 0)
    ]
    with pytest.raises(openai.BadRequestError):
        messages.list(made.id, after="none")


def test_another_project_s_chat_is_not_found(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("elsewhere"))
    theirs = target.sdk("openai", target.make_key(project="elsewhere")).chat.completions
    made = create(target)
    for act in (theirs.retrieve, theirs.delete, theirs.messages.list):
        with pytest.raises(openai.NotFoundError):
            act(made.id)
    with pytest.raises(openai.NotFoundError):
        theirs.update(made.id, metadata={})
    assert list(theirs.list()) == []
    assert target.sdk("openai").chat.completions.retrieve(made.id).id == made.id


def test_a_project_that_goes_takes_its_chats_along(target: GovernedTarget) -> None:
    projects = target.control.projects
    target.run(projects.put("short-lived"))
    target.run(projects.deploy(Deployment(project="short-lived", name="chat", model="tiny", version="1")))
    target.run(target.control.directory.refresh(projects))
    with target.http() as http:
        path = "/projects/short-lived/v1/chat/completions"
        made = http.post(path, json={"model": "chat", "messages": MESSAGES, "store": True})
        assert made.status_code == 200, made.text
        assert http.get(f"{path}/{made.json()['id']}").status_code == 200
        target.run(projects.undeploy("short-lived", "chat"))
        target.run(projects.remove("short-lived"))
        target.run(projects.put("short-lived"))
        assert http.get(f"{path}/{made.json()['id']}").status_code == 404


def test_a_server_that_stores_none_says_so() -> None:
    with fake_target() as bare, bare.http(KEY) as http:
        body = {"model": "fake", "messages": MESSAGES, "store": True}
        answer = http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "store")
        assert http.get("/v1/chat/completions").status_code == 405
