"""`mainspring webhooks`: who is told what happens in a project, over HTTP like everybody else."""

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from mainspring.cli.connect import BaseUrl, Key, connect
from mainspring.cli.output import AsJson, Home, print_json, print_table
from mainspring.core.errors import UserMistake

__all__ = ["app"]

app = typer.Typer(help="Tell others what happens in a project.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(help="The endpoint, such as whe_abc123.", metavar="ID")]
Types = Annotated[
    list[str] | None, typer.Option("--event", help="An event's type, such as batch.completed; may be given again.")
]


def _path(endpoint: str, rest: str = "", folder: str = "/webhook_endpoints") -> str:
    return f"{folder}/{quote(endpoint, safe='')}{rest}"


def _own(endpoint: str, rest: str) -> str:
    return _path(endpoint, rest, "/x/webhook_endpoints")


@app.command("list")
def list_endpoints(*, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """List the endpoints of the key's project, the newest first."""
    with connect(home, base_url, key) as client:
        found = list(client.pages("/webhook_endpoints"))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "name", "url", "events", "enabled"),
        [
            (each["id"], each["name"], each["url"], " ".join(each["event_types"]), "yes" if each["enabled"] else "no")
            for each in found
        ],
    )


@app.command()
def events(*, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """List the types of events that can be told."""
    with connect(home, base_url, key) as client:
        found: list[str] = client.ask("GET", "/webhook_event_types")["data"]
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(found))


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where events are sent: https, unless settings allow http.")],
    event: Types = None,
    *,
    name: Annotated[str, typer.Option(help="What to call it.")] = "webhook",
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make an endpoint, for all types of events unless some are named, and print its secret: it is shown only now."""
    with connect(home, base_url, key) as client:
        types = event or client.ask("GET", "/webhook_event_types")["data"]
        made = client.ask("POST", "/webhook_endpoints", {"name": name, "url": url, "event_types": types})
    _print_secret(made, as_json)


@app.command()
def update(
    endpoint: Id,
    event: Types = None,
    *,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    url: Annotated[str | None, typer.Option(help="A new URL.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it is told anything.")] = None,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Change an endpoint."""
    given = {"name": name, "url": url, "event_types": event or None, "enabled": enabled}
    body = {field: value for field, value in given.items() if value is not None}
    if not body:
        raise UserMistake("Nothing is to change: give --name, --url, --event, --enable or --disable.")
    with connect(home, base_url, key) as client:
        made = client.ask("POST", _path(endpoint), body)
    _print(made, f"{endpoint} is changed.", as_json)


@app.command()
def rotate(
    endpoint: Id,
    *,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Sign with the old secret too, for 24 hours.")] = False,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give an endpoint another secret and print it: it is shown only now."""
    with connect(home, base_url, key) as client:
        body = {"keep_old_secret_active_for_24_hours": keep_old}
        made = client.ask("POST", _path(endpoint, "/rotate_secret"), body)
    _print_secret(made, as_json)


@app.command()
def delete(
    endpoint: Id, *, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Delete an endpoint, and what it is still to be told."""
    with connect(home, base_url, key) as client:
        gone = client.ask("DELETE", _path(endpoint))
    _print(gone, f"{endpoint} is deleted.", as_json)


@app.command("test")
def send_sample(
    endpoint: Id,
    event: Annotated[str, typer.Argument(help="An event's type.")] = "batch.completed",
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Send an endpoint a sample event and print the status of its answer. Exit code 1 unless that is a success."""
    with connect(home, base_url, key) as client:
        result = client.ask("POST", _path(endpoint, "/test"), {"event_type": event})
    _print(result, str(result["status_code"]), as_json)
    if not 200 <= result["status_code"] < 300:
        raise typer.Exit(1)


@app.command()
def deliveries(
    endpoint: Id,
    status: Annotated[str | None, typer.Option(help="Only pending, delivered or failed ones.")] = None,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List what an endpoint was or is to be told, the newest first."""
    with connect(home, base_url, key) as client:
        found = list(client.pages(_own(endpoint, "/deliveries"), **({"status": status} if status else {})))
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "event", "about", "status", "attempts", "last answer", "next attempt"),
        [
            (each["id"], each["event_type"], each["object_id"], each["status"], str(len(each["attempts"])),
             _last(each["attempts"]), _time(each["next_attempt_at"]))
            for each in found
        ],
    )  # fmt: skip


@app.command()
def replay(
    endpoint: Id,
    delivery: Annotated[str | None, typer.Argument(help="One delivery, such as wh_abc123.", metavar="DELIVERY")] = None,
    *,
    since: Annotated[int | None, typer.Option(min=0, help="All events since this time, in Unix seconds.")] = None,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Of these, only what did not arrive.")] = False,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Tell an endpoint again: of one delivery, or of all events since a time."""
    if (delivery is None) == (since is None):
        raise UserMistake("Name one delivery, or a time with --since.")
    with connect(home, base_url, key) as client:
        if delivery is not None:
            found = client.ask("POST", _own(endpoint, f"/deliveries/{quote(delivery, safe='')}/replay"))
            _print(found, f"{delivery} is pending.", as_json)
            return
        result = client.ask("POST", _own(endpoint, "/replay"), {"since": since, "only_undelivered": undelivered})
    _print(result, f"{result['events']} events are told again.", as_json)


def _print(body: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(body)
    else:
        typer.echo(text)


def _print_secret(made: dict[str, Any], as_json: bool) -> None:
    _print(made, f"{made['id']}\n{made['signing_secret']}", as_json)


def _last(attempts: list[dict[str, Any]]) -> str:
    if not attempts:
        return ""
    status = attempts[-1]["status_code"]
    return str(status) if status is not None else attempts[-1]["error"] or "on its way"


def _time(time_s: float | None) -> str:
    return "" if time_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
