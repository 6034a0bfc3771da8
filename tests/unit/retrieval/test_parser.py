"""Documents read in processes of their own: confined where the machine can, in a subprocess elsewhere."""

# ruff: noqa: ASYNC240 - nothing else runs in a test's loop

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio

from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.retrieval import parser as module
from mainspring.retrieval.parser import PROCESS, Parser
from mainspring.retrieval.passages import Passage
from tests.unit.retrieval import made

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = msgspec.structs.replace(PROCESS, wall_s=20, cpu_s=20, memory_bytes=256 << 20)
IS_LINUX = sys.platform.startswith("linux")
OTHERS: set[int] = set()
"""Processes that other tests of this session have, such as PostgreSQL."""
FRAMES = "from mainspring.retrieval.parse.frames import *; import os; "


@pytest_asyncio.fixture(params=[True, False] if IS_LINUX else [False], scope="module", loop_scope="module")
async def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Parser]:
    OTHERS.update(child.pid for child in psutil.Process().children())
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
    async with Parser(process=QUICK, concurrency=2, confined=request.param) as parser:
        yield parser
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    monkeypatch.undo()


@pytest_asyncio.fixture(loop_scope="module")
async def parser(shared: Parser, tmp_path: Path) -> AsyncGenerator[Parser]:
    """After each test everything is as it was: processes, temporary files, descriptors."""
    await everything(shared, write(tmp_path, b"warm"), "a.txt")
    num_idle = 2 if shared._sandbox else 0  # the launcher and the nursery
    before = await _settled(num_idle)
    yield shared
    assert [each.text for each in await everything(shared, write(tmp_path, b"alive"), "a.txt")] == ["alive"]
    after = await _settled(num_idle)
    assert after[:2] == before[:2] == (num_idle, before[1])
    assert after[2] <= before[2]


async def _settled(num_processes: int) -> tuple[int, list[Path], int]:
    """What is left when what is ending has ended."""
    last = _left()
    for _ in range(300):
        await asyncio.sleep(0.02)
        now = _left()
        if now == last and now[0] == num_processes:
            break
        last = now
    return last


def _left() -> tuple[int, list[Path], int]:
    me = psutil.Process()
    mine = [child for child in me.children() if child.pid not in OTHERS]
    num = len(mine) + sum(len(_below(child)) for child in mine)
    return num, sorted(Path(tempfile.gettempdir()).rglob("*")), me.num_fds()


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def write(folder: Path, content: bytes) -> Path:
    path = folder / "content"
    path.write_bytes(content)
    return path


async def everything(parser: Parser, path: Path, name: str) -> list[Passage]:
    return [passage async for passage in parser.parse(path, name)]


async def refused(parser: Parser, path: Path, name: str = "a.txt") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await everything(parser, path, name)
    assert caught.value.param == "file_id"
    return caught.value


DOCUMENTS = {
    "a.txt": b"Some text.",
    "a.md": b"# Head\n\nSome text.",
    "a.html": b"<h1>Head</h1><p>Some text.</p>",
    "a.csv": b"a,b\nSome text.,2\n",
    "a.json": b'{"a": "Some text."}',
    "a.py": b"def f():\n    'Some text.'\n",
    "a.pdf": made.pdf(["Some text."]),
    "a.docx": made.docx(made.paragraph("Some text.")),
    "a.xlsx": made.xlsx({"A": '<row><c t="s"><v>0</v></c></row>'}, ["Some text."]),
    "a.pptx": made.pptx([made.shape("Some text.")]),
    "latin.txt": "Größe und Länge: Some text.".encode("cp1252"),
}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
async def test_every_kind_is_read_in_a_process(parser: Parser, tmp_path: Path, name: str) -> None:
    found = await everything(parser, write(tmp_path, DOCUMENTS[name]), name)
    assert "Some text." in "".join(passage.text for passage in found)


async def test_a_refusal_says_what_and_why(parser: Parser, tmp_path: Path) -> None:
    error = await refused(parser, write(tmp_path, b"no pdf"), "bad\n\ud800.pdf")
    assert (error.code, error.status) == ("invalid_file", 400)
    assert "is not what its name says" in error.message
    assert (await refused(parser, write(tmp_path, b"\x89PNG"), "a.png")).code == "unsupported_file"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.html", "a.md"])
async def test_large_files_need_little_memory(parser: Parser, tmp_path: Path, name: str) -> None:
    line = {
        "a.csv": b"Anna of the house over there,33,Paris by the river in the valley\n",
        "a.jsonl": b'{"name": "Anna of the house over there", "age": 33, "town": "Paris by the river"}\n',
        "a.html": b"<p>Anna is 33 years old and lives in Paris by the river in the valley over there.</p>\n",
    }.get(name, b"Anna is 33 years old and lives in Paris.\n")  # fmt: skip
    path = write(tmp_path, line * ((12 << 20) // len(line)))
    small = Parser(process=msgspec.structs.replace(QUICK, memory_bytes=8 << 20), confined=parser._sandbox is not None)
    async with small:
        total = 0
        async for passage in small.parse(path, name):
            total += len(passage.text)
    assert total > 9 << 20


async def test_who_stops_reading_ends_the_process(parser: Parser, tmp_path: Path) -> None:
    path = write(tmp_path, b"word " * (4 << 20))
    stream = parser.parse(path, "a.txt")
    first = await anext(stream)
    assert first.start == 0
    await stream.aclose()


async def test_documents_are_read_side_by_side(parser: Parser, tmp_path: Path) -> None:
    path = write(tmp_path, b"word " * 100_000)
    found = await asyncio.gather(*(everything(parser, path, "a.txt") for _ in range(6)))
    assert all(each == found[0] for each in found)


# --- what a reader that was taken over can do


async def test_a_crash_costs_one_document(parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CODE", "import ctypes; ctypes.string_at(0)")
    assert "broke its reader" in (await refused(parser, write(tmp_path, b"x"))).message


async def test_memory_is_limited(parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CODE", "bytearray(4 << 30); " + FRAMES + "os.write(1, pack(End()))")
    assert "broke its reader" in (await refused(parser, write(tmp_path, b"x"))).message


async def test_processor_time_is_limited(parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CODE", "while True: pass")
    monkeypatch.setattr(parser, "_process", msgspec.structs.replace(QUICK, cpu_s=1))
    assert "too long" in (await refused(parser, write(tmp_path, b"x"))).message


async def test_silence_is_limited(parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CODE", "import time; time.sleep(1000)")
    monkeypatch.setattr(parser, "_process", msgspec.structs.replace(QUICK, wall_s=0.3))
    assert "too long" in (await refused(parser, write(tmp_path, b"x"))).message


@pytest.mark.parametrize(
    "code",
    [
        "os.write(1, b'junk' * 1000)",
        "os.write(1, b'\\0\\0\\0\\1\\xff')",
        "os.write(1, b'\\xff\\xff\\xff\\xff')",
        "os.write(1, pack(Batch([Passage(text='ab', start=5), Passage(text='c', start=6)])))",
        "os.write(1, pack(Batch([Passage(text='ab', start=-1)])))",
        "os.write(1, pack(Batch([Passage(text='ab', start=1 << 40)])))",
        "os.write(1, pack(Batch([])))",
        "os._exit(0)",
    ],
)
async def test_what_it_sends_is_checked(
    parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(module, "_CODE", FRAMES + "from mainspring.retrieval.passages import Passage; " + code)
    assert "broke its reader" in (await refused(parser, write(tmp_path, b"x"))).message


async def test_one_document_leaves_nothing_for_the_next(
    parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        FRAMES
        + "import math; pack_ = pack(Trouble(str(hasattr(math, 'left')), 'x')); math.left = 1; os.write(1, pack_)"
    )
    monkeypatch.setattr(module, "_CODE", code)
    path = write(tmp_path, b"x")
    assert [(await refused(parser, path)).message for _ in range(2)] == ["False", "False"]


TRIES = """
import os, socket
from mainspring.retrieval.parse.frames import Trouble, pack
done = []
def attempt(name, action):
    try:
        action()
        done.append(name)
    except Exception:
        pass
attempt('socket', lambda: socket.create_connection(('127.0.0.1', {port}), 1))
attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt('passwd', lambda: open('/etc/passwd').read())
attempt('content', lambda: open({path!r}).read())
attempt('home', lambda: os.listdir(os.path.dirname({path!r})))
attempt('write', lambda: open(os.path.dirname({path!r}) + '/written', 'w'))
attempt('file', lambda: os.write(0, b'changed'))
attempt('run', lambda: os.execv('/bin/true', ['true']))
attempt('fork', lambda: os.fork() or os._exit(0))
attempt('kill', lambda: os.kill({nursery}, 9))
attempt('environment', lambda: os.environ['MAINSPRING_SECRET'])
os.write(1, pack(Trouble('did ' + repr(done), 'x')))
os._exit(0)
"""


@pytest.mark.skipif(not IS_LINUX, reason="the sandbox is Linux's")
async def test_a_reader_that_was_taken_over_can_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, b"secret")
    monkeypatch.setenv("MAINSPRING_SECRET", "secret")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server, Parser(process=QUICK) as parser:
        await everything(parser, path, "a.txt")
        assert parser._sandbox is not None
        if set(parser._sandbox.layers) != {"namespaces", "landlock", "seccomp"}:
            pytest.skip(f"this machine refuses {parser._sandbox.refused}")
        port = server.sockets[0].getsockname()[1]
        code = (
            TRIES.format(port=port, nursery=parser._sandbox._process.pid, path=str(path))
            .replace("{", "{{")
            .replace("}", "}}")
        )
        monkeypatch.setattr(module, "_CODE", code)
        assert (await refused(parser, path)).message == "did []"
    assert path.read_bytes() == b"secret"
    assert [each.name for each in tmp_path.iterdir()] == ["content"]


@pytest.mark.skipif(not IS_LINUX, reason="the sandbox is Linux's")
async def test_what_the_kernel_ends_is_no_fault_of_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, b"x")
    async with Parser(process=QUICK) as parser:
        await everything(parser, path, "a.txt")
        monkeypatch.setattr(module, "_CODE", "import time; time.sleep(1000)")
        assert parser._sandbox is not None
        assert parser._sandbox._process is not None
        launcher = psutil.Process(parser._sandbox._process.pid)
        deep = len(launcher.parents()) + 3  # below the nursery and the warden
        asking = asyncio.ensure_future(everything(parser, path, "a.txt"))
        while not asking.done():
            await asyncio.sleep(0.01)
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in launcher.children(recursive=True):
                    if len(each.parents()) == deep:
                        each.kill()
        with pytest.raises(Unavailable):
            await asking
