"""Documents that are archives of XML: members are inflated as they are read, within limits, and never written anywhere.

Of their names, those that lead out of the archive are refused, whoever might unpack it; archives within are not opened.
XML is read by events: no document type, hence no entities, and nothing is fetched.
"""

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple, NoReturn
from xml.parsers import expat

from mainspring.retrieval.parse.source import Refused, Source

__all__ = ["RELATION", "Archive", "Event"]

RELATION = "r:"
"""Begins the name of an attribute in the namespace of relationships: `r:id` is another one than `id`."""
PIECE_BYTES = 1 << 16
FREE_BYTES = 16 << 20
"""A member is held to the ratio once it is larger."""
DEPTH = 1000


class Event(NamedTuple):
    """A start tag (`attributes` is a dict), an end tag, or text (`name` is empty). Names are without namespaces."""

    name: str
    attributes: dict[str, str] | None
    text: str = ""


class Archive:
    """An open archive."""

    def __init__(self, source: Source) -> None:
        self._source, self._inflated = source, 0
        try:
            self._zip = zipfile.ZipFile(source.file)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            self._broken(error)
        members = self._zip.infolist()
        if len(members) > source.limits.members:
            raise Refused(f"{source.name!r} holds more than {source.limits.members:,} files: it is no document.")
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = member.filename.replace("\\", "/")
            if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
                raise Refused(f"{source.name!r} holds {name[:80]!r}, a name that leads out of it. Save it anew.")
            self._members.setdefault(name.lower(), member)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._members

    def read(self, name: str, most: int = 1 << 20) -> bytes:
        """A small member; the beginning of one that is larger. Empty if there is none."""
        held = b""
        for piece in self.pieces(name):
            held += piece
            if len(held) >= most:
                break
        return held[:most]

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member's content; nothing if there is none.

        Raises:
            Refused: it is broken, has a password, or inflates to more than it may.
        """
        member = self._members.get(name.lower())
        if member is None:
            return
        if member.flag_bits & 1:
            raise Refused(f"{self._source.name!r} is protected by a password: save it without one.")
        limits, size = self._source.limits, 0
        try:
            with self._zip.open(member) as file:
                while piece := file.read(PIECE_BYTES):
                    size += len(piece)
                    self._inflated += len(piece)
                    if self._inflated > limits.inflated_bytes or (
                        size > FREE_BYTES and size > limits.ratio * max(member.compress_size, 1)
                    ):
                        raise Refused(
                            f"{self._source.name!r} inflates to more than {limits.ratio} times its size, or than "
                            f"{limits.inflated_bytes >> 20:,} MiB: it is not read. Divide it."
                        )
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
            self._broken(error)

    def _broken(self, error: Exception) -> NoReturn:
        raise Refused(
            f"{self._source.name!r} is broken: its archive cannot be read ({error}). Save it anew."
        ) from error

    def events(self, name: str) -> Iterator[Event]:
        """A member that is XML, by start tags, end tags and texts in order; nothing if there is none.

        Raises:
            Refused: as `pieces` does; or it is no XML, declares a document type, or is nested too deeply.
        """
        reader = _Xml(self._source.name)
        for piece in self.pieces(name):
            yield from reader.feed(piece, last=False)
        if name in self:
            yield from reader.feed(b"", last=True)

    def main_part(self) -> str:
        """The name of an Office document's main member; empty if there is none."""
        for event in self.events("_rels/.rels"):
            if event.attributes and event.attributes.get("Type", "").endswith("/officeDocument"):
                return event.attributes.get("Target", "").lstrip("/")
        return ""

    def relations(self, name: str) -> dict[str, str]:
        """What a member refers to: id -> name of another member. What lies outside of the archive is left out."""
        folder, _, base = name.rpartition("/")
        found: dict[str, str] = {}
        for event in self.events(f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels"):
            if event.name == "Relationship" and event.attributes and event.attributes.get("TargetMode") != "External":
                target = event.attributes.get("Target", "")
                path = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
                found[event.attributes.get("Id", "")] = path
        return found


class _Xml:
    """Expat's events, collected from one piece of input to the next."""

    def __init__(self, document: str) -> None:
        self._document, self._events, self._depth = document, list[Event](), 0
        self._names: dict[str, str] = {}
        parser = self._parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.buffer_size = PIECE_BYTES
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, piece: bytes, *, last: bool) -> list[Event]:
        try:
            self._parser.Parse(piece, last)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise Refused(f"{self._document!r} is broken: its XML cannot be read ({error}). Save it anew.") from error
        events, self._events = self._events, []
        return events

    def _short(self, full: str) -> str:
        """An attribute's name without its namespace."""
        short = self._names.get(full)
        if short is None:
            space, _, short = full.rpartition(" ")
            if space.endswith("/relationships"):
                short = RELATION + short
            if len(self._names) < 10_000:
                self._names[full] = short
        return short

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH:
            raise Refused(f"{self._document!r} is nested more than {DEPTH:,} levels deep: save it anew.")
        given = {self._short(each): value for each, value in attributes.items()}
        self._events.append(Event(name.rpartition(" ")[2], given))

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._events.append(Event(name.rpartition(" ")[2], None))

    def _text(self, text: str) -> None:
        self._events.append(Event("", None, text))

    def _doctype(self, *_: object) -> None:
        raise Refused(f"{self._document!r} declares a document type, which no such file needs: save it anew.")
