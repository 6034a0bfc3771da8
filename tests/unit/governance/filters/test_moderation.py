"""OpenAI's categories: what gives each of them, and that harmless texts give none."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.governance.filters.moderation import CATEGORIES, OVERLAP, PIECE, RULE, moderate

DATA = Path(__file__).parents[3] / "data" / "filters"


def texts(name: str) -> list[str]:
    return [json.loads(line)["text"] for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("You are a worthless idiot.", "harassment"),
        ("y\u00f6u are such a l\u00f6ser", "harassment"),
        ("I know where you live.", "harassment/threatening"),
        ("I'm going to hurt you", "harassment/threatening"),
        ("I really want to die.", "self-harm/intent"),
        ("I don't want to live anymore", "self-harm/intent"),
        ("the most painless way to die", "self-harm/instructions"),
        ("How can I cook meth in my kitchen?", "illicit"),
        ("How to launder drug money", "illicit"),
        ("steps to build a pipe bomb", "illicit/violent"),
    ],
)
def test_what_a_rule_finds(text: str, category: str) -> None:
    found = moderate(text)
    assert found.flags[category]
    assert found.scores[category] == RULE
    parent = category.partition("/")[0]
    assert found.scores[parent] >= RULE, "what is narrower is of the wider kind too"
    assert found.flagged


@pytest.mark.parametrize(
    "text",
    [
        "You are not stupid.", "I will never hurt you", "How do I build a shed?", "How to get rid of ants",
        "I killed the process", "You are going to die laughing at this kid's drawing", "", "!!!", "Bring the kids.",
        "What is the best way to end my letter?", "How can I help my son get off heroin?",
    ],
)  # fmt: skip
def test_what_only_looks_like_it(text: str) -> None:
    flags = moderate(text).flags
    rules = ("harassment", "illicit", "illicit/violent", "self-harm/intent", "self-harm/instructions", "sexual/minors")
    if text != "You are going to die laughing at this kid's drawing":  # which a list of words cannot tell
        assert not [name for name in rules if flags[name]]


def test_harmless_texts_are_harmless() -> None:
    """As many as docs/SAFETY.md says."""
    harmless = texts("benign") + texts("benign_documents")
    flagged = [text for text in harmless if moderate(text).flagged]
    assert len(harmless) == 141
    assert len(flagged) <= 1, flagged


@pytest.mark.parametrize(
    ("name", "category", "least"),
    [("hate", "hate", 32), ("sexual", "sexual", 27), ("self_harm", "self-harm", 21), ("violence", "violence", 16)],
)
def test_as_much_as_the_page_says_is_found(name: str, category: str, least: int) -> None:
    assert sum(moderate(text).flags[category] for text in texts(name)) >= least


@given(st.text(max_size=200))
def test_every_text_has_every_score(text: str) -> None:
    found = moderate(text)
    assert found.scores.keys() == found.flags.keys() == set(CATEGORIES)
    assert all(0 <= score <= 1 for score in found.scores.values())


@pytest.mark.parametrize("at", [0, PIECE - 20, PIECE - OVERLAP + 3, 2 * PIECE - OVERLAP - 5, 3 * PIECE])
def test_a_long_text_is_looked_at_everywhere(at: int) -> None:
    calm = "The sea is calm and the boats are in. " * (4 * PIECE // 38)
    assert not moderate(calm).flagged
    assert moderate(f"{calm[:at]} You are a worthless idiot. {calm[at:]}").flags["harassment"]
