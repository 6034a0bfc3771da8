"""Files over blobs, on both databases: a name never lacks its blob, and a blob goes with its last name."""

import asyncio
import hashlib
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, NotFound, Unavailable
from mainspring.store import jsonl
from mainspring.store.blobs import Directory, Staged
from mainspring.store.db import Database
from mainspring.store.files import File, Files, remove_all
from mainspring.store.jsonl import Lines
from mainspring.store.references import UNUSED_S
from mainspring.store.tables import unused_blobs


async def stream(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


class Broken(Directory):
    """Fails where it is told to."""

    fails = ""

    async def keep(self, staged: Staged) -> bool:
        is_kept = await super().keep(staged)
        if self.fails == "keep":
            raise Unavailable("It was made and the row was not.")
        return is_kept

    async def remove(self, sha256: str) -> None:
        if self.fails == "remove":
            raise PermissionError("no")
        await super().remove(sha256)


class World(Files):
    """Files, and what a test does with them."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database, self.root, self.clock = database, root, FakeClock()
        super().__init__(database, Broken(root), self.clock)

    async def make(self, data: bytes = b"x", project: str = "lab", **more: Any) -> File:
        given = {"purpose": "user_data", "filename": "a.bin", **more}
        return await self.create(project=project, stream=stream(data), **given)

    def kept(self) -> set[str]:
        return {path.name for path in self.root.rglob("*") if path.is_file()}

    async def check_integrity(self) -> None:
        """Every name has its blob; every blob has a name, or a note that it may have none."""
        named = {file.sha256 for project in ("lab", "shop") for file in (await self.list(project))[0]}
        async with self.database.read() as connection:
            noted = set((await connection.execute(select(unused_blobs.c.sha256))).scalars())
        assert named <= self.kept() <= named | noted
        for sha256 in named:
            assert hashlib.sha256((await self.blobs.path(sha256)).read_bytes()).hexdigest() == sha256


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    database = await Database.open(tmp_path, database_url)
    made = World(database, tmp_path / "blobs")
    yield made
    await made.check_integrity()
    await database.close()


async def test_a_file_is_kept_found_and_removed(world: World) -> None:
    made = await world.make(b"hello", by="key-1")
    assert made.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert (made.bytes, made.created, made.expires, made.creator) == (5, world.clock.now(), None, "key-1")
    assert await world.get("lab", made.id) == made
    assert (await world.local(made)).read_bytes() == b"hello"
    assert [piece async for piece in world.open(made)] == [b"hello"]
    assert [piece async for piece in world.open(made, 1, 3)] == [b"el"]
    for other in ("shop", ""):
        with pytest.raises(NotFound):
            await world.get(other, made.id)
        with pytest.raises(NotFound):
            await world.remove(other, made.id)
        assert await world.list(other) == ([], False)
    await world.remove("lab", made.id)
    with pytest.raises(NotFound):
        await world.remove("lab", made.id)
    assert world.kept() == set()


async def test_a_blob_goes_with_its_last_name_whichever_project_has_it(world: World) -> None:
    first, second = await world.make(b"same"), await world.make(b"same", "shop")
    await world.remove("lab", first.id)
    assert [piece async for piece in world.open(second)] == [b"same"]
    await world.remove("shop", second.id)
    assert world.kept() == set()


async def test_what_has_expired_is_gone_at_once_and_its_blob_at_the_next_sweep(world: World) -> None:
    brief, lasting = await world.make(b"brief", expires_s=3600), await world.make(b"lasting")
    world.clock.advance(3599)
    assert await world.sweep() == 0
    assert await world.get("lab", brief.id) == brief
    world.clock.advance(1)
    with pytest.raises(NotFound):
        await world.get("lab", brief.id)
    assert await world.list("lab") == ([lasting], False)
    assert world.kept() == {brief.sha256, lasting.sha256}
    await world.sweep()
    assert world.kept() == {lasting.sha256}
    assert await world.sweep() == 0


async def test_lines_are_checked_for_what_is_made_of_lines(world: World) -> None:
    for purpose in ("fine-tune", "batch", "evals"):
        with pytest.raises(InvalidRequest, match="line 2"):
            await world.make(b"{}\n{", purpose=purpose)
        with pytest.raises(InvalidRequest, match="empty"):
            await world.make(b"", purpose=purpose)
    with pytest.raises(InvalidRequest, match="'purpose'"):
        await world.make(b"{}", purpose="other")
    assert world.kept() == set()
    assert (await world.make(b"step,loss", purpose="fine-tune-results")).purpose == "fine-tune-results"


async def test_pages_neither_lose_nor_repeat_what_was_made_at_one_time(world: World) -> None:
    made = []
    for number in range(12):
        made.append(await world.make(b"%d" % number, purpose="vision" if number % 3 else "user_data"))
        world.clock.advance(number % 2)
    await world.make(b"elsewhere", "shop")
    ordered = sorted(made, key=lambda file: (file.created, file.id))
    for descending in (False, True):
        for purpose in (None, "vision"):
            found, after, has_more = list[File](), None, True
            while has_more:
                page, has_more = await world.list("lab", purpose=purpose, after=after, limit=5, descending=descending)
                found += page
                after = page[-1].id
            wanted = [each for each in ordered if purpose in (None, each.purpose)]
            assert found == (wanted[::-1] if descending else wanted)
    with pytest.raises(NotFound):
        await world.list("shop", after=made[0].id)


async def test_names_and_blobs_agree_whoever_comes_and_goes(world: World) -> None:
    """Few contents, many tasks, some of them cancelled somewhere."""
    draw, contents = random.Random(1), [b"a", b"b", b"c" * 100_000]

    async def one(data: bytes, is_kept: bool) -> None:
        project = "lab" if is_kept else "shop"
        made = await world.make(data, project)
        assert [piece async for piece in world.open(made)] == [data]
        if not is_kept:
            await world.remove(project, made.id)

    for _ in range(6):
        tasks = [asyncio.create_task(one(draw.choice(contents), draw.random() < 0.2)) for _ in range(6)]
        for task in tasks:
            if draw.random() < 0.3:
                for _ in range(draw.randrange(20)):
                    await asyncio.sleep(0)
                task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await world.check_integrity()
    for project in ("lab", "shop"):
        for each in (await world.list(project))[0]:
            await world.remove(project, each.id)
    world.clock.advance(UNUSED_S)
    await world.sweep()
    assert world.kept() == set()


async def test_what_fails_between_blob_and_row_is_found_again(world: World) -> None:
    blobs = world.blobs
    assert isinstance(blobs, Broken)
    made = await world.make(b"same")
    blobs.fails = "keep"
    for data in (b"same", b"other"):
        with pytest.raises(Unavailable):
            await world.make(data)
    assert world.kept() == {made.sha256}
    blobs.fails = "remove"
    await world.remove("lab", made.id)
    assert world.kept() == {made.sha256}
    assert await world.list("lab") == ([], False)
    blobs.fails = ""
    world.clock.advance(UNUSED_S)
    await world.sweep()
    assert world.kept() == set()


async def test_a_process_that_dies_after_the_blob_and_before_the_row_loses_a_blob_to_the_sweep(world: World) -> None:
    class Died(BaseException):
        pass

    async def die(*_: Any) -> None:
        raise Died

    async def keep(staged: Staged) -> bool:
        await Directory.keep(world.blobs, staged)  # type: ignore[arg-type]
        raise Died

    world.blobs.keep, world.references.free = keep, die  # type: ignore[method-assign]
    with pytest.raises(Died):
        await world.make(b"orphan")
    assert len(world.kept()) == 1
    after = World(world.database, world.root)
    assert await after.sweep() == 0  # whoever is at it has some time
    after.clock.advance(UNUSED_S)
    await after.sweep()
    assert world.kept() == set()


async def test_a_project_s_files_go_together(world: World) -> None:
    await world.make(b"same")
    await world.make(b"own")
    other = await world.make(b"same", "shop")
    async with world.database.write() as connection:
        await remove_all(connection, "lab")
    assert await world.list("lab") == ([], False)
    await world.sweep()
    assert world.kept() == {other.sha256}


LINE = st.sampled_from([b'{"a": "\xc3\xbc"}', b"{}", b"", b" \t", b"[1]", b"\xff", b'{"a"', b"null", b'{"b": 1}\r'])


@given(st.lists(LINE, max_size=6), st.lists(st.integers(0, 60), max_size=5), st.booleans())
def test_where_lines_are_cut_changes_nothing(lines: list[bytes], cuts: list[int], has_mark: bool) -> None:
    data = (jsonl.BOM if has_mark else b"") + b"\n".join(lines)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    whole, cut = Lines(), Lines()
    whole.feed(data)
    whole.end()
    for start, end in pairwise(bounds):
        cut.feed(data[start:end])
    cut.end()
    good = [b'{"a": "\xc3\xbc"}', b"{}", b'{"b": 1}\r']
    bad = next((number for number, line in enumerate(lines, 1) if line not in (*good, b"", b" \t")), None)
    assert bad is not None or cut.num_lines == whole.num_lines == sum(line in good for line in lines)
    for seen in (whole, cut):
        if bad is not None:
            assert seen.fault is not None
            assert f"line {bad} " in seen.fault.message
        elif any(line in good for line in lines):
            assert seen.fault is None
        else:
            assert seen.fault is not None
            assert seen.fault.code == "empty_file"


def test_a_line_without_an_end_is_not_gathered() -> None:
    lines = Lines()
    for _ in range(jsonl.MAX_LINE // 2**20 + 1):
        lines.feed(b"{" + bytes(2**20 - 1))
    assert lines.fault is not None
    assert "line 1 has more than 16,777,216 bytes" in lines.fault.message
    lines.feed(b"{}\n")
    lines.end()
    assert lines.num_lines == 0
