"""Attributes of files, and filters over them. Pure."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from mainspring.core.errors import InvalidRequest
from mainspring.core.search import Comparison, Compound, Filter, Value

__all__ = ["MAX_COMPARISONS", "MAX_DEPTH", "check_filter", "fits"]

MAX_DEPTH = 10
MAX_COMPARISONS = 200

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def fits(filter: Filter, attributes: Mapping[str, Value]) -> bool:  # noqa: A002 - what the API calls it
    """Whether a file with these attributes passes."""
    if isinstance(filter, Compound):
        verdicts = (fits(each, attributes) for each in filter.filters)
        return all(verdicts) if filter.type == "and" else any(verdicts)
    return _compares(filter, attributes.get(filter.key))


def _compares(comparison: Comparison, found: Value | None) -> bool:
    wanted = comparison.value
    kind = comparison.type
    if kind in ("in", "nin"):
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        return any(_equal(found, each) for each in values) == (kind == "in")
    if kind in ("eq", "ne"):
        return _equal(found, wanted) == (kind == "eq")
    if _kind(found) != _kind(wanted) or isinstance(found, bool):
        return False
    return _ORDERS[kind](found, wanted)


def _equal(found: Any, wanted: Any) -> bool:
    return _kind(found) == _kind(wanted) and found == wanted


def _kind(value: Any) -> str:
    """To Python, True is 1."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def check_filter(filter: Filter, where: str = "filters") -> None:  # noqa: A002 - what the API calls it
    """Refuse what is too deep, too large, or compares what has no order.

    Raises:
        InvalidRequest: names the place.
    """
    if _count(filter, where, MAX_DEPTH) > MAX_COMPARISONS:
        raise InvalidRequest(f"Invalid '{where}': at most {MAX_COMPARISONS} comparisons are taken.", param=where)


def _count(filter: Filter, where: str, deeper: int) -> int:  # noqa: A002 - see above
    if isinstance(filter, Compound):
        if not deeper:
            raise InvalidRequest(f"Invalid '{where}': filters are nested deeper than {MAX_DEPTH}.", param=where)
        return sum(_count(each, f"{where}.filters[{at}]", deeper - 1) for at, each in enumerate(filter.filters))
    is_list = isinstance(filter.value, tuple)
    if is_list != (filter.type in ("in", "nin")):
        wanted = "an array of values" if filter.type in ("in", "nin") else "one value"
        raise InvalidRequest(f"Invalid '{where}.value': {filter.type!r} takes {wanted}.", param=f"{where}.value")
    if filter.type in _ORDERS and isinstance(filter.value, bool):
        raise InvalidRequest(f"Invalid '{where}.value': booleans have no order.", param=f"{where}.value")
    return len(filter.value) if isinstance(filter.value, tuple) else 1
