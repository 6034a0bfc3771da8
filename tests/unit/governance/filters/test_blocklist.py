"""Blocklists: folding, boundaries of words, and regular expressions of strangers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Message
from mainspring.governance.filters.blocklist import MAX_ITEMS, MAX_REGEXES, Blocklist, BlocklistItem, validate
from mainspring.governance.filters.fold import Folder, fold, positions
from mainspring.governance.filters.patterns import WINDOW, Pattern
from mainspring.governance.filters.policy import Policy
from mainspring.governance.filters.screen import Screen


def hits(text: str, *terms: str, regex: bool = False) -> list[str]:
    items = tuple(BlocklistItem(name=term, pattern=term, is_regex=regex) for term in terms)
    screen = Screen(Policy(name="p", prompt_blocklists=("l",)), {"l": Blocklist(name="l", items=items)})
    return [hit.matched for hit in screen.check_prompt([Message(role="user", content=text)]).hits]


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "SECRET",
        "a secret.",
        "se\u200bcr\u00adet",
        "s\u0301e\u0300cret",
        "ｓｅｃｒｅｔ",
        "sесrеt",  # two letters of it are Cyrillic
        "𝓼𝓮𝓬𝓻𝓮𝓽",
        "(secret)",
        "top_secret",
    ],
)
def test_a_term_is_found_however_it_is_written(text):
    assert hits(text, "Secret") == ["Secret"]


@pytest.mark.parametrize("text", ["secretary", "unsecret", "secret2", "s e c r e t", ""])
def test_a_term_is_a_word_of_its_own(text):
    assert hits(text, "secret") == []


def test_scripts_without_spaces_have_no_words_to_be_inside_of():
    assert hits("これは秘密です", "秘密") == ["秘密"]
    assert hits("이것은비밀입니다", "비밀") == ["비밀"]


def test_white_space_is_all_the_same():
    assert hits("two \n\t words", "two words") == ["two words"]


def test_marks_that_tell_letters_apart_stay():
    assert hits("か", "が") == []
    assert hits("कि", "का") == []


def test_a_term_that_another_begins_with_is_found_too():
    assert sorted(hits("red code red alert", "code red", "code", "code red alert")) == [
        "code",
        "code red",
        "code red alert",
    ]


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_folding_in_pieces_is_folding(text, cuts):
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    folder, folded, where = Folder(), "", []
    for start, end in pairwise(bounds):
        piece, places = folder.feed(text[start:end], start)
        folded, where = folded + piece, where + places
    assert folded == fold(text)
    assert where == positions(text)
    assert len(where) == len(folded)
    assert fold(folded) == folded


def test_a_regular_expression_disregards_case():
    assert hits("Order AB-1234 now", r"ab-\d{4}", regex=True) == [r"ab-\d{4}"]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(a", "missing )"),
        (r"(?=a)b", "perl operator"),
        (r"(a)\1", "escape"),
        ("((a{100}){100}){100}", "repetition"),
        ("a*", "empty text"),
        ("((a{30}){30}b?){30,31}" * 8, "RE2"),
    ],
)
def test_an_impossible_expression_is_refused_when_the_list_is_made(pattern, says):
    with pytest.raises(InvalidRequest, match="(?i)" + says.replace(")", r"\)")) as caught:
        validate(Blocklist(name="l", items=(BlocklistItem(name="i", pattern=pattern, is_regex=True),)))
    assert caught.value.code == "invalid_pattern"


@pytest.mark.parametrize(("pattern", "longest"), [(r"a\d{1,3}b", 5), ("ab|c", 2), ("a.*b", WINDOW), (r"\bab\b", 2)])
def test_a_pattern_knows_how_long_a_match_can_be(pattern, longest):
    assert Pattern("p", pattern).longest == longest


def test_an_expression_that_would_take_for_ever_elsewhere_does_not_here():
    assert hits("a" * 5000 + "!", r"(a+)+$", regex=True) == []


@pytest.mark.parametrize(
    "items",
    [
        [BlocklistItem(name="i", pattern="x")] * (MAX_ITEMS + 1),
        [BlocklistItem(name="i", pattern="x", is_regex=True)] * (MAX_REGEXES + 1),
        [BlocklistItem(name="i", pattern="x" * 1001)],
        [BlocklistItem(name="i", pattern="\u200b \u0301")],
    ],
)
def test_lists_and_items_have_bounds(items):
    with pytest.raises(InvalidRequest):
        validate(Blocklist(name="l", items=tuple(items)))
    validate(Blocklist(name="l", items=tuple(items[:1])) if len(items) > 1 else Blocklist(name="l"))


def test_ten_thousand_terms_are_no_slower_to_look_for_than_a_few():
    many = tuple(BlocklistItem(name=str(at), pattern=f"word{at} tail{at}") for at in range(MAX_ITEMS))
    screen = Screen(Policy(name="p", prompt_blocklists=("l",)), {"l": Blocklist(name="l", items=many)})
    # Each word of a text is looked up once; a term is compared only where its first word stands.
    verdict = screen.check_prompt([Message(role="user", content="ordinary words " * 2000 + "word77 tail77")])
    assert [hit.matched for hit in verdict.hits] == ["word77 tail77"]
    assert verdict.blocked
