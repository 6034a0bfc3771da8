"""Where the parts are made and joined: settings in, a running server out. Nothing else constructs across layers."""

import asyncio
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from mainspring.compute.local import launch_local
from mainspring.core import log
from mainspring.core.clock import SystemClock
from mainspring.core.config import EngineSettings, Settings
from mainspring.core.errors import UserMistake
from mainspring.core.types import ModelVersion
from mainspring.engine.frames import ReplicaSpec
from mainspring.models import prepared
from mainspring.models.catalog import Catalog
from mainspring.serving.deployment import Deployment, DeploymentSpec
from mainspring.serving.router import Router

__all__ = ["serve"]

VLLM = "mainspring.engine.vllm"
"""Runs models in safetensors; it is given their folder, other programs a file."""


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


def _replica_command(
    model: Path, settings: EngineSettings, turn: Path | None, module: str = "mainspring.engine.process"
) -> Callable[[str], tuple[list[str], bytes]]:
    """How a replica process of `model` is started for an endpoint. Its `module` is named and not imported: it would
    bring numpy into a process that computes nothing."""

    def command(endpoint: str) -> tuple[list[str], bytes]:
        spec = ReplicaSpec(
            model=str(model),
            endpoint=endpoint,
            settings=msgspec.Raw(settings.model_dump_json().encode()),
            turn=str(turn) if turn else None,
        )
        return [module], msgspec.json.encode(spec) + b"\n"

    return command


def _module(version: ModelVersion) -> str:
    """The program of a model's replicas.

    Raises:
        UserMistake: it needs vLLM, which is not installed.
    """
    if version.kind == "embedding":
        return "mainspring.engine.embedding"
    if version.format == "gguf":
        return "mainspring.engine.process"
    if importlib.util.find_spec("vllm") is None:  # looked for and not imported: that takes ten seconds
        raise UserMistake(
            f"The model {version.name!r} is in safetensors, which vLLM serves, and vLLM is not installed: "
            "pip install 'mainspring[vllm]', or pull the model as GGUF."
        )
    return VLLM


def _router(settings: Settings) -> Router:
    catalog, clock = Catalog(settings.home / "models"), SystemClock()
    turn = settings.home / "compute.lock" if len(settings.models) > 1 else None
    deployments: dict[str, Deployment] = {}
    for name in settings.models:
        version = catalog.get(name)
        if version.name in deployments:
            raise UserMistake(f"The model {version.name!r} is named twice: remove one.")
        module = _module(version)
        weights, why = prepared.weights(catalog, version, settings.engine)
        log.get().info("weights chosen", deployment=version.name, file=weights.name, reason=why)
        spec = DeploymentSpec(
            name=version.name,
            version=version,
            command=_replica_command(weights.parent if module == VLLM else weights, settings.engine, turn, module),
            num_places=settings.engine.max_running + settings.engine.max_waiting,
        )
        deployments[version.name] = Deployment(spec, launch_local, clock)
    return Router(deployments)


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
