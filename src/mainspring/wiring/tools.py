"""The tools that responses may use and this server carries out, by type."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.core.seams import Search
    from mainspring.responses.tools import Kind

__all__ = ["server_tools"]


def server_tools(*, search: "Search") -> "dict[str, Kind]":
    """Every kind."""
    from mainspring.responses.sources import Shelf
    from mainspring.responses.tools_file_search import file_search

    shelf = Shelf()
    return {"file_search": file_search(search, shelf)}
