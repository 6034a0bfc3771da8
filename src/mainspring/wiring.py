"""Where the parts are made and joined: settings in, a running server out. Nothing else constructs across layers."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from mainspring.api.services import Services

__all__ = ["serve"]

MEMORY_SHARE = 0.8
"""Of the memory that is available at the start: what models may take, unless the settings say how much."""


def serve(settings: Settings, announce: Callable[[str, Path], None] | None = None) -> int:
    """Run the server until it is told to stop; the process's exit code.

    Args:
        settings: every model in `settings.models` must be in the catalog.
        announce: called once with the base URL and the path of the admin key, when the first request can be answered.
    """
    log.configure(settings.log_level)
    if sys.platform == "win32":
        asyncio.run(_serve(settings, announce))
    else:
        import uvloop

        uvloop.run(_serve(settings, announce))
    return 0


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
    return Router(shelf.look, launch_local, Fleet(budget, settings.serving.idle_s, clock), clock, names)


async def _serve(settings: Settings, announce: Callable[[str, Path], None] | None) -> None:
    from mainspring.api import server

    listener = server.bind(settings.server.host, settings.server.port)
    router = _router(settings)
    router.start()
    await asyncio.sleep(0)
    try:
        await _serve_http(settings, router, listener, announce)
    finally:
        await router.stop()


@asynccontextmanager
async def _governed(settings: Settings, router: Router) -> "AsyncGenerator[tuple[Services, Path]]":
    """What the edge is given: the router with governance around it; and where the admin key is. Closes both."""
    from mainspring.api.services import Services
    from mainspring.governance.keys import Keys, ensure_admin_key
    from mainspring.governance.ledger import Ledger
    from mainspring.governance.quota import Quota
    from mainspring.governance.stack import Governor
    from mainspring.governance.usage import Reports
    from mainspring.store.db import Database

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.home, settings.database)
        stack.push_async_callback(database.close)
        keys, reports = Keys(database, clock), Reports(database)
        admin_key = await ensure_admin_key(keys, settings.home)
        ledger = Ledger(database, settings.home / "ledger", clock)
        stack.push_async_callback(ledger.stop)
        await ledger.start()
        governor = Governor(
            account=keys.find,
            version=lambda name: router.find(name).version,
            quota=Quota(clock),
            ledger=ledger,
            prices=settings.metering.prices,
            clock=clock,
        )
        await governor.restore(reports)
        services = Services(
            generate=governor.generate(router.generate),
            embed=governor.embed(router.embed),
            rate=governor.rate,
            sums=reports.sums,
            models=router,
            authenticate=keys.authenticate,
            ready=lambda: router.ready,
            clock=clock,
            region=settings.region,
            max_body_bytes=settings.server.max_body_bytes,
            request_timeout_s=settings.server.request_timeout_s,
        )
        yield services, admin_key


async def _serve_http(
    settings: Settings, router: Router, listener: socket.socket, announce: Callable[[str, Path], None] | None
) -> None:
    # The models load in their own processes while these imports, half a second of them, run in this one.
    from mainspring.api import server
    from mainspring.api.app import create_app

    host, port = listener.getsockname()[:2]
    base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with _governed(settings, router) as (services, admin_key):
        app = create_app(services)
        state = settings.home / "server.json"
        state.write_text(json.dumps({"base_url": base_url, "pid": os.getpid()}))
        ready = asyncio.create_task(_announce(router, lambda: announce(base_url, admin_key) if announce else None))
        try:
            await server.run(
                app,
                listener,
                head_timeout_s=settings.server.header_timeout_s,
                grace_s=settings.server.shutdown_s,
                end_streams=router.stop,
            )
        finally:
            ready.cancel()
            state.unlink(missing_ok=True)


async def _announce(router: Router, say: Callable[[], None]) -> None:
    await router.wait_ready()
    say()
