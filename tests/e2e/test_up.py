"""`scripts/up` without a network, on a Python that writes down what it is asked; and commands beside a server."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.server import Server, running

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
    *"-m venv"*)
        for folder; do :; done
        mkdir -p "$folder/bin"
        cp "$0" "$folder/bin/python"
        ;;
    *"pip install"*"-e ."*)
        [ -z "${PIP_FAILS:-}" ] || exit 1
        printf '#!/bin/sh\\necho "mainspring $*, in $PWD"\\n' >.venv/bin/mainspring
        chmod +x .venv/bin/mainspring
        ;;
esac
"""


@dataclass
class Clone:
    """A clone of the repository as far as `scripts/up` needs it."""

    root: Path
    elsewhere: Path
    calls: Path

    def up(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it from another folder."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAINSPRING_", "PYTHON"))}
        return subprocess.run(
            [self.root / "scripts" / "up", *arguments],
            cwd=self.elsewhere,
            env=clean | {"CALLS": str(self.calls), "PYTHON": str(self.root / "python")} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def called(self) -> list[str]:
        """What Python was asked since this was last called."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return lines


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "a clone"
    (root / "scripts").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("scripts/up", "scripts/environment", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    (root / "python").write_text(PYTHON)
    (root / "python").chmod(0o755)
    return Clone(root, tmp_path / "elsewhere", tmp_path / "calls")


def test_the_first_start_installs_and_the_second_asks_python_for_nothing(clone: Clone) -> None:
    first = clone.up("--port", "0", "--home", "relative")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"mainspring up --port 0 --home relative, in {clone.elsewhere}\n"
    assert any("pip install -q -e ." in call for call in clone.called())
    second = clone.up("--port", "0", "--home", "relative")
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert clone.called() == []


def test_a_changed_pyproject_installs_again(clone: Clone) -> None:
    clone.up()
    clone.called()
    with (clone.root / "pyproject.toml").open("a") as file:
        file.write("\n")
    assert clone.up().returncode == 0
    assert any("pip install" in call for call in clone.called())


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    assert clone.up(PIP_FAILS="1").returncode != 0
    clone.called()
    assert clone.up().stdout.startswith("mainspring up")
    assert any("pip install" in call for call in clone.called())


def test_the_developers_environment_will_do(clone: Clone) -> None:
    clone.up()
    (clone.root / ".venv" / ".installed-package").rename(clone.root / ".venv" / ".installed-dev")
    clone.called()
    assert clone.up().stdout.startswith("mainspring up")
    assert clone.called() == []


def test_without_a_python_it_says_what_to_install(clone: Clone, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "cat", "cksum", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    done = clone.up(PATH=str(tools), PYTHON="")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Python 3.11 or newer" in done.stderr


# Beside a server that runs.


def mainspring(server: Server, *arguments: str, piped: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from mainspring.cli.main import main; main()", *arguments, "--home", str(server.home)],
        input=piped,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.model
def test_commands_beside_a_server(model_file: Path) -> None:
    with running(model_file) as server:
        chat = mainspring(server, "chat", "--max-tokens", "8", piped="Say hello.")
        assert (chat.returncode, chat.stderr) == (0, "")
        assert chat.stdout.strip()
        assert mainspring(server, "complete", "Once upon a", "--max-tokens", "4").stdout.strip()

        secret = mainspring(server, "keys", "create", "guest").stdout.strip()
        with server.http() as http:
            as_guest = {"api-key": secret}
            assert http.get("/v1/models", headers=as_guest).status_code == 200
            assert mainspring(server, "keys", "revoke", "guest").returncode == 0
            limit = time.monotonic() + 10
            while http.get("/v1/models", headers=as_guest).status_code != 401:
                assert time.monotonic() < limit, "a revoked key still works"
                time.sleep(0.05)
            assert http.get("/v1/models").status_code == 200
