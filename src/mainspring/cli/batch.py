"""`mainspring batch`: files of requests for the server that runs, over HTTP like everybody else."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.connect import BaseUrl, Key, connect
from mainspring.cli.output import AsJson, Home, ProgressBar, plain, print_json, print_table, tell
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.client import Client

__all__ = ["app"]

LOOK_S = 0.5
ENDS = ("completed", "failed", "expired", "cancelled")
_Json = dict[str, Any]

app = typer.Typer(
    help="Have a file of requests answered when there is nothing else to do.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Id = Annotated[str, typer.Argument(help="Such as batch_abc123.", metavar="ID")]
Watching = Annotated[bool, typer.Option("--watch", help="Show how far it is until it ends. Ctrl-C leaves it running.")]


@app.command()
def create(
    file: Annotated[
        str, typer.Argument(help="The requests, JSON Lines, or the id of a file that was uploaded.", metavar="FILE")
    ],
    endpoint: Annotated[
        str | None, typer.Option(help="What every request is for.", show_default="what the first line says")
    ] = None,
    *,
    watch: Watching = False,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file of requests, make a batch of it, and print the batch's id."""
    path = Path(file)
    is_id = file.startswith("file-") and not path.exists()
    if not is_id and not path.is_file():
        raise UserMistake(f"{file} is not a file.")
    if endpoint is None and is_id:
        raise UserMistake("Say what the requests of an uploaded file are for: --endpoint /v1/chat/completions.")
    wanted = endpoint or _endpoint(path)
    with connect(home, base_url, key) as client:
        made = client.create_batch(
            input_file_id=file if is_id else _upload(client, path), endpoint=wanted, completion_window="24h"
        )
        if watch:
            if not as_json:
                typer.echo(plain(made["id"]))
            _watch(client, made["id"], as_json)
        elif as_json:
            print_json(made)
        else:
            typer.echo(plain(made["id"]))


@app.command("list")
def list_batches(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the batches of the key's project, the newest first."""
    with connect(home, base_url, key) as client:
        found = [batch for batch, _ in zip(client.batches(), range(limit), strict=False)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "endpoint", "model", "status", "requests", "created"),
        [
            (each["id"], each["endpoint"], each.get("model") or "", each["status"], _progress(each),
             _time(each["created_at"]))
            for each in found
        ],
    )  # fmt: skip


@app.command()
def show(
    batch_id: Id,
    watch: Watching = False,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show a batch: how far it is, what is wrong with it, and where its results are."""
    with connect(home, base_url, key) as client:
        if watch:
            _watch(client, batch_id, as_json)
        else:
            _say(client.batch(batch_id), as_json)


@app.command()
def cancel(batch_id: Id, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """End a batch early. What is done is in its output file."""
    with connect(home, base_url, key) as client:
        batch = client.cancel_batch(batch_id)
    if as_json:
        print_json(batch)
    else:
        typer.echo(plain(f"{batch['id']} is {batch['status']}."))


def _endpoint(path: Path) -> str:
    """What the first line of a file is for."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"null")
    try:
        url = json.loads(first.removeprefix(b"\xef\xbb\xbf"))["url"]
    except (ValueError, KeyError, TypeError, RecursionError):
        url = None
    if not isinstance(url, str):
        raise UserMistake(f"The first line of {path} names no url: say what it is for with --endpoint.")
    return url


def _upload(client: "Client", path: Path) -> str:
    with path.open("rb") as file, ProgressBar(path.name) as progress:
        progress("uploading", 0, None)
        return str(client.upload(path.name, file, "batch")["id"])


def _watch(client: "Client", batch_id: str, as_json: bool) -> None:
    """Show a batch until it ends or Ctrl-C. Exits with 1 unless it is completed, with 130 after Ctrl-C."""
    try:
        with ProgressBar(batch_id, in_bytes=False) as progress:
            while (batch := client.batch(batch_id))["status"] not in ENDS:
                counts = batch["request_counts"]
                progress(batch["status"], counts["completed"] + counts["failed"], counts["total"] or None)
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        tell(
            f"The batch goes on without you. `mainspring batch show {batch_id} --watch` comes back to it, "
            f"`mainspring batch cancel {batch_id}` ends it."
        )
        raise typer.Exit(130) from None
    _say(batch, as_json)
    if batch["status"] != "completed":
        raise typer.Exit(1)


def _say(batch: _Json, as_json: bool) -> None:
    if as_json:
        print_json(batch)
        return
    for name, value in batch.items():
        shown = _time(value) if name.endswith("_at") else value
        if value not in (None, {}) and name not in ("object", "errors"):
            typer.echo(plain(f"{name}: {shown if isinstance(shown, str) else json.dumps(shown)}"))
    errors: _Json = batch.get("errors") or {"data": []}
    for error in errors["data"]:
        where = f"line {error['line']}: " if error["line"] else ""
        typer.echo(plain(f"{where}{error['code']}: {error['message']}"))


def _progress(batch: _Json) -> str:
    counts = batch["request_counts"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    return f"{counts['completed'] + counts['failed']}/{counts['total']}{failed}"


def _time(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
