"""`mainspring train check`: a table, JSON, and every fault of a file."""

import json
import subprocess
import sys

import pytest
import typer

from mainspring.cli.train_check import check
from mainspring.core.errors import InvalidRequest, UserMistake

pytestmark = pytest.mark.model

app = typer.Typer()
app.command()(check)


@pytest.fixture
def run(tmp_path, model_file, capsys, monkeypatch):
    monkeypatch.setattr("mainspring.core.log.configure", lambda level: None)  # it holds this test's standard error

    def call(lines, *more):
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        app([str(path), "--model", f"file:{model_file}", "--home", str(tmp_path), *more], standalone_mode=False)
        return capsys.readouterr()

    return call


LINES = [{"prompt": f"What is {at} and {at}?", "completion": f" {2 * at}"} for at in range(12)]


def test_a_table(run, tmp_path):
    shown = run(LINES, "--validation", str(tmp_path / "data.jsonl"))
    assert "training" in shown.out
    assert "validation" in shown.out
    assert "batch_size = 1 (auto)" in shown.err
    assert "12 of 12 validation examples are in the training file too" in shown.err


def test_json_and_nothing_else(tmp_path, model_file):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    program = "import typer\nfrom mainspring.cli.train_check import check\ntyper.run(check)"
    options = ["--model", f"file:{model_file}", "--home", str(tmp_path), "--json", "--max-tokens", "64"]
    ran = subprocess.run([sys.executable, "-c", program, str(path), *options], capture_output=True, check=True)
    report = json.loads(ran.stdout)
    assert report["training"]["examples"] == 12
    assert report["max_tokens"] == 64
    assert report["time_s"] > 0


def test_faults(run, tmp_path):
    with pytest.raises(InvalidRequest, match="line 13: the field 'completion' is missing"):
        run([*LINES, {"prompt": "x"}])
    with pytest.raises(UserMistake, match="no file"):
        run(LINES, "--validation", str(tmp_path / "none"))
