"""`mainspring batch`, against the real edge."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.target import GovernedTarget, governed
from tests.contract.test_batches import line
from tests.unit.cli.conftest import Run


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def served(target: GovernedTarget, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home.mkdir()
    (home / "server.json").write_text(json.dumps({"base_url": target.base_url, "pid": 1}))
    (home / "admin.key").write_text(f"{target.key}\n")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write(folder / "good.jsonl", line("a"), line("b", temperature=9))
    return folder


def write(path: Path, *lines: object) -> None:
    path.write_text("\n".join(map(json.dumps, lines)))


def test_there_and_back(ms: Run, served: Path) -> None:
    ran = ms("batch", "create", "good.jsonl", "--watch")
    assert ran.code == 0
    batch_id, *rest = ran.out.splitlines()
    shown = dict(text.split(": ", 1) for text in rest)
    assert (shown["id"], shown["status"], shown["endpoint"]) == (batch_id, "completed", "/v1/chat/completions")
    assert json.loads(shown["request_counts"]) == {"total": 2, "completed": 1, "failed": 1}
    assert ms("files", "get", shown["output_file_id"], "--to", "-").code == 0
    [row] = [text for text in ms("batch", "list").out.splitlines() if batch_id in text]
    assert row.split()[1:6] == ["/v1/chat/completions", "fake", "completed", "2/2,", "1"]
    assert json.loads(ms("batch", "list", "--json").out)[0]["id"] == batch_id
    assert json.loads(ms("batch", "show", batch_id, "--json").out)["status"] == "completed"
    ran = ms("batch", "cancel", batch_id)
    assert (ran.code, "Cannot cancel" in ran.err) == (2, True)


def test_a_wrong_one_says_where(ms: Run, served: Path) -> None:
    write(served / "twice.jsonl", line("a"), line("a"))
    ran = ms("batch", "create", "twice.jsonl", "--watch")
    assert ran.code == 1
    assert "line 2: duplicate_custom_id: " in ran.out


def test_cancel_and_what_is_refused(ms: Run, served: Path) -> None:
    write(served / "slow.jsonl", line("a", "!hang"))
    batch_id = ms("batch", "create", "slow.jsonl").out.strip()
    assert ms("batch", "cancel", batch_id).out.startswith(f"{batch_id} is cancel")
    assert "is not a file" in ms("batch", "create", "nothing.jsonl").err
    assert "--endpoint" in ms("batch", "create", "file-123").err
    (served / "odd.jsonl").write_text("[]")
    assert "names no url" in ms("batch", "create", "odd.jsonl").err
    assert "No batch found" in ms("batch", "show", "batch_none").err
