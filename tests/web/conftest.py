"""A browser, and servers with the pages: Chromium of the system, driven by playwright."""

import shutil
from collections.abc import Generator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server, running
from tests.web.browsing import Api, sign_in

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PAGES = Path(str(resources.files("mainspring"))) / "pages" / "index.html"


def why_not() -> str | None:
    """Why there is no browser for these tests, or no pages."""
    if find_spec("playwright") is None:
        return "no playwright: run scripts/test"
    if CHROMIUM is None:
        return "no Chromium on this machine (apt-get install chromium)"
    return None if PAGES.exists() else "the pages are not built: run scripts/pages"


@pytest.fixture(scope="module")
def chromium() -> Generator[Any]:
    """A browser that is closed with the file: playwright's loop must not run beside those of other files."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(model_file: Path) -> Generator[Server]:
    """As it is installed; files that want another one have theirs."""
    with running(model_file) as found:
        yield found


@pytest.fixture(scope="module")
def api(server: Server) -> Api:
    """Its API, with the administrator's key."""
    return Api(server.base_url, server.key)


@pytest.fixture(scope="module")
def context(chromium: Any, server: Server) -> Generator[Any]:
    """A browser that is signed in at the `server` of its file."""
    found = chromium.new_context(accept_downloads=True)
    found.grant_permissions(["clipboard-read", "clipboard-write"])
    page = found.new_page()
    sign_in(page, server.base_url, server.key)
    page.close()
    yield found
    found.close()


@pytest.fixture
def page(context: Any) -> Generator[Any]:
    """A tab in which no script fails."""
    found = context.new_page()
    problems: list[str] = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    yield found
    found.close()
    assert problems == []
