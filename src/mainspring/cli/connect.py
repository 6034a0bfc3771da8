"""How commands find the server that they talk to, and the key for it."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    from mainspring.client import Client

__all__ = ["BaseUrl", "Key", "connect"]

BaseUrl = Annotated[str | None, typer.Option(help="Another server.", show_default="the one that runs on --home")]
Key = Annotated[
    str | None,
    typer.Option(help="The API key.", envvar="MAINSPRING_API_KEY", show_default="the admin key of --home"),
]


def connect(home: Path | None, base_url: str | None, key: str | None) -> "Client":
    """The client of the server that runs on `home`, or of another one that is named.

    The admin key of `home` goes to the server of `home` only.
    """
    from mainspring.client import Client
    from mainspring.core.config import home_from

    folder = home_from(home)
    running = _running(folder)
    url = base_url or running
    if url is None:
        raise UserMistake(f"No server runs on {folder}: start it with `mainspring up`, or name one with --base-url.")
    if key is None and url == running:
        with contextlib.suppress(OSError):
            key = (folder / "admin.key").read_text().strip()
    if key is None:
        raise UserMistake("No API key: set MAINSPRING_API_KEY or give --key (`mainspring keys create` makes one).")
    return Client(url, key)


def _running(home: Path) -> str | None:
    """The base URL that the server of `home` wrote down when it started."""
    try:
        state = json.loads((home / "server.json").read_text())
    except (OSError, ValueError):
        return None
    url = cast("dict[str, Any]", state).get("base_url") if isinstance(state, dict) else None
    return url.replace("//0.0.0.0:", "//127.0.0.1:") if isinstance(url, str) else None
