"""Content filters: how well the classifier tells apart the labelled texts of tests/data/filters, and what it costs.

    scripts/bench filters [--weights FILE] [--errors] [--json FILE]

The texts were written for this test and are not used in training. A text counts as found if its severity is at least
medium (graded categories), or if it is detected. Precision is over the whole set: every harmless text, and every text
that is labelled with another category only, is a chance to be wrong. Texts in which two categories touch (a call to
kill a group is hate and violence) count for the labelled one and neither for nor against the other.

Nearly all traffic is harmless, so what matters most is the second table: how many of thousands of harmless texts are
blocked: prompts made from patterns and words, what Python packages say of themselves, and code.
"""

import argparse
import itertools
import json
import random
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from mainspring.core.types import Message
from mainspring.governance.filters.classifier import Classifier, bundled
from mainspring.governance.filters.policy import DEFAULT_V2, GRADED, SEVERITIES, FilterRule
from mainspring.governance.filters.screen import Screen

TEXTS = Path(__file__).parents[1] / "tests" / "data" / "filters"
TOUCHING = {("hate", "violence"), ("violence", "hate"), ("self_harm", "violence"), ("violence", "self_harm")}
JUDGED = (*GRADED, "jailbreak", "indirect_attack")


class Labelled(msgspec.Struct):
    """A text of the test set; a "document" stands in a document, the others are said by a user."""

    text: str
    labels: dict[str, str]
    kind: str = ""


def labelled() -> list[Labelled]:
    """The test set."""
    lines = [line for path in sorted(TEXTS.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [msgspec.json.decode(line, type=Labelled) for line in lines]


def is_document(one: Labelled) -> bool:
    return one.kind == "document" or "indirect_attack" in one.labels


def found(classifier: Classifier, one: Labelled) -> dict[str, float]:
    """What the classifier finds in a text, with its score."""
    asked = frozenset((*GRADED, "indirect_attack" if is_document(one) else "jailbreak"))
    hits = classifier.judge(one.text, asked)
    return {hit.category: hit.score for hit in hits if hit.severity is None or SEVERITIES.index(hit.severity) >= 2}


def figures(classifier: Classifier, category: str) -> dict[str, Any]:
    """Counts, precision and recall of one category, with the texts that it got wrong."""
    right, missed, wrong, clean = 0, [], [], 0
    for one in labelled():
        said, labels = category in found(classifier, one), one.labels
        if category in labels:
            right += said
            if not said:
                missed.append(one.text)
        elif category in ("jailbreak", "indirect_attack") and is_document(one) == (category == "jailbreak"):
            continue  # one looks at what people say, the other at documents
        elif any((label, category) in TOUCHING for label in labels):
            continue
        else:
            clean += 1
            if said:
                wrong.append(one.text)
    return {
        "texts": right + len(missed),
        "others": clean,
        "precision": right / max(1, right + len(wrong)),
        "recall": right / max(1, right + len(missed)),
        "false_positive_rate": len(wrong) / max(1, clean),
        "missed": missed,
        "wrong": wrong,
    }


def harmless() -> dict[str, list[str]]:
    """Texts that must pass."""
    rng = random.Random(7)
    library = Path(sysconfig.get_path("purelib"))
    paths = sorted(library.rglob("*.py"))[::9]
    code = [path.read_text("utf-8", "replace") for path in paths if path.stat().st_size < 200_000]
    said = [one for text in code for one in re.findall(r'"""(.{80,600}?)"""', text, re.DOTALL)[:2]]
    notes = [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.dist-info/METADATA"))]
    paragraphs = [one for text in notes for one in re.split(r"\n\s*\n", text)[1:] if 80 < len(one) < 800]
    vocabulary = sorted({word for text in notes for word in re.findall(r"\b[a-z]{3,12}\b", text)})
    prompts = [re.sub("X", lambda _: rng.choice(vocabulary), rng.choice(ASKED)) for _ in range(5000)]
    return {
        "prompts from patterns": prompts,
        "docstrings of packages": said[:5000],
        "descriptions of packages": rng.sample(paragraphs, min(5000, len(paragraphs))),
        "the beginnings of code files": [text[:1500] for text in code[:2000]],
    }


ASKED = (
    "Tell me something about the X.",
    "What does X mean?",
    "Could you explain X and X?",
    "Write a short text on X.",
    "I wonder how X and X differ.",
    "Draft a mail to my colleague about the X.",
    "Is X the same as X?",
    "X X X X",
    "Please check this sentence: the X has a X.",
    "Plan a day with X and X.",
    "Fix this: X(X, X) returns X.",
    "You are a consultant for X. Be brief.",
    "Sing a song about a X and a X.",
    "Skip the X and go to the X.",
    "The X was X because of the X. Continue the story.",
    "hey, X?",
    "What would a X say to a X?",
    "Name 5 X.",
)


def _timed(work: Any, times: int) -> list[float]:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1e6)
    return sorted(took)


def costs() -> dict[str, tuple[float, float]]:
    """Microseconds, median and 95th percentile, of what a request pays."""
    harmless = " ".join(one.text for one in labelled() if not one.labels)
    text = (harmless * 3)[:2000]
    default = Screen(DEFAULT_V2)
    rules = [
        FilterRule(name=name, source=source, blocking=False)
        for name in ("profanity", "personally_identifiable_information")
        for source in ("Prompt", "Completion")
    ]
    everything = Screen(msgspec.structs.replace(DEFAULT_V2, filters=(*DEFAULT_V2.filters, *rules)))
    tokens = [text[at : at + 4] for at in range(0, 1000, 4)]
    new = itertools.count()

    def stream(screen: Screen) -> None:
        hold = screen.stream()
        for token in tokens:
            hold.feed(token)
        hold.end()

    works: dict[str, tuple[Any, int]] = {
        "prompt of 1,000 characters, default policy": (
            lambda: default.check_prompt([_said(text[:1000], next(new))]),
            300,
        ),
        "prompt of 2,000 characters, default policy": (lambda: default.check_prompt([_said(text, next(new))]), 300),
        "prompt of 2,000 characters, profanity and personal data too": (
            lambda: everything.check_prompt([_said(text, next(new))]),
            300,
        ),
        "answer of 250 tokens (1,000 characters), default policy": (lambda: stream(default), 60),
        "answer of 250 tokens, profanity and personal data too": (lambda: stream(everything), 60),
    }
    for work, _ in works.values():
        work()
    timed = {name: _timed(work, times) for name, (work, times) in works.items()}
    return {name: (median(took), took[int(len(took) * 0.95)]) for name, took in timed.items()}


def _said(text: str, number: int) -> Message:
    """As a message that was not seen before: a screen remembers those."""
    return Message(role="user", content=f"{text} {number}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a file of scripts/train_filters.py instead of the bundled one")
    parser.add_argument("--errors", action="store_true", help="show the texts that it got wrong")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    classifier = Classifier(arguments.weights) if arguments.weights else bundled()
    results = {category: figures(classifier, category) for category in JUDGED}
    console = Console(width=130)
    table = Table("category", "texts", "others", "precision", "recall", "false positives")
    for category, one in results.items():
        shares = (f"{one[key]:.2f}" for key in ("precision", "recall"))
        table.add_row(category, str(one["texts"]), str(one["others"]), *shares, f"{one['false_positive_rate']:.1%}")
    console.print(table)
    if arguments.errors:
        for category, one in results.items():
            for kind in ("missed", "wrong"):
                for text in one[kind]:
                    console.print(f"{category} {kind}: {text}", markup=False)
    screen = Screen(DEFAULT_V2, classifier=classifier)
    table = Table("harmless texts", "how many", "blocked by the default policy", "by category")
    for name, texts in harmless().items():
        verdicts = [screen.check_prompt([Message(role="user", content=text)]) for text in texts]
        blocked = sum(verdict.blocked for verdict in verdicts)
        by = Counter(hit.category for verdict in verdicts for hit in verdict.hits if hit.blocking)
        table.add_row(name, str(len(texts)), f"{blocked / max(1, len(texts)):.2%}", str(dict(by)))
    console.print(table)
    times = costs()
    table = Table("what", "median us", "95 % us")
    for name, (middle, high) in times.items():
        table.add_row(name, f"{middle:.0f}", f"{high:.0f}")
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": results, "costs_us": times}, indent=1))


if __name__ == "__main__":
    main()
