"""Starts the whole product, as a user does, on the default model; for the tests."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

START_S = 90.0


@dataclass
class Server:
    """A running `mainspring up`."""

    process: subprocess.Popen[str]
    home: Path
    output: list[str] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        return json.loads((self.home / "server.json").read_text())["base_url"]

    @property
    def key(self) -> str:
        return (self.home / "admin.key").read_text().strip()

    @property
    def text(self) -> str:
        return "".join(self.output)

    def http(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, headers={"api-key": self.key}, timeout=60, **options)

    def replicas(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        found = []
        for child in children:
            with contextlib.suppress(psutil.Error):  # one that ends just now
                if "mainspring.engine.process" in child.cmdline():
                    found.append(child)
        return found

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        with self.http() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    def stop(self) -> float:
        """SIGTERM; the seconds that it took to end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        return time.monotonic() - began

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output.append(line)
            if line.startswith("Ctrl-C stops it"):
                self.ready.set()


@contextlib.contextmanager
def running(
    *models: Path,
    python: str = sys.executable,
    start_s: float = START_S,
    home: Path | None = None,
    port: int = 0,
    **environment: str,
) -> Generator[Server]:
    """`mainspring up` in a new data directory or in `home`, ready to answer. `python` is the interpreter; port 0 is any
    that is free."""
    with contextlib.nullcontext(home) if home else tempfile.TemporaryDirectory(prefix="ms") as folder:
        command = [python, "-c", "from mainspring.cli.main import main; main()", "up", "--port", str(port)]
        for model in models:
            command += ["--model", f"file:{model}"]
        process = subprocess.Popen(
            [*command, "--home", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # As shipped: what is generated must not depend on which format is fastest here.
            env=os.environ
            | {"MAINSPRING_ENGINE__KV_TOKENS": "8192", "MAINSPRING_ENGINE__FORMAT": "shipped"}
            | environment,
        )
        server = Server(process, Path(folder))
        reader = threading.Thread(target=server._read, daemon=True)
        reader.start()
        try:
            if not server.ready.wait(start_s):
                raise AssertionError(f"the server did not become ready:\n{server.text}")
            yield server
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join(5)
            process.stdout.close()
