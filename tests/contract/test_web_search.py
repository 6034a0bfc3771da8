"""The tool web_search with the official clients, over a search engine and pages of our own on loopback."""

import json
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import parse_qs

import pytest
from openai import OpenAI

from mainspring.core.config import FilterSettings
from mainspring.core.config_tools import ToolSettings
from mainspring.responses.citations import markers
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import GovernedTarget, governed, serve
from tests.contract.test_node import FOLDER, NODE, PACKAGE

PAGE = (
    "<html><head><title>Penguins &amp; co</title><script>evil()</script></head><body><nav>Menu</nav><h1>Penguins</h1>"
    "<p>They eat krill.</p></body></html>"
)
ASK = '!cite !call web_search {"query": "what do penguins eat?"}'


class Web:
    """A search engine as SearXNG answers, and a page; `seen` are the queries."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        body, kind = PAGE, b"text/html"
        if scope["path"] == "/search":
            self.seen.append(parse_qs(scope["query_string"].decode())["q"][0])
            kind, body = b"application/json", json.dumps({"results": self.results(self.seen[-1])})
        status = 500 if "broken" in (self.seen or [""])[-1] else 200
        head = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body.encode()})

    def results(self, query: str) -> list[Any]:
        if "nothing" in query:
            return []
        return [
            {"url": f"{self.url}/penguins", "title": "Penguins", "content": "Penguins are birds that eat krill."},
            {"url": "https://example.org/b(1)", "title": "Birds", "content": "Birds fly, but not all of them."},
            {"url": "javascript:alert(1)", "title": "no page"},
            {"title": "no url"},
        ]


@pytest.fixture(scope="module")
def web() -> Generator[Web]:
    made = Web()
    with serve(made) as made.url:
        yield made


@pytest.fixture(scope="module")
def target(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    settings = ToolSettings(web_search=web.url, private_hosts=("127.0.0.1",))  # type: ignore[call-arg]
    unfiltered = FilterSettings(policy="none")  # type: ignore[call-arg]  # the fake's words mean nothing, and look bad
    with governed(tmp_path_factory.mktemp("web"), tools=settings, filters=unfiltered) as found:
        yield found


def ask(client: OpenAI, text: str = ASK, **more: Any) -> Any:
    tools: Any = [{"type": "web_search", **more.pop("tool", {})}]
    return client.responses.create(model="fake", input=text, tools=tools, **more)


def test_item_43_a_search_and_citations_whose_spans_lie_in_the_text(
    target: GovernedTarget, web: Web, dialect: str
) -> None:
    response = ask(target.sdk(dialect))
    call, message = response.output
    assert (call.type, call.status) == ("web_search_call", "completed")
    assert (call.action.type, call.action.query) == ("search", "what do penguins eat?")
    assert call.action.sources is None
    check("WebSearchToolCall", call.model_dump(mode="json", exclude_none=True))
    (part,) = message.content
    assert part.annotations
    for each in part.annotations:
        assert each.type == "url_citation"
        assert each.url in (f"{web.url}/penguins", "https://example.org/b(1)")
        shown = part.text[each.start_index : each.end_index]
        assert shown.startswith("([")
        assert shown.endswith(each.url.replace("(", "%28").replace(")", "%29") + "))")
    assert markers(part.text) == []


def test_sources_and_results_are_shown_to_whoever_asks_for_them(target: GovernedTarget, web: Web) -> None:
    response = ask(target.sdk("openai"), include=["web_search_call.action.sources", "web_search_call.results"])
    call = response.output[0]
    assert [each.url for each in call.action.sources] == [f"{web.url}/penguins", "https://example.org/b(1)"]
    assert call.model_dump()["results"][0]["title"] == "Penguins"


def test_a_stream_tells_the_search(target: GovernedTarget) -> None:
    events = list(ask(target.sdk("openai"), stream=True))
    assert [each.type.removeprefix("response.web_search_call.") for each in events if "web_search" in each.type] == [
        "in_progress", "searching", "completed",
    ]  # fmt: skip


def test_pages_that_were_found_can_be_opened_and_no_others(target: GovernedTarget, web: Web) -> None:
    client = target.sdk("openai")
    first = ask(client)
    call = json.dumps({"url": f"{web.url}/penguins"})
    later = ask(client, f"!cite !call open_page {call}", previous_response_id=first.id)
    assert (later.output[0].action.type, later.output[0].action.url) == ("open_page", f"{web.url}/penguins")
    assert target.engine is not None
    told = target.engine.requests[-1].prompt.messages[-1].content  # type: ignore[union-attr]
    assert "Penguins & co" in told
    assert "They eat krill." in told
    assert "evil" not in told
    assert "Menu" not in told
    other = ask(client, '!call open_page {"url": "http://127.0.0.1:1/admin"}')
    assert other.output[0].status == "failed"
    assert "Only pages" in target.engine.requests[-1].prompt.messages[-1].content  # type: ignore[union-attr]


def test_only_pages_of_allowed_domains_are_found(target: GovernedTarget, web: Web) -> None:
    tool = {"filters": {"allowed_domains": ["Example.org"]}, "user_location": {"type": "approximate", "city": "Bern"}}
    response = ask(target.sdk("openai"), tool=tool, include=["web_search_call.action.sources"])
    assert [each.url for each in response.output[0].action.sources] == ["https://example.org/b(1)"]
    assert web.seen[-1] == "what do penguins eat? site:Example.org"
    assert target.engine is not None
    described = target.engine.requests[-1].prompt.tools.tools[0].description  # type: ignore[union-attr]
    assert "Bern" in described


def test_with_nothing_found_or_an_engine_that_fails_the_model_is_told(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    nothing = ask(client, '!cite !call web_search {"query": "nothing"}')
    assert nothing.output_text.startswith("I found nothing about this in the web.")
    broken = ask(client, '!call web_search {"query": "broken"}')
    assert (broken.output[0].status, broken.status) == ("failed", "completed")


def test_without_an_engine_the_tool_is_refused_and_the_setting_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with governed(tmp_path_factory.mktemp("no-web")) as target:
        for kind in ("web_search", "web_search_preview"):
            answer = target.post({"input": "x", "tools": [{"type": kind}]}, "responses")
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == "tools[0].type"
            assert "tools.web_search" in answer.json()["error"]["message"]


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_item_43_with_the_npm_package(target: GovernedTarget, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASK", ASK)
    seen = run([str(NODE), str(FOLDER / "web_search.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        assert found["sources"][0] == {"type": "url", "url": f"{web.url}/penguins"}
        assert found["spans"]
        assert all(each.startswith("([") for each in found["spans"])


def test_what_was_searched_is_counted(target: GovernedTarget) -> None:
    secret = target.make_key()
    client, key = target.sdk("openai", secret), target.key_id(secret)
    ask(client, '!call web_search {"query": "one"}')
    ask(client, '!call web_search {"query": "two"}')
    ask(client, "hello")

    async def again() -> None:  # another search of one of these responses
        target.services.count("web_search", "ws_again", project="default", key=key, subject="fake")

    target.run(again())
    usage = target.sdk("openai", admin_api_key=target.key).admin.organization.usage
    for _ in range(60):
        page = usage.web_search_calls(start_time=int(time.time()) - 86_400, api_key_ids=[key])
        found = [result for bucket in page.data for result in bucket.results]
        if found and found[0].num_requests >= 3:
            break
        time.sleep(0.1)  # until the ledger has been moved to the database
    check("UsageResponse", json.loads(page.to_json()))
    assert [(each.num_requests, each.num_model_requests) for each in found] == [(3, 2)]
