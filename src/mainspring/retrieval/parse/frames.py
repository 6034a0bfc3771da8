"""What a reader's process writes: frames of msgpack, each with its length before it in four bytes, highest first."""

import struct

import msgspec

from mainspring.retrieval.passages import Passage

__all__ = ["FRAME_BYTES", "Batch", "End", "Frame", "Trouble", "pack", "unpack"]

FRAME_BYTES = 1 << 20
"""The largest frame. Passages have 8,000 characters at most, and batches are sent long before they get there."""


class Batch(msgspec.Struct, tag="passages"):
    """Passages in order."""

    passages: list[Passage]


class Trouble(msgspec.Struct, tag="trouble"):
    """The document was refused, as `source.Refused` says. Nothing follows."""

    message: str
    code: str


class End(msgspec.Struct, tag="end"):
    """All of the document has been read. Nothing follows."""


Frame = Batch | Trouble | End

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    """A frame as it is written."""
    body = _encoder.encode(frame)
    return struct.pack(">I", len(body)) + body


def unpack(held: bytearray) -> list[Frame]:
    """The frames that are complete in what was read so far; they are taken out of it.

    Raises:
        ValueError: it holds something else.
    """
    frames: list[Frame] = []
    at = 0
    while len(held) - at >= 4:
        (size,) = struct.unpack_from(">I", held, at)
        if size > FRAME_BYTES:
            raise ValueError(f"a frame of {size} bytes")
        if len(held) - at - 4 < size:
            break
        frames.append(_decoder.decode(memoryview(held)[at + 4 : at + 4 + size]))
        at += 4 + size
    del held[:at]
    return frames
