"""Citations: whatever a model writes, every marker that is left is of a passage, however the text was cut."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.responses.citations import Citer, Source, markers
from mainspring.responses.tools import Annotated

MADRID = "Madrid is the capital of Spain and has about 3,300,000 inhabitants."
LISBON = "Lisbon is the capital of Portugal, founded by Phoenicians in 1200 BC."


class Cited(msgspec.Struct, frozen=True):
    number: int
    start: int
    end: int
    supported: bool


def sources(shown: str = "", count: int = 2) -> dict[int, Source]:
    def of(number: int) -> Source:
        text = (MADRID, LISBON)[(number - 1) % 2]
        return Source(text, lambda start, end, good: Cited(number, start, end, good), shown.format(number))

    return {number: of(number) for number in range(1, count + 1)}


def read(pieces: list[str], **options: object) -> tuple[str, list[Cited]]:
    citer = Citer(options.pop("sources", sources()), **options)  # type: ignore[arg-type]
    out = [each for piece in pieces for each in citer.feed(piece)] + list(citer.end())
    text = "".join(each for each in out if isinstance(each, str))
    return text, [each.annotation for each in out if isinstance(each, Annotated)]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "text", "cited"),
    [
        ("Madrid is the capital [1].", "Madrid is the capital.", [(1, 21)]),
        ("Madrid is the capital. [1] Yes.", "Madrid is the capital. Yes.", [(1, 22)]),
        ("A [1, 2] b.", "A b.", [(1, 1), (2, 1)]),
        ("A[1][2] b.", "A b.", [(1, 1), (2, 1)]),
        ("A [1]b.", "A b.", [(1, 1)]),
        ("A [doc2] b, [Document 1], [source 7].", "A b,,.", [(2, 1), (1, 4)]),
        ("[1] It is.", "It is.", [(1, 0)]),
        ("One.\n[2] It is.", "One.\nIt is.", [(2, 5)]),
        ("A [9].", "A.", []),
        ("A [\u0661].", "A [\u0661].", []),
        ("A [1, 9].", "A.", [(1, 1)]),
        ("`a[1]` and a [one] [x][", "`a[1]` and a [one] [x][", []),
        ("```py\na[1]\n```\nb [1]", "```py\na[1]\n```\nb", [(1, 16)]),
        ("see [this](http://x) [1", "see [this](http://x) [1", []),
        ("[[1]1]", "[1", [(1, 1)]),
        ("a ``[1]` [1]`` [2]", "a ``[1]` [1]``", [(2, 14)]),
        ("a ` b\nc [1]", "a ` b\nc", [(1, 7)]),
    ],
)  # fmt: skip
def test_markers_are_taken_out_and_become_annotations(written: str, text: str, cited: list[tuple[int, int]]) -> None:
    found, annotations = read([written])
    assert found == text
    assert [(each.number, each.start) for each in annotations] == cited


def test_what_is_shown_in_a_markers_place_is_what_the_annotation_spans() -> None:
    text, cited = read(["Madrid [1], Lisbon [2] [4]. End."], sources=sources("[doc{}]"))
    assert text == "Madrid [doc1], Lisbon [doc2]. End."
    assert [text[each.start : each.end] for each in cited] == ["[doc1]", "[doc2]"]


def test_sentences_that_their_passage_does_not_bear_out_are_flagged() -> None:
    good = "Lisbon is the capital of Portugal and was founded in 1200 BC by Phoenicians [2]."
    bad = "Toledo became the seat of the Visigothic kings in the year 567 [1]."
    _, cited = read([f"{good} {bad} [2] {good}"])
    assert [(each.number, each.supported) for each in cited] == [(2, True), (1, False), (2, False), (2, True)]


def test_text_flows_while_its_annotations_wait_for_the_end_of_the_sentence() -> None:
    citer = Citer(sources())
    assert citer.feed("Madrid [1] is the capital") == ["Madrid is the capital"]
    assert citer.feed(" of Spain.") == [" of Spain."]
    assert citer.feed(" [") == []
    assert [type(each) for each in citer.feed("2] N")] == [Annotated, Annotated, str]


def test_a_message_that_was_broken_off_goes_on_where_it_ended() -> None:
    begun = "It is so. "
    citer = Citer(sources(), first="Nothing.\n\n", begun=begun)
    out = [*citer.feed("Or [1] not."), *citer.end()]
    cited = Annotated(Cited(1, len(begun) + 12, len(begun) + 12, True), ("Nothing.\n\nOr not.", MADRID))  # type: ignore[arg-type]
    assert out == ["Nothing.\n\nOr not.", cited]


PIECES = st.sampled_from(
    ["[", "]", "1", "2", "9", "doc", "W", ",", " ", "`", "```", "\n", ".", "Madrid", "a", "[1]", "[2]", "[7]", "(", "é"]
)


@given(st.lists(PIECES, max_size=30), st.randoms(use_true_random=False), st.sampled_from(["", "[doc{}]", "({})"]))
def test_how_the_text_is_cut_is_no_matter(parts: list[str], chance: random.Random, shown: str) -> None:
    written = "".join(parts)
    cuts = sorted(chance.randint(0, len(written)) for _ in range(chance.randint(0, 8)))
    pieces = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    assert read(pieces, sources=sources(shown)) == read([written], sources=sources(shown))


@given(st.lists(PIECES, max_size=30), st.sampled_from(["", "[doc{}]"]))
def test_every_marker_that_is_left_is_of_a_passage(parts: list[str], shown: str) -> None:
    text, cited = read(["".join(parts)], sources=sources(shown))
    assert all(0 <= each.start <= each.end <= len(text) for each in cited)
    assert [each for each in markers(text) if each not in ("[doc1]", "[doc2]")] == []
    assert sorted(text[each.start : each.end] for each in cited if shown) == sorted(markers(text))


@given(st.text(alphabet="ab. \n[]()`x", max_size=60))
def test_text_without_markers_is_left_as_it_is(written: str) -> None:
    assert read([written]) == (written, [])
