"""`mainspring backup` and `restore`: an installation as one file, and back, into either kind of database."""

import asyncio
import getpass
import os
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import msgspec
import typer

from mainspring.cli.data import with_database
from mainspring.cli.output import AsJson, Home, ProgressBar, print_json, tell
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.core.config import Settings
    from mainspring.store.archive import Contents, Manifest, Model
    from mainspring.store.db import Database
    from mainspring.store.restore import Restored

__all__ = ["backup", "restore"]


def backup(
    file: Annotated[
        str, typer.Argument(help="What to write, such as mainspring.tar.gz; - is standard output.", metavar="FILE")
    ],
    *,
    models: Annotated[
        bool, typer.Option("--models", help="With the models' files; otherwise it is noted where they came from.")
    ] = False,
    secrets: Annotated[
        bool,
        typer.Option(
            " /--without-secrets",
            help="Leave out admin.key, secret and mainspring.toml (the database's password).",
            show_default=False,
        ),
    ] = True,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write keys, usage, audit log and configuration to one archive, while servers run.

    Whoever reads the archive can act as its administrator: it is written for its owner only.
    """
    from mainspring.core.config import load_settings

    settings = load_settings(home)
    with _output(file) as out, ProgressBar("backup") as progress:
        manifest = asyncio.run(_backup(settings, out, progress, with_models=models, with_secrets=secrets))
    say = tell if file == "-" else typer.echo
    if as_json and file != "-":
        print_json(_summary(manifest))
    else:
        rows = sum(table.rows for table in manifest.tables.values())
        say(f"{'standard output' if file == '-' else file}: {rows:,} rows of {len(manifest.tables)} tables")
    if manifest.gone:
        tell(f"{len(manifest.gone):,} files have no content, since they were deleted meanwhile: they are not restored.")
    for each in _lost(manifest.models):
        tell(
            f"{each.name}@{each.version} came from {each.source} and is not in the archive: --models would include it."
        )


async def _backup(
    settings: "Settings", out: BinaryIO, progress: ProgressBar, *, with_models: bool, with_secrets: bool
) -> "Manifest":
    from mainspring.core.clock import SystemClock
    from mainspring.store.backup import backup as write
    from mainspring.store.blobs import open_blobs
    from mainspring.store.db import Database
    from mainspring.store.restore import DATABASE_FILE

    if not settings.database and not (settings.home / DATABASE_FILE).exists():
        raise UserMistake(f"There is nothing to back up in {settings.home}: name the data directory with --home.")
    database = Database.at(settings.database) if settings.database else Database.in_home(settings.home)
    try:
        return await write(
            database,
            settings.home,
            out,
            SystemClock(),
            progress,
            blobs=open_blobs(settings.home, settings.blobs),
            models=_models(settings.home, included=with_models),
            with_secrets=with_secrets,
        )
    finally:
        await database.close()


def _models(home: Path, *, included: bool) -> "list[Model]":
    from mainspring.models.catalog import MANIFEST, Catalog, folder_name
    from mainspring.store.archive import Model

    return [
        Model(
            name=version.name,
            version=version.version,
            source=version.source,
            files=(*(file.path for file in version.files), MANIFEST),
            bytes=sum(file.bytes for file in version.files),
            included=included,
            folder=folder_name(version.name),
        )
        for version in Catalog(home / "models").list()
    ]


def _lost(models: "Iterable[Model]") -> "list[Model]":
    """Models that no archive has and no registry gives back."""
    return [model for model in models if not model.included and not model.source.startswith(("hf:", "pypi:"))]


def _summary(manifest: "Manifest") -> dict[str, object]:
    return {
        "mainspring": manifest.mainspring,
        "created": manifest.created,
        "database": manifest.database,
        "revision": manifest.revision,
        "rows": {name: table.rows for name, table in manifest.tables.items()},
        "models": manifest.models,
        "members": len(manifest.members),
        "gone": len(manifest.gone),
    }


@contextmanager
def _output(file: str) -> Generator[BinaryIO]:
    """A file that has its name once it is whole; nothing is left of one that is not."""
    if file == "-":
        if sys.stdout.isatty():
            raise UserMistake("Standard output is a terminal: name a file, or put a pipe behind it.")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists():
        raise UserMistake(f"{file} exists already: choose another name, or remove it first.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def restore(
    file: Annotated[Path, typer.Argument(help="What `mainspring backup` has written.", metavar="FILE")],
    *,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace an installation that is there: its files are moved aside, its rows in PostgreSQL deleted.",
        ),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only verify the archive; change nothing.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make an installation from an archive, in the data directory and the database that the settings name.

    A mainspring.toml that lies in the data directory already stays and decides which database; so SQLite becomes
    PostgreSQL, and the other way round. No server may run on it.
    """
    from mainspring.core.config import create_home, home_from
    from mainspring.store import archive

    with file.open("rb") as packed, ProgressBar(file.name) as progress:
        contents = archive.verify(packed, progress)
        if check:
            _say_verified(contents, as_json=as_json)
            return
        folder = create_home(home_from(home))
        done = asyncio.run(_restore(packed, contents, folder, progress, replace=replace))
    with_database(folder, lambda database: _note(database, contents))
    _say_restored(contents, done, folder, as_json=as_json)


async def _restore(
    packed: BinaryIO, contents: "Contents", home: Path, progress: ProgressBar, *, replace: bool
) -> "Restored":
    from mainspring.store.blobs import open_blobs
    from mainspring.store.restore import restore as read

    settings = _settings_after(contents, home)
    blobs = open_blobs(home, settings.blobs) if settings.blobs.url else None
    return await read(packed, contents, home, settings.database, progress, replace=replace, blobs=blobs)


def _settings_after(contents: "Contents", home: Path) -> "Settings":
    """The settings that the data directory will have: with its own configuration, or else the archive's."""
    from mainspring.core.config import load_settings
    from mainspring.store.archive import CONFIGURATION

    if (home / CONFIGURATION).exists():
        return load_settings(home)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIGURATION).write_bytes(contents.files.get(CONFIGURATION, b""))
        return load_settings(Path(folder))


async def _note(database: "Database", contents: "Contents") -> None:
    """An entry in the restored audit log: what came after the backup is not in it, and here is why."""
    from mainspring.core.clock import SystemClock
    from mainspring.governance.audit import Audit

    manifest = contents.manifest
    audit = Audit(database, SystemClock(), f"command line: {getpass.getuser()}")
    async with database.write() as connection:
        detail = {"created": manifest.created, "mainspring": manifest.mainspring, "database": manifest.database}
        await audit.record(connection, "backup.restore", "installation", detail)


def _say_verified(contents: "Contents", *, as_json: bool) -> None:
    manifest = contents.manifest
    if as_json:
        print_json(_summary(manifest))
        return
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.created))
    rows = sum(table.rows for table in manifest.tables.values())
    typer.echo(f"whole: Mainspring {manifest.mainspring}, {made}, {rows:,} rows, {contents.bytes:,} bytes unpacked")


def _say_restored(contents: "Contents", done: "Restored", home: Path, *, as_json: bool) -> None:
    from mainspring.models.catalog import Catalog

    here = {(version.name, version.version) for version in Catalog(home / "models").list()}
    missing = [model for model in contents.manifest.models if (model.name, model.version) not in here]
    if as_json:
        print_json({**msgspec.to_builtins(done), "home": str(home), "missing_models": missing})
        return
    typer.echo(f"{sum(done.rows.values()):,} rows are in {done.database}, the rest in {home}")
    if done.replaced:
        tell(f"What was there before lies in {home / done.replaced}: remove it when all is well.")
    if done.kept_configuration:
        tell("mainspring.toml was there and stayed; if the archive has one, it is mainspring.toml.restored.")
    for model in missing:
        trained = model.source.startswith("job:")
        remedy = "train it again" if trained else f"mainspring models pull {model.source} --name {model.name}"
        tell(f"{model.name}@{model.version} is missing: {remedy}")
