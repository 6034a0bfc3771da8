"""Two answers side by side, in Chromium on a real server: the default model against itself at another temperature."""

from typing import Any

import pytest

from tests.e2e.server import Server
from tests.web.browsing import OVER, PATIENCE_MS, Api, answers, axe, chat_in, composer, ended, say, text_of
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

LONG = "Write a long story about a clockmaker who lives by the sea."
COLD, HOT = "smollm2-135m-instruct · temperature 0", "smollm2-135m-instruct · temperature 1.5"


def opened(page: Any, server: Server, api: Api, tokens: int) -> str:
    """A chat that asks two."""
    own = {"temperature": 0, "max_output_tokens": tokens, "seed": 7}
    chat = api.chat(settings={**own, "versus": {**own, "temperature": 1.5}})
    page.goto(f"{server.base_url}/c/{chat}")
    composer(page).wait_for()
    return chat


def columns(page: Any) -> Any:
    return page.get_by_role("group", name="Answers to compare").get_by_role("region")


def grow(page: Any, characters: int) -> None:
    """Wait until both answers have so many characters."""
    page.wait_for_function(
        """characters => {
            const found = [...document.querySelectorAll('[role="group"] section [aria-busy]')];
            return found.length === 2 && found.every(each => each.innerText.trim().length >= characters);
        }""",
        arg=characters,
        timeout=PATIENCE_MS,
    )


def test_two_are_asked_at_once_and_one_is_gone_on_with(page: Any, server: Server, api: Api) -> None:
    page.goto(server.base_url)
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Longest answer, in tokens").fill("24")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Compare two answers").click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_label("Longest answer, in tokens").input_value() == "24"  # it begins as the chat is
    dialog.get_by_label("Temperature").fill("1.5")
    dialog.get_by_role("button", name="Compare", exact=True).click()
    assert page.get_by_role("button", name="Compare two answers").get_attribute("aria-pressed") == "true"
    say(page, "Name a bird.")
    columns(page).nth(1).wait_for(timeout=PATIENCE_MS)
    ended(page)
    assert [each.get_attribute("aria-label") for each in columns(page).all()] == [COLD, HOT]
    chat = chat_in(page.url)
    turns = api.turns(chat)
    assert [each["previous"] for each in turns] == [None, None]
    shown = api.ask("GET", f"/v1/x/chats/{chat}")["settings"]["compared"]
    said = {each["id"]: each for each in turns}
    for at, (column, compared) in enumerate(zip(columns(page).all(), shown, strict=True)):
        turn = said[compared["id"]]
        assert turn["usage"]["output_tokens"] <= 24
        assert f"{turn['usage']['output_tokens']} tokens" in column.inner_text()
        assert " s\n" in column.inner_text() or " s" in column.inner_text(), at
        page.evaluate("navigator.clipboard.writeText('')")
        column.get_by_role("button", name="Copy the answer as Markdown").click()
        page.wait_for_function("navigator.clipboard.readText().then(Boolean)")
        assert page.evaluate("navigator.clipboard.readText()") == text_of(turn)
    composer(page).fill("More?")
    assert page.get_by_role("button", name="Send").is_disabled()  # from which one?
    page.get_by_role("button", name=f"Go on with this one: {HOT}").click()
    columns(page).first.wait_for(state="detached")
    assert api.ask("GET", f"/v1/x/chats/{chat}")["head"] == shown[1]["id"]
    assert "compared" not in api.ask("GET", f"/v1/x/chats/{chat}")["settings"]
    composer(page).press("Enter")
    columns(page).nth(1).wait_for(timeout=PATIENCE_MS)
    ended(page)
    assert [each["previous"] for each in api.turns(chat)][2:] == [shown[1]["id"]] * 2
    # And no more.
    page.get_by_role("button", name="Go on with this one").first.click()
    columns(page).first.wait_for(state="detached")
    page.get_by_role("button", name="Compare two answers").click()
    page.get_by_role("button", name="Stop comparing").click()
    say(page, "Thank you.")
    answers(page).nth(2).wait_for(timeout=PATIENCE_MS)
    ended(page)
    assert len(api.turns(chat)) == 5


def test_a_reload_in_the_middle_finds_both_and_stop_stops_both(page: Any, server: Server, api: Api) -> None:
    chat = opened(page, server, api, 1500)
    say(page, LONG)
    grow(page, 40)
    page.reload()
    grow(page, 40)
    assert [each["status"] for each in api.turns(chat)] == ["in_progress"] * 2, "over too soon for this test"
    assert [each.get_attribute("aria-label") for each in columns(page).all()] == [COLD, HOT]
    page.get_by_role("button", name="Stop the answer").click()
    ended(page)
    for _ in range(100):
        if all(each["status"] in OVER for each in api.turns(chat)):
            break
        page.wait_for_timeout(100)
    assert [each["status"] for each in api.turns(chat)] == ["cancelled"] * 2
    assert columns(page).get_by_text("You stopped this answer.").count() == 2
    page.reload()
    columns(page).nth(1).wait_for()
    assert columns(page).get_by_text("You stopped this answer.").count() == 2
    # Asked anew in the place of the first question: two branches more.
    page.get_by_role("button", name="Edit the question").click()
    page.get_by_role("textbox", name="Edit the question").fill("Name a fish.")
    page.get_by_role("button", name="Ask again").click()
    page.get_by_role("article").get_by_text("Name a fish.").wait_for()
    columns(page).nth(1).wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Stop the answer").click()
    ended(page)
    assert [each["previous"] for each in api.turns(chat)] == [None] * 4


def test_if_one_cannot_be_asked_nobody_is(page: Any, server: Server, api: Api) -> None:
    chat = api.chat(settings={"max_output_tokens": 16, "versus": {"model": "gone"}})
    page.goto(f"{server.base_url}/c/{chat}")
    say(page, "Hello?")
    page.get_by_role("alert").filter(has_text="gone").wait_for()
    assert composer(page).input_value() == "Hello?"
    assert api.turns(chat) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_they_stand_side_by_side_where_there_is_room(
    page: Any, server: Server, api: Api, theme: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    opened(page, server, api, 16)
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    say(page, "Name a colour.")
    columns(page).nth(1).wait_for(timeout=PATIENCE_MS)
    ended(page)
    first, second = (columns(page).nth(at).bounding_box() for at in (0, 1))
    assert (first["x"] == second["x"]) is (width == 360)
    assert (first["y"] == second["y"]) is (width == 1280)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert axe(page) == []
    # With the keyboard alone.
    page.get_by_role("button", name="Go on with this one").nth(1).focus()
    page.keyboard.press("Enter")
    columns(page).first.wait_for(state="detached")
