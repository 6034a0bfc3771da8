"""The tool `file_search`: vector stores are searched with the model's own queries, and answers cite what was found."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.seams import Count, Search, uncounted
from mainspring.core.search import Comparison, Compound, Filter, Found, Ranking, SearchRequest
from mainspring.core.types import Tool
from mainspring.responses.citations import Source
from mainspring.responses.items import FileCitation
from mainspring.responses.items_tools import FileSearchCall, FileSearchResult
from mainspring.responses.sources import HOW_TO_CITE, NOTHING, Shelf, Sources, shortened
from mainspring.responses.tools import Annotator, Call, Caller, Done, Kind, Opened, Preparation, Progress, Replay, Step

__all__ = ["file_search"]

LIMIT = 20
"""OpenAI's number of results where none is asked for."""
MAX_QUERIES, MAX_QUERY_CHARS = 4, 2048
WHERE = "the files"

_FUNCTION = Tool(
    name="file_search",
    description="Searches the user's files. Call it before you answer whatever the files may say something about.",
    parameters=msgspec.json.encode(
        {
            "type": "object",
            "properties": {
                "queries": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1},
                    "minItems": 1,
                    "maxItems": MAX_QUERIES,
                    "description": "What to look for, in the words that the files may use.",
                }
            },
            "required": ["queries"],
            "additionalProperties": False,
        }
    ).decode(),
    strict=True,
)


class _HybridSearch(msgspec.Struct, frozen=True, kw_only=True):
    embedding_weight: float
    text_weight: float


class _RankingOptions(msgspec.Struct, frozen=True, kw_only=True):
    ranker: str | None = None
    score_threshold: float | None = None
    hybrid_search: _HybridSearch | None = None


class _Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has sent, as the edge has checked it."""

    vector_store_ids: list[str]
    filters: dict[str, Any] | None = None
    max_num_results: int | None = None
    ranking_options: _RankingOptions = _RankingOptions()


class _Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A passage as it is kept, with its number. `start` and `end` are characters of the document's text."""

    number: int
    file: str
    filename: str
    text: str
    start: int | None = None
    end: int | None = None
    page: int | None = None


def file_search(search: Search, shelf: Shelf, count: Count = uncounted) -> Kind:
    """The tool over a search."""

    async def make(definition: Mapping[str, Any], caller: Caller) -> FileSearch:
        given = msgspec.convert({key: value for key, value in definition.items() if value is not None}, _Definition)
        return FileSearch(given, caller, search, shelf.of(caller), count)

    return Kind(make=make, items=frozenset({"file_search_call"}), replay=_replay)


class FileSearch:
    """See the module."""

    prefix = "fs_"
    functions = (_FUNCTION,)

    def __init__(
        self, given: _Definition, caller: Caller, search: Search, sources: Sources, count: Count
    ) -> None:  # fmt: skip
        self._given, self._caller, self._search, self._sources = given, caller, search, sources
        self._count = count
        self._filter = None if given.filters is None else filter_of(given.filters)
        self._ranking = _ranking(given.ranking_options)
        self._reads = sources.join()

    def annotator(self, begun: str = "") -> Annotator | None:
        """What reads the next message."""
        return self._sources.annotator(begun) if self._reads else None

    def cites(self) -> Sequence[int]:
        """What was found by all tools."""
        return self._sources.numbers() if self._reads else ()

    async def begin(self, listed: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Preparation]:  # noqa: ARG002
        """Nothing."""
        for each in tuple[Preparation, ...]():
            yield each

    def recall(self, item: Mapping[str, Any], kept: Mapping[str, Any]) -> None:  # noqa: ARG002 - kept has all of it
        """Passages of earlier turns keep their numbers, since the model sees them."""
        for passage in msgspec.convert(kept.get("passages", []), list[_Passage]):
            self._sources.add(_source(passage), passage.number)

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        """Search."""
        queries = _queries(call.arguments)
        yield Opened(FileSearchCall(id=call.item, status="in_progress", queries=queries))
        yield Progress("response.file_search_call.in_progress")
        if not queries:
            failed = FileSearchCall(id=call.item, status="failed", queries=[])
            yield Done(failed, 'The arguments are to be {"queries": ["what to look for"]}. Nothing was searched.')
            return
        caller = self._caller
        self._count("file_search", call.item, project=caller.project, key=caller.principal, subject=caller.model)
        yield Progress("response.file_search_call.searching")
        result = await self._search(
            SearchRequest(
                project=self._caller.project, stores=tuple(self._given.vector_store_ids), queries=tuple(queries),
                filter=self._filter, limit=self._given.max_num_results or LIMIT, ranking=self._ranking,
                tenant=self._caller.principal,
            )
        )  # fmt: skip
        yield Progress("response.file_search_call.completed")
        passages = self._numbered(result.found)
        item = FileSearchCall(
            id=call.item, status="completed", queries=queries, results=[_result(each) for each in result.found]
        )
        yield Done(item, _told(result.found, passages), {"passages": msgspec.to_builtins(passages)})

    def _numbered(self, found: Sequence[Found]) -> list[_Passage]:
        """The passages that the model is shown."""
        if not found:
            self._sources.nothing(WHERE)
        passages: list[_Passage] = []
        for each, text in zip(found, shortened([each.text for each in found]), strict=False):
            passage = _Passage(
                number=0, file=each.file, filename=each.filename, text=text, start=each.start, end=each.end,
                page=each.page,
            )  # fmt: skip
            passages.append(msgspec.structs.replace(passage, number=self._sources.add(_source(passage))))
        return passages


def _told(found: Sequence[Found], passages: Sequence[_Passage]) -> str:
    if not passages:
        return NOTHING
    texts: list[str] = []
    for each, passage in zip(found, passages, strict=False):
        place = [each.filename, *([f"page {each.page}"] if each.page else ()), " > ".join(each.heading)]
        texts.append(f"[{passage.number}] {', '.join(filter(None, place))}\n{passage.text}")
    return "\n\n".join([*texts, HOW_TO_CITE.format(passages[0].number)])


def _source(passage: _Passage) -> Source:
    def annotation(start: int, end: int, supported: bool) -> FileCitation:  # noqa: ARG001 - files are cited at a place
        return FileCitation(passage.file, passage.filename, start, supported)

    return Source(passage.text, annotation)


def _result(found: Found) -> FileSearchResult:
    return FileSearchResult(
        file_id=found.file, filename=found.filename, score=found.score, text=found.text, attributes=found.attributes
    )


def _queries(arguments: str) -> list[str]:
    """What the model looks for; nothing if it wrote nonsense."""
    try:
        given = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.MsgspecError:
        return []
    queries: Any = given.get("queries", given.get("query"))
    listed: list[Any] = list(cast("list[Any]", queries)) if isinstance(queries, list) else [queries]
    return [each[:MAX_QUERY_CHARS] for each in listed if isinstance(each, str) and each.strip()][:MAX_QUERIES]


def _ranking(given: _RankingOptions) -> Ranking:
    weights = given.hybrid_search
    if weights is not None and not (weights.text_weight > 0 or weights.embedding_weight > 0):
        raise InvalidRequest("One of the two weights must be above 0.", param="ranking_options.hybrid_search")
    return Ranking(
        threshold=given.score_threshold or 0.0,
        text_weight=1.0 if weights is None else weights.text_weight,
        vector_weight=1.0 if weights is None else weights.embedding_weight,
    )


def filter_of(given: Mapping[str, Any]) -> Filter:
    """The filter that a client has sent."""
    if given["type"] in ("and", "or"):
        return Compound(type=given["type"], filters=tuple(filter_of(each) for each in given["filters"]))
    value: Any = given["value"]
    values = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
    return Comparison(type=given["type"], key=given["key"], value=values)


def _replay(item: Mapping[str, Any]) -> Replay:
    """Of an item that a client has sent."""
    found = [f"{each.get('filename') or ''}\n{each.get('text') or ''}" for each in item.get("results") or ()]
    arguments = msgspec.json.encode({"queries": item.get("queries") or []}).decode()
    return Replay(_FUNCTION.name, arguments, "\n\n".join(shortened(found)) or "The results are no longer known.")
