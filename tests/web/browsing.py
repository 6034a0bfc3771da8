"""What a person does with the pages, by the names that they see or hear."""

import re
from pathlib import Path
from typing import Any

import httpx

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS = 180_000  # a machine that has much else to do
OVER = ("completed", "failed", "cancelled", "incomplete")


def sign_in(page: Any, base_url: str, key: str) -> None:
    page.goto(f"{base_url}/sign-in")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    composer(page).wait_for()


def composer(page: Any) -> Any:
    return page.get_by_role("textbox", name="Message")


def say(page: Any, text: str) -> None:
    composer(page).fill(text)
    composer(page).press("Enter")


def answers(page: Any) -> Any:
    """The turns in sight, each a question and its answer."""
    return page.get_by_role("article")


def begun(page: Any, characters: int = 1, turn: int = -1) -> None:
    """Wait until an answer has so many characters, below its question."""
    answers(page).first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(
        """([characters, turn]) => {
            const answer = [...document.querySelectorAll("article")].at(turn)?.querySelector("[aria-busy]");
            return (answer?.textContent.trim().length ?? 0) >= characters;
        }""",
        arg=[characters, turn],
        timeout=PATIENCE_MS,
    )


def ended(page: Any) -> None:
    """Wait until no answer is being made."""
    page.get_by_role("button", name="Stop the answer").wait_for(state="detached", timeout=PATIENCE_MS)


def answer_of(page: Any, turn: int = -1) -> str:
    """The text of an answer as it is shown."""
    return page.evaluate(
        'turn => [...document.querySelectorAll("article")].at(turn).querySelector("[aria-busy]").innerText', turn
    )


def copied(page: Any, turn: int = -1) -> str:
    """An answer as its copy button gives it."""
    page.evaluate("navigator.clipboard.writeText('')")
    answers(page).nth(turn).get_by_role("button", name="Copy the answer as Markdown").click()
    page.wait_for_function("navigator.clipboard.readText().then(Boolean)")
    return page.evaluate("navigator.clipboard.readText()")


def scrolled_through(page: Any) -> None:
    """Every turn was in sight once: those that are not are not in the page."""
    page.evaluate("""async () => {
        const scroller = document.querySelector('section[aria-label="Conversation"]');
        for (let at = scroller.scrollHeight; at > -600; at -= 300) {
            scroller.scrollTop = Math.max(at, 0);
            await new Promise(done => setTimeout(done, 100));
        }
    }""")


def axe(page: Any) -> list[str]:
    """What axe-core finds wrong with the page as it is now."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{each['id']}: {[node['target'] for node in each['nodes']][:4]}" for each in found["violations"]]


class Api:
    """The same server, asked as programs do."""

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url, self._key = base_url, key

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = httpx.request(method, self._base_url + path, headers={"api-key": self._key}, timeout=60, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def person(self, name: str) -> str:
        """The key of somebody new, who has no chats."""
        account = self.ask("POST", "/v1/organization/projects/default/service_accounts", json={"name": name})
        return account["api_key"]["value"]

    def chat(self, **fields: Any) -> str:
        return self.ask("POST", "/v1/x/chats", json=fields)["id"]

    def turns(self, chat: str) -> list[Any]:
        return self.ask("GET", f"/v1/x/chats/{chat}/turns", params={"limit": 100})["data"]

    def take(self, *chats: Any) -> None:
        """Import chats."""
        self.ask("POST", "/v1/x/chats/import", json={"chats": chats})


def text_of(turn: Any) -> str:
    return "".join(p["text"] for item in turn["output"] if item["type"] == "message" for p in item["content"])


def chat_in(url: str) -> str:
    found = re.search(r"chat_[0-9a-f]+", url)
    assert found is not None, url
    return found[0]


def made_chat(id: str, *pairs: tuple[str, str], title: str = "") -> Any:  # noqa: A002
    """A chat as an export has it: questions and their answers, one after the other."""
    turns = []
    for at, (question, answer) in enumerate(pairs):
        asked = {"type": "input_text", "text": question}
        said = {"type": "output_text", "text": answer, "annotations": [], "logprobs": []}
        turns.append({
            "id": f"resp_{id}-{at}", "previous": f"resp_{id}-{at - 1}" if at else None, "created_at": 1.7e9 + at,
            "status": "completed", "model": "m",
            "input": [{"type": "message", "id": f"msg_q{at}", "role": "user", "content": [asked]}],
            "output": [{"type": "message", "id": f"msg_a{at}", "role": "assistant", "content": [said]}],
        })  # fmt: skip
    head = turns[-1]["id"] if turns else None
    return {
        "id": f"chat_{id}", "created_at": 1.7e9, "updated_at": 1.8e9, "title": title, "head": head, "turns": turns
    }  # fmt: skip
