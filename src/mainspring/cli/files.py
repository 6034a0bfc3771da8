"""`mainspring files`: upload, list, fetch and delete files, over HTTP like everybody else."""

import contextlib
import mimetypes
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, BinaryIO, cast

import typer

from mainspring.cli.connect import BaseUrl, Key, connect
from mainspring.cli.output import AsJson, Home, ProgressBar, plain, print_json, print_table
from mainspring.core.errors import UserMistake

__all__ = ["app"]

app = typer.Typer(help="Upload, list, fetch and delete files.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(help="Such as file-abc123.", metavar="ID")]
DAY_S = 86_400


@app.command("list")
def list_files(
    purpose: Annotated[str | None, typer.Option(help="Only those with this purpose.")] = None,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the files of the key's project, the newest first."""
    with connect(home, base_url, key) as client:
        found = list(client.files(purpose))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "filename", "purpose", "bytes", "created", "expires"),
        [
            (each["id"], each["filename"], each["purpose"], f"{each['bytes']:,}", *map(_day, _times(each)))
            for each in found
        ],
    )


@app.command()
def upload(
    path: Annotated[Path, typer.Argument(help="What to upload.", metavar="FILE")],
    purpose: Annotated[
        str,
        typer.Option(help="What it is for: fine-tune, batch, assistants, vision, user_data or evals."),
    ] = "fine-tune",
    *,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=30, help="Days after which it vanishes.", show_default="never")
    ] = None,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file and print its id; a large one in parts, each of which is sent again if it does not arrive."""
    from mainspring.client import PART_BYTES

    if not path.is_file():
        raise UserMistake(f"{path} is not a file.")
    with connect(home, base_url, key) as client, path.open("rb") as file, ProgressBar(path.name) as progress:
        watched, size = cast("BinaryIO", _Watched(file, progress)), path.stat().st_size
        expires_s = None if expires_days is None else expires_days * DAY_S
        if size > PART_BYTES:
            made = client.upload_in_parts(path.name, watched, size, purpose, expires_s, mime_type=_type(path))
        else:
            made = client.upload(path.name, watched, purpose, expires_s)
    if as_json:
        print_json(made)
    else:
        typer.echo(made["id"])


@app.command()
def get(
    file_id: Id,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Where to write it; - is standard output.", show_default="its name, here"),
    ] = None,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
) -> None:
    """Fetch the content of a file."""
    with connect(home, base_url, key) as client:
        if to == "-":
            for piece in client.file_content(file_id):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        about = client.file(file_id)
        # The name is somebody else's: only its last part counts, and nothing that is there is overwritten.
        path = Path(to) if to else Path(Path(str(about["filename"])).name or file_id)
        with ProgressBar(path.name) as progress, _new(path) as file:
            done = 0
            for piece in client.file_content(file_id):
                done += file.write(piece)
                progress("fetching", done, about["bytes"])
    typer.echo(plain(str(path)))


@app.command()
def delete(file_id: Id, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """Delete a file."""
    with connect(home, base_url, key) as client:
        client.delete_file(file_id)
    if as_json:
        print_json({"id": file_id, "deleted": True})
    else:
        typer.echo(f"{file_id} is deleted.")


class _Watched:
    """A file whose reading is shown."""

    def __init__(self, file: BinaryIO, progress: Callable[[str, int, int | None], None]) -> None:
        self._file, self._progress = file, progress
        self._size = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._progress("uploading", self._file.tell(), self._size)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(2**16):
            yield data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def _new(path: Path) -> Generator[IO[bytes]]:
    """A file that has its name once it is whole; nothing is left of one that is not."""
    if path.exists():
        raise UserMistake(f"{path} exists already: choose another place with --to, or remove it first.")
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _type(path: Path) -> str:
    return "text/jsonl" if path.suffix == ".jsonl" else mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _times(file: dict[str, Any]) -> tuple[float | None, float | None]:
    return file["created_at"], file.get("expires_at")


def _day(time_s: float | None) -> str:
    return "" if time_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))
