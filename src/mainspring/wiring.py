"""Where the parts are made and joined: settings in, a running server out. Nothing else constructs across layers."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from mainspring.compute.local import launch_local
from mainspring.core import log
from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.core.errors import ModelNotFound, UserMistake
from mainspring.core.types import Adapter, ModelVersion
from mainspring.engine.footprint import footprint
from mainspring.engine.frames import ReplicaSpec
from mainspring.models import prepared
from mainspring.models.catalog import Catalog
from mainspring.serving.deployment import DeploymentSpec
from mainspring.serving.fleet import Fleet
from mainspring.serving.router import AdapterSpec, Offer, Router

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


class _Shelf:
    """What there is to serve: the models that the settings name, and the rest of the catalog if they say so."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._seen: object = None
        self._offer = Offer(deployments={})

    def look(self) -> Offer:
        """See `Router`."""
        seen = self._catalog.fingerprint()
        if seen != self._seen:
            self._offer, self._seen = self._read(), seen
        return self._offer

    def names(self) -> list[str]:
        """What the settings name, as deployments and adapters are called."""
        return [self._catalog.get(name).name for name in self._settings.models]

    def _read(self) -> Offer:
        versions: dict[str, ModelVersion] = {}
        for name in self._settings.models:
            with contextlib.suppress(ModelNotFound):  # removed while the server runs
                version = self._catalog.get(name)
                versions[version.name] = version
        for version in self._catalog.list() if self._settings.serving.catalog else ():
            versions.setdefault(version.name, version)
        deployments = {each.name: self._spec(each) for each in versions.values() if _is_served(each)}
        bases = {spec.version.id: name for name, spec in deployments.items()}
        adapters = {
            each.name: AdapterSpec(
                version=each, adapter=Adapter(each.id, str(self._catalog.path(each))), base=bases[each.base]
            )
            for each in versions.values()
            if each.is_adapter and each.base in bases
        }
        return Offer(deployments=deployments, adapters=adapters)

    def _spec(self, version: ModelVersion) -> DeploymentSpec:
        catalog, settings = self._catalog, self._settings
        # Named and not imported: it would bring numpy into a process that computes nothing.
        module = "mainspring.engine.embedding" if version.kind == "embedding" else "mainspring.engine.process"

        def weights() -> tuple[Path, str]:
            return prepared.weights(catalog, version, settings.engine)

        def command(endpoint: str) -> tuple[list[str], bytes]:
            path, why = weights()
            log.get().info("weights chosen", deployment=version.name, file=path.name, reason=why)
            spec = ReplicaSpec(
                model=str(path),
                endpoint=endpoint,
                settings=msgspec.Raw(settings.engine.model_dump_json().encode()),
                turn=str(settings.home / "compute.lock"),
            )
            return [module], msgspec.json.encode(spec) + b"\n"

        def estimate() -> int:
            others = [catalog.path(version, file) for file in version.files[1:]]
            return footprint([weights()[0], *others], settings.engine)

        return DeploymentSpec(
            name=version.name,
            version=version,
            command=command,
            num_places=settings.engine.max_running + settings.engine.max_waiting,
            estimate=estimate,
        )


def _is_served(version: ModelVersion) -> bool:
    return version.kind != "image" and not version.is_adapter


def _budget(settings: Settings) -> tuple[int, str]:
    """Memory for all models together, and why so much."""
    if settings.serving.memory_bytes:
        return settings.serving.memory_bytes, "serving.memory_bytes says so"
    available = psutil.virtual_memory().available
    return int(available * MEMORY_SHARE), f"{MEMORY_SHARE:.0%} of the {available / 1e9:.1f} GB that are available"


def _router(settings: Settings) -> Router:
    catalog, clock = Catalog(settings.home / "models"), SystemClock()
    shelf = _Shelf(settings, catalog)
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


async def _serve_http(
    settings: Settings, router: Router, listener: socket.socket, announce: Callable[[str, Path], None] | None
) -> None:
    # The models load in their own processes while these imports, half a second of them, run in this one.
    from mainspring.api import server
    from mainspring.api.app import Services, create_app
    from mainspring.governance.keys import Keys, ensure_admin_key
    from mainspring.store.db import Database

    clock = SystemClock()
    database = await Database.open(settings.home)
    keys = Keys(database, clock)
    admin_key = await ensure_admin_key(keys, settings.home)
    app = create_app(
        Services(
            generate=router.generate,
            embed=router.embed,
            models=router,
            authenticate=keys.authenticate,
            ready=lambda: router.ready,
            clock=clock,
            region=settings.region,
            max_body_bytes=settings.server.max_body_bytes,
            request_timeout_s=settings.server.request_timeout_s,
        )
    )
    host, port = listener.getsockname()[:2]
    base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
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
        await database.close()


async def _announce(router: Router, say: Callable[[], None]) -> None:
    await router.wait_ready()
    say()
