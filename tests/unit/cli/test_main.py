import json
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring import __version__
from mainspring.cli import main
from mainspring.cli.output import ProgressBar, plain
from tests.unit.cli.conftest import Run

PROGRAM = [sys.executable, "-c", "from mainspring.cli.main import main; main()"]


def test_version(ms: Run) -> None:
    assert ms("version").out == f"{__version__}\n"
    assert json.loads(ms("version", "--json").out)["mainspring"] == __version__


@pytest.mark.parametrize(
    "arguments",
    [("nothing",), ("up", "--port", "99999"), ("models", "show"), ("keys", "create", "a", "--what")],
)
def test_usage_mistakes_are_2(ms: Run, arguments: tuple[str, ...]) -> None:
    ran = ms(*arguments)
    assert ran.code == 2
    assert "Error: " in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "show", "absent"),
        ("models", "rm", "absent"),
        ("models", "pull", "absent"),
        ("models", "pull", "file:/absent.gguf"),
        ("keys", "create", "x", "--role", "root"),
        ("keys", "create", "x", "--expires", "soon"),
        ("keys", "revoke", "absent"),
        ("up", "--model", "absent"),
        ("chat", "hello"),
        ("chat",),
        ("complete",),
        ("complete", "x", "--base-url", "http://127.0.0.1:9", "--key", "k"),
    ],
)
def test_a_mistake_is_one_sentence_on_standard_error(ms: Run, arguments: tuple[str, ...]) -> None:
    ran = ms(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.endswith(".\n")


def test_a_wrong_setting_is_named(ms: Run, home: Path) -> None:
    home.mkdir()
    (home / "mainspring.toml").write_text("[server]\nprot = 1\n")
    assert "'server.prot'" in ms("up").err
    ran = ms("doctor", "--json")
    assert ran.code == 1
    assert "server.prot" in json.loads(ran.out)[0]["found"]


def test_a_home_that_cannot_be(ms: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = ms("keys", "list", "--home", str(tmp_path / "file"))
    assert ran.code == 2
    assert "--home" in ran.err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [(KeyboardInterrupt(), 130, ""), (PermissionError(13, "Permission denied", "/x"), 2, "Permission denied: /x\n")],
)
def test_interruptions_and_refusals(
    ms: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("mainspring.models.catalog.Catalog.list", fail)
    ran = ms("models", "list")
    assert (ran.code, ran.out, ran.err) == (code, "", said)


def test_a_real_process_exits_with_the_code(home: Path) -> None:
    done = subprocess.run([*PROGRAM, "models", "show", "x\x1b[2J"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not in the catalog" in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(home: Path) -> None:
    command = [*PROGRAM, "keys", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said == ""


def test_help_imports_nothing_slow(home: Path) -> None:
    check = "import sys\nfrom mainspring.cli.main import run\nrun(['--help'])\n"
    check += (
        "print(sorted({'httpx', 'pydantic', 'sqlalchemy', 'starlette', 'rich', 'numpy', 'alembic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "doctor" in done.stdout


def test_no_exception_of_ours_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(ZeroDivisionError):  # our own mistakes keep their traceback
        main.run(["version"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text\n\tcafé 🙂 你好", "plain text\n\tcafé 🙂 你好"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "abc"),
        ("a\x9b2Jb\x1bcd", "abd"),
        ("over\rwritten\b\x00\x7f", "overwritten"),
        ("cut \x1b[3", "cut [3"),
        ("x\u202egnp.exe\u2066", "xgnp.exe"),
    ],
)
def test_plain_text_moves_no_cursor(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_progress_names_each_phase_once_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("hf:org/repo") as bar:
        for done in range(5):
            bar("downloading", done, 5)
        bar("unpacking", 0, None)
    assert capsys.readouterr().err == "hf:org/repo: downloading\nhf:org/repo: unpacking\n"


def test_progress_is_drawn_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar("a [b]") as bar:
        bar("downloading", 1_000_000, 4_000_000)
        bar("downloading", 4_000_000, 4_000_000)
    drawn = capsys.readouterr().err
    assert "a [b]: downloading" in drawn
    assert "4.0/4.0 MB" in drawn
