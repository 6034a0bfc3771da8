import json
from pathlib import Path

import pytest

from mainspring.core.types import Lineage
from tests.contract.target import in_catalog
from tests.unit.cli.conftest import Run
from tests.unit.engine.tiny_llama import write_tiny
from tests.unit.models.gguf_files import gguf_bytes, write_gguf


def test_from_pull_to_rm(ms: Run, home: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "Tiny-Chat.Q8_0.gguf")
    assert "No models yet" in ms("models", "list").err
    assert ms("models", "list", "--json").out == "[]\n"

    pulled = ms("models", "pull", f"file:{file}")
    assert pulled.code == 0
    assert pulled.out.startswith("tiny-chat@")
    assert "copying" in pulled.err
    assert home.stat().st_mode & 0o777 == 0o700

    [listed] = json.loads(ms("models", "list", "--json").out)
    assert pulled.out == f"tiny-chat@{listed['version']}\n"
    assert "tiny-chat" in ms("models", "list").out

    shown = ms("models", "show", "tiny-chat").out
    assert listed["files"][0]["sha256"] in shown
    assert "2,048 tokens" in shown
    assert json.loads(ms("models", "show", "tiny-chat", "--json").out) == listed

    assert ms("models", "rm", "tiny-chat").out.startswith("removed tiny-chat@")
    assert ms("models", "list", "--json").out == "[]\n"


def test_a_name_of_ones_own(ms: Run, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "x.gguf")
    ran = ms("models", "pull", f"file:{file}", "--name", "mine", "--json")
    assert json.loads(ran.out)["name"] == "mine"


def test_what_a_file_says_cannot_drive_the_terminal(ms: Run, tmp_path: Path) -> None:
    metadata = {"general.architecture": "llama", "general.license": "mit\x1b[2J\x1b]0;owned\x07"}
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(metadata))
    ms("models", "pull", f"file:{tmp_path / 'x.gguf'}")
    shown = ms("models", "show", "x").out
    assert "mit" in shown
    assert "\x1b" not in shown


@pytest.fixture
def tiny(ms: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_ENGINE__FORMAT", "auto")
    monkeypatch.setenv("MAINSPRING_ENGINE__THREADS", "1")
    assert ms("models", "pull", f"file:{write_tiny(tmp_path / 'tiny.gguf')}").code == 0


def test_prepare_shows_every_format_and_the_reason(ms: Run, tiny: None) -> None:
    ran = ms("models", "prepare", "tiny", "--bound", "0.01")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "format",
        "shipped",
        "q8_0",
        "q4_0",
        "mixed",
        "iq4_nl",
        "f16",
        "tiny",
    ]
    assert lines[-1].startswith("tiny is served as ")
    assert "writing: q8_0" in ran.err
    assert lines[-1].removeprefix("tiny is served as ").rstrip(".") in ms("models", "show", "tiny").out


def test_prepare_takes_a_format_by_name(ms: Run, tiny: None) -> None:
    assert ms("models", "prepare", "tiny", "--format", "q4_0").out == "tiny is served as q4_0: it was asked for.\n"
    made = json.loads(ms("models", "prepare", "tiny", "--format", "f16", "--json").out)
    assert (made["format"], made["by"]) == ("f16", "person")
    refused = ms("models", "prepare", "tiny", "--format", "q2_k")
    assert refused.code == 2
    assert "q4_0" in refused.err
    assert ms("models", "prepare", "absent").code == 2


def test_where_a_model_comes_from_is_shown(ms: Run, home: Path) -> None:
    in_catalog(home, "tiny", "1")
    first = Lineage(
        base="tiny@1", method="supervised", training="12" * 32, seed=7, step=30, scores={"train_loss": 0.51239}
    )
    in_catalog(home, "ft:tiny:acme::a", "2", lineage=first, made_by="ftjob-1", project="acme")
    second = Lineage(
        base="ft:tiny:acme::a@2", method="dpo", training="34" * 32, validation="56" * 32, settings={"rank": 8}
    )
    in_catalog(home, "ft:tiny:acme::b", "3", lineage=second, made_by="ftjob-2")
    shown = ms("models", "show", "ft:tiny:acme::b").out
    assert shown.partition("\n\n")[2].splitlines() == [
        "tiny@1",
        "`- ft:tiny:acme::a@2",
        "      job        ftjob-1, supervised, step 30, seed 7",
        f"      training   sha256:{'12' * 32}",
        "      scores     train_loss 0.5124",
        "   `- ft:tiny:acme::b@3",
        "         job        ftjob-2, dpo, step 0, seed 0",
        f"         training   sha256:{'34' * 32}",
        f"         validation sha256:{'56' * 32}",
        "         settings   rank 8",
    ]
    assert "project        acme" in ms("models", "show", "ft:tiny:acme::a").out
    assert json.loads(ms("models", "show", "ft:tiny:acme::a", "--json").out)["lineage"]["scores"] == {
        "train_loss": 0.51239
    }
    assert ms("models", "rm", "tiny").code == 0
    assert "tiny@1 (no longer here)" in ms("models", "show", "ft:tiny:acme::a").out


def test_export_writes_a_whole_file_and_no_other(ms: Run, tiny: None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = ms(
        "models", "export", "tiny", "--format", "gguf", "--type", "q8_0", "--outfile", str(tmp_path / "out" / "q.gguf")
    )
    assert (ran.code, ran.out) == (0, f"{tmp_path}/out/q.gguf\n")
    assert (tmp_path / "out" / "q.gguf").stat().st_size > 50_000
    assert ms("models", "export", "tiny", "--format", "gguf", "--merge").code == 2
    done = json.loads(ms("models", "export", "tiny", "--format", "safetensors", "--json").out)
    assert done["path"] == "tiny"
    assert (tmp_path / "tiny" / "model.safetensors").exists()
    assert "exists" in ms("models", "export", "tiny", "--format", "safetensors").err
