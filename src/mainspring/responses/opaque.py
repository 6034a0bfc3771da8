"""What clients carry for us and are not to read things into: `encrypted_content` of thoughts and compactions.

It is packed, not encrypted: nothing in it is a secret from the client, who has said or been told all of it, and whoever
makes one up has only written a prompt.
"""

import base64
import binascii
import zlib
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest

__all__ = ["seal", "unseal"]

MARK = "ms1_"
MAX_BYTES = 16 * 2**20


def seal(content: dict[str, Any]) -> str:
    """Pack a JSON object."""
    return MARK + base64.urlsafe_b64encode(zlib.compress(msgspec.json.encode(content))).decode()


def unseal(text: str, param: str) -> dict[str, Any]:
    """What `seal` was given.

    Raises:
        InvalidRequest: it is not from here, or has been changed.
    """
    try:
        if not text.startswith(MARK):
            raise ValueError(text[:8])
        inflate = zlib.decompressobj()
        packed = base64.urlsafe_b64decode(text.removeprefix(MARK))
        content = inflate.decompress(packed, MAX_BYTES)  # never more of a bomb than that
        if not inflate.eof:
            raise ValueError("cut off")
        return msgspec.json.decode(content, type=dict[str, Any])
    except (ValueError, binascii.Error, zlib.error, msgspec.MsgspecError):
        raise InvalidRequest(
            f"'{param}' is not what this server made: send it as it was, or leave the item out.", param=param
        ) from None
