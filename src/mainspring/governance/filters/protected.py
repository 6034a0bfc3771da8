"""Protected material: long runs of words, or of code, that also stand in texts which the operator has indexed.

The index holds fingerprints, not texts: hashes of `GRAM` tokens in a row, of which winnowing keeps one in every window
of `WINDOW` (Schleimer, Wilkerson and Aiken: Winnowing, SIGMOD 2003). Because the window is no longer than the gram,
neighbouring fingerprints of a copied run touch, and those at one distance from the source cover it without holes: every
run of at least `RUN` tokens is found, and none shorter than `RUN - 2 * (WINDOW - 1)` is.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.governance.filters.verdict import Citation
from mainspring.models.safetensors import read_tensors

__all__ = ["GRAM", "RUN", "WINDOW", "Copy", "Index", "Kind", "Material", "build_index", "collect"]

Array = Any
Kind = Literal["text", "code"]

GRAM, WINDOW, RUN = 8, 8, 50
LEAST = RUN - 2 * (WINDOW - 1)
MAX_FILE_BYTES = 4 * 2**20
CODE = frozenset(
    ".c .cc .cpp .cs .go .h .hpp .java .js .jsx .kt .lua .php .pl .py .r .rb .rs .scala .sh .sql .ts "  # noqa: SIM905
    ".tsx".split()
)
PROSE = frozenset((".txt", ".md", ".rst", ".tex", ".html"))

_WORDS = re.compile(r"[^\W_]+")
_CODE = re.compile(r"[^\W\d]\w*|\d+|[^\w\s]")
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+-]+(?: (?:AND|OR|WITH) [\w.+-]+)*)")


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """A text to be indexed, and what is cited when it is found again."""

    name: str
    text: str
    kind: Kind
    url: str = ""
    license: str = ""


class _Source(msgspec.Struct, frozen=True, array_like=True):
    name: str
    url: str
    license: str


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a text that stands in the index: where, how many tokens, and of what."""

    kind: Kind
    name: str
    span: tuple[int, int]
    num_tokens: int
    citation: Citation


def collect(folder: Path, *, url: str = "", license: str = "") -> Iterable[Material]:  # noqa: A002
    """The files of a folder that are prose or code, by their endings, in order.

    Args:
        url: what the path below the folder is appended to for a citation.
        license: of files that do not say theirs (as SPDX-License-Identifier).
    """
    for path in sorted(folder.rglob("*")):
        kind = "code" if path.suffix.lower() in CODE else "text" if path.suffix.lower() in PROSE else None
        if kind is None or not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        text = path.read_text("utf-8", "replace")
        name = path.relative_to(folder).as_posix()
        found = _SPDX.search(text[:4096])
        yield Material(
            name=name,
            text=text,
            kind=kind,
            url=f"{url.rstrip('/')}/{name}" if url else "",
            license=found[1] if found else license,
        )


def _tokens(text: str, kind: Kind) -> tuple[list[str], list[tuple[int, int]]]:
    matches = list((_WORDS if kind == "text" else _CODE).finditer(text))
    words = [match[0].casefold() if kind == "text" else match[0] for match in matches]
    return words, [match.span() for match in matches]


def _grams(words: Sequence[str]) -> Array:
    """A hash of every `GRAM` tokens in a row."""
    import numpy as np

    if len(words) < GRAM:
        return np.zeros(0, np.uint64)
    hashes = np.array([zlib.crc32(word.encode()) for word in words], np.uint64)
    mixed = (hashes + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    grams = np.zeros(len(words) - GRAM + 1, np.uint64)
    for offset in range(GRAM):
        grams = grams * np.uint64(0x100000001B3) + mixed[offset : offset + len(grams)]
    return grams ^ (grams >> np.uint64(29))


def _winnowed(grams: Array) -> Array:
    """Positions of the fingerprints: of every window the smallest hash, of equal ones the last."""
    import numpy as np

    if len(grams) <= WINDOW:
        return np.array([len(grams) - 1 - int(grams[::-1].argmin())] if len(grams) else [], np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(grams, WINDOW)
    last = WINDOW - 1 - windows[:, ::-1].argmin(1)
    return np.unique(last + np.arange(len(windows)))


def build_index(materials: Iterable[Material], path: Path) -> int:
    """Write the fingerprints of all materials to `path` (a safetensors file); returns how many there are."""
    import numpy as np

    sources: list[_Source] = []
    parts: dict[str, list[Array]] = {f"{kind}.{part}": [] for kind in ("text", "code") for part in ("hash", "at")}
    for material in materials:
        grams = _grams(_tokens(material.text, material.kind)[0])
        where = _winnowed(grams)
        parts[f"{material.kind}.hash"].append(grams[where].view(np.int64))
        parts[f"{material.kind}.at"].append(np.stack([np.full_like(where, len(sources)), where], 1).astype(np.int32))
        sources.append(_Source(material.name, material.url, material.license))
    arrays: dict[str, Array] = {"sources": np.frombuffer(msgspec.msgpack.encode(sources), np.uint8)}
    for kind in ("text", "code"):
        hashes = np.concatenate([*parts[f"{kind}.hash"], np.zeros(0, np.int64)])
        order = np.argsort(hashes, kind="stable")
        at = np.concatenate([*parts[f"{kind}.at"], np.zeros((0, 2), np.int32)])
        arrays |= {f"{kind}.hash": hashes[order], f"{kind}.at": np.ascontiguousarray(at[order])}
    _write(path, arrays)
    return len(arrays["text.hash"]) + len(arrays["code.hash"])


def _write(path: Path, arrays: dict[str, Array]) -> None:
    """As safetensors; whole or not at all."""
    names = {"int64": "I64", "int32": "I32", "uint8": "U8"}
    header: dict[str, Any] = {}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": names[str(array.dtype)], "shape": array.shape, "data_offsets": (begin, end)}
    encoded = msgspec.json.encode(header)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for array in arrays.values():
            file.write(array.tobytes())
    partial.replace(path)


class Index:
    """An index that was built, mapped into memory, not read."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        entries = read_tensors(path)
        wanted = ["sources", *(f"{kind}.{part}" for kind in ("text", "code") for part in ("hash", "at"))]
        if any(name not in entries for name in wanted):
            raise InvalidRequest("This is no index of protected material: build it with `mainspring policies index`.")
        data = np.memmap(path, np.uint8, "r")
        dtypes = {"I64": np.int64, "I32": np.int32, "U8": np.uint8}
        arrays = {
            name: np.frombuffer(data[entries[name].begin : entries[name].end], dtypes[entries[name].dtype])
            for name in wanted
        }
        self._hashes = {kind: arrays[f"{kind}.hash"] for kind in ("text", "code")}
        self._at = {kind: arrays[f"{kind}.at"].reshape(-1, 2) for kind in ("text", "code")}
        self._sources = msgspec.msgpack.decode(arrays["sources"].tobytes(), type=list[_Source])

    def find(self, text: str, kind: Kind) -> list[Copy]:
        """Every run of the text that stands in a source, the longest of each source."""
        import numpy as np

        words, where = _tokens(text, kind)
        if len(words) < LEAST:
            return []
        grams = _grams(words).view(np.int64)
        hashes = self._hashes[kind]
        lows = cast("Array", np.searchsorted(hashes, grams))
        highs = cast("Array", np.searchsorted(hashes, grams, "right"))
        diagonals: dict[tuple[int, int], list[int]] = {}
        for position in np.nonzero(highs > lows)[0].tolist():
            for source, at in self._at[kind][lows[position] : min(highs[position], lows[position] + 64)].tolist():
                diagonals.setdefault((source, at - position), []).append(position)
        best: dict[int, tuple[int, int]] = {}
        for (source, _), found in diagonals.items():
            start, end = _longest_run(found)
            if end - start >= LEAST and end - start > best.get(source, (0, 0))[1] - best.get(source, (0, 0))[0]:
                best[source] = start, end
        return [self._copy(kind, source, run, where) for source, run in sorted(best.items())]

    def _copy(self, kind: Kind, source: int, run: tuple[int, int], where: list[tuple[int, int]]) -> Copy:
        one = self._sources[source]
        return Copy(
            kind=kind,
            name=one.name,
            span=(where[run[0]][0], where[run[1] - 1][1]),
            num_tokens=run[1] - run[0],
            citation=Citation(url=one.url or one.name, license=one.license),
        )


def _longest_run(positions: list[int]) -> tuple[int, int]:
    """Of fingerprints at ascending positions, the longest stretch of tokens that they cover without a hole."""
    best = (0, 0)
    start = end = positions[0]
    for position in positions:
        if position > end:
            start = position
        end = position + GRAM
        if end - start > best[1] - best[0]:
            best = start, end
    return best
