"""Personal data as Microsoft's Presidio finds it, beside what is found by its form: names by a spaCy model, and numbers
of more kinds by the words around them.

An optional library that takes milliseconds: it is imported when it is asked for (`filters.personal`), only policies
that look for personal data run it, and the event loop does not wait for it. It is never let onto the network: a model
that is not installed is not downloaded, and its finder of e-mail addresses, which fetches a list of top-level domains,
is not used.
"""

import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import structlog

from mainspring.core.errors import UserMistake
from mainspring.governance.filters.personal import GIVEN_UP, LOOK_BACK, Found, PersonalData, find_personal, open_tail

__all__ = ["ALSO", "CONTEXT", "KINDS", "STEP", "WINDOW", "Presidio", "load", "open_names", "windows"]

KINDS = {
    "PERSON": "Person",
    "PHONE_NUMBER": "PhoneNumber",
    "CREDIT_CARD": "CreditCardNumber",
    "IBAN_CODE": "InternationalBankingAccountNumber",
    "ABA_ROUTING_NUMBER": "ABARoutingNumber",
    "AU_ABN": "AUBusinessNumber",
    "AU_ACN": "AUCompanyNumber",
    "AU_MEDICARE": "AUMedicalAccountNumber",
    "AU_TFN": "AUTaxFileNumber",
    "CA_SIN": "CASocialInsuranceNumber",
    "DE_FUEHRERSCHEIN": "DEDriversLicenseNumber",
    "DE_ID_CARD": "DEIdentityCardNumber",
    "DE_PASSPORT": "DEPassportNumber",
    "DE_TAX_ID": "DETaxIdentificationNumber",
    "DE_VAT_ID": "DEValueAddedNumber",
    "ES_NIE": "ESDNI",
    "ES_NIF": "ESDNI",
    "FI_PERSONAL_IDENTITY_CODE": "FINationalID",
    "IN_AADHAAR": "INUniqueIdentificationNumber",
    "IN_PAN": "INPermanentAccount",
    "IT_DRIVER_LICENSE": "ITDriversLicenseNumber",
    "IT_FISCAL_CODE": "ITFiscalCode",
    "IT_VAT_CODE": "ITValueAddedTaxNumber",
    "KR_RRN": "KRResidentRegistrationNumber",
    "MEDICAL_LICENSE": "DrugEnforcementAgencyNumber",
    "PH_UMID": "PHUnifiedMultiPurposeIDNumber",
    "PL_PESEL": "PLNationalID",
    "SE_PERSONNUMMER": "SENationalID",
    "SG_NRIC_FIN": "SGNationalRegistrationIdentityCardNumber",
    "TH_TNIN": "THPopulationIdentificationCode",
    "TR_NATIONAL_ID": "TRNationalIdentificationNumber",
    "UK_DRIVING_LICENCE": "UKDriversLicenseNumber",
    "UK_NHS": "UKNationalHealthNumber",
    "UK_NINO": "UKNationalInsuranceNumber",
    "UK_PASSPORT": "USUKPassportNumber",
    "US_BANK_NUMBER": "USBankAccountNumber",
    "US_DRIVER_LICENSE": "USDriversLicenseNumber",
    "US_ITIN": "USIndividualTaxpayerIdentification",
    "US_PASSPORT": "USUKPassportNumber",
    "US_SSN": "USSocialSecurityNumber",
    "ZA_ID_NUMBER": "ZAIdentificationNumber",
}
"""Presidio's names -> Azure's. What is not here is not asked for: e-mail addresses and addresses of machines are found
by their form, and Azure has no name for the rest."""

ALSO = {"LOCATION": "Address", "ORGANIZATION": "Organization", "DATE_TIME": "Date"}
"""What is asked for only where the settings say so: a model finds it in most texts, and it is rarely anybody's."""

_PLACES = dict.fromkeys(("LOC", "GPE", "FAC"), "LOCATION")
_LABELS = {
    "PER": "PERSON",
    "PERSON": "PERSON",
    "ORG": "ORGANIZATION",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
} | _PLACES
"""spaCy's labels -> Presidio's names."""

WINDOW, OVERLAP = 1000, 160
"""Characters that are looked at at once, and those before them that are looked at again for what they say."""
CONTEXT, STEP = 160, 40
"""The same in a stream; characters that are waited for."""
WORDS = 4
"""Whether a word is a name shows in so many words after it: spaCy's small models see four to each side."""

_log = structlog.get_logger()
_INSTALL = "Setting 'filters.personal' needs the extra presidio: pip install 'mainspring[presidio]'."
_NO_NAMES = (
    "no spaCy model for '%s' is installed: Presidio finds numbers, but no names; "
    "`python -m spacy download %s` installs one"
)


class Presidio:
    """Finds personal data with an analyzer, and by its form; what both find is called as its form says.

    Safe to share between threads, which take turns.

    Args:
        analyzer: Presidio's `AnalyzerEngine`, or what looks like one.
        threshold: the least score, 0 to 1. A name has 0.85; a telephone number 0.4, and 0.75 beside a word such as
            "phone"; a number without check digits at most 0.3 and with such a word from 0.4 on.
        also: names of `ALSO`.
        zone: entered for each analysis: what is remembered of the words in it is forgotten after it.
    """

    def __init__(
        self,
        analyzer: Any,
        *,
        language: str = "en",
        threshold: float = 0.4,
        also: Sequence[str] = (),
        zone: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._zone = zone
        self._analyzer, self._language, self._threshold = analyzer, language, threshold
        wanted = KINDS | {name: ALSO[name] for name in also}
        known = frozenset[str](analyzer.get_supported_entities(language))
        self.kinds = {name: kind for name, kind in wanted.items() if name in known}
        """What is asked for: Presidio's names -> Azure's."""
        self._turn = threading.Lock()

    def __call__(self, text: str) -> list[Found]:
        """All of it, in the order of the text, none in another.

        Raises:
            CancelledError: `GIVEN_UP` was set.
        """
        found = find_personal(text)
        if not text or text.isspace():
            return found
        given_up = GIVEN_UP.get()
        scored: list[tuple[float, int, int, str]] = []
        for start, end in windows(text):
            if given_up is not None and given_up.is_set():
                raise CancelledError
            with self._turn, self._zone():  # so that others wait for a window, not for all of a long text
                scored += self._analyze(text[start:end], start)
        for _, start, end, kind in sorted(scored, key=lambda each: (-each[0], each[1] - each[2])):
            if all(end <= each.start or each.end <= start for each in found):
                found.append(Found(kind, start, end))
        return sorted(found, key=lambda each: each.start)

    def _analyze(self, piece: str, offset: int) -> Iterator[tuple[float, int, int, str]]:
        results = self._analyzer.analyze(
            piece, self._language, entities=list(self.kinds), score_threshold=self._threshold
        )
        for each in results:
            yield each.score, each.start + offset, each.end + offset, self.kinds[each.entity_type]


def windows(text: str) -> Iterator[tuple[int, int]]:
    """Where the pieces of a text begin and end that are looked at one by one: between words, as far as there are any,
    each with the end of the one before."""
    start = end = 0
    while end < len(text):
        until = end + WINDOW
        if until < len(text):
            space = text.rfind(" ", end + WINDOW // 2, until)
            until = space if space > 0 else until
        yield start, min(until, len(text))
        end = until
        space = text.find(" ", max(0, end - OVERLAP), end)
        start = space + 1 if space >= 0 else max(0, end - OVERLAP)


def open_names(text: str) -> int:
    """From where on a text's end may still turn out to be personal data: a number, as `open_tail` says, and the last
    words, any of which may be the beginning of a name."""
    tail = text[-LOOK_BACK:]
    before, *last = tail.rsplit(None, WORDS) or [""]
    words = len(tail[len(before) :].lstrip()) if len(last) == WORDS else len(tail)
    return min(open_tail(text), len(text) - words)


def load(model: str = "", *, language: str = "en", threshold: float = 0.4, also: Sequence[str] = ()) -> PersonalData:
    """Presidio with a spaCy model. Takes a second or two, and 100 MB and the model's size of memory.

    Args:
        model: name of an installed package, or the path of a folder; empty for the largest of those that usually are,
            or for none if there is none.
        language: of the model, and of the words that are looked for around numbers: en, de, es...
        threshold, also: as of `Presidio`.

    Raises:
        UserMistake: Presidio, or the model, is not installed.
    """
    # It warns of finders for other languages, and of each thing that a model finds and nobody asked for.
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    spacy, core, engines = _imported("spacy"), _imported("presidio_analyzer"), _imported("presidio_analyzer.nlp_engine")
    pipeline = _pipeline(spacy, model, language)
    asked = engines.NerModelConfiguration(model_to_presidio_entity_mapping=_LABELS)
    engine = engines.SpacyNlpEngine(
        models=[{"lang_code": language, "model_name": model or "blank"}], ner_model_configuration=asked
    )
    engine.nlp = {language: pipeline}  # `load` would look for a GPU, and download what is not there
    analyzer = core.AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
    finder = Presidio(analyzer, language=language, threshold=threshold, also=also, zone=pipeline.memory_zone)
    _log.info("personal data is looked for with Presidio", pipeline=pipeline.pipe_names, kinds=sorted(finder.kinds))
    return PersonalData(find=finder, open_tail=open_names, context=CONTEXT, step=STEP, is_slow=True)


def _imported(name: str) -> Any:
    # By name: a type checker has the optional library no more than most installations.
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserMistake(_INSTALL) from error


def _usual(language: str) -> list[str]:
    genre = "web" if language in ("en", "zh") else "news"
    return [f"{language}_core_{genre}_{size}" for size in ("lg", "md", "sm")]


def _pipeline(spacy: Any, model: str, language: str) -> Any:
    is_package: Callable[[str], bool] = spacy.util.is_package
    name = model or next((each for each in _usual(language) if is_package(each)), "")
    try:
        if not name:
            _log.warning(_NO_NAMES % (language, _usual(language)[-1]))
            return _without_model(spacy, language)
        pipeline = spacy.load(name, exclude=["parser", "senter", "textcat"])  # half of the time, and nothing asks them
    except ImportError as error:  # of a language's data
        raise UserMistake(f"Setting 'filters.presidio_language': spaCy does not know '{language}'.") from error
    except (OSError, ValueError) as error:
        raise UserMistake(
            f"Setting 'filters.presidio_model': spaCy cannot load '{name}'. "
            f"Install it with `python -m spacy download {name}`, or name one that is installed."
        ) from error
    if pipeline.lang != language:
        raise UserMistake(
            f"Setting 'filters.presidio_model': '{name}' is for '{pipeline.lang}', "
            f"and filters.presidio_language is '{language}'."
        )
    return pipeline


def _without_model(spacy: Any, language: str) -> Any:
    """Words as they are written, so that Presidio sees those around a number."""

    def as_written(document: Any) -> Any:
        for token in document:
            token.lemma_ = token.lower_
        return document

    spacy.language.Language.component("mainspring_words", func=as_written)
    pipeline = spacy.blank(language)
    pipeline.add_pipe("mainspring_words")
    return pipeline
