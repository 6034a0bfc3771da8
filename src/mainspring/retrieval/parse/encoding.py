"""Bytes to text: which encoding, and reading it piece by piece. Nothing that is broken stops it."""

import codecs
import io
import re
from collections.abc import Iterator

from mainspring.retrieval.parse.blocks import clean
from mainspring.retrieval.parse.source import Refused, Source

__all__ = ["LINE_CHARS", "encoding_of", "lines", "pieces"]

PIECE_BYTES = 1 << 16
LINE_CHARS = 1 << 16
"""Longer lines come in pieces."""
SAMPLE_BYTES = 1 << 14

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_CONTROLS = bytes(each for each in range(32) if each not in b"\t\n\r\f\x08\x1b")
_NO_CHARSETS = {
    "idna",
    "punycode",
    "unicode-escape",
    "raw-unicode-escape",
    "unicode_escape",
    "raw_unicode_escape",
    "utf-7",
    "mbcs",
    "oem",
}
_CHARSET = re.compile(rb"(?:charset|encoding)\s{0,8}=\s{0,8}[\"']?([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)


def encoding_of(source: Source, *, declared: bool = False) -> str:
    """The encoding of a text: by its mark, UTF-8 if all of it is, what it says of itself (if `declared`), a guess.

    Raises:
        Refused: it is no text.
    """
    head = source.head(PIECE_BYTES)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if wide := _wide(head):
        return wide
    if len(head.translate(None, _CONTROLS)) < 0.95 * len(head):
        raise Refused(
            f"{source.name!r} is no text: its content is binary. Give the file the ending of its true format.",
            "unsupported_file",
        )
    broken = _first_broken(source)
    if broken is None:
        return "utf-8"
    said = _CHARSET.search(head[:4096]) if declared else None
    if said is not None and (known := _known(said[1].decode("ascii"))):
        return known
    source.file.seek(max(0, broken - SAMPLE_BYTES // 2))
    return _guess(source.file.read(SAMPLE_BYTES))


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of text in the Latin alphabet is zero."""
    half = len(head) // 2
    if half < 2:
        return None
    even, odd = head[0 : 2 * half : 2].count(0), head[1 : 2 * half : 2].count(0)
    if odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.7 * half and odd < 0.05 * half else None


def _first_broken(source: Source) -> int | None:
    """Where the first byte is that is not UTF-8."""
    decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
    source.file.seek(0)
    while True:
        piece = source.file.read(1 << 20)
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            return place + error.start
        if not piece:
            return None
        place += len(piece)


def _known(name: str) -> str | None:
    try:
        found = codecs.lookup(name)
        decoded = found.incrementaldecoder(errors="replace").decode(b"a") if found.incrementaldecoder else None
    except (LookupError, UnicodeError, AssertionError):
        return None
    return found.name if isinstance(decoded, str) and found.name not in _NO_CHARSETS else None


def _guess(sample: bytes) -> str:
    """The encoding that a sample with bytes that are not UTF-8 is most likely in."""
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    right = sum(1 for each in text if each > "\x7f") - wrong
    if right > 4 * wrong:  # UTF-8 with a few broken places
        return "utf-8"
    import charset_normalizer  # late: few files need it

    best = charset_normalizer.from_bytes(sample, steps=4, chunk_size=1024).best()
    name = best.encoding if best is not None else "cp1252"
    return "cp1252" if name.startswith(("utf", "ascii", "latin_1")) else _known(name) or "cp1252"


def pieces(source: Source, encoding: str) -> Iterator[str]:
    """The text, with `\\n` at the end of each line, in pieces of no certain length."""
    inner = codecs.getincrementaldecoder(encoding)(errors="replace")
    decoder = io.IncrementalNewlineDecoder(inner, translate=True)
    source.file.seek(0)
    while piece := source.file.read(PIECE_BYTES):
        yield clean(decoder.decode(piece))
    yield clean(decoder.decode(b"", final=True))


def lines(source: Source, encoding: str) -> Iterator[str]:
    """The lines with their ends. A line of more than `LINE_CHARS` comes in pieces, of which only the last has one."""
    rest = ""
    for piece in pieces(source, encoding):
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield line + "\n"
        if len(rest) > LINE_CHARS:
            yield rest
            rest = ""
    if rest:
        yield rest
