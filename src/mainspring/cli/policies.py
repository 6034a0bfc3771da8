"""`mainspring policies`: content policies, as Azure's control plane writes them; and why a request was filtered."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from mainspring.cli.data import Wanted, with_wanted
from mainspring.cli.deployments import Project
from mainspring.cli.output import AsJson, Home, print_json, print_table
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.governance.usage import Record

__all__ = ["app"]

app = typer.Typer(
    help="Show and set content policies, and explain what they did.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(help="The policy's name.", metavar="NAME")]


async def _all(wanted: Wanted, project: str) -> dict[str, dict[str, Any]]:
    """The `properties` of every policy by name, those that are built in too."""
    from mainspring.governance.filters.policy import SYSTEM_POLICIES, to_arm

    owner = (await wanted.projects.get(project)).name
    found = {name: to_arm(policy) for name, policy in SYSTEM_POLICIES.items()}
    policies = (await wanted.projects.snapshot()).policies
    return found | {name: each.properties for (of, name), each in sorted(policies.items()) if of == owner}


@app.command("list")
def list_policies(project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """List the policies of a project, and those that are built in."""
    found = with_wanted(home, lambda wanted: _all(wanted, project))
    if as_json:
        print_json([{"name": name, "properties": each} for name, each in found.items()])
        return
    rows = [(name, str(each["type"]), str(each["mode"]), each["basePolicyName"] or "") for name, each in found.items()]
    print_table(("name", "type", "mode", "base"), rows)


@app.command()
def show(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Print a policy as JSON: what `set` takes."""
    found = with_wanted(home, lambda wanted: _all(wanted, project))
    if name not in found:
        raise UserMistake(f"The project {project!r} has no content policy {name!r}: it has {', '.join(found)}.")
    print_json({"name": name, "properties": found[name]} if as_json else found[name])


@app.command("set")
def set_policy(
    name: Name,
    file: Annotated[Path, typer.Argument(help="A JSON file with its properties; - reads standard input.")],
    project: Project = "default",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a policy, or replace one, from a file such as `show` prints."""
    text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise UserMistake(f"{file} is not a JSON object: {error}.") from error
    properties = given["properties"] if isinstance(given.get("properties"), dict) else given

    async def use(wanted: Wanted) -> dict[str, Any]:
        owner = (await wanted.projects.get(project)).name
        policy, is_new = await wanted.policies.put(owner, name, properties)
        return {"name": policy.name, "properties": policy.properties, "is_new": is_new}

    made = with_wanted(home, use)
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{'made' if made['is_new'] else 'changed'} {name}")


@app.command()
def delete(name: Name, project: Project = "default", home: Home = None, as_json: AsJson = False) -> None:
    """Delete a policy that nothing uses."""

    async def use(wanted: Wanted) -> bool:
        return await wanted.policies.remove((await wanted.projects.get(project)).name, name)

    deleted = with_wanted(home, use)
    if as_json:
        print_json({"name": name, "deleted": deleted})
    elif deleted:
        typer.echo(f"deleted {name}")
    if not deleted:
        raise UserMistake(f"The project {project!r} has no content policy {name!r} of its own.")


@app.command()
def explain(
    request: Annotated[str, typer.Argument(help="An answer's id, or a request's x-request-id.", metavar="REQUEST")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say what the content filters found in a request, and why."""
    records = with_wanted(home, lambda wanted: wanted.reports.records(request))
    if not records:
        raise UserMistake(f"The ledger has no request {request!r}: it is there a second after it has ended.")
    if as_json:
        print_json(records)
        return
    for record in records:
        _explain(record)


def _explain(record: "Record") -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started))
    blocked = f"the {record.filtered} was blocked" if record.filtered else "nothing was blocked"
    typer.echo(f"{record.id}: {when}, {record.project}/{record.deployment}, {record.outcome}; {blocked}")
    shown = ("category", "severity", "score", "threshold", "matched", "where")
    rows = [(*(str(hit.get(key, "")) for key in shown), "yes" if hit.get("blocking") else "no") for hit in record.hits]
    if rows:
        print_table((*shown, "blocks"), rows)


@app.command()
def index(
    folders: Annotated[list[Path], typer.Argument(help="Folders of texts and code.", metavar="FOLDER...")],
    *,
    out: Annotated[Path, typer.Option(help="The file to write; filters.protected names it.", metavar="FILE")],
    url: Annotated[str, typer.Option(help="Where the folders are published, for citations.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of files that do not say theirs.")] = "",
    as_json: AsJson = False,
) -> None:
    """Build the index that the filters for protected material look things up in."""
    from mainspring.governance.filters.protected import build_index, collect

    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise UserMistake(f"There is no folder {', '.join(missing)}.")
    found = [each for folder in folders for each in collect(folder, url=url, license=licence)]
    if not found:
        raise UserMistake("These folders hold no text or code (by the endings of their files' names).")
    number = build_index(found, out)
    if as_json:
        print_json({"files": len(found), "fingerprints": number, "index": str(out)})
    else:
        typer.echo(f"{out}: {number:,} fingerprints of {len(found):,} files. Name it in the setting filters.protected.")
