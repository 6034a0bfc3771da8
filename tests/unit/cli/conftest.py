"""One way to run a command in this process, with a data directory of the test's own."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mainspring.cli.main import run
from mainspring.core import log


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    log.configure("critical", terminal=False)  # a server in this process shares our standard error


@dataclass
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MAINSPRING_API_KEY", raising=False)
    monkeypatch.setenv("MAINSPRING_ENGINE__FORMAT", "shipped")  # most models here are no models to be measured
    return tmp_path / "home"


@pytest.fixture
def ms(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def ms(*arguments: str, piped: str | None = "") -> Ran:
        """Run `mainspring ARGUMENTS`; `piped` is standard input, and None a terminal."""
        stdin = io.StringIO(piped or "")
        stdin.isatty = lambda: piped is None  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stdin)
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return ms
