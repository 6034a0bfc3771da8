"""The process in which a document is read: from standard input, which is its file; to standard output, frames."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from mainspring.retrieval.parse.blocks import passages
from mainspring.retrieval.parse.formats import reader_of
from mainspring.retrieval.parse.frames import Batch, End, Trouble, pack
from mainspring.retrieval.parse.source import Limits, Refused, Source
from mainspring.retrieval.passages import Passage

__all__ = ["main", "parsed"]

BATCH_CHARS = 1 << 15


def parsed(source: Source) -> Iterator[Passage]:
    """A document's passages.

    Raises:
        Refused: it cannot be read, or no text is in it.
    """
    found = False
    for passage in passages(reader_of(source)(source), source.limits.text_chars):
        found = True
        yield passage
    if not found:
        raise Refused(f"{source.name!r} holds no text.")


def main(name: str, limits: dict[str, Any]) -> None:
    """Read the document `name` from standard input. Whatever happens, the last frame says how it ended, unless a limit
    of the process does."""
    name = name.encode("utf-8", "replace").decode()
    with open(0, "rb", closefd=False) as file, open(1, "wb", closefd=False) as out:

        def write(frame: Batch | Trouble | End) -> None:
            out.write(pack(frame))

        try:
            _read(Source(file, name, msgspec.convert(limits, Limits)), write)
            write(End())
        except Refused as refused:
            write(Trouble(refused.message, refused.code))
        except MemoryError:
            write(Trouble(f"{name[:200]!r} needs more memory than a document may take: divide it.", "invalid_file"))
        except Exception:  # noqa: BLE001 - hostile documents find every way to fail, and each is the document's
            traceback.print_exc(file=sys.stderr)
            write(Trouble(f"{name[:200]!r} is broken: its reader could not make sense of it.", "invalid_file"))
        out.flush()
    os._exit(0)  # what libraries do at their end may fail, and costs time


def _read(source: Source, write: Callable[[Batch], None]) -> None:
    batch: list[Passage] = []
    size = 0
    for passage in parsed(source):
        batch.append(passage)
        size += len(passage.text) + sum(map(len, passage.heading)) + 64
        if size >= BATCH_CHARS:
            write(Batch(batch))
            batch, size = [], 0
    write(Batch(batch))
