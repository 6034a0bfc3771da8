"""Diagrams in answers: drawn in a document without rights, below a prefix, and whatever a model wrote, nothing else."""

import re
import urllib.parse
from collections.abc import Generator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import PATIENCE_MS, Api, answers, axe, composer, made_chat, sign_in
from tests.web.conftest import why_not

pytestmark = [pytest.mark.model, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

FLOW = "graph TD\n  accTitle: How tea is made\n  A[Boil water] --> B{Is it <b>hot</b>?}\n  B -->|yes| C[Pour]"
SEQUENCE = "sequenceDiagram\n  Alice->>Bob: Hello\n  Bob-->>Alice: Hello yourself"
WIDE = "graph LR\n" + "\n".join(f"  N{at}[Number {at} of many] --> N{at + 1}[Number {at + 1}]" for at in range(14))


@pytest.fixture(scope="module")
def server(model_file: Path) -> Generator[Server]:
    with running(model_file, MAINSPRING_SERVER__ROOT_PATH="/ai") as found:
        yield found


def fenced(source: str) -> str:
    return f"Here it is:\n\n```mermaid\n{source}\n```\n\nThat was it."


def show(page: Any, server: Server, api: Api, name: str, *texts: str) -> None:
    """A page with an answer for each text."""
    api.take(made_chat(name, *[(f"Question {at}", text) for at, text in enumerate(texts)], title=name))
    page.goto(f"{root(server)}/c/chat_{name}")
    answers(page).first.wait_for(timeout=PATIENCE_MS)


def root(server: Server) -> str:
    return f"{server.base_url.removesuffix('/ai')}/ai"


def picture(page: Any) -> Any:
    found = page.locator("article figure img")
    found.first.wait_for(timeout=PATIENCE_MS)
    return found.first


def svg_of(page: Any) -> str:
    return urllib.parse.unquote(picture(page).get_attribute("src"))


def problem(page: Any) -> str:
    found = page.locator("article figure [role=status]")
    found.first.wait_for(timeout=PATIENCE_MS)
    return found.first.inner_text()


def test_a_diagram_is_a_picture_and_its_source(page: Any, server: Server, api: Api) -> None:
    show(page, server, api, "flow", fenced(FLOW))
    shown = picture(page)
    assert shown.get_attribute("alt") == "Diagram: How tea is made"
    assert page.get_by_role("figure", name="Diagram: How tea is made").count() == 1
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    assert ">Boil<" in svg_of(page)

    page.get_by_role("button", name="Copy the diagram's source").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.startsWith('graph'))")
    assert page.evaluate("navigator.clipboard.readText()") == FLOW
    page.get_by_role("button", name="Show the source").click()
    assert page.locator("article figure pre").inner_text().strip() == FLOW
    page.get_by_role("button", name="Show the picture").click()

    with page.expect_download() as download:
        page.get_by_role("button", name="Download the picture (SVG)").click()
    assert download.value.suggested_filename == "diagram.svg"
    content = Path(download.value.path()).read_text()
    assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    assert "Pour" in content


def test_what_is_no_diagram_loads_nothing_of_them(page: Any, server: Server, api: Api) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    show(page, server, api, "none", "```python\nx = 1\n```\n\nAnd one that is not over:\n\n```mermaid\n" + FLOW)
    page.locator("pre code span").first.wait_for()  # what is loaded late is there
    assert page.locator("article pre").last.inner_text().strip() == FLOW
    assert page.locator("iframe").count() == 0
    assert [url for url in asked if "iagram" in url] == []


def test_what_cannot_be_drawn_is_shown_with_the_reason(page: Any, server: Server, api: Api) -> None:
    show(page, server, api, "wrong", fenced("graph TD\n  A[Start --> B{oops"))
    assert "Parse error on line 2" in problem(page)
    assert "A[Start --> B{oops" in page.locator("article figure pre").first.inner_text()
    assert page.locator("article figure img").count() == 0

    show(page, server, api, "long", fenced("graph TD\n" + "\n".join(f"  A{at} --> B" for at in range(2500))))
    assert "too long" in problem(page)
    show(page, server, api, "edges", fenced("graph TD\n" + "\n".join(f"  A{at} --> B" for at in range(400))))
    assert "edges" in problem(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_diagrams_follow_the_theme_and_fit_a_phone(chromium: Any, server: Server, api: Api, scheme: str) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    page = context.new_page()
    sign_in(page, server.base_url, server.key)
    show(page, server, api, f"phone-{scheme}", fenced(WIDE))
    first = svg_of(page)
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert picture(page).evaluate("image => image.width / image.naturalWidth") > 0.5, "nobody can read that"
    page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    page.wait_for_function(
        "before => decodeURIComponent(document.querySelector('article figure img')?.src ?? before) !== before",
        arg=first,
        timeout=PATIENCE_MS,
    )
    assert axe(page) == []
    context.close()


HOSTILE = {
    "click": 'graph TD\n A-->B\n click A call alert("x")\n click B href "javascript:alert(1)"\n'
    ' click A "https://elsewhere.invalid/" _top',
    "labels": "graph TD\n A[\"<img src=x onerror='alert(1)'>\"] --> B[\"<script>alert(1)</script>\"]\n"
    " C[\"<iframe src='https://elsewhere.invalid'></iframe>\"] --> D[\"<a href='javascript:alert(1)'>x</a>\"]",
    "directive": '%%{init: {"securityLevel": "loose", "htmlLabels": true, "flowchart": {"htmlLabels": true}, '
    "\"themeCSS\": \"@import url('https://elsewhere.invalid/x.css');\", \"fontFamily\": \"x; } body { "
    "background: url(https://elsewhere.invalid/y) } \"}}%%\ngraph TD\n A[\"<img src=x onerror=alert(1)>\"] --> B",
    "matter": "---\nconfig:\n  securityLevel: loose\n  htmlLabels: true\n---\n"
    "graph TD\n A[\"<svg onload=alert(1)>\"] --> B",
    "style": "graph TD\n A-->B\n style A fill:url(https://elsewhere.invalid/f.svg#a)\n"
    " classDef c background-image:url('https://elsewhere.invalid/z'),fill:#f00\n class B c",
    "image": 'graph TD\n A@{ img: "https://elsewhere.invalid/p.png", label: "x", h: 60 } --> B',
    "sequence": "sequenceDiagram\n participant A\n link A: Board @ javascript:alert(1)\n"
    ' links A: {"Wiki": "https://elsewhere.invalid/"}\n A->>A: <img src=x onerror=alert(1)>',
    "class": 'classDiagram\n class A\n click A call alert(1)\n link A "javascript:alert(1)"\n'
    " A : <script>alert(1)</script>",
    "prototype": '%%{init: {"__proto__": {"securityLevel": "loose"}, "constructor": {"x": 1}}}%%\ngraph TD\n A-->B',
    "gantt": "gantt\n dateFormat YYYY-MM-DD\n section S\n T :a, 2026-01-01, 3d\n click a call alert(1)\n",
    "math": 'graph LR\n A["$$\\\\href{javascript:alert(1)}{x}$$"] --> B',
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_diagrams_do_nothing(page: Any, server: Server, api: Api, name: str) -> None:
    asked: list[str] = []
    refused: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: refused.append(request.url) if request.failure == "csp" else None)
    page.on("dialog", lambda dialog: asked.append(f"dialog: {dialog.message}"))
    page.on("popup", lambda popup: asked.append(f"popup: {popup.url}"))
    show(page, server, api, f"hostile-{name}", fenced(HOSTILE[name]))
    page.locator("article figure :is(img, [role=status])").first.wait_for(timeout=PATIENCE_MS)
    for where in page.locator("article figure img").all():
        where.click()
        file = svg_of(page)
        assert "elsewhere.invalid" not in re.sub(r"<(text|tspan|title|desc)\b[^>]*>[^<]*", "", file)
        assert not re.search(
            r"<(script|iframe|image|img|a\b[^>]*href)|\son\w+=|href=.(?!#)|javascript:[^<]*[\"']", file
        )
    frames = [each.url for each in page.frames if each != page.main_frame]
    assert frames == [f"{root(server)}/diagram.html"]
    gone = [url for url in asked if not url.startswith((server.base_url, "data:image/svg+xml", "blob:"))]
    assert gone == refused  # by the policy, before it left the browser
    assert page.url.startswith(root(server))
    assert composer(page).is_enabled()


def test_the_document_that_draws_may_do_nothing(page: Any, server: Server, api: Api) -> None:
    show(page, server, api, "rights", fenced(SEQUENCE))
    picture(page)
    [frame] = [each for each in page.frames if each != page.main_frame]
    assert frame.evaluate("origin") == "null"
    for attempt in (
        "document.cookie", "localStorage.length", "parent.document.title", "fetch('healthz')",
        "fetch('https://elsewhere.invalid/')",
        "top.location = 'https://elsewhere.invalid/'",
        "new Promise((good, bad) => Object.assign(new Image(), { onload: good, onerror: bad, src: 'mark.svg' }))",
        "navigator.serviceWorker.register('sw.js')",
    ):  # fmt: skip
        tried = f"try {{ await ({attempt}); return '' }} catch (error) {{ return String(error) || 'no' }}"
        assert frame.evaluate(f"(async () => {{ {tried} }})()"), attempt
    assert frame.evaluate("open('https://elsewhere.invalid/')") is None
    assert page.url.startswith(root(server))


def test_a_diagram_that_never_ends_ends(page: Any, server: Server, api: Api) -> None:
    def endless(route: Any) -> None:
        script = "onmessage = () => { while (true); }; parent.postMessage({ ready: true }, '*')"
        route.fulfill(content_type="text/html", body=f"<script>{script}</script>")

    page.route("**/diagram.html", endless, times=1)
    show(page, server, api, "endless", fenced(FLOW), fenced(SEQUENCE))
    composer(page).fill("Meanwhile")
    assert composer(page).input_value() == "Meanwhile"
    problems, pictures = page.locator("article figure [role=status]"), page.locator("article figure img")
    problems.first.wait_for(timeout=PATIENCE_MS)
    assert "took too long" in problems.first.inner_text()
    pictures.first.wait_for(timeout=PATIENCE_MS)  # the other one, drawn by a new document
    assert problems.count() == pictures.count() == page.locator("iframe").count() == 1


def test_others_do_not_draw_here(page: Any, server: Server, api: Api) -> None:
    """Words of anybody but the document that draws count for nothing."""
    page.route("**/diagram.html", lambda route: route.fulfill(content_type="text/html", body="mute"))
    show(page, server, api, "forged", fenced(FLOW))
    page.locator("iframe").wait_for(state="attached")
    page.evaluate("""() => {
        postMessage({ ready: true }, "*");
        const svg = "<svg xmlns='http://www.w3.org/2000/svg'/>";
        for (let id = 0; id < 50; id++) postMessage({ id, picture: { svg, width: 9, height: 9, title: "" } }, "*");
    }""")
    page.wait_for_timeout(300)
    assert page.locator("article figure img").count() == 0
