"""Better queries of those that people write, by a chat model of the project. What fails leaves a query as it is."""

import re
import secrets
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from mainspring.core import log
from mainspring.core.errors import MainspringError
from mainspring.core.seams import Deployments, Generate
from mainspring.core.search import SearchRequest
from mainspring.core.types import ChatPrompt, GenerateRequest, Message, ModelInfo, Sampling, Token

__all__ = ["Rewriting"]

MAX_TOKENS = 48
DEADLINE_S = 20.0
MAX_CHARS = 300
ASKED = (
    "You turn a question into a short search query for a document search. Keep every name, number and term. Leave out "
    "politeness and filler words. Answer with the query alone, on one line, without quotation marks."
)
_WORD = re.compile(r"\w{3,}")
_log = log.get("mainspring.retrieval")


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """Rewrites queries.

    Args:
        wanted: the deployment to ask; empty is the first that a project has.
    """

    generate: Generate
    models: Deployments
    wanted: str = ""

    async def rewrite(self, query: str, request: SearchRequest) -> str:
        """A better query, or this one: if there is no model, it fails, or what it writes is about something else."""
        found = _chat_models(self.models.list(request.project), self.wanted)
        if not found:
            return query
        try:
            written = await self._ask(query, found[0].id, request)
        except MainspringError as error:
            _log.warning("a query was not rewritten", error=error.message)
            return query
        line = " ".join(written.strip().strip("\"'`").split())
        shares = set(_WORD.findall(line.lower())) & set(_WORD.findall(query.lower()))
        return line if line and "\n" not in written.strip() and len(line) <= MAX_CHARS and shares else query

    async def _ask(self, query: str, model: str, request: SearchRequest) -> str:
        prompt = ChatPrompt(messages=(Message(role="system", content=ASKED), Message(role="user", content=query)))
        asked = GenerateRequest(
            id=f"rewrite-{secrets.token_hex(12)}", model=model, prompt=prompt, tenant=request.tenant,
            project=request.project, streams=False, max_tokens=MAX_TOKENS, sampling=Sampling(temperature=0.0),
            deadline_s=DEADLINE_S,
        )  # fmt: skip
        said: list[str] = []
        async with aclosing(self.generate(asked)) as events:
            async for event in events:
                if isinstance(event, Token) and not event.thought:
                    said.append(event.text)
        return "".join(said)


def _chat_models(models: Sequence[ModelInfo], wanted: str) -> list[ModelInfo]:
    return [each for each in models if each.kind == "chat" and not each.is_for_batches and wanted in ("", each.id)]
