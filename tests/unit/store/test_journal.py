"""The journal: what was appended is there after anything, and a promised line always has room."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.store import journal
from mainspring.store.journal import MAX_LINE, Journal, lines


def read(kept: Journal) -> list[bytes]:
    return [line for segment in kept.older() for line in lines(segment)]


def test_lines_outlive_the_process_and_half_a_line_is_none(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j")
    first.append(b"one")
    first.append(b"two", hold=True)
    segment = tmp_path / "j" / "1" / "000000000001.journal"
    first.close()
    with segment.open("r+b") as file:
        file.seek(first.used)
        file.write(b'{"half')
    again = Journal(tmp_path / "j")
    assert read(again) == [b"one", b"two"]
    again.close()


def test_it_is_private(tmp_path: Path) -> None:
    kept = Journal(tmp_path / "j")
    for path in (tmp_path / "j").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    kept.close()


def test_two_processes_keep_apart_and_the_dead_are_inherited(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from mainspring.store.journal import Journal\n"
        "j = Journal(Path(sys.argv[1])); j.append(b'theirs'); print('ready', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "j")], stdout=subprocess.PIPE)
    try:
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        ours = Journal(tmp_path / "j")
        ours.append(b"ours")
        assert read(ours) == []  # theirs is theirs while they live
        ours.close()
        assert (tmp_path / "j" / "2").is_dir()
    finally:
        other.kill()
        other.wait()
        if other.stdout:
            other.stdout.close()
    after = Journal(tmp_path / "j")
    assert sorted(read(after)) == [b"ours", b"theirs"]
    after.close()


@given(st.lists(st.sampled_from(["begin", "end", "rotate", "full"]), max_size=40))
def test_a_held_line_has_room_on_a_full_disk(tmp_path_factory, steps):
    """Once the disk gives no more room, whoever was let in before can still write."""
    kept = Journal(tmp_path_factory.mktemp("journal"))
    allocate, chunk = journal._allocate, journal.CHUNK
    journal.CHUNK = 2 * MAX_LINE
    held, written, is_full = 0, [], False

    def full(*_):
        raise OSError(28, "No space left on device")

    try:
        for number, step in enumerate(steps):
            if step == "full":
                journal._allocate, is_full = full, True
            line = b"%d" % number + b"x" * (MAX_LINE - 20)
            if step == "begin":
                try:
                    kept.append(line, hold=True)
                except OSError:
                    assert is_full
                else:
                    held += 1
                    written.append(line)
            elif step == "end" and held:
                kept.append(line, held=True)
                held -= 1
                written.append(line)
            elif step == "rotate":
                try:
                    kept.rotate([])
                except OSError:
                    assert is_full
        kept.close()
        journal._allocate = allocate
        again = Journal(kept._folder.parent)
        assert read(again) == written
        again.close()
    finally:
        journal._allocate, journal.CHUNK = allocate, chunk


def test_a_line_that_is_too_long_is_our_own_mistake(tmp_path: Path) -> None:
    kept = Journal(tmp_path / "j")
    for line in (b"x" * MAX_LINE, b"a\nb"):
        with pytest.raises(ValueError, match="shorter"):
            kept.append(line)
    kept.close()
    assert [path.name for path in (tmp_path / "j").iterdir()] == ["1"]
