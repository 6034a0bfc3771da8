"""JSON in one way only (RFC 8785): what it says has one hash, whoever writes it, in whatever language."""

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import msgspec

__all__ = ["canonical", "digest_of"]

Json = dict[str, Any]


def digest_of(value: Any) -> str:
    """The SHA-256 of a value in canonical JSON (RFC 8785)."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """A value as RFC 8785 writes it."""
    return _ordered(value).encode("utf-8", "surrogatepass")


def _ordered(value: Any) -> str:
    if isinstance(value, dict):
        members = cast("Json", value)
        names = sorted(members, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_ordered(name)}:{_ordered(members[name])}" for name in names) + "}"
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        return "[" + ",".join(map(_ordered, items)) + "]"
    if isinstance(value, float):
        return _number(value)
    return msgspec.json.encode(value).decode()


def _number(value: float) -> str:
    """As ECMAScript writes it."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    exponent = int(power or 0) + len(whole) - (len(whole + part) - len(digits) if whole == "0" else 0)
    digits = digits.rstrip("0")
    return sign + _placed(digits, exponent)


def _placed(digits: str, point: int) -> str:
    """Digits with a point behind so many of them."""
    num = len(digits)
    if num <= point <= 21:
        return digits + "0" * (point - num)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    power = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return f"{digits[0]}{'.' + digits[1:] if num > 1 else ''}{power}"
