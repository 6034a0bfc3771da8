"""`mainspring blocklists`: what may not be said, for policies to name."""

from typing import Annotated, Any

import msgspec
import typer

from mainspring.cli.data import Wanted, with_wanted
from mainspring.cli.deployments import Project
from mainspring.cli.output import AsJson, Home, print_json, print_table
from mainspring.core.errors import UserMistake

__all__ = ["app"]

app = typer.Typer(help="Create, fill and delete blocklists.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="The blocklist's name.", metavar="NAME")]
Item = Annotated[str, typer.Argument(help="The item's name.", metavar="ITEM")]


async def _owner(wanted: Wanted, project: str) -> str:
    return (await wanted.projects.get(project)).name


@app.command("list")
def list_blocklists(project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """List the blocklists of a project with their items."""

    async def use(wanted: Wanted) -> list[dict[str, Any]]:
        owner, snapshot = await _owner(wanted, project), await wanted.projects.snapshot()
        return [
            {**msgspec.to_builtins(each), "items": msgspec.to_builtins(snapshot.items.get(key, ()))}
            for key, each in sorted(snapshot.blocklists.items())
            if key[0] == owner
        ]

    found = with_wanted(home, use)
    if as_json:
        print_json(found)
        return
    rows = [
        (each["name"], str(item["name"]), "regex" if item["is_regex"] else "term", str(item["pattern"]))
        for each in found
        for item in each["items"] or [{"name": "", "is_regex": False, "pattern": ""}]
    ]
    print_table(("blocklist", "item", "kind", "pattern"), rows)


@app.command()
def create(
    name: Name,
    description: Annotated[str, typer.Option(help="What it is for.", show_default="none")] = "",
    project: Project = "default",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a blocklist, or describe one anew."""

    async def use(wanted: Wanted) -> bool:
        return (await wanted.policies.put_list(await _owner(wanted, project), name, description))[1]

    is_new = with_wanted(home, use)
    if as_json:
        print_json({"name": name, "description": description, "is_new": is_new})
    else:
        typer.echo(f"{'made' if is_new else 'changed'} {name}")


@app.command()
def add(
    name: Name,
    item: Item,
    pattern: Annotated[str, typer.Argument(help="The term.", metavar="PATTERN")],
    *,
    regex: Annotated[bool, typer.Option("--regex", help="It is a regular expression (RE2).")] = False,
    project: Project = "default",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write an item of a blocklist."""

    async def use(wanted: Wanted) -> bool:
        return bool(await wanted.policies.put_items(await _owner(wanted, project), name, {item: (pattern, regex)}))

    is_new = with_wanted(home, use)
    if as_json:
        print_json({"blocklist": name, "name": item, "pattern": pattern, "is_regex": regex, "is_new": is_new})
    else:
        typer.echo(f"{'made' if is_new else 'changed'} {name}/{item}")


@app.command()
def remove(name: Name, item: Item, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Delete an item of a blocklist."""

    async def use(wanted: Wanted) -> bool:
        return bool(await wanted.policies.remove_items(await _owner(wanted, project), name, {item}))

    _deleted(with_wanted(home, use), f"{name}/{item}", as_json)


@app.command()
def delete(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Delete a blocklist that no policy uses, with its items."""

    async def use(wanted: Wanted) -> bool:
        return await wanted.policies.remove_list(await _owner(wanted, project), name)

    _deleted(with_wanted(home, use), name, as_json)


def _deleted(deleted: bool, what: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": what, "deleted": deleted})
    elif deleted:
        typer.echo(f"deleted {what}")
    if not deleted:
        raise UserMistake(f"There is no {what!r}: `mainspring blocklists list` shows what there is.")
