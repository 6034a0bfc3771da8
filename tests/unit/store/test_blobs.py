"""Blobs in a folder and in a bucket: whole or not there, once each, and nothing left behind by whoever was killed."""

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.config_blobs import BlobSettings
from mainspring.core.errors import NotFound, PayloadTooLarge, StorageFull, Unavailable, UserMistake
from mainspring.store import blobs as module
from mainspring.store.blobs import BLOBS, CACHE, INCOMING, Blobs, Directory, open_blobs
from tests.s3 import S3


async def stream(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def put(blobs: Blobs, *pieces: bytes) -> str:
    staged = await blobs.stage(stream(*pieces), max_bytes=2**30)
    await blobs.send(staged)
    assert await blobs.keep(staged)
    await blobs.discard(staged)
    return staged.sha256


async def read(blobs: Blobs, sha256: str, *bounds: int | None) -> bytes:
    return b"".join([piece async for piece in blobs.read(sha256, *bounds)])


def below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


class World:
    """Blobs, and where they are."""

    def __init__(self, home: Path, settings: BlobSettings, server: S3 | None = None) -> None:
        self.home, self.settings, self.server = home, settings, server
        self.blobs = open_blobs(home, settings)

    def kept(self) -> set[str]:
        """Where each blob is, in the bucket or else in the folder."""
        if self.server is not None:
            return self.server.keys(self.settings)
        root = self.home / BLOBS
        return {path.relative_to(root).as_posix() for path in below(root) if path.parent.name != INCOMING}

    def written(self) -> list[Path]:
        """What is on this machine while it is written, and stays there if somebody forgets it."""
        return [path for path in below(self.home) if path.parent.name == INCOMING]


@pytest.fixture(params=["folder", "bucket"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "folder":
        return World(tmp_path, BlobSettings())
    server: S3 = request.getfixturevalue("s3_server")
    return World(tmp_path, server.settings(), server)


def key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


async def test_what_goes_in_comes_out(world: World) -> None:
    blobs, data = world.blobs, os.urandom(3 * 2**20 + 5)
    sha256 = await put(blobs, data[:1], b"", data[1:100], data[100:])
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert world.kept() == {key(sha256)}
    assert world.written() == []
    assert await read(blobs, sha256) == data
    for start, end in ((0, 0), (0, 1), (5, 2**19), (2**20, None), (len(data) - 1, None), (len(data), None), (7, 2**30)):
        assert await read(blobs, sha256, start, end) == data[start:end]
    assert (await blobs.path(sha256)).read_bytes() == data
    assert not [path for path in world.home.rglob("*") if path.stat().st_mode & 0o077]
    empty = await put(blobs)
    assert await read(blobs, empty) == b""
    assert (await blobs.path(empty)).read_bytes() == b""


async def test_the_same_content_is_there_once(world: World) -> None:
    blobs = world.blobs
    first, second = await put(blobs, b"same"), await put(blobs, b"sa", b"me")
    assert first == second
    assert world.kept() == {key(first)}
    assert (await blobs.path(first)).read_bytes() == b"same"
    await blobs.remove(first)
    await blobs.remove(first)
    assert world.kept() == set()
    assert below(world.home) == []
    with pytest.raises(NotFound) as error:
        await blobs.path(first)
    assert error.value.code == "content_missing"
    with pytest.raises(NotFound):
        await anext(blobs.read(first))


async def test_who_reads_a_blob_reads_it_to_its_end(world: World) -> None:
    blobs, data = world.blobs, os.urandom(2**20)
    sha256 = await put(blobs, data)
    reading = blobs.read(sha256)
    found = await anext(reading)
    await blobs.remove(sha256)
    assert found + b"".join([piece async for piece in reading]) == data


async def fails(at: int, error: Exception) -> AsyncGenerator[bytes]:
    for _ in range(at):
        yield bytes(2**20)
    raise error


async def test_a_stream_that_fails_or_is_too_long_leaves_nothing(world: World) -> None:
    blobs = world.blobs
    with pytest.raises(RuntimeError, match="gone"):
        await blobs.stage(fails(3, RuntimeError("gone")), max_bytes=2**30)
    with pytest.raises(PayloadTooLarge):
        await blobs.stage(stream(bytes(10), bytes(1)), max_bytes=10)

    def refuse(piece: bytes) -> None:
        raise ValueError(len(piece))

    with pytest.raises(ValueError, match="10"):
        await blobs.stage(stream(bytes(10)), max_bytes=10, look=refuse)
    assert below(world.home) == []
    await blobs.discard(await blobs.stage(stream(bytes(10)), max_bytes=10))
    assert below(world.home) == []
    assert world.kept() == set()


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


async def test_a_cancelled_writer_leaves_nothing(world: World) -> None:
    blobs, has_begun = world.blobs, asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        while True:
            yield bytes(2**20)
            has_begun.set()

    task = asyncio.create_task(blobs.stage(endless(), max_bytes=2**40))
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert below(world.home) == []


KILLED = """
import asyncio, json, sys
from pathlib import Path
from mainspring.core.config_blobs import BlobSettings
from mainspring.store.blobs import open_blobs

async def slow():
    yield bytes(2**20)
    print("begun", flush=True)
    await asyncio.sleep(600)

blobs = open_blobs(Path(sys.argv[1]), BlobSettings(**json.loads(sys.argv[2])))
asyncio.run(blobs.stage(slow(), max_bytes=2**30))
"""


async def test_what_a_killed_writer_left_is_cleaned_and_a_living_one_s_is_not(world: World) -> None:
    blobs = world.blobs
    assert blobs.clean() == 0
    staged = await blobs.stage(stream(b"living"), max_bytes=10)
    command = [sys.executable, "-c", KILLED, str(world.home), world.settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220 - nothing else runs meanwhile
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            assert blobs.clean() == 0
            assert len(world.written()) == 2
        finally:
            process.kill()
    assert blobs.clean() == 1
    assert below(world.home) == [staged.part]
    await blobs.send(staged)
    assert await blobs.keep(staged)
    await blobs.discard(staged)
    assert world.kept() == {key(staged.sha256)}
    assert world.written() == []


@pytest.fixture
def bucket(s3_server: S3, tmp_path: Path) -> World:
    return World(tmp_path, s3_server.settings(), s3_server)


async def test_what_is_large_is_sent_in_parts_and_is_one_object(bucket: World) -> None:
    assert bucket.server is not None
    piece = os.urandom(2**20)
    sha256 = await put(bucket.blobs, *[piece] * 21)
    assert bucket.server.get(bucket.settings, key(sha256)) == piece * 21
    assert bucket.server.unfinished(bucket.settings) == 0
    assert await read(bucket.blobs, sha256, 2**20 - 1, 5 * 2**20) == (piece * 21)[2**20 - 1 : 5 * 2**20]


async def test_what_somebody_removes_before_it_is_kept_is_sent_again(bucket: World) -> None:
    blobs, staged = bucket.blobs, await bucket.blobs.stage(stream(b"x"), max_bytes=10)
    assert not await blobs.keep(staged)
    await blobs.send(staged)
    await blobs.remove(staged.sha256)
    assert not await blobs.keep(staged)
    await blobs.send(staged)
    assert await blobs.keep(staged)
    await blobs.discard(staged)


async def test_a_copy_is_made_once_and_the_oldest_go_first(s3_server: S3, tmp_path: Path) -> None:
    world = World(tmp_path, s3_server.settings(cache_bytes=250), s3_server)
    made = [await put(world.blobs, bytes([number]) * 100) for number in range(4)]
    paths = [await world.blobs.path(sha256) for sha256 in made[:3]]
    assert all(path.exists() for path in paths), "they were asked for within the hour"
    now_s = time.time()
    for hours, path in zip((2, 4, 3), paths, strict=True):
        os.utime(path, (now_s, now_s - hours * 3600))
    assert await world.blobs.path(made[0]) == paths[0]
    await world.blobs.path(made[3])
    assert [path.exists() for path in paths] == [True, False, False]
    assert len(world.kept()) == 4
    assert (await world.blobs.path(made[1])).read_bytes() == b"\x01" * 100


async def test_a_copy_that_is_not_what_its_name_says_is_refused(bucket: World) -> None:
    assert bucket.server is not None
    sha256 = await put(bucket.blobs, b"right")
    bucket.server.put(bucket.settings, key(sha256), b"wrong")
    with pytest.raises(Unavailable, match="damaged"):
        await bucket.blobs.path(sha256)
    assert below(bucket.home) == []


async def test_a_bucket_that_does_not_answer_is_said_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mainspring.store import bucket as module

    monkeypatch.setattr(module, "QUICK_S", 0.2)
    monkeypatch.setattr(module, "PIECE_S", 0.2)
    settings = BlobSettings(url="s3://nothing", endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key="b")
    blobs = open_blobs(tmp_path, settings)
    staged = await blobs.stage(stream(b"x"), max_bytes=10)
    for call in (blobs.keep(staged), blobs.send(staged), blobs.remove("0" * 64), anext(blobs.read("0" * 64))):
        with pytest.raises(Unavailable) as error:
            await call
        assert error.value.code == "storage_unavailable"
    await blobs.discard(staged)
    assert below(tmp_path / CACHE) == []


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"blobs.region"):
        open_blobs(tmp_path, BlobSettings(url="gs://bucket/x", region="here"))
    with pytest.raises(ValueError, match="url"):
        BlobSettings(url="http://bucket")
    assert isinstance(open_blobs(tmp_path, BlobSettings()), Directory)
