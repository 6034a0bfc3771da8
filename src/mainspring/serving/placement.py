"""Which of several replicas gets a request. Pure.

What a replica has computed of a prompt stays in its cache, so requests that begin alike belong together; but a replica
that has more to do than others is slower than one that computes a prompt again.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from mainspring.core.types import ChatPrompt, GenerateRequest, InfillPrompt, TextPrompt

__all__ = ["SKEW", "Candidate", "choose", "prefix_of"]

SKEW = 4
"""The replica that is likely to have a prompt's beginning in its cache may have so many requests more than another."""
PREFIX_CHARS = 2048


class Candidate(Protocol):
    """A replica that takes requests: its name, and how many it has."""

    @property
    def name(self) -> str:
        """Unique among the candidates."""
        ...

    @property
    def num_here(self) -> int:
        """Requests that it has."""
        ...


C = TypeVar("C", bound=Candidate)


def choose(candidates: Sequence[C], key: bytes) -> C:
    """Who gets a request: the one with the fewest, or the one that prompts with this beginning go to if that has up to
    `SKEW` more. An empty key has no such one."""
    most = min(each.num_here for each in candidates) + (SKEW if key else 0)
    able = (each for each in candidates if each.num_here <= most)
    return max(able, key=lambda each: (_weight(key, each.name), -each.num_here))


def _weight(key: bytes, name: str) -> bytes:
    """Rendezvous hashing: each key has an order of the replicas that hardly changes when replicas come and go."""
    return hashlib.blake2b(key, digest_size=8, key=name.encode()[-64:]).digest() if key else b""


def prefix_of(request: GenerateRequest) -> bytes:
    """What requests have in common that share much of what a replica caches: the beginning of a text, and of a
    conversation what came before the model's first answer, which is the same in all its later turns."""
    prompt = request.prompt
    if isinstance(prompt, ChatPrompt):
        beginning: list[str] = []
        for message in prompt.messages:
            beginning.append(message.content)
            if message.role == "user":
                break
        text = "\0".join(beginning)
        text = text[:PREFIX_CHARS] + text[PREFIX_CHARS:][-PREFIX_CHARS:]
    elif isinstance(prompt, TextPrompt):
        text = prompt.text[:PREFIX_CHARS]
    elif isinstance(prompt, InfillPrompt):
        text = prompt.prefix[:PREFIX_CHARS]
    else:
        text = ",".join(map(str, prompt.ids[: PREFIX_CHARS // 4]))
    adapter = request.adapter.id if request.adapter else ""
    return f"{adapter}\0{text}".encode("utf-8", "surrogatepass")
