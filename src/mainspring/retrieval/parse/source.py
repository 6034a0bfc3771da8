"""What a reader is given: the file, its name, its limits; and how it says that it cannot read it."""

import os
from typing import BinaryIO

import msgspec

__all__ = ["Limits", "Refused", "Source"]


class Refused(Exception):
    """The document cannot be read. The message says why and what to do.

    `code` is `invalid_file` (broken, or past a limit) or `unsupported_file` (no reader), as OpenAI calls them.
    """

    def __init__(self, message: str, code: str = "invalid_file") -> None:
        super().__init__(message)
        self.message, self.code = message, code


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one document, beside those of the process.

    Args:
        text_chars: of all text that comes out of it.
        pages: of a PDF, and slides or sheets.
        inflated_bytes: what may be inflated of an archive (docx, pptx, xlsx, ...), its members together.
        ratio: how many times larger than its compressed form a member may become, once it is past 16 MiB.
        members: files in an archive.
    """

    text_chars: int = 2**30
    pages: int = 50_000
    inflated_bytes: int = 2 * 2**30
    ratio: int = 200
    members: int = 20_000


class Source:
    """An open file that can be read anywhere, and the name that its user gave it."""

    def __init__(self, file: BinaryIO, name: str, limits: Limits) -> None:
        self.file, self.limits = file, limits
        name = name.encode("utf-8", "replace").decode()  # halves of characters
        self.name = name.replace("\\", "/").rpartition("/")[2][:200]
        self.ending = os.path.splitext(self.name)[1].lower().lstrip(".")  # noqa: PTH122 - a name, not a path
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def head(self, size: int) -> bytes:
        """Its first bytes; the next reader begins at its beginning all the same."""
        self.file.seek(0)
        head = self.file.read(size)
        self.file.seek(0)
        return head
