"""Jobs made in the Console, on a real server: what is wrong with them is said at its field, and what comes of them."""

import contextlib
import json
import subprocess
import time
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, Api, axe, sign_in
from tests.web.conftest import why_not

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(0),  # jobs go after all other work
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

FORMS = {"fine-tuning": "New fine-tuning job", "batches": "New batch", "evals": "New evaluation"}
JOB_MS = 1_500_000
"""A job has the lowest priority there is, and imports PyTorch first."""
WORDS = ("ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew")


@pytest.fixture(scope="module")
def server(model_file: Path) -> Generator[Server]:
    with running(model_file) as found:
        yield found
        # The process of a job that goes on would outlive a server that is killed, by seconds.
        with contextlib.suppress(subprocess.TimeoutExpired):
            found.stop()


@pytest.fixture(scope="module")
def model(api: Api) -> str:
    return api.ask("GET", "/v1/models")["data"][0]["id"]


def lines(*objects: Any) -> bytes:
    return "".join(json.dumps(each) + "\n" for each in objects).encode()


def example(word: str) -> Any:
    asked, answered = {"role": "user", "content": f"I want 3 trees: {word}."}, {"role": "assistant", "content": word}
    return {"messages": [asked, answered]}


def request(model: str, at: int, **body: Any) -> Any:
    asked = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "Say hello."}]}
    return {"custom_id": str(at), "method": "POST", "url": "/v1/chat/completions", "body": asked | body}


def open_form(page: Any, server: Server, path: str) -> Any:
    page.goto(f"{server.base_url}/console/{path}")
    page.get_by_role("button", name=FORMS[path]).click()
    return page.get_by_role("dialog")


def upload(form: Any, field: str, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "application/jsonl", "buffer": content}
    form.locator(f"input[type=file][aria-label='Upload: {field}']").set_input_files(file)


def chosen(form: Any, field: str) -> str:
    """What a file's field says is chosen, once it is what was uploaded."""
    select = form.get_by_label(field, exact=True)
    select.locator("option:checked:not([value=''])").wait_for(state="attached", timeout=PATIENCE_MS)
    return select.locator("option:checked").inner_text()


def press(form: Any, button: str) -> None:
    form.get_by_role("button", name=button, exact=True).click()


def wrong(form: Any, field: str) -> str:
    """What is said at a field, which is read with it and has the focus."""
    control = form.get_by_label(field, exact=True)
    control.and_(form.locator("[aria-invalid=true]")).wait_for()
    [said] = [
        form.locator(f"[id='{each}']").inner_text()
        for each in control.get_attribute("aria-describedby").split()
        if each.endswith("-wrong")
    ]
    return said


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe(chromium: Any, server: Server, model: str, theme: str) -> None:
    """With every method and grader, and what is wrong at a field, on a phone."""
    context = chromium.new_context(viewport={"width": 360, "height": 800}, color_scheme=theme)
    page = context.new_page()
    sign_in(page, server.base_url, server.key)
    for path, field in (("fine-tuning", "Method"), ("batches", "Endpoint"), ("evals", "Grader")):
        form = open_form(page, server, path)
        control = form.get_by_label(field, exact=True)
        for value in control.evaluate("it => [...it.options].map(each => each.value)"):
            control.select_option(value)
            assert (path, value, axe(page)) == (path, value, [])
        assert form.evaluate("it => it.scrollWidth <= it.clientWidth")
    form = open_form(page, server, "batches")
    upload(form, "Requests", "b.jsonl", b"not json")
    wrong(form, "Requests")
    assert axe(page) == []
    context.close()


def test_a_line_that_is_no_json_is_said_at_the_file(page: Any, server: Server, model: str) -> None:
    form = open_form(page, server, "fine-tuning")
    upload(form, "Training file", "bad.jsonl", lines(example("ash")) + b"<script>alert(1)</script>\n")
    assert "line 2 is not valid JSON" in wrong(form, "Training file")
    assert form.get_by_label("Training file", exact=True).input_value() == ""
    upload(form, "Training file", "good.jsonl", lines(*map(example, WORDS)))
    assert chosen(form, "Training file").startswith("good.jsonl (1.")
    assert form.locator("[aria-invalid]").count() == 0


def test_numbers_that_do_not_go_are_said_at_their_fields(page: Any, server: Server, model: str) -> None:
    form = open_form(page, server, "fine-tuning")
    upload(form, "Training file", "good.jsonl", lines(*map(example, WORDS)))
    chosen(form, "Training file")
    form.get_by_label("Epochs").fill("0")
    press(form, "Create")
    assert "expected a value >= 1" in wrong(form, "Epochs")
    assert form.get_by_label("Epochs").evaluate("it => it === document.activeElement")
    form.get_by_label("Epochs").fill("soon")
    press(form, "Create")
    form.get_by_text("'soon' is not supported").wait_for()
    form.get_by_label("Method").select_option("reinforcement")
    form.get_by_label("Epochs").fill("")
    form.get_by_label("Grader").fill("{")
    press(form, "Create")
    form.get_by_text("This is not JSON").wait_for()
    form.get_by_label("Grader").fill('{"type": "nonsense"}')
    press(form, "Create")
    form.get_by_text("nonsense").last.wait_for()
    wrong(form, "Grader")


def test_no_job_is_made_before_its_files_have_arrived(page: Any, server: Server, api: Api, model: str) -> None:
    """Of the validation file too, without which it could be made."""
    before = len(api.ask("GET", "/v1/fine_tuning/jobs")["data"])
    form = open_form(page, server, "fine-tuning")
    upload(form, "Training file", "good.jsonl", lines(*map(example, WORDS)))
    chosen(form, "Training file")
    held: list[Any] = []
    page.route("**/v1/files", lambda route: held.append(route))
    upload(form, "Validation file", "late.jsonl", b"not json")
    form.get_by_role("status").get_by_text("Uploading").wait_for()
    press(form, "Create")
    select = form.get_by_label("Validation file", exact=True)
    assert select.evaluate("it => it.validationMessage") == "This file has not arrived yet."
    held[0].continue_()
    assert "line 1 is not" in wrong(form, "Validation file")
    assert select.evaluate("it => it.validationMessage") == ""
    assert len(api.ask("GET", "/v1/fine_tuning/jobs")["data"]) == before
    # The focus goes to what the server has named, although something else is wrong as well.
    form.get_by_label("Batch size").fill("0")
    press(form, "Create")
    wrong(form, "Batch size")
    assert form.get_by_label("Batch size").evaluate("it => it === document.activeElement")


@pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")
def test_a_fine_tuning_job_is_made_paused_resumed_and_cancelled(
    page: Any, server: Server, api: Api, model: str
) -> None:
    form = open_form(page, server, "fine-tuning")
    upload(form, "Training file", "good.jsonl", lines(*map(example, WORDS)))
    upload(form, "Validation file", "check.jsonl", lines(*map(example, WORDS)))
    assert chosen(form, "Training file").startswith("good.jsonl")
    assert chosen(form, "Validation file").startswith("check.jsonl")
    form.get_by_label("Suffix").fill("trees")
    form.get_by_label("Epochs").fill("50")
    form.get_by_label("Batch size").fill("1")
    form.get_by_label("Seed").fill("7")
    press(form, "Create")
    page.wait_for_url("**/console/fine-tuning/ftjob-*")
    job = f"/v1/fine_tuning/jobs/{page.url.split('?')[0].rpartition('/')[2]}"
    found = api.ask("GET", job)
    assert (found["seed"], found["user_provided_suffix"], found["model"]) == (7, "trees", model)
    of = found["method"]["supervised"]["hyperparameters"]
    assert (of["n_epochs"], of["batch_size"], of["learning_rate_multiplier"]) == (50, 1, "auto")
    page.get_by_role("button", name="Pause").click(timeout=JOB_MS)
    page.get_by_role("button", name="Resume").click(timeout=JOB_MS)
    page.get_by_role("button", name="Resume").wait_for(state="detached", timeout=JOB_MS)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").last.click()
    page.get_by_text("Cancelled").first.wait_for(timeout=JOB_MS)
    assert api.ask("GET", job)["status"] == "cancelled"


@pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")
def test_what_a_job_finds_wrong_with_its_lines_is_said_with_their_numbers(
    page: Any, server: Server, model: str
) -> None:
    form = open_form(page, server, "fine-tuning")
    upload(form, "Training file", "odd.jsonl", lines(*map(example, WORDS), {"messages": []}, {"nothing": 1}))
    chosen(form, "Training file")
    press(form, "Create")
    said = page.get_by_role("alert").filter(has_text="2 lines must be corrected")
    said.first.wait_for(timeout=JOB_MS)
    assert all(f"line {number}" in said.first.inner_text().lower() for number in (13, 14))


def test_a_batch_is_made_and_its_output_and_errors_are_downloaded(page: Any, server: Server, model: str) -> None:
    form = open_form(page, server, "batches")
    upload(form, "Requests", "b.jsonl", lines(request(model, 1), request(model, 2, max_tokens=-1)))
    chosen(form, "Requests")
    press(form, "Create")
    form.wait_for(state="detached")
    for button, key in (("Output", "1"), ("Errors", "2")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click(timeout=PATIENCE_MS)
        [line] = Path(download.value.path()).read_text().splitlines()
        assert json.loads(line)["custom_id"] == key


def test_a_batch_of_another_endpoint_says_which_line_is_wrong(page: Any, server: Server, model: str) -> None:
    form = open_form(page, server, "batches")
    upload(form, "Requests", "b.jsonl", lines(request(model, 1)))
    chosen(form, "Requests")
    form.get_by_label("Endpoint").select_option("/v1/embeddings")
    press(form, "Create")
    page.get_by_text("Line 1: ").wait_for(timeout=PATIENCE_MS)


def test_a_batch_is_cancelled(page: Any, server: Server, api: Api, model: str) -> None:
    form = open_form(page, server, "batches")
    upload(form, "Requests", "long.jsonl", lines(*(request(model, at, max_tokens=500) for at in range(200))))
    chosen(form, "Requests")
    press(form, "Create")
    form.wait_for(state="detached")
    batch = api.ask("GET", "/v1/batches")["data"][0]["id"]
    page.get_by_role("button", name=f"Cancel: {batch}").click(timeout=PATIENCE_MS)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").last.click()
    page.get_by_role("button", name=f"Cancel: {batch}").wait_for(state="detached", timeout=PATIENCE_MS)
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (status := api.ask("GET", f"/v1/batches/{batch}")["status"]) == "cancelling":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert status == "cancelled"


def test_an_evaluation_and_a_run(page: Any, server: Server, model: str) -> None:
    form = open_form(page, server, "evals")
    form.get_by_label("Name", exact=True).fill("trees")
    form.get_by_label("Grader", exact=True).select_option("json")
    form.get_by_label("Graders").fill("[]")
    press(form, "Create")
    assert wrong(form, "Graders")
    form.get_by_label("Grader", exact=True).select_option("string_check")
    form.get_by_label("Is to").select_option("ne")
    press(form, "Create")
    page.get_by_role("heading", name="trees").wait_for()
    page.get_by_role("button", name="New run").click()
    form = page.get_by_role("dialog")
    assert form.get_by_label("Question").input_value() == "{{item.question}}"
    items = [{"item": {"question": f"Say {word}.", "answer": "never said"}} for word in WORDS[:2]]
    upload(form, "Items", "items.jsonl", lines(*items))
    chosen(form, "Items")
    form.get_by_label("Tokens, at most").fill("4")
    press(form, "Start")
    page.wait_for_url("**/console/evals/*/*")
    page.get_by_text("2 of 2").first.wait_for(timeout=PATIENCE_MS)


def test_files_of_other_projects_are_not_offered(page: Any, server: Server, api: Api, model: str) -> None:
    other = api.ask("POST", "/v1/organization/projects", json={"name": "other"})["id"]
    content = lines(request(model, 1))
    for path, name in (("/v1", "mine.jsonl"), (f"/projects/{other}/v1", "theirs.jsonl")):
        api.ask("POST", f"{path}/files", files={"file": (name, content)}, data={"purpose": "batch"})
    form = open_form(page, server, "batches")
    names = form.get_by_label("Requests", exact=True).locator("option")
    names.filter(has_text="mine.jsonl").wait_for(state="attached")
    assert names.filter(has_text="theirs.jsonl").count() == 0
