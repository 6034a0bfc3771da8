"""Reading documents in this process, as the confined one does."""

import io
from typing import Any

from mainspring.retrieval.parse.main import parsed
from mainspring.retrieval.parse.source import Limits, Source
from mainspring.retrieval.passages import Passage


def read(content: bytes | str, name: str, **limits: Any) -> list[Passage]:
    body = content.encode() if isinstance(content, str) else content
    found = list(parsed(Source(io.BytesIO(body), name, Limits(**limits))))
    place = 0
    for passage in found:
        assert passage.start >= place, "offsets ascend, and no text is in two passages"
        assert passage.text.strip()
        assert 0 < len(passage.text) <= 8000
        place = passage.start + len(passage.text)
    return found


def texts(content: bytes | str, name: str, **limits: Any) -> list[str]:
    return [passage.text for passage in read(content, name, **limits)]


def under(content: bytes | str, name: str) -> dict[tuple[str, ...], str]:
    """Heading -> all text under it."""
    found: dict[tuple[str, ...], str] = {}
    for passage in read(content, name):
        found[passage.heading] = found.get(passage.heading, "") + passage.text
    return found
