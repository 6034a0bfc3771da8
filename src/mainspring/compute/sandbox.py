"""Runs Python, or a program, that nobody trusts: without network, in files of its own, within limits.

    async with Sandbox() as sandbox:
        ran = await sandbox.run("print(1 + 1)")

A warm interpreter (`inside.nursery`) forks for each run, so that a run costs some milliseconds. docs/SAFETY.md says
which layers there are and what they do not stop. Linux only: elsewhere, and on machines that grant too few of the
layers, it refuses to run unless `weak` allows it.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

import mainspring
from mainspring.core.errors import EngineUnavailable, InvalidRequest, Unavailable
from mainspring.core.types import Ran

__all__ = ["LAYERS", "Sandbox", "SandboxLimits"]

LAYERS = ("namespaces", "landlock", "seccomp")
PACKAGES = (
    "numpy", "scipy", "pandas", "sympy", "rapidfuzz", "scikit-learn", "rouge-score", "deepdiff", "jsonschema",
    "pydantic", "pyyaml", "nltk", "sqlparse",
)  # fmt: skip
"""What code may import if it is installed: what OpenAI's python graders may, as far as that is common."""
PRELOADED = ("json", "math", "re", "collections", "datetime", "statistics", "string", "decimal", "fractions",
             "itertools", "functools", "typing", "dataclasses", "random", "ast", "difflib", "encodings.idna",
             "numpy.random", "rapidfuzz.fuzz")  # fmt: skip
START_S = 30.0
GRACE_S = 10.0
"""For a warden to say what came of a run, after the run's own time."""
LONGEST_S = 7 * 86400.0
"""Of a run whose output is read as it comes: whoever reads may take long."""
MAX_INPUT_BYTES = 32 * 2**20
_BOOT = "import sys; sys.path.insert(0, {root!r}); from mainspring.compute.inside.nursery import main; main()"


class SandboxLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one run.

    Args:
        wall_s, cpu_s: seconds of time, and of the processor.
        memory_bytes: address space of a process, beyond what the interpreter has at its start.
        disk_bytes: of all files that it writes; where these are in memory they do not count as `memory_bytes`.
        output_bytes: of standard output, of errors, and of the files that are handed back.
        processes: more than one lets it start programs.
    """

    wall_s: float = 120.0
    cpu_s: float = 120.0
    memory_bytes: int = 2 * 2**30
    disk_bytes: int = 256 * 2**20
    output_bytes: int = 2**20
    processes: int = 1


class _Answer(msgspec.Struct):
    """What a warden says: a result, or what went wrong in the sandbox itself."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0
    ended: str = ""
    files: dict[str, bytes] = {}
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    fault: str = ""


class Sandbox:
    """A nursery and the runs in it. Owned by one event loop; started by the first run.

    Args:
        limits: of a run that brings none.
        concurrency: runs at a time; others wait. 0 means one for each processor.
        weak: also run where the machine grants less than a sandbox needs.
        hidden: folders that must never be readable inside, such as the data directory.
        layers: which to use; fewer than all is for tests.
        packages: what may be imported beside the standard library, if it is installed, with what it needs.
        own: files and folders of Mainspring's that may be imported too, as paths from the folder that holds it.
        preload: modules that are imported once, before any run.
    """

    def __init__(
        self,
        *,
        limits: SandboxLimits = SandboxLimits(),  # noqa: B008 - frozen
        concurrency: int = 0,
        weak: bool = False,
        hidden: Sequence[Path] = (),
        layers: Sequence[str] = LAYERS,
        packages: Sequence[str] = PACKAGES,
        own: Sequence[str] = (),
        preload: Sequence[str] = PRELOADED,
    ) -> None:
        self._limits, self._weak, self._wanted = limits, weak, tuple(layers)
        self._packages, self._own, self._preload = packages, own, preload
        self._hidden = tuple(path.resolve() for path in hidden)
        self._turns = asyncio.Semaphore(concurrency or os.cpu_count() or 1)
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._scratch = ""
        self.layers: tuple[str, ...] = ()
        self.refused: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        """Nothing starts before the first run."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """See `stop`."""
        await self.stop()

    async def run(
        self,
        code: str = "",
        *,
        argv: Sequence[str] = (),
        files: Mapping[str, bytes] = {},
        stdin: bytes = b"",
        limits: SandboxLimits | None = None,
    ) -> Ran:
        """Run Python code as a main program, or the program `argv` if it is given, in a folder that holds `files`.

        Args:
            files: path below the folder -> content; the folder is what the code starts in.

        Raises:
            InvalidRequest: the input is too large, or a path leads out of the folder.
            EngineUnavailable: this machine grants too little isolation.
            Unavailable: the sandbox itself failed; nothing was wrong with the code.
        """
        request = _request(code, argv, files, stdin, limits or self._limits)
        seconds = (limits or self._limits).wall_s + GRACE_S
        async with self._turns:
            connection = await self._connect()
            try:
                async with asyncio.timeout(seconds):
                    answer = await _ask(connection, request)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                raise Unavailable("The sandbox did not answer.", code="sandbox_failed") from error
        return _ran(answer)

    async def stream(
        self, code: str, source: int, *, limits: SandboxLimits | None = None
    ) -> AsyncGenerator[bytes | Ran]:
        """Run Python code whose standard input is the open file `source`. Its standard output comes as it is written,
        last what came of it. Who reads slowly holds it up, and whoever closes the generator ends it.

        `wall_s` bounds the seconds in which it may write nothing, and `output_bytes` not what it writes there: that is
        the reader's to bound.

        Raises:
            EngineUnavailable, Unavailable: as `run` does.
        """
        limits = limits or self._limits
        request = _request(code, (), {}, b"", msgspec.structs.replace(limits, wall_s=LONGEST_S))
        async with self._turns, contextlib.AsyncExitStack() as stack:
            reads, writes = os.pipe()
            pipe = stack.enter_context(os.fdopen(reads, "rb", buffering=0))
            try:
                connection = await self._connect(source, writes)
            finally:
                os.close(writes)
            asking = asyncio.ensure_future(_ask(connection, request))
            stack.callback(asking.cancel)
            reader = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe
            )
            stack.callback(transport.close)
            try:
                while piece := await asyncio.wait_for(reader.read(1 << 16), limits.wall_s):
                    yield piece
                answer = await asyncio.wait_for(asking, limits.wall_s + GRACE_S)
            except TimeoutError:
                answer = _Answer(exit_code=-9, ended="timeout")
            except (OSError, asyncio.IncompleteReadError) as error:
                raise Unavailable("The sandbox did not answer.", code="sandbox_failed") from error
            yield _ran(answer)

    async def start(self) -> None:
        """Have a nursery; nothing happens if there is one.

        Raises:
            EngineUnavailable: this machine grants too little isolation.
        """
        async with self._starting:
            if self._process is not None and self._process.poll() is None:
                return
            self._clear()
            await self._start()

    async def _connect(self, *given: int) -> socket.socket:
        """A connection to a warden, which gets the descriptors `given` too."""
        await self.start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            socket.send_fds(self._control, [b"."], [theirs.fileno(), *given])
        except OSError as error:  # it has just died: the next run starts another
            ours.close()
            raise Unavailable("The sandbox has ended.", code="sandbox_failed") from error
        finally:
            theirs.close()
        return ours

    async def _start(self) -> None:
        if not sys.platform.startswith("linux"):
            raise EngineUnavailable("Running code in a sandbox needs Linux.", code="sandbox_unavailable")
        places = _places(self._packages, self._own, self._preload)
        for hidden in self._hidden:
            for path in places["readable"]:
                if hidden.is_relative_to(path):
                    raise EngineUnavailable(
                        f"The data directory lies in {path}, which sandboxed code may read: move it elsewhere.",
                        code="sandbox_unavailable",
                    )
        self._scratch = tempfile.mkdtemp(prefix="mainspring-sandbox-")
        config = {**places, "layers": self._wanted, "scratch": self._scratch}
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._process = _launch(config, theirs)
        theirs.close()
        try:
            said = json.loads(await self._line())
        except (OSError, ValueError, TimeoutError):
            self._clear()
            raise EngineUnavailable("The sandbox did not start.", code="sandbox_unavailable") from None
        self.layers, self.refused = tuple(said["layers"]), said["refused"]
        if not self._weak and not _suffice(self.layers):
            self._clear()
            why = "; ".join(f"{layer}: {reason}" for layer, reason in self.refused.items())
            raise EngineUnavailable(
                "This machine does not let untrusted code be isolated: it needs seccomp, and namespaces or landlock "
                f"({why}). Allow unprivileged user namespaces, or set sandbox.weak if all code can be trusted.",
                code="sandbox_unavailable",
            )

    async def _line(self) -> bytes:
        assert self._control is not None
        line = b""
        async with asyncio.timeout(START_S):
            while not line.endswith(b"\n"):
                piece = await asyncio.get_running_loop().sock_recv(self._control, 1 << 16)
                if not piece:
                    raise ConnectionError
                line += piece
        return line

    async def stop(self) -> None:
        """End everything that runs in it."""
        self._clear()

    def _clear(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = ""


def _launch(config: Mapping[str, Any], control: socket.socket) -> subprocess.Popen[bytes]:
    """A launcher that ends when the other end of `control` is closed. Nothing of this process's environment goes in: it
    may hold keys."""
    interpreter = os.path.realpath(sys.executable)
    return subprocess.Popen(  # noqa: S603 - nothing in it is a stranger's
        [interpreter, "-I", "-S", "-c", _BOOT.format(root=config["root"]), json.dumps(config)],
        stdin=control.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        env={"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _suffice(layers: Iterable[str]) -> bool:
    """No network and no files but its own: seccomp for the one, either of the others for the other."""
    have = set(layers)
    return "seccomp" in have and bool(have & {"namespaces", "landlock"})


def _ran(answer: _Answer) -> Ran:
    if answer.fault:
        raise Unavailable(f"The sandbox failed: {answer.fault.splitlines()[-1]}", code="sandbox_failed")
    return Ran(
        stdout=answer.stdout, stderr=answer.stderr, exit_code=answer.exit_code, ended=_end(answer),
        files=answer.files, wall_s=answer.wall_s, cpu_s=answer.cpu_s, memory_bytes=answer.memory_bytes,
    )  # fmt: skip


def _end(answer: _Answer) -> Any:
    if answer.ended or answer.exit_code not in (-9, -24):
        return answer.ended
    return "cpu" if answer.exit_code == -24 else "killed"


def _request(code: str, argv: Sequence[str], files: Mapping[str, bytes], stdin: bytes, limits: SandboxLimits) -> bytes:
    if len(code) + len(stdin) + sum(map(len, files.values())) > MAX_INPUT_BYTES:
        raise InvalidRequest(f"What is given to the sandbox has more than {MAX_INPUT_BYTES} bytes.")
    for name in files:
        if not name or name.startswith("/") or "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise InvalidRequest(f"{name[:80]!r} is no path below the sandbox's folder.", param="files")
    given = {"code": code, "argv": argv, "files": files, "stdin": stdin, "limits": limits}
    body = msgspec.json.encode(given)
    return struct.pack(">Q", len(body)) + body


async def _ask(connection: socket.socket, request: bytes) -> _Answer:
    reader, writer = await asyncio.open_connection(sock=connection)
    try:  # closing the connection, however this ends, ends the run
        writer.write(request)
        await writer.drain()
        (size,) = struct.unpack(">Q", await reader.readexactly(8))
        return msgspec.json.decode(await reader.readexactly(size), type=_Answer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _places(packages: Iterable[str], own: Iterable[str], preload: Sequence[str]) -> dict[str, Any]:
    """What is readable inside: the system's programs and libraries, the interpreter, the packages, our own files."""
    root = Path(mainspring.__file__).resolve().parent.parent
    interpreter = Path(sys.executable).resolve().parent.parent
    system = ["/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/bin", "/lib", "/lib32", "/lib64", "/bin",
              "/usr/share/zoneinfo"]  # fmt: skip
    python = [str(interpreter / "lib"), str(interpreter / "bin"), os.path.realpath(sysconfig.get_path("stdlib"))]
    entries, folders = _packages(packages)
    readable = [*system, *python, *entries, *(str(root / each) for each in own)]
    return {
        "readable": [path for path in dict.fromkeys(readable) if os.path.lexists(path)],
        "listed": folders,
        "preload": preload,
        "root": str(root),
        "machine": platform.machine(),
    }


def _packages(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The files and folders of those packages that are installed, with what they need, and the folders they are in."""
    entries, folders, todo, seen = dict[str, None](), dict[str, None](), list(names), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        folder = Path(str(found.locate_file(""))).resolve()
        folders[str(folder)] = None
        for file in found.files or ():
            if file.parts[0] not in ("..", "__pycache__"):
                entries[str(folder / file.parts[0])] = None
        # Extras are left out: they are what was not asked for.
        todo += [_bare(each) for each in found.requires or () if "extra ==" not in each]
    return list(entries), list(folders)


def _bare(requirement: str) -> str:
    """The name that a requirement begins with."""
    end = next((at for at, one in enumerate(requirement) if not (one.isalnum() or one in "-_.")), len(requirement))
    return requirement[:end]
