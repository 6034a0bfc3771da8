"""The parts of a multipart/form-data body, one after the other and while they arrive.

Nothing is kept of a part: its bytes go through `pieces` to whoever asks, and are thrown away if nobody does.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from mainspring.api.context import header
from mainspring.api.edge import ClientGone
from mainspring.core.errors import DeadlineExceeded, InvalidRequest, PayloadTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["Form", "Part"]

PIECE_TIMEOUT_S = 60.0
"""How long a client may send nothing."""
FORM_TIMEOUT_S = 3600.0
"""How long a form may take altogether."""
MAX_PARTS = 16
MAX_TEXT = 4096
"""Bytes of a field that is text."""


class Part:
    """A field of a form. `filename` is None if it was not sent as a file."""

    def __init__(self, form: "Form", name: str, filename: str | None) -> None:
        self._form, self.name, self.filename = form, name, filename
        self._is_over = False

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Its bytes, as they arrive; nothing the second time."""
        while not self._is_over:
            event = await self._form.next_event()
            if isinstance(event, bytes):
                yield event
            else:
                self._is_over = True

    async def text(self) -> str:
        """All of it, which is short and UTF-8.

        Raises:
            InvalidRequest: it is not.
        """
        found = bytearray()
        async for piece in self.pieces():
            found += piece
            if len(found) > MAX_TEXT:
                raise InvalidRequest(f"Invalid '{self.name}': it has more than {MAX_TEXT} bytes.", param=self.name)
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"Invalid '{self.name}': it is not UTF-8.", param=self.name) from None


class _End:
    """Of a part, or of the form."""


class Form:
    """The body of a request.

    Args:
        max_bytes: of the whole body, declared or sent.

    Raises:
        UnsupportedMediaType: it is no multipart/form-data.
        PayloadTooLarge: it says itself that it is larger.
    """

    def __init__(self, http: Request, max_bytes: int) -> None:
        headers = http.scope["headers"]
        kind, options = parse_options_header(header(headers, b"content-type"))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise UnsupportedMediaType("The body must be a form with a file: send it as multipart/form-data.")
        if (header(headers, b"content-encoding") or b"identity").lower() != b"identity":
            raise UnsupportedMediaType("Compressed bodies are not read: send the body without 'content-encoding'.")
        self._max_bytes = max_bytes
        if int(header(headers, b"content-length") or 0) > max_bytes:
            raise self._too_large()
        self._chunks = self._read(http)
        self._events = deque[Part | bytes | _End]()
        self._has_ended = False
        self._num_parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        try:
            self._parser = MultipartParser(boundary, self._callbacks())
        except FormParserError:
            raise _broken("its boundary is too long") from None

    async def parts(self) -> AsyncGenerator[Part]:
        """The parts; asking for the next one skips what is left of the last.

        Raises:
            InvalidRequest: this is no form, not all of one, or one with too many parts.
            PayloadTooLarge: it has more than `max_bytes`.
            DeadlineExceeded: the client sends nothing any more, or for too long.
            ClientGone: the client has left.
        """
        while isinstance(event := await self.next_event(), Part):
            yield event
            async for _ in event.pieces():
                pass

    async def next_event(self) -> Part | bytes | _End:
        """What comes next: a part, bytes of it, the end of it, and at last the end of the form."""
        while not self._events:
            chunk = await anext(self._chunks, b"")
            if not chunk and not self._has_ended:
                raise _broken("it ends in the middle")
            try:
                self._parser.write(chunk)
            except FormParserError:
                raise _broken("it is not what its content-type says") from None
            if self._has_ended:  # what follows the last boundary means nothing
                self._events.append(_End())
        return self._events.popleft()

    async def _read(self, http: Request) -> AsyncGenerator[bytes]:
        num_bytes, stream, end_s = 0, http.stream(), time.monotonic() + FORM_TIMEOUT_S
        while True:
            try:
                async with asyncio.timeout(min(PIECE_TIMEOUT_S, end_s - time.monotonic())):
                    chunk = await anext(stream, None)
            except TimeoutError:
                raise DeadlineExceeded("The body did not arrive in time: use a faster connection.") from None
            except ClientDisconnect:
                raise ClientGone from None
            if chunk is None:
                return
            num_bytes += len(chunk)
            if num_bytes > self._max_bytes:
                raise self._too_large()
            if chunk:
                yield chunk

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The body is larger than {self._max_bytes:,} bytes, the most that is read.")

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_part,
            "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
            "on_part_end": lambda: self._events.append(_End()),
            "on_end": self._end,
        }

    def _end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _begin_part(self) -> None:
        self._num_parts += 1
        if self._num_parts > MAX_PARTS:
            raise _broken(f"it has more than {MAX_PARTS} parts")
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise _broken("a part has no name")
        self._events.append(Part(self, _text(name), None if filename is None else _text(filename)))

    def _end(self) -> None:
        self._has_ended = True


def _text(value: bytes) -> str:
    """A name as browsers and clients write it: UTF-8, with three characters escaped (the HTML standard's way)."""
    text = value.decode(errors="replace")
    for escaped, character in (("%0A", "\n"), ("%0D", "\r"), ("%22", '"')):
        text = text.replace(escaped, character)
    return text


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"The body could not be parsed as multipart/form-data: {why}.", code="invalid_multipart")
