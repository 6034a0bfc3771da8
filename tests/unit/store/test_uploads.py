"""Uploads over files and blobs, on both databases: pending with every part, or a file; never something in between."""

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, NotFound, PayloadTooLarge, Unavailable
from mainspring.store import uploads as module
from mainspring.store.blobs import Blobs, Directory
from mainspring.store.db import Database
from mainspring.store.files import File, Files, remove_all
from mainspring.store.references import UNUSED_S
from mainspring.store.tables import files, unused_blobs, upload_parts, uploads
from mainspring.store.uploads import EXPIRES_S, GRACE_S, REMEMBERED_S, Part, Upload, Uploads

MAX_BYTES = 1000


async def stream(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


class World(Uploads):
    """Uploads, and what a test does with them."""

    def __init__(self, database: Database, blobs: Blobs, root: Path) -> None:
        self.database, self.root, self.clock = database, root, FakeClock()
        self.files = Files(database, blobs, self.clock)
        super().__init__(database, self.files, self.clock, max_bytes=MAX_BYTES)

    async def begin(self, num_bytes: int, project: str = "lab", **more: Any) -> Upload:
        given = {"purpose": "user_data", "filename": "a.bin", "mime_type": "application/pdf", **more}
        return await self.create(project=project, bytes=num_bytes, **given)

    async def part(self, upload: Upload, data: bytes) -> str:
        return (await self.add(upload.project, upload.id, await self.receive(stream(data)))).id

    async def content(self, file: File) -> bytes:
        return b"".join([piece async for piece in self.files.open(file)])

    async def count(self, *tables: Any) -> list[int]:
        async with self.database.read() as connection:
            return [(await connection.execute(select(func.count()).select_from(each))).scalar_one() for each in tables]

    def kept(self) -> set[str]:
        return {path.name for path in self.root.rglob("*") if path.is_file()}

    async def check_integrity(self) -> None:
        """Every row has its blob, every blob a row or a note; no part belongs to what has ended."""
        async with self.database.read() as connection:
            named = {
                sha256
                for table in (files, upload_parts)
                for sha256 in (await connection.execute(select(table.c.sha256))).scalars()
            }
            noted = set((await connection.execute(select(unused_blobs.c.sha256))).scalars())
            ended = select(upload_parts.c.id).join(uploads).where(uploads.c.status != "pending")
            assert (await connection.execute(ended)).scalars().all() == []
        assert named <= self.kept() <= named | noted


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    database = await Database.open(tmp_path, database_url)
    made = World(database, Directory(tmp_path / "blobs"), tmp_path / "blobs")
    yield made
    await made.check_integrity()
    await database.close()


async def test_parts_in_any_order_become_one_file(world: World) -> None:
    data = [os.urandom(number) for number in (100, 1, 300, 0, 77)]
    upload = await world.begin(478, by="key-1", file_expires_s=7200)
    assert (upload.status, upload.expires - upload.created) == ("pending", 3600)
    ids = dict(zip(range(5), await asyncio.gather(*[world.part(upload, each) for each in data]), strict=True))
    order = [4, 2, 0, 3, 1]
    whole = b"".join(data[at] for at in order)
    done, file = await world.complete("lab", upload.id, [ids[at] for at in order], hashlib.md5(whole).hexdigest())
    assert await world.content(file) == whole
    assert (done.status, done.file) == ("completed", file.id)
    assert (file.bytes, file.filename, file.purpose, file.creator) == (478, "a.bin", "user_data", "key-1")
    assert file.expires == file.created + 7200
    assert await world.files.get("lab", file.id) == file
    assert world.kept() == {file.sha256}
    assert await world.count(uploads, upload_parts, unused_blobs) == [1, 0, 0]


async def test_nothing_at_all_and_one_part_that_is_the_file(world: World) -> None:
    upload = await world.begin(0)
    _, file = await world.complete("lab", upload.id, [])
    assert await world.content(file) == b""
    upload = await world.begin(4)
    _, file = await world.complete("lab", upload.id, [await world.part(upload, b"only")])
    assert await world.content(file) == b"only"
    assert len(world.kept()) == 2


async def test_what_was_sent_twice_is_there_once_and_may_be_left_out(world: World) -> None:
    upload = await world.begin(1000)
    first = [await world.part(upload, b"a" * 500) for _ in range(3)]
    rest = await world.part(upload, b"b" * 500)
    assert len(world.kept()) == 2
    with pytest.raises(PayloadTooLarge):
        await world.part(upload, b"c")
    assert len(world.kept()) == 2
    _, file = await world.complete("lab", upload.id, [rest, first[1]])
    assert await world.content(file) == b"b" * 500 + b"a" * 500


async def test_what_does_not_fit_is_refused_and_the_upload_stays(world: World) -> None:
    upload, other = await world.begin(6), await world.begin(3)
    foreign = await world.part(other, b"xyz")
    theirs = await world.begin(3, "shop")
    of_theirs = await world.part(theirs, b"xyz")
    one, two = await world.part(upload, b"abc"), await world.part(upload, b"def")
    for ids, code, param in (
        ([one], "bytes_mismatch", "part_ids"),
        ([], "bytes_mismatch", "part_ids"),
        ([one, one], "invalid_value", "part_ids"),
        ([one, foreign], "part_not_found", "part_ids[1]"),
        ([of_theirs, one], "part_not_found", "part_ids[0]"),
        ([one, "part_none"], "part_not_found", "part_ids[1]"),
    ):
        with pytest.raises(InvalidRequest) as error:
            await world.complete("lab", upload.id, ids)
        assert (error.value.code, error.value.param) == (code, param)
    with pytest.raises(InvalidRequest, match=hashlib.md5(b"abcdef").hexdigest()) as error:
        await world.complete("lab", upload.id, [one, two], hashlib.md5(b"abc").hexdigest())
    assert (error.value.code, error.value.param) == ("md5_mismatch", "md5")
    assert len(world.kept()) == 3
    assert (await world.pending("lab", upload.id)) == upload
    _, file = await world.complete("lab", upload.id, [one, two], hashlib.md5(b"abcdef").hexdigest().upper())
    assert await world.content(file) == b"abcdef"


async def test_lines_are_checked_across_parts(world: World) -> None:
    upload = await world.begin(12, purpose="batch", mime_type="text/jsonl")
    one, two = await world.part(upload, b'{"a": 1}\n{"'), await world.part(upload, b"]")
    with pytest.raises(InvalidRequest, match="line 2"):
        await world.complete("lab", upload.id, [one, two])
    with pytest.raises(InvalidRequest, match="promised"):
        await world.complete("lab", upload.id, [two])
    for purpose, kind in (("batch", "image/png"), ("vision", "text/jsonl")):
        with pytest.raises(InvalidRequest) as error:
            await world.begin(1, purpose=purpose, mime_type=kind)
        assert error.value.param == "mime_type"
    for purpose, param in (("other", "purpose"), ("user_data", "bytes")):
        with pytest.raises(InvalidRequest) as error:
            await world.begin(MAX_BYTES + 1, purpose=purpose)
        assert error.value.param == param


async def test_what_has_ended_takes_and_gives_nothing(world: World) -> None:
    async def refused(upload: Upload, part: str, state: str) -> None:
        for call in (
            lambda: world.part(upload, b"y"),
            lambda: world.complete("lab", upload.id, [part]),
            *([] if state == "cancelled" else [lambda: world.cancel("lab", upload.id)]),
        ):
            with pytest.raises(InvalidRequest, match=f"is {state}") as error:
                await call()
            assert error.value.code == "upload_not_pending"

    upload = await world.begin(1)
    part = await world.part(upload, b"x")
    await world.complete("lab", upload.id, [part])
    await refused(upload, part, "completed")
    upload = await world.begin(1)
    part = await world.part(upload, b"z")
    assert (await world.cancel("lab", upload.id)).status == "cancelled"
    assert (await world.cancel("lab", upload.id)).status == "cancelled"
    await refused(upload, part, "cancelled")
    upload = await world.begin(1)
    part = await world.part(upload, b"z")
    world.clock.advance(EXPIRES_S)
    await refused(upload, part, "expired")
    assert len(world.kept()) == 2
    world.clock.advance(GRACE_S)
    assert await world.sweep() == 1
    await refused(upload, part, "expired")
    assert len(world.kept()) == 1
    world.clock.advance(REMEMBERED_S)
    assert await world.sweep() == 3
    assert await world.sweep() == 0
    assert await world.count(uploads, upload_parts) == [0, 0]


async def test_no_project_sees_another_s(world: World) -> None:
    upload = await world.begin(1)
    part = await world.part(upload, b"x")
    for call in (
        lambda: world.pending("shop", upload.id),
        lambda: world.complete("shop", upload.id, [part]),
        lambda: world.cancel("shop", upload.id),
        lambda: world.pending("lab", "upload_none"),
    ):
        with pytest.raises(NotFound):
            await call()
    staged = await world.receive(stream(b"y"))
    with pytest.raises(NotFound):
        await world.add("shop", upload.id, staged)
    await world.begin(1, "shop")
    async with world.database.write() as connection:
        await remove_all(connection, "lab")
    assert await world.count(uploads, upload_parts) == [1, 0]
    await world.files.sweep()
    assert world.kept() == set()


async def test_completing_twice_at_once_makes_one_file(world: World) -> None:
    upload = await world.begin(4)
    ids = [await world.part(upload, b"ab"), await world.part(upload, b"cd")]
    found = await asyncio.gather(*[world.complete("lab", upload.id, ids) for _ in range(4)], return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["InvalidRequest"] * 3 + ["tuple"]
    assert await world.count(files, upload_parts) == [1, 0]
    assert len(world.kept()) == 1


async def test_a_cancel_while_it_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = await world.begin(2)
    part, receive = await world.part(upload, b"ab"), world.files.receive

    async def meanwhile(*given: Any, **more: Any) -> Any:
        arrived = await receive(*given, **more)
        await world.cancel("lab", upload.id)
        return arrived

    monkeypatch.setattr(world.files, "receive", meanwhile)
    with pytest.raises(InvalidRequest, match="is cancelled"):
        await world.complete("lab", upload.id, [part])
    assert await world.count(files, upload_parts) == [0, 0]
    assert world.kept() == set()


async def test_a_part_more_than_there_may_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 2)
    monkeypatch.setattr(module, "MAX_PART_BYTES", 5)
    upload = await world.begin(3)
    for data in (b"a", b"b"):
        await world.part(upload, data)
    with pytest.raises(InvalidRequest, match="parts already"):
        await world.part(upload, b"c")
    with pytest.raises(PayloadTooLarge):
        await world.receive(stream(b"123456"))
    assert len(world.kept()) == 2


CONTENTS = [b"a", b"b", b"ab", b"c" * 300]


async def one_step(world: World, draw: random.Random, begun: list[tuple[Upload, list[tuple[str, bytes]]]]) -> None:
    kind = draw.choice(["begin", "part", "part", "part", "complete", "complete", "cancel", "file", "remove"])
    if kind == "begin" or not begun:
        begun.append((await world.begin(draw.choice([1, 2, 3, 301])), []))
    elif kind == "file":
        made = stream(draw.choice(CONTENTS))
        await world.files.create(project="lab", purpose="user_data", filename="x", stream=made)
    elif kind == "remove":
        if found := (await world.files.list("lab"))[0]:
            await world.files.remove("lab", draw.choice(found).id)
    else:
        upload, parts = draw.choice(begun[-4:])
        if kind == "part":
            data = draw.choice(CONTENTS)
            parts.append((await world.part(upload, data), data))
        elif kind == "cancel":
            await world.cancel("lab", upload.id)
        else:
            chosen = draw.sample(parts, draw.randint(0, min(3, len(parts))))
            _, file = await world.complete("lab", upload.id, [each for each, _ in chosen])
            assert await world.content(file) == b"".join(data for _, data in chosen)


async def test_uploads_and_files_agree_whatever_is_done_in_which_order(world: World) -> None:
    """Few contents, so that parts and files share blobs; tasks that are cancelled somewhere; a clock that moves."""
    draw, begun = random.Random(2), list[Any]()
    for _ in range(12):
        tasks = [asyncio.create_task(one_step(world, draw, begun)) for _ in range(8)]
        for task in tasks:
            if draw.random() < 0.2:
                for _ in range(draw.randrange(20)):
                    await asyncio.sleep(0)
                task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in done} <= {type(None), InvalidRequest, NotFound, asyncio.CancelledError}
        await world.check_integrity()
        world.clock.advance(draw.choice([0, 60, EXPIRES_S]))
        await world.sweep()
    for each in (await world.files.list("lab"))[0]:
        await world.files.remove("lab", each.id)
    world.clock.advance(EXPIRES_S + GRACE_S + REMEMBERED_S + UNUSED_S)
    await world.sweep()
    await world.files.sweep()
    await world.sweep()
    assert await world.count(files, uploads, upload_parts) == [0, 0, 0]
    assert world.kept() == set()


KILLED = Path(__file__).with_name("killed_upload.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
async def test_whenever_a_process_is_killed_it_is_pending_with_its_parts_or_a_file(tmp_path: Path) -> None:
    """The process that completes an upload kills itself at 20 moments, spread over all calls that it makes."""
    ran = subprocess.run(  # noqa: ASYNC221 - nothing else runs meanwhile
        [sys.executable, str(KILLED), str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    ended = list[str]()
    for home in said["homes"]:
        folder = Path(home)
        database = await Database.open(folder)
        world = World(database, Directory(folder / "blobs"), folder / "blobs")
        Directory(folder / "blobs").clean()
        await world.check_integrity()
        ended.append(await _check_killed(world, said["upload"], said["parts"]))
        await database.close()
    assert len(ended) == 20
    assert {*ended} == {"pending", "completed"}, "moments before and after"


async def _check_killed(world: World, upload: str, parts: Sequence[str]) -> str:
    async with world.database.read() as connection:
        [row] = (await connection.execute(select(uploads))).mappings().all()
    found, _ = await world.files.list("lab")
    if row["status"] == "pending":
        assert found == []
        assert (await world.count(upload_parts)) == [3]
        async with world.database.write() as connection:  # the test's clock is another one
            await connection.execute(update(uploads).values(expires=world.clock.now() + 1))
        _, file = await world.complete("lab", upload, parts)
    else:
        [file] = found
        assert (row["file"], await world.count(upload_parts)) == (file.id, [0])
    assert await world.content(file) == b"".join(bytes([at]) * 200_000 for at in range(3))
    world.clock.advance(UNUSED_S + 1e9)
    await world.files.sweep()
    assert world.kept() == {file.sha256}
    return str(row["status"])


class Forgetful(Directory):
    """Loses what was sent so many times before it is kept, as a bucket may."""

    lost = 0

    async def keep(self, staged: Any) -> bool:
        if self.lost:
            self.lost -= 1
            return False
        return await super().keep(staged)


async def test_what_is_lost_on_its_way_is_sent_again(tmp_path: Path) -> None:
    database = await Database.open(tmp_path)
    blobs = Forgetful(tmp_path / "blobs")
    world = World(database, blobs, tmp_path / "blobs")
    upload = await world.begin(1)
    blobs.lost = 3
    part = await world.part(upload, b"x")
    blobs.lost = 5
    with pytest.raises(Unavailable):
        await world.complete("lab", upload.id, [part])
    assert isinstance(await world.complete("lab", upload.id, [part]), tuple)
    await world.check_integrity()
    await database.close()


async def test_the_same_over_a_bucket(tmp_path: Path, database_url: str, s3_server: Any) -> None:
    from mainspring.store.blobs import open_blobs

    settings = s3_server.settings()
    database = await Database.open(tmp_path, database_url)
    world = World(database, open_blobs(tmp_path, settings), tmp_path)
    upload = await world.begin(600)
    data = [os.urandom(300), os.urandom(300)]
    ids = await asyncio.gather(*[world.part(upload, each) for each in data])
    assert len(s3_server.keys(settings)) == 2
    _, file = await world.complete("lab", upload.id, ids[::-1])
    assert await world.content(file) == data[1] + data[0]
    assert s3_server.keys(settings) == {f"{file.sha256[:2]}/{file.sha256[2:4]}/{file.sha256}"}
    assert (await world.files.local(file)).read_bytes() == data[1] + data[0]
    await world.files.remove("lab", file.id)
    assert s3_server.keys(settings) == set()
    assert isinstance(Part, type)
    await database.close()
