"""`mainspring audit`: who changed what, and whether the log is what was written."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from mainspring.cli.data import with_database
from mainspring.cli.output import AsJson, Home, print_json, print_table

if TYPE_CHECKING:
    from mainspring.governance.audit import Audit

__all__ = ["app"]

app = typer.Typer(help="Show and verify the audit log.", no_args_is_help=True, rich_markup_mode=None)

T = TypeVar("T")


def _with_audit(home: Path | None, use: "Callable[[Audit], Awaitable[T]]") -> T:
    from mainspring.core.clock import SystemClock
    from mainspring.governance.audit import Audit

    return with_database(home, lambda database: use(Audit(database, SystemClock(), "nobody")))


@app.command("list")
def list_entries(
    newest: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 50,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List what was changed, oldest first."""
    entries = _with_audit(home, lambda audit: audit.list(newest=newest))
    if as_json:
        print_json([{**msgspec.to_builtins(each), "detail": msgspec.json.decode(each.detail)} for each in entries])
        return
    rows = [
        (str(each.seq), time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.time)), each.actor, each.action,
         each.subject, each.detail)
        for each in entries
    ]  # fmt: skip
    print_table(("number", "time", "by", "what", "of", "detail"), rows)


@app.command()
def verify(
    known: Annotated[str | None, typer.Option(help="A hash that was the newest once.", show_default="none")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Hold every entry against its hash; exit code 1 if one was changed or removed.

    Whoever can write the database could write a new log. Keep the newest hash somewhere else, and give it as --known
    later: then nothing before it can have been changed.
    """
    verdict = _with_audit(home, lambda audit: audit.verify(known))
    good = verdict.broken is None and verdict.known is not False
    if as_json:
        print_json({**msgspec.to_builtins(verdict), "good": good})
    elif verdict.broken is not None:
        typer.echo(f"Entry {verdict.broken} is not what was written, or is missing.")
    elif verdict.known is False:
        typer.echo("The log does not hold that hash: it was cut off or written anew.")
    else:
        typer.echo(f"{verdict.num_entries} entries, all as they were written. The newest hash is\n{verdict.head}")
    if not good:
        raise typer.Exit(1)
