"""Documents to passages, each document in a process that can do nothing else.

    async with Parser() as parser:
        async for passage in parser.parse(path, "report.pdf"):
            ...

On Linux the process is a fork of a warm one in the sandbox that python graders have (docs/SAFETY.md): no network, no
files but the system's libraries, limits on time and memory; a document that breaks its reader breaks nothing else.
Elsewhere it is a subprocess with the limits that the system knows. What it sends is checked here: it may be anybody's.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Self

import msgspec

from mainspring.compute.sandbox import LAYERS, Sandbox, SandboxLimits
from mainspring.core import log
from mainspring.core.errors import InvalidRequest, Unavailable
from mainspring.core.types import Ran
from mainspring.retrieval.parse.frames import Batch, Trouble, unpack
from mainspring.retrieval.parse.source import Limits
from mainspring.retrieval.passages import Passage

__all__ = ["PROCESS", "Parser"]

PACKAGES = ("msgspec", "pypdfium2", "charset-normalizer")
OWN = ("mainspring/__init__.py", "mainspring/retrieval")
PRELOADED = ("mainspring.retrieval.parse.main", "pypdfium2", "charset_normalizer", "encodings.idna")
_CODE = "from mainspring.retrieval.parse.main import main; main({name!r}, {limits!r})"
_APART = (
    "import sys; sys.path.insert(0, {root!r}); from mainspring.retrieval.parse.apart import limit; limit({process!r})\n"
)

PROCESS = SandboxLimits(wall_s=60, cpu_s=600, memory_bytes=2**30, disk_bytes=2**16, output_bytes=2**16)
"""Of the process that reads a document. `wall_s` is how long it may take from one piece of output to the next."""

_log = log.get(__name__)


class Parser:
    """Readers of documents. Owned by one event loop; starts nothing before the first document.

    Args:
        limits: of a document.
        process: of the process that reads it.
        concurrency: documents at a time; others wait. 0 means one for each processor.
        confined: False reads in a subprocess as on systems that have no sandbox.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        process: SandboxLimits = PROCESS,
        concurrency: int = 0,
        confined: bool = sys.platform.startswith("linux"),
    ) -> None:
        self._limits, self._process = limits, process
        self._turns = asyncio.Semaphore(concurrency or os.cpu_count() or 1)
        self._warned = False
        self._sandbox = (
            Sandbox(packages=PACKAGES, own=OWN, preload=PRELOADED, concurrency=concurrency, weak=True)
            if confined
            else None
        )

    async def __aenter__(self) -> Self:
        """Nothing starts before the first document."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `stop`."""
        await self.stop()

    async def stop(self) -> None:
        """End everything that is being read."""
        if self._sandbox is not None:
            await self._sandbox.stop()

    async def parse(self, content: Path, filename: str) -> AsyncGenerator[Passage]:
        """The passages of the document that lies at `content` and is called `filename`, as they are found. Whoever
        takes them slowly holds the reader up; whoever closes the generator ends it.

        Raises:
            InvalidRequest: it cannot be read; the code is `invalid_file` or `unsupported_file`.
            Unavailable: the process was ended from outside; another attempt may succeed.
            EngineUnavailable: no process could be started.
        """
        code = _CODE.format(name=filename, limits=msgspec.to_builtins(self._limits))
        with content.open("rb") as file:
            stream = self._confined(code, file.fileno()) if self._sandbox else self._apart(code, file.fileno())
            async with contextlib.aclosing(stream), contextlib.aclosing(self._passages(stream, filename)) as passages:
                async for passage in passages:
                    yield passage

    async def _passages(self, stream: AsyncGenerator[bytes | Ran], name: str) -> AsyncGenerator[Passage]:
        held, place, frames = bytearray(), 0, []
        async for piece in stream:
            if isinstance(piece, Ran):
                _judge(piece, name, self._process)
                break
            held += piece
            try:
                frames = unpack(held)
            except (ValueError, msgspec.DecodeError) as error:
                raise _broken(name) from error
            for frame in frames:
                if isinstance(frame, Trouble):
                    _log.info("document_refused", reason=frame.message[:300], code=frame.code)
                    raise _refusal(frame)
                if not isinstance(frame, Batch):
                    return
                for passage in frame.passages:
                    if passage.start < place or passage.start + len(passage.text) > self._limits.text_chars:
                        raise _broken(name)
                    place = passage.start + len(passage.text)
                    yield passage
        raise _broken(name)

    async def _confined(self, code: str, file: int) -> AsyncGenerator[bytes | Ran]:
        assert self._sandbox is not None
        async with contextlib.aclosing(self._sandbox.stream(code, file, limits=self._process)) as stream:
            async for piece in stream:
                self._warn(self._sandbox)
                yield piece

    def _warn(self, sandbox: Sandbox) -> None:
        if not self._warned and set(sandbox.layers) != set(LAYERS):
            _log.warning("documents_less_confined", layers=sandbox.layers, refused=sandbox.refused)
        self._warned = True

    async def _apart(self, code: str, file: int) -> AsyncGenerator[bytes | Ran]:
        """The same in a subprocess, which has limits where the system knows them, and no other confinement."""
        root, limits = str(Path(__file__).parents[2]), msgspec.to_builtins(self._process)
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-c", _APART.format(root=root, process=limits) + code,
                stdin=file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=root,
                env={each: os.environ[each] for each in ("SYSTEMROOT", "PATH") if each in os.environ},
            )  # fmt: skip
            assert process.stdout is not None
            silent = False
            try:
                while piece := await asyncio.wait_for(process.stdout.read(1 << 16), self._process.wall_s):
                    yield piece
                await asyncio.wait_for(process.wait(), self._process.wall_s)
            except TimeoutError:
                silent = True
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            status = process.returncode or 0
            yield Ran(
                stdout=b"", stderr=b"", exit_code=status, ended="timeout" if silent else "cpu" if status == -24 else ""
            )


def _refusal(frame: Trouble) -> InvalidRequest:
    code = "unsupported_file" if frame.code == "unsupported_file" else "invalid_file"
    message = "".join(each if each.isprintable() else " " for each in frame.message[:600])
    return InvalidRequest(message, code=code, param="file_id")


def _broken(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name[:200]!r} broke its reader: it is damaged, or made to do so. Save it anew, or as another format.",
        code="invalid_file", param="file_id",
    )  # fmt: skip


def _judge(ran: Ran, name: str, process: SandboxLimits) -> None:
    """What a process that ended too early says of its document.

    Raises:
        InvalidRequest, Unavailable: always, but if it ended by itself.
    """
    said = ran.stderr[-2000:].decode("utf-8", "replace")
    _log.info("document_reader_ended", ended=ran.ended, exit_code=ran.exit_code, stderr=said)
    # The kernel ends a process at its last second of processor time with the same signal as one that needs its memory.
    if ran.ended in ("timeout", "cpu") or ran.cpu_s >= process.cpu_s:
        raise InvalidRequest(
            f"{name[:200]!r} takes too long to read: divide it, or save it as another format.",
            code="invalid_file", param="file_id",
        )  # fmt: skip
    if ran.ended in ("killed", "cancelled"):
        raise Unavailable("The reader of the document was ended from outside.", code="sandbox_failed")
