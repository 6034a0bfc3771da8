"""A PostgreSQL server of the tests' own, from the machine's package, in a temporary folder and on a free port."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

NOBODY = "postgres"
IN_TESTS = ("fsync=off",)
"""Without it what was committed outlives this server, which tests kill; only not the machine."""
WITH_VECTORS = Path(".cache/pgvector")
"""Where `scripts/test` puts a PostgreSQL that has the extension vector, if the machine's has none."""


def programs() -> Path | None:
    """Where `initdb` and `postgres` are; None if the package is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    return newest[-1].parent if newest else None


def programs_with_vectors() -> Path | None:
    """The same of a PostgreSQL that has the extension vector."""
    control = "extension/vector.control"
    if (found := programs()) and (Path("/usr/share/postgresql") / found.parent.name / control).exists():
        return found
    controls = WITH_VECTORS.resolve().glob(f"lib/python*/site-packages/*/pginstall/share/postgresql/{control}")
    return next((each.parents[3] / "bin" for each in controls), None)


class Postgres:
    """A running server, which may be killed and started again. `url()` makes a database of its own."""

    def __init__(self, folder: Path, binaries: Path, settings: Sequence[str] = IN_TESTS) -> None:
        self._binaries, self._data, self._settings = binaries, folder / "data", settings
        # It refuses to run as root.
        self._as = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(folder, NOBODY, NOBODY)
        self._run("initdb", "--auth=trust", "--username=test", "--no-sync", "-D", str(self._data))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments], capture_output=True, text=True, cwd="/", check=False, **self._as
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                self._binaries / "postgres", "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1", "-k", "",
                *(word for setting in self._settings for word in ("-c", setting)),
            ],
            cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as,
        )  # fmt: skip
        for _ in range(200):
            if (
                subprocess.run(
                    [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
                ).returncode
                == 0
            ):
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL did not start")

    @property
    def pid(self) -> int:
        """Of the process that the others are children of."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to the server, as if its machine had died."""
        self._process.kill()
        self._process.wait()
        # Its children notice, and must be gone before another one may start on the same data.
        time.sleep(0.5)

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)

    def url(self) -> str:
        """A new, empty database."""
        name = f"t{secrets.token_hex(6)}"
        host = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "test")
        self._run("createdb", *host, name)
        return f"postgresql://test@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def running(binaries: Path | None, settings: Sequence[str] = IN_TESTS) -> Generator[Postgres | None]:
    """A server of these programs; None if they are not installed."""
    if binaries is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = Postgres(Path(folder), binaries, settings)
        try:
            yield server
        finally:
            server.stop()
