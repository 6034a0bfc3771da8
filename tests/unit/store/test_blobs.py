"""Blobs in a folder: whole or not there, once each, and nothing left behind by whoever was killed."""

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.errors import NotFound, PayloadTooLarge, StorageFull, Unavailable
from mainspring.store import blobs as module
from mainspring.store.blobs import INCOMING, Directory, place


async def stream(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def put(blobs: Directory, *pieces: bytes) -> str:
    staged = await blobs.stage(stream(*pieces), max_bytes=2**30)
    await blobs.keep(staged)
    return staged.sha256


def below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    blobs, data = Directory(tmp_path / "blobs"), os.urandom(3 * 2**20 + 5)
    sha256 = await put(blobs, data[:1], b"", data[1:100], data[100:])
    assert sha256 == hashlib.sha256(data).hexdigest()
    path = await blobs.path(sha256)
    assert path == tmp_path / "blobs" / sha256[:2] / sha256[2:4] / sha256
    assert path.read_bytes() == data
    assert b"".join([piece async for piece in blobs.read(sha256)]) == data
    for start, end in ((0, 0), (0, 1), (5, 2**19), (2**20, None), (len(data) - 1, None), (len(data), None), (7, 2**30)):
        assert b"".join([piece async for piece in blobs.read(sha256, start, end)]) == data[start:end]
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.stat().st_mode & 0o077]


async def test_the_same_content_is_there_once(tmp_path: Path) -> None:
    blobs = Directory(tmp_path)
    first, second = await put(blobs, b"same"), await put(blobs, b"sa", b"me")
    assert first == second
    assert below(tmp_path) == [place(tmp_path, first)]
    await blobs.remove(first)
    await blobs.remove(first)
    assert below(tmp_path) == []
    with pytest.raises(NotFound):
        await blobs.path(first)
    with pytest.raises(NotFound):
        await anext(blobs.read(first))


async def test_who_reads_a_blob_reads_it_to_its_end(tmp_path: Path) -> None:
    blobs, data = Directory(tmp_path), os.urandom(2**20)
    sha256 = await put(blobs, data)
    reading = blobs.read(sha256)
    found = await anext(reading)
    await blobs.remove(sha256)
    assert found + b"".join([piece async for piece in reading]) == data


async def fails(at: int, error: Exception) -> AsyncGenerator[bytes]:
    for _ in range(at):
        yield bytes(2**20)
    raise error


async def test_a_stream_that_fails_or_is_too_long_leaves_nothing(tmp_path: Path) -> None:
    blobs = Directory(tmp_path)
    with pytest.raises(RuntimeError, match="gone"):
        await blobs.stage(fails(3, RuntimeError("gone")), max_bytes=2**30)
    with pytest.raises(PayloadTooLarge):
        await blobs.stage(stream(bytes(10), bytes(1)), max_bytes=10)

    def refuse(piece: bytes) -> None:
        raise ValueError(len(piece))

    with pytest.raises(ValueError, match="10"):
        await blobs.stage(stream(bytes(10)), max_bytes=10, look=refuse)
    assert below(tmp_path) == []
    await blobs.discard(await blobs.stage(stream(bytes(10)), max_bytes=10))
    assert below(tmp_path) == []


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageFull):
        await Directory(tmp_path, spare_bytes=2**62).stage(stream(b"x"), max_bytes=10)
    blobs = Directory(tmp_path)
    for number, expected in ((errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, Unavailable)):

        def full(*_: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(module.os, "fsync", full)
            with pytest.raises(expected):
                await blobs.stage(stream(b"x"), max_bytes=10)
    assert below(tmp_path) == []


async def test_a_cancelled_writer_leaves_nothing(tmp_path: Path) -> None:
    blobs, has_begun = Directory(tmp_path), asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        while True:
            yield bytes(2**20)
            has_begun.set()

    task = asyncio.create_task(blobs.stage(endless(), max_bytes=2**40))
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert below(tmp_path) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from mainspring.store.blobs import Directory

async def slow():
    yield bytes(2**20)
    print("begun", flush=True)
    await asyncio.sleep(600)

asyncio.run(Directory(Path(sys.argv[1])).stage(slow(), max_bytes=2**30))
"""


async def test_what_a_killed_writer_left_is_cleaned_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    blobs = Directory(tmp_path)
    assert blobs.clean() == 0
    staged = await blobs.stage(stream(b"living"), max_bytes=10)
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220 - nothing else runs meanwhile
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            assert blobs.clean() == 0
            assert len(below(tmp_path / INCOMING)) == 2
        finally:
            process.kill()
    assert blobs.clean() == 1
    assert below(tmp_path) == [staged.part]
    await blobs.keep(staged)
    assert below(tmp_path) == [place(tmp_path, staged.sha256)]
