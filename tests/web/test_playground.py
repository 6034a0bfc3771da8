"""The playground in Chromium, on a real server with a model that talks and one that embeds; the programs it shows."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, axe
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

NODE = Path(__file__).parents[1] / "contract" / "node"
NASTY = "It's \"quoted\" \\n $HOME `id` ${x} 'one' '''three''' \u2028 \u202e é😀\nsecond line"
TOOL = {
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "enum": ["Paris", "Oslo"]}}, "required": ["place"],
        "additionalProperties": False,
    },
    "strict": True,
}  # fmt: skip
MOOD = {
    "type": "object", "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}}, "required": ["mood"],
    "additionalProperties": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(model_file: Path, embedding_folder: Path) -> Generator[Server]:
    with running(model_file, embedding_folder) as found:
        yield found


@pytest.fixture
def page(page: Any, server: Server) -> Any:
    """A playground that nobody has used."""
    page.goto(f"{server.base_url}/playground")
    panel(page).wait_for()
    return page


def panel(page: Any) -> Any:
    """What the chosen tab shows."""
    return page.get_by_role("tabpanel")


def show(page: Any, tab: str) -> Any:
    page.get_by_role("tab", name=tab).click()
    return panel(page)


def answer(page: Any) -> Any:
    return panel(page).get_by_role("region", name="Answer")


def run(page: Any) -> None:
    panel(page).get_by_role("button", name="Run", exact=True).click()
    answer(page).get_by_text("ended:").wait_for(timeout=PATIENCE_MS)


def said(page: Any, text: str) -> None:
    panel(page).get_by_label("Message 2: User").fill(text)


def short(page: Any, tokens: int = 24) -> None:
    panel(page).get_by_label("Temperature").fill("0")
    panel(page).get_by_label("Longest answer, in tokens").fill(str(tokens))


def form(page: Any, kind: str) -> None:
    page.locator("summary", has_text="Form of the answer").filter(visible=True).click()
    panel(page).get_by_label("Form", exact=True).select_option(kind)


def test_an_answer_streams_and_becomes_a_message(page: Any) -> None:
    with page.expect_request("**/v1/chat/completions") as sent:
        said(page, "Say hello.")
        short(page)
        panel(page).get_by_label("Stop at").fill("\\n\\n")
        panel(page).get_by_label("Word probabilities").check()
        panel(page).get_by_label("Message 2: User").press("Control+Enter")
    assert sent.value.post_data_json == {
        "model": page.get_by_label("Model").filter(visible=True).input_value(),
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Say hello."},
        ],
        "temperature": 0, "max_completion_tokens": 24, "stop": ["\n\n"], "logprobs": True, "top_logprobs": 5,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    answer(page).get_by_text("ended:").wait_for(timeout=PATIENCE_MS)
    assert re.search(r"\+ \d+ tokens.*\d ms to the first token", answer(page).inner_text(), re.DOTALL)
    words = answer(page).get_by_role("group").inner_text()
    panel(page).get_by_role("button", name="Add to the messages").click()
    assert panel(page).get_by_label("Message 3: Assistant").input_value() == words != ""
    page.reload()
    assert panel(page).get_by_label("Message 3: Assistant").input_value() == words


def test_stop_stops(page: Any) -> None:
    said(page, "Write a long story about a clockmaker.")
    panel(page).get_by_role("button", name="Run", exact=True).click()
    panel(page).get_by_role("button", name="Stop", exact=True).click()
    answer(page).get_by_text("You stopped this answer.").last.wait_for()
    assert panel(page).get_by_role("button", name="Run", exact=True).is_visible()


def test_what_cannot_run_says_why_and_what_is_refused_in_the_servers_words(page: Any) -> None:
    said(page, "Hi")
    panel(page).get_by_label("Temperature").fill("3")
    panel(page).get_by_role("button", name="Run", exact=True).click()
    assert "Temperature: At most 2" in panel(page).get_by_role("alert").first.inner_text()
    panel(page).get_by_label("Temperature").fill("")
    form(page, "json_schema")
    editor = panel(page).get_by_label("JSON schema")
    editor.fill('{\n  "type" "object"\n}')
    panel(page).get_by_text("Line 2, column 10: a colon is expected.").wait_for()
    editor.fill('{"type": "object"}')
    panel(page).get_by_text("Strict: “additionalProperties” must be false.").wait_for()
    panel(page).get_by_role("button", name="Run", exact=True).click()
    answer(page).get_by_text("Invalid schema for response_format 'answer'").wait_for(timeout=PATIENCE_MS)


def test_an_answer_is_held_against_its_schema(page: Any) -> None:
    said(page, "How are you? In JSON.")
    form(page, "json_schema")
    panel(page).get_by_label("JSON schema").fill(json.dumps(MOOD))
    run(page)
    answer(page).get_by_text("The answer matches the schema.").wait_for()
    # The policy allows no eval; and what a model without the schema might have said does not match.
    chunk = {"choices": [{"index": 0, "delta": {"content": '{"mood": "odd", "x": 1}'}, "finish_reason": "stop"}]}
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    run(page)
    answer(page).get_by_text("The answer does not match the schema:").wait_for()
    found = answer(page).get_by_role("listitem").all_inner_texts()
    assert sorted(each.split()[0] for each in found) == ["/mood", "/x"]


def test_a_person_plays_the_tools(page: Any) -> None:
    said(page, "What is the weather in Paris?")
    page.locator("summary", has_text="Tools").click()
    panel(page).get_by_role("button", name="Add a tool").click()
    panel(page).get_by_label("Tool 1", exact=True).fill(json.dumps(TOOL))
    panel(page).get_by_label("Which one").select_option("=get_weather")
    panel(page).get_by_role("button", name="Run", exact=True).click()
    result = answer(page).get_by_label("What get_weather returns").first
    result.wait_for(timeout=PATIENCE_MS)
    for each in answer(page).get_by_label("What get_weather returns").all():
        each.fill('{"degrees": 21}')
    panel(page).get_by_label("Which one").select_option("none")
    short(page)
    with page.expect_request("**/v1/chat/completions") as sent:
        panel(page).get_by_role("button", name="Send the results").click()
    _, _, called, *results = sent.value.post_data_json["messages"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"])["place"] in ("Paris", "Oslo")
    assert results == [
        {"role": "tool", "tool_call_id": call["id"], "content": '{"degrees": 21}'} for call in called["tool_calls"]
    ]
    answer(page).get_by_text("ended: ").wait_for(timeout=PATIENCE_MS)


def test_a_completion_regrows_from_another_word(page: Any) -> None:
    show(page, "Completion")
    short(page, 12)
    panel(page).get_by_label("Word probabilities").check()
    run(page)
    words = answer(page).locator("[data-word]").all_inner_texts()
    answer(page).locator('[data-word="2"]').hover()
    other = page.get_by_role("dialog").locator("button:enabled").first
    other.wait_for()
    alternative = other.locator("code").inner_text()
    with page.expect_request("**/v1/completions") as sent:
        other.click()
    prompt = sent.value.post_data_json["prompt"]
    assert prompt.startswith("Once upon a time" + "".join(words[:2]))
    assert prompt.strip().endswith(alternative.strip("␣↵⇥"))
    assert panel(page).get_by_label("Prompt", exact=False).first.input_value() == prompt


def test_similar_texts_are_close(page: Any) -> None:
    show(page, "Embeddings")
    panel(page).get_by_role("button", name="Run", exact=True).click()
    table = panel(page).get_by_role("table")
    table.wait_for(timeout=PATIENCE_MS)
    rows = [[float(cell) for cell in row.locator("td").all_inner_texts()] for row in table.locator("tbody tr").all()]
    assert [rows[at][at] for at in range(3)] == [1, 1, 1]
    assert rows == [list(column) for column in zip(*rows, strict=True)]
    assert rows[0][1] > 0.6 > 0.3 > rows[0][2]
    assert panel(page).get_by_text("384 dimensions").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wrong_for_those_who_cannot_see_it(page: Any, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    for tab in ("Chat", "Completion", "Embeddings"):
        show(page, tab)
        if tab == "Chat":
            said(page, "Say hello.")
        if tab != "Embeddings":
            short(page, 12)
            panel(page).get_by_label("Word probabilities").check()
            run(page)
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 740})
            assert axe(page) == [], (tab, width)
            assert page.evaluate("document.querySelector('main').scrollWidth <= innerWidth"), (tab, width)
        page.get_by_role("button", name="View code").click()
        page.get_by_role("dialog").locator("pre").wait_for()
        assert axe(page) == [], (tab, "code")
        page.keyboard.press("Escape")


def programs(page: Any, dialect: str) -> Generator[tuple[str, str]]:
    """What is shown in each language, streamed if that is possible."""
    page.get_by_role("button", name="View code").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(dialect, exact=True).check()
    for language in ("Python", "Node.js", "curl"):
        dialog.get_by_role("tab", name=language).click()
        yield language, dialog.locator("pre code").text_content()
    page.keyboard.press("Escape")


@pytest.mark.parametrize("dialect", ["OpenAI", "Azure OpenAI"])
@pytest.mark.parametrize("tab", ["Chat", "Completion", "Embeddings"])
def test_the_programs_that_are_shown_run(page: Any, server: Server, tmp_path: Path, tab: str, dialect: str) -> None:
    show(page, tab)
    if tab == "Embeddings":
        panel(page).get_by_label("Text 1", exact=True).fill(NASTY)
    else:
        panel(page).get_by_label("Message 1: System" if tab == "Chat" else "Prompt").first.fill(NASTY)
        short(page, 8)
    if tab == "Chat":
        said(page, "Say hello.")
    environment = os.environ | {"MAINSPRING_API_KEY": server.key}
    for language, code in programs(page, dialect):
        assert server.key not in code
        if (command := runner(language, code, tmp_path)) is None:
            continue
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, (code, done.stderr)
        assert done.stdout.strip() != ""
        assert '"error"' not in done.stdout, done.stdout


def runner(language: str, code: str, folder: Path) -> list[str] | None:
    """The command that runs a program; None if this machine has nothing for it."""
    endings = {"Python": "py", "Node.js": "mjs", "curl": "sh"}
    file = folder / f"program.{endings[language]}"
    file.write_text(code)
    if language == "Python":
        return [sys.executable, str(file)]
    if language == "curl":
        return ["sh", str(file)] if shutil.which("curl") else None
    packages = NODE / "node_modules"
    if shutil.which("node") is None or not packages.exists():
        return None
    (folder / "node_modules").symlink_to(packages)
    return ["node", str(file)]
