"""Which reader a document needs: its content decides, and must be what the ending of its name says."""

from collections.abc import Callable, Iterator

from mainspring.retrieval.parse.archive import Archive
from mainspring.retrieval.parse.blocks import Block
from mainspring.retrieval.parse.delimited import delimited
from mainspring.retrieval.parse.html import html
from mainspring.retrieval.parse.pdf import pdf
from mainspring.retrieval.parse.sheets import sheets
from mainspring.retrieval.parse.slides import slides
from mainspring.retrieval.parse.source import Refused, Source
from mainspring.retrieval.parse.structured import structured
from mainspring.retrieval.parse.text import LANGUAGES, code, markdown, plain, tex
from mainspring.retrieval.parse.word import word

__all__ = ["ENDINGS", "Reader", "reader_of"]

Reader = Callable[[Source], Iterator[Block]]

_TEXT = "text"
_READERS: dict[str, tuple[str, Reader]] = {
    "PDF": ("pdf", pdf),
    "Word document": ("docx docm dotx dotm", word),
    "PowerPoint presentation": ("pptx pptm ppsx ppsm potx", slides),
    "Excel workbook": ("xlsx xlsm xltx xltm", sheets),
}
"""What content shows of itself -> the endings that it may have, and its reader."""

_TEXTS: dict[str, Reader] = {
    ending: reader
    for endings, reader in (
        ("md markdown mdown mdx rst adoc qmd", markdown),
        ("html htm xhtml shtml", html),
        ("csv tsv tab", delimited),
        ("json jsonl ndjson ipynb geojson", structured),
        ("tex latex sty ltx", tex),
        (" ".join(LANGUAGES), code),
        (
            "txt text log css scss less xml xsd xsl yaml yml sql bat ps1 make cmake properties env diff patch srt vtt",
            plain,
        ),
    )
    for ending in endings.split()
}
"""Ending -> reader of a text. One with another ending is plain."""

ENDINGS = {ending: kind for kind, (endings, _) in _READERS.items() for ending in endings.split()}
"""Ending -> what content with it must be."""

_OFFICE = {"word/": "Word document", "ppt/": "PowerPoint presentation", "xl/": "Excel workbook"}
_OTHERS = (
    (b"\x89PNG", "PNG image"), (b"\xff\xd8\xff", "JPEG image"), (b"GIF8", "GIF image"), (b"\x1f\x8b", "gzip archive"),
    (b"BZh91AY&SY", "bzip2 archive"), (b"\xfd7zXZ", "xz archive"), (b"7z\xbc\xaf", "7-Zip archive"),
    (b"Rar!\x1a", "RAR archive"), (b"{\\rtf", "RTF document"), (b"SQLite format 3\0", "SQLite database"),
    (b"\x7fELF", "program"), (b"OggS", "Ogg recording"), (b"ID3", "MP3 recording"), (b"%!PS", "PostScript document"),
)  # fmt: skip
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def reader_of(source: Source) -> Reader:
    """The reader for a document.

    Raises:
        Refused: nothing reads it, or its content is not what its name says.
    """
    if source.size == 0:
        raise Refused(f"{source.name!r} is empty.")
    content, named = _content(source), ENDINGS.get(source.ending, _TEXT)
    is_known = source.ending in ENDINGS or source.ending in _TEXTS
    if content not in (_TEXT, *_READERS):
        raise Refused(
            f"{source.name!r} is a {content}, which is not read here. Convert it to PDF, docx or plain text.",
            "unsupported_file",
        )
    if content != named and is_known:
        fix = "txt" if content == _TEXT else _READERS[content][0].split()[0]
        raise Refused(
            f"{source.name!r} is not what its name says: it holds a {content}. "
            f"Give it the ending of its true format, such as .{fix}."
        )
    return _TEXTS.get(source.ending, plain) if content == _TEXT else _READERS[content][1]


def _content(source: Source) -> str:
    """What the content is: one of `_READERS`, `_TEXT`, or the name of something that is not read."""
    head = source.head(1 << 16)
    if b"%PDF-" in head[:1024]:
        return "PDF"
    if head.startswith(b"PK\x03\x04"):
        main = Archive(source).main_part()
        return next((kind for folder, kind in _OFFICE.items() if main.startswith(folder)), "zip archive")
    if head.startswith(_OLE):
        return _compound(source)
    return next((kind for mark, kind in _OTHERS if head.startswith(mark)), _TEXT)


def _compound(source: Source) -> str:
    """Old Office files, and new ones with a password, which are kept in the old container."""
    source.file.seek(0)
    rest = b""
    while piece := source.file.read(1 << 20):
        if _ENCRYPTED in rest + piece:
            raise Refused(f"{source.name!r} is protected by a password: save it without one.")
        rest = piece[-64:]
    return "document in Office's old format (doc, xls, ppt)"
