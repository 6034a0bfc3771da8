"""A write-ahead journal: lines that were appended before the process died are there when it starts again.

A line is in the operating system's hands when `append` returns, so `kill -9` of this process loses none; a power
failure may lose the newest. Room is taken from the disk ahead of its use, so a promise to accept one more line later
(`hold`) is kept even when the disk has been filled by somebody else. Lines lie in numbered segments: whoever has made
sure that the lines of all but the newest are kept elsewhere removes them.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

__all__ = ["MAX_LINE", "Journal", "is_in_use", "lines", "read_all"]

CHUNK = 256 * 1024
"""Bytes taken from the disk at a time."""
MAX_LINE = 4096
"""The longest line, its end included."""


class Journal:
    """A journal that belongs to this process. Nothing here is asynchronous: a line costs microseconds.

    Args:
        root: made if it is missing, for its owner only. Each process that uses it takes a folder of its own in it, and
            the segments that processes have left there which are gone.

    Raises:
        OSError: it cannot be made, or the disk has no room for a first segment.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        self._lock, self._folder = _take_folder(root)
        self._adopt(root)
        self._number = self._last() + 1
        self._held = 0
        self._file, self._allocated, self._used = self._new(self._number, 0)

    def _adopt(self, root: Path) -> None:
        for other in sorted(path for path in root.iterdir() if path.is_dir() and path != self._folder):
            lock = _lock(other)
            if lock is None:
                continue
            for segment in _segments(other):
                segment.rename(self._path(self._last() + 1))
            os.close(lock)

    def _segments(self) -> list[Path]:
        return _segments(self._folder)

    def _last(self) -> int:
        return max((int(path.stem) for path in self._segments()), default=0)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.journal"

    def _new(self, number: int, need: int) -> tuple[BinaryIO, int, int]:
        path = self._path(number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        size = CHUNK * (1 + need // CHUNK)
        try:
            _allocate(file, 0, size)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return file, size, 0

    def append(self, line: bytes, *, hold: bool = False, held: bool = False) -> None:
        """Write a line (without its end).

        Args:
            hold: also keep room for one more, which is then written with `held`.

        Raises:
            OSError: there is no room. Not with `held`.
        """
        if len(line) >= MAX_LINE or b"\n" in line:
            raise ValueError(f"a line of the journal is shorter than {MAX_LINE} bytes and has no end within")
        reserved = self._held + MAX_LINE * (hold - held)
        need = self._used + len(line) + 1 + reserved
        if need > self._allocated:
            size = max(need - self._allocated, CHUNK)
            _allocate(self._file, self._allocated, size)
            self._allocated += size
        self._file.seek(self._used)
        _write(self._file, line + b"\n")
        self._used += len(line) + 1
        self._held = reserved

    def release(self) -> None:
        """Give back the room for one line that will not be written."""
        self._held -= MAX_LINE

    @property
    def used(self) -> int:
        """Bytes of lines in the newest segment."""
        return self._used

    def rotate(self, lines: Iterable[bytes]) -> None:
        """Begin a new segment with these lines, each of which keeps the room that it holds.

        Raises:
            OSError: there is no room; the old segment is still the newest.
        """
        kept = b"".join(line + b"\n" for line in lines)
        file, allocated, _ = self._new(self._number + 1, len(kept) + self._held)
        try:
            _write(file, kept)
        except OSError:
            file.close()
            self._path(self._number + 1).unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._allocated, self._used, self._number = file, allocated, len(kept), self._number + 1

    def older(self) -> list[Path]:
        """The segments before the newest, oldest first."""
        newest = self._path(self._number)
        return [path for path in self._segments() if path < newest]

    def close(self) -> None:
        """Close the newest segment and give the folder back; what lies there stays."""
        self._file.close()
        os.close(self._lock)


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.journal") if path.stem.isdecimal())


def _take_folder(root: Path) -> tuple[int, Path]:
    for number in count(1):
        folder = root / str(number)
        folder.mkdir(mode=0o700, exist_ok=True)
        if (lock := _lock(folder)) is not None:
            return lock, folder
    raise AssertionError


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder until it is closed, however that happens; None if another process has it."""
    import fcntl

    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def lines(segment: Path) -> Iterator[bytes]:
    """The whole lines of a segment. What follows them is room that was never used, or half a line."""
    *whole, _ = segment.read_bytes().split(b"\n")
    for line in whole:
        if line.strip(b"\0"):
            yield line


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _allocate(file: BinaryIO, start: int, size: int) -> None:
    """Take room from the disk now, full of zeros."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), start, size)
        return
    file.seek(start)
    _write(file, bytes(size))


def is_in_use(root: Path) -> bool:
    """Whether a process that lives writes a journal in `root`."""
    for folder in root.glob("*/"):
        if (folder / "lock").exists():
            lock = _lock(folder)
            if lock is None:
                return True
            os.close(lock)
    return False


def read_all(root: Path) -> Iterator[bytes]:
    """The lines of every segment in `root`, while their owners go on writing, moving and removing them.

    A segment that is gone when its turn comes has been taken over by the database. One that another process adopts has
    a new name: looking twice finds it.
    """
    read = set[int]()
    for _ in range(2):
        for segment in sorted(path for folder in root.glob("*/") for path in _segments(folder)):
            try:
                inode = segment.stat().st_ino
                if inode not in read:
                    yield from lines(segment)
                    read.add(inode)
            except FileNotFoundError:
                continue
