"""Backup and restore, on both kinds of database and between them: nothing lost, nothing doubled, nothing half."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Column, Float, Integer, LargeBinary, MetaData, Table, Text, text

from mainspring.core.clock import FakeClock
from mainspring.core.config_blobs import BlobSettings
from mainspring.core.errors import UserMistake
from mainspring.store import archive
from mainspring.store import backup as module
from mainspring.store import restore as restoring
from mainspring.store.archive import Manifest, Model, verify
from mainspring.store.backup import backup
from mainspring.store.blobs import Directory, open_blobs
from mainspring.store.db import HEAD, RESTORING, Database
from mainspring.store.files import Files
from mainspring.store.journal import Journal, lines
from mainspring.store.restore import Restored, restore
from mainspring.store.schema import Codec, reset_sequences
from mainspring.store.tables import metadata
from mainspring.store.uploads import Uploads
from tests.s3 import S3
from tests.unit.store.filled import database_at, fill, rows_of

FILES = {"mainspring.toml": b'region = "here"\n', "admin.key": b"ms-secret\n", "secret": b"s" * 32}


def quiet(_phase: str, _done: int, _total: int | None) -> None:
    pass


async def made(home: Path, url: str, revision: str = HEAD, num_rows: int = 2500) -> None:
    """An installation with rows in every table, files, and lines in its journal."""
    database = database_at(home, url)
    await fill(database, revision, num_rows)
    await database.close()
    for name, data in FILES.items():
        (home / name).write_bytes(data)
    journal = Journal(home / "ledger")
    for number in range(5):
        journal.append(b'{"line":%d}' % number)
    journal.close()


async def backed_up(home: Path, url: str, **options: Any) -> tuple[io.BytesIO, Manifest]:
    out = io.BytesIO()
    database = database_at(home, url)
    manifest = await backup(database, home, out, FakeClock(), quiet, **options)
    await database.close()
    return out, manifest


async def restored(packed: io.BytesIO, home: Path, url: str, *, replace: bool = False) -> Restored:
    home.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else runs meanwhile
    return await restore(packed, verify(packed), home, url, quiet, replace=replace)


async def rows_in(home: Path, url: str) -> dict[str, list[tuple[Any, ...]]]:
    database = await Database.open(home, url)
    rows = await rows_of(database, metadata)
    await database.close()
    return rows


@pytest.fixture
def other_url(database_url: str, request: pytest.FixtureRequest) -> str:
    """Of the other kind of database."""
    return "" if database_url else request.getfixturevalue("postgres_server").url()


def state(home: Path) -> dict[str, bytes]:
    """Every file below, but for SQLite's own notes."""
    names = ("-wal", "-shm", "lock")
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*") if path.is_file() and not path.name.endswith(names)
    }  # fmt: skip


async def test_there_and_back_through_the_other_kind_is_equal_row_by_row(
    tmp_path: Path, database_url: str, other_url: str, request: pytest.FixtureRequest
) -> None:
    await made(tmp_path / "a", database_url)
    expected = await rows_in(tmp_path / "a", database_url)
    assert all(len(rows) == 2500 for rows in expected.values())
    packed, manifest = await backed_up(tmp_path / "a", database_url)
    assert set(manifest.tables) == set(metadata.tables)
    done = await restored(packed, tmp_path / "b", other_url)
    assert done.rows == dict.fromkeys(metadata.tables, 2500)
    assert await rows_in(tmp_path / "b", other_url) == expected
    packed, _ = await backed_up(tmp_path / "b", other_url)
    back = request.getfixturevalue("postgres_server").url() if database_url else ""
    await restored(packed, tmp_path / "c", back)
    assert await rows_in(tmp_path / "c", back) == expected
    for home in ("b", "c"):
        assert {name: (tmp_path / home / name).read_bytes() for name in FILES} == FILES
        [segment] = (tmp_path / home / "ledger").rglob("*.journal")
        assert list(lines(segment)) == [b'{"line":%d}' % number for number in range(5)]
        assert not [path for path in (tmp_path / home).rglob("*") if path.stat().st_mode & 0o077]
    assert done.lines == 5


@pytest.mark.parametrize("revision", ["0001", "0002"])
async def test_an_older_backup_becomes_what_migrating_its_database_makes(
    tmp_path: Path, database_url: str, other_url: str, revision: str
) -> None:
    await made(tmp_path / "a", database_url, revision, 50)
    packed, manifest = await backed_up(tmp_path / "a", database_url)
    assert manifest.revision == revision
    migrated = await rows_in(tmp_path / "a", database_url)
    await restored(packed, tmp_path / "b", other_url)
    assert await rows_in(tmp_path / "b", other_url) == migrated


async def test_a_newer_backup_is_refused_and_touches_nothing(tmp_path: Path, database_url: str) -> None:
    await made(tmp_path / "a", "", num_rows=3)
    packed, manifest = await backed_up(tmp_path / "a", "")
    contents = verify(packed)
    newer = msgspec.structs.replace(contents, manifest=msgspec.structs.replace(manifest, revision="9999"))
    (tmp_path / "b").mkdir()
    with pytest.raises(UserMistake, match="newer Mainspring: upgrade"):
        await restore(packed, newer, tmp_path / "b", database_url, quiet)
    assert state(tmp_path / "b") == {}


async def test_what_is_there_is_not_replaced_unless_told(tmp_path: Path, database_url: str) -> None:
    await made(tmp_path / "a", database_url, num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", database_url)
    before = await rows_in(tmp_path / "a", database_url)
    (tmp_path / "a" / "mainspring.toml").write_bytes(b'region = "mine"\n')
    files = state(tmp_path / "a")
    with pytest.raises(UserMistake, match="--replace"):
        await restored(packed, tmp_path / "a", database_url)
    if database_url:
        with pytest.raises(UserMistake, match="holds an installation already"):
            await restored(packed, tmp_path / "b", database_url)
        assert state(tmp_path / "b") == {}
    assert state(tmp_path / "a") == files
    database = database_at(tmp_path / "a", database_url)
    async with database.write() as connection:
        await connection.execute(text("DELETE FROM audit"))
    await database.close()
    done = await restored(packed, tmp_path / "a", database_url, replace=True)
    assert await rows_in(tmp_path / "a", database_url) == before
    assert done.replaced
    assert done.kept_configuration
    assert (tmp_path / "a" / done.replaced / "admin.key").read_bytes() == FILES["admin.key"]
    assert (tmp_path / "a" / "mainspring.toml").read_bytes() == b'region = "mine"\n'
    assert (tmp_path / "a" / "mainspring.toml.restored").read_bytes() == FILES["mainspring.toml"]


async def test_a_server_that_runs_or_that_uses_the_database_is_in_the_way(tmp_path: Path, database_url: str) -> None:
    await made(tmp_path / "a", database_url, num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", database_url)
    journal = Journal(tmp_path / "a" / "ledger")
    with pytest.raises(UserMistake, match="A server runs"):
        await restored(packed, tmp_path / "a", database_url, replace=True)
    journal.close()
    if database_url:
        other = Database.at(database_url)
        async with other.read() as connection:
            await connection.execute(text("SELECT 1"))
            with pytest.raises(UserMistake, match="1 other connections"):
                await restored(packed, tmp_path / "a", database_url, replace=True)
        await other.close()
    await restored(packed, tmp_path / "a", database_url, replace=True)


async def test_a_newer_database_is_not_replaced(tmp_path: Path, postgres_server: Any) -> None:
    """On the way back to an older version: what its tables are, only the newer one knows."""
    await made(tmp_path / "a", "", num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", "")
    url = postgres_server.url()
    database = await Database.open(tmp_path / "b", url)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(UserMistake, match="newer Mainspring, which knows more of its tables"):
        await restored(packed, tmp_path / "b", url, replace=True)


async def test_tables_of_something_else_are_left_alone(tmp_path: Path, postgres_server: Any) -> None:
    await made(tmp_path / "a", "", num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", "")
    url = postgres_server.url()
    database = Database.at(url)
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE projects (theirs TEXT)"))
    await database.close()
    for replace in (False, True):
        with pytest.raises(UserMistake, match=r"something else \(projects\)"):
            await restored(packed, tmp_path / "b", url, replace=replace)


async def test_without_secrets(tmp_path: Path) -> None:
    await made(tmp_path / "a", "", num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", "", with_secrets=False)
    assert verify(packed).files == {}
    await restored(packed, tmp_path / "b", "")
    assert not any((tmp_path / "b" / name).exists() for name in FILES)
    await restored(packed, tmp_path / "a", "", replace=True)  # those that are there stay
    assert {name: (tmp_path / "a" / name).read_bytes() for name in FILES} == FILES


async def test_models_are_named_or_included_and_never_replaced(tmp_path: Path) -> None:
    await made(tmp_path / "a", "", num_rows=3)
    folder = tmp_path / "a" / "models" / "tiny" / "0123456789ab"
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(os.urandom(700_000))
    (folder / "manifest.json").write_bytes(b"{}")
    model = Model("tiny", "0123456789ab", "hf:a/b", ("tiny.gguf", "manifest.json"), 700_000, included=False)
    packed, manifest = await backed_up(tmp_path / "a", "", models=[model])
    assert manifest.models == (model,)
    await restored(packed, tmp_path / "b", "")
    assert not (tmp_path / "b" / "models").exists()
    packed, _ = await backed_up(tmp_path / "a", "", models=[msgspec.structs.replace(model, included=True)])
    await restored(packed, tmp_path / "c", "")
    for name in model.files:
        assert (tmp_path / "c/models/tiny/0123456789ab" / name).read_bytes() == (folder / name).read_bytes()
    (folder / "manifest.json").write_bytes(b"{ }")
    await restored(packed, tmp_path / "a", "", replace=True)
    assert (folder / "manifest.json").read_bytes() == b"{ }"


def packed_with(manifest: Manifest, members: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    writer = archive.Writer(out)
    for name, data in members.items():
        writer.add(name, data)
    writer.finish(manifest)
    return out


AUDIT = [1, 1.0, "a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("rows", "num_rows"),
    [
        (b'[1,2,"x"]\n', 1),
        (json.dumps([*AUDIT[:-1], [1]]).encode(), 1),
        (json.dumps([2**63, *AUDIT[1:]]).encode(), 1),
        (json.dumps([*AUDIT[:-1], None]).encode(), 1),
        (json.dumps(["1; DROP TABLE audit", *AUDIT[1:]]).encode(), 1),
        (b'[1,1.0,"\\ud800","b","c","d","e"]', 1),
        (b"[" * 10_000, 1),
        (json.dumps(AUDIT).encode() + b"\n" + json.dumps(AUDIT).encode(), 2),
        (json.dumps(AUDIT).encode(), 2),
    ],
)
async def test_rows_that_are_none_are_refused_and_leave_nothing(
    tmp_path: Path, database_url: str, rows: bytes, num_rows: int
) -> None:
    """Hashes and all are as they should be: somebody has made this archive."""
    kept = {table.name: archive.TableRows(Codec(table).columns, 0) for table in metadata.sorted_tables}
    kept["audit"] = msgspec.structs.replace(kept["audit"], rows=num_rows)
    manifest = Manifest(mainspring="1", created=1.0, database="sqlite", revision=HEAD, tables=kept)
    packed = packed_with(manifest, {"admin.key": b"k", "tables/audit/000001.jsonl": rows})
    with pytest.raises(UserMistake):
        await restored(packed, tmp_path / "b", database_url)
    assert state(tmp_path / "b") == {}
    one = kept | {"audit": msgspec.structs.replace(kept["audit"], rows=1)}
    members = {"tables/audit/000001.jsonl": json.dumps(AUDIT).encode()}
    good = packed_with(msgspec.structs.replace(manifest, tables=one), members)
    await restored(good, tmp_path / "b", database_url)
    assert (await rows_in(tmp_path / "b", database_url))["audit"] == [tuple(AUDIT)]


async def test_tables_that_are_not_those_of_the_revision_are_refused(tmp_path: Path) -> None:
    kept = {"audit": archive.TableRows(("seq",), 0)}
    manifest = Manifest(mainspring="1", created=1.0, database="sqlite", revision=HEAD, tables=kept)
    with pytest.raises(UserMistake, match="not those of its revision"):
        await restored(packed_with(manifest, {}), tmp_path, "")


async def test_an_archive_that_changes_after_it_was_verified_is_refused(tmp_path: Path, database_url: str) -> None:
    await made(tmp_path / "a", "", num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", "")
    contents = verify(packed)
    await made(tmp_path / "c", "", num_rows=4)
    other, _ = await backed_up(tmp_path / "c", "")
    (tmp_path / "b").mkdir()
    with pytest.raises(UserMistake, match="changed while it was read"):
        await restore(other, contents, tmp_path / "b", database_url, quiet)
    assert state(tmp_path / "b") == {}


def test_bytes_and_floats_that_json_lacks() -> None:
    table = Table("t", MetaData(), Column("a", LargeBinary), Column("b", Float), Column("c", Text))
    codec = Codec(table)
    for row in [(b"\x00\xff", float("-inf"), "x"), (None, None, None), (b"", 1e-320, "")]:
        assert tuple(codec.decode(codec.encode(row)).values()) == row
    assert codec.decode(codec.encode((None, float("nan"), None)))["b"] != 0


async def test_postgresql_counts_on_where_the_rows_end(postgres_server: Any) -> None:
    tables = MetaData()
    Table("counted", tables, Column("id", Integer, primary_key=True), Column("x", Text))
    database = Database.at(postgres_server.url())
    async with database.write() as connection:
        await connection.run_sync(tables.create_all)
        await connection.run_sync(reset_sequences, tables)
        await connection.execute(text("INSERT INTO counted (id, x) VALUES (41, 'restored')"))
        await connection.run_sync(reset_sequences, tables)
        assert (await connection.execute(text("INSERT INTO counted (x) VALUES ('new') RETURNING id"))).scalar() == 42
    await database.close()


KILLED = """
import asyncio, io, os, signal, sys
from pathlib import Path
from mainspring.store import restore as module
from mainspring.store.archive import verify

packed = io.BytesIO(Path(sys.argv[1]).read_bytes())
contents = verify(packed)

def run(home, url, replace, at):
    # Of every line of the module that is run, the one with the number `at` is the last.
    count = 0

    def line(frame, event, _):
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame, event, _):
        return line if frame.f_code.co_filename == module.__file__ else None

    sys.settrace(call)
    asyncio.run(module.restore(packed, contents, Path(home), url, lambda *_: None, replace=replace))
    sys.settrace(None)
    return count

for request in sys.stdin:
    home, url, replace, at = request.rstrip("\\n").split("\\t")
    count, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(told, str(run(home, url, replace == "yes", int(at))).encode())
        os._exit(0)
    os.close(told)
    os.waitpid(child, 0)
    print(os.read(count, 20).decode() or "killed", flush=True)
    os.close(count)
"""


class Killer:
    """Restores an archive in processes that are killed with SIGKILL."""

    def __init__(self, packed: Path) -> None:
        self._driver = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(packed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, home: Path, url: str, *, replace: bool, at: int) -> str:
        """What it says: "killed" before it ran as many lines of its module, or how many it ran."""
        assert self._driver.stdin
        assert self._driver.stdout
        self._driver.stdin.write(f"{home}\t{url}\t{'yes' if replace else 'no'}\t{at}\n")
        self._driver.stdin.flush()
        return self._driver.stdout.readline().strip()

    def close(self) -> None:
        assert self._driver.stdin
        assert self._driver.stdout
        self._driver.stdin.close()
        self._driver.wait(10)
        self._driver.stdout.close()


@pytest.mark.parametrize("replace", [False, True])
async def test_killed_anywhere_it_is_nothing_or_says_what_to_do(
    tmp_path: Path, database_url: str, replace: bool
) -> None:
    await made(tmp_path / "a", "", num_rows=5)
    packed, _ = await backed_up(tmp_path / "a", "")
    expected = await rows_in(tmp_path / "a", "")
    (tmp_path / "packed").write_bytes(packed.getvalue())
    killer = Killer(tmp_path / "packed")
    try:
        (tmp_path / "dry").mkdir()
        if replace:  # what is there is taken away first: more lines, the more tables there are
            await made(tmp_path / "dry", database_url, num_rows=2)
        total = int(killer.run(tmp_path / "dry", database_url, replace=replace, at=-1))
        ends = set[str]()
        near = total - len(expected) - 60  # last, what each table has is only told: a line for each of them
        for at in [*range(1, near, max(total // 4, 1)), *range(near, near + 61, 8), total]:
            home, url = tmp_path / f"h{at}", database_url
            home.mkdir()
            if url:
                await emptied(url)
            before = {}
            if replace:
                await made(home, url, num_rows=2)
                before = await rows_in(home, url)
            assert killer.run(home, url, replace=replace, at=at) == "killed"
            ends.add(end := await after_a_kill(home, url, before, expected))
            if end != "done":
                await restored(packed, home, url, replace=replace or end == "says so")
            assert await rows_in(home, url) == expected
            assert not {RESTORING, restoring.PART} & {path.name for path in home.iterdir()}
            if replace:
                kept = [path.read_bytes() for path in home.glob("replaced-*/mainspring.db")]
                assert kept or database_url
        assert ends >= {"nothing", "says so"}
    finally:
        killer.close()


async def emptied(url: str) -> None:
    database = Database.at(url)
    async with database.write() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await database.close()


async def after_a_kill(home: Path, url: str, before: dict[str, Any], expected: dict[str, Any]) -> str:
    if (home / RESTORING).exists():
        with pytest.raises(UserMistake, match="mainspring restore FILE --replace"):
            await Database.open(home, url)
        return "says so"
    if (home / "mainspring.toml.restored").exists() or ((home / "admin.key").exists() and not before):
        assert await rows_in(home, url) == expected
        return "done"
    there = {path.name for path in home.iterdir()}  # noqa: ASYNC240
    assert there - {restoring.PART} == (
        {"mainspring.toml", "admin.key", "secret", "ledger"} | (set() if url else {"mainspring.db"})
        if before else set()
    )  # fmt: skip
    if before:
        assert await rows_in(home, url) == before
    return "nothing"


async def test_a_restore_that_is_repeated_and_fails_still_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(tmp_path / "a", "", num_rows=3)
    packed, _ = await backed_up(tmp_path / "a", "")
    marked = tmp_path / "b" / RESTORING
    marked.mkdir(parents=True)
    (marked / "mainspring.db").write_bytes(b"what an earlier one has left")
    with pytest.raises(UserMistake, match="--replace"):
        await restored(packed, tmp_path / "b", "")
    assert (marked / "mainspring.db").exists()

    def dies(self: Path, target: Path) -> None:
        assert target.exists()  # never is there a moment without it
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dies)
        with pytest.raises(ZeroDivisionError):
            await restored(packed, tmp_path / "b", "", replace=True)
    assert marked.exists()
    await restored(packed, tmp_path / "b", "", replace=True)
    assert not marked.exists()
    assert len((await rows_in(tmp_path / "b", ""))["audit"]) == 3


async def test_all_tables_are_as_of_one_moment(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(tmp_path / "a", database_url, num_rows=3)
    write_rows = module._write_rows
    other = database_at(tmp_path / "a", database_url)

    async def write_rows_and_change_the_rest(writer: Any, connection: Any, table: Table, progress: Any) -> Any:
        kept = await write_rows(writer, connection, table, progress)
        async with other.write() as changing:
            for name in ("requests", "usage_hours", "audit"):
                await changing.execute(text(f"DELETE FROM {name}"))
        return kept

    monkeypatch.setattr(module, "_write_rows", write_rows_and_change_the_rest)
    _, manifest = await backed_up(tmp_path / "a", database_url)
    await other.close()
    assert {name: kept.rows for name, kept in manifest.tables.items()} == dict.fromkeys(metadata.tables, 3)


LOAD = """
import asyncio, itertools, sys
from pathlib import Path
from mainspring.core.clock import SystemClock
from mainspring.governance import ledger as module
from mainspring.governance.ledger import Entry, Ledger
from mainspring.store.db import Database
import msgspec

module.DRAIN_S = 0.02

async def main(home, url):
    database = await Database.open(home, url)
    ledger = Ledger(database, home / "ledger", SystemClock())
    await ledger.start()
    for number in itertools.count():
        entry = Entry(id=f"r{number}", started=1000.0 + number, key="k", deployment="d", version="v", operation="chat")
        ledger.begin(entry)
        if number % 10:
            ledger.end(msgspec.structs.replace(entry, outcome="ok", prompt=3, completion=2, cost=7))
            print(number, flush=True)
        await asyncio.sleep(0.001)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_under_load_no_settled_row_is_lost_or_doubled(tmp_path: Path, database_url: str) -> None:
    """Backups of a ledger that another process writes and drains all the while; then it is killed."""
    (tmp_path / "a").mkdir()
    load = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", LOAD, str(tmp_path / "a"), database_url], stdout=subprocess.PIPE, text=True
    )
    assert load.stdout
    settled, backups = 0, list[tuple[int, io.BytesIO]]()
    try:
        for number in map(int, load.stdout):
            if number > settled + 200:
                settled = number
                backups.append((settled, (await backed_up(tmp_path / "a", database_url))[0]))
            if len(backups) == 5:
                break
    finally:
        load.send_signal(signal.SIGKILL)
        load.wait()
        load.stdout.close()
    for at, (settled, packed) in enumerate(backups):
        home = tmp_path / f"b{at}"
        await restored(packed, home, "")
        await check_ledger(home, settled)


async def check_ledger(home: Path, settled: int) -> None:
    from sqlalchemy import select

    from mainspring.governance.ledger import Ledger
    from mainspring.store.tables import requests, usage_hours

    database = await Database.open(home)
    ledger = Ledger(database, home / "ledger", FakeClock())
    await ledger.start()
    await ledger.stop()
    async with database.read() as connection:
        rows = {row["id"]: row for row in (await connection.execute(select(requests))).mappings()}
        sums = list((await connection.execute(select(usage_hours))).mappings())
    await database.close()
    assert {f"r{number}" for number in range(settled + 1)} <= set(rows)
    assert all(rows[f"r{number}"]["outcome"] == "ok" for number in range(settled + 1) if number % 10)
    for name in ("prompt", "completion", "cost"):
        assert sum(row[name] for row in sums) == sum(row[name] for row in rows.values())
    assert sum(row["requests"] for row in sums) == len(rows)


async def stream(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def test_what_files_hold_comes_along(tmp_path: Path, database_url: str, other_url: str) -> None:
    home, kept, large = tmp_path / "a", b"kept", os.urandom(3 * 2**20)
    home.mkdir()
    database = await Database.open(home, database_url)
    files = Files(database, Directory(home / "blobs"), FakeClock())
    made = [
        await files.create(project="lab", purpose="user_data", filename=f"{at}", stream=stream(data))
        for at, data in enumerate((kept, kept, large, b"deleted meanwhile"))
    ]
    (await files.local(made[3])).unlink()
    await database.close()
    packed, manifest = await backed_up(home, database_url)
    assert manifest.gone == (made[3].sha256,)
    assert len([each for each in manifest.members if each.name.startswith("blobs/")]) == 2
    for number in range(2):  # and once more over what is there
        await restored(packed, tmp_path / "b", other_url, replace=number == 1)
        (tmp_path / "b" / "blobs" / f"stray-{number}").touch(0o600)
    database = await Database.open(tmp_path / "b", other_url)
    back = Files(database, Directory(tmp_path / "b" / "blobs"), FakeClock())
    assert (await back.list("lab", descending=False))[0] == sorted(made[:3], key=lambda file: file.id)
    for file, data in zip(made, (kept, kept, large), strict=False):
        assert (await back.local(file)).read_bytes() == data
    await back.remove("lab", made[0].id)
    assert (await back.local(made[1])).exists()
    await database.close()
    [aside] = (tmp_path / "b").glob("replaced-*")
    assert (aside / "blobs" / "stray-0").exists()
    assert not [path for path in (tmp_path / "b").rglob("*") if path.stat().st_mode & 0o077]


async def test_what_a_bucket_holds_comes_along_into_a_folder_and_back(tmp_path: Path, s3_server: S3) -> None:
    """Files and the parts of an upload that is pending."""
    first, second = s3_server.settings(), s3_server.settings()
    home, large = tmp_path / "a", os.urandom(3 * 2**20)
    home.mkdir()
    database = await Database.open(home)
    files = Files(database, open_blobs(home, first), FakeClock())
    uploads = Uploads(database, files, FakeClock())
    made = [
        await files.create(project="lab", purpose="user_data", filename=f"{at}", stream=stream(data))
        for at, data in enumerate((b"kept", large, b"deleted meanwhile"))
    ]
    await files.blobs.remove(made[2].sha256)
    upload = await uploads.create(project="lab", purpose="vision", filename="x", bytes=4, mime_type="image/png")
    part = await uploads.add("lab", upload.id, await uploads.receive(stream(b"part")))
    await database.close()
    packed, manifest = await backed_up(home, "", blobs=files.blobs)
    assert manifest.gone == (made[2].sha256,)
    assert len([each for each in manifest.members if each.name.startswith("blobs/")]) == 3
    for name, settings in (("b", BlobSettings()), ("c", second)):
        folder = tmp_path / name
        folder.mkdir()
        blobs = open_blobs(folder, settings)
        await restore(packed, verify(packed), folder, "", quiet, blobs=blobs if settings.url else None)
        database = await Database.open(folder)
        back = Files(database, blobs, FakeClock())
        assert [each.id for each in (await back.list("lab"))[0]] == sorted((each.id for each in made[:2]), reverse=True)
        for file, data in zip(made, (b"kept", large), strict=False):
            assert (await back.local(file)).read_bytes() == data
        _, whole = await Uploads(database, back, FakeClock()).complete("lab", upload.id, [part.id])
        assert [piece async for piece in back.open(whole)] == [b"part"]
        await database.close()
        assert (folder / "blobs").exists() == (not settings.url)
    assert len(s3_server.keys(second)) == 3


async def test_a_blob_under_another_s_name_is_refused() -> None:
    kept = {table.name: archive.TableRows(Codec(table).columns, 0) for table in metadata.sorted_tables}
    manifest = Manifest(mainspring="1", created=1.0, database="sqlite", revision=HEAD, tables=kept)
    with pytest.raises(UserMistake, match="name of another"):
        verify(packed_with(manifest, {f"blobs/{'0' * 64}": b"x"}))
    with pytest.raises(AssertionError):
        packed_with(manifest, {"blobs/../x": b"x"})
