"""Documents to passages, by format: MB/s of the process that reads, and its peak memory; peers where there are any.

    scripts/bench parsing [--megabytes 64] [--only csv,pdf] [--folder DIR] [--json FILE]

Files are made from a seed, so that they are the same everywhere: text of a few thousand words in sentences, paragraphs
and sections. `--folder` reads the files of a folder besides, for instance what documentation packages hold. Each is
read in the confined process, with its default limits; times are from the request to the last passage. Memory is the
peak of a process that reads the same file, less what it began with. `pypdf` and `html.parser` are measured where they
are installed.
"""

import argparse
import asyncio
import html.parser
import importlib.util
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks._main import main
from mainspring.retrieval import chunk
from mainspring.retrieval.parser import Parser
from tests.unit.retrieval import made


def sentences(seed: int) -> Iterator[str]:
    """Sentences without end, of words that are nobody's."""
    chance = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ne", "ru", "sta", "ven", "tor", "ä", "qui", "bel", "dam"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(4000)]
    while True:
        yield " ".join(chance.choices(words, k=chance.randint(5, 20))).capitalize() + "."


def paragraphs(size: int) -> Iterator[str]:
    """Paragraphs of about `size` bytes together."""
    source, total = sentences(1), 0
    while total < size:
        text = " ".join(next(source) for _ in range(6))
        total += len(text.encode()) + 1
        yield text


def _csv(size: int) -> bytes:
    return b"name,value,remark\n" + b"".join(f'{n},{n * 7},"{p}"\n'.encode() for n, p in enumerate(paragraphs(size)))


def _json(size: int, *, lines: bool) -> bytes:
    rows = [json.dumps({"id": n, "text": p, "tags": ["a", "b"]}) for n, p in enumerate(paragraphs(size))]
    return ("\n".join(rows) if lines else "[" + ",\n".join(rows) + "]").encode()


def _sheet(size: int) -> bytes:
    rows = "".join(
        f'<row><c><v>{n}</v></c><c t="inlineStr"><is><t>{p}</t></is></c></row>' for n, p in enumerate(paragraphs(size))
    )
    return made.xlsx({"Data": rows})


def _slides(size: int) -> bytes:
    """A hundred paragraphs to a slide: an archive of more than 20,000 files is refused."""
    texts = list(paragraphs(size))
    slides = [texts[at : at + 100] for at in range(0, len(texts), 100)]
    return made.pptx([made.shape("T", "title") + "".join(map(made.shape, slide)) for slide in slides])


def _pages(size: int) -> bytes:
    """Ten paragraphs to a page: a document of more than 50,000 pages is refused."""
    texts = [text.replace(". ", ".\n") for text in paragraphs(size)]
    return made.pdf(["\n".join(texts[at : at + 10]) for at in range(0, len(texts), 10)])


MAKERS: dict[str, Callable[[int], bytes]] = {
    "txt": lambda size: "\n\n".join(paragraphs(size)).encode(),
    "md": lambda size: "\n\n".join(f"## Section {n}\n\n{p}" for n, p in enumerate(paragraphs(size))).encode(),
    "py": lambda size: "\n".join(f"def f{n}():\n    return {p!r}\n" for n, p in enumerate(paragraphs(size))).encode(),
    "html": lambda size: "\n".join(f"<h2>Title {n}</h2><p>{p}</p>" for n, p in enumerate(paragraphs(size))).encode(),
    "csv": _csv,
    "json": lambda size: _json(size, lines=False),
    "jsonl": lambda size: _json(size, lines=True),
    "docx": lambda size: made.docx("".join(made.paragraph(p) for p in paragraphs(size))),
    "xlsx": _sheet,
    "pptx": _slides,
    "pdf": _pages,
}
"""Ending -> a file whose text has about so many bytes."""


async def read(parser: Parser, path: Path, name: str) -> dict[str, float]:
    """One file, with figures."""
    started, chars, num = time.monotonic(), 0, 0
    async for passage in parser.parse(path, name):
        chars += len(passage.text)
        num += 1
    return {"seconds": time.monotonic() - started, "chars": chars, "passages": num}


async def peak_bytes(path: Path, name: str) -> int:
    """What reading adds to the memory of a process, at its peak."""
    code = (
        "def memory(key):\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith(key))\n"
        "from mainspring.retrieval.parse.main import parsed\n"
        "from mainspring.retrieval.parse.source import Limits, Source\n"
        "before = memory('VmRSS')\n"
        f"for passage in parsed(Source(open(0, 'rb', closefd=False), {name!r}, Limits())): pass\n"
        "print(memory('VmHWM') - before)"
    )
    with path.open("rb") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=file, stdout=-1)
        out, _ = await process.communicate()
    return 1024 * int(out or b"0")


def peers(path: Path, ending: str) -> dict[str, float]:
    """Seconds of what others use, in this process; text only."""
    found: dict[str, float] = {}
    if ending == "html":
        reader, started = html.parser.HTMLParser(), time.monotonic()
        reader.feed(path.read_text())
        found["html.parser"] = time.monotonic() - started
    if ending == "pdf" and importlib.util.find_spec("pypdf"):
        pypdf: Any = __import__("pypdf")
        started = time.monotonic()
        for page in pypdf.PdfReader(io.BytesIO(path.read_bytes())).pages:
            page.extract_text()
        found["pypdf"] = time.monotonic() - started
    return found


async def cut(size: int) -> dict[str, float]:
    """Chunking alone, with a count of words that costs next to nothing."""
    from mainspring.retrieval.passages import Passage

    passages, place = [], 0
    for text in paragraphs(size):
        passages.append(Passage(text=text, start=place))
        place += len(text) + 2
    started = time.monotonic()
    found = chunk.chunks(passages, max_tokens=800, overlap=400, count=lambda text: len(text.split()))
    num = sum(1 for _ in found)
    seconds = time.monotonic() - started
    return {"seconds": seconds, "mb_per_s": place / 1e6 / seconds, "chunks": num}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All formats, then what the folder holds, then chunking."""
    wanted = options.only.split(",") if options.only else list(MAKERS)
    size, figures = int(options.megabytes * 1e6), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="mainspring-bench-") as folder:
        files = [(Path(folder) / f"made.{ending}", ending) for ending in wanted if ending in MAKERS]
        for path, ending in files:
            path.write_bytes(MAKERS[ending](size))
        if options.folder:
            given = sorted(path for path in Path(options.folder).rglob("*") if path.suffix[1:] in MAKERS)
            files += [(path, path.suffix[1:]) for path in given if path.is_file()]
        async with Parser() as parser:
            (Path(folder) / "warm").write_text("warm")
            await read(parser, Path(folder) / "warm", "a.txt")
            for path, ending in files:
                row: dict[str, Any] = await read(parser, path, path.name)
                row["file_mb"] = path.stat().st_size / 1e6
                row["mb_per_s"] = row["file_mb"] / row["seconds"]
                row["text_mb_per_s"] = row["chars"] / 1e6 / row["seconds"]
                row["peak_mb"] = await peak_bytes(path, path.name) / 1e6
                row["peers"] = peers(path, ending)
                figures[path.name] = row
                print(
                    f"{path.name:24.24} {row['file_mb']:8.2f} MB  {row['mb_per_s']:7.1f} MB/s  text "
                    f"{row['text_mb_per_s']:6.1f} MB/s  peak +{row['peak_mb']:.0f} MB  {row['peers'] or ''}",
                    flush=True,
                )
    figures["chunks"] = await cut(min(size, 8_000_000))
    print(f"chunks of 800 tokens, 400 shared: {figures['chunks']['mb_per_s']:.1f} MB/s")
    return figures


if __name__ == "__main__":
    main("parsing", __doc__, run, needs_model=False, megabytes=64.0, only="", folder="")
