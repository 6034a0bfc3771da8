"""`mainspring keys`: API keys, straight in the data directory (whoever may read it is its administrator)."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from mainspring.cli.output import AsJson, Home, print_json, print_table, tell
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.governance.keys import ApiKey, Keys

__all__ = ["app"]

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)

T = TypeVar("T")

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _with_keys(home: Path | None, use: "Callable[[Keys], Awaitable[T]]") -> T:
    from mainspring.core.clock import SystemClock
    from mainspring.core.config import create_home, home_from
    from mainspring.governance.keys import Keys
    from mainspring.store.db import Database

    async def run() -> T:
        database = await Database.open(create_home(home_from(home)))
        try:
            return await use(Keys(database, SystemClock()))
        finally:
            await database.close()

    return asyncio.run(run())


def _duration_s(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise UserMistake(f"{text!r} is not a duration: write a number and s, m, h, d or w, such as 30d.")
    return int(match[1]) * _UNITS_S[match[2]]


def _shown(key: "ApiKey") -> dict[str, Any]:
    return {**msgspec.structs.asdict(key), "state": key.state(time.time())}


def _when(unix_s: float | None) -> str:
    return "" if unix_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.", metavar="NAME")],
    role: Annotated[str, typer.Option(help="admin or user.")] = "user",
    expires: Annotated[
        str | None, typer.Option(help="When it stops working, such as 12h or 30d from now.", show_default="never")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: it is stored hashed and cannot be shown again."""
    expires_s = None if expires is None else _duration_s(expires)
    key, secret = _with_keys(home, lambda keys: keys.create(name, role, expires_s))  # type: ignore[arg-type]
    if as_json:
        print_json({**_shown(key), "key": secret})
    else:
        typer.echo(secret)
        tell("Keep it safe: it cannot be shown again.")


@app.command("list")
def list_keys(home: Home = None, as_json: AsJson = False) -> None:
    """List the keys, revoked and expired ones too."""
    keys = _with_keys(home, lambda keys: keys.list())
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    rows = [
        (k.id, k.name, k.role, f"{k.prefix}…", k.state(time.time()), *map(_when, (k.created, k.expires, k.last_used)))
        for k in keys
    ]
    print_table(("id", "name", "role", "key", "state", "created", "expires", "last used"), rows)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's name or id.", metavar="KEY")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key stop working: within 2 seconds on a server that runs."""
    revoked = _with_keys(home, lambda keys: keys.revoke(key))
    if as_json:
        print_json(_shown(revoked))
    else:
        typer.echo(f"revoked {revoked.name} ({revoked.id})")
