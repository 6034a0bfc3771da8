"""Makes the pictures in docs/images: `PYTHONPATH=src:. python -m tests.web.screenshots FILE.gguf`.

On a real server with the default model: what is seen in them was answered by it.
"""

import sys
from pathlib import Path
from typing import Any

from tests.e2e.server import running
from tests.web.browsing import Api, answers, begun, composer, ended, made_chat, say, sign_in
from tests.web.conftest import CHROMIUM

FOLDER = Path(__file__).parents[2] / "docs" / "images"
QUESTION = "Write a short Python function that adds two numbers, and explain it."
OLDER = (
    "Names for a sailing boat",
    "Why is the sky blue?",
    "A packing list for the Alps",
    "Regular expression for dates",
)


def shoot(page: Any, name: str) -> None:
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / f"{name}.png")


def ask(page: Any, base_url: str, api: Api, question: str, **settings: Any) -> None:
    page.goto(
        f"{base_url}/c/{api.chat(settings={'max_output_tokens': 220, 'seed': 5, 'temperature': 0.3, **settings})}"
    )
    composer(page).wait_for()
    say(page, question)
    begun(page, 20)
    ended(page)


def receipt(page: Any) -> None:
    """Open the newest answer's, and have it made again."""
    answers(page).last.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name="Receipt").click()
    dialog = page.get_by_role("dialog", name="Receipt")
    dialog.get_by_role("button", name="Run again").click()
    dialog.get_by_text("Identical: the same").or_(dialog.get_by_text("Confirmed, rounding apart")).first.wait_for()


def main(model: Path) -> None:
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with running(model) as server, sync_playwright() as playwright:
        api = Api(server.base_url, server.key)
        api.take(*(made_chat(f"o{at}", (title, "…"), title=title) for at, title in enumerate(OLDER)))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 800})
            page = context.new_page()
            sign_in(page, server.base_url, server.key)
            if scheme == "light":
                ask(page, server.base_url, api, QUESTION)
                page.get_by_role("heading").first.hover()
                shoot(page, "chat")
                receipt(page)
                shoot(page, "receipt")
                other = {"max_output_tokens": 70, "seed": 7, "temperature": 0.8}
                ask(page, server.base_url, api, "What is a tide?", max_output_tokens=70, versus=other)
                shoot(page, "compare")
                for name in ("playground", "console"):
                    page.goto(f"{server.base_url}/{name}")
                    page.get_by_role("main").wait_for()
                    page.wait_for_timeout(1500)
                    shoot(page, name)
            else:
                ask(page, server.base_url, api, "Name three colours of the sea.", max_output_tokens=48)
                answers(page).get_by_role("button", name="Word probabilities").click()
                words = page.get_by_role("group", name="Answer, word by word")
                words.get_by_role("button").nth(4).click()
                page.get_by_label("What else could have come here").wait_for()
                shoot(page, "words")
            context.close()
        context = browser.new_context(viewport={"width": 390, "height": 780}, device_scale_factor=2)
        page = context.new_page()
        sign_in(page, server.base_url, server.key)
        ask(page, server.base_url, api, "Say hello in three languages.", max_output_tokens=64)
        shoot(page, "phone")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
