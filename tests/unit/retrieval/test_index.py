"""Every index against sums done by hand, whatever is added, removed, reopened or killed."""

import math
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.retrieval.embedded import Embedded
from mainspring.retrieval.index import Engine, IndexBroken, Indexed
from mainspring.retrieval.pgvector import opened
from mainspring.retrieval.words import K1, B, words
from mainspring.store.db import Database

DIMENSIONS = 4
WORDS = "steam engine boiler penguin krill bread yeast water the a".split()  # noqa: SIM905
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
ENTRIES = st.lists(TEXTS, min_size=1, max_size=4)


@pytest.fixture(params=["embedded", "pgvector"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Engine]:
    """Every kind."""
    if request.param == "embedded":
        yield Embedded(tmp_path)
        return
    database = Database.at(request.getfixturevalue("pgvector_server").url())
    made = opened(database)
    yield made
    made.close()


def vector(text: str) -> np.ndarray:
    row = np.random.default_rng(abs(hash(text)) % 2**32).standard_normal(DIMENSIONS).astype(np.float32)
    return row / np.linalg.norm(row)


def indexed(text: str, with_vector: bool = True) -> Indexed:
    vectors = np.stack([vector(text), vector(text + "'")]).astype(np.float16).tobytes() if with_vector else b""
    return Indexed(text=text, start=0, end=len(text), page=2, heading=("Top", "Sub"), vectors=vectors)


def pages(texts: Sequence[str], with_vector: bool = True) -> Iterator[list[Indexed]]:
    yield from ([indexed(text, with_vector)] for text in texts)


def cosine(query: str, text: str) -> float:
    """Of the nearer of a text's two vectors; below 0 is 0."""
    return max(0.0, *(float(vector(query) @ vector(each)) for each in (text, text + "'")))


def bm25(query: str, texts: list[str]) -> dict[str, float]:
    """By the formula, headings included."""
    counts = {text: Counter(words(f"{text} Top Sub")) for text in texts}
    mean = sum(sum(counts[text].values()) for text in texts) / len(texts)
    scores: dict[str, float] = {}
    for word in dict.fromkeys(words(query)):
        num = sum(1 for text in texts if word in counts[text])
        weight = math.log(1 + (len(texts) - num + 0.5) / (num + 0.5))
        for text, of in counts.items():
            count, length = of[word], sum(of.values())
            gain = count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean))
            scores[text] = scores.get(text, 0.0) + weight * gain
    return scores


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ENTRIES, min_size=1, max_size=5), st.sets(st.integers(0, 4)), TEXTS)
def test_what_is_found_is_what_the_formulas_say(
    engine: Engine, entries: list[list[str]], removed: set[int], query: str
) -> None:
    store = f"vs_{secrets.token_hex(8)}"
    index = engine.open(store, DIMENSIONS)
    kept: dict[str, list[str]] = {}
    for at, texts in enumerate(entries):
        index.add(f"e{at}", pages(texts))
        kept[f"e{at}"] = texts
        if at in removed:
            index.remove([f"e{at // 2}"])
            kept.pop(f"e{at // 2}", None)
        if at % 2:
            index.close()
            index = engine.open(store, DIMENSIONS)
    assert index.entries() == kept.keys()
    texts = [text for each in kept.values() for text in each]
    expected = {text: score for text, score in bm25(query, texts).items() if score > 0} if texts else {}
    hits = index.by_text(query, 100)
    found = index.fetch([hit.chunk for hit in hits])
    assert Counter(found[hit.chunk][1].text for hit in hits) == Counter(text for text in texts if text in expected)
    best = [expected[found[hit.chunk][1].text] for hit in hits]
    assert best == pytest.approx(sorted(best, reverse=True), rel=1e-4)
    assert all(0 < hit.relevance <= 1 for hit in hits)
    near = index.by_vector(vector(query), 100)
    found = index.fetch([hit.chunk for hit in near])
    assert [hit.relevance for hit in near] == pytest.approx(
        [cosine(query, found[hit.chunk][1].text) for hit in near], abs=2e-3
    )
    assert len(near) == len(texts)
    for name, of in kept.items():
        for hits in (index.by_vector(vector(query), 99, {name}), index.by_text("top", 99, {name})):
            found = index.fetch([hit.chunk for hit in hits])
            assert Counter(chunk.text for _, chunk in found.values()) == Counter(of)
    index.close()
    engine.drop(store)


def test_a_chunk_comes_back_as_it_was(engine: Engine) -> None:
    index = engine.open("vs_1", 0)
    index.add("e", pages(["Der Kessel\nund 蒸気機関, naïveté"], with_vector=False))
    for query in ("kessel", "蒸気", "機関", "naivete", "sub"):
        [hit] = index.by_text(query, 3)
        entry, chunk = index.fetch([hit.chunk])[hit.chunk]
        assert (entry, chunk.text, chunk.page, chunk.heading) == (
            "e",
            "Der Kessel\nund 蒸気機関, naïveté",
            2,
            ("Top", "Sub"),
        )
    assert index.by_text("蒸機", 3) == index.by_text("!?", 3) == index.by_text("", 3) == []
    assert index.by_vector(np.ones(4, np.float32), 3) == []
    assert index.fetch([77]) == {}
    index.add("e", pages(["twice"]))
    assert index.by_text("twice", 3) == []
    index.close()


def test_an_entry_that_breaks_off_is_not_there(engine: Engine) -> None:
    index = engine.open("vs_1", DIMENSIONS)

    def breaking() -> Iterator[list[Indexed]]:
        yield from pages(["steam"])
        raise RuntimeError("no more")

    index.add("a", pages(["penguin"]))
    with pytest.raises(RuntimeError):
        index.add("b", breaking())
    index.add("c", pages(["engine"]))
    assert index.entries() == {"a", "c"}
    assert index.by_text("steam", 5) == []
    [hit] = index.by_vector(vector("engine"), 1)
    assert index.fetch([hit.chunk])[hit.chunk][1].text == "engine"
    index.close()


def test_two_processes_see_what_the_other_does(engine: Engine) -> None:
    one, other = (engine.open("vs_1", DIMENSIONS) for _ in range(2))
    one.add("a", pages(["penguin"]))
    assert len(other.by_text("penguin", 3)) == len(other.by_vector(vector("penguin"), 3)) == 1
    other.add("b", pages(["penguin krill"]))
    other.remove(["a"])
    assert one.entries() == {"b"}
    [hit] = one.by_text("penguin", 3)
    assert one.fetch([hit.chunk])[hit.chunk][0] == "b"
    one.close()
    other.close()


def test_a_store_that_gets_its_first_vectors(engine: Engine) -> None:
    index = engine.open("vs_1", 0)
    index.add("a", pages(["penguin"], with_vector=False))
    index.close()
    index = engine.open("vs_1", DIMENSIONS)
    index.add("b", pages(["krill"]))
    assert len(index.by_vector(vector("krill"), 5)) == 1
    assert len(index.by_text("penguin krill", 5)) == 2
    index.close()


def test_vectors_of_other_dimensions_are_of_no_use(engine: Engine) -> None:
    index = engine.open("vs_1", DIMENSIONS)
    index.add("a", pages(["penguin"]))
    assert index.by_vector(np.ones(DIMENSIONS + 1, np.float32), 3) == []
    index.close()
    with pytest.raises(IndexBroken):
        engine.open("vs_1", DIMENSIONS + 1)
    engine.drop("vs_1")
    index = engine.open("vs_1", DIMENSIONS + 1)
    assert index.entries() == set()
    index.close()


def test_stores_are_apart_and_can_be_dropped(engine: Engine) -> None:
    for name in ("vs_1", "vs_2"):
        index = engine.open(name, DIMENSIONS)
        index.add("a", pages([f"penguin {name}"]))
        [hit] = index.by_text("penguin", 3)
        assert index.fetch([hit.chunk])[hit.chunk][1].text == f"penguin {name}"
        index.close()
    assert sorted(engine.stores()) == ["vs_1", "vs_2"]
    engine.drop("vs_1")
    engine.drop("vs_none")
    assert engine.stores() == ["vs_2"]


def test_a_vector_of_zeros_is_like_nothing(engine: Engine) -> None:
    index = engine.open("vs_1", DIMENSIONS)
    zeros = np.zeros(DIMENSIONS, np.float16).tobytes()
    index.add("a", iter([[Indexed(text="nothing", start=0, end=7, vectors=zeros)], [indexed("steam")]]))
    hits = index.by_vector(vector("steam"), 5)
    assert [index.fetch([hit.chunk])[hit.chunk][1].text for hit in hits] == ["steam", "nothing"]
    assert hits[1].relevance == 0
    index.close()


KILLED = """
import os, sys
from tests.unit.retrieval.test_index import DIMENSIONS, again, pages
index = again(sys.argv[1]).open("vs_1", DIMENSIONS)
print("ready", flush=True)
number = len(index.entries())
while True:
    index.add(f"e{number}-{os.getpid()}", pages([f"text{number} steam {at}" for at in range(20)]))
    print(number, flush=True)
    number += 1
"""


def again(where: str) -> Engine:
    """In another process: the engine over a folder or a database."""
    return opened(Database.at(where)) if where.startswith("postgresql:") else Embedded(Path(where))


@pytest.mark.parametrize("kind", ["embedded", "pgvector"])
def test_kill_9_leaves_whole_entries_with_their_own_vectors(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where = str(tmp_path) if kind == "embedded" else request.getfixturevalue("pgvector_server").url()
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED, where], stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        for _ in range(int.from_bytes(os.urandom(1)) % 20 + 2):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    look = "import sys; from tests.unit.retrieval.test_index import check_whole; check_whole(sys.argv[1])"
    subprocess.run([sys.executable, "-c", look, where], check=True, env=environment)


def check_whole(where: str) -> None:
    """In a process whose strings hash as those of the killed ones did."""
    engine = again(where)
    index = engine.open("vs_1", DIMENSIONS)
    entries = index.entries()
    hits = index.by_text("steam", 100_000)
    assert len(hits) == 20 * len(entries) > 0
    found = index.fetch([hit.chunk for hit in hits])
    assert len({(entry, chunk.text) for entry, chunk in found.values()}) == len(hits)
    for entry, chunk in list(found.values())[:: max(len(hits) // 50, 1)]:
        [near] = index.by_vector(vector(chunk.text), 1, {entry})
        assert index.fetch([near.chunk])[near.chunk][1].text == chunk.text
    index.close()
    engine.close()
