"""Hides the length of tokens from those who can see only the size of encrypted packets.

Chunks differ in size by their token alone, and token lengths are enough to guess at a text. So the changing part of
each chunk is padded, by a random string in `obfuscation`, to a multiple of a bucket that most tokens fit in once.
"""

import random
import string

import msgspec

__all__ = ["filling", "padding"]

BUCKET_BYTES = 16

# What the padding says does not matter, only its length: one random text, made once, is cut where it is needed.
_NOISE = "".join(random.choices(string.ascii_letters + string.digits, k=4096))  # noqa: S311
_encode = msgspec.json.Encoder().encode


def padding(text: str) -> str:
    """Between 1 and 16 random characters that fill up `text`, as JSON writes it, to a multiple of the bucket."""
    return filling(len(_encode(text)) - 2)


def filling(num_bytes: int) -> str:
    """The same for so many bytes."""
    length = BUCKET_BYTES - num_bytes % BUCKET_BYTES
    start = int(random.random() * (len(_NOISE) - BUCKET_BYTES))  # noqa: S311
    return _NOISE[start : start + length]
