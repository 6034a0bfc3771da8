"""`mainspring quota`: how much of each model all projects together may deploy."""

from typing import Annotated, Any

import typer

from mainspring.cli.data import Wanted, with_wanted
from mainspring.cli.output import AsJson, Home, print_json, print_table

__all__ = ["app"]

app = typer.Typer(help="Show and set how much may be deployed.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_quotas(home: Home = None, as_json: AsJson = False) -> None:
    """List the units of each model of the catalog that are deployed with each SKU, and that may be."""

    async def use(wanted: Wanted) -> list[dict[str, Any]]:
        from mainspring.governance.wanted import SKUS

        snapshot = await wanted.projects.snapshot()
        models = sorted({each.name for each in wanted.versions()} | {model for _, model in snapshot.capacities})
        found: list[dict[str, Any]] = []
        for model in models:
            for sku in SKUS:
                used, most = wanted.projects.room(snapshot, sku, model)
                found.append({"sku": sku, "model": model, "used": used, "units": most})
        return found

    found = with_wanted(home, use)
    if as_json:
        print_json(found)
        return
    print_table(("sku", "model", "used", "of"), [tuple(map(str, each.values())) for each in found])


@app.command("set")
def set_quota(
    sku: Annotated[str, typer.Argument(help="Such as Standard.", metavar="SKU")],
    model: Annotated[str, typer.Argument(help="A model of the catalog.", metavar="MODEL")],
    units: Annotated[int, typer.Argument(help="Of 1,000 tokens a minute.", metavar="UNITS")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Set how many units may be deployed. What is deployed already stays."""
    with_wanted(home, lambda wanted: wanted.projects.set_capacity(sku, model, units))
    if as_json:
        print_json({"sku": sku, "model": model, "units": units})
    else:
        typer.echo(f"{sku} of {model}: {units:,} units")
