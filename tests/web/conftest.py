"""A browser, and servers with the pages: Chromium of the system, driven by playwright."""

import shutil
from collections.abc import Generator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PAGES = Path(str(resources.files("mainspring"))) / "pages" / "index.html"
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


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
