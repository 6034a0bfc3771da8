"""Secrets of endpoints, and signatures with them, as Standard Webhooks and OpenAI have it.

A secret is stored nowhere: it is a keyed hash, under the installation's secret, of what the endpoint is and of how
often its secret was rotated. What is stored is its SHA-256, so that a server with another installation secret notices
that it would sign with the wrong key.

Source: Standard Webhooks, specification 1.0.0, "Signature scheme"; openai-python, `lib/_webhooks.py`.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable

__all__ = ["PREFIX", "digest_of", "hint_of", "secret_of", "signed"]

PREFIX = "whsec_"
HINT = 4
"""Characters of a secret that may be seen, to tell two apart."""


def secret_of(installation: bytes, endpoint: str, generation: int) -> str:
    """The secret of an endpoint, for its owner and for `signed`."""
    derived = hmac.digest(installation, f"webhook\0{endpoint}\0{generation}".encode(), "sha256")
    return PREFIX + base64.b64encode(derived).decode()


def digest_of(secret: str) -> str:
    """What may be stored of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hint_of(secret: str) -> str:
    """What may be shown of it."""
    return f"{PREFIX}...{secret[-HINT:]}"


def signed(secrets: Iterable[str], message: str, body: bytes, now_s: float) -> dict[str, str]:
    """The headers that prove where a delivery comes from.

    Args:
        secrets: each makes a signature: while one is being replaced, either is good.
        message: the id of the delivery.
        now_s: of this attempt: receivers refuse what is older than five minutes.
    """
    said = f"{message}.{int(now_s)}.".encode() + body
    made = (
        base64.b64encode(hmac.digest(base64.b64decode(each.removeprefix(PREFIX)), said, "sha256")).decode()
        for each in secrets
    )
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(now_s)),
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }
