"""The lines of a file of JSON Lines, as its bytes come."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_LINE", "lines_of"]

MAX_LINE = 2**20
"""Bytes of one item."""
BOM = b"\xef\xbb\xbf"


async def lines_of(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Each line that holds something, without its end.

    Raises:
        InvalidRequest: one is longer than `MAX_LINE`.
    """
    held, number = bytearray(), 0
    async with aclosing(pieces):
        async for piece in pieces:
            *whole, rest = piece.split(b"\n")
            for part in whole:
                number += 1
                held += part
                line = _line(bytes(held), number)
                held.clear()
                if line:
                    yield line
            held += rest
            if len(held) > MAX_LINE:
                _line(bytes(held), number + 1)
    if line := _line(bytes(held), number + 1):
        yield line


def _line(line: bytes, number: int) -> bytes:
    if len(line) > MAX_LINE:
        raise InvalidRequest(
            f"Line {number} of the file has more than {MAX_LINE:,} bytes, the most of an item.", code="invalid_item"
        )
    return (line.removeprefix(BOM) if number == 1 else line).strip(b" \t\r")
