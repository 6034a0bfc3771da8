"""The metrics agree with the packages that define them: rapidfuzz 3.14, sacrebleu 2.6, NLTK 3.10 (its METEOR with a
WordNet that knows no synonyms, its GLEU and METEOR on sacreBLEU's tokens) and rouge-score 0.1. Their numbers are kept
here, so that they need not be installed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import Embeddings
from mainspring.graders.similarity import METRICS, cosine
from mainspring.graders.stem import stem

NAMES = ("fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")

REFERENCE = (
    (
        "fuzzy wuzzy was a bear",
        "fuzzy wuzzy had no hair",
        (0.755555555556, 0.213643503198, 0.214285714286, 0.375, 0.4, 0.25, 0, 0, 0, 0.4),
    ),
    (
        "It is a guide to action which ensures that the military always obeys the commands of the party",
        "It is a guide to action that ensures that the military will forever heed Party commands",
        (
            0.832876712329,
            0.411803763569,
            0.439393939394,
            0.694444444444,
            0.705882352941,
            0.5,
            0.4,
            0.285714285714,
            0.153846153846,
            0.647058823529,
        ),
    ),
    (
        "The quick brown foxes were jumping over lazy dogs.",
        "A quick brown fox jumped over the lazy dog!",
        (0.814285714286, 0.0998009940387, 0.147058823529, 0.75, 0.555555555556, 0.125, 0, 0, 0, 0.444444444444),
    ),
    ("same text here, the same one.", "same text here, the same one.", (1, 1, 1, 0.9990234375, 1, 1, 1, 1, 1, 1)),
    ("", "something", (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("something", "", (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ("", "", (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    (
        "short",
        "a much longer reference than the answer that was given to it",
        (0.266666666667, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    ),
    (
        "Price: $1,234.56 - 20% off; see &quot;terms&quot; (p. 3-4)",
        "The price is $1,234.56 (20 % off), see terms on p. 3-4.",
        (
            0.889873417722,
            0.286551548636,
            0.364864864865,
            0.638888888889,
            0.814814814815,
            0.56,
            0.434782608696,
            0.285714285714,
            0.210526315789,
            0.814814814815,
        ),
    ),
    (
        "Zürich ist schön, naïve café",
        "Zürich war schön; das Café naïve",
        (0.874, 0.0904226605494, 0.136363636364, 0.289855072464, 0.823529411765, 0.4, 0, 0, 0, 0.705882352941),
    ),
    ("你好 世界", "你好 世界 再见", (0.9, 0.606530659713, 0.5, 0.646551724138, 0, 0, 0, 0, 0, 0)),
    (
        "the the the the the",
        "the cat sat on the mat",
        (0.95, 0.10400597689, 0.111111111111, 0.169491525424, 0.363636363636, 0, 0, 0, 0, 0.363636363636),
    ),
    (
        "a b c d e f g h i j",
        "a b c d x f g h i j k l m",
        (
            0.897222222222,
            0.48748580428,
            0.521739130435,
            0.704773014484,
            0.782608695652,
            0.666666666667,
            0.526315789474,
            0.352941176471,
            0.133333333333,
            0.782608695652,
        ),
    ),
)
"""What is graded, what it is graded against, and each of `NAMES`."""


@pytest.mark.parametrize("place", range(len(REFERENCE)))
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_packages_say_the_same(name: str, place: int) -> None:
    text, reference, wanted = REFERENCE[place]
    assert METRICS[name](text, reference) == pytest.approx(wanted[NAMES.index(name)], abs=1e-9)


def test_every_metric_but_the_cosine_is_here() -> None:
    assert set(METRICS) == set(NAMES)


WORDS = ["the", "cat", "cats", "sat", "on", "a", "mat", ",", ".", "-", "3.5", "sitting"]
TEXTS = st.text() | st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)


@given(TEXTS, TEXTS)
def test_scores_are_from_0_to_1(text: str, reference: str) -> None:
    for name, metric in METRICS.items():
        assert 0 <= metric(text, reference) <= 1 + 1e-12, name


@given(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=20).map(" ".join))
def test_a_text_is_like_itself(text: str) -> None:
    for name, metric in METRICS.items():
        assert metric(text, text) == pytest.approx(1, abs=0.01), name


@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 4), max_size=12))
def test_the_longest_common_subsequence_is_that_of_the_textbook(first: list[int], second: list[int]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    common = table[-1][-1]
    found = METRICS["rouge_l"](" ".join(map(str, first)), " ".join(map(str, second)))
    assert found == pytest.approx(2 * common / (len(first) + len(second)) if common else 0)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("dies", "die"), ("agreed", "agre"), ("hopping", "hop"),
        ("filing", "file"), ("happy", "happi"), ("enjoy", "enjoy"), ("relational", "relat"), ("dying", "die"),
        ("generalizations", "gener"), ("archaeology", "archaeolog"), ("controll", "control"), ("oed", "o"),
        ("is", "is"),
    ],
)  # fmt: skip
def test_stems_are_nltks(word: str, wanted: str) -> None:
    assert stem(word) == wanted


def test_the_cosine() -> None:
    def of(*numbers: float) -> float:
        return cosine(Embeddings(struct.pack(f"<{len(numbers)}f", *numbers), len(numbers) // 2, 1))

    assert of(1, 0, 0, 2) == 0
    assert of(1, 2, 2, 4) == pytest.approx(1)
    assert of(1, 0, -3, 0) == pytest.approx(-1)
    assert of(0, 0, 1, 1) == 0
