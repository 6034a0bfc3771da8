"""Answers from documents for chats: Azure's "On Your Data", over vector stores.

The last thing that the user said is searched for, the model is given what was found, and its answer cites it: `[doc1]`
is the first of `Context.citations`. Markers of anything else are taken out (`citations.py`), so that all that is left
resolve.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest
from mainspring.core.seams import Generate, Search
from mainspring.core.search import Filter, Found, Ranking, SearchRequest
from mainspring.core.types import Constraint, Event, Finished, GenerateRequest, Message, Token
from mainspring.responses.citations import Citer, Source
from mainspring.responses.judging import WORDS, Judge
from mainspring.responses.sources import shortened
from mainspring.responses.tools import Annotated

__all__ = ["Citation", "Context", "Data", "Grounded", "Span", "cited", "ground"]

NOT_FOUND = "The requested information is not in the documents. Please try another question."
"""The whole answer if nothing was found and answers are to be from the documents alone."""
THRESHOLDS = (0.0, 0.1, 0.2, 0.35, 0.5)
"""The least score of a passage, by `strictness` from 1 to 5. Scores are those of vector stores."""
MAX_QUERY_CHARS = 2048
IN_SCOPE = (
    "Answer from the documents below and from nothing else. If they do not hold the answer, say so. After each "
    "sentence put the document that it rests on in brackets, such as [doc1]."
)
OUT_OF_SCOPE = (
    "Use the documents below where they help, and otherwise what you know. After each sentence that rests on a "
    "document put it in brackets, such as [doc1]."
)


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """What a chat is to be answered from.

    Args:
        limit: most passages.
        strictness: from 1 to 5: how well passages must fit; see `THRESHOLDS`.
        in_scope: answer from them alone.
        contexts: what of it to tell the client.
    """

    stores: tuple[str, ...]
    filter: Filter | None = None
    limit: int = 5
    strictness: int = 3
    in_scope: bool = True
    contexts: tuple[str, ...] = ("citations", "intent")


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """A passage, as Azure writes it. `file_id` is ours."""

    content: str
    title: str | None
    url: str | None
    filepath: str | None
    chunk_id: str
    file_id: str


class Document(Citation, frozen=True, kw_only=True):
    """The same among all that was found."""

    search_queries: list[str]
    data_source_index: int = 0
    original_search_score: float
    filter_reason: str | UnsetType = UNSET


class Span(msgspec.Struct, frozen=True):
    """A marker in an answer: its characters, the document, and whether that bears the sentence out. `support_score` is
    as of `FileCitation`. Ours."""

    start_index: int
    end_index: int
    document: int
    supported: bool
    support_score: float | UnsetType = UNSET


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer rests on. `intent` is a JSON list of what was searched for; `citation_spans` come last."""

    citation_spans: list[Span] | UnsetType = UNSET
    citations: list[Citation] | UnsetType = UNSET
    intent: str | UnsetType = UNSET
    all_retrieved_documents: list[Document] | UnsetType = UNSET


class Grounded(msgspec.Struct, frozen=True, kw_only=True):
    """A chat with documents in it.

    Args:
        sources: what markers resolve to.
        constraint: what the answer must be, if that is known already.
    """

    messages: tuple[Message, ...]
    context: Context
    sources: dict[int, Source]
    constraint: Constraint | None


async def ground(messages: Sequence[Message], data: Data, search: Search, *, project: str, tenant: str) -> Grounded:
    """Look for what the user asked last, and put it before the model.

    Raises:
        InvalidRequest: nobody asks anything; and as `Search`.
        NotFound: as `Search`.
    """
    asked = next((each.content for each in reversed(messages) if each.role == "user" and each.content.strip()), "")
    if not asked:
        raise InvalidRequest("With 'data_sources' a message of the user's must ask something.", param="messages")
    result = await search(
        SearchRequest(
            project=project, stores=data.stores, queries=(asked[:MAX_QUERY_CHARS],), filter=data.filter,
            limit=data.limit, rewrite=True, tenant=tenant,
            ranking=Ranking(threshold=THRESHOLDS[data.strictness - 1]),
        )
    )  # fmt: skip
    texts = shortened([each.text for each in result.found])
    shown = result.found[: len(texts)]
    sources = {at: _source(at, text) for at, text in enumerate(texts, 1)}
    queries = [query for query in result.queries if query] or [asked[:MAX_QUERY_CHARS]]
    constraint = Constraint("regex", re.escape(NOT_FOUND)) if data.in_scope and not shown else None
    return Grounded(
        messages=_with_documents(messages, shown, texts, in_scope=data.in_scope) if shown else tuple(messages),
        context=_context(data, shown, result.found, queries), sources=sources, constraint=constraint,
    )  # fmt: skip


def _source(number: int, text: str) -> Source:
    return Source(text, lambda start, end, supported: Span(start, end, number, supported), f"[doc{number}]")


def _with_documents(
    messages: Sequence[Message], found: Sequence[Found], texts: Sequence[str], *, in_scope: bool
) -> tuple[Message, ...]:
    """Documents stand in the system message, which is the first."""
    documents = [
        f"[doc{at}] {each.filename}\n{text}" for at, (each, text) in enumerate(zip(found, texts, strict=True), 1)
    ]
    told = "\n\n".join([IN_SCOPE if in_scope else OUT_OF_SCOPE, *documents])
    first = messages[0]
    if first.role in ("system", "developer"):
        head = msgspec.structs.replace(first, content=f"{first.content}\n\n{told}")
        return (head, *messages[1:])
    return (Message(role="system", content=told), *messages)


def _context(data: Data, shown: Sequence[Found], found: Sequence[Found], queries: list[str]) -> Context:
    everything = [
        Document(
            **_fields(each), search_queries=queries, original_search_score=each.score,
            filter_reason=UNSET if at < len(shown) else "rank",
        )
        for at, each in enumerate(found)
    ]  # fmt: skip
    return Context(
        citations=[Citation(**_fields(each)) for each in shown] if "citations" in data.contexts else UNSET,
        intent=msgspec.json.encode(queries).decode() if "intent" in data.contexts else UNSET,
        all_retrieved_documents=everything if "all_retrieved_documents" in data.contexts else UNSET,
    )


def _fields(found: Found) -> dict[str, Any]:
    title = " > ".join(found.heading) or found.filename
    return {
        "content": found.text, "title": title, "url": None, "filepath": found.filename,
        "chunk_id": f"{found.start}-{found.end}", "file_id": found.file,
    }  # fmt: skip


def cited(
    generate: Generate, sources: Mapping[int, Source], spans: Mapping[int, list[Span]], judge: Judge = WORDS
) -> Generate:
    """A `Generate` whose text has no markers but those of `sources`. What it says can be later than what it counts, by
    a marker's length.

    Args:
        spans: by choice, what its markers are: filled before the choice has finished.
    """

    async def run(request: GenerateRequest) -> AsyncGenerator[Event]:
        readers = [_Reader(sources) for _ in range(request.n)]
        bound = msgspec.structs.replace(request, cites=tuple(sources))
        async with aclosing(generate(bound)) as events:
            async for event in events:
                match event:
                    case Token(thought=False, echo=False):
                        yield msgspec.structs.replace(event, text=readers[event.choice].feed(event.text))
                    case Finished():
                        if rest := readers[event.choice].end():
                            yield Token(event.choice, rest, num=0)
                        spans[event.choice].extend(await readers[event.choice].spans(judge))
                        yield event
                    case _:
                        yield event

    return run


class _Reader:
    """Reads one choice: text comes out at once, spans at the end."""

    def __init__(self, sources: Mapping[int, Source]) -> None:
        self._citer, self._found = Citer(sources), list[Annotated]()

    def feed(self, text: str) -> str:
        """More of what the model wrote; what can be told now."""
        return self._kept(self._citer.feed(text))

    def end(self) -> str:
        """What was held back."""
        return self._kept(self._citer.end())

    def _kept(self, pieces: Sequence[str | Annotated]) -> str:
        self._found += [each for each in pieces if isinstance(each, Annotated)]
        return "".join(each for each in pieces if isinstance(each, str))

    async def spans(self, judge: Judge) -> list[Span]:
        """What the markers are."""
        annotations: list[Any] = [each.annotation for each in await judge(self._found)]
        return [each for each in annotations if isinstance(each, Span)]
