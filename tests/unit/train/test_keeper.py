"""The lines that a job's process writes before anything else."""

from pathlib import Path

from mainspring.store.jobs import Told
from mainspring.train.keeper import Journal


def test_lines_are_read_from_where_one_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "told")
    journal.append(Told(message="one", key="a"))
    first, offset = journal.read(0)
    assert [each.message for each in first] == ["one"]
    assert journal.read(offset) == ([], offset)
    journal.append(Told(message="two"))
    assert [each.message for each in journal.read(offset)[0]] == ["two"]
    journal.close()


def test_half_a_line_was_never_told_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "told"
    journal = Journal(path)
    journal.append(Told(message="one"))
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"message": "ha')
    again = Journal(path)
    again.append(Told(message="two"))
    told, offset = again.read(0)
    assert [each.message for each in told] == ["one", "two"]
    assert offset == path.stat().st_size
    again.close()


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "told"
    journal = Journal(path)
    journal.append(Told(message="one"))
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"message": "t')
    told, offset = journal.read(0)
    assert ([each.message for each in told], offset) == (["one"], whole)
    journal.close()


def test_each_machine_s_journal_has_an_id_that_stays(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "one", "two"):
        journal = Journal(tmp_path / name)
        ids.append(journal.id)
        journal.append(Told(message="x"))
        journal.close()
    assert ids[0] == ids[1] != ids[2]
    journal = Journal(tmp_path / "one")
    assert [each.message for each in journal.read(0)[0]] == ["x", "x"]
    journal.close()


def test_one_that_was_killed_at_its_first_line_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "told"
    path.write_bytes(b'{"jour')
    journal = Journal(path)
    journal.append(Told(message="x"))
    assert [each.message for each in journal.read(0)[0]] == ["x"]
    journal.close()
