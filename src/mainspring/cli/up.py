"""`mainspring up`: fetch the models that are missing, then serve."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.models import served_as
from mainspring.cli.output import Home, ProgressBar, tell
from mainspring.cli.pages import sign_in_url, visit

if TYPE_CHECKING:
    from mainspring.core.config import Settings

__all__ = ["served_names", "up", "welcome"]


def up(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to serve: a name of the catalog or a source. May be given several times."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.", show_default="8080")
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the pages in a browser, signed in as an administrator.")
    ] = False,
    home: Home = None,
) -> None:
    """Serve models over HTTP until Ctrl-C. What is not in the catalog yet is fetched first."""
    began_s = time.monotonic()
    from mainspring.core.config import create_home, load_settings

    server = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    flags: dict[str, Any] = ({"server": server} if server else {}) | ({"models": tuple(model)} if model else {})
    settings = load_settings(home, flags)
    create_home(settings.home)
    names = served_names(settings)
    settings = settings.model_copy(update={"models": names})
    _prepare(settings)

    from mainspring.wiring import serve

    def announce(base_url: str, admin_key: Path, code: str) -> None:
        sys.stdout.write(welcome(base_url, admin_key, names, time.monotonic() - began_s, code))
        sys.stdout.flush()
        if code:
            visit(sign_in_url(reachable(base_url), code), wait=False)

    raise typer.Exit(serve(settings, announce, with_link=open_browser))


def served_names(settings: "Settings") -> tuple[str, ...]:
    """The catalog's names of the models to serve, after fetching those that are missing.

    A source whose model is not the newest of its name is named with its version.
    """
    from mainspring.models.catalog import Catalog

    catalog, names = Catalog(settings.home / "models"), list[str]()
    for wanted in settings.models:
        with ProgressBar(wanted) as progress:
            version = catalog.ensure(wanted, progress)
        newest = catalog.get(version.name) == version
        names.append(version.name if newest else f"{version.name}@{version.version}")
    return tuple(names)


def _prepare(settings: "Settings") -> None:
    """Let the weights be prepared at their first use, and say what came of it."""
    from mainspring.engine.preparation import on_first_use
    from mainspring.models.catalog import Catalog

    catalog = Catalog(settings.home / "models")
    for name in dict.fromkeys(catalog.get(each).base or each for each in settings.models):
        with ProgressBar(name, in_bytes=False) as progress:
            choice = on_first_use(catalog, catalog.get(name), settings.engine, progress)
        if choice is not None:
            tell(served_as(name, choice))
            if choice.by == "nobody":
                tell(f"`mainspring models prepare {name}` finds the format that is fastest on this machine.")


def reachable(base_url: str) -> str:
    """The address at which somebody on this machine reaches a server that listens on all of its addresses."""
    return base_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:").removesuffix("/v1")


def welcome(base_url: str, admin_key: Path, models: tuple[str, ...], seconds: float, code: str = "") -> str:
    """What is printed when the first request can be answered: where, with which key, and code that can be pasted.

    Args:
        code: of a link that signs a browser in; empty if there is none.
    """
    root = reachable(base_url)
    url = f"{root}/v1"
    pages = f"{sign_in_url(root, code)}\n            (signs in one browser, within two minutes)" if code else f"{root}/"
    model = models[0].partition("@")[0]
    # The key may have been moved away by its owner; then it comes from where they keep it.
    there = admin_key.exists()
    key = f"Path({str(admin_key)!r}).read_text().strip()" if there else 'os.environ["MAINSPRING_API_KEY"]'
    where = f"in {admin_key}" if there else "not in the data directory: `mainspring keys create NAME` makes one"
    return f"""
Mainspring is ready after {seconds:.1f} s and serves {", ".join(models)}.

  Pages     {pages}
  Base URL  {url}
  API key   {where}

Talk to it in another terminal with `mainspring chat`, or in Python (pip install openai):

{"from pathlib import Path" if there else "import os"}
from openai import OpenAI

client = OpenAI(base_url="{url}", api_key={key})
answer = client.chat.completions.create(
    model="{model}", max_tokens=100, messages=[{{"role": "user", "content": "Say hello."}}]
)
print(answer.choices[0].message.content)

Ctrl-C stops it.
"""
