"""Presets, which chats may begin with, and what people want all of their chats to be told; on both databases."""

import json
import re
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from mainspring.responses.presets import MAX_PRESETS
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_chats import ask, begin, chat_of, export, refused, turns

WHOLE: dict[str, Any] = {
    "name": "Gärtner 🌱", "description": "Knows plants.", "icon": "👩🏽‍🌾",
    "instructions": "Answer as a gardener.\nBriefly.",
    "settings": {"model": "fake", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 64, "seed": -7},
    "vector_store": "vs_1", "starters": ["What grows in shade?", "Why are leaves yellow?"], "shared": False,
}  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_server").url()
    with governed(tmp_path_factory.mktemp("presets"), **({"database": url} if url else {})) as found:
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http(target.make_key()) as found:
        yield found


@pytest.fixture
def other(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http(target.make_key()) as found:
        yield found


def save(client: httpx.Client, **fields: Any) -> Any:
    answer = client.post("/v1/x/presets", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(client: httpx.Client) -> list[Any]:
    found, after = [], None
    while True:
        page = client.get("/v1/x/presets", params={"limit": 2, **({"after": after} if after else {})}).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = page["last_id"]


def own(client: httpx.Client) -> list[Any]:
    return [each for each in listed(client) if each["mine"]]


def taken(client: httpx.Client, whole: bytes) -> Any:
    answer = client.post("/v1/x/chats/import", content=whole, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(target: GovernedTarget) -> list[tuple[str, Any]]:
    """What the model was told last."""
    assert target.engine is not None
    return [(each.role, each.content) for each in target.engine.requests[-1].prompt.messages]  # type: ignore[union-attr]


def test_a_preset_is_saved_changed_and_deleted(client: httpx.Client) -> None:
    made = save(client, **WHOLE)
    assert {name: made[name] for name in WHOLE} == WHOLE
    assert (made["object"], made["mine"]) == ("preset", True)
    path = f"/v1/x/presets/{made['id']}"
    assert client.get(path).json() == made
    changed = client.post(path, json={"name": "Botanist", "settings": {"seed": 1}, "vector_store": None}).json()
    assert changed == {
        **made, "name": "Botanist", "settings": {"seed": 1}, "vector_store": None, "updated_at": changed["updated_at"],
    }  # fmt: skip
    assert client.post(path, json={}).json()["description"] == "Knows plants."
    assert client.delete(path).json() == {"id": made["id"], "object": "preset.deleted", "deleted": True}
    refused(client.get(path), 404, "preset_id")
    refused(client.delete(path), 404, "preset_id")


def test_what_is_not_said_is_nobody_s_to_guess(client: httpx.Client) -> None:
    made = save(client, name="Plain", settings={"temperature": None})
    assert made["settings"] == {}
    assert (made["instructions"], made["starters"], made["vector_store"], made["shared"]) == ("", [], None, False)


def test_presets_come_in_pages_newest_first(client: httpx.Client) -> None:
    ids = [save(client, name=f"No. {at}")["id"] for at in range(5)]
    assert [each["id"] for each in own(client)] == ids[::-1]
    refused(client.get("/v1/x/presets", params={"after": "preset_none"}), 404)
    refused(client.get("/v1/x/presets", params={"limit": 0}), 400, "limit")


def test_what_is_no_preset_is_refused(client: httpx.Client) -> None:
    for wrong, param in (
        ({"name": ""}, "name"), ({"name": " \n "}, "name"), ({"name": "x" * 81}, "name"), ({"name": "a\0b"}, "name"),
        ({"name": 1}, "name"), ({"name": None}, "name"), ({"description": "x" * 301}, "description"),
        ({"icon": "x" * 17}, "icon"), ({"instructions": "x" * 16_001}, "instructions"),
        ({"instructions": "a\0"}, "instructions"), ({"starters": ["a"] * 5}, "starters"),
        ({"starters": [""]}, "starters[0]"), ({"starters": ["x" * 301]}, "starters[0]"),
        ({"settings": {"temperature": 2.1}}, "settings.temperature"),
        ({"settings": {"temperature": "hot"}}, "settings.temperature"),
        ({"settings": {"max_output_tokens": 15}}, "settings.max_output_tokens"),
        ({"settings": {"tools": []}}, "settings.tools"), ({"vector_store": "x" * 65}, "vector_store"),
        ({"shared": "yes"}, "shared"), ({"owner": "me"}, "owner"), ({"id": "preset_mine"}, "id"),
        # Each within its limit, and all together too much: a chat has a copy in its settings.
        ({"instructions": "\u20ac" * 9_000}, None),
    ):  # fmt: skip
        answer = client.post("/v1/x/presets", json={"name": "x", **wrong})
        refused(answer, 400, param)
    refused(client.post("/v1/x/presets", json={}), 400, "name")
    assert own(client) == []
    made = save(client, name="x", instructions="\u20ac" * 8_000)
    refused(client.post(f"/v1/x/presets/{made['id']}", json={"starters": ["\u20ac" * 300] * 4}), 400)
    refused(client.post(f"/v1/x/presets/{made['id']}", json={"name": None}), 400, "name")
    assert own(client) == [made]


def test_nobody_has_more_than_so_many(client: httpx.Client, other: httpx.Client) -> None:
    presets = [
        {"id": f"preset_many{at}", "name": str(at), "created_at": at, "updated_at": at} for at in range(MAX_PRESETS)
    ]
    presets = [{**each, "id": f"{each['id']}-{id(client)}"} for each in presets]
    taken(client, json.dumps({"presets": presets}).encode())
    refused(client.post("/v1/x/presets", json={"name": "one more"}), 400)
    more = {"presets": [{"id": "preset_more", "name": "x", "created_at": 1, "updated_at": 1}]}
    refused(client.post("/v1/x/chats/import", json=more), 400)
    assert len(client.get("/v1/x/presets", params={"limit": 100}).json()["data"]) == 100
    assert save(other, name="Somebody else's")["mine"]


def test_one_that_is_private_is_there_for_nobody_else(target: GovernedTarget, client: httpx.Client) -> None:
    made = save(client, **WHOLE)
    path = f"/v1/x/presets/{made['id']}"
    with target.http() as admin:  # an administrator is somebody else, too
        assert made["id"] not in [each["id"] for each in listed(admin)]
        refused(admin.get(path), 404)
        refused(admin.post(path, json={"name": "Mine"}), 404)
        refused(admin.delete(path), 404)
        refused(admin.get("/v1/x/presets", params={"after": made["id"]}), 404)
        assert made["id"] not in export(admin).decode()
    assert client.get(path).json() == made


def test_one_that_is_shared_is_read_by_the_project_and_changed_by_its_owner(
    target: GovernedTarget, client: httpx.Client, other: httpx.Client
) -> None:
    made = save(client, **{**WHOLE, "shared": True})
    path = f"/v1/x/presets/{made['id']}"
    assert other.get(path).json() == {**made, "mine": False} == listed(other)[0]
    refused(other.post(path, json={"name": "Mine"}), 403)
    refused(other.delete(path), 403)
    assert json.loads(export(other))["presets"] == []  # it is no part of what they have said
    with target.http() as admin:
        target.run(target.control.projects.put("elsewhere"))
        admin.headers["openai-project"] = "elsewhere"
        refused(admin.get(path), 404)
        assert listed(admin) == []
    assert client.post(path, json={"shared": False}).json()["shared"] is False
    refused(other.get(path), 404)
    assert made["id"] not in [each["id"] for each in listed(other)]


def test_an_administrator_removes_what_others_have_shared_and_changes_nothing(
    target: GovernedTarget, client: httpx.Client
) -> None:
    path = f"/v1/x/presets/{save(client, name='Rude', shared=True)['id']}"
    with target.http() as admin:
        refused(admin.post(path, json={"name": "Polite"}), 403)
        assert admin.delete(path).json()["deleted"]
    refused(client.get(path), 404)


def test_a_chat_keeps_what_its_preset_was(client: httpx.Client) -> None:
    made = save(client, **WHOLE)
    copy = {
        **made["settings"],
        "instructions": made["instructions"],
        "preset": {"id": made["id"], "name": made["name"]},
    }
    chat = begin(client, settings=copy)
    client.post(f"/v1/x/presets/{made['id']}", json={"instructions": "Answer as a cook.", "name": "Cook"})
    assert chat_of(client, chat["id"])["settings"] == copy
    client.delete(f"/v1/x/presets/{made['id']}")
    assert chat_of(client, chat["id"])["settings"] == copy


def test_the_largest_preset_goes_into_a_chat(client: httpx.Client) -> None:
    made = save(client, name="x" * 80, instructions="\u20ac" * 7_000, starters=["x" * 300] * 4, description="x" * 300)
    begin(client, settings={"instructions": made["instructions"], "preset": {"id": made["id"], "name": made["name"]}})


def test_presets_and_instructions_are_exported_and_come_back_byte_for_byte(
    target: GovernedTarget, client: httpx.Client, other: httpx.Client
) -> None:
    ids = [save(client, **WHOLE)["id"], save(client, name="Empty", shared=True)["id"]]
    said = {"enabled": True, "about": "I am Ada. 🙂", "style": "Be brief.", "in_temporary": True}
    client.put("/v1/x/me/instructions", json=said)
    ask(client, begin(client, title="Said")["id"], "Hello")
    whole, before = export(client), own(client)
    document = json.loads(whole)
    assert [each["id"] for each in document["presets"]] == ids
    assert document["instructions"]["about"] == "I am Ada. 🙂"
    assert (taken(client, whole)["presets"], taken(client, whole)["instructions"]) == ([], False)  # all is here already
    for id in ids:  # noqa: A001
        client.delete(f"/v1/x/presets/{id}")
    client.delete(f"/v1/x/chats/{document['chats'][0]['id']}")
    assert taken(client, whole)["presets"] == ids
    assert export(client) == whole
    assert own(client) == before
    # Somebody else takes it to themselves, and nothing of the first one's.
    theirs = taken(other, whole)
    assert set(theirs["presets"]).isdisjoint(ids)
    assert theirs["instructions"] is True
    assert other.get("/v1/x/me/instructions").json()["about"] == "I am Ada. 🙂"
    assert [{**each, "id": ""} for each in own(other)] == [{**each, "id": ""} for each in before]
    assert export(client) == whole


def test_an_export_of_before_is_taken(client: httpx.Client) -> None:
    before = {"object": "chat.export", "version": 1, "chats": [{"id": "chat_older", "created_at": 1, "updated_at": 1}]}
    assert taken(client, json.dumps(before).encode())["presets"] == []


def test_what_is_no_preset_is_not_imported_and_leaves_nothing(client: httpx.Client) -> None:
    preset: dict[str, Any] = {"id": "preset_a", "name": "x", "created_at": 1.0, "updated_at": 1.0}
    good = {**preset, "id": "preset_good"}
    for body in (
        {"presets": [good, {**preset, "id": "../../etc"}]}, {"presets": [good, {**preset, "name": ""}]},
        {"presets": [good, {**preset, "mine": True}]}, {"presets": [good, {**preset, "created_at": -1}]},
        {"presets": [good, {**preset, "instructions": "\u20ac" * 9_000}]},
        {"presets": [good], "instructions": {"about": "x" * 1501, "updated_at": 1}},
        {"presets": [good], "instructions": {"about": "x"}},
        {"presets": [good], "chats": [{"id": "no"}]},
    ):  # fmt: skip
        refused(client.post("/v1/x/chats/import", json=body), 400)
    assert own(client) == []
    assert client.get("/v1/x/me/instructions").json()["updated_at"] is None


def test_a_project_that_goes_takes_them_along(target: GovernedTarget) -> None:
    projects = target.control.projects
    target.run(projects.put("passing"))
    with target.http() as admin:
        admin.headers["openai-project"] = "passing"
        save(admin, name="Passing", shared=True)
        admin.put("/v1/x/me/instructions", json={"about": "Me."})
        target.run(projects.remove("passing"))
        target.run(projects.put("passing"))
        assert listed(admin) == []
        assert admin.get("/v1/x/me/instructions").json()["updated_at"] is None


def test_what_a_person_has_said_of_themselves_is_told_in_all_of_their_chats(
    target: GovernedTarget, client: httpx.Client, other: httpx.Client
) -> None:
    chat = begin(client)["id"]
    nothing = {
        "object": "me.instructions", "enabled": False, "about": "", "style": "", "in_temporary": False,
        "updated_at": None,
    }  # fmt: skip
    assert client.get("/v1/x/me/instructions").json() == nothing
    ask(client, chat)
    assert told(target) == [("user", "Hello")]

    said = client.put("/v1/x/me/instructions", json={"about": " I am Ada. ", "style": "Be brief."}).json()
    assert (said["enabled"], said["in_temporary"]) == (True, False)
    assert client.get("/v1/x/me/instructions").json() == said
    both = "About the user:\nI am Ada.\n\nHow the user wants answers to be:\nBe brief."
    made = ask(client, chat, instructions="Be kind.")
    assert told(target) == [("system", f"{both}\n\nBe kind."), ("user", "Hello")]
    assert made["instructions"] == turns(client, chat)[1]["instructions"] == f"{both}\n\nBe kind."
    assert ask(client, chat)["instructions"] == both
    assert other.get("/v1/x/me/instructions").json() == nothing
    assert ask(other, begin(other)["id"])["instructions"] is None
    answer = client.post("/v1/responses", json={"model": "fake", "input": "Hello"}).json()
    assert answer["instructions"] is None  # a program's, and no chat

    client.put("/v1/x/me/instructions", json={"style": "Be brief."})
    assert ask(client, chat)["instructions"] == "How the user wants answers to be:\nBe brief."
    client.put("/v1/x/me/instructions", json={**said_again(said), "enabled": False})
    assert ask(client, chat, instructions="Be kind.")["instructions"] == "Be kind."
    assert turns(client, chat)[1]["instructions"] == f"{both}\n\nBe kind."  # it stays as it was


def said_again(personal: Any) -> Any:
    return {name: personal[name] for name in ("enabled", "about", "style", "in_temporary")}


def test_a_temporary_chat_is_told_only_if_the_person_says_so(target: GovernedTarget, client: httpx.Client) -> None:
    chat = begin(client, temporary=True)["id"]
    client.put("/v1/x/me/instructions", json={"about": "I am Ada."})
    assert ask(client, chat)["instructions"] is None
    assert told(target) == [("user", "Hello")]
    client.put("/v1/x/me/instructions", json={"about": "I am Ada.", "in_temporary": True})
    assert ask(client, chat)["instructions"] == "About the user:\nI am Ada."


def test_clients_of_the_ai_sdk_profit_too(target: GovernedTarget, client: httpx.Client) -> None:
    client.put("/v1/x/me/instructions", json={"about": "I am Ada."})
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    body = {"id": "mine", "messages": [message], "model": "fake", "system": "Be kind."}
    answer = client.post("/v1/x/ui/chat", json=body)
    assert answer.status_code == 200
    assert re.search(r'"type":"finish"', answer.text)
    assert told(target)[0] == ("system", "About the user:\nI am Ada.\n\nBe kind.")


def test_instructions_have_limits(client: httpx.Client) -> None:
    for wrong, param in (
        ({"about": "x" * 1501}, "about"), ({"style": "x" * 1501}, "style"), ({"about": "a\0"}, "about"),
        ({"enabled": 1}, "enabled"), ({"in_temporary": "no"}, "in_temporary"), ({"owner": "me"}, "owner"),
        ({"about": None}, "about"),
    ):  # fmt: skip
        refused(client.put("/v1/x/me/instructions", json=wrong), 400, param)
    refused(client.post("/v1/x/me/instructions", json={"about": "x"}), 405)
    assert client.get("/v1/x/me/instructions").json()["updated_at"] is None


def test_who_gets_another_key_keeps_them(target: GovernedTarget) -> None:
    old, new, bob = (
        target.make_key(owner=owner) for owner in ("ada@example.net", "ada@example.net", "bob@example.net")
    )
    with target.http(old) as before, target.http(new) as after, target.http(bob) as others:
        made = save(before, name="Ada's")
        before.put("/v1/x/me/instructions", json={"about": "I am Ada."})
        target.run(target.control.keys.revoke(target.key_id(old)))
        assert after.get(f"/v1/x/presets/{made['id']}").json() == made
        assert after.get("/v1/x/me/instructions").json()["about"] == "I am Ada."
        refused(others.get(f"/v1/x/presets/{made['id']}"), 404)


def test_nobody_without_a_key_reads_any(target: GovernedTarget) -> None:
    with httpx.Client(base_url=target.base_url) as anybody:
        for path in ("/v1/x/presets", "/v1/x/presets/preset_a", "/v1/x/me/instructions"):
            refused(anybody.get(path), 401)
