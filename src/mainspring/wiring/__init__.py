"""Where the parts are made and joined: settings in, a running server out. Nothing else constructs across layers."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from mainspring.compute.local import launch_local
from mainspring.core import log
from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.core.errors import UserMistake
from mainspring.models.catalog import Catalog
from mainspring.serving.fleet import Fleet
from mainspring.serving.router import Router
from mainspring.serving.shelf import Shelf
from mainspring.wiring.parts import Served, governed

__all__ = ["Served", "governed", "serve"]

Announce = Callable[[str, Path, str], None]
"""Is told the base URL, the path of the admin key, and the code of a link; that is empty if none was asked for."""
MEMORY_SHARE = 0.8
"""Of the memory that is available at the start: what models may take, unless the settings say how much."""


def serve(settings: Settings, announce: Announce | None = None, *, with_link: bool = False) -> int:
    """Run the server until it is told to stop; the process's exit code.

    Args:
        settings: every model in `settings.models` must be in the catalog.
        announce: called once, when the first request can be answered.
        with_link: whether it is told the code of a one-time link, which signs a browser in as an administrator.
    """
    announce = announce or _tell_nobody
    log.configure(settings.log_level)
    if sys.platform == "win32":
        asyncio.run(_serve(settings, announce, with_link))
    else:
        import uvloop

        uvloop.run(_serve(settings, announce, with_link))
    return 0


def _tell_nobody(*_: object) -> None:
    """An `Announce` for who does not want to know."""


def _budget(settings: Settings) -> tuple[int, str]:
    """Memory for all models together, and why so much."""
    if settings.serving.memory_bytes:
        return settings.serving.memory_bytes, "serving.memory_bytes says so"
    available = psutil.virtual_memory().available
    return int(available * MEMORY_SHARE), f"{MEMORY_SHARE:.0%} of the {available / 1e9:.1f} GB that are available"


def _router(settings: Settings) -> Router:
    catalog, clock = Catalog(settings.home / "models"), SystemClock()
    shelf = Shelf(settings, catalog)
    names = shelf.names()
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserMistake(f"The model {twice!r} is named twice: remove one.")
    budget, why = _budget(settings)
    log.get().info("memory for models", gb=round(budget / 1e9, 1), reason=why)
    return Router(shelf.look, launch_local, Fleet(budget), clock, settings.serving, preload=names)


async def _serve(settings: Settings, announce: Announce, with_link: bool) -> None:
    from mainspring.api import server

    listener = server.bind(settings.server.host, settings.server.port)
    router = _router(settings)
    router.start()
    await asyncio.sleep(0)
    try:
        await _serve_http(settings, router, listener, announce, with_link=with_link)
    finally:
        await router.stop()


async def _serve_http(
    settings: Settings, router: Router, listener: socket.socket, announce: Announce, *, with_link: bool
) -> None:
    # The models load in their own processes while these imports, half a second of them, run in this one.
    from mainspring.api import server
    from mainspring.api.app import create_app
    from mainspring.governance.admin_key import admin_key_id, ensure_admin_key

    host, port = listener.getsockname()[:2]
    root = settings.server.root_path.rstrip("/")
    base_url = f"http://[{host}]:{port}{root}" if ":" in host else f"http://{host}:{port}{root}"
    async with governed(settings, router) as (services, control):
        admin_key = await ensure_admin_key(control.keys, settings.home)
        app = create_app(services)
        state = settings.home / "server.json"
        state.write_text(json.dumps({"base_url": base_url, "pid": os.getpid()}))

        async def tell() -> None:
            await router.wait_ready()
            code = ""
            if with_link:
                code, _ = await control.sessions.link(await admin_key_id(control.keys, settings.home))
            announce(base_url, admin_key, code)

        ready = asyncio.create_task(tell())
        try:
            await server.run(
                app,
                listener,
                head_timeout_s=settings.server.header_timeout_s,
                grace_s=settings.server.shutdown_s,
                stopping=services.responses.changes.stop if services.responses else lambda: None,
                end_streams=router.stop,
            )
        finally:
            ready.cancel()
            state.unlink(missing_ok=True)
