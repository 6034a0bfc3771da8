"""Files in a chat, in Chromium on a real server: attached, answered from, cited, and taken away again."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, Api, answers, axe, begun, chat_in, composer, ended, say
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

LIGHTHOUSE = """# The lighthouse of Skerry Point

The lighthouse of Skerry Point was built in 1874 by the engineer Ada Thornbury. It is 41 metres high.

The lamp burned whale oil until 1902, and has been electric since 1931.
"""
DROP = """([name, text]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([text], name));
    for (const type of ["dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
    }
}"""


@pytest.fixture(scope="module")
def server(model_file: Path, embedding_folder: Path) -> Generator[Server]:
    with running(model_file, embedding_folder) as found:
        yield found


@pytest.fixture
def page(page: Any, server: Server) -> Any:
    """A chat that has not begun."""
    page.goto(server.base_url)
    composer(page).wait_for()
    return page


def chip(page: Any, name: str) -> Any:
    return page.get_by_role("list", name="Files of this chat").get_by_role("listitem").filter(has_text=name)


def is_ready(page: Any, name: str) -> None:
    chip(page, name).get_by_text("Ready").wait_for(state="attached", timeout=PATIENCE_MS)


def files_of(api: Api, chat: str) -> list[str]:
    store = api.ask("GET", f"/v1/x/chats/{chat}")["settings"]["vector_store"]
    found = api.ask("GET", f"/v1/vector_stores/{store}/files", params={"order": "asc"})["data"]
    return [each["attributes"]["filename"] for each in found]


def test_files_are_attached_answered_from_and_cited(page: Any, server: Server, tmp_path: Path) -> None:
    api = Api(server.base_url, server.key)
    (tmp_path / "lighthouse.md").write_text(LIGHTHOUSE)
    (tmp_path / "broken.docx").write_bytes(b"PK\x03\x04 no archive")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Attach files").click()
    chooser.value.set_files([tmp_path / "lighthouse.md", tmp_path / "broken.docx"])
    is_ready(page, "lighthouse.md")
    chip(page, "broken.docx").get_by_text("broken.docx' ").wait_for(timeout=PATIENCE_MS)  # the server's words
    assert axe(page) == []
    page.get_by_role("button", name="Remove broken.docx").click()
    page.reload()  # nothing was asked yet, and nothing is lost
    is_ready(page, "lighthouse.md")
    assert chip(page, "broken.docx").count() == 0

    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Longest answer, in tokens").fill("160")
    page.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Save").click()
    say(page, "Who built the lighthouse of Skerry Point?")
    begun(page)
    ended(page)
    chat = chat_in(page.url)
    [turn] = api.turns(chat)
    search, message = turn["output"]
    assert search["queries"] == ["Who built the lighthouse of Skerry Point?"]
    part = message["content"][0]
    cited = sorted(part["annotations"], key=lambda each: each["index"])
    assert cited

    marks = answers(page).get_by_role("button", name="Source 1: lighthouse.md")
    assert marks.count() == len({each["index"] for each in cited})
    assert ["may not say this" in (mark.get_attribute("aria-label") or "") for mark in marks.all()] == [
        not each["supported"] for each in cited
    ]
    before = "mark => { const range = document.createRange(); range.setStart(mark.closest('.prose'), 0); "
    before += "range.setEndBefore(mark); return range.toString(); }"
    for place, each in enumerate(cited):
        shown = "".join(c for c in marks.nth(place).evaluate(before) if c.isalpha())
        assert shown == "".join(c for c in part["text"][: each["index"]] if c.isalpha())
    marks.last.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Source 1").get_by_text("Ada Thornbury").wait_for()
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    sources = answers(page).get_by_role("region", name="Sources")
    sources.get_by_text("lighthouse.md").click()
    assert sources.get_by_text("Ada Thornbury").is_visible()

    page.evaluate(DROP, ["cat.txt", "The keeper's cat was called Barnacle."])
    is_ready(page, "cat.txt")
    assert files_of(api, chat) == ["lighthouse.md", "cat.txt"]
    page.get_by_role("button", name="Remove lighthouse.md").click()
    chip(page, "lighthouse.md").wait_for(state="detached")
    page.reload()
    is_ready(page, "cat.txt")
    assert files_of(api, chat) == ["cat.txt"]
    marks.first.wait_for()  # what was cited stays readable
    assert composer(page).is_enabled()
