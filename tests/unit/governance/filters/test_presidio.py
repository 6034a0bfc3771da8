"""Presidio behind the filters for personal data: over a stand-in for its analyzer, and itself where it is installed."""

import importlib.util
import logging
import re
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import UserMistake
from mainspring.core.types import Message
from mainspring.governance.filters import personal, presidio
from mainspring.governance.filters.hold import Released
from mainspring.governance.filters.personal import FORMS, GIVEN_UP, LOOK_BACK, Found, PersonalData
from mainspring.governance.filters.policy import DEFAULT_V2, FilterRule, Policy
from mainspring.governance.filters.presidio import CONTEXT, STEP, WINDOW, Presidio, open_names, windows
from mainspring.governance.filters.screen import Screen
from mainspring.governance.filters.verdict import annotations

INSTALLED = importlib.util.find_spec("presidio_analyzer") is not None
real = pytest.mark.skipif(
    not INSTALLED, reason="presidio-analyzer is not installed: pip install 'mainspring[presidio]'"
)


class Analyzer:
    """Looks like Presidio's: knows the Schmidts, by one to three names, and numbers that begin with X."""

    def __init__(self) -> None:
        self.looked_at: list[str] = []
        self.asked: list[str] = []

    def get_supported_entities(self, language: str) -> list[str]:
        return ["PERSON", "US_PASSPORT", "PHONE_NUMBER", "LOCATION", "URL", "EMAIL_ADDRESS", "CRYPTO"]

    def analyze(self, text, language, entities, score_threshold):
        self.looked_at.append(text)
        self.asked = entities
        found = [
            SimpleNamespace(entity_type=name, score=score, start=match.start(), end=match.end())
            for name, score, pattern in (
                ("PERSON", 0.85, r"\bAnna(?: Maria)?(?: Schmidt)?\b"),
                ("US_PASSPORT", 0.4, r"\bX\d{8}\b"),
                ("PHONE_NUMBER", 0.3, r"\bX?\d{8}\b"),
                ("LOCATION", 0.85, r"\bLondon\b"),
            )
            for match in re.finditer(pattern, text)
        ]
        return [each for each in found if each.score >= score_threshold and each.entity_type in entities]


def finder(analyzer: Analyzer | None = None, **fields) -> PersonalData:
    find = Presidio(analyzer or Analyzer(), **fields)
    return PersonalData(find=find, open_tail=open_names, context=CONTEXT, step=STEP, is_slow=True)


def screen(finder: PersonalData, *, source: str = "Completion", blocking: bool = True) -> Screen:
    rule = FilterRule(name="personally_identifiable_information", source=source, blocking=blocking)
    return Screen(Policy(name="p", filters=(rule,)), personal=finder)


def streamed(made: Screen, text: str, size: int) -> tuple[str, bool]:
    hold, shown = made.stream(), ""
    for part in (*(text[at : at + size] for at in range(0, len(text), size)), None):
        given_ = hold.end() if part is None else hold.feed(part)
        shown += "".join(one.text for one in given_ if isinstance(one, Released))
    return shown, hold.verdict.blocked


def test_names_are_found_beside_forms_and_called_as_azure_calls_them():
    analyzer = Analyzer()
    text = "Anna Schmidt of London, X12345678, jane@mail.example"
    assert Presidio(analyzer)(text) == [
        Found("Person", 0, 12),
        Found("USUKPassportNumber", 24, 33),
        Found("Email", 35, 52),
    ]
    assert analyzer.asked == ["PERSON", "PHONE_NUMBER", "US_PASSPORT"]
    with_places = Presidio(Analyzer(), also=("LOCATION",))(text)
    assert Found("Address", 16, 22) in with_places


def test_what_has_a_form_is_called_by_it_and_the_better_of_two_guesses_counts():
    analyzer = Analyzer()
    assert [one.kind for one in Presidio(analyzer, threshold=0.1)("X12345678")] == ["USUKPassportNumber"]
    assert [one.kind for one in Presidio(analyzer, threshold=0.1)("12345678 or 12345678Z")] == ["PhoneNumber", "ESDNI"]
    assert Presidio(analyzer, threshold=0.5)("X12345678") == []


@given(st.text("ab \n", max_size=3000))
@settings(max_examples=50, deadline=None)
def test_windows_cover_a_text_and_are_of_bounded_length(text):
    pieces, reached = list(windows(text)), 0
    for start, end in pieces:
        assert start <= reached < end
        assert end - start <= WINDOW + presidio.OVERLAP
        reached = end
    assert reached == len(text)


def test_a_name_at_any_place_of_a_long_text_is_found_once():
    for before in range(WINDOW - 60, WINDOW + 20):
        text = "word " * (before // 5) + "x" * (before % 5) + " Anna Maria Schmidt" + " word" * 400
        at = text.index("Anna")
        assert Presidio(Analyzer())(text) == [Found("Person", at, at + 18)]


def test_a_long_text_that_nobody_waits_for_any_more_is_left():
    analyzer, given_up = Analyzer(), threading.Event()
    find = Presidio(analyzer)
    given_up.set()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(GIVEN_UP.set, given_up).result()
        with pytest.raises(CancelledError):
            pool.submit(find, "word " * 10_000).result()
    assert analyzer.looked_at == []


@given(st.text("ab1@ \n", max_size=800))
def test_the_open_tail_is_bounded_and_begins_a_word(text):
    at = open_names(text)
    assert len(text) - LOOK_BACK <= at <= personal.open_tail(text)
    assert at == 0 or at == len(text) - LOOK_BACK or text[at - 1].isspace() or at == personal.open_tail(text)


@pytest.mark.parametrize("size", [1, 3, 7, 50, 1000])
def test_a_name_does_not_leave_in_part(size):
    text = "The letter was written by a certain Anna Maria Schmidt, who lived in a small town by the sea for years."
    assert streamed(screen(finder()), text, size) == ("The letter was written by a certain ", True)


@pytest.mark.parametrize("size", [1, 5, 400])
def test_a_long_answer_passes_and_only_its_end_is_looked_at_again(size):
    analyzer = Analyzer()
    text = "There once was a town by the sea, and nobody was known there by name. " * 30
    assert streamed(screen(finder(analyzer)), text, size) == (text, False)
    assert max(map(len, analyzer.looked_at)) <= CONTEXT + LOOK_BACK + max(size, STEP)
    assert len(analyzer.looked_at) <= len(text) / STEP + 1
    analyzer.looked_at.clear()
    assert streamed(screen(finder(analyzer)), "x" * 3000, size) == ("x" * 3000, False)


def test_text_waits_for_a_dozen_words_at_most():
    text = "The lake lies north of the town, and a path of six kilometres leads around it through the old forest. " * 3
    hold, shown = screen(finder()).stream(), 0
    for at, letter in enumerate(text):
        shown += sum(len(one.text) for one in hold.feed(letter) if isinstance(one, Released))
        assert at + 1 - shown <= STEP + 60


def test_only_policies_that_look_for_personal_data_ask():
    analyzer = Analyzer()
    made = Screen(DEFAULT_V2, personal=finder(analyzer))
    made.check_prompt([Message(role="user", content="I am Anna Schmidt.")])
    streamed(made, "You are Anna Schmidt.", 3)
    assert not made.prompt.is_slow
    assert not made.completion.is_slow
    assert analyzer.looked_at == []


def test_a_version_after_text_that_has_left_is_no_address():
    rule = FilterRule(name="personally_identifiable_information", source="Completion")
    made = Screen(Policy(name="p", filters=(rule,)), personal=FORMS)
    text = "It needs the version 8.8.8.8 of that."
    assert all(streamed(made, text, size) == (text, False) for size in range(1, 20))


def test_a_missing_library_names_the_command(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(presidio.importlib, "import_module", missing)
    with pytest.raises(UserMistake, match=r"pip install 'mainspring\[presidio\]'"):
        presidio.load()


# Presidio itself. Its models cannot be had everywhere, so names are proved with a pipeline of one rule.


def pipeline(monkeypatch, *patterns):
    spacy = pytest.importorskip("spacy")
    nlp = presidio._without_model(spacy, "en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": label, "pattern": pattern} for label, pattern in patterns])
    monkeypatch.setattr(presidio, "_pipeline", lambda spacy, model, language: nlp)


@real
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
class TestPresidio:
    def test_without_a_model_numbers_are_found_and_a_warning_says_how_to_install_one(self, monkeypatch):
        spacy = importlib.import_module("spacy")
        monkeypatch.setattr(spacy.util, "is_package", lambda name: False)
        warned = []
        monkeypatch.setattr(presidio._log, "warning", warned.append)
        made = presidio.load()
        text = "I am Anna Schmidt, my passport is 912803456, my phone 020 7946 0958, mail anna@mail.example."
        assert [one.kind for one in made.find(text)] == ["USUKPassportNumber", "PhoneNumber", "Email"]
        assert len(warned) == 1
        assert "no names" in warned[0]
        assert "python -m spacy download en_core_web_sm" in warned[0]

    def test_the_largest_model_that_is_installed_is_taken(self, monkeypatch):
        loaded = []
        util = SimpleNamespace(is_package=lambda name: name in ("en_core_web_md", "en_core_web_sm", "de_core_news_sm"))

        def load(name, exclude):
            loaded.append(name)
            return SimpleNamespace(lang=name[:2])

        fake = SimpleNamespace(util=util, load=load)
        presidio._pipeline(fake, "", "en")
        presidio._pipeline(fake, "", "de")
        presidio._pipeline(fake, "en_core_web_sm", "en")
        assert loaded == ["en_core_web_md", "de_core_news_sm", "en_core_web_sm"]
        with pytest.raises(UserMistake, match="is for 'de'"):
            presidio._pipeline(fake, "de_core_news_sm", "en")

    def test_a_model_that_is_not_installed_is_not_downloaded(self):
        with pytest.raises(UserMistake, match="python -m spacy download en_core_web_xx"):
            presidio.load("en_core_web_xx")
        with pytest.raises(UserMistake, match="presidio_language"):
            presidio.load(language="qqq")

    def test_names_of_a_model_are_mapped_and_the_rest_only_if_asked_for(self, monkeypatch, caplog):
        pipeline(
            monkeypatch, ("PERSON", "Anna Schmidt"), ("GPE", "London"), ("FAC", "Baker Street"), ("ORG", "Acme"),
            ("DATE", "May"), ("CARDINAL", "seven"),
        )  # fmt: skip
        text = "Anna Schmidt of Acme came to London, Baker Street, in May with seven bags."
        with caplog.at_level(logging.WARNING):
            assert presidio.load().find(text) == [Found("Person", 0, 12)]
            made = presidio.load(also=("LOCATION", "ORGANIZATION", "DATE_TIME"))
            kinds = [one.kind for one in made.find(text)]
        assert kinds == ["Person", "Organization", "Address", "Address", "Date"]
        assert not caplog.records

    def test_a_name_is_blocked_in_a_stream_and_annotated_in_a_prompt(self, monkeypatch):
        pipeline(monkeypatch, ("PERSON", "Anna Schmidt"))
        made = presidio.load()
        text = "The letter was written by a certain Anna Schmidt, who lived in a small town by the sea for years."
        for size in (1, 6, 400):
            assert streamed(screen(made), text, size) == ("The letter was written by a certain ", True)
        verdict = screen(made, source="Prompt", blocking=False).check_prompt([Message(role="user", content=text)])
        assert annotations(verdict)["personally_identifiable_information"]["sub_categories"] == [
            {"sub_category": "Person", "detected": True, "filtered": False}
        ]

    def test_what_presidio_finds_without_a_name_here_is_not_asked_for(self, monkeypatch):
        pipeline(monkeypatch, ("PERSON", "Anna Schmidt"))
        find = presidio.load().find
        assert {"PERSON", "US_SSN", "UK_NHS", "CREDIT_CARD"} <= find.kinds.keys()
        assert not {"EMAIL_ADDRESS", "URL", "IP_ADDRESS", "DATE_TIME", "CRYPTO"} & find.kinds.keys()

    def test_threads_find_the_same(self, monkeypatch):
        pipeline(monkeypatch, ("PERSON", "Anna Schmidt"))
        find = presidio.load().find
        texts = [f"{'word ' * number}Anna Schmidt, passport 91280{number:04}. " * 3 for number in range(40)]
        once = [find(text) for text in texts]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(find, texts)) == once
        assert all(len(found) == 6 for found in once)
