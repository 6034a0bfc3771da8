"""What lists are asked for in the query, in every dialect: `after`, `limit`, `order`, flags, `metadata[key]=value`."""

from typing import TypedDict

from starlette.requests import Request

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_PAGE", "Page", "Part", "chosen", "flag_of", "labels_in", "page_of", "part_of"]

MAX_PAGE = 100


class Part(TypedDict):
    """The id that a page begins behind, and how many it has."""

    after: str | None
    limit: int


class Page(Part):
    """And in which order."""

    descending: bool


def part_of(http: Request, *, usual: int = 20, most: int = MAX_PAGE) -> Part:
    """`after` and `limit`, which is `usual` if the query has none.

    Raises:
        InvalidRequest: it is no limit.
    """
    text = http.query_params.get("limit", str(usual))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= most):
        raise InvalidRequest(f"Invalid 'limit': it is a whole number from 1 to {most}.", param="limit")
    return {"after": http.query_params.get("after") or None, "limit": int(text)}


def page_of(http: Request, *, usual: int = 20, most: int = MAX_PAGE, descending: bool = True) -> Page:
    """The same, and `order`.

    Args:
        descending: the order if the query names none.

    Raises:
        InvalidRequest: one of them is none.
    """
    order = chosen(http, "order", ("asc", "desc"))
    return {
        **part_of(http, usual=usual, most=most),
        "descending": descending if order is None else order == "desc",
    }  # fmt: skip


def chosen(http: Request, name: str, words: tuple[str, ...]) -> str | None:
    """One of several words; None if the query has none. Raises InvalidRequest for another."""
    value = http.query_params.get(name)
    if value is not None and value not in words:
        raise InvalidRequest(f"Invalid '{name}': expected one of {', '.join(words)}.", param=name)
    return value


def flag_of(http: Request, name: str) -> bool | None:
    """A truth value; None if there is none. Raises InvalidRequest if it is neither true nor false."""
    value = chosen(http, name, ("true", "false"))
    return None if value is None else value == "true"


def labels_in(http: Request) -> tuple[dict[str, str], bool]:
    """`metadata[key]=value`, any number of times; and whether it is `metadata=null` instead: what has none.

    Raises:
        InvalidRequest: `metadata` in another form.
    """
    found = {
        name[9:-1]: value
        for name, value in http.query_params.multi_items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    plain = http.query_params.get("metadata")
    if plain not in (None, "", "null"):
        raise InvalidRequest("'metadata' is given as metadata[key]=value, or as metadata=null.", param="metadata")
    return found, plain == "null"
