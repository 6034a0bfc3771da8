"""How many answers come out the same when they are made again from their receipts, by how they were made first.

    PYTHONPATH=src:. python -m benchmarks.receipts FILE.gguf [ANSWERS] [TOKENS]

On a real server: answers are made one by one, one by one with their prompts in the cache, one by one with tokens
guessed ahead, and sixteen at a time. Each is then made again with nothing else running. Nothing here is a matter of
time, so the machine may have other things to do.
"""

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.server import Server, running

TOGETHER = 16
TOPICS = "rivers bread violins bees tea clocks whales castles maps rain chess gardens trains snow bridges stars".split()
FACTS = " ".join(f"Fact {at}: the number {at * 7} is written after {at * 7 - 1}." for at in range(20))


def ask(server: Server, question: str, tokens: int) -> str:
    """The id of an answer that is over."""
    body = {"model": "smollm2-135m-instruct", "input": question, "max_output_tokens": tokens}
    with server.http() as client:
        answer = client.post("/v1/responses", json=body, timeout=600)
        answer.raise_for_status()
        return answer.json()["id"]


def again(server: Server, response: str) -> Any:
    """Its receipt, and what came of making it again."""
    with server.http() as client:
        receipt = client.get(f"/v1/x/responses/{response}/receipt").json()
        verdict = client.post(f"/v1/x/responses/{response}/receipt/rerun", json={}, timeout=600).json()
        return receipt["generations"][0], verdict


def tell(server: Server, how: str, responses: Iterable[str]) -> None:
    """A line of the table."""
    same = num = tokens = stand = together = guessed = cached = 0
    first: list[int] = []
    far = 0.0
    for response in responses:
        made, verdict = again(server, response)
        [run] = verdict["runs"]
        num, same, tokens = num + 1, same + bool(verdict["identical"]), tokens + made["tokens"]
        stand += run["drawn_again"] or 0
        far = max(far, run["farthest"] or 0.0)
        first += [run["token"]] if run["token"] is not None else []
        together = max(together, made["computed_together"])
        guessed, cached = guessed + made["guessed_tokens"], cached + made["cached_tokens"]
    print(
        f"| {how} | {together} | {cached} | {guessed} | {same} of {num} | {stand} of {tokens} | {far:.3f} "
        f"| {sorted(first)} |",
        flush=True,
    )


def main(model: Path, num: int = 16, tokens: int = 96) -> None:
    """Run all of them."""
    questions = [f"Tell me about {TOPICS[at % len(TOPICS)]}, in a few paragraphs ({at})." for at in range(num)]
    repeating = [f"{FACTS}\nWrite down facts {at} to {at + 9} again, word by word." for at in range(num)]
    names = ("made", "most together", "tokens cached", "guessed", "the same again", "draws that stand")
    print(f"| {' | '.join((*names, 'farthest', 'first difference'))} |")
    print("|---|---|---|---|---|---|---|---|")
    with running(model) as server:
        tell(server, "one by one", [ask(server, each, tokens) for each in questions])
        tell(server, "one by one, prompt cached", [ask(server, each, tokens) for each in questions])
        tell(server, "one by one, guessing", [ask(server, each, tokens) for each in repeating])
        with ThreadPoolExecutor(TOGETHER) as pool:
            at_once = list(pool.map(lambda each: ask(server, f"Please. {each}", tokens), questions))
        tell(server, f"{TOGETHER} at once", at_once)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
