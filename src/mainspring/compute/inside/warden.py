"""Who stands beside one piece of code: makes its folder, feeds it, reads it, ends it, and tells what came of it."""

import base64
import contextlib
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import stat
import struct
import tempfile
import time
import traceback

from mainspring.compute.inside import confine
from mainspring.compute.inside.code import Code
from mainspring.compute.inside.isolation import BOX, TEMPORARY, WORK, Isolation, Json

__all__ = ["guard"]

LOOKS_S = 0.05
"""How often a folder that is no file system of its own is looked at, which is what limits its size."""
MAX_FILES = 256


def guard(isolation: Isolation, connection: socket.socket, streams: list[int]) -> int:
    """Run one piece of code for whoever is at the other end of the connection; the exit code of the process. `streams`
    are its standard input and output, or nothing if the warden is to feed and read it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    confine.die_with_parent()
    request: Json = json.loads(_receive(connection))
    box = BOX
    try:
        if isolation.alone:
            confine.own_processes()
            limits = request["limits"]
            owner = f",uid={confine.NOBODY},gid={confine.NOBODY}" if os.getuid() == 0 else ""
            confine.mount(BOX, f"size={limits['disk_bytes']},nr_inodes=4096,mode=0755{owner}")
        else:
            box = tempfile.mkdtemp(dir=str(isolation.config["scratch"]))
        result = _Run(isolation, connection, request, box, streams).result()
    except Exception:  # noqa: BLE001 - whatever it is, the server is to hear of it
        result = {"fault": traceback.format_exc()[-2000:]}
    finally:
        if not isolation.alone:
            shutil.rmtree(box, ignore_errors=True)
    body = json.dumps(result).encode()
    with contextlib.suppress(OSError):
        connection.sendall(struct.pack(">Q", len(body)) + body)
    return 0


def _receive(connection: socket.socket) -> bytes:
    def exactly(count: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < count:
            piece = connection.recv(min(count - len(pieces), 1 << 20))
            if not piece:
                os._exit(0)  # the server let go
            pieces += piece
        return bytes(pieces)

    return exactly(struct.unpack(">Q", exactly(8))[0])


class _Run:
    """One piece of code, seen by its warden."""

    def __init__(
        self, isolation: Isolation, connection: socket.socket, request: Json, box: str, streams: list[int]
    ) -> None:
        self._isolation, self._connection, self._request = isolation, connection, request
        self._limits: Json = request["limits"]
        self._box, self._work, self._streams = box, f"{box}/{WORK}", streams
        self._given = {name: base64.b64decode(body) for name, body in request["files"].items()}
        self._out: dict[int, bytearray] = {}
        self._end = ""

    def result(self) -> Json:
        """Start it, watch it, and say what came of it."""
        for folder in (self._work, f"{self._box}/{TEMPORARY}"):
            self._make(folder)
        for name, body in self._given.items():
            self._put(name, body)
        started = time.monotonic()
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        child = os.fork()
        if child == 0:
            Code(self._isolation, self._request, self._box).become(
                [*(self._streams or (pipes[0][0], pipes[1][1])), pipes[2][1]]
            )
        for used in (pipes[0][0], pipes[1][1], pipes[2][1], *self._streams):
            os.close(used)
        status = self._watch(child, pipes[0][1], pipes[1][0], pipes[2][0], started + self._limits["wall_s"])
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        stdout, stderr = (base64.b64encode(self._out[pipes[each][0]]).decode() for each in (1, 2))
        return {
            "stdout": stdout, "stderr": stderr, "exit_code": os.waitstatus_to_exitcode(status), "ended": self._end,
            "files": self._collect(), "wall_s": time.monotonic() - started, "cpu_s": usage.ru_utime + usage.ru_stime,
            "memory_bytes": usage.ru_maxrss * 1024,
        }  # fmt: skip

    def _make(self, folder: str) -> None:
        os.mkdir(folder, 0o700)  # noqa: PTH102
        if self._isolation.alone and os.getuid() == 0:
            os.chown(folder, confine.NOBODY, confine.NOBODY)

    def _put(self, name: str, body: bytes) -> None:
        path, parts = self._work, name.split("/")
        for part in parts[:-1]:
            path = f"{path}/{part}"
            if not os.path.isdir(path):  # noqa: PTH112
                self._make(path)
        place = os.open(f"{path}/{parts[-1]}", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644)
        with open(place, "wb") as file:  # noqa: PTH123
            file.write(body)
            if self._isolation.alone and os.getuid() == 0:
                os.fchown(place, confine.NOBODY, confine.NOBODY)

    def _watch(self, child: int, stdin: int, stdout: int, stderr: int, until: float) -> int:
        """Feed it and read it until it has ended or must; its status."""
        handle = os.pidfd_open(child)
        todo = memoryview(base64.b64decode(self._request["stdin"]))
        self._out = {stdout: bytearray(), stderr: bytearray()}
        with selectors.DefaultSelector() as selector:
            for descriptor in (stdin, stdout, stderr):
                os.set_blocking(descriptor, False)
            selector.register(stdin, selectors.EVENT_WRITE)
            for descriptor in (stdout, stderr, handle):
                selector.register(descriptor, selectors.EVENT_READ)
            selector.register(self._connection, selectors.EVENT_READ)
            ended = False
            while not ended:
                left = until - time.monotonic()
                self._end = self._end or ("timeout" if left <= 0 else "disk" if self._is_too_large() else "")
                if self._end:
                    os.kill(child, signal.SIGKILL)
                    break
                wait = left if self._isolation.alone else min(left, LOOKS_S)
                for key, _ in selector.select(wait):
                    if key.fileobj == stdin:
                        todo = self._feed(selector, stdin, todo)
                    elif key.fileobj == self._connection:
                        self._end = "cancelled"
                    elif key.fileobj == handle:
                        ended = True
                    elif not self._read(key.fd):
                        selector.unregister(key.fd)
        _, status = os.waitpid(child, 0)
        for descriptor in (stdout, stderr):  # what was written before the end
            while self._read(descriptor):
                pass
        return status

    def _feed(self, selector: selectors.BaseSelector, stdin: int, todo: memoryview) -> memoryview:
        try:
            todo = todo[os.write(stdin, todo) :] if todo else todo
        except BlockingIOError:
            return todo
        except BrokenPipeError:
            todo = todo[:0]
        if not todo:
            selector.unregister(stdin)
            os.close(stdin)
        return todo

    def _read(self, descriptor: int) -> bool:
        """Some of what it writes; whether there may be more."""
        kept = self._out[descriptor]
        try:
            piece = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        room = self._limits["output_bytes"] - len(kept)
        kept += piece[:room]
        if len(piece) > room:
            self._end = self._end or "output"
            return False
        return bool(piece)

    def _is_too_large(self) -> bool:
        """What the folder holds, where no file system of its own limits it."""
        if self._isolation.alone:
            return False
        total = 0
        for folder, _, names in os.walk(self._box):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(f"{folder}/{name}").st_blocks * 512
        return total > self._limits["disk_bytes"]

    def _collect(self) -> dict[str, str]:
        """The files that it left, without those that it was given and did not change. Links are not followed."""
        found: dict[str, str] = {}
        room = self._limits["output_bytes"]
        for folder, _, names in os.walk(self._work):
            for name in sorted(names):
                body = _regular(f"{folder}/{name}", room)
                inside = f"{folder}/{name}".removeprefix(f"{self._work}/")
                if body is None or self._given.get(inside) == body or len(found) >= MAX_FILES:
                    continue
                with contextlib.suppress(UnicodeEncodeError):
                    inside.encode()
                    found[inside] = base64.b64encode(body).decode()
                    room -= len(body)
        return found


def _regular(path: str, room: int) -> bytes | None:
    """A file's bytes, if it is one and they are not too many."""
    try:
        place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(place, "rb") as file:  # noqa: PTH123
        about = os.fstat(place)
        return file.read() if stat.S_ISREG(about.st_mode) and about.st_size <= room else None
