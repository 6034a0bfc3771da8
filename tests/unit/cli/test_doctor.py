import json
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mainspring.cli import doctor
from mainspring.cli.doctor import Check
from mainspring.core.config import load_settings
from mainspring.models.catalog import Catalog
from tests.s3 import S3
from tests.unit.cli.conftest import Run
from tests.unit.models.gguf_files import write_gguf


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the library loads, whatever this one is like."""
    monkeypatch.setattr(doctor, "_library", lambda _: Check("library", "ok", "loads"))
    monkeypatch.setenv("MAINSPRING_SERVER__PORT", "0")


def test_a_good_machine(ms: Run, home: Path, tmp_path: Path, good: None) -> None:
    Catalog(home / "models").pull(f"file:{write_gguf(tmp_path / 'smollm2-135m-instruct.gguf')}")
    ran = ms("doctor")
    assert ran.code == 0, ran.out
    assert "FAIL" not in ran.out
    found = {check["name"]: check for check in json.loads(ms("doctor", "--json").out)}
    assert list(found) == ["python", "processor", "library", "memory", "disk", "port", "model"]
    assert found["model"]["state"] == "ok"


def test_a_missing_model_is_no_failure(ms: Run, good: None) -> None:
    ran = ms("doctor")
    assert ran.code == 0
    assert "mainspring models pull" in ran.out


def test_a_failure_is_1_and_every_finding_has_a_remedy(
    ms: Run, home: Path, tmp_path: Path, good: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(home / "models")
    version = catalog.pull(f"file:{write_gguf(tmp_path / 'smollm2-135m-instruct.gguf')}")
    catalog.path(version).write_bytes(b"short")
    usage = SimpleNamespace(free=1e6)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    monkeypatch.setattr(doctor, "_processor_flags", lambda: {"avx"})
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1e6))
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("MAINSPRING_SERVER__PORT", str(other.getsockname()[1]))
        ran = ms("doctor", "--json")
    assert ran.code == 1
    found = {check["name"]: check for check in json.loads(ran.out)}
    states = {name: check["state"] for name, check in found.items()}
    assert states == {
        "python": "failure",
        "processor": "warning",
        "library": "ok",
        "memory": "warning",
        "disk": "failure",
        "port": "failure",
        "model": "failure",
    }
    assert all(check.get("remedy") for check in found.values() if check["state"] != "ok")


def test_our_own_server_on_the_port_is_fine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        settings = load_settings(home, {"server": {"port": port}})
        assert doctor._port(settings).state == "failure"
        (home / "server.json").write_text(json.dumps({"base_url": f"http://127.0.0.1:{port}", "pid": os.getpid()}))
        assert doctor._port(settings).state == "ok"


def failing(code: str) -> str:
    return f"import os, sys\n{code}"


@pytest.mark.parametrize(
    ("code", "found", "state"),
    [
        ("print('lib.so')", "lib.so loads", "ok"),
        ("sys.exit('other struct layouts')", "other struct layouts", "failure"),
        ("os.kill(os.getpid(), 11)", "crashed with SIGSEGV", "failure"),
        ("os.kill(os.getpid(), 4)", "crashed with SIGILL", "failure"),
    ],
)
def test_the_library_may_crash(home: Path, monkeypatch: pytest.MonkeyPatch, code: str, found: str, state: str) -> None:
    monkeypatch.setattr(doctor, "_LOAD", failing(code))
    check = doctor._library(load_settings(home))
    assert (check.state, found in check.found) == (state, True)
    assert bool(check.remedy) == (state != "ok")


def test_a_library_that_hangs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LOAD", "input()" if sys.stdin is None else "import signal; signal.pause()")
    monkeypatch.setattr(doctor, "LIBRARY_TIMEOUT_S", 0.1)
    assert "did not load" in doctor._library(load_settings(home)).found


@pytest.mark.model
def test_the_real_library(home: Path) -> None:
    assert doctor._library(load_settings(home)).state == "ok"


def test_a_library_that_is_none(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib.so").write_text("no library")
    check = doctor._library(load_settings(home, {"engine": {"library": tmp_path / "lib.so"}}))
    assert check.state == "failure"
    assert "engine.library" in check.remedy


def test_a_bucket_is_tried_out(ms: Run, good: None, s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = s3_server.settings()
    for name, value in settings.model_dump(exclude_unset=True).items():
        monkeypatch.setenv(f"MAINSPRING_BLOBS__{name.upper()}", value)
    [*_, found] = json.loads(ms("doctor", "--json").out)
    assert (found["name"], found["state"]) == ("bucket", "ok")
    assert s3_server.keys(settings) == set()
    monkeypatch.setenv("MAINSPRING_BLOBS__URL", "s3://there-is-none/x")
    ran = ms("doctor", "--json")
    [*_, found] = json.loads(ran.out)
    assert (ran.code, found["state"]) == (1, "failure")
    assert found["found"].startswith("s3://there-is-none/x: ")
