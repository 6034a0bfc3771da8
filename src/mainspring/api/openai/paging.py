"""Pages of a list: `after`, `limit`, `order`, and `metadata[key]=value`."""

from typing import NamedTuple

from starlette.requests import Request

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_PAGE", "Page", "chosen", "labels_in", "page"]

MAX_PAGE = 100


class Page(NamedTuple):
    """The page that is asked for: behind which id it begins, how many it has, and in which order."""

    after: str | None
    limit: int
    descending: bool


def page(http: Request, *, descending: bool = False) -> Page:
    """The page that the query asks for.

    Args:
        descending: the order if it names none.

    Raises:
        InvalidRequest: a value that is none; `param` names it.
    """
    text = http.query_params.get("limit", "20")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidRequest(f"Invalid 'limit': it is a whole number from 1 to {MAX_PAGE}.", param="limit")
    order = chosen(http, "order", ("asc", "desc")) or ("desc" if descending else "asc")
    return Page(http.query_params.get("after") or None, int(text), order == "desc")


def chosen(http: Request, name: str, values: tuple[str, ...]) -> str | None:
    """One of several words, or None if the query has none. Raises InvalidRequest for another."""
    value = http.query_params.get(name)
    if value is not None and value not in values:
        raise InvalidRequest(f"Invalid '{name}': expected one of {', '.join(values)}.", param=name)
    return value


def labels_in(http: Request) -> dict[str, str]:
    """`metadata[key]=value`, any number of times. Raises InvalidRequest for `metadata` in another form."""
    found = {
        name[9:-1]: value
        for name, value in http.query_params.multi_items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    if http.query_params.get("metadata") not in (None, "", "null"):
        raise InvalidRequest("'metadata' is given as metadata[key]=value.", param="metadata")
    return found
