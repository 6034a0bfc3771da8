"""`mainspring files`, against the real edge."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import client
from mainspring.core.errors import Unavailable
from tests.contract.target import GovernedTarget, governed
from tests.unit.cli.conftest import Run

LINES = b'{"messages": []}\n'


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def served(target: GovernedTarget, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory whose server runs, and a folder to work in."""
    home.mkdir()
    (home / "server.json").write_text(json.dumps({"base_url": target.base_url, "pid": 1}))
    (home / "admin.key").write_text(f"{target.key}\n")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.jsonl").write_bytes(LINES)
    return folder


def test_there_and_back(ms: Run, served: Path) -> None:
    ran = ms("files", "upload", "train.jsonl")
    assert ran.code == 0
    file_id = ran.out.strip()
    assert file_id.startswith("file-")
    [row] = [line for line in ms("files", "list").out.splitlines() if file_id in line]
    assert row.split()[1:4] == ["train.jsonl", "fine-tune", "17"]
    assert file_id in ms("files", "list", "--purpose", "fine-tune").out
    assert file_id not in ms("files", "list", "--purpose", "batch").out
    assert json.loads(ms("files", "list", "--json").out)[0]["id"] == file_id
    ran = ms("files", "get", file_id)
    assert (ran.code, "train.jsonl exists already" in ran.err) == (2, True)
    assert ms("files", "get", file_id, "--to", "back.jsonl").out == "back.jsonl\n"
    assert (served / "back.jsonl").read_bytes() == LINES
    assert ms("files", "delete", file_id).out == f"{file_id} is deleted.\n"
    ran = ms("files", "get", file_id)
    assert (ran.code, ran.out, ran.err) == (2, "", f"No such File object: {file_id}\n")
    assert sorted(path.name for path in served.iterdir()) == ["back.jsonl", "train.jsonl"]


def test_what_is_large_goes_in_parts_and_a_part_that_is_lost_again(
    ms: Run, served: Path, target: GovernedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, ask = list[str](), client.Client._post

    def post(self: client.Client, path: str, **body: Any) -> Any:
        sent.append(path.rpartition("/")[2])
        answer = ask(self, path, **body)
        if sent.count("parts") == 2:
            sent.append("lost")
            raise Unavailable("The answer was lost.")
        return answer

    monkeypatch.setattr(client, "PART_BYTES", 30)
    monkeypatch.setattr(client.Client, "_post", post)
    (served / "large.jsonl").write_bytes(LINES * 5)
    made = json.loads(ms("files", "upload", "large.jsonl", "--expires-days", "1", "--json").out)
    assert (made["filename"], made["bytes"]) == ("large.jsonl", 85)
    assert made["expires_at"] - made["created_at"] == 86_400
    assert sent == ["uploads", "parts", "parts", "lost", "parts", "parts", "complete"]
    assert ms("files", "get", made["id"], "--to", "back.jsonl").code == 0
    assert (served / "back.jsonl").read_bytes() == LINES * 5
    sent.clear()
    (served / "broken.jsonl").write_bytes(LINES * 3 + b"{")
    ran = ms("files", "upload", "broken.jsonl")
    assert (ran.code, "line 4" in ran.err, sent[-2:]) == (2, True, ["complete", "cancel"])


def test_what_is_refused_is_said_in_a_sentence(ms: Run, served: Path, target: GovernedTarget) -> None:
    (served / "broken.jsonl").write_bytes(LINES + b"{")
    ran = ms("files", "upload", "broken.jsonl")
    assert ran.code == 2
    assert "line 2 is not valid JSON" in ran.err
    assert "is not a file" in ms("files", "upload", "nothing.jsonl").err
    assert "Supported values" in ms("files", "upload", "train.jsonl", "--purpose", "x").err
    reader = target.make_key(role="reader")
    assert "needs the role" in ms("files", "upload", "train.jsonl", "--key", reader).err


def test_json_and_expiry(ms: Run, served: Path) -> None:
    made = json.loads(ms("files", "upload", "train.jsonl", "--expires-days", "2", "--json").out)
    assert made["expires_at"] - made["created_at"] == 2 * 86_400
    assert json.loads(ms("files", "delete", made["id"], "--json").out) == {"id": made["id"], "deleted": True}


def test_an_id_is_no_path(ms: Run, served: Path) -> None:
    ran = ms("files", "delete", "../models/fake")
    assert ran.code == 2
