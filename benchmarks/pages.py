"""The pages: typing in a conversation of 2,000 messages, what is in the page then, and how long a first visit takes.

    scripts/bench pages [--messages 2000] [--keys 200] [--json FILE]

Chromium of the machine, without a window, on our server with the default model. Keys are pressed one by one; a key's
latency is the browser's own measure (Event Timing: from the event to the next frame, in steps of 8 ms). A first visit
is an empty cache: until the sign-in can be used, and, signed in, until the first words of an answer are seen. Wanted:
the p95 of a key under 50 ms, and an amount of elements that does not grow with the conversation.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._main import main
from tests.e2e.server import running
from tests.web.browsing import Api, answers, begun, composer, made_chat, say, sign_in

WATCH = """
window.keys = [];
new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (entry.name === "keydown") window.keys.push(entry.duration);
}).observe({ type: "event", durationThreshold: 16, buffered: true });
"""


def _typing(page: Any, base_url: str, chat: str, last: str, keys: int) -> dict[str, float]:
    began = time.perf_counter()
    page.goto(f"{base_url}/c/{chat}")
    page.get_by_text(last).wait_for(timeout=60_000)
    shown_s = time.perf_counter() - began
    page.wait_for_timeout(3000)  # the older turns are loaded
    page.evaluate(WATCH)
    composer(page).focus()
    for at in range(keys):
        page.keyboard.press("abcdefgh "[at % 9])
        page.wait_for_timeout(30)
    page.wait_for_timeout(500)
    slow = page.evaluate("window.keys")
    times = sorted([*slow, *(16.0 for _ in range(max(keys - len(slow), 0)))])  # what took less is not told
    return {
        "shown_s": shown_s, "p50_ms": times[len(times) // 2], "p95_ms": quantiles(times, n=20)[-1],
        "elements": page.evaluate("document.querySelectorAll('*').length"), "turns": answers(page).count(),
    }  # fmt: skip


def _visit(browser: Any, base_url: str, key: str) -> dict[str, float]:
    context = browser.new_context()
    page = context.new_page()
    began = time.perf_counter()
    page.goto(f"{base_url}/")
    page.get_by_label("API key").wait_for()
    usable_s = time.perf_counter() - began
    sign_in(page, base_url, key)
    began = time.perf_counter()
    say(page, "Say hello.")
    begun(page, 30)
    answer_s = time.perf_counter() - began
    context.close()
    return {"sign_in_s": usable_s, "first_words_s": answer_s}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All of it, in a thread: playwright's simple interface has a loop of its own."""
    import asyncio

    return await asyncio.to_thread(_run, options)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("There is no Chromium: apt-get install chromium.")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home, running(options.model, home=Path(home)) as server:
        api = Api(server.base_url, server.key)
        for name, messages in (("short", 20), ("long", options.messages)):
            pairs = [
                (f"Question {at}", f"Answer {at}: **some** words of it, and `code`.\n\n" + "More of them. " * 30)
                for at in range(messages // 2)
            ]
            api.take(made_chat(name, *pairs))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            result["visit"] = _visit(browser, server.base_url, server.key)
            page = browser.new_page()
            sign_in(page, server.base_url, server.key)
            for name, messages in (("short", 20), ("long", options.messages)):
                last = f"Question {messages // 2 - 1}"
                result[name] = _typing(page, server.base_url, f"chat_{name}", last, options.keys)
            browser.close()
    table = Table("messages", "shown after, s", "a key, p50 ms", "p95 ms", "elements", "turns in the page")
    for name, messages in (("short", 20), ("long", options.messages)):
        figures = (f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in result[name].values())
        table.add_row(f"{messages:,}", *figures)
    console = Console()
    console.print(table)
    console.print("wanted: p95 under 50 ms, and no more elements in the long one")
    console.print({name: round(value, 2) for name, value in result["visit"].items()})
    return result


if __name__ == "__main__":
    main("pages", __doc__ or "", run, messages=2000, keys=200)
