"""Finds personal data by its form: e-mail, telephone, bank and card numbers, national numbers, addresses of machines.

Numbers with check digits are checked, so most that only look alike are not found. Names and street addresses have no
form: they take a model that knows them, such as Presidio's (`presidio.py`), as another `PersonalData`.
"""

import ipaddress
import re
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NamedTuple

import msgspec

__all__ = ["FORMS", "GIVEN_UP", "Found", "PersonalData", "find_personal", "open_tail"]


class Found(NamedTuple):
    """A piece of personal data: what kind (Azure's names), and where in the text."""

    kind: str
    start: int
    end: int


class PersonalData(msgspec.Struct, frozen=True, kw_only=True):
    """What finds personal data, and what it takes to ask it of a text that still grows.

    Args:
        find: all of it in a text, in the order of the text.
        open_tail: text -> from where on its end may still turn out to be personal data; at most `LOOK_BACK` characters
            before the end.
        context: so many characters before what is new it must see; less than `LOOK_BACK`.
        step: new text is looked at in pieces of at least so many characters.
        is_slow: it takes milliseconds, so the event loop does not wait for it.
    """

    find: Callable[[str], Sequence[Found]]
    open_tail: Callable[[str], int]
    context: int = 0
    step: int = 0
    is_slow: bool = False


GIVEN_UP: ContextVar[threading.Event | None] = ContextVar("GIVEN_UP", default=None)
"""Set once nobody waits any more for what a slow finder finds in this thread: it is to stop."""


def _digits(text: str) -> list[int]:
    return [int(one) for one in text if one.isdigit()]


def _card(text: str) -> bool:
    """Of a length and with a first digit that cards have, and right by Luhn's check."""
    digits = _digits(text)
    if len(digits) not in (13, 14, 15, 16, 19) or digits[0] not in range(2, 7):
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    plain = text.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def _ssn(text: str) -> bool:
    area, group, serial = re.split("[- ]", text)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _dni(text: str) -> bool:
    plain = text.upper().translate(str.maketrans("XYZ", "012")) if text[0].isalpha() else text.upper()
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(re.sub(r"\D", "", plain[:-1])) % 23] == text[-1].upper()


def _cpf(text: str) -> bool:
    digits = _digits(text)
    if len(set(digits)) == 1:
        return False
    for count in (9, 10):
        total = sum(digit * (count + 1 - index) for index, digit in enumerate(digits[:count]))
        if total * 10 % 11 % 10 != digits[count]:
            return False
    return True


def _pesel(text: str) -> bool:
    digits = _digits(text)
    total = sum(digit * weight for digit, weight in zip(digits[:10], (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True))
    return 1 <= (digits[2] * 10 + digits[3]) % 20 <= 12 and (total + digits[10]) % 10 == 0


def _nir(text: str) -> bool:
    plain = re.sub(r"\s", "", text)
    return 97 - int(plain[:13]) % 97 == int(plain[13:])


def _address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global  # a machine of nobody's, or of this network, tells nothing
    except ValueError:
        return False


def _always(_: str) -> bool:
    return True


def _telephone(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15


_B, _E = r"(?<![\w.+-])", r"(?![\w-])"
_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE if kind != "ITFiscalCode" else 0), check)
    for kind, pattern, check in (
        ("Email", r"(?<![\w.+-])[\w+-][\w.+-]{0,63}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,8}\.[a-z]{2,24}\b", _always),
        ("CreditCardNumber", _B + r"\d(?:[ -]?\d){12,18}" + _E, _card),
        (
            "InternationalBankingAccountNumber",
            _B + r"[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,4})?" + _E,
            _iban,
        ),
        ("USSocialSecurityNumber", _B + r"\d{3}([- ])\d{2}\1\d{4}" + _E, _ssn),
        (
            "UKNationalInsuranceNumber",
            _B + r"[abceghj-prstw-z][abceghj-nprstw-z] ?\d\d ?\d\d ?\d\d ?[a-d]" + _E,
            _always,
        ),
        ("ESDNI", _B + r"(?:\d{8}-?[a-z]|[xyz]-?\d{7}-?[a-z])" + _E, _dni),
        ("BRCPFNumber", _B + r"\d{3}\.\d{3}\.\d{3}-\d\d" + _E, _cpf),
        ("PLNationalID", _B + r"\d{11}" + _E, _pesel),
        ("FRSocialSecurityNumber", _B + r"[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?\d\d ?\d{3} ?\d{3} ?\d\d" + _E, _nir),
        ("ITFiscalCode", r"\b[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]\b", _always),
        ("PhoneNumber", r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}" + _E, _telephone),
        ("PhoneNumber", _B + r"(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}" + _E, _telephone),
        ("IPAddress", r"(?<![\w.:])(?<!version )(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", _address),
        ("IPAddress", r"(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,6}(?![\w:])", _address),
    )
)

_MAY_BE = re.compile(r"@|\d")
_NUMBER = re.compile(r"\b[A-Z]{0,2}[+(]?\d[\w ().+-]*\Z|[+(]\d*\Z", re.IGNORECASE)
LONGEST_NUMBER = 48
LOOK_BACK = 320


def find_personal(text: str) -> list[Found]:
    """All of it, in the order of the text. A piece is of one kind: the first that fits, as listed."""
    if not _MAY_BE.search(text):
        return []
    found: list[Found] = []
    for kind, pattern, check in _KINDS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if all(end <= each.start or each.end <= start for each in found) and check(match[0]):
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda each: each.start)


def open_tail(text: str) -> int:
    """From where on the text's end may still turn out to be personal data: the word that it ends with, which may be the
    beginning of an address, and a number with the words after it. What is longer than any of these is not held."""
    end = text[-LOOK_BACK:]
    start = len(text)
    if end and not end[-1].isspace():
        word = len(end.rsplit(None, 1)[-1])
        start -= word if word < LOOK_BACK else 0
    tail = text[-LONGEST_NUMBER:]
    match = _NUMBER.search(tail) if any(map(str.isdigit, tail)) else None
    return min(start, len(text) - len(tail) + match.start()) if match else start


FORMS = PersonalData(find=find_personal, open_tail=open_tail, context=16)
"""What has a form. Its context is for the word before a number, which may say that it is a version."""
