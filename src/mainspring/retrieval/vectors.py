"""Texts to vectors, through whatever embedding model the project has deployed.

A store's vectors are all of one model's version, which the store remembers; which deployment serves it may change. A
chunk that is longer than the model reads has a vector for each part, so that no text goes unread: such a model cuts
nothing by itself (`engine/pool.py`), and half a chunk's vector would look like any other.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import ContextLengthExceeded, ModelNotFound
from mainspring.core.seams import Deployments, Embed
from mainspring.core.types import EmbedRequest, ModelInfo
from mainspring.retrieval.passages import Chunk

__all__ = ["Count", "Vectors", "estimate", "parts"]

Count = Callable[[str], int]
"""Tokens of a text."""

SPARE_TOKENS = 4
"""Of a model's context, for the special tokens around a text."""
LEAST_TOKENS = 4
TOGETHER = 64
"""Texts of one request."""
DEADLINE_S = 600.0
_WORD = re.compile(r"\w+|[^\w\s]")


def estimate(text: str) -> int:
    """Tokens, about, where there is no tokenizer to ask: rather too many than too few in European languages."""
    return sum(1 + (len(word) - 1) // 5 if word.isascii() else len(word) for word in _WORD.findall(text))


def parts(text: str, most: int, count: Count) -> list[str]:
    """The text in pieces of at most `most` tokens, of about equal length, cut at white space where there is some."""
    if count(text) <= most or len(text) < 2:
        return [text]
    middle = len(text) // 2
    cut = max(text.rfind(" ", middle // 2, middle), text.rfind("\n", middle // 2, middle)) + 1 or middle
    return [*parts(text[:cut], most, count), *parts(text[cut:], most, count)]


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Makes them.

    Args:
        models: what is deployed.
        wanted: the deployment that a new store's vectors are made with; empty is the first that a project has.
        tokenizer: (name@version) -> counts as that model does; None if it cannot be asked.
    """

    embed: Embed
    models: Deployments
    wanted: str = ""
    tokenizer: Callable[[str], Count | None] = lambda _: None

    def choose(self, project: str) -> str:
        """The model of a new store's vectors, as name@version; empty if the project has none deployed."""
        found = [each for each in self.models.list(project) if each.kind == "embedding"]
        named = [each for each in found if each.id == self.wanted]
        return next((identity(each) for each in (named if self.wanted else found)), "")

    def served(self, project: str, model: str) -> ModelInfo | None:
        """A deployment of the project that stands for the model; None if there is none."""
        found = self.models.list(project)
        return next((each for each in found if each.kind == "embedding" and identity(each) == model), None)

    def count(self, model: str) -> Count:
        """Counts tokens as the model does, or about so."""
        return (self.tokenizer(model) if model else None) or estimate

    async def of_chunks(
        self, chunks: Sequence[Chunk], *, project: str, model: str, tenant: str
    ) -> list[NDArray[np.float16]]:
        """For each chunk one vector or several: (parts, dimensions).

        Raises:
            MainspringError: whatever the model's deployment says; `ModelNotFound` if it is gone.
        """
        info = self.served(project, model)
        assert info is not None, "the caller has looked"
        most = max(info.context_length - SPARE_TOKENS, LEAST_TOKENS)
        while True:
            texts = [self._texts(chunk, most, model) for chunk in chunks]
            try:
                rows = await self._all([text for each in texts for text in each], info, project, tenant)
            except ContextLengthExceeded:  # the count was an estimate
                if most <= LEAST_TOKENS:
                    raise
                most //= 2
                continue
            ends = np.cumsum([len(each) for each in texts])
            return [each.astype(np.float16) for each in np.split(rows, ends[:-1])]

    def _texts(self, chunk: Chunk, most: int, model: str) -> list[str]:
        """A chunk's parts, each under the path of headings that tells what it is about, unless that is too long."""
        count, heading = self.count(model), " > ".join(chunk.heading)
        above = count(heading) + 1 if heading else 0
        if above > most // 4:
            heading, above = "", 0
        pieces = parts(chunk.text, most - above, count)
        return [f"{heading}\n{piece}" if heading else piece for piece in pieces]

    async def of_query(self, query: str, *, project: str, model: str, tenant: str) -> NDArray[np.float32] | None:
        """A query's vector, of length 1; None if nothing makes such vectors now."""
        info = self.served(project, model)
        if info is None:
            return None
        most = max(info.context_length - SPARE_TOKENS, LEAST_TOKENS)
        while True:
            try:
                rows = await self._all(parts(query, most, self.count(model)), info, project, tenant)
            except ContextLengthExceeded:
                if most <= LEAST_TOKENS:
                    raise
                most //= 2
                continue
            mean = rows.mean(axis=0)
            return mean / max(float(np.linalg.norm(mean)), 1e-12)

    async def of_parts(self, texts: Sequence[str], *, project: str, model: str, tenant: str) -> NDArray[np.float32]:
        """A vector of length 1 for each text, of as much of its beginning as the model reads: (texts, dimensions).

        Raises:
            MainspringError: as `of_chunks`.
        """
        info = self.served(project, model)
        if info is None:
            raise ModelNotFound(f"Nothing makes vectors of {model!r}.")
        most = max(info.context_length - SPARE_TOKENS, LEAST_TOKENS)
        while True:
            try:
                rows = await self._all(
                    [parts(text, most, self.count(model))[0] for text in texts], info, project, tenant
                )
            except ContextLengthExceeded:
                if most <= LEAST_TOKENS:
                    raise
                most //= 2
                continue
            return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    async def _all(self, texts: list[str], info: ModelInfo, project: str, tenant: str) -> NDArray[np.float32]:
        found: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), TOGETHER):
            request = EmbedRequest(
                id=f"embd-{secrets.token_hex(12)}", model=info.id, project=project, tenant=tenant,
                inputs=tuple(texts[start : start + TOGETHER]), deadline_s=DEADLINE_S,
            )  # fmt: skip
            answer = await self.embed(request)
            found.append(np.frombuffer(answer.vectors, "<f4").reshape(-1, answer.dimensions))
        return np.concatenate(found)


def identity(info: ModelInfo) -> str:
    """Of the model behind a deployment: equal for all whose vectors can be compared."""
    return f"{info.model or info.id}@{info.version}"
