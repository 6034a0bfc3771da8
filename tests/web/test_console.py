"""The Console in Chromium, on a real server: what it shows is what the server has, and what it changes has changed."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, axe, sign_in
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

PAGES = ("", "/models", "/deployments", "/usage", "/health", "/fine-tuning", "/batches", "/evals", "/keys", "/quotas",
         "/policies", "/policies/Microsoft.DefaultV2", "/audit")  # fmt: skip
ACCOUNT = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/default/providers/Microsoft.CognitiveServices"
    "/accounts/default"
)
PRICES = json.dumps({"*": {"input": 1000, "output": 1000}})


@pytest.fixture(scope="module")
def server(model_file: Path) -> Generator[Server]:
    with running(model_file, MAINSPRING_METERING__PRICES=PRICES) as found:
        yield found


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    """Its name; it was asked twice."""
    with server.http() as client:
        name = client.get("/v1/models").json()["data"][0]["id"]
        for _ in range(2):
            answer = client.post("/v1/chat/completions", json={
                "model": name, "max_tokens": 4, "messages": [{"role": "user", "content": "Say hello."}],
            })  # fmt: skip
            assert answer.status_code == 200, answer.text
    return name


def show(page: Any, server: Server, path: str) -> None:
    page.goto(f"{server.base_url}/console{path}")
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_text("Loading…").first.wait_for(state="detached", timeout=PATIENCE_MS)


def is_too_wide(page: Any) -> bool:
    """Whether more than tables, which do so within themselves, has to be scrolled sideways."""
    return page.evaluate(
        "[document.documentElement, document.querySelector('main')].some(it => it.scrollWidth > it.clientWidth)"
    )


def confirm(page: Any, label: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=label, exact=True).last.click()


def arm(server: Server, path: str) -> Any:
    with server.http() as client:
        return client.get(f"{ACCOUNT}{path}", params={"api-version": "2025-09-01"})


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe(chromium: Any, server: Server, model: str, theme: str, width: int) -> None:
    """And no page is wider than a phone."""
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    page = context.new_page()
    sign_in(page, server.base_url, server.key)
    for path in PAGES:
        show(page, server, path)
        assert (path, axe(page)) == (path, [])
        assert not is_too_wide(page)
    context.close()


def test_usage(page: Any, server: Server, model: str) -> None:
    show(page, server, "/usage")
    page.get_by_role("row", name=model).get_by_role("cell", name="2", exact=True).wait_for(timeout=PATIENCE_MS)
    page.get_by_label("Told apart by").select_option("api_key_id")
    page.get_by_role("row", name="admin").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    titles, line, *more = Path(download.value.path()).read_text().splitlines()
    assert titles == "start,end,api_key_id,requests,input_tokens,input_cached_tokens,output_tokens"
    assert line.split(",")[2:4] == ["admin", "2"]
    assert more == []


def test_the_secret_of_a_key_works_until_its_account_is_deleted(page: Any, server: Server, model: str) -> None:
    show(page, server, "/keys")
    page.get_by_role("button", name="New service account").click()
    page.get_by_label("Name", exact=True).fill("robot")
    confirm(page, "Create")
    secret = page.get_by_role("dialog").locator("code").inner_text()

    def status() -> int:
        with server.http() as client:
            return client.get("/v1/models", headers={"api-key": secret}).status_code

    assert status() == 200
    page.get_by_role("button", name="I have kept it").click()
    assert secret not in page.content()
    page.get_by_role("button", name="Delete: robot").click()
    confirm(page, "Delete")
    page.get_by_role("button", name="Delete: robot").wait_for(state="detached")
    assert status() == 401


def test_a_name_that_is_taken_is_said_in_the_servers_words(page: Any, server: Server) -> None:
    show(page, server, "/keys")
    page.get_by_role("button", name="New administrator").click()
    page.get_by_label("Name", exact=True).fill("admin")
    confirm(page, "Create")
    page.get_by_role("dialog").get_by_role("alert").get_by_text("There is a key named 'admin'").wait_for()


def test_deployments(page: Any, server: Server, model: str) -> None:
    show(page, server, "/deployments")
    page.get_by_role("button", name="New deployment").click()
    page.get_by_role("option", name=model).first.wait_for(state="attached")
    page.get_by_label("Name", exact=True).fill("small")
    page.get_by_label("Capacity").fill("3")
    confirm(page, "Create")
    page.get_by_role("button", name="Change: small").click()
    page.get_by_label("Capacity").fill("7")
    confirm(page, "Save")
    page.get_by_text("7 units").wait_for()
    page.get_by_role("button", name="Pause: small").click()
    confirm(page, "Pause")
    page.get_by_role("button", name="Resume: small").wait_for()
    found = arm(server, "/deployments/small").json()
    assert (found["sku"]["capacity"], found["properties"]["deploymentState"]) == (7, "Paused")
    page.get_by_role("button", name="Resume: small").click()
    page.get_by_role("button", name="Pause: small").wait_for()
    page.get_by_role("button", name="Delete: small").click()
    confirm(page, "Delete")
    page.get_by_role("button", name="Delete: small").wait_for(state="detached")
    assert arm(server, "/deployments/small").status_code == 404


def test_policies(page: Any, server: Server) -> None:
    show(page, server, "/policies")
    page.get_by_role("button", name="New policy").click()
    page.get_by_label("Name", exact=True).fill("Tight")
    confirm(page, "Create")
    page.get_by_label("From: Hate, Questions").select_option("Low")
    page.get_by_label("Blocks: Jailbreak, Questions").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    # What was not changed is not said: it stays as the base has it.
    assert arm(server, "/raiPolicies/Tight").json()["properties"]["contentFilters"] == [
        {"name": "Hate", "enabled": True, "blocking": True, "source": "Prompt", "severityThreshold": "Low"},
        {"name": "Jailbreak", "enabled": True, "blocking": False, "source": "Prompt"},
    ]
    show(page, server, "/policies/Tight")
    assert page.get_by_label("From: Hate, Questions").input_value() == "Low"
    assert page.get_by_label("From: Hate, Answers").input_value() == "Medium"


def test_a_text_is_tried(page: Any, server: Server) -> None:
    show(page, server, "/policies")
    page.get_by_label("Text", exact=True).fill("I will kill you.")
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("This text is flagged.").wait_for()
    assert float(page.get_by_role("meter", name="violence", exact=True).get_attribute("aria-valuenow")) > 0.5


def test_a_budget_that_is_used_up(page: Any, server: Server, model: str) -> None:
    show(page, server, "/quotas")
    page.get_by_role("button", name="Budget: default").click()
    page.get_by_label("At most, each month").fill("0.01")
    confirm(page, "Save")
    page.get_by_text("The budget is used up").wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Budget: default").click()
    page.get_by_label("At most, each month").fill("")
    confirm(page, "Save")
    page.get_by_text("no budget").wait_for()


def test_a_batch(page: Any, server: Server, model: str) -> None:
    body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "Say hello."}]}
    lines = [
        json.dumps({"custom_id": str(at), "method": "POST", "url": "/v1/chat/completions", "body": body})
        for at in range(3)
    ]
    with server.http() as client:
        files = {"file": ("b.jsonl", "\n".join(lines))}
        file = client.post("/v1/files", files=files, data={"purpose": "batch"}).json()["id"]
        made = client.post("/v1/batches", json={
            "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"
        })  # fmt: skip
        assert made.status_code == 200, made.text
    show(page, server, "/batches")
    page.get_by_text("3 of 3 answered").wait_for(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Output").wait_for(timeout=PATIENCE_MS)
    with page.expect_download() as download:
        page.get_by_role("button", name="Output").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 3
    page.set_viewport_size({"width": 360, "height": 800})
    assert not is_too_wide(page)


def test_whoever_only_asks_models_finds_no_console_and_is_told_why(chromium: Any, server: Server) -> None:
    with server.http() as client:
        made = client.post("/v1/organization/projects/default/service_accounts", json={"name": "asks"}).json()
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, server.base_url, made["api_key"]["value"])
    page.get_by_role("link", name="Playground").wait_for()
    assert page.get_by_role("link", name="Console").count() == 0
    show(page, server, "/audit")
    page.get_by_text("This needs the role admin").wait_for()
    context.close()


def test_what_was_changed_is_in_the_audit_log(page: Any, server: Server) -> None:
    with server.http() as client:
        client.post("/v1/organization/projects", json={"name": "Found again"})
    show(page, server, "/audit")
    page.get_by_label("Search").fill("project.create found-again")
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
    page.get_by_role("row", name="project.create found-again").wait_for()
