"""`mainspring doctor`: is this machine fit to serve, and if not, what helps?"""

import asyncio
import json
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
import typer

from mainspring.cli.output import AsJson, Home, plain, print_json
from mainspring.core.errors import MainspringError, ModelNotFound, UserMistake

if TYPE_CHECKING:
    from mainspring.core.config import Settings

__all__ = ["Check", "checks", "doctor"]

OLDEST_PYTHON = (3, 11)
LIBRARY_TIMEOUT_S = 60
GB = 1e9

_MARKS = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was looked at, what was found, and what helps if it is not good."""

    name: str
    state: Literal["ok", "warning", "failure"]
    found: str
    remedy: str = ""


def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Check this machine and this installation. The exit code is 1 if something would keep a server from working."""
    from mainspring.core.config import load_settings

    try:
        results = checks(load_settings(home))
    except UserMistake as mistake:  # a setting is wrong: that is a finding, too
        results = [Check("settings", "failure", mistake.message, "Correct it and run doctor again.")]
    if as_json:
        print_json(results)
    else:
        for check in results:
            typer.echo(f"{_MARKS[check.state]}  {check.name:10} {plain(check.found)}")
            if check.remedy:
                typer.echo(f"                 -> {plain(check.remedy)}")
    if any(check.state == "failure" for check in results):
        raise typer.Exit(1)


def checks(settings: "Settings") -> list[Check]:
    """Every check, in the order in which the remedies are best applied."""
    every: Iterable[Callable[[Settings], Check]] = (_python, _processor, _library, _memory, _disk, _port)
    found = [check(settings) for check in every] + [_model(settings, name) for name in settings.models]
    return [*found, _bucket(settings)] if settings.blobs.url else found


def _python(_settings: "Settings") -> Check:
    found = f"{platform.python_version()} ({platform.machine()}, {platform.system()})"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("python", "failure", found, "Install Python 3.11 or newer.")
    return Check("python", "ok", found)


def _processor(_settings: "Settings") -> Check:
    """The vector instructions that matter: without AVX2 an x86 processor is several times slower."""
    machine, flags = platform.machine().lower(), _processor_flags()
    wanted = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm", "sve")
    features = [flag for flag in wanted if flag in flags]
    found = f"{_num_cores()}: {', '.join(features) or 'features unknown'}"
    if machine in {"x86_64", "amd64"} and flags and not {"avx2", "fma", "f16c"} <= flags:
        remedy = "Expect slow answers; on a virtual machine, pass the host's processor through (-cpu host)."
        return Check("processor", "warning", found, remedy)
    return Check("processor", "ok", found)


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    first = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(first.partition(":")[2].split())


def _num_cores() -> str:
    import psutil

    return f"{psutil.cpu_count(logical=False) or '?'} cores, {psutil.cpu_count() or '?'} threads"


_LOAD = """
import sys
from pathlib import Path
from mainspring.core.errors import MainspringError
from mainspring.engine.llama import binding
try:
    library = binding.load(Path(sys.argv[1]) if sys.argv[1] else None)
except MainspringError as error:
    sys.exit(error.message)
print(library.path.name)
"""


def _library(settings: "Settings") -> Check:
    """Load the inference library and compare its structs, in a process of its own: a wrong one may crash it."""
    other = str(settings.engine.library or "")
    remedy = "Set engine.library to a library that fits, or remove it." if other else "Run `pip install -U mainspring`."
    command = [sys.executable, "-c", _LOAD, other]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIBRARY_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return Check("library", "failure", f"did not load within {LIBRARY_TIMEOUT_S} s", remedy)
    if done.returncode == 0:
        return Check("library", "ok", f"{done.stdout.strip()} loads, and its structs are the expected ones")
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        hint = "It was built for another processor: name a build of your own in engine.library."
        return Check("library", "failure", f"crashed with {name}", hint if name == "SIGILL" else remedy)
    said = done.stderr.strip().splitlines()
    return Check("library", "failure", said[-1] if said else "does not load", remedy)


def _memory(settings: "Settings") -> Check:
    """Each model needs its weights and as much again for caches; a server alone some 150 MB."""
    import psutil

    available = psutil.virtual_memory().available
    need = 0.3 * GB + 2 * sum(_weights_bytes(settings, name) for name in settings.models)
    found = f"{available / GB:.1f} GB available, about {need / GB:.1f} GB needed"
    if available < need:
        return Check("memory", "warning", found, "Stop other programs, or serve a smaller model.")
    return Check("memory", "ok", found)


def _weights_bytes(settings: "Settings", name: str) -> int:
    from mainspring.models.catalog import Catalog

    try:
        version = Catalog(settings.home / "models").get(name)
    except ModelNotFound:
        return 100_000_000  # the size of the default model
    return sum(file.bytes for file in version.files)


def _disk(settings: "Settings") -> Check:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / GB:.1f} GB free for {settings.home}"
    if free < 0.1 * GB:
        return Check("disk", "failure", found, "Make room, or choose another --home.")
    if free < 1 * GB:
        return Check("disk", "warning", found, "Make room before pulling models, or choose another --home.")
    return Check("disk", "ok", found)


def _port(settings: "Settings") -> Check:
    host, port = settings.server.host, settings.server.port
    place = f"{host} port {port}"
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            trial.bind((host, port))
    except OSError as error:
        if _is_ours(settings):
            return Check("port", "ok", f"{place}: Mainspring is running there")
        remedy = "Stop the other program, or choose another --port."
        return Check("port", "failure", f"{place}: {error.strerror or error}", remedy)
    return Check("port", "ok", f"{place} is free")


def _is_ours(settings: "Settings") -> bool:
    import psutil

    try:
        state = json.loads((settings.home / "server.json").read_text())
        port = urlsplit(str(state["base_url"])).port
        return port == settings.server.port and psutil.pid_exists(int(state["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _model(settings: "Settings", name: str) -> Check:
    """Whether a model to be served is here and whole (by size: hashing gigabytes would take minutes)."""
    from mainspring.models.catalog import Catalog

    catalog = Catalog(settings.home / "models")
    try:
        version = catalog.get(name)
    except ModelNotFound:
        remedy = f"`mainspring up` fetches it, or `mainspring models pull {name}`."
        return Check("model", "warning", f"{name} is not on this machine yet", remedy)
    for file in version.files:
        path = catalog.path(version, file)
        if not path.is_file() or path.stat().st_size != file.bytes:
            remedy = (
                f"`mainspring models rm {version.name}@{version.version}`, then pull it again from {version.source}."
            )
            return Check("model", "failure", f"{version.name}: {file.path} is damaged", remedy)
    return Check("model", "ok", f"{version.name}@{version.version}")


def _bucket(settings: "Settings") -> Check:
    """Whether the bucket for what is uploaded takes and gives."""
    from mainspring.store.blobs import open_blobs
    from mainspring.store.bucket import Bucket

    url, blobs = settings.blobs.url, open_blobs(settings.home, settings.blobs)
    assert isinstance(blobs, Bucket)
    try:
        asyncio.run(blobs.try_out())
    except MainspringError as error:
        why = str(error.__cause__ or error).partition("\n")[0]
        remedy = "Check the settings of blobs, and that these credentials may get, put and delete below the prefix."
        return Check("bucket", "failure", f"{url}: {why}", remedy)
    return Check("bucket", "ok", f"{url} takes and gives")
