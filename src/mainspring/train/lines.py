"""JSON Lines, read line by line: where each line begins, and what is wrong in which.

A file of examples may be as large as the disk, so it is never in memory: a reader holds one line, an index holds the
offset and the number of each line that says something. Faults are collected, since a file with one wrong line usually
has more, and a person wants to mend them in one go.
"""

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_LINE_BYTES", "Fault", "Faults", "Index", "Line", "Wrong", "parse_object", "read_lines"]

MAX_LINE_BYTES = 16 * 2**20
MAX_NESTING = 64
MAX_EXAMPLES = 10_000_000
"""Of one file: bounds what an index takes (12 bytes each)."""
MAX_KEPT = 20
"""Faults that are told one by one; the others are counted."""
BOM = b"\xef\xbb\xbf"
BLANK = b" \t\r\n"


class Fault(NamedTuple):
    """What is wrong in a line (counted from 1), and at which place in it ("" is the whole line)."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.path}: {self.message}" if self.path else f"line {self.line}: {self.message}"


class Wrong(Exception):
    """A line is not what it should be; whoever knows its number makes a `Fault` of this."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


class Faults:
    """The first faults of a file, and how many there were."""

    def __init__(self, most: int = MAX_KEPT) -> None:
        self.kept: list[Fault] = []
        self.total = 0
        self._most = most

    def add(self, fault: Fault) -> None:
        """One more."""
        self.total += 1
        if len(self.kept) < self._most:
            self.kept.append(fault)

    def error(self, name: str, param: str) -> InvalidRequest:
        """All of them as one error of the API.

        Args:
            name: what the file is to the user, such as "training file".
            param: the field that named it.
        """
        more = self.total - len(self.kept)
        listed = "\n".join(map(str, self.kept)) + (f"\nand {more:,} more" if more else "")
        lines = "1 line" if self.total == 1 else f"{self.total:,} lines"
        return InvalidRequest(
            f"The {name} cannot be used: {lines} must be corrected.\n{listed}",
            code="invalid_training_file",
            param=param,
        )


class Line(NamedTuple):
    """A line that says something: its number from 1, the offset of its first byte, and its bytes (no line end)."""

    number: int
    offset: int
    data: bytes


class Index:
    """Where the examples of a file are: their lines' offsets and numbers."""

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.numbers = array("I")

    def __len__(self) -> int:
        return len(self.offsets)

    def add(self, line: Line) -> None:
        """The next example."""
        self.offsets.append(line.offset)
        self.numbers.append(line.number)

    def read(self, path: Path, at: int) -> Line:
        """The line of example `at` of the same file."""
        with path.open("rb") as file:
            file.seek(self.offsets[at])
            return Line(self.numbers[at], self.offsets[at], file.readline(MAX_LINE_BYTES + 2).rstrip(b"\r\n"))


def read_lines(path: Path, faults: Faults) -> Iterator[Line]:
    """The lines that say something. A byte order mark, CRLF and empty lines are taken as they come."""
    with path.open("rb") as file:
        offset, number, found = 0, 0, 0
        while data := file.readline(MAX_LINE_BYTES + 2):
            number += 1
            start, offset = offset, offset + len(data)
            body = data.rstrip(b"\r\n")
            if len(body) > MAX_LINE_BYTES:
                offset += _skip(file, data)
                faults.add(Fault(number, "", f"it has more than {MAX_LINE_BYTES:,} bytes: shorten the example"))
                continue
            if number == 1 and body.startswith(BOM):
                body, start = body[len(BOM) :], start + len(BOM)
            if not body.strip(BLANK):
                continue
            found += 1
            if found > MAX_EXAMPLES:
                faults.add(Fault(number, "", f"a file has at most {MAX_EXAMPLES:,} examples: split it"))
                return
            yield Line(number, start, body)


def _skip(file: BinaryIO, data: bytes) -> int:
    """Go to the end of a line that is too long; the bytes that were passed over."""
    passed = 0
    while data and not data.endswith(b"\n"):
        data = file.readline(2**16)
        passed += len(data)
    return passed


def parse_object(data: bytes) -> dict[str, Any]:
    """A line as a JSON object, more strictly than JSON's own parsers: no key twice, no NaN, nothing too deep, and only
    text that can be written in UTF-8.

    Raises:
        Wrong: what and where.
    """
    try:
        found = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except UnicodeDecodeError as error:
        raise Wrong("", f"it is not UTF-8 (at its byte {error.start + 1}): save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise Wrong("", f"it is not valid JSON: {error.msg} (at its character {error.colno})") from None
    except RecursionError:
        raise Wrong("", f"it is nested more than {MAX_NESTING} deep") from None
    except ValueError:
        raise Wrong("", "it holds an integer of thousands of digits: write it as a string") from None
    if not isinstance(found, dict):
        raise Wrong("", "it must be a JSON object: {...}")
    _check(cast("Any", found), "", 1)
    return cast("dict[str, Any]", found)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise Wrong("", f"an object has the key {twice[:64]!r} twice: keep one of them")
    return found


def _constant(name: str) -> NoReturn:
    raise Wrong("", f"{name} is not a number that JSON knows: use null or a string")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Wrong("", f"the number {text[:32]} is too large")
    return value


def _check(value: Any, path: str, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Wrong(path, "it holds half a character (a lone surrogate such as \\ud83d): remove it") from None
    elif isinstance(value, list | dict):
        if depth > MAX_NESTING:
            raise Wrong(path, f"it is nested more than {MAX_NESTING} deep")
        if isinstance(value, dict):
            for key, one in cast("dict[str, Any]", value).items():
                _check(key, path, depth)
                _check(one, f"{path}.{key}" if path else key, depth + 1)
        else:
            for at, one in enumerate(cast("list[Any]", value)):
                _check(one, f"{path}[{at}]", depth + 1)
