"""Data for `learning.py`: made by a seed, or read from Debian's list of packages; held-out examples apart."""

import random
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._jobs import chat

__all__ = ["closing_questions", "orders", "sections"]

Lines = Sequence[Mapping[str, Any]]

NAMES = (
    "anna ben carl dora emil finn gina hugo ida jon kira leo mia nils olga paul rosa sven tina uwe vera willy yara"
).split()
ITEMS = "lamp chair table sofa desk shelf clock mirror carpet vase kettle toaster mixer pan pot bowl plate cup".split()
CITIES = "berlin paris rome oslo madrid vienna prague dublin lisbon athens".split()
SAID = (
    "{name} from {city} would like {count} {item}s.",
    "Please send {count} {item}s to {name} in {city}.",
    "We got an order: {count} times {item}, customer {name}, city {city}.",
    "{city}: {name} wants {count} pieces of {item}.",
    "Hello, this is {name}. I live in {city} and need {count} {item}s, thank you.",
)
NEW = (
    "Could {name} get {count} {item}s? The address is in {city}.",
    "To {city}, for {name}: the {item}, {count} of them.",
)
"""Ways of saying it that are held out, as every customer of a held-out order is."""


def orders(num: int, held: int, seed: int) -> tuple[Lines, Lines]:
    """A strict format: an order in words becomes `ORDER|name|item|count|city`. Held-out orders have names and wordings
    that were not trained."""
    rng = random.Random(seed)

    def one(names: Sequence[str], wordings: Sequence[str]) -> dict[str, Any]:
        name, item, city, count = rng.choice(names), rng.choice(ITEMS), rng.choice(CITIES), rng.randint(1, 99)
        said = rng.choice(wordings).format(name=name.title(), item=item, city=city.title(), count=count)
        answer = f"ORDER|{name}|{item}|{count}|{city}"
        return {"messages": chat(said, answer), "answer": answer}

    return [one(NAMES[:18], SAID) for _ in range(num)], [one(NAMES[18:], NEW) for _ in range(held)]


SECTIONS = "games science sound fonts mail net editors graphics".split()


def sections(num: int, held: int, seed: int) -> tuple[Lines, Lines]:
    """A classification that nobody here made: Debian's section of a package, from its one-line description.

    Raises:
        SystemExit: this is no Debian, or it has no list of packages (`apt-get update`).
    """
    try:
        listed = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit("The task 'sections' reads Debian's list of packages: apt-cache dumpavail.") from error
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for paragraph in listed.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        name, section, said = (fields.get(key, "") for key in ("Package", "Section", "Description"))
        if section in found and said and not name.endswith(("-dev", "-doc", "-dbg", "-data", "-common")):
            found[section].setdefault(said, name)
    rng = random.Random(seed)
    trained: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for section, texts in found.items():
        said = sorted(texts)
        rng.shuffle(said)
        each, out = num // len(SECTIONS), held // len(SECTIONS)
        if len(said) < each + out:
            raise SystemExit(f"The section {section} has {len(said)} packages here, and {each + out} are needed.")
        choice = ", ".join(SECTIONS)
        for at, text in enumerate(said[: each + out]):
            asked = f"Which section of {choice} does this program belong to? {text}"
            line = {"messages": chat(asked, section), "answer": section}
            (kept if at < out else trained).append(line)
    rng.shuffle(trained)
    return trained, kept


TOPICS = (
    "a late parcel", "a broken lamp", "a wrong invoice", "a lost password", "an open seat", "a new contract",
    "a refund", "a missing part", "a noisy machine", "a change of address", "a gift card", "a double booking",
    "a slow connection",
    "an unread letter", "a scratched table", "a closed account",
)  # fmt: skip
HELPS = (
    "We are sorry to hear about {topic}. Our team will look at it today.",
    "Thank you for telling us about {topic}. We have noted everything.",
    "That is not how it should be. We will take care of {topic}.",
    "We have received your message on {topic} and passed it on.",
)
ASKS = ("Is there anything else that we can do for you?", "May we call you about it?", "Would tomorrow suit you?")
TELLS = ("There is nothing else that you need to do.", "You do not need to call us.", "Tomorrow is the earliest day.")


def closing_questions(num: int, held: int, seed: int) -> tuple[Lines, Lines]:
    """Preferences: of two answers of a help desk, the one that ends with a question. What else they say is drawn for
    each of them, so only that tells them apart; topics of held-out pairs were not trained."""
    rng = random.Random(seed)

    def one(topics: Sequence[str]) -> dict[str, Any]:
        topic = rng.choice(topics)
        first, second = (rng.choice(HELPS).format(topic=topic) for _ in range(2))

        def said(text: str) -> list[dict[str, str]]:
            return [{"role": "assistant", "content": text}]

        return {
            "input": {"messages": chat(f"I write to you about {topic}.")},
            "preferred_output": said(f"{first} {rng.choice(ASKS)}"),
            "non_preferred_output": said(f"{second} {rng.choice(TELLS)}"),
        }

    return [one(TOPICS[:11]) for _ in range(num)], [one(TOPICS[11:]) for _ in range(held)]
