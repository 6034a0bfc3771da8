"""Chats: trees of turns that are ordinary responses, which only their owner sees."""

import json
import time
from collections.abc import Generator
from typing import Any

import httpx
import openai
import pytest

from tests.contract.spec import check
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_responses import told
from tests.contract.test_vector_stores import filled

OVER = ("completed", "failed", "cancelled", "incomplete")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("chats")) as found:
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http(target.make_key()) as found:
        yield found


def begin(client: httpx.Client, **fields: Any) -> Any:
    answer = client.post("/v1/x/chats", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat_of(client: httpx.Client, chat: str) -> Any:
    return client.get(f"/v1/x/chats/{chat}").json()


def turns(client: httpx.Client, chat: str) -> list[Any]:
    return client.get(f"/v1/x/chats/{chat}/turns", params={"limit": 100}).json()["data"]


def ask(client: httpx.Client, chat: str, text: str = "Hello", *, waits: bool = True, **more: Any) -> Any:
    """A turn, when it is over."""
    answer = client.post(f"/v1/x/chats/{chat}/turns", json={"model": "fake", "input": text, **more})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    check("Response", made)
    for _ in range(500 if waits else 0):
        found = client.get(f"/v1/responses/{made['id']}").json()
        if found["status"] in OVER:
            return found
        time.sleep(0.02)
    assert not waits, made
    return made


def text_of(response: Any) -> str:
    return "".join(p["text"] for item in response["output"] if item["type"] == "message" for p in item["content"])


def refused(answer: httpx.Response, status: int, param: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    check("ErrorResponse", answer.json())
    assert param is None or answer.json()["error"]["param"] == param


def test_a_chat_is_a_tree_of_responses(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client)["id"]
    first = ask(client, chat, "My name is Ada, and this is a long question.\nWell?", instructions="Be kind.")
    left = ask(client, chat, "Who am I?", previous_response_id=first["id"])
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [(each.role, each.content) for each in asked] == [
        ("user", "My name is Ada, and this is a long question.\nWell?"), ("assistant", text_of(first)),
        ("user", "Who am I?"),
    ]  # fmt: skip
    right = ask(client, chat, "And who are you?", previous_response_id=first["id"])
    found = turns(client, chat)
    assert [(each["id"], each["previous"], each["status"]) for each in found] == [
        (first["id"], None, "completed"), (left["id"], first["id"], "completed"),
        (right["id"], first["id"], "completed"),
    ]  # fmt: skip
    assert found[0]["input"][0]["content"][0]["text"].startswith("My name")
    assert text_of(found[2]) == text_of(right) != ""
    assert (found[0]["usage"], found[0]["instructions"]) == (first["usage"], "Be kind.")
    shown = chat_of(client, chat)
    assert shown["head"] == right["id"]
    assert shown["title"] == "My name is Ada, and this is a long question. Well?"


def test_a_turn_is_followed_and_goes_on_whoever_leaves(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    body = {"model": "fake", "input": "Hello", "stream": True}
    with client.stream("POST", f"/v1/x/chats/{chat}/turns", json=body) as answer:
        assert next(answer.iter_lines()) == "event: response.created"
    [turn] = turns(client, chat)
    events = told(client.get(f"/v1/responses/{turn['id']}", params={"stream": "true"}))
    assert events[0]["sequence_number"] == 0
    assert events[-1]["type"] == "response.completed"
    rest = told(client.get(f"/v1/responses/{turn['id']}", params={"stream": "true", "starting_after": 3}))
    assert [each["sequence_number"] for each in rest] == list(range(4, len(events)))
    assert turns(client, chat)[0]["status"] == "completed"


def test_a_turn_that_hangs_is_stopped_and_keeps_what_it_said(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    made = ask(client, chat, "!hang after 5", waits=False)
    follows = client.get(f"/v1/x/chats/{chat}/turns").json()["data"][0]
    assert follows["status"] in ("queued", "in_progress")
    refused(client.post(f"/v1/x/chats/{chat}/fork", json={"at": made["id"]}), 400, "at")
    again = {"model": "fake", "input": "More", "previous_response_id": made["id"]}
    refused(client.post(f"/v1/x/chats/{chat}/turns", json=again), 400, "previous_response_id")
    with client.stream("GET", f"/v1/responses/{made['id']}", params={"stream": "true"}) as answer:
        next(line for line in answer.iter_lines() if line == "event: response.output_text.delta")
    client.post(f"/v1/responses/{made['id']}/cancel")
    [turn] = turns(client, chat)
    assert turn["status"] == "cancelled"
    assert text_of(turn)
    more = ask(client, chat, "More", waits=False, previous_response_id=made["id"])  # the spell is in its history
    client.post(f"/v1/responses/{more['id']}/cancel")


def test_an_answer_begins_with_what_it_is_to_begin_with(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client)["id"]
    whole = text_of(ask(client, chat, "Hello", temperature=0))
    beginning = whole[: len(whole) // 2].rpartition(" ")[0]
    more = ask(client, chat, "Hello", temperature=0, prefix=beginning)
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt
    assert asked.messages[-1].role == "assistant"  # type: ignore[union-attr]
    assert (asked.messages[-1].content, asked.continues) == (beginning, True)  # type: ignore[union-attr]
    assert text_of(more) == whole
    events = told(client.get(f"/v1/responses/{more['id']}", params={"stream": "true"}))
    deltas = [each["delta"] for each in events if each["type"] == "response.output_text.delta"]
    assert deltas[0] == beginning
    assert "".join(deltas) == whole
    assert text_of(ask(client, chat, "Hello", temperature=0, prefix="  ")) == whole
    for body, param in (
        ({"text": {"format": {"type": "json_object"}}}, "prefix"),
        ({"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://a.invalid"}]}, "prefix"),
    ):
        given = {"model": "fake", "input": "JSON", "prefix": "{", **body}
        refused(client.post(f"/v1/x/chats/{chat}/turns", json=given), 400, param)


def test_files_are_searched_before_the_model_is_asked(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client)["id"]
    store, _ = filled(target.sdk("openai", client.headers["api-key"]))
    searches: Any = {"tools": [{"type": "file_search", "vector_store_ids": [store]}], "search": "what do penguins eat?"}
    turn = ask(client, chat, "Penguins?", **searches)
    call, *_, message = turn["output"]
    assert (call["type"], call["status"]) == ("file_search_call", "completed")
    assert call["queries"] == ["what do penguins eat?"]
    assert message["type"] == "message"
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [each.role for each in asked] == ["user", "assistant", "tool"]
    assert "[1] penguins.md" in str(asked[-1].content)
    again = ask(client, chat, "Thank you.", previous_response_id=turn["id"])
    assert [each["type"] for each in again["output"]] == ["message"]
    body = {"model": "fake", "input": "Hello", **searches}
    for wrong in ({"tools": []}, {"prefix": "So"}):
        refused(client.post(f"/v1/x/chats/{chat}/turns", json={**body, **wrong}), 400, "search")


def test_a_seed_gives_the_same_answer_again(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client)["id"]
    first, again, other = (text_of(ask(client, chat, "Hello", seed=seed)) for seed in (7, 7, 8))
    assert first == again != other
    assert target.engine is not None
    assert target.engine.requests[-1].sampling.seed == 8


def test_the_probabilities_of_words_are_kept(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    made = ask(client, chat, "Hello", include=["message.output_text.logprobs"], top_logprobs=3)
    part = made["output"][0]["content"][0]
    assert "".join(each["token"] for each in part["logprobs"]) == part["text"]
    assert all(len(each["top_logprobs"]) == 3 for each in part["logprobs"])
    assert turns(client, chat)[0]["output"][0]["content"][0] == {**part, "logprobs": []}  # not sent with every list


def test_its_owner_calls_it_what_they_like(client: httpx.Client) -> None:
    settings = {"model": "fake", "temperature": 0.5, "deep": {"er": [1, None, "é"]}}
    made = begin(client, title="Ships", folder="work/sea", tags=["a", "b"], pinned=True, settings=settings)
    assert (made["title"], made["folder"], made["tags"], made["pinned"]) == ("Ships", "work/sea", ["a", "b"], True)
    assert made["settings"] == settings
    changed = client.post(f"/v1/x/chats/{made['id']}", json={"title": "Boats", "pinned": False}).json()
    assert changed == {**made, "title": "Boats", "pinned": False} == chat_of(client, made["id"])
    ask(client, made["id"], "What floats?")
    assert chat_of(client, made["id"])["title"] == "Boats"


def test_chats_are_listed_by_their_last_change_and_found_by_what_was_said(client: httpx.Client) -> None:
    ids = [begin(client, title=f"No. {at}", folder="x" if at % 2 else "", tags=[f"t{at}"])["id"] for at in range(5)]
    ask(client, ids[1], "Where do CAFÉS stand_100%?")

    def found(**params: Any) -> list[str]:
        return [each["id"] for each in client.get("/v1/x/chats", params=params).json()["data"]]

    assert found() == [ids[1], *reversed(ids[2:]), ids[0]]
    assert found(query="cafés WHERE") == [ids[1]]
    assert found(query="stand_100%") == [ids[1]]
    assert found(query="standx100") == []
    assert found(query="no. 3") == [ids[3]]
    assert found(query="user") == found(query="input_text") == []  # words of the form, which nobody has said
    assert found(folder="x") == [ids[1], ids[3]]
    assert found(tag="t4") == [ids[4]]
    assert found(tag="t") == []
    pages, after = [], None
    while True:
        page = client.get("/v1/x/chats", params={"limit": 2, **({"after": after} if after else {})}).json()
        pages += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert pages == found()


def test_turns_come_in_pages(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    ids = [ask(client, chat, f"Question {at}", waits=False)["id"] for at in range(5)]
    for order in ("asc", "desc"):
        pages, after = [], None
        while True:
            params = {"limit": 2, "order": order, **({"after": after} if after else {})}
            page = client.get(f"/v1/x/chats/{chat}/turns", params=params).json()
            pages += [each["id"] for each in page["data"]]
            if not page["has_more"]:
                break
            after = page["last_id"]
        assert pages == (ids if order == "asc" else ids[::-1])


def test_a_branch_is_deleted_with_all_that_goes_on_from_it(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    first = ask(client, chat)["id"]
    left = ask(client, chat, previous_response_id=first)["id"]
    below = ask(client, chat, previous_response_id=left)["id"]
    right = ask(client, chat, previous_response_id=first)["id"]
    hanging = ask(client, chat, "!hang after 2", waits=False, previous_response_id=below)["id"]
    assert client.delete(f"/v1/x/chats/{chat}/turns/{left}").json()["head"] == first
    assert [each["id"] for each in turns(client, chat)] == [first, right]
    for gone in (left, below, hanging):
        refused(client.get(f"/v1/responses/{gone}"), 404)
    refused(client.delete(f"/v1/x/chats/{chat}/turns/{left}"), 404)


def test_a_fork_begins_as_its_chat_did_and_is_its_own(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client, title="Old", settings={"a": 1})["id"]
    first = ask(client, chat, "One")
    second = ask(client, chat, "Two", previous_response_id=first["id"])
    ask(client, chat, "Three", previous_response_id=second["id"])
    fork = client.post(f"/v1/x/chats/{chat}/fork", json={"at": second["id"]}).json()
    assert (fork["title"], fork["settings"]) == ("Old", {"a": 1})
    copied = turns(client, fork["id"])
    assert [text_of(each) for each in copied] == [text_of(first), text_of(second)]
    assert [each["previous"] for each in copied] == [None, copied[0]["id"]]
    assert fork["head"] == copied[1]["id"]
    assert client.delete(f"/v1/x/chats/{chat}").json()["deleted"]
    refused(client.get(f"/v1/x/chats/{chat}"), 404)
    refused(client.get(f"/v1/responses/{first['id']}"), 404)
    more = ask(client, fork["id"], "Four", previous_response_id=fork["head"])
    assert more["status"] == "completed"
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [each.content for each in asked if each.role == "user"] == ["One", "Two", "Four"]


def test_nobody_sees_another_s_chat_in_the_same_project(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client)["id"]
    made = ask(client, chat, "A secret")
    item = client.get(f"/v1/responses/{made['id']}/input_items").json()["data"][0]["id"]
    other = begin(client)["id"]
    with target.http() as admin:  # an administrator is somebody else, too
        assert chat not in [each["id"] for each in admin.get("/v1/x/chats").json()["data"]]
        theirs = begin(admin)["id"]
        asks: dict[str, Any] = {"model": "fake", "input": "?"}
        for answer in (
            admin.get(f"/v1/x/chats/{chat}"),
            admin.post(f"/v1/x/chats/{chat}", json={"title": "Mine"}),
            admin.delete(f"/v1/x/chats/{chat}"),
            admin.get(f"/v1/x/chats/{chat}/turns"),
            admin.post(f"/v1/x/chats/{chat}/turns", json=asks),
            admin.delete(f"/v1/x/chats/{chat}/turns/{made['id']}"),
            admin.delete(f"/v1/x/chats/{theirs}/turns/{made['id']}"),
            admin.post(f"/v1/x/chats/{chat}/fork", json={"at": made["id"]}),
            admin.post(f"/v1/x/chats/{theirs}/fork", json={"at": made["id"]}),
            admin.post(f"/v1/x/chats/{theirs}", json={"head": made["id"]}),
            admin.get("/v1/x/chats", params={"after": chat}),
            admin.get(f"/v1/responses/{made['id']}"),
            admin.get(f"/v1/responses/{made['id']}", params={"stream": "true"}),
            admin.get(f"/v1/responses/{made['id']}/input_items"),
            admin.post(f"/v1/responses/{made['id']}/cancel"),
            admin.delete(f"/v1/responses/{made['id']}"),
        ):
            refused(answer, 404)
        for path in (f"/v1/x/chats/{theirs}/turns", "/v1/responses"):
            refused(admin.post(path, json={**asks, "previous_response_id": made["id"]}), 400, "previous_response_id")
            refused(admin.post(path, json={**asks, "input": [{"type": "item_reference", "id": item}]}), 400)
    # Nor does it leave the chat by its owner's hand, where others could go on from it.
    for path in (f"/v1/x/chats/{other}/turns", "/v1/responses"):
        refused(client.post(path, json={**asks, "previous_response_id": made["id"]}), 400, "previous_response_id")
    assert turns(client, chat)[0]["id"] == made["id"]


def test_who_gets_another_key_keeps_their_chats(target: GovernedTarget) -> None:
    old, new, other = (target.make_key(owner=owner) for owner in ("ada@example.org", "ada@example.org", "bob"))
    with target.http(old) as before, target.http(new) as after, target.http(other) as others:
        chat = begin(before)["id"]
        made = ask(before, chat)
        target.run(target.control.keys.revoke(target.key_id(old)))
        assert chat_of(after, chat)["id"] == chat
        assert after.get(f"/v1/responses/{made['id']}").status_code == 200
        refused(others.get(f"/v1/x/chats/{chat}"), 404)


def test_turns_stay_longer_than_responses_do(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client)["id"]
    kept = ask(client, chat)["id"]
    plain = client.post("/v1/responses", json={"model": "fake", "input": "Hello"}).json()["id"]
    responses = target.services.responses
    assert responses is not None

    class Later:
        def now(self) -> float:
            return time.time() + 10 * 365 * 86_400

    clock, responses.responses._clock = responses.responses._clock, Later()  # type: ignore[assignment]
    try:
        assert target.run(responses.responses.sweep())
    finally:
        responses.responses._clock = clock
    refused(client.get(f"/v1/responses/{plain}"), 404)
    assert client.get(f"/v1/responses/{kept}").status_code == 200


def test_a_project_that_goes_takes_its_chats_along(target: GovernedTarget) -> None:
    projects = target.control.projects
    target.run(projects.put("short-lived"))
    with target.http() as admin:
        admin.headers["openai-project"] = "short-lived"
        chat = begin(admin)["id"]
        target.run(projects.remove("short-lived"))
        target.run(projects.put("short-lived"))
        refused(admin.get(f"/v1/x/chats/{chat}"), 404)
        assert admin.get("/v1/x/chats").json()["data"] == []


def test_what_makes_no_chat_is_refused(client: httpx.Client) -> None:
    chat, body = begin(client)["id"], {"model": "fake", "input": "Hello"}
    for field, value in (("conversation", "conv_1"), ("store", False), ("background", False)):
        refused(client.post(f"/v1/x/chats/{chat}/turns", json={**body, field: value}), 400, field)
    refused(client.post(f"/v1/x/chats/{chat}/turns", json={**body, "prefix": 1}), 400, "prefix")
    refused(client.post(f"/v1/x/chats/{chat}/turns", json={**body, "model": "none"}), 404)
    refused(client.post("/v1/x/chats/none/turns", json=body), 404)
    refused(client.post("/v1/x/chats", json={"settings": {"a": "x" * 33_000}}), 400, "settings")
    refused(client.post("/v1/x/chats", json={"title": "a\0b"}), 400, "title")
    refused(client.post("/v1/x/chats", json={"title": "x" * 257}), 400, "title")
    refused(client.post("/v1/x/chats", json={"owner": "me"}), 400, "owner")
    refused(client.get("/v1/x/chats", params={"query": "a\0b"}), 400)
    refused(client.get("/v1/x/chats", params={"limit": "0"}), 400, "limit")
    refused(client.get("/v1/x/chats", params={"after": "chat_none"}), 404)
    assert turns(client, chat) == []
    assert chat_of(client, chat)["head"] is None


def test_an_official_client_follows_and_cancels_a_turn(target: GovernedTarget) -> None:
    key = target.make_key()
    with target.http(key) as client:
        chat = begin(client)["id"]
        made = ask(client, chat, "Hello", waits=False)
    sdk = target.sdk("openai", key)
    events = list(sdk.responses.retrieve(made["id"], stream=True))
    assert events[-1].type == "response.completed"
    assert sdk.responses.retrieve(made["id"]).output_text
    with pytest.raises(openai.NotFoundError):
        target.sdk("openai").responses.retrieve(made["id"])


def export(client: httpx.Client) -> bytes:
    answer = client.get("/v1/x/chats/export")
    assert answer.status_code == 200
    return answer.content


def test_what_was_exported_wiped_and_imported_is_the_same_byte_for_byte(client: httpx.Client) -> None:
    first = begin(client, title="Zürich 🙂", folder="a/b", tags=["x"], settings={"deep": [1, {"b": None, "a": 1.5}]})[
        "id"
    ]
    root = ask(client, first, "One", include=["message.output_text.logprobs"], top_logprobs=2, instructions="Be kind.")
    ask(client, first, "Two", previous_response_id=root["id"])
    ask(client, first, "Two again", previous_response_id=root["id"], max_output_tokens=16)
    ask(client, first, "!raise EngineUnavailable after 2", previous_response_id=root["id"])
    stopped = ask(client, begin(client)["id"], "!hang after 3", waits=False)
    time.sleep(0.3)
    client.post(f"/v1/responses/{stopped['id']}/cancel")
    begin(client, title="Nothing said")
    whole, listed = export(client), client.get("/v1/x/chats").json()
    said = {chat["id"]: turns(client, chat["id"]) for chat in listed["data"]}
    assert len(json.loads(whole)["chats"]) == 3
    again = client.post("/v1/x/chats/import", content=whole, headers={"content-type": "application/json"}).json()
    assert (again["imported"], sorted(again["known"])) == ([], sorted(said))
    for chat in said:
        client.delete(f"/v1/x/chats/{chat}")
    assert json.loads(export(client))["chats"] == []
    taken = client.post("/v1/x/chats/import", content=whole, headers={"content-type": "application/json"})
    assert taken.status_code == 200, taken.text
    assert sorted(taken.json()["imported"]) == sorted(said)
    assert export(client) == whole
    assert client.get("/v1/x/chats").json() == listed
    assert {chat: turns(client, chat) for chat in said} == said
    assert [each["id"] for each in client.get("/v1/x/chats", params={"query": "again zürich"}).json()["data"]] == [
        first
    ]
    more = ask(client, first, "And then?", previous_response_id=root["id"])
    assert more["status"] == "completed"


def test_another_s_ids_are_not_taken_over(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client, title="Mine")["id"]
    first = ask(client, chat, "One")
    ask(client, chat, "Two", previous_response_id=first["id"])
    before = export(client)
    with target.http(target.make_key()) as other:
        taken = other.post("/v1/x/chats/import", content=before, headers={"content-type": "application/json"}).json()
        [copy] = taken["imported"]
        assert copy != chat
        found = turns(other, copy)
        assert {each["id"] for each in found}.isdisjoint({first["id"]})
        assert found[1]["previous"] == found[0]["id"]
        assert chat_of(other, copy)["head"] == found[1]["id"]
        other.delete(f"/v1/x/chats/{copy}")
    assert export(client) == before


def test_chatgpt_s_export_becomes_chats(target: GovernedTarget, client: httpx.Client) -> None:
    def node(id: str, parent: str | None, children: list[str], role: str = "", *parts: Any, **more: Any) -> Any:  # noqa: A002
        message = {
            "id": id, "author": {"role": role, "name": None, "metadata": {}}, "create_time": 1_700_000_000.5,
            "content": {"content_type": "text", "parts": list(parts)}, "status": "finished_successfully",
            "metadata": {"model_slug": "gpt-4o"}, "recipient": "all", **more,
        }  # fmt: skip
        return {"id": id, "message": message if role else None, "parent": parent, "children": children}

    conversation = {
        "title": "Boats", "create_time": 1_700_000_000.25, "update_time": 1_700_000_100.0, "current_node": "a2",
        "conversation_id": "x", "mapping": {
            "root": node("root", None, ["sys"]),
            "sys": node("sys", "root", ["q1"], "system", ""),
            "q1": node("q1", "sys", ["a1", "a1b"], "user", "What floats?"),
            "a1": node("a1", "q1", ["q2"], "assistant", "Boats."),
            "a1b": node("a1b", "q1", [], "assistant", "Wood."),
            "q2": node("q2", "a1", ["tool"], "user", {"content_type": "image_asset_pointer"}, "And this?"),
            "tool": node("tool", "q2", ["a2"], "assistant", "search()", recipient="browser"),
            "a2": node("a2", "tool", ["q3"], "assistant", "A duck."),
            "q3": node("q3", "a2", [], "user", "Why?"),
        },
    }  # fmt: skip
    taken = client.post("/v1/x/chats/import", json={"conversations": [conversation]})
    assert taken.status_code == 200, taken.text
    [chat] = taken.json()["imported"]
    assert (chat_of(client, chat)["title"], chat_of(client, chat)["created_at"]) == ("Boats", 1_700_000_000)
    found = {text_of(each) or each["status"]: each for each in turns(client, chat)}
    assert set(found) == {"Boats.", "Wood.", "A duck.", "cancelled"}
    assert found["Boats."]["previous"] is found["Wood."]["previous"] is None
    assert found["A duck."]["previous"] == found["Boats."]["id"]
    assert found["cancelled"]["previous"] == found["A duck."]["id"]
    assert found["A duck."]["input"][0]["content"][0]["text"] == "[image_asset_pointer]\nAnd this?"
    assert chat_of(client, chat)["head"] == found["A duck."]["id"]
    assert ask(client, chat, "More?", previous_response_id=found["A duck."]["id"])["status"] == "completed"
    assert target.engine is not None
    asked = target.engine.requests[-1].prompt.messages  # type: ignore[union-attr]
    assert [each.content for each in asked][:2] == ["What floats?", "Boats."]


def test_what_is_no_export_is_refused_and_leaves_nothing(client: httpx.Client) -> None:
    turn = {
        "id": "resp_a", "created_at": 1.0, "status": "completed", "model": "m", "input": [], "output": [],
    }  # fmt: skip
    chat: dict[str, Any] = {"id": "chat_a", "created_at": 1.0, "updated_at": 1.0}
    reference = {"type": "item_reference", "id": "msg_1"}
    for body in (
        {"chats": [{**chat, "turns": [{**turn, "previous": "resp_b"}]}]},
        {"chats": [{**chat, "turns": [turn, turn]}]},
        {"chats": [{**chat, "turns": [{**turn, "input": [reference]}]}]},
        {"chats": [{**chat, "turns": [{**turn, "usage": {"tokens": "many"}}]}]},
        {"chats": [{**chat, "turns": [{**turn, "include": ["everything"]}]}]},
        {"chats": [{**chat, "id": "../../etc"}]},
        {"chats": [{**chat, "title": "a\0"}]},
        {"conversations": [{"mapping": 1}]},
        {"conversations": ["no"]},
        {"things": []},
    ):
        refused(client.post("/v1/x/chats/import", json=body), 400)
    assert json.loads(export(client))["chats"] == []
    looped = {"mapping": {
        name: {"id": name, "parent": other, "children": [other]} for name, other in (("a", "b"), ("b", "a"))
    }}  # fmt: skip
    assert client.post("/v1/x/chats/import", json={"conversations": [looped]}).status_code == 200


def test_who_has_a_link_reads_up_to_its_turn(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client, title="Ships")["id"]
    refused(client.post(f"/v1/x/chats/{chat}/shares", json={}), 400, "turn")
    more: Any = {"instructions": "A secret.", "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    first = ask(client, chat, "One", **more)
    second = ask(client, chat, "Two", previous_response_id=first["id"])
    link = client.post(f"/v1/x/chats/{chat}/shares", json={}).json()
    short = client.post(f"/v1/x/chats/{chat}/shares", json={"turn": first["id"]}).json()
    ask(client, chat, "Three", previous_response_id=second["id"])
    with httpx.Client(base_url=target.base_url) as anybody:

        def read(share: Any) -> httpx.Response:
            return anybody.get(f"/v1/x/shared/{share['id']}")

        shown = read(link).json()
        assert (shown["title"], [text_of(each) for each in shown["turns"]]) == (
            "Ships",
            [text_of(first), text_of(second)],
        )
        assert shown["turns"][0]["input"][0]["content"][0]["text"] == "One"
        assert "secret" not in read(link).text
        assert '"logprob"' not in read(link).text
        assert [each["id"] for each in read(short).json()["turns"]] == [first["id"]]
        assert [each["id"] for each in client.get(f"/v1/x/chats/{chat}/shares").json()["data"]] == [
            link["id"],
            short["id"],
        ]
        for path in (f"/v1/x/chats/{chat}", f"/v1/responses/{first['id']}", f"/v1/x/shared/{link['id']}/more"):
            assert anybody.get(path).status_code in (401, 404)
        refused(anybody.post(f"/v1/x/shared/{link['id']}"), 405)
        refused(anybody.get("/v1/x/shared/share_guess"), 404)
        with target.http() as admin:
            refused(admin.get(f"/v1/x/chats/{chat}/shares"), 404)
            refused(admin.post(f"/v1/x/chats/{chat}/shares", json={}), 404)
            theirs = begin(admin)["id"]
            refused(admin.delete(f"/v1/x/chats/{theirs}/shares/{link['id']}"), 404)
            refused(admin.post(f"/v1/x/chats/{theirs}/shares", json={"turn": first["id"]}), 404)
        assert read(link).status_code == 200
        assert client.delete(f"/v1/x/chats/{chat}/shares/{short['id']}").json()["deleted"]
        refused(read(short), 404)
        client.delete(f"/v1/x/chats/{chat}/turns/{second['id']}")
        refused(read(link), 404)
        last = client.post(f"/v1/x/chats/{chat}/shares", json={}).json()
        assert read(last).status_code == 200
        client.delete(f"/v1/x/chats/{chat}")
        refused(read(last), 404)


def test_a_temporary_chat_is_in_no_list_and_forgotten_after_a_day(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client, temporary=True)
    assert chat["expires_at"] == pytest.approx(chat["created_at"] + 86_400, abs=1)
    made = ask(client, chat["id"], "An unusual question")
    assert client.get("/v1/x/chats").json()["data"] == []
    assert client.get("/v1/x/chats", params={"query": "unusual"}).json()["data"] == []
    assert json.loads(export(client))["chats"] == []
    assert chat_of(client, chat["id"])["head"] == made["id"]
    chats = target.services.responses.chats  # type: ignore[union-attr]

    class Later:
        def now(self) -> float:
            return time.time() + 86_401

    clock, chats._clock = chats._clock, Later()  # type: ignore[assignment]
    try:
        assert target.run(chats.sweep()) == 1
    finally:
        chats._clock = clock
    refused(client.get(f"/v1/x/chats/{chat['id']}"), 404)
    refused(client.get(f"/v1/responses/{made['id']}"), 404)


def changed(client: httpx.Client, after: str | None = None, wait: int = 10) -> Any:
    answer = client.get("/v1/x/chats/changes", params={"wait": wait, **({} if after is None else {"after": after})})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_other_devices_hear_what_has_changed(target: GovernedTarget, client: httpx.Client) -> None:
    start = changed(client)
    assert (start["data"], start["reset"]) == ([], False)
    chat = begin(client)["id"]
    begun = changed(client, start["cursor"])
    assert [(each["id"], each["cut"], each["deleted"]) for each in begun["data"]] == [(chat, False, False)]

    first = ask(client, chat)
    ask(client, chat, previous_response_id=first["id"])
    said = changed(client, begun["cursor"])
    assert [(each["id"], each["cut"]) for each in said["data"]] == [(chat, False)]
    assert changed(client, said["cursor"], wait=0)["data"] == []

    client.delete(f"/v1/x/chats/{chat}/turns/{turns(client, chat)[-1]['id']}")
    cut = changed(client, said["cursor"])
    assert [(each["id"], each["cut"], each["deleted"]) for each in cut["data"]] == [(chat, True, False)]
    client.post(f"/v1/x/chats/{chat}", json={"title": "Other"})
    renamed = changed(client, cut["cursor"])
    assert [(each["id"], each["cut"]) for each in renamed["data"]] == [(chat, False)]
    client.delete(f"/v1/x/chats/{chat}")
    gone = changed(client, renamed["cursor"])
    assert [(each["id"], each["deleted"]) for each in gone["data"]] == [(chat, True)]

    with target.http(target.make_key()) as other:  # somebody else in the same project
        assert changed(other, start["cursor"], wait=0)["data"] == []
    assert changed(client, str(10**18), wait=0)["reset"]
    for query in ({"after": "x"}, {"after": "-1"}, {"after": "9" * 30}, {"wait": "26"}, {"wait": "1.5"}, {"wait": ""}):
        refused(client.get("/v1/x/chats/changes", params=query), 400, next(iter(query)))
    assert httpx.get(target.base_url + "/v1/x/chats/changes").status_code == 401


def test_the_end_of_an_answer_is_a_change(client: httpx.Client) -> None:
    chat = begin(client)["id"]
    before = changed(client)["cursor"]
    ask(client, chat)
    at_its_end = changed(client, before)["cursor"]
    numbers = int(at_its_end) - int(before)
    assert numbers == 2, "asked, and answered"
