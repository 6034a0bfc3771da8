"""What the tool `web_search` searches with: a small protocol, and one that many engines' front ends answer to."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any, Protocol, cast
from urllib.parse import urlencode, urlsplit

import msgspec

from mainspring.core.errors import Unavailable
from mainspring.responses.outside import Outside, OutsideError

__all__ = ["Location", "Page", "Provider", "SearxNG", "WebQuery", "is_within"]

SEARCH_S, OPEN_S = 15.0, 20.0
MAX_RESULTS_BYTES, MAX_PAGE_BYTES = 2 * 2**20, 4 * 2**20
MAX_PAGE_CHARS = 200_000


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """About where the user is."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


class WebQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for.

    Args:
        domains: pages are of these or of domains below them; none means any.
        limit: most pages.
    """

    text: str
    domains: tuple[str, ...] = ()
    location: Location | None = None
    limit: int = 5


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page: of a search, with the part that fits; opened, with all of its text."""

    url: str
    title: str
    text: str


class Provider(Protocol):
    """Searches the web."""

    async def search(self, query: WebQuery) -> Sequence[Page]:
        """What was found, best first. Raises Unavailable."""
        ...

    async def open(self, url: str) -> Page:
        """A page's text. Raises OutsideError: it cannot be had."""
        ...


def is_within(url: str, domains: Sequence[str]) -> bool:
    """Whether a page is of one of the domains, or of one below."""
    host = (urlsplit(url).hostname or "").casefold()
    return not domains or any(host == each or host.endswith(f".{each}") for each in map(str.casefold, domains))


class SearxNG:
    """A search engine that answers as SearXNG does: GET URL/search?q=...&format=json.

    Args:
        url: where it is; the operator's own choice, so it may be anywhere.
        outside: reaches the pages that it finds.
    """

    def __init__(self, url: str, outside: Outside) -> None:
        self._url, self._outside = url.rstrip("/"), outside
        self._engine = Outside(("*",))

    async def search(self, query: WebQuery) -> Sequence[Page]:
        """See `Provider`."""
        sites = " OR ".join(f"site:{each}" for each in query.domains[:10])
        given = {"q": f"{query.text} {sites}".strip(), "format": "json"}
        try:
            async with self._engine.request(
                "GET", f"{self._url}/search?{urlencode(given)}", timeout_s=SEARCH_S, max_bytes=MAX_RESULTS_BYTES
            ) as answer:
                if answer.status != 200:
                    raise OutsideError(f"It answered with status {answer.status}.")
                found: Any = msgspec.json.decode(await answer.body()).get("results")
        except (OutsideError, msgspec.MsgspecError, AttributeError) as error:
            raise Unavailable(f"The search engine of tools.web_search failed: {error}", code="search_failed") from error
        pages = [
            page for each in (cast("list[Any]", found) if isinstance(found, list) else []) if (page := _page(each))
        ]
        return [each for each in pages if is_within(each.url, query.domains)][: query.limit]

    async def open(self, url: str) -> Page:
        """See `Provider`."""
        async with self._outside.request("GET", url, timeout_s=OPEN_S, max_bytes=MAX_PAGE_BYTES) as answer:
            kind = answer.header("content-type").partition(";")[0].strip().casefold()
            if answer.status != 200:
                raise OutsideError(f"It answered with status {answer.status}.")
            if kind not in ("text/html", "application/xhtml+xml", "text/plain"):
                raise OutsideError(f"It is of type {kind[:60]!r}, and no text.")
            body = (await answer.body()).decode("utf-8", "replace")
        title, text = ("", body) if kind == "text/plain" else _read(body)
        return Page(url=url, title=title or url, text=text[:MAX_PAGE_CHARS])


def _page(given: Any) -> Page | None:
    """A result; None if it is none, or no page of the web."""
    try:
        found = msgspec.convert(given, _Result)
    except msgspec.ValidationError:
        return None
    if urlsplit(found.url).scheme not in ("http", "https"):
        return None
    return Page(url=found.url, title=(found.title or found.url)[:500], text=found.content or "")


class _Result(msgspec.Struct):
    url: str
    title: str | None = None
    content: str | None = None


class _Text(HTMLParser):
    """What a reader sees of a page."""

    SILENT = frozenset({"script", "style", "noscript", "template", "svg", "nav", "footer"})
    BLOCKS = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre",
                        "ul", "ol", "table"})  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title, self.parts = "", list[str]()
        self._silent: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """See html.parser."""
        self._in_title = tag == "title"
        if tag in self.SILENT:
            self._silent.append(tag)
        elif tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """See html.parser. What was opened within and not closed is closed too."""
        self._in_title = False
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        """See html.parser."""
        if self._in_title:
            self.title += data
        elif not self._silent:
            self.parts.append(data)


def _read(html: str) -> tuple[str, str]:
    """(title, text) of a page."""
    reader = _Text()
    reader.feed(html)
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v\u00a0]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return " ".join(reader.title.split())[:500], re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
