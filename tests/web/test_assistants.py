"""Assistants and custom instructions in Chromium on a real server: saved, chosen, shared, taken along, told."""

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, Api, answers, axe, begun, chat_in, composer, ended, say, sign_in
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

LIGHTHOUSE = "The lighthouse of Skerry Point was built in 1874 by the engineer Ada Thornbury. It is 41 metres high.\n"
HOSTILE = "<img src=x onerror=window.hit=1> \u202e{{7*7}}"


@pytest.fixture(scope="module")
def server(model_file: Path, embedding_folder: Path) -> Generator[Server]:
    with running(model_file, embedding_folder) as found:
        yield found


@pytest.fixture
def api(server: Server) -> Generator[Api]:
    found = Api(server.base_url, server.key)
    yield found
    for preset in found.ask("GET", "/v1/x/presets")["data"]:
        found.ask("DELETE", f"/v1/x/presets/{preset['id']}")
    found.ask("PUT", "/v1/x/me/instructions", json={"enabled": False})


def preset_of(api: Api, name: str) -> Any:
    return next(each for each in api.ask("GET", "/v1/x/presets")["data"] if each["name"] == name)


def settings_in(api: Api, url: str) -> Any:
    return api.ask("GET", f"/v1/x/chats/{chat_in(url)}")["settings"]


def chosen(page: Any, name: str, item: str) -> None:
    page.get_by_role("button", name=f"Options of “{name}”").click()
    page.get_by_role("menuitem", name=item).click()


def test_an_assistant_is_made_and_a_chat_that_began_with_it_stays_as_it_was(
    page: Any, server: Server, api: Api, tmp_path: Path
) -> None:
    (tmp_path / "lighthouse.md").write_text(LIGHTHOUSE)
    page.goto(server.base_url)
    page.get_by_role("link", name="Assistants", exact=True).click()
    page.get_by_role("button", name="New assistant").click()
    page.get_by_label("Name", exact=True).fill("Keeper")
    page.get_by_label("Emoji or letter").fill("🗼")
    page.get_by_label("Description").fill("Knows the lighthouse.")
    page.get_by_label("Instructions").fill("You keep a lighthouse.")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Longest answer, in tokens").fill("48")
    page.get_by_label("Conversation starter 1").fill("Who built the lighthouse?")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("dialog").get_by_role("button", name="Attach files").click()
    chooser.value.set_files([tmp_path / "lighthouse.md"])
    page.get_by_role("dialog").get_by_text("Ready").wait_for(state="attached", timeout=PATIENCE_MS)
    assert axe(page) == []
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Start a chat with Keeper").click()
    page.get_by_role("heading", name="Keeper").wait_for()
    assert axe(page) == []
    page.get_by_role("button", name="Who built the lighthouse?").click()
    begun(page)
    ended(page)

    saved = preset_of(api, "Keeper")
    settings = settings_in(api, page.url)
    assert settings["instructions"] == "You keep a lighthouse."
    assert (settings["temperature"], settings["max_output_tokens"]) == (0, 48)
    assert settings["preset"] == {
        "id": saved["id"], "name": "Keeper", "icon": "🗼", "vector_store": saved["vector_store"],
    }  # fmt: skip
    [turn] = api.turns(chat_in(page.url))
    assert turn["instructions"] == "You keep a lighthouse."
    assert turn["input"][0]["content"][0]["text"] == "Who built the lighthouse?"
    [search] = [item for item in turn["output"] if item["type"] == "file_search_call"]
    assert "Ada Thornbury" in search["results"][0]["text"]
    assert page.locator("header").get_by_text("Keeper").is_visible()

    old = page.url
    page.goto(f"{server.base_url}/assistants")
    chosen(page, "Keeper", "Edit…")
    page.get_by_label("Instructions").fill("You are a pirate.")
    page.get_by_label("Name", exact=True).fill("Pirate")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Pirate").wait_for()
    assert settings_in(api, old) == settings
    # Without the assistant's files, which somebody deletes, the old chat goes on.
    chosen(page, "Pirate", "Delete…")
    page.get_by_label("Delete its files, too").check()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("You have none yet.").wait_for()
    page.goto(old)
    say(page, "And when?")
    answers(page).nth(1).wait_for(timeout=PATIENCE_MS)
    ended(page)
    assert api.turns(chat_in(old))[1]["instructions"] == "You keep a lighthouse."


def test_assistants_are_taken_along_as_a_file(page: Any, server: Server, api: Api, tmp_path: Path) -> None:
    fields = {"name": HOSTILE, "icon": "<b>", "instructions": "A\nB", "settings": {"seed": 7}, "starters": [HOSTILE]}
    made = api.ask("POST", "/v1/x/presets", json=fields)
    page.goto(f"{server.base_url}/assistants")
    with page.expect_download() as download:
        chosen(page, HOSTILE, "Export")
    file = tmp_path / "owl.json"
    download.value.save_as(file)
    assert json.loads(file.read_text())["presets"] == [{**fields, "description": ""}]
    chosen(page, HOSTILE, "Delete…")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("You have none yet.").wait_for()
    page.get_by_label("Import…", exact=True).and_(page.locator("input")).set_input_files(file)
    page.get_by_text("One assistant was imported.").wait_for()
    again = preset_of(api, HOSTILE)
    assert {**again, "id": "", "created_at": 0, "updated_at": 0} == {**made, "id": "", "created_at": 0, "updated_at": 0}
    chosen(page, HOSTILE, "Duplicate")
    page.get_by_role("heading", name="(copy)").wait_for()
    (tmp_path / "no.json").write_text('{"presets": [{"name": ""}]}')
    page.get_by_label("Import…", exact=True).and_(page.locator("input")).set_input_files(tmp_path / "no.json")
    page.get_by_role("alert").filter(has_text=re.compile("name")).wait_for()
    (tmp_path / "no.json").write_text("[]")
    page.get_by_label("Import…", exact=True).and_(page.locator("input")).set_input_files(tmp_path / "no.json")
    page.get_by_text("This is no file of assistants.").wait_for()
    assert page.evaluate("window.hit") is None


def test_what_is_shared_is_another_person_s_to_use_and_copy(
    chromium: Any, server: Server, api: Api, tmp_path: Path
) -> None:
    api.ask("POST", "/v1/x/presets", json={"name": "Everybody's", "instructions": "Be kind.", "shared": True})
    api.ask("POST", "/v1/x/presets", json={"name": "Mine alone"})
    key = api.person("reader")
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, server.base_url, key)
    page.goto(f"{server.base_url}/assistants")
    page.get_by_role("region", name="Shared with the project").get_by_role("heading", name="Everybody's").wait_for()
    assert page.get_by_text("Mine alone").count() == 0
    page.get_by_role("button", name="Options of “Everybody's”").click()
    assert [each.inner_text() for each in page.get_by_role("menuitem").all()] == ["Duplicate", "Export"]
    page.get_by_role("menuitem", name="Duplicate").click()
    page.get_by_role("region", name="Yours").get_by_role("heading", name="Everybody's (copy)").wait_for()
    own = Api(server.base_url, key)
    assert preset_of(own, "Everybody's (copy)")["instructions"] == "Be kind."
    assert preset_of(own, "Everybody's (copy)")["shared"] is False
    context.close()


def test_an_address_of_no_assistant_says_so(page: Any, server: Server) -> None:
    page.goto(f"{server.base_url}/?assistant=preset_none")
    page.get_by_text("This assistant does not exist any more").wait_for()
    assert composer(page).is_enabled()


def test_what_all_chats_are_told_is_told_to_the_model(page: Any, server: Server, api: Api) -> None:
    page.goto(server.base_url)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Custom instructions…").click()
    page.get_by_label("Tell all of my chats").check()
    page.get_by_label("What should answers know about you?").fill("I am Ada.")
    page.get_by_label("How should answers be?").fill("x" * 2000)
    assert len(page.get_by_label("How should answers be?").input_value()) == 1500
    page.get_by_label("How should answers be?").fill("Be brief.")
    assert axe(page) == []
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for(state="detached")
    told = "About the user:\nI am Ada.\n\nHow the user wants answers to be:\nBe brief."
    for is_temporary in (False, True):
        page.goto(server.base_url)
        if is_temporary:
            page.get_by_label("Temporary chat").check()
        page.get_by_role("button", name="Settings of this chat").click()
        page.get_by_label("Longest answer, in tokens").fill("16")
        page.get_by_role("button", name="Save").click()
        say(page, "Hello?")
        begun(page)
        ended(page)
        [turn] = api.turns(chat_in(page.url))
        assert turn["instructions"] == (None if is_temporary else told)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("menuitem", name="Custom instructions…").click()
    assert page.get_by_label("What should answers know about you?").input_value() == "I am Ada."
    page.get_by_label("Tell all of my chats").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for(state="detached")
    assert api.ask("GET", "/v1/x/me/instructions")["enabled"] is False


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_of_assistants_is_for_everybody(page: Any, server: Server, api: Api, theme: str, width: int) -> None:
    long = "Donaudampfschifffahrtsgesellschaftskapitänswitwe" * 2
    fields = {"name": long[:80], "description": long * 3, "starters": [long, "How?"]}
    made = api.ask("POST", "/v1/x/presets", json=fields)
    page.set_viewport_size({"width": width, "height": 740})
    for path, heading in (("/assistants", fields["name"]), (f"/?assistant={made['id']}", fields["name"])):
        page.goto(server.base_url + path)
        page.get_by_role("heading", name=heading).wait_for()
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        assert axe(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
