"""Which tokens of a prompt are whose: where each message of a chat stands in what the model is shown.

A template is a stranger's program: it may trim, wrap or leave out what it is given. So nothing is assumed of it. The
prompt is rendered once more with marks around each text; only if that is the same prompt but for the marks do they say
where the texts are. Otherwise nobody knows, and nothing is told.
"""

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import ChatPrompt, Message
from mainspring.engine.vocabulary import Vocabulary
from mainspring.models.chat import ChatTemplate

__all__ = ["digest", "packed", "read", "spans_of", "unpacked"]

OPEN, CLOSE = "\ufdd1", "\ufdd2"
"""Noncharacters, as `models.chat.CUT` is one."""

Span = tuple[int, int]


def packed(tokens: Sequence[int]) -> bytes:
    """Each token's id as four bytes, little-endian."""
    return struct.pack(f"<{len(tokens)}i", *tokens)


def unpacked(ids: bytes) -> tuple[int, ...]:
    """The tokens of `packed`."""
    return struct.unpack(f"<{len(ids) // 4}i", ids)


def digest(tokens: Sequence[int]) -> str:
    """The SHA-256 of `packed`, in hex."""
    return hashlib.sha256(packed(tokens)).hexdigest()


def read(vocabulary: Vocabulary, tokens: Sequence[int]) -> str:
    """Tokens as text, names of control tokens included."""
    return b"".join(map(vocabulary.piece, tokens)).decode("utf-8", "replace")


def spans_of(
    vocabulary: Vocabulary, template: ChatTemplate, prompt: ChatPrompt, pieces: Sequence[str], tokens: Sequence[int]
) -> tuple[Span, ...]:
    """The tokens of each message, as (start, end); none if nobody knows.

    A token that belongs to two is the one's that it begins in. What a message calls has no text of its own that could
    be marked: it is what stands behind the message's, up to the next one's.

    Args:
        pieces: `prompt` as the template has rendered it.
        tokens: the same in tokens.
    """
    text = "".join(pieces)
    places = _places(template, prompt, text)
    starts = _starts(vocabulary, tokens, text.encode("utf-8", "replace"))
    if places is None or starts is None:
        return ()
    plain = text.isascii()
    sizes = range(len(text) + 1) if plain else [0, *accumulate(len(each.encode("utf-8", "replace")) for each in text)]
    return tuple((bisect_left(starts, sizes[start]), bisect_left(starts, sizes[end])) for start, end in places)


def _places(template: ChatTemplate, prompt: ChatPrompt, text: str) -> list[Span] | None:
    """Where each message stands, in characters of the prompt's text."""
    marked = tuple(_marked(message) for message in prompt.messages)
    try:
        rendered = template.render(marked, prompt.tools, prompt.thinking, continues=prompt.continues)
    except InvalidRequest:
        return None
    found = _unmarked("".join(rendered))
    if found is None or found[0] != text:
        return None
    with_text = [message for message in prompt.messages if message.content.strip()]
    if len(with_text) != len(found[1]):
        return None
    texts = (_grown(message.content, place, text) for message, place in zip(with_text, found[1], strict=True))
    places = [next(texts) if message.content.strip() else None for message in prompt.messages]
    return _filled(prompt.messages, places, len(text))


def _grown(content: str, place: Span, text: str) -> Span:
    """With the white space around it, as far as the template has left it there."""
    start, end = place
    before = content[: len(content) - len(content.lstrip())]
    behind = content[len(content.rstrip()) :]
    start -= len(before) if before and text.endswith(before, 0, start) else 0
    end += len(behind) if behind and text.startswith(behind, end) else 0
    return start, end


def _filled(messages: Sequence[Message], places: Sequence[Span | None], end: int) -> list[Span]:
    """With the places of what has no text, or calls something."""
    filled: list[Span] = []
    before = 0
    for at, (message, place) in enumerate(zip(messages, places, strict=True)):
        following = next((each[0] for each in places[at + 1 :] if each is not None), end)
        start, stop = place or (before, before)
        if message.tool_calls:
            stop = following
        filled.append((start, stop))
        before = stop
    return filled


def _marked(message: Message) -> Message:
    """With marks inside the white space around its text, which templates like to trim."""
    text = message.content
    body = text.strip()
    if not body:
        return message
    at = text.index(body)
    return msgspec.structs.replace(
        message, content=f"{text[:at]}{OPEN}{body}{CLOSE}{text[at + len(body) :]}"
    )  # fmt: skip


def _unmarked(text: str) -> tuple[str, list[Span]] | None:
    """The text without marks, and where they stood; None if they are not in pairs."""
    kept: list[str] = []
    places: list[Span] = []
    length = 0
    opened: int | None = None
    for part in _parts(text):
        if part == OPEN:
            if opened is not None:
                return None
            opened = length
        elif part == CLOSE:
            if opened is None:
                return None
            places.append((opened, length))
            opened = None
        else:
            kept.append(part)
            length += len(part)
    return None if opened is not None else ("".join(kept), places)


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    for number, piece in enumerate(text.split(OPEN)):
        parts += [OPEN] if number else []
        for place, rest in enumerate(piece.split(CLOSE)):
            parts += [CLOSE] if place else []
            parts += [rest] if rest else []
    return parts


def _starts(vocabulary: Vocabulary, tokens: Sequence[int], text: bytes) -> list[int] | None:
    """Where in the text each token begins; None if the tokens are not the text. Some vocabularies put a token, or a
    space, before everything."""
    pieces = [vocabulary.piece(token) for token in tokens]
    whole = b"".join(pieces)
    before = len(whole) - len(text)
    if before < 0 or whole[before:] != text:
        return None
    return [max(start - before, 0) for start in [0, *accumulate(map(len, pieces))][:-1]]
