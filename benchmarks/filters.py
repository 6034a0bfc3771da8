"""Content filters: how well the classifier tells apart the labelled texts of tests/data/filters, and what it costs.

    scripts/bench filters [--weights FILE] [--errors] [--json FILE]

The texts were written for this test and are not used in training. A text counts as found if its severity is at least
medium (graded categories), or if it is detected. Precision is over the whole set: every harmless text, and every text
that is labelled with another category only, is a chance to be wrong. Texts in which two categories touch (a call to
kill a group is hate and violence) count for the labelled one and neither for nor against the other.
"""

import argparse
import json
import time
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

    def stream(screen: Screen) -> None:
        hold = screen.stream()
        for token in tokens:
            hold.feed(token)
        hold.end()

    works: dict[str, tuple[Any, int]] = {
        "prompt of 1,000 characters, default policy": (lambda: default.check_prompt([_said(text[:1000])]), 300),
        "prompt of 2,000 characters, default policy": (lambda: default.check_prompt([_said(text)]), 300),
        "prompt of 2,000 characters, profanity and personal data too": (
            lambda: everything.check_prompt([_said(text)]),
            300,
        ),
        "answer of 250 tokens (1,000 characters), default policy": (lambda: stream(default), 60),
        "answer of 250 tokens, profanity and personal data too": (lambda: stream(everything), 60),
    }
    for work, _ in works.values():
        work()
    timed = {name: _timed(work, times) for name, (work, times) in works.items()}
    return {name: (median(took), took[int(len(took) * 0.95)]) for name, took in timed.items()}


def _said(text: str) -> Message:
    return Message(role="user", content=text)


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
    times = costs()
    table = Table("what", "median us", "95 % us")
    for name, (middle, high) in times.items():
        table.add_row(name, f"{middle:.0f}", f"{high:.0f}")
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"figures": results, "costs_us": times}, indent=1))


if __name__ == "__main__":
    main()
