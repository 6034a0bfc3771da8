"""Containers: files that stay for as long as somebody uses them, all of a run or nothing."""

from pathlib import Path

import pytest

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, NotFound, Overloaded, PayloadTooLarge
from mainspring.store import containers as module
from mainspring.store.containers import Containers, path_of
from mainspring.store.db import Database

GIB = 2**30


@pytest.fixture
async def database(tmp_path: Path, database_url: str):
    opened = await Database.open(tmp_path, database_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000.0)


@pytest.fixture
def containers(database: Database, clock: FakeClock) -> Containers:
    return Containers(database, clock, per_project=2, memory_bytes=2 * GIB)


async def test_one_is_gone_twenty_minutes_after_its_last_use(containers: Containers, clock: FakeClock) -> None:
    made = await containers.create(project="p", by="k", name="n")
    clock.advance(1199)
    await containers.add_file("p", made.id, "a", b"x")
    clock.advance(1199)
    assert (await containers.load("p", made.id)) == {"a": b"x"}
    assert await containers.sweep() == 0
    clock.advance(1200)
    for attempt in (containers.get, containers.load, containers.files, containers.remove):
        with pytest.raises(NotFound):
            await attempt("p", made.id)
    assert (await containers.page("p"))[0] == []
    assert await containers.sweep() == 1
    assert await containers.sweep() == 0


async def test_what_a_run_has_written_is_kept_whole_or_not_at_all(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await containers.create(project="p", by="k", name="n", files={"in": b"1"})
    saved = await containers.save("p", made.id, {"in": b"2", "out/b": b"3", ".session": b"s"}, session=".session")
    assert [(each.path, each.source) for each in saved] == [("in", "assistant"), ("out/b", "assistant")]
    before = await containers.load("p", made.id)
    assert before == {"in": b"2", "out/b": b"3", ".session": b"s"}
    monkeypatch.setattr(module, "MAX_BYTES", 5)
    with pytest.raises(PayloadTooLarge):
        await containers.save("p", made.id, {"in": b"4", "c": b"555"}, session=".session")
    with pytest.raises(InvalidRequest):
        await containers.save("p", made.id, {"x" * 401: b""}, session=".session")
    assert await containers.load("p", made.id) == before
    shown, _ = await containers.files("p", made.id, descending=False)
    assert {each.path for each in shown} == {"in", "out/b"}


async def test_what_a_session_remembers_is_nobodys_file(containers: Containers) -> None:
    made = await containers.create(project="p", by="k", name="n")
    await containers.save("p", made.id, {".session": b"s"}, session=".session")
    assert await containers.files("p", made.id) == ([], False)


async def test_a_project_has_so_many_and_sees_no_others(containers: Containers) -> None:
    made = [await containers.create(project="p", by="k", name=f"{at}") for at in range(2)]
    with pytest.raises(Overloaded):
        await containers.create(project="p", by="k", name="3")
    other = await containers.create(project="q", by="k", name="mine")
    with pytest.raises(NotFound):
        await containers.get("p", other.id)
    with pytest.raises(NotFound):
        await containers.save("p", other.id, {"a": b""}, session="")
    await containers.remove("p", made[0].id)
    assert [each.id for each in (await containers.page("p"))[0]] == [made[1].id]


async def test_more_memory_than_there_is_is_refused(database: Database, containers: Containers) -> None:
    containers.check_memory("1g", "memory_limit")
    small = Containers(database, FakeClock(), per_project=1, memory_bytes=GIB // 2)
    small.check_memory(None, "memory_limit")
    assert small.memory_of(await small.create(project="p", by="k", name="n")) == GIB // 2
    with pytest.raises(InvalidRequest, match=r"sandbox\.memory_bytes"):
        containers.check_memory("4g", "memory_limit")


@pytest.mark.parametrize(
    ("name", "path"),
    [("a.csv", "a.csv"), ("../../etc/passwd", "passwd"), ("C:\\x\\y.txt", "y.txt"), ("a\x00b;c", "a_b_c"),
     ("..", "file"), (".bashrc", "bashrc"), ("", "file"), ("ü.txt", "ü.txt"), ("x" * 500 + ".csv", "x" * 396 + ".csv")],
)  # fmt: skip
def test_names_become_paths_that_lead_nowhere(name: str, path: str) -> None:
    assert path_of(name) == path
