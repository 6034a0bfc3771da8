"""`mainspring deployments`: models under names of a project's own, straight in the data directory."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from mainspring.cli.data import Wanted, with_wanted
from mainspring.cli.keys import when
from mainspring.cli.output import AsJson, Home, print_json, print_table
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.governance.wanted import Deployment

__all__ = ["Project", "app", "deploy"]

app = typer.Typer(
    help="Create, resize, move, pause and delete deployments.", no_args_is_help=True, rich_markup_mode=None
)

MAX_NAME = 64

Project = Annotated[str, typer.Option(help="The project.")]
Name = Annotated[str, typer.Argument(help="The deployment's name.", metavar="NAME")]
Model = Annotated[str | None, typer.Option(help="A model of the catalog, by name or name@version.")]
Version = Annotated[str | None, typer.Option(help="The version of the model.", show_default="the newest")]
Sku = Annotated[
    str | None,
    typer.Option(help="Standard, ProvisionedManaged, GlobalBatch, DeveloperTier and their variants.",
                 show_default="Standard"),
]  # fmt: skip
Capacity = Annotated[int | None, typer.Option(help="Units of 1,000 tokens and 6 requests a minute.", show_default="1")]
Policy = Annotated[
    str | None, typer.Option(help="Its content policy; empty for the default.", show_default="the default")
]
Spillover = Annotated[
    str | None, typer.Option(help="The deployment that takes what this one cannot.", show_default="none")
]
Upgrade = Annotated[
    str | None,
    typer.Option(help="OnceNewDefaultVersionAvailable, OnceCurrentVersionExpired or NoAutoUpgrade.",
                 show_default="OnceNewDefaultVersionAvailable"),
]  # fmt: skip
Dynamic = Annotated[
    bool | None,
    typer.Option("--dynamic/--fixed", help="Whether it may use more while the engine is idle.", show_default="--fixed"),
]


@app.command("list")
def list_deployments(
    project: Annotated[str | None, typer.Option(help="Only of this project.", show_default="all")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List what is deployed. In the project default, every model of the catalog also has its own name."""

    async def use(wanted: Wanted) -> "list[Deployment]":
        snapshot = await wanted.projects.snapshot()
        if project is not None:
            return snapshot.of((await wanted.projects.get(project)).name)
        return [snapshot.deployments[key] for key in sorted(snapshot.deployments)]

    found = with_wanted(home, use)
    if as_json:
        print_json(found)
        return
    rows = [
        (each.project, each.name, each.served_as, each.sku, str(each.capacity), each.state, each.policy, each.spillover)
        for each in found
    ]
    print_table(("project", "name", "model", "sku", "units", "state", "policy", "spills to"), rows)


@app.command()
def create(
    name: Name,
    *,
    model: Annotated[str, typer.Option(help="A model of the catalog, by name or name@version.")],
    project: Project = "default",
    version: Version = None,
    sku: Sku = None,
    capacity: Capacity = None,
    policy: Policy = None,
    spillover: Spillover = None,
    upgrade: Upgrade = None,
    dynamic: Dynamic = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a model."""
    given = _given(model, version, sku, capacity, policy, spillover, upgrade, dynamic)

    async def use(wanted: Wanted) -> "Deployment":
        from mainspring.governance.wanted import Deployment

        owner = (await wanted.projects.get(project)).name
        if (owner, name) in (await wanted.projects.snapshot()).deployments:
            raise UserMistake(f"There is a deployment {name!r} already: `mainspring deployments update` changes it.")
        new = Deployment(project=owner, name=name, model=model, version="")
        return (await wanted.projects.deploy(msgspec.structs.replace(new, **given)))[0]

    _say(with_wanted(home, use), as_json)


def deploy(
    model: Annotated[str, typer.Argument(help="A model of the catalog, by name or name@version.", metavar="MODEL")],
    *,
    name: Annotated[
        str | None, typer.Option(help="What to call the deployment.", show_default="made of the model's name")
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="The project.", show_default="the model's own, or default")
    ] = None,
    sku: Sku = None,
    capacity: Capacity = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a model in one step; doing it again changes what is given.

    DeveloperTier costs nothing while nobody asks, and ends by itself after a day.
    """

    async def use(wanted: Wanted) -> "Deployment":
        from mainspring.governance.wanted import DEFAULT, Deployment

        found = wanted.find(model)
        owner = (await wanted.projects.get(project or found.project or DEFAULT)).name
        called = name or _deployment_name(found.name)
        old = (await wanted.projects.snapshot()).deployments.get((owner, called))
        if old is not None and old.model != found.name:
            raise UserMistake(f"The deployment {called!r} is of {old.model}: choose another --name.")
        given = _given(None, None, sku, capacity, None, None, None, None)
        base = old or Deployment(project=owner, name=called, model=found.name, version="")
        version = found.version if "@" in model else base.version
        return (await wanted.projects.deploy(msgspec.structs.replace(base, version=version, **given)))[0]

    _say(with_wanted(home, use), as_json)


def _deployment_name(model: str) -> str:
    """`ft:smollm2-135m-instruct:acme:mine:a1b2c3` becomes `smollm2-135m-instruct-acme-mine-a1b2c3`; of one that is too
    long, the end, which tells it from others."""
    parts = model.removeprefix("ft:").split(":")
    joined = "-".join(part for part in parts if part)
    return joined[-MAX_NAME:].strip("._-")


@app.command()
def update(
    name: Name,
    *,
    model: Model = None,
    project: Project = "default",
    version: Version = None,
    sku: Sku = None,
    capacity: Capacity = None,
    policy: Policy = None,
    spillover: Spillover = None,
    upgrade: Upgrade = None,
    dynamic: Dynamic = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given of a deployment; requests that are being answered do not notice."""
    given = _given(model, version, sku, capacity, policy, spillover, upgrade, dynamic)
    _change(home, project, name, given, as_json)


@app.command()
def pause(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Refuse its requests until it is resumed."""
    _change(home, project, name, {"state": "Paused"}, as_json)


@app.command()
def resume(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Take requests again."""
    _change(home, project, name, {"state": "Running"}, as_json)


@app.command()
def show(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Show a deployment."""
    _say(with_wanted(home, lambda wanted: wanted.projects.deployment(project, name)), as_json)


@app.command()
def delete(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Delete a deployment; what it is answering is answered to the end."""
    deleted = with_wanted(home, lambda wanted: wanted.projects.undeploy(project, name))
    if as_json:
        print_json({"project": project, "name": name, "deleted": deleted})
    elif deleted:
        typer.echo(f"deleted {name}")
    if not deleted:
        raise UserMistake(f"The project {project!r} has no deployment {name!r}.")


def _given(  # noqa: PLR0917 - the options in their order
    model: str | None, version: str | None, sku: str | None, capacity: int | None, policy: str | None,
    spillover: str | None, upgrade: str | None, dynamic: bool | None,
) -> dict[str, Any]:  # fmt: skip
    """What was said, as fields of a deployment. A model without a version stands for its newest."""
    from mainspring.governance.wanted import UPGRADES

    if upgrade is not None and upgrade not in UPGRADES:
        raise UserMistake(f"{upgrade!r} is no upgrade option: use one of {', '.join(UPGRADES)}.")
    if model is not None and version is None:
        version = ""
    fields = {
        "model": model, "version": version, "sku": sku, "capacity": capacity, "policy": policy, "spillover": spillover,
        "upgrade": upgrade, "dynamic": dynamic,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _change(home: Home, project: str, name: str, fields: dict[str, Any], as_json: bool) -> None:
    async def use(wanted: Wanted) -> "Deployment":
        old = await wanted.projects.deployment(project, name)
        return (await wanted.projects.deploy(msgspec.structs.replace(old, **fields)))[0]

    _say(with_wanted(home, use), as_json)


def _say(deployment: "Deployment", as_json: bool) -> None:
    if as_json:
        print_json(deployment)
        return
    for key, value in msgspec.to_builtins(deployment).items():
        shown = (when(value) or "never") if key in ("created", "updated", "expires") else value
        typer.echo(f"{key}: {shown}")
