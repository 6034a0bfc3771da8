"""What is said in one tab is seen in another, and on another device, without anybody asking for it."""

import time
from collections.abc import Generator
from typing import Any

import pytest

from tests.e2e.server import Server
from tests.web.browsing import (
    OVER,
    PATIENCE_MS,
    Api,
    answer_of,
    answers,
    begun,
    chat_in,
    composer,
    ended,
    say,
    sign_in,
)
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

LIMIT = {"max_output_tokens": 16}
SETTINGS = {"max_output_tokens": 24, "seed": 7}


@pytest.fixture(params=["tab", "device"])
def other(request: Any, context: Any, chromium: Any, server: Server) -> Generator[Any]:
    """Another tab of the same browser, or another browser of the same person."""
    second = context if request.param == "tab" else chromium.new_context()
    found = second.new_page()
    if second is not context:
        sign_in(found, server.base_url, server.key)
    yield found
    found.close()
    if second is not context:
        second.close()


def model(api: Api) -> str:
    return api.ask("GET", "/v1/models")["data"][0]["id"]


def over(api: Api, chat: str) -> None:
    while any(each["status"] not in OVER for each in api.turns(chat)):
        time.sleep(0.2)


def listed(page: Any, title: str) -> Any:
    return page.get_by_role("navigation").get_by_role("link", name=title, exact=True)


def test_a_turn_is_seen_elsewhere_from_its_beginning_on(page: Any, other: Any, server: Server, api: Api) -> None:
    chat = api.chat(settings={**SETTINGS, "max_output_tokens": 160}, title="Followed")
    for each in (page, other):
        each.goto(f"{server.base_url}/c/{chat}")
        composer(each).wait_for()
    say(page, "Write a long story about a clockmaker who lives by the sea.")
    begun(other, 20)
    assert api.turns(chat)[0]["status"] == "in_progress", "the answer was over too soon for this test"
    for each in (page, other):
        ended(each)
    say(other, "Say hello.")
    for each in (page, other):
        answers(each).nth(1).wait_for(timeout=PATIENCE_MS)
        ended(each)
    assert answer_of(page) == answer_of(other)  # to which a content filter may put an end
    assert [each["status"] in OVER for each in api.turns(chat)] == [True, True]


def test_the_list_is_the_same_everywhere(page: Any, other: Any, server: Server, api: Api) -> None:
    for each in (page, other):
        each.goto(server.base_url)
        composer(each).wait_for()
    chat = api.chat(title="Made by a program", settings=SETTINGS)
    for each in (page, other):
        listed(each, "Made by a program").wait_for(timeout=PATIENCE_MS)
    api.ask("POST", f"/v1/x/chats/{chat}", json={"title": "Called otherwise"})
    for each in (page, other):
        listed(each, "Called otherwise").wait_for(timeout=PATIENCE_MS)
        assert listed(each, "Made by a program").count() == 0
    listed(page, "Called otherwise").click()
    page.wait_for_url(f"**/c/{chat}")
    assert chat_in(page.url) == chat
    other.goto(page.url)
    composer(other).wait_for()
    api.ask("DELETE", f"/v1/x/chats/{chat}")
    for each in (page, other):
        each.get_by_text("This chat does not exist").wait_for(timeout=PATIENCE_MS)
        assert listed(each, "Called otherwise").count() == 0


def test_turns_that_are_deleted_elsewhere_go(page: Any, other: Any, server: Server, api: Api) -> None:
    chat = api.chat(settings=SETTINGS)
    first = api.ask("POST", f"/v1/x/chats/{chat}/turns", json={"model": model(api), "input": "Keep this", **LIMIT})
    body = {"model": model(api), "input": "Drop this", "previous_response_id": first["id"], **LIMIT}
    over(api, chat)
    second = api.ask("POST", f"/v1/x/chats/{chat}/turns", json=body)
    for each in (page, other):
        each.goto(f"{server.base_url}/c/{chat}")
        each.get_by_text("Drop this").wait_for(timeout=PATIENCE_MS)
        ended(each)
    api.ask("DELETE", f"/v1/x/chats/{chat}/turns/{second['id']}")
    for each in (page, other):
        each.get_by_text("Drop this").wait_for(state="detached", timeout=PATIENCE_MS)
        assert each.get_by_text("Keep this").first.is_visible()


def test_nobody_else_hears_of_it(page: Any, chromium: Any, server: Server, api: Api) -> None:
    stranger = chromium.new_context()
    theirs = stranger.new_page()
    sign_in(theirs, server.base_url, api.person("stranger"))
    heard: list[Any] = []
    theirs.on("response", lambda answer: heard.append(answer) if "/chats/changes" in answer.url else None)
    page.goto(server.base_url)
    composer(page).wait_for()
    api.chat(title="Mine alone")
    listed(page, "Mine alone").wait_for(timeout=PATIENCE_MS)
    theirs.wait_for_timeout(1500)  # a round of looking for what other servers have changed
    assert listed(theirs, "Mine alone").count() == 0
    assert [answer.json()["data"] for answer in heard if answer.json()["data"]] == []
    stranger.close()


def test_a_page_that_is_out_of_sight_holds_no_connection(page: Any, server: Server, api: Api) -> None:
    hidden = "Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.isHidden ?? false })"
    page.add_init_script(hidden)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/chats/changes" in request.url else None)
    with page.expect_request(lambda request: "/chats/changes?after=" in request.url):
        page.goto(server.base_url)
    with page.expect_event("requestfailed", lambda request: "/chats/changes" in request.url):
        page.evaluate("window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))")
    before = len(asked)
    api.chat(title="Made meanwhile")
    page.wait_for_timeout(1500)
    assert len(asked) == before
    assert listed(page, "Made meanwhile").count() == 0
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    listed(page, "Made meanwhile").wait_for(timeout=PATIENCE_MS)
