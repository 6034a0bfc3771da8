"""`mainspring`: the commands put together, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence

import typer

from mainspring import __version__
from mainspring.cli import (
    audit,
    backup,
    batch,
    blocklists,
    chat,
    deployments,
    doctor,
    files,
    keys,
    models,
    pages,
    policies,
    projects,
    quota,
    train,
    up,
    usage,
    webhooks,
)
from mainspring.cli.output import AsJson, plain, print_json
from mainspring.core.errors import MainspringError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="mainspring",
    help="An open AI cloud in one package: serve models to unchanged OpenAI and Azure OpenAI clients.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help is drawn at once; Rich is for output that gains by it
    pretty_exceptions_enable=False,
)
app.command()(up.up)
app.command("open")(pages.open_pages)
app.command()(chat.chat)
app.command()(chat.complete)
app.add_typer(models.app, name="models")
app.add_typer(files.app, name="files")
app.add_typer(train.app, name="train")
app.add_typer(batch.app, name="batch")
app.add_typer(projects.app, name="projects")
app.add_typer(deployments.app, name="deployments")
app.command()(deployments.deploy)
app.add_typer(policies.app, name="policies")
app.add_typer(blocklists.app, name="blocklists")
app.add_typer(quota.app, name="quota")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.command()(usage.usage)
app.add_typer(audit.app, name="audit")
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(doctor.doctor)


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"mainspring": __version__, "python": sys.version.split()[0]})
    else:
        typer.echo(__version__)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. 0 is success, 1 a command's "no", 2 a mistake, 130 an interruption."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="mainspring")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return 130
    except MainspringError as error:
        sys.stderr.write(f"{plain(error.message)}\n")
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return 1
        place = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"{plain(error.strerror or str(error))}{plain(place)}\n")
        return 2
    return 0


def main() -> None:
    """The program `mainspring`."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone: nothing is left to say, and Python must not try
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
