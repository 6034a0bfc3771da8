"""`mainspring keys`: API keys, straight in the data directory (whoever may read it is its administrator)."""

import asyncio
import getpass
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
    from mainspring.core.types import Limits
    from mainspring.governance.keys import ApiKey, Keys

__all__ = ["app", "duration_s"]

app = typer.Typer(help="Create, list, limit and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)

T = TypeVar("T")

TokensPerMinute = Annotated[int | None, typer.Option(help="Most tokens a minute.", show_default="no limit")]
RequestsPerMinute = Annotated[int | None, typer.Option(help="Most requests a minute.", show_default="no limit")]
TokensPerDay = Annotated[int | None, typer.Option(help="Budget in tokens a day (UTC).", show_default="no limit")]
TokensPerMonth = Annotated[int | None, typer.Option(help="Budget in tokens a month.", show_default="no limit")]
CostPerDay = Annotated[
    float | None, typer.Option(help="Budget a day, in the currency of metering.prices.", show_default="no limit")
]
CostPerMonth = Annotated[float | None, typer.Option(help="Budget a month, likewise.", show_default="no limit")]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _with_keys(home: Path | None, use: "Callable[[Keys], Awaitable[T]]") -> T:
    from mainspring.core.clock import SystemClock
    from mainspring.core.config import create_home, load_settings
    from mainspring.governance.keys import Keys
    from mainspring.store.db import Database

    async def run() -> T:
        settings = load_settings(home)
        database = await Database.open(create_home(settings.home), settings.database)
        try:
            return await use(Keys(database, SystemClock(), actor=f"command line: {getpass.getuser()}"))
        finally:
            await database.close()

    return asyncio.run(run())


def duration_s(text: str) -> float:
    """The seconds of 12h or 30d."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise UserMistake(f"{text!r} is not a duration: write a number and s, m, h, d or w, such as 30d.")
    return int(match[1]) * _UNITS_S[match[2]]


def _limits(given: dict[str, float | None]) -> "Limits":
    """Costs are given in whole units of a currency and kept in millionths."""
    from mainspring.core.types import Limits

    scaled = {
        name: value if value is None or "cost" not in name else round(value * 1e6) for name, value in given.items()
    }
    return msgspec.convert(scaled, Limits)


def _shown(key: "ApiKey") -> dict[str, Any]:
    return {**msgspec.to_builtins(key), "state": key.state(time.time())}


def _limits_shown(key: "ApiKey") -> str:
    units = {"requests_per_minute": "req/min", "tokens_per_minute": "tok/min"}
    said = [
        f"{value / 1e6:g} {name[5:].replace('_', ' ')}" if name.startswith("cost") else
        f"{value:,} {units.get(name, 'tok' + name[6:].replace('_per_', '/'))}"
        for name, value in msgspec.structs.asdict(key.limits).items()
        if value is not None
    ]  # fmt: skip
    return ", ".join(said)


def _when(unix_s: float | None) -> str:
    return "" if unix_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.", metavar="NAME")],
    role: Annotated[str, typer.Option(help="admin or user.")] = "user",
    expires: Annotated[
        str | None, typer.Option(help="When it stops working, such as 12h or 30d from now.", show_default="never")
    ] = None,
    tokens_per_minute: TokensPerMinute = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    tokens_per_month: TokensPerMonth = None,
    cost_per_day: CostPerDay = None,
    cost_per_month: CostPerMonth = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: it is stored hashed and cannot be shown again."""
    expires_s = None if expires is None else duration_s(expires)
    limits = _limits(
        {
            "tokens_per_minute": tokens_per_minute,
            "requests_per_minute": requests_per_minute,
            "tokens_per_day": tokens_per_day,
            "tokens_per_month": tokens_per_month,
            "cost_per_day": cost_per_day,
            "cost_per_month": cost_per_month,
        }
    )
    key, secret = _with_keys(home, lambda keys: keys.create(name, role, expires_s, limits))  # type: ignore[arg-type]
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
        (
            k.id, k.name, k.role, f"{k.prefix}…", k.state(time.time()),
            *map(_when, (k.created, k.expires, k.last_used)), _limits_shown(k),
        )
        for k in keys
    ]  # fmt: skip
    print_table(("id", "name", "role", "key", "state", "created", "expires", "last used", "limits"), rows)


@app.command()
def limit(
    key: Annotated[str, typer.Argument(help="The key's name or id.", metavar="KEY")],
    tokens_per_minute: TokensPerMinute = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    tokens_per_month: TokensPerMonth = None,
    cost_per_day: CostPerDay = None,
    cost_per_month: CostPerMonth = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key's limits, those that are not named too: within 2 seconds on a server that runs."""
    limits = _limits(
        {
            "tokens_per_minute": tokens_per_minute,
            "requests_per_minute": requests_per_minute,
            "tokens_per_day": tokens_per_day,
            "tokens_per_month": tokens_per_month,
            "cost_per_day": cost_per_day,
            "cost_per_month": cost_per_month,
        }
    )
    changed = _with_keys(home, lambda keys: keys.limit(key, limits))
    if as_json:
        print_json(_shown(changed))
    else:
        typer.echo(f"{changed.name}: {_limits_shown(changed) or 'no limits'}")


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
