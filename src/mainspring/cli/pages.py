"""`mainspring open`: the pages in a browser, signed in by a link that works once."""

import os
import threading
from typing import Annotated

import typer

from mainspring.cli.connect import BaseUrl, Key, connect
from mainspring.cli.output import Home, tell

__all__ = ["open_pages", "sign_in_url", "visit"]

OPEN_S = 2.0
"""How long a command waits for the browser to start."""


def open_pages(
    *,
    print_only: Annotated[bool, typer.Option("--print", help="Print the link, and open no browser.")] = False,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
) -> None:
    """Open the pages of a running server in a browser, signed in with an administrator's key. The link works once."""
    with connect(home, base_url, key) as client:
        code = str(client.ask("POST", "/x/session/links")["code"])
        url = sign_in_url(client.base_url, code)
    if print_only or not visit(url):
        typer.echo(url)
        tell("Open it in a browser within two minutes: it signs in whoever opens it first.")


def sign_in_url(base_url: str, code: str) -> str:
    """The address that signs a browser in. What stands behind the # is sent to no server and into no log."""
    return f"{base_url.rstrip('/').removesuffix('/v1')}/sign-in#link={code}"


def visit(url: str, *, wait: bool = True) -> bool:
    """Open an address in a browser with windows; False if there is none here. A browser in the terminal is not for
    these pages, nor is the terminal its own.

    Args:
        wait: for the browser to start, since the program ends then.
    """
    import webbrowser  # most commands open none

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER"):
        return False
    # Some wait until their window is closed. The server does not.
    opening = threading.Thread(target=browser.open, args=(url,), daemon=True)
    opening.start()
    if wait:
        opening.join(OPEN_S)
    return True
