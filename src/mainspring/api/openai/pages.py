"""What lists of items are asked for in the query."""

from typing import TypedDict

from starlette.requests import Request

from mainspring.core.errors import InvalidRequest

__all__ = ["Page", "flag_of", "page_of"]

MAX_PAGE = 100
USUAL = 20


class Page(TypedDict):
    """The item that a page begins behind, how many it has, and in which order."""

    after: str | None
    limit: int
    descending: bool


def page_of(http: Request) -> Page:
    """`after`, `limit` and `order`, which is the newest first.

    Raises:
        InvalidRequest: one of them is none.
    """
    text, order = http.query_params.get("limit", str(USUAL)), http.query_params.get("order", "desc")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidRequest(f"Invalid 'limit': it is a whole number from 1 to {MAX_PAGE}.", param="limit")
    if order not in ("asc", "desc"):
        raise InvalidRequest("Invalid 'order': it is asc or desc.", param="order")
    return {"after": http.query_params.get("after") or None, "limit": int(text), "descending": order == "desc"}


def flag_of(http: Request, name: str) -> bool | None:
    """A truth value; None if there is none.

    Raises:
        InvalidRequest: it is neither true nor false.
    """
    text = http.query_params.get(name)
    if text not in (None, "true", "false"):
        raise InvalidRequest(f"Invalid '{name}': it is true or false.", param=name)
    return None if text is None else text == "true"
