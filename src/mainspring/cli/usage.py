"""`mainspring usage`: what was used, straight from the data directory."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mainspring.cli.data import with_database
from mainspring.cli.keys import duration_s
from mainspring.cli.output import AsJson, Home, print_json, print_table

if TYPE_CHECKING:
    from mainspring.governance.usage import Sums
    from mainspring.store.db import Database

__all__ = ["usage"]

HOUR_S = 3600


def usage(
    since: Annotated[str, typer.Option(help="How far back, such as 12h or 30d; whole hours.")] = "30d",
    by: Annotated[Literal["key", "model", "day"], typer.Option(help="What to tell apart beside each other.")] = "key",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show what was used: requests, tokens and cost, by key and model, or by day."""
    now_s = int(time.time())
    start = (now_s - int(duration_s(since))) // HOUR_S * HOUR_S
    found, names = with_database(home, lambda database: _read(database, start, now_s + 1, by))
    rows: list[dict[str, Any]] = [
        {
            **({"day": time.strftime("%Y-%m-%d", time.gmtime(each.start))} if by == "day" else {}),
            **({"key": names.get(each.group[0], each.group[0])} if by == "key" else {}),
            **({} if by == "day" else {"model": each.group[-1]}),
            **each.totals._asdict(),
        }
        for each in found
    ]
    if as_json:
        print_json([{**row, "cost": row["cost"] / 1e6} for row in rows])
        return
    head = [name for name in ("day", "key", "model") if rows and name in rows[0]]
    columns = (*head, "requests", "prompt", "cached", "completion", "cost")
    print_table(columns, [[*(str(row[name]) for name in head), *_numbers(row)] for row in rows])


def _numbers(row: dict[str, Any]) -> list[str]:
    return [*(f"{row[name]:,}" for name in ("requests", "prompt", "cached", "completion")), f"{row['cost'] / 1e6:.4f}"]


async def _read(
    database: "Database", start: int, end: int, by: Literal["key", "model", "day"]
) -> "tuple[list[Sums], dict[str, str]]":
    from mainspring.core.clock import SystemClock
    from mainspring.governance.keys import Keys
    from mainspring.governance.usage import Reports

    names = {key.id: key.name for key in await Keys(database, SystemClock()).list()}
    reports = Reports(database)
    if by == "day":
        return await reports.sums(start, end, 86_400), names
    return await reports.totals(start, end, ("key", "deployment") if by == "key" else ("deployment",)), names
