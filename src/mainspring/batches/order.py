"""In which order the requests of a batch have their turns: those that begin alike one after the other.

The engine computes a beginning once for all requests that come with it while it is cached. So the requests are sorted
as a tree of beginnings would have them, by a key of some bytes each: hashes of the first 128, 256, 512 ... bytes, one
after the other. Requests that share a beginning share the start of their keys. A collision only costs time.
"""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

__all__ = ["key_of"]

LENGTHS = tuple(128 << step for step in range(10))
BYTES_EACH = 4
FIELDS = ("tools", "instructions", "messages", "prompt", "input")
"""What a prompt is made of, in the order in which it is."""


def key_of(body: Mapping[str, msgspec.Raw]) -> bytes:
    """The key of a request's body, whose fields are JSON."""
    text = b"".join(bytes(body[name]) for name in FIELDS if name in body)
    digest, key, start = blake2b(digest_size=BYTES_EACH), bytearray(), 0
    for length in LENGTHS:
        digest.update(text[start:length])
        key += digest.digest()
        start = length
        if length >= len(text):
            break
    return bytes(key)
