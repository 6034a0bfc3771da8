"""Prepared weights: which format of a model is served on this machine, and its file.

    models/<name>/<version>/prepared/<format>.<build>.gguf   weights in another format than the shipped one
    models/<name>/<version>/prepared/<key>.json              what was chosen, and why; written last

A choice is for one processor, one build of the inference library and one number of threads: `Machine`. It lies inside
of the version's folder, so a model that is removed takes it along. A file has its name once it is whole. Who makes the
files is `engine/preparation.py`.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from mainspring.core.config import EngineSettings
from mainspring.core.errors import UserMistake
from mainspring.core.types import FileRef, ModelVersion
from mainspring.models.catalog import Catalog
from mainspring.models.sources import sync

__all__ = ["Choice", "Machine", "file_name", "file_ref", "find", "folder", "machine", "publish", "weights"]

RECIPE = 1
"""Counted up when the same format would come out as other bytes."""

_VERSION = re.compile(r"[0-9][0-9a-z.]*")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement holds for."""

    processor: str
    threads: int
    library: str

    @property
    def key(self) -> str:
        """A short name for it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The format that a model is served in.

    Args:
        by: measured here, named by a person, or neither: the shipped file, since nothing has been measured.
        file: the weights, below the `prepared` folder; None is the shipped file.
        table: `engine.formats.Measurement`s, the shipped file's first.
    """

    format: str
    by: Literal["measured", "person", "nobody"]
    reason: str
    created: int
    machine: Machine
    file: FileRef | None = None
    bound_nats: float | None = None
    table: tuple[dict[str, Any], ...] = ()


def machine(settings: EngineSettings) -> Machine:
    """This one, with the inference library and the threads of `settings`."""
    return Machine(processor=_processor(), threads=settings.threads, library=_library(settings))


def _library(settings: EngineSettings) -> str:
    """Names the build: the wheel's version, or another library's place, size and time."""
    if settings.library is None:
        try:
            return importlib.metadata.version("xllamacpp")
        except importlib.metadata.PackageNotFoundError:
            return "none"
    with contextlib.suppress(OSError):
        facts = settings.library.stat()
        return f"{settings.library.resolve()}:{facts.st_size}:{facts.st_mtime_ns}"
    return str(settings.library)


def _processor() -> str:
    """Model and features, since both decide which kernels run; and how many cores."""
    about = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        about += "".join(sorted({line for line in lines if line.startswith(wanted)}))
    return f"{hashlib.sha256(about.encode()).hexdigest()[:12]} x {os.cpu_count() or 1}"


def folder(catalog: Catalog, version: ModelVersion) -> Path:
    """Where a version's prepared files lie."""
    return catalog.folder(version) / "prepared"


def file_name(name: str, settings: EngineSettings) -> str:
    """Of the weights in the format `name`, as the library of `settings` writes them."""
    return f"{name}.{_tag(_library(settings))}.gguf"


def _tag(library: str) -> str:
    """A build in a file's name: its version, or a hash for a library that has only a place."""
    build = library if _VERSION.fullmatch(library) else "x" + hashlib.sha256(library.encode()).hexdigest()[:12]
    return f"{build}-{RECIPE}"


def file_ref(path: Path, name: str) -> FileRef:
    """What is recorded of a file that will be called `name`."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRef(path=name, bytes=path.stat().st_size, sha256=digest)


def find(catalog: Catalog, version: ModelVersion, settings: EngineSettings) -> Choice | None:
    """What was chosen for this machine, if it was and its file is there and whole (by size)."""
    place = folder(catalog, version)
    try:
        choice = msgspec.json.decode((place / f"{machine(settings).key}.json").read_bytes(), type=Choice)
        if choice.file is not None and (place / Path(choice.file.path).name).stat().st_size != choice.file.bytes:
            return None
    except (OSError, msgspec.MsgspecError):
        return None
    return choice


def weights(catalog: Catalog, version: ModelVersion, settings: EngineSettings) -> tuple[Path, str]:
    """The file to serve, and why that one.

    Raises:
        UserMistake: `engine.format` names a format that has not been prepared.
    """
    shipped = catalog.path(version)
    if version.format != "gguf" or version.kind == "embedding" or version.is_adapter:
        return shipped, "only models that generate text are prepared"
    if settings.format == "shipped":
        return shipped, "engine.format asks for the shipped file"
    if settings.format != "auto":
        path = folder(catalog, version) / file_name(settings.format, settings)
        if not path.exists():
            raise UserMistake(
                f"{version.name} has not been prepared in engine.format {settings.format!r}: "
                f"`mainspring models prepare {version.name} --format {settings.format}` does that."
            )
        return path, f"engine.format asks for {settings.format}"
    choice = find(catalog, version, settings)
    if choice is None:
        return shipped, "no other format has been prepared for this machine"
    path = folder(catalog, version) / Path(choice.file.path).name if choice.file else shipped
    return path, choice.reason


def publish(catalog: Catalog, version: ModelVersion, choice: Choice, weights_file: Path | None) -> None:
    """Give a choice and its file their places, the file first; what other builds of the library left is removed.

    Args:
        weights_file: moved, so it must lie on the same disk; None if it is there already or `choice` has none.
    """
    place = folder(catalog, version)
    place.mkdir(exist_ok=True)
    if weights_file is not None and choice.file is not None:
        weights_file.replace(place / choice.file.path)
    part = place / f"{choice.machine.key}.json.part"
    with part.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(choice)))
        sync(file)
    part.replace(place / f"{choice.machine.key}.json")
    if _VERSION.fullmatch(choice.machine.library):
        _remove_old(place, _tag(choice.machine.library), choice.machine.library)


def _remove_old(place: Path, tag: str, library: str) -> None:
    """Remove what other versions of the wheel left; whoever still serves such a file has it open and keeps it."""
    for path in place.glob("*.gguf"):
        if re.search(rf"\.({_VERSION.pattern}-\d+)\.gguf$", path.name) and not path.name.endswith(f".{tag}.gguf"):
            path.unlink(missing_ok=True)
    for path in place.glob("*.json"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            of = msgspec.json.decode(path.read_bytes(), type=Choice).machine.library
            if of != library and _VERSION.fullmatch(of):
                path.unlink()
