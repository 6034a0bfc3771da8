"""Where the parts are made and joined: settings in, a running server out. Nothing else constructs across layers."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from mainspring.compute.local import launch_local
from mainspring.core import log
from mainspring.core.clock import SystemClock
from mainspring.core.config import FilterSettings, Settings
from mainspring.core.errors import ModelNotFound, UserMistake
from mainspring.core.seams import Models
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, ModelVersion
from mainspring.models.catalog import Catalog
from mainspring.serving.autoscale import Wanted
from mainspring.serving.fleet import Fleet
from mainspring.serving.replicas import Status
from mainspring.serving.router import Router
from mainspring.serving.shelf import Shelf

if TYPE_CHECKING:
    from mainspring.api.services import Services, Training
    from mainspring.compute.sandbox import Sandbox
    from mainspring.governance.control import Control
    from mainspring.governance.directory import Directory, Need
    from mainspring.governance.filters.personal import PersonalData
    from mainspring.governance.meter import Meter
    from mainspring.governance.screening import Screening
    from mainspring.store.db import Database
    from mainspring.store.files import Files

__all__ = ["Served", "governed", "serve"]

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
    return Router(shelf.look, launch_local, Fleet(budget), clock, settings.serving, preload=names)


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


class Served(Models, Protocol):
    """What governance is put around: `Router` in a server, a fake in tests."""

    @property
    def ready(self) -> bool:
        """Whether requests can be served now."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`."""
        ...

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """What deployments need of the models, by name."""
        ...

    def status(self, name: str) -> Status:
        """How a model is, and why."""
        ...


@asynccontextmanager
async def governed(settings: Settings, served: Served, trainer: str = "") -> "AsyncGenerator[tuple[Services, Control]]":
    """What the edge is given: `served` with governance around it. The data directory is there; all is closed again.

    Args:
        trainer: a module that trains in the place of ours; tests have one.
    """
    from mainspring.api.services import Services
    from mainspring.api.tracing import Tracing
    from mainspring.governance.stack import Stack
    from mainspring.governance.tokens import credentials, opened
    from mainspring.store.db import Database

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        tracing = Tracing(settings.tracing) if settings.tracing.endpoint else None
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        database = await Database.open(settings.home, settings.database)
        stack.push_async_callback(database.close)
        tokens = await stack.enter_async_context(opened(settings.identity, clock))
        control = await _control(settings, served, database, stack)
        directory = control.directory
        meter = await _meter(settings, served, control, database, stack)
        files = await _files(settings, database, stack)
        sandbox = await stack.enter_async_context(_sandbox(settings))
        training = await _training(settings, directory, database, files, trainer=trainer, stack=stack)
        wrappers = Stack(find=directory.target, meter=meter, screening=await _screening(settings, directory))
        services = Services(
            generate=wrappers.generate(served.generate), embed=wrappers.embed(served.embed),
            run_code=sandbox.run, files=files, training=training, models=directory, replicas=served, control=control,
            rate=meter.rate, sums=control.reports.sums,
            authenticate=credentials(control.keys.authenticate, tokens and tokens.authenticate),
            ready=lambda: served.ready, clock=clock, region=settings.region, tracing=tracing,
            provisioned=lambda: [
                (*names, meter.utilisation(*names))
                for names, each in directory.snapshot.deployments.items()
                if each.kind == "provisioned"
            ],
            max_body_bytes=settings.server.max_body_bytes, max_file_bytes=settings.server.max_file_bytes,
            request_timeout_s=settings.server.request_timeout_s,
        )  # fmt: skip
        yield services, control


async def _control(settings: Settings, served: Served, database: "Database", stack: AsyncExitStack) -> "Control":
    """What is wanted, and the loop that makes it so, running until the stack is closed."""
    from mainspring.governance.audit import Audit
    from mainspring.governance.control import Control
    from mainspring.governance.directory import Directory
    from mainspring.governance.keys import Keys
    from mainspring.governance.owned import OwnedModels
    from mainspring.governance.policies import Policies
    from mainspring.governance.projects import Projects, installation_secret
    from mainspring.governance.usage import Reports

    clock, catalog = SystemClock(), Catalog(settings.home / "models")
    keys = Keys(database, clock)
    directory = Directory(
        database, clock, served, versions=lambda name: _versions(catalog, name),
        need=lambda needs: served.want({name: _wanted(need, settings) for name, need in needs.items()}),
    )  # fmt: skip
    projects = Projects(
        database, clock, keys, find=catalog.get, secret=installation_secret(settings.home, settings.secret),
        units=settings.quota_units, changed=directory.poke,
    )  # fmt: skip
    stack.push_async_callback(directory.stop)
    await directory.start(projects)
    return Control(
        projects=projects, policies=Policies(database, clock, changed=directory.poke), keys=keys,
        audit=Audit(database, clock, "server"), reports=Reports(database), directory=directory,
        models=OwnedModels(
            database, clock, versions=catalog.list, remove=catalog.remove, changed=directory.poke
        ),
        versions=catalog.list, status=served.status,
    )  # fmt: skip


async def _meter(
    settings: Settings, served: Served, control: "Control", database: "Database", stack: AsyncExitStack
) -> "Meter":
    """Quotas and the ledger, which goes on moving until the stack is closed."""
    from mainspring.governance.allowance import Leases
    from mainspring.governance.ledger import Ledger
    from mainspring.governance.meter import Meter
    from mainspring.governance.quota import Quota

    clock, directory = SystemClock(), control.directory
    ledger = Ledger(database, settings.home / "ledger", clock)
    stack.push_async_callback(ledger.stop)
    await ledger.start()
    allowance = await stack.enter_async_context(Leases(database, clock)) if database.is_shared else None
    meter = Meter(
        account=control.keys.find, find=directory.target, project_limits=directory.limits, models=served,
        quota=Quota(clock, allowance), ledger=ledger, prices=settings.metering.prices, clock=clock,
    )  # fmt: skip
    await meter.restore(control.reports)
    stack.enter_context(_running(meter.keep_restored(control.reports)))
    return meter


async def _files(settings: Settings, database: "Database", stack: AsyncExitStack) -> "Files":
    """What is uploaded, and the loop that removes what has expired, running until the stack is closed."""
    from mainspring.store.blobs import BLOBS, Directory
    from mainspring.store.files import Files

    blobs = Directory(settings.home / BLOBS)
    await asyncio.to_thread(blobs.clean)
    files = Files(database, blobs, SystemClock())
    stack.enter_context(_running(files.keep_swept()))
    return files


async def _training(
    settings: Settings,
    directory: "Directory",
    database: "Database",
    files: "Files",
    *,
    trainer: str,
    stack: AsyncExitStack,
) -> "Training":
    """Fine-tuning, and the loop that starts its processes, running until the stack is closed."""
    from mainspring.api.services import Training
    from mainspring.train.jobs import FineTuning
    from mainspring.train.runner import Runner
    from mainspring.train.sharing import Sharing

    clock, catalog = SystemClock(), Catalog(settings.home / "models")

    def find(name: str, project: str) -> ModelVersion:
        """A deployment of the project, or a model of the catalog that it may use."""
        snapshot = directory.snapshot
        deployed = snapshot.deployments.get((project, name))
        version = catalog.get(deployed.served_as if deployed else name)
        if not snapshot.lets(project, version.name, version.project):
            raise ModelNotFound(f"The model {name[:200]!r} does not exist.")
        return version

    runner = Runner(
        database, clock, launch_local, settings.training, home=settings.home, url=settings.database, trainer=trainer
    )
    # Looked for and not imported: this process never needs it.
    lacks = next((name for name in ("torch", "transformers", "peft") if find_spec(name) is None), "")
    jobs = FineTuning(
        database, clock, files, find=find, settings=settings.training, changed=runner.poke,
        lacks="" if trainer else lacks,
    )  # fmt: skip
    stack.enter_context(_running(runner.run()))
    stack.push_async_callback(runner.stop)
    return Training(jobs=jobs, sharing=Sharing(database, clock))


def _sandbox(settings: Settings) -> "Sandbox":
    """Starts nothing before its first run."""
    from mainspring.compute.sandbox import Sandbox, SandboxLimits

    wanted = settings.sandbox
    limits = SandboxLimits(
        wall_s=wanted.time_s, cpu_s=wanted.time_s, memory_bytes=wanted.memory_bytes, disk_bytes=wanted.disk_bytes
    )
    return Sandbox(limits=limits, concurrency=wanted.concurrency, weak=wanted.weak, hidden=(settings.home,))


async def _screening(settings: Settings, directory: "Directory") -> "Screening":
    from mainspring.governance.filters.classifier import bundled
    from mainspring.governance.filters.protected import Index
    from mainspring.governance.screening import Screening

    wanted = settings.filters
    policy = "" if wanted.policy == "none" else wanted.policy
    if policy:  # while the models load; the first request does not wait for it
        await asyncio.to_thread(bundled().load)
    index = Index(wanted.protected) if wanted.protected else None
    return Screening(
        directory.target, lambda: directory.snapshot, default=policy, index=index, personal=await _personal(wanted)
    )


async def _personal(wanted: FilterSettings) -> "PersonalData":
    from mainspring.governance.filters import personal

    if wanted.personal == "builtin":
        return personal.FORMS
    from mainspring.governance.filters import presidio  # only here: it is an optional library, and takes seconds

    return await asyncio.to_thread(
        presidio.load, wanted.presidio_model, language=wanted.presidio_language,
        threshold=wanted.presidio_threshold, also=wanted.presidio_also,
    )  # fmt: skip


@contextmanager
def _running(work: Coroutine[Any, Any, None]) -> Generator[None]:
    """Beside what is done meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


def _wanted(need: "Need", settings: Settings) -> Wanted:
    """The replicas that so much capacity takes. What is provisioned is always loaded, the rest when it is used."""
    most, each = settings.serving.max_replicas, settings.serving.replica_units
    at_least = min(-(-need.provisioned // each) if each else int(need.provisioned > 0), most)
    at_most = min(-(-need.units // each), most) if each else most
    return Wanted(min_replicas=at_least, max_replicas=max(at_most, at_least, 1))


def _versions(catalog: Catalog, name: str) -> list[ModelVersion]:
    return [version for version in catalog.list() if version.name == name]


async def _serve_http(
    settings: Settings, router: Router, listener: socket.socket, announce: Callable[[str, Path], None] | None
) -> None:
    # The models load in their own processes while these imports, half a second of them, run in this one.
    from mainspring.api import server
    from mainspring.api.app import create_app
    from mainspring.governance.keys import ensure_admin_key

    host, port = listener.getsockname()[:2]
    base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    async with governed(settings, router) as (services, control):
        admin_key = await ensure_admin_key(control.keys, settings.home)
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
