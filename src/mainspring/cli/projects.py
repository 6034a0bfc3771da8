"""`mainspring projects`: who shares the models, straight in the data directory. Azure calls a project an account."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from mainspring.cli.data import Wanted, with_wanted
from mainspring.cli.keys import LIMITS_HELP, limits_from, limits_shown, when
from mainspring.cli.output import AsJson, Home, print_json, print_table
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.governance.wanted import Project

__all__ = ["Name", "app"]

app = typer.Typer(help="Create, show, limit and delete projects.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="The project's name.", metavar="NAME")]


@app.command("list")
def list_projects(home: Home = None, as_json: AsJson = False) -> None:
    """List the projects."""
    snapshot = with_wanted(home, lambda wanted: wanted.projects.snapshot())
    projects = [snapshot.projects[name] for name in sorted(snapshot.projects)]
    if as_json:
        print_json(projects)
        return
    rows = [
        (
            each.name, each.resource_group, each.location, str(len(snapshot.of(each.name))), limits_shown(each.limits),
            each.title, when(each.archived),
        )
        for each in projects
    ]  # fmt: skip
    print_table(("name", "group", "location", "deployments", "limits", "title", "archived"), rows)


@app.command()
def create(
    name: Name,
    *,
    group: Annotated[str, typer.Option(help="Its resource group.")] = "default",
    location: Annotated[str, typer.Option(help="Where it is said to be.")] = "local",
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A tag of it.", show_default="none")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help=LIMITS_HELP, show_default="none")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a project with two keys."""
    tags, limits = dict(map(_tag, tag or ())), limits_from(limit or ())

    async def use(wanted: Wanted) -> "Project":
        if name.lower() in (await wanted.projects.snapshot()).projects:
            raise UserMistake(f"There is a project {name!r} already.")
        made, _ = await wanted.projects.put(name, resource_group=group, location=location, tags=tags, limits=limits)
        return made

    made = with_wanted(home, use)
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{made.name}: `mainspring projects keys {made.name}` shows its keys.")


def _tag(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise UserMistake(f"{text!r} is no tag: write NAME=VALUE.")
    return name, value


@app.command()
def show(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Show a project and its deployments."""

    async def use(wanted: Wanted) -> dict[str, Any]:
        project = await wanted.projects.get(name)
        deployments = (await wanted.projects.snapshot()).of(project.name)
        return {**msgspec.to_builtins(project), "deployments": msgspec.to_builtins(deployments)}

    shown = with_wanted(home, use)
    if as_json:
        print_json(shown)
        return
    for key in ("name", "resource_group", "location", "tags", "limits"):
        typer.echo(f"{key}: {shown[key]}")
    typer.echo(f"deployments: {', '.join(each['name'] for each in shown['deployments']) or 'none'}")


@app.command()
def delete(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Delete a project with its keys, policies and blocklists; it must have no deployments."""
    deleted = with_wanted(home, lambda wanted: wanted.projects.remove(name))
    if as_json:
        print_json({"name": name.lower(), "deleted": deleted})
    elif deleted:
        typer.echo(f"deleted {name.lower()}")
    if not deleted:
        raise UserMistake(f"There is no project {name!r}: `mainspring projects list` shows them.")


@app.command()
def keys(
    name: Name,
    *,
    regenerate: Annotated[
        Literal["key1", "key2"] | None, typer.Option(help="Replace this key first; the old one stops working.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Print the two keys of a project."""

    async def use(wanted: Wanted) -> tuple[str, str]:
        return await (wanted.projects.regenerate(name, regenerate) if regenerate else wanted.projects.keys(name))

    key1, key2 = with_wanted(home, use)
    if as_json:
        print_json({"key1": key1, "key2": key2})
    else:
        typer.echo(f"key1: {key1}\nkey2: {key2}")


@app.command("limit")
def set_limits(
    name: Name,
    limits: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=NUMBER]...", help=LIMITS_HELP, show_default="none")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Replace all limits of a project. Without any, it has none."""
    given = limits_from(limits or ())

    async def use(wanted: Wanted) -> "Project":
        old = await wanted.projects.get(name)
        return (await wanted.projects.put(old.name, resource_group=old.resource_group, limits=given))[0]

    changed = with_wanted(home, use)
    if as_json:
        print_json(changed)
    else:
        typer.echo(f"{changed.name}: {limits_shown(changed.limits) or 'no limits'}")
