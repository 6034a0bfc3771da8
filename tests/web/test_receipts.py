"""Receipts and the meter in Chromium, on a real server with the default model and a short context."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, Api, answers, axe, begun, composer, ended, say
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

CONTEXT = 512


@pytest.fixture(scope="module")
def server(model_file: Path) -> Generator[Server]:
    with running(model_file, MAINSPRING_ENGINE__CONTEXT_TOKENS=str(CONTEXT)) as found:
        yield found


def opened(page: Any, server: Server, api: Api, **settings: Any) -> str:
    chat = api.chat(settings={"max_output_tokens": 24, **settings})
    page.goto(f"{server.base_url}/c/{chat}")
    composer(page).wait_for()
    return chat


def asked(page: Any, text: str, turn: int) -> None:
    say(page, text)
    answers(page).nth(turn).wait_for(timeout=PATIENCE_MS)
    begun(page, 2)
    ended(page)


def receipt(page: Any, turn: int = -1) -> Any:
    answers(page).nth(turn).get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name="Receipt").click()
    dialog = page.get_by_role("dialog", name="Receipt")
    dialog.get_by_text("SHA-256 of the receipt").wait_for()
    return dialog


def in_both_themes(page: Any) -> None:
    """axe finds nothing, once colours have changed over."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.evaluate("""() => new Promise(requestAnimationFrame).then(() => Promise.all(
            document.getAnimations().filter(each => each instanceof CSSTransition).map(each => each.finished)))""")
        assert axe(page) == [], theme


def test_a_receipt_tells_how_an_answer_was_made_and_makes_it_again(
    page: Any, server: Server, api: Api, tmp_path: Path
) -> None:
    chat = opened(page, server, api)
    asked(page, "Name three rivers.", 0)
    [turn] = api.turns(chat)
    dialog = receipt(page)
    text = dialog.inner_text()
    kept = api.ask("GET", f"/v1/x/responses/{turn['id']}/receipt")
    [made] = kept["generations"]
    assert made["weights"]["files"][0]["sha256"] in text
    assert f"{made['drawing']['seed']} (drawn)" in text
    assert "<|im_start|>user\nName three rivers.<|im_end|>" in text
    dialog.get_by_role("button", name="Copy as JSON").click()
    page.wait_for_function("navigator.clipboard.readText().then(Boolean)")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == kept
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert json.loads(Path(download.value.path()).read_text()) == kept
    dialog.get_by_role("button", name="Run again").click()
    same = dialog.get_by_text("Identical: the same text, token by token.")
    same.or_(dialog.get_by_text("Confirmed, rounding apart")).first.wait_for(timeout=PATIENCE_MS)
    in_both_themes(page)
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "More"


def test_an_answer_that_was_altered_is_told_from_one_that_was_not(page: Any, server: Server, api: Api) -> None:
    import sqlite3

    chat = opened(page, server, api)
    asked(page, "Say hello.", 0)
    [turn] = api.turns(chat)
    with sqlite3.connect(server.home / "mainspring.db", timeout=30) as database:
        where = "response = ? AND is_output"
        [(body,)] = database.execute(f"SELECT body FROM response_items WHERE {where}", (turn["id"],)).fetchall()
        item = json.loads(body)
        item["content"][0]["text"] = "I never said this."
        database.execute(f"UPDATE response_items SET body = ? WHERE {where}", (json.dumps(item), turn["id"]))
    dialog = receipt(page)
    dialog.get_by_role("alert").filter(has_text="No longer as it was").wait_for()
    dialog.get_by_role("button", name="Run again").click()
    dialog.get_by_text("It differs.").wait_for(timeout=PATIENCE_MS)


def test_the_meter_fills_and_what_no_longer_fits_is_marked(page: Any, server: Server, api: Api) -> None:
    chat = opened(page, server, api)
    meter = page.get_by_role("button", name="Context of the model")
    asked(page, "Remember this. " + "The sea is blue today. " * 25, 0)
    meter.wait_for()
    first = api.ask("GET", f"/v1/x/responses/{api.turns(chat)[0]['id']}/context")
    used = first["prompt_tokens"] + first["answer_tokens"]
    page.get_by_role("button", name=f"Context of the model: {used} of {CONTEXT} tokens used").wait_for()
    assert page.get_by_text("The model no longer sees this").count() == 0
    asked(page, "And this. " + "The hills are green today. " * 25, 1)
    asked(page, "And this too. " + "The sand is white today. " * 30, 2)
    page.get_by_text("The model no longer sees this").first.wait_for()
    last = api.ask("GET", f"/v1/x/responses/{api.turns(chat)[-1]['id']}/context")
    assert last["left_out"] > 0
    assert "no longer sees" not in answers(page).nth(-1).inner_text()
    meter.click()
    dialog = page.get_by_role("dialog", name="What the model saw")
    rows = dialog.get_by_role("listitem")
    shown = [each for each in rows.all_inner_texts() if "left out" in each]
    assert len(shown) == last["left_out"]
    seen = [each for each in last["messages"] if each["state"] != "left_out"]
    assert sum(each["tokens"] for each in seen) + last["template_tokens"] == last["prompt_tokens"]
    in_both_themes(page)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
