"""Which examples say the same, or nearly: by hashes of their text, a few bytes an example.

Equal is equal after Unicode's compatibility form, case and blanks are taken away. Nearly equal is found by MinHash
(Broder 1997) over runs of three words, in bands (Leskovec et al., "Mining of Massive Datasets", 3.4): two texts that
share nine runs of ten are found almost surely, two that share half of them in three cases of a hundred.
"""

import hashlib
import re
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.types import Message
from mainspring.train.examples import Chat, Completion, Example, Preference, Reinforcement

__all__ = ["Leak", "Texts", "digest", "leak", "normalise", "shared", "sketch"]

NUM_BANDS, ROWS = 8, 8
RUN = 3
MAX_WORDS = 4096
"""Of an example: what comes after them is not compared."""

_BLANKS = re.compile(r"\s+")
_rng = np.random.Philox(key=np.array([7, 0], np.uint64))
_FACTORS: NDArray[np.uint64] = _rng.random_raw(NUM_BANDS * ROWS) | np.uint64(1)
_TERMS: NDArray[np.uint64] = _rng.random_raw(NUM_BANDS * ROWS)


def normalise(text: str) -> str:
    """What makes no difference between two texts is taken away."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()


def digest(text: str) -> int:
    """64 bits of a text; 10 million different ones collide with a chance of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode("utf-8", "replace"), digest_size=8).digest(), "big")


def sketch(text: str) -> NDArray[np.uint64]:
    """A number for each band: two texts of which one is equal are nearly the same. [bands]"""
    words = normalise(text).split(" ", MAX_WORDS)[:MAX_WORDS]
    hashes = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words], np.uint64)
    runs = np.zeros(max(1, len(hashes) - RUN + 1), np.uint64)
    for at in range(min(RUN, len(hashes))):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + hashes[at : at + len(runs)]
    runs ^= runs >> np.uint64(29)
    mixed = _FACTORS[:, None] * runs + _TERMS[:, None]
    least = (mixed >> np.uint64(16)).min(axis=1).reshape(NUM_BANDS, ROWS)
    bands = np.zeros(NUM_BANDS, np.uint64)
    for row in range(ROWS):
        bands = bands * np.uint64(0xBF58476D1CE4E5B9) + least[:, row]
    return bands


def shared(training: NDArray[np.uint64], validation: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows of `validation` are nearly a row of `training`: [examples, bands] each."""
    found = np.zeros(len(validation), np.bool_)
    for band in range(NUM_BANDS):
        found |= np.isin(validation[:, band], training[:, band])
    return found


class Texts:
    """What is kept of the text of a file's examples: hashes only, 80 bytes an example."""

    def __init__(self) -> None:
        self.whole, self.asked = array("Q"), array("Q")
        self._bands = array("Q")

    def __len__(self) -> int:
        return len(self.whole)

    def add(self, example: Example) -> None:
        """The next example."""
        asked, said = _texts(example)
        whole = digest(f"{_text(asked)}\n{_text(said)}")
        self.whole.append(whole)
        self.asked.append(digest(_text(asked)) if normalise(_text(asked)) else whole)
        # Not of the instructions: many examples have them in common and would all look alike.
        told = [message for message in (*asked, *said) if message.role not in ("system", "developer")]
        self._bands.extend(sketch(_text(told)).tolist())

    @property
    def sketches(self) -> NDArray[np.uint64]:
        """[examples, bands]."""
        return np.array(self._bands, np.uint64).reshape(-1, NUM_BANDS)

    @property
    def num_duplicates(self) -> int:
        """Examples that repeat an earlier one."""
        return len(self.whole) - len(set(self.whole))


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """Of how many examples of the validation the training has: the same; only the question, with another answer; only
    nearly the same text (estimated)."""

    same: int = 0
    same_question: int = 0
    nearly: int = 0


def leak(training: Texts, validation: Texts) -> Leak:
    """What the validation cannot tell, because it was learnt."""
    whole, asked = set(training.whole), set(training.asked)
    near = shared(training.sketches, validation.sketches)
    same = same_question = nearly = 0
    for each, question, is_near in zip(validation.whole, validation.asked, near, strict=True):
        if each in whole:
            same += 1
        elif question in asked:
            same_question += 1
        elif is_near:
            nearly += 1
    return Leak(same=same, same_question=same_question, nearly=nearly)


def _texts(example: Example) -> tuple[Sequence[Message], Sequence[Message]]:
    """What is asked and what is answered."""
    match example:
        case Chat():
            return example.messages[:-1], example.messages[-1:]
        case Completion():
            asked = Message(role="user", content=example.prompt)
            return [asked], [Message(role="assistant", content=example.completion)]
        case Preference():
            return example.messages, (*example.chosen, *example.rejected)
        case Reinforcement():
            return example.messages, ()


def _text(messages: Iterable[Message]) -> str:
    parts: list[str] = []
    for message in messages:
        parts.append(message.content)
        parts += [f"{call.name} {call.arguments}" for call in message.tool_calls]
    return "\n".join(parts)
