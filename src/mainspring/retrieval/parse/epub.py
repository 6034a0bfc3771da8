"""EPUB: the pages of a book in the order in which they are read."""

import codecs
import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from mainspring.retrieval.parse.archive import Archive
from mainspring.retrieval.parse.blocks import Block
from mainspring.retrieval.parse.html import page
from mainspring.retrieval.parse.source import Refused, Source

__all__ = ["epub"]


def epub(source: Source) -> Iterator[Block]:
    """The text of a book."""
    archive = Archive(source)
    if "META-INF/encryption.xml" in archive and b"aes" in archive.read("META-INF/encryption.xml").lower():
        raise Refused(f"{source.name!r} is encrypted: get it without protection.")
    for name in _spine(archive):
        yield from page(codecs.iterdecode(archive.pieces(name), "utf-8", "replace"), is_xml=True)


def _spine(archive: Archive) -> list[str]:
    """The names of its pages."""
    package = next(
        (each.attributes.get("full-path", "") for each in archive.events("META-INF/container.xml")
         if each.name == "rootfile" and each.attributes), "",
    )  # fmt: skip
    folder = posixpath.dirname(package)
    names: dict[str, str] = {}
    order: list[str] = []
    for event in archive.events(package):
        given = event.attributes or {}
        if event.name == "item" and "html" in given.get("media-type", ""):
            names[given.get("id", "")] = posixpath.normpath(posixpath.join(folder, unquote(given.get("href", ""))))
        elif event.name == "itemref":
            order.append(given.get("idref", ""))
    return [names[each] for each in dict.fromkeys(order) if each in names]
