"""`mainspring backup` and `restore` at the command line."""

import io
import json
import sys
from pathlib import Path

import pytest

from mainspring.cli import backup as module
from mainspring.store.archive import verify


@pytest.fixture
def archive(ms, home: Path, tmp_path: Path) -> Path:
    assert ms("keys", "create", "laptop").code == 0
    (home / "mainspring.toml").write_text('region = "here"\n')
    assert ms("backup", str(tmp_path / "a.tar.gz")).code == 0
    return tmp_path / "a.tar.gz"


def test_the_files_that_are_kept_are_those_that_the_rest_writes() -> None:
    from mainspring.governance.admin_key import ADMIN_KEY_FILE
    from mainspring.governance.secret import SECRET_FILE
    from mainspring.store.archive import SECRETS

    assert set(SECRETS) == {ADMIN_KEY_FILE, SECRET_FILE}


def names(ms, home: Path) -> list[str]:
    return [key["name"] for key in json.loads(ms("keys", "list", "--json", "--home", str(home)).out)]


def test_there_and_back(ms, archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert archive.stat().st_mode & 0o777 == 0o600
    ran = ms("restore", str(archive), "--home", str(other), "--json")
    assert json.loads(ran.out)["rows"]["api_keys"] == 1
    assert json.loads(ran.out)["database"] == "sqlite"
    assert names(ms, other) == ["laptop"]
    assert (other / "mainspring.toml").read_text() == 'region = "here"\n'
    assert other.stat().st_mode & 0o777 == 0o700
    [*_, entry] = json.loads(ms("audit", "list", "--json", "--home", str(other)).out)
    assert entry["action"] == "backup.restore"
    assert ms("audit", "verify", "--home", str(other)).code == 0


def test_what_is_there_stays_unless_told(ms, archive: Path, home: Path) -> None:
    assert ms("keys", "create", "later").code == 0
    ran = ms("restore", str(archive))
    assert (ran.code, "--replace" in ran.err) == (2, True)
    assert names(ms, home) == ["laptop", "later"]
    ran = ms("restore", str(archive), "--replace")
    assert ran.code == 0
    assert "replaced-" in ran.err
    assert names(ms, home) == ["laptop"]


def test_check_changes_nothing_and_finds_damage(ms, archive: Path, tmp_path: Path) -> None:
    ran = ms("restore", str(archive), "--check", "--home", str(tmp_path / "no"))
    assert (ran.code, ran.out.startswith("whole: Mainspring ")) == (0, True)
    assert not (tmp_path / "no").exists()
    assert json.loads(ms("restore", str(archive), "--check", "--json").out)["rows"]["api_keys"] == 1
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    for options in (["--check"], ["--home", str(tmp_path / "no")]):
        ran = ms("restore", str(archive), *options)
        assert (ran.code, "not a whole backup" in ran.err) == (2, True)
    assert not (tmp_path / "no").exists()


def test_a_file_is_not_written_over_and_half_a_one_is_none(
    ms, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = archive.read_bytes()
    ran = ms("backup", str(archive))
    assert (ran.code, "exists already" in ran.err) == (2, True)
    assert archive.read_bytes() == before

    async def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_backup", full)
    ran = ms("backup", str(tmp_path / "new.tar.gz"))
    assert (ran.code, "No space left" in ran.err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "home"}


def test_standard_output(ms, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "piped").open("wb") as file, io.TextIOWrapper(file) as out:
        monkeypatch.setattr(sys, "stdout", out)
        from mainspring.cli.main import run

        assert run(["backup", "-", "--without-secrets"]) == 0
    monkeypatch.undo()
    with (tmp_path / "piped").open("rb") as file:
        contents = verify(file)
    assert contents.files == {}
    assert contents.manifest.tables["api_keys"].rows == 1


def test_nothing_to_back_up_makes_nothing(ms, home: Path, tmp_path: Path) -> None:
    ran = ms("backup", str(tmp_path / "a.tar.gz"))
    assert (ran.code, "nothing to back up" in ran.err) == (2, True)
    assert not home.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_database_is_the_one_of_the_settings_after_the_restore(ms, archive: Path, tmp_path: Path) -> None:
    """The archive's configuration decides in an empty place, and one that lies there already before it."""
    import tarfile

    with tarfile.open(archive) as tar:
        assert tar.extractfile("mainspring.toml").read() == b'region = "here"\n'
    other = tmp_path / "other"
    other.mkdir()
    (other / "mainspring.toml").write_text('database = "postgresql://nobody@127.0.0.1:1/none"\n')
    ran = ms("restore", str(archive), "--home", str(other))
    assert (ran.code, "not reached" in ran.err) == (2, True)
    assert [path.name for path in other.iterdir()] == ["mainspring.toml"]


def test_models_that_come_from_nowhere_are_told(ms, archive: Path, home: Path, tmp_path: Path) -> None:
    import msgspec

    from mainspring.core.types import FileRef, ModelVersion

    folder = home / "models" / "mine" / "0123456789ab"
    folder.mkdir(parents=True)
    (folder / "mine.gguf").write_bytes(b"weights")
    version = ModelVersion(
        name="mine", version="0123456789ab", kind="chat", format="gguf", source="job:1", created=1,
        files=(FileRef(path="mine.gguf", bytes=7, sha256="0" * 64),),
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(msgspec.json.encode(version))
    assert "mine@0123456789ab came from job:1 and is not in the archive" in ms("backup", str(tmp_path / "b")).err
    ran = ms("restore", str(tmp_path / "b"), "--home", str(tmp_path / "other"), "--json")
    assert [model["name"] for model in json.loads(ran.out)["missing_models"]] == ["mine"]
    assert "came from" not in ms("backup", str(tmp_path / "c"), "--models").err
    ran = ms("restore", str(tmp_path / "c"), "--home", str(tmp_path / "third"), "--json")
    assert json.loads(ran.out)["missing_models"] == []
    assert (tmp_path / "third/models/mine/0123456789ab/mine.gguf").read_bytes() == b"weights"
