"""The formula of a multi grader: arithmetic on the scores of the others, and nothing else.

Operators + - * / and ^ (power; ** is the same), brackets, and the functions that OpenAI's guide lists. Parsed once into
steps for a stack, so evaluating takes as long as the formula is.
"""

import math
import re
from collections.abc import Callable, Mapping

from mainspring.core.errors import InvalidRequest
from mainspring.graders.result import GraderFailed

__all__ = ["FUNCTIONS", "Formula", "parse"]

MAX_LENGTH = 4096
MAX_DEPTH = 64

_Function = Callable[..., float]


def _least(*values: float) -> float:
    return min(values)


def _most(*values: float) -> float:
    return max(values)


FUNCTIONS: dict[str, tuple[int, _Function]] = {
    "min": (0, _least), "max": (0, _most), "abs": (1, math.fabs), "floor": (1, math.floor), "ceil": (1, math.ceil),
    "exp": (1, math.exp), "sqrt": (1, math.sqrt), "log": (1, math.log),
}  # fmt: skip
"""Name -> how many arguments (0 is any number) and what it does. log is the natural one."""

_BINARY: dict[str, tuple[int, _Function]] = {
    "+": (1, float.__add__), "-": (1, float.__sub__), "*": (2, float.__mul__), "/": (2, float.__truediv__),
    "^": (4, math.pow),
}  # fmt: skip
"""Operator -> how strongly it binds and what it does; the sign is between, at 3."""
_SIGN = 3

_TOKEN = re.compile(r"\s*(?:(\d{1,40}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,3})?|\.\d{1,40}(?:[eE][+-]?\d{1,3})?)"
                    r"|([A-Za-z_]\w*)|(\*\*|[-+*/^(),]))", re.ASCII)  # fmt: skip

_Step = float | str | tuple[_Function, int]
"""A number, a variable, or a function and how many values it takes from the stack."""


class Formula:
    """A formula that was understood. `names` are its variables."""

    def __init__(self, steps: tuple[_Step, ...]) -> None:
        self._steps = steps
        self.names = frozenset(step for step in steps if isinstance(step, str))

    def __call__(self, values: Mapping[str, float]) -> float:
        """What it comes to.

        Raises:
            GraderFailed: no number comes out: a division by zero, the root of a negative number, too large a result.
        """
        stack: list[float] = []
        try:
            for step in self._steps:
                if isinstance(step, str):
                    stack.append(float(values[step]))
                elif isinstance(step, tuple):
                    function, count = step
                    stack[-count:] = [float(function(*stack[-count:]))]
                else:
                    stack.append(step)
        except (ArithmeticError, ValueError) as error:
            raise GraderFailed("formula_parse_error", f"The formula has no value: {error}.") from None
        if not math.isfinite(stack[0]):
            raise GraderFailed("formula_parse_error", "The formula's value is not a finite number.")
        return stack[0]


def parse(text: str, where: str, names: frozenset[str]) -> Formula:
    """Understand a formula over the variables `names`.

    Args:
        where: its place in the request, for errors.

    Raises:
        InvalidRequest: it is no formula, or has variables that there are not.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidRequest(f"Invalid '{where}': a formula has at most {MAX_LENGTH} characters.", param=where)
    return _Parser(text, where, names).formula()


class _Parser:
    """Precedence climbing; its depth is that of the brackets, signs and powers, which is bounded."""

    def __init__(self, text: str, where: str, names: frozenset[str]) -> None:
        self._where, self._names = where, names
        self._tokens, self._at = self._split(text), 0
        self._steps: list[_Step] = []
        self._depth = 0

    def formula(self) -> Formula:
        self._expression(0)
        if self._peek() is not None:
            raise self._wrong(f"{self._peek()!r} is not expected there")
        return Formula(tuple(self._steps))

    def _split(self, text: str) -> list[str | float]:
        tokens: list[str | float] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._wrong(f"{text[at:].strip()[:20]!r} is not understood")
            number, name, sign = found.groups()
            tokens.append(float(number) if number else name or sign.replace("**", "^"))
            at = found.end()
        return tokens

    def _wrong(self, what: str) -> InvalidRequest:
        return InvalidRequest(f"Invalid '{self._where}': in the formula, {what}.", param=self._where)

    def _peek(self) -> str | float | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str | float:
        token = self._peek()
        if token is None:
            raise self._wrong("something is missing at the end")
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if (found := self._next()) != wanted:
            raise self._wrong(f"{wanted!r} is missing before {found!r}")

    def _expression(self, above: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"brackets, signs and powers are nested more than {MAX_DEPTH} deep")
        self._operand()
        while isinstance(word := self._peek(), str) and word in _BINARY and _BINARY[word][0] > above:
            self._next()
            strength, function = _BINARY[word]
            self._expression(strength - 1 if word == "^" else strength)  # a power of a power is taken from the right
            self._steps.append((function, 2))
        self._depth -= 1

    def _operand(self) -> None:
        word = self._next()
        if not isinstance(word, str):
            self._steps.append(word)
        elif word == "(":
            self._expression(0)
            self._expect(")")
        elif word in ("-", "+"):
            self._expression(_SIGN)
            if word == "-":
                self._steps.append((float.__neg__, 1))
        elif self._peek() == "(":
            self._call(word)
        elif word in self._names:
            self._steps.append(word)
        else:
            known = ", ".join(sorted(self._names)[:20]) or "none"
            raise self._wrong(f"{word!r} is not expected there; the variables are: {known}")

    def _call(self, name: str) -> None:
        if name not in FUNCTIONS:
            raise self._wrong(f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}")
        self._expect("(")
        count = 1
        self._expression(0)
        while self._peek() == ",":
            self._next()
            self._expression(0)
            count += 1
        self._expect(")")
        wanted, function = FUNCTIONS[name]
        if wanted and count != wanted:
            raise self._wrong(f"{name} takes {wanted} value, not {count}")
        self._steps.append((function, count))
