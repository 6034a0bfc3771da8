"""`mainspring keys`: API keys, straight in the data directory (whoever may read it is its administrator)."""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from mainspring.cli.data import actor, with_database
from mainspring.cli.output import AsJson, Home, print_json, print_table, tell
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.core.types import Limits
    from mainspring.governance.keys import ApiKey, Keys

__all__ = ["LIMITS_HELP", "app", "duration_s", "limits_from", "limits_shown", "when"]

app = typer.Typer(help="Create, list, limit and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)

T = TypeVar("T")

LIMITS = (
    "tokens_per_minute", "requests_per_minute", "tokens_per_day", "tokens_per_month", "cost_per_day", "cost_per_month",
)  # fmt: skip
LIMITS_HELP = f"How much may be used with it: {', '.join(LIMITS)} (in the currency of metering.prices)."
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _with_keys(home: Path | None, use: "Callable[[Keys], Awaitable[T]]") -> T:
    from mainspring.core.clock import SystemClock
    from mainspring.governance.keys import Keys

    return with_database(home, lambda database: use(Keys(database, SystemClock(), actor())))


def duration_s(text: str) -> float:
    """The seconds of 12h or 30d."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise UserMistake(f"{text!r} is not a duration: write a number and s, m, h, d or w, such as 30d.")
    return int(match[1]) * _UNITS_S[match[2]]


def limits_from(given: Sequence[str]) -> "Limits":
    """Limits from `name=number`. Costs are given in a whole currency and kept in millionths."""
    from mainspring.core.types import Limits

    limits: dict[str, int] = {}
    for each in given:
        name, _, number = each.partition("=")
        if name not in LIMITS:
            raise UserMistake(f"{each!r} is no limit: write NAME=NUMBER with one of {', '.join(LIMITS)}.")
        try:
            limits[name] = round(float(number) * (1e6 if name.startswith("cost") else 1))
        except (ValueError, OverflowError) as error:
            raise UserMistake(f"{each!r} is no limit: {number!r} is not a number.") from error
    return Limits(**limits)


def _shown(key: "ApiKey") -> dict[str, Any]:
    return {**msgspec.to_builtins(key), "state": key.state(time.time())}


def limits_shown(limits: "Limits") -> str:
    """Limits as they are given: see `limits_from`."""
    given = msgspec.structs.asdict(limits).items()
    shown = {name: value / 1e6 if name.startswith("cost") else value for name, value in given if value is not None}
    return ", ".join(f"{name}={value:.15g}" for name, value in shown.items())


def when(unix_s: float | None) -> str:
    """A time as people read it here; nothing for none."""
    return "" if unix_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.", metavar="NAME")],
    *,
    role: Annotated[str, typer.Option(help="admin, user, contributor, manager or reader: docs/IDENTITY.md.")] = "user",
    expires: Annotated[
        str | None, typer.Option(help="When it stops working, such as 12h or 30d from now.", show_default="never")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help=LIMITS_HELP, show_default="none")
    ] = None,
    project: Annotated[str, typer.Option(help="The only project that it is for.")] = "default",
    owner: Annotated[str, typer.Option(help="The person or program that it is for.", show_default="nobody")] = "",
    deployment: Annotated[
        list[str] | None, typer.Option(help="The only deployments that it is for.", show_default="all of the project")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: it is stored hashed and cannot be shown again."""
    expires_s = None if expires is None else duration_s(expires)
    limits = limits_from(limit or ())
    more = {"project": project.lower(), "owner": owner, "deployments": tuple(deployment or ())}
    key, secret = _with_keys(home, lambda keys: keys.create(name, role, expires_s, limits, **more))  # type: ignore[arg-type]
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
            k.id, k.name, k.project, k.role, f"{k.prefix}…", k.state(time.time()),
            *map(when, (k.created, k.expires, k.last_used)), limits_shown(k.limits),
        )
        for k in keys
    ]  # fmt: skip
    print_table(("id", "name", "project", "role", "key", "state", "created", "expires", "last used", "limits"), rows)


@app.command("limit")
def setlimits_from(
    key: Annotated[str, typer.Argument(help="The key's name or id.", metavar="KEY")],
    limits: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=NUMBER]...", help=LIMITS_HELP, show_default="none")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Replace all limits of a key: within 2 seconds on a server that runs. Without any, it has none."""
    wanted = limits_from(limits or ())
    changed = _with_keys(home, lambda keys: keys.limit(key, wanted))
    if as_json:
        print_json(_shown(changed))
    else:
        typer.echo(f"{changed.name}: {limits_shown(changed.limits) or 'no limits'}")


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
