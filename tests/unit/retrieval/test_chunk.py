"""Chunks: limits, overlap, boundaries, cost."""

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.retrieval.chunk import chunks
from mainspring.retrieval.passages import Passage

COUNTS: dict[str, Callable[[str], int]] = {
    "characters": len,
    "bytes": lambda text: len(text.encode()),
    "words": lambda text: len(text.split()),
    "words and two more": lambda text: len(text.split()) + 2,
    "pieces of four": lambda text: sum((len(word) + 3) // 4 for word in re.findall(r"\s*\S+", text)),
    # Two parts may be more together than apart.
    "superadditive": lambda text: len(text) + len(text) // 40,
}

WORDS = st.text(st.sampled_from("ab .!?\n\tü中。"), max_size=200) | st.text(max_size=60) | st.just("x" * 700)
HEADINGS = st.sampled_from([(), ("A",), ("A", "B"), ("C",)])


@st.composite
def documents(draw: st.DrawFn) -> list[Passage]:
    place, passages = 0, []
    for text, gap, heading in draw(st.lists(st.tuples(WORDS, st.integers(0, 3), HEADINGS), max_size=30)):
        if text.strip():
            passages.append(Passage(text=text, start=place + gap, heading=heading, page=len(passages) + 1))
            place += gap + len(text)
    return passages


@given(
    passages=documents(), most=st.integers(100, 300), share=st.integers(0, 50), count=st.sampled_from(sorted(COUNTS))
)
@settings(max_examples=400, deadline=None)
def test_chunks_hold_what_they_promise(passages: list[Passage], most: int, share: int, count: str) -> None:
    overlap = most * share // 100
    counted = COUNTS[count]
    found = list(chunks(passages, max_tokens=most, overlap=overlap, count=counted))
    assert found == list(chunks(iter(passages), max_tokens=most, overlap=overlap, count=counted)), "deterministic"
    whole = _whole(passages)
    covered = bytearray(len(whole))
    end = -1
    for chunk in found:
        assert chunk.tokens == counted(chunk.text) <= most
        assert chunk.text.strip() == chunk.text
        assert "".join(chunk.text.split()) == "".join(whole[chunk.start : chunk.end].split())
        assert chunk.end > end, "each brings something new"
        end = chunk.end
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
        begun = next(each for each in reversed(passages) if each.start <= chunk.start)
        assert (chunk.page, chunk.heading) == (begun.page, begun.heading)
    assert all(covered[at] or each.isspace() for at, each in enumerate(whole))
    if count in ("characters", "bytes", "words"):
        for before, after in itertools.pairwise(found):
            shared = whole[after.start : before.end] if after.start < before.end else ""
            assert counted(shared.strip()) <= overlap


def _whole(passages: list[Passage]) -> str:
    whole = ""
    for passage in passages:
        whole += "\n" * (passage.start - len(whole)) + passage.text
    return whole


def _document(text: str) -> list[Passage]:
    return [Passage(text=text, start=0)]


def test_chunks_end_where_a_paragraph_does() -> None:
    paragraph = "One two three four. Five six seven eight nine ten.\n\n"
    found = list(chunks(_document(paragraph * 40), max_tokens=100, overlap=0, count=COUNTS["words"]))
    assert all(chunk.text.endswith("nine ten.") for chunk in found)
    assert all(chunk.tokens > 75 for chunk in found[:-1])


def test_chunks_end_where_a_sentence_does_else_a_word() -> None:
    found = list(
        chunks(_document("One two three four five six seven. " * 100), max_tokens=100, overlap=0, count=COUNTS["words"])
    )
    assert all(chunk.text.endswith("seven.") for chunk in found)
    found = list(chunks(_document("abcdefg " * 500), max_tokens=100, overlap=20, count=len))
    assert all(set(chunk.text.split()) == {"abcdefg"} for chunk in found)


def test_a_new_heading_begins_a_chunk_and_repeats_nothing() -> None:
    first = Passage(text="word " * 80, start=0, heading=("A",))
    second = Passage(text="other " * 80, start=402, heading=("B",), page=2)
    found = list(chunks([first, second], max_tokens=100, overlap=25, count=COUNTS["words"]))
    assert [(chunk.heading, chunk.page, chunk.tokens) for chunk in found] == [(("A",), None, 80), (("B",), 2, 80)]


def test_the_end_of_one_chunk_is_the_beginning_of_the_next() -> None:
    text = " ".join(f"w{number}" for number in range(1000))
    found = list(chunks(_document(text), max_tokens=100, overlap=50, count=COUNTS["words"]))
    for before, after in itertools.pairwise(found):
        assert len(text[after.start : before.end].split()) == 50


def test_a_word_over_the_limit_is_cut_and_others_are_not() -> None:
    text = "short " + "y" * 950 + " words after it"
    found = list(chunks(_document(text), max_tokens=100, overlap=0, count=len))
    assert sum(chunk.text.count("y") for chunk in found) == 950
    assert found[0].text.startswith("short")
    assert found[-1].text.endswith("words after it")


@pytest.mark.parametrize(
    "text", ["word " * 40_000, "x" * 200_000, "Sentence one is here. " * 9000, "\n" * 50_000 + "a"]
)
def test_counting_is_linear(text: str) -> None:
    counted = 0

    def count(part: str) -> int:
        nonlocal counted
        counted += len(part)
        return (len(part) + 3) // 4

    passages = [Passage(text=text[at : at + 8000], start=at) for at in range(0, len(text), 8000)]
    passages = [passage for passage in passages if passage.text.strip()]
    assert list(chunks(passages, max_tokens=800, overlap=400, count=count))
    assert counted < 7 * len(text) + 1000


def test_nothing_gives_nothing() -> None:
    assert list(chunks([], max_tokens=800, overlap=400, count=len)) == []


@pytest.mark.parametrize(("most", "overlap"), [(99, 0), (4097, 0), (800, 401), (800, -1)])
def test_numbers_out_of_range_are_refused(most: int, overlap: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        list(chunks([], max_tokens=most, overlap=overlap, count=len))
    assert caught.value.param is not None
