"""Plain text, until there is more."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path

from mainspring.core.errors import InvalidRequest
from mainspring.retrieval.passages import Chunk, Passage


async def parse(path: Path, filename: str) -> AsyncGenerator[Passage]:
    if filename.endswith(".bin"):
        raise InvalidRequest(f"{filename} is of no format that is read.", code="unsupported_file")
    text, at = path.read_text("utf-8"), 0
    for part in text.split("\n\n"):
        if part.strip():
            yield Passage(text=part, start=at)
        at += len(part) + 2


def chunks(
    passages: Iterable[Passage], *, max_tokens: int, overlap: int, count: Callable[[str], int]
) -> Iterator[Chunk]:
    del overlap, max_tokens
    for each in passages:
        yield Chunk(text=each.text, start=each.start, end=each.start + len(each.text), tokens=count(each.text))
