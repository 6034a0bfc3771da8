"""Lines of a file, however its bytes are cut."""

from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.evals.lines import MAX_LINE, lines_of


async def cut(data: bytes, places: Sequence[int]) -> AsyncGenerator[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    for begin, end in pairwise(edges):
        yield data[begin:end]


@given(
    lines=st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line), max_size=6),
    places=st.lists(st.integers(0, 1000), max_size=6),
)
async def test_the_same_lines_however_they_are_cut(lines: list[bytes], places: list[int]) -> None:
    data = b"\n".join(lines)
    stripped = [line.removeprefix(b"\xef\xbb\xbf" if at == 0 else b"").strip(b" \t\r") for at, line in enumerate(lines)]
    assert [line async for line in lines_of(cut(data, places))] == [line for line in stripped if line]


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_has_a_size(end: bytes) -> None:
    assert len([line async for line in lines_of(cut(b"x" * MAX_LINE + end, [7]))]) == 1
    with pytest.raises(InvalidRequest, match="Line 2 of the file has more than"):
        async for _ in lines_of(cut(b"a\n" + b"x" * (MAX_LINE + 1) + end, range(0, MAX_LINE, 2**16))):
            pass
