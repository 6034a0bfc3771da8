"""What is asked of a search in vector stores, and what comes back.

`core.seams.Search` is the seam between whoever searches (the API, the tool `file_search`) and `retrieval`.
"""

from typing import Any, Literal

import msgspec

__all__ = ["Comparison", "Compound", "Filter", "Found", "Ranking", "SearchRequest", "SearchResult", "Value"]

Value = str | float | bool
"""Of an attribute. Every number is a float."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An attribute against a value, or against several with "in" and "nin".

    An attribute that a file does not have is unequal to everything. Values of different kinds are unequal, and neither
    is greater.
    """

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: str
    value: Value | tuple[Value, ...]


class Compound(msgspec.Struct, frozen=True, kw_only=True):
    """All of the filters, or any."""

    type: Literal["and", "or"]
    filters: "tuple[Comparison | Compound, ...]"


Filter = Comparison | Compound


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """How results are put in order.

    Args:
        threshold: leave out what scores less; from 0 to 1.
        text_weight, vector_weight: of the two orders that are joined; 0 does without one. Both may not be 0.
        rerank: let the reranker look at what was found, if there is one.
    """

    threshold: float = 0.0
    text_weight: float = 1.0
    vector_weight: float = 1.0
    rerank: bool = True


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A search.

    Args:
        stores: ids of vector stores of the project; they are searched together.
        queries: what is looked for; of several, whatever fits one of them.
        limit: most chunks that come back.
        rewrite: let a model make better queries of these first.
        tenant: whose fair share the models use that help.
    """

    project: str
    stores: tuple[str, ...]
    queries: tuple[str, ...]
    filter: Filter | None = None
    limit: int = 10
    ranking: Ranking = Ranking()
    rewrite: bool = False
    tenant: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found.

    Args:
        score: from 0 to 1; no chunk has a higher one than those before it.
        start, end: where it lies in the document's text, in characters.
        page: that it begins on, from 1; None in documents without.
        heading: the path of headings that it begins under.
    """

    store: str
    file: str
    filename: str
    score: float
    attributes: dict[str, Any]
    text: str
    start: int
    end: int
    page: int | None = None
    heading: tuple[str, ...] = ()


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, best first, and the queries that it was found with."""

    found: tuple[Found, ...]
    queries: tuple[str, ...]
