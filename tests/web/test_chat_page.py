"""The chat page in Chromium, on a real server with the default model: what a person sees is what was said."""

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import (
    PATIENCE_MS,
    Api,
    answer_of,
    answers,
    axe,
    begun,
    chat_in,
    composer,
    copied,
    ended,
    made_chat,
    say,
    scrolled_through,
    sign_in,
    text_of,
)
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

LONG = "Write a long story about a clockmaker who lives by the sea."
SETTINGS = {"max_output_tokens": 160, "seed": 7}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def opened(page: Any, server: Server, api: Api, **settings: Any) -> str:
    """A new chat whose answers are short, shown by the page."""
    chat = api.chat(settings={**SETTINGS, **settings})
    page.goto(f"{server.base_url}/c/{chat}")
    composer(page).wait_for()
    return chat


def test_a_person_asks_and_reads_what_was_said(page: Any, server: Server, api: Api) -> None:
    page.goto(server.base_url)
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Longest answer, in tokens").fill("32")
    page.get_by_role("button", name="Save").click()
    say(page, "Say hello.")
    begun(page)
    ended(page)
    page.wait_for_url("**/c/chat_*")
    [turn] = api.turns(chat_in(page.url))
    assert turn["status"] in ("completed", "incomplete")
    assert turn["usage"]["output_tokens"] <= 32
    assert copied(page) == text_of(turn) != ""
    assert turn["input"][0]["content"][0]["text"] == "Say hello."
    assert page.get_by_role("link", name="Say hello.").count() == 1  # it is in the list


def test_a_page_that_is_loaded_again_in_the_middle_shows_the_same_as_one_that_was_not(
    page: Any, context: Any, server: Server, api: Api
) -> None:
    chat = opened(page, server, api)
    say(page, LONG)
    begun(page, 60)
    other = context.new_page()
    other.goto(page.url)
    begun(other, 60)
    page.reload()
    assert api.turns(chat)[0]["status"] == "in_progress", "the answer was over too soon for this test"
    for each in (page, other):
        begun(each, 60)
        ended(each)
    [turn] = api.turns(chat)
    assert answer_of(page) == answer_of(other)
    assert copied(page) == copied(other) == text_of(turn)
    page.reload()
    begun(page)
    assert answer_of(page) == answer_of(other)
    other.close()


def test_closing_the_tab_stops_nothing_and_stop_does(page: Any, context: Any, server: Server, api: Api) -> None:
    leaving = context.new_page()
    chat = opened(leaving, server, api)
    say(leaving, LONG)
    begun(leaving, 30)
    leaving.close()
    while api.turns(chat)[0]["status"] == "in_progress":
        time.sleep(0.2)
    assert api.turns(chat)[0]["status"] in ("completed", "incomplete")

    chat = opened(page, server, api, max_output_tokens=2000)
    say(page, LONG)
    begun(page, 60)
    page.get_by_role("button", name="Stop the answer").click()
    ended(page)
    [turn] = api.turns(chat)
    assert turn["status"] == "cancelled"
    assert copied(page) == text_of(turn) != ""
    assert page.get_by_text("You stopped this answer.").is_visible()


def test_a_server_that_is_killed_in_the_middle_goes_on_and_so_does_the_page(
    chromium: Any, model_file: Path, tmp_path: Path
) -> None:
    port = free_port()
    with running(model_file, home=tmp_path, port=port) as first:
        base_url, key = first.base_url, first.key
        context = chromium.new_context()
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        sign_in(page, base_url, key)
        chat = opened(page, first, Api(base_url, key))
        say(page, LONG)
        begun(page, 60)
        before = answer_of(page)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    page.get_by_text("The server cannot be reached").wait_for()
    with running(model_file, home=tmp_path, port=port, MAINSPRING_RESPONSES__LEASE_S="3"):
        ended(page)
        [turn] = Api(base_url, key).turns(chat)
        assert turn["status"] in ("completed", "incomplete")
        assert copied(page) == text_of(turn)
        assert answer_of(page).startswith(before.splitlines()[0])
        assert len(answer_of(page)) > len(before)
        page.get_by_text("The server cannot be reached").wait_for(state="detached")
        context.close()


def test_a_question_is_edited_and_both_branches_stay(page: Any, server: Server, api: Api) -> None:
    chat = opened(page, server, api, max_output_tokens=24)
    say(page, "Name a colour.")
    begun(page)
    ended(page)
    say(page, "And an animal.")
    begun(page, turn=1)
    ended(page)
    answers(page).nth(0).get_by_role("button", name="Edit the question").click()
    page.get_by_role("textbox", name="Edit the question").fill("Name a fruit.")
    page.get_by_role("button", name="Ask again").click()
    answers(page).nth(0).get_by_text("2 / 2").wait_for()
    begun(page)
    ended(page)
    assert answers(page).count() == 1
    colour, animal, fruit = api.turns(chat)
    assert (animal["previous"], fruit["previous"]) == (colour["id"], None)
    assert copied(page) == text_of(fruit)
    answers(page).nth(0).get_by_role("button", name="Previous version").click()
    answers(page).nth(1).wait_for()
    assert copied(page, 0) == text_of(colour)
    assert copied(page, 1) == text_of(animal)
    answers(page).nth(1).get_by_role("button", name="Make another answer").click()
    answers(page).nth(1).get_by_text("2 / 2").wait_for()
    ended(page)
    assert [each["previous"] for each in api.turns(chat)] == [None, colour["id"], None, colour["id"]]
    answers(page).nth(1).get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Continue in a new chat").click()
    page.wait_for_url(lambda url: chat not in url)
    answers(page).nth(1).wait_for()
    assert len(api.turns(chat_in(page.url))) == 2


def test_an_answer_grows_anew_from_another_word(page: Any, server: Server, api: Api) -> None:
    chat = opened(page, server, api, max_output_tokens=24)
    say(page, "Name a colour of the sky.")
    begun(page)
    ended(page)
    answers(page).get_by_role("button", name="Word probabilities").click()
    words = page.get_by_role("group", name="Answer, word by word")
    third = words.get_by_role("button").nth(2)
    third.click()
    choices = page.get_by_label("What else could have come here").get_by_role("button")
    choices.first.wait_for()
    other = next(each for each in choices.all() if each.is_enabled())
    other.click()
    answers(page).get_by_text("2 / 2").wait_for()
    ended(page)
    first, second = api.turns(chat)
    words_of = api.ask("GET", f"/v1/responses/{first['id']}")["output"][0]["content"][0]["logprobs"]
    kept = "".join(each["token"] for each in words_of[:2])
    assert text_of(second).startswith(kept)
    taken = [each["token"] for each in words_of[2]["top_logprobs"] if text_of(second).startswith(kept + each["token"])]
    assert taken
    assert taken != [words_of[2]["token"]]
    assert second["usage"]["input_tokens_details"]["cached_tokens"] > 0


def test_what_hostile_answers_hold_does_nothing(page: Any, context: Any, server: Server, api: Api) -> None:
    hostile = {
        "script": "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'> <svg onload='broken=3'>",
        "links": "[a](javascript:window.broken=4) [b](data:text/html,<script>opener.broken=5</script>) "
        "[c](vbscript:x) <a href='javascript:window.broken=6'>d</a> [e](https://elsewhere.invalid/ok)",
        "image": "![pixel](https://elsewhere.invalid/leak.png) ![x](data:image/svg+xml,<svg onload=window.broken=7>)",
        "table": "\n".join(["|" + "a|" * 60, "|" + "-|" * 60, *("|" + "b|" * 60 for _ in range(400))]),
        "deep": "> " * 2000 + "x",
        "math": "$$\\href{javascript:window.broken=8}{x}$$ $\\htmlData{a=b}{x}$ $" + "{" * 500 + "$",
        "code": "```html\n<script>window.broken = 9</script>\n```\n```" + "x" * 5000 + "\n`" * 2000,
        "form": "<form action='https://elsewhere.invalid'><button>go</button></form><iframe src='https://a.invalid'>",
    }
    api.take(made_chat("hostile", *hostile.items(), title="<img src=x onerror='window.broken=10'>"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog: {dialog.message}"))
    page.goto(f"{server.base_url}/c/chat_hostile")
    answers(page).first.wait_for()
    scrolled_through(page)
    assert page.evaluate("window.broken") is None
    assert [url for url in asked if not url.startswith((server.base_url, "data:image/", "blob:"))] == []
    links = page.evaluate("[...document.querySelectorAll('article a')].map(a => [a.getAttribute('href'), a.rel])")
    assert all(href.startswith(("https:", "http:", "mailto:")) and "noopener" in rel for href, rel in links), links
    assert page.evaluate("document.querySelectorAll('article :is(script, iframe, form, object, embed)').length") == 0
    assert composer(page).is_enabled()


def test_a_long_conversation_has_few_of_its_turns_in_the_page(page: Any, server: Server, api: Api) -> None:
    pairs = [(f"Question {at}", f"Answer {at}. " + "Some words of it. " * 20) for at in range(1000)]
    api.take(made_chat("long", *pairs))
    page.goto(f"{server.base_url}/c/chat_long")
    page.get_by_text("Question 999").wait_for(timeout=PATIENCE_MS)
    nodes = page.evaluate("document.querySelectorAll('*').length")
    assert nodes < 3000
    assert answers(page).count() < 40
    composer(page).fill("Something")
    assert composer(page).input_value() == "Something"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (360, 740)], ids=["desktop", "phone"])
def test_nothing_is_wrong_with_the_pages_for_those_who_hear_them(
    chromium: Any, server: Server, api: Api, scheme: str, size: tuple[int, int]
) -> None:
    text = "# A title\n\nText with `code` and [a link](https://example.org).\n\n```python\nx = 1\n```\n\n"
    text += "| a | b |\n|-|-|\n| 1 | 2 |"
    api.take(made_chat("axe", ("Show me everything", text), ("And again", "1. one\n2. two"), title="Everything"))
    context = chromium.new_context(
        color_scheme=scheme, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{server.base_url}/sign-in")
    page.get_by_label("API key").wait_for()
    assert axe(page) == []
    sign_in(page, server.base_url, server.key)
    assert axe(page) == []
    page.goto(f"{server.base_url}/c/chat_axe")
    answers(page).nth(1).wait_for()
    page.locator("pre code span").first.wait_for()  # highlighted
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_role("dialog").wait_for()
    assert axe(page) == []
    context.close()


def test_everything_is_done_with_the_keyboard(page: Any, server: Server, api: Api) -> None:
    opened(page, server, api, max_output_tokens=24)
    page.keyboard.press("Tab")
    seen: list[str] = []
    for _ in range(40):
        name = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
        seen.append(name)
        if name == "Message":
            break
        page.keyboard.press("Tab")
    assert seen[-1] == "Message", seen
    page.keyboard.type("Say hello.")
    page.keyboard.press("Enter")
    begun(page)
    ended(page)
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Make another answer":
            break
    page.keyboard.press("Enter")
    answers(page).get_by_text("2 / 2").wait_for()
    ended(page)


def test_who_signs_out_everywhere_is_out_in_every_tab(chromium: Any, server: Server, api: Api) -> None:
    key = api.person("leaving")  # of nobody else's: this ends every session of it
    contexts = [chromium.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for each in pages:
        sign_in(each, server.base_url, key)
    pages[0].get_by_role("button", name="Account").click()
    pages[0].get_by_role("menuitem", name="Sign out everywhere").click()
    pages[0].get_by_label("API key").wait_for()
    pages[1].reload()
    pages[1].get_by_label("API key").wait_for()
    for context in contexts:
        context.close()


def test_a_link_is_read_by_whoever_has_it_until_it_is_withdrawn(
    page: Any, chromium: Any, server: Server, api: Api
) -> None:
    api.take(made_chat("shared", ("What floats?", "**Boats** do."), title="Ships"))
    page.goto(f"{server.base_url}/c/chat_shared")
    page.get_by_role("banner").get_by_role("button", name="Options of “Ships”").click()
    page.get_by_role("menuitem", name="Share…").click()
    page.get_by_role("button", name="Make a link").click()
    page.get_by_role("button", name="Copy the link").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('/s/share_'))")
    link = page.evaluate("navigator.clipboard.readText()")
    stranger = chromium.new_context()
    reader = stranger.new_page()
    reader.goto(link)
    reader.get_by_role("heading", name="Ships").wait_for()
    assert reader.get_by_role("article").inner_text().split("\n")[-1] == "Boats do."
    assert reader.get_by_role("textbox").count() == 0
    assert axe(reader) == []
    page.get_by_role("button", name="Withdraw the link").click()
    page.get_by_role("button", name="Copy the link").wait_for(state="detached")
    reader.reload()
    reader.get_by_text("There is no such link, or it was withdrawn.").wait_for()
    stranger.close()


def test_everything_is_exported_wiped_and_imported(chromium: Any, server: Server, api: Api, tmp_path: Path) -> None:
    key = api.person("ada")
    own = Api(server.base_url, key)
    own.take(made_chat("one", ("Ünicode 🙂?", "Yes."), ("More?", "No.")), made_chat("two", ("A", "B"), title="Two"))
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, server.base_url, key)
    exports = []
    for name in ("before", "after"):
        page.get_by_role("button", name="Account").click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name="Export all chats").click()
        exports.append(tmp_path / f"{name}.json")
        download.value.save_as(exports[-1])
        if name == "before":
            for chat in ("chat_one", "chat_two"):
                own.ask("DELETE", f"/v1/x/chats/{chat}")
            page.reload()
            page.get_by_text("No chats yet.").wait_for()
            page.get_by_role("button", name="Account").click()
            with page.expect_file_chooser() as chooser:
                page.get_by_role("menuitem", name="Import chats…").click()
            chooser.value.set_files(exports[0])
            page.get_by_text("2 chats were imported.").wait_for()
    assert exports[0].read_bytes() == exports[1].read_bytes()
    page.get_by_role("link", name="Two").click()
    answers(page).first.wait_for()
    (tmp_path / "no.json").write_text("[1, 2")
    page.get_by_role("navigation").locator("input[type=file]").set_input_files(tmp_path / "no.json")
    page.get_by_text("This is no export of chats").wait_for()
    context.close()


def test_a_temporary_chat_is_in_no_list(page: Any, server: Server, api: Api) -> None:
    page.goto(server.base_url)
    page.get_by_label("Temporary chat").check()
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Longest answer, in tokens").fill("16")
    page.get_by_role("button", name="Save").click()
    say(page, "A passing question.")
    begun(page)
    ended(page)
    assert api.ask("GET", f"/v1/x/chats/{chat_in(page.url)}")["expires_at"] is not None
    assert page.get_by_role("link", name="A passing question.").count() == 0
