"""The tool `web_search`: the model searches the web and opens pages that were found; answers cite them as links."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.core.seams import Count, uncounted
from mainspring.core.types import Tool
from mainspring.responses.citations import Source
from mainspring.responses.items import UrlCitation
from mainspring.responses.items_tools import OpenPageAction, SearchAction, WebSearchCall, WebSource
from mainspring.responses.outside import OutsideError
from mainspring.responses.sources import HOW_TO_CITE, NOTHING, Shelf, Sources, shortened
from mainspring.responses.tools import Annotator, Call, Caller, Done, Kind, Opened, Preparation, Progress, Replay, Step
from mainspring.responses.web import Location, Page, Provider, WebQuery, is_within

__all__ = ["no_web_search", "web_search"]

SIZES = {"low": (3, 3_000), "medium": (5, 8_000), "high": (10, 16_000)}
"""search_context_size -> pages of a search, and characters of them that the model is shown."""
MAX_QUERY_CHARS = 1024
WHERE = "the web"
SEARCH, OPEN = "web_search", "open_page"


class _Filters(msgspec.Struct, frozen=True, kw_only=True):
    allowed_domains: list[str] = []


class _Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has sent, as the edge has checked it."""

    filters: _Filters = _Filters()
    user_location: Location | None = None
    search_context_size: str = "medium"


class _Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A page as it is kept, with its number."""

    number: int
    url: str
    title: str
    text: str


def web_search(provider: Provider, shelf: Shelf, count: Count = uncounted) -> Kind:
    """The tool over a search engine."""

    async def make(definition: Mapping[str, Any], caller: Caller) -> WebSearch:
        def counted(item: str) -> None:
            who: Any = {"project": caller.project, "key": caller.principal, "subject": caller.model}
            count("web_response", f"web-{caller.response}", **who)
            count("web_search", item, **who)

        return WebSearch(msgspec.convert(dict(definition), _Definition), provider, shelf.of(caller), counted)

    return Kind(make=make, items=frozenset({"web_search_call"}), replay=_replay)


def no_web_search() -> Kind:
    """The tool of a server that has no search engine: items are read, and nothing is searched."""

    async def make(definition: Mapping[str, Any], caller: Caller) -> WebSearch:  # noqa: ARG001
        raise InvalidRequest(
            "This server has no search engine: set tools.web_search to the URL of one.",
            code="unsupported_parameter", param="type",
        )  # fmt: skip

    return Kind(make=make, items=frozenset({"web_search_call"}), replay=_replay)


class WebSearch:
    """See the module."""

    prefix = "ws_"

    def __init__(
        self, given: _Definition, provider: Provider, sources: Sources, counted: Callable[[str], None]
    ) -> None:
        self._given, self._provider, self._sources = given, provider, sources
        self._counted = counted  # told of each search's item
        self._limit, self._chars = SIZES[given.search_context_size]
        self._reads = sources.join()
        self._found: set[str] = set()  # pages that may be opened: a text cannot make the model ask for others
        self.functions = (_search_function(given), _OPEN_FUNCTION)

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
        """Pages of earlier turns keep their numbers, since the model sees them, and may be opened."""
        for passage in msgspec.convert(kept.get("passages", []), list[_Passage]):
            self._sources.add(_source(passage), passage.number)
            self._found.add(passage.url)

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        """Search, or open a page."""
        steps = self._search(call) if call.name == SEARCH else self._open(call)
        async for step in steps:
            yield step

    async def _search(self, call: Call) -> AsyncGenerator[Step]:
        text = _argument(call.arguments, "query")
        action = SearchAction(query=text, queries=[text] if text else [])
        yield Opened(WebSearchCall(id=call.item, status="in_progress", action=action))
        yield Progress("response.web_search_call.in_progress")
        if not text:
            failed = WebSearchCall(id=call.item, status="failed", action=action)
            yield Done(failed, 'The arguments are to be {"query": "..."}. Nothing was searched.')
            return
        self._counted(call.item)
        yield Progress("response.web_search_call.searching")
        query = WebQuery(
            text=text, domains=tuple(self._given.filters.allowed_domains), location=self._given.user_location,
            limit=self._limit,
        )  # fmt: skip
        try:
            pages = list(await self._provider.search(query))
        except Unavailable as error:
            yield Done(WebSearchCall(id=call.item, status="failed", action=action), error.message)
            return
        yield Progress("response.web_search_call.completed")
        self._found |= {page.url for page in pages}
        if not pages:
            self._sources.nothing(WHERE)
        item = WebSearchCall(
            id=call.item, status="completed",
            action=SearchAction(query=text, queries=[text], sources=[WebSource(page.url) for page in pages]),
            results=[{"type": "text_result", **msgspec.to_builtins(page)} for page in pages],
        )  # fmt: skip
        yield self._done(item, pages)

    async def _open(self, call: Call) -> AsyncGenerator[Step]:
        url = _argument(call.arguments, "url")
        item = WebSearchCall(id=call.item, status="in_progress", action=OpenPageAction(url=url or None))
        yield Opened(item)
        yield Progress("response.web_search_call.in_progress")
        try:
            if url not in self._found or not is_within(url, self._given.filters.allowed_domains):
                raise OutsideError("Only pages that a search has found can be opened.")
            page = await self._provider.open(url)
        except OutsideError as error:
            yield Done(msgspec.structs.replace(item, status="failed"), f"It could not be opened: {error}")
            return
        yield Progress("response.web_search_call.completed")
        yield self._done(msgspec.structs.replace(item, status="completed"), [page])

    def _done(self, item: WebSearchCall, pages: Sequence[Page]) -> Done:
        passages: list[_Passage] = []
        for page, text in zip(pages, shortened([page.text for page in pages], self._chars), strict=False):
            passage = _Passage(number=0, url=page.url, title=page.title, text=text)
            passages.append(msgspec.structs.replace(passage, number=self._sources.add(_source(passage))))
        texts = [f"[{each.number}] {each.title} ({each.url})\n{each.text}" for each in passages]
        told = "\n\n".join([*texts, HOW_TO_CITE.format(passages[0].number)]) if passages else NOTHING
        return Done(item, told, {"passages": msgspec.to_builtins(passages)})


def _source(passage: _Passage) -> Source:
    """A page, which stands in the text as a link, as OpenAI writes it."""

    def annotation(start: int, end: int, supported: bool) -> UrlCitation:
        return UrlCitation(passage.url, passage.title, start, end, supported)

    url = passage.url.replace("(", "%28").replace(")", "%29")
    return Source(passage.text, annotation, f"([{urlsplit(passage.url).hostname}]({url}))")


def _argument(arguments: str, name: str) -> str:
    """An argument of a call; nothing if the model wrote nonsense."""
    try:
        found: Any = msgspec.json.decode(arguments, type=dict[str, Any]).get(name)
    except msgspec.MsgspecError:
        return ""
    return found.strip()[:MAX_QUERY_CHARS] if isinstance(found, str) else ""


def _function(name: str, description: str, argument: str, meaning: str) -> Tool:
    schema = {
        "type": "object", "properties": {argument: {"type": "string", "minLength": 1, "description": meaning}},
        "required": [argument], "additionalProperties": False,
    }  # fmt: skip
    return Tool(name=name, description=description, parameters=msgspec.json.encode(schema).decode(), strict=True)


def _search_function(given: _Definition) -> Tool:
    """The place is told to the model, whose queries may then name it."""
    place = given.user_location
    known = [place.city, place.region, place.country, place.timezone] if place else []
    where = f" The user is about here: {', '.join(each for each in known if each)}." if any(known) else ""
    only = f" Only pages of {', '.join(given.filters.allowed_domains)}." if given.filters.allowed_domains else ""
    return _function(SEARCH, f"Searches the web.{only}{where}", "query", "What to look for.")


_OPEN_FUNCTION = _function(OPEN, "Reads a page that web_search has found.", "url", "Of the page.")


def _replay(item: Mapping[str, Any]) -> Replay:
    """Of an item that a client has sent."""
    action: Mapping[str, Any] = item.get("action") or {}
    name, argument = (OPEN, "url") if action.get("type") == "open_page" else (SEARCH, "query")
    value = action.get(argument) or next(iter(action.get("queries") or ()), "")
    arguments = msgspec.json.encode({argument: value}).decode()
    found = [f"{each.get('title', '')}\n{each.get('text', '')}" for each in item.get("results") or ()]
    return Replay(name, arguments, "\n\n".join(shortened(found)) or "The results are no longer known.")
